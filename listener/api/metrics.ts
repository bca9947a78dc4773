import type { FastifyInstance } from "fastify";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { App } from "../app.ts";
import type { Db } from "../db.ts";
import { latencyOf, readLatencies } from "../journal/activity.ts";
import { type Oldest, type QueueCounts, readOldest, readStatus, type Status } from "../journal/status.ts";
import { type EndpointCounts, readCounts } from "../webhooks/read.ts";

const LATENCY_BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

/** `/metrics` in the form of Prometheus: the journal's, read when asked, then those of this process and of this API. */
export function mountMetrics(server: FastifyInstance, { db, app, chainId }: { db: Db; app: App; chainId: number }): void {
  const own = new Registry();
  collectDefaultMetrics({ register: own });
  const requests = new Histogram({
    name: "sluice_http_request_duration_seconds",
    help: "Time to answer a request",
    labelNames: ["method", "route", "status"],
    buckets: LATENCY_BUCKETS,
    registers: [own],
  });
  server.addHook("onResponse", async (request, reply) => {
    const route = request.routeOptions.url ?? "unknown";
    requests.observe({ method: request.method, route, status: reply.statusCode }, reply.elapsedTime / 1_000);
  });
  const queues = app.routes.map(({ queue }) => queue);
  server.get(
    "/metrics",
    { config: { scope: "read" }, schema: { tags: ["health"], summary: "Metrics for Prometheus" } },
    async (_, reply) => {
      // With the database away the process's own metrics are what is wanted most.
      const journal = await readJournal(db, chainId, queues).catch(() => undefined);
      const endpoints = journal ? await readCounts(db, chainId).catch(() => []) : [];
      const texts = await Promise.all([
        journalMetrics(chainId, journal).metrics(),
        webhookMetrics(chainId, endpoints).metrics(),
        own.metrics(),
      ]);
      return reply.type(own.contentType).send(texts.join("\n"));
    },
  );
}

type Journal = { status: Status; oldest: ReadonlyMap<string, Oldest>; latencies: ReadonlyMap<number, number> };

async function readJournal(db: Db, chainId: number, queues: readonly string[]): Promise<Journal> {
  const [status, oldest, latencies] = await Promise.all([
    readStatus(db, chainId, queues),
    readOldest(db, chainId, queues),
    readLatencies(db, chainId),
  ]);
  return { status, oldest, latencies };
}

const QUANTILES = [0.5, 0.95, 0.99];

/** The quantiles of counted bins, in seconds. */
function quantilesOf(bins: ReadonlyMap<number, number>): [quantile: number, seconds: number][] {
  const sorted = [...bins].sort(([a], [b]) => a - b);
  const total = sorted.reduce((sum, [, count]) => sum + count, 0);
  return QUANTILES.flatMap(quantile => {
    let seen = 0;
    const found = sorted.find(([, count]) => {
      seen += count;
      return seen >= quantile * total;
    });
    return found ? [[quantile, latencyOf(found[0]) / 1_000] as [number, number]] : [];
  });
}

/** What the journal says as metrics. What is not known is left out: a 0 would be a statement. */
function journalMetrics(chainId: number, journal: Journal | undefined): Registry {
  const status = journal?.status;
  const registry = new Registry();
  registry.setDefaultLabels({ chain: String(chainId) });
  const options = (name: string, help: string) => ({ name: `sluice_${name}`, help, registers: [registry] });
  const gauge = (name: string, help: string, value: number | null | undefined) => {
    if (value !== null && value !== undefined) new Gauge(options(name, help)).set(value);
  };
  const perQueue = (name: string, help: string, values: (counts: QueueCounts) => number) => {
    const metric = new Gauge({ ...options(name, help), labelNames: ["queue"] });
    for (const [queue, counts] of Object.entries(status?.queues ?? {})) metric.set({ queue }, values(counts));
  };
  gauge("database_up", "1 if the database answers", status ? 1 : 0);
  if (!journal || !status) return registry;
  gauge("head_block", "The chain's head, as the writer last saw it", status.head);
  gauge("tip_block", "The last block in the journal", status.tip?.number);
  gauge("finalized_block", "The last final block", status.finalized?.number);
  gauge("head_age_seconds", "Time since the node last gave a head", secondsSince(status.headAt));
  gauge("lag_blocks", "Blocks between head and tip", status.lag);
  gauge("leader", "1 if a listener holds the lease", status.leader === null ? 0 : 1);
  gauge("audited_block", "Up to this block everything was found to be what the chain says", status.auditedTo);
  gauge("audit_failures", "Differences that the last audit found", status.audit?.failures);
  gauge("audit_timestamp_seconds", "When the last audit ended", status.audit ? Date.parse(status.audit.at) / 1_000 : null);
  gauge("halted", "1 while nothing is written or delivered until a resync", status.halted ? 1 : 0);
  gauge("dead_letters", "Deliveries that were given up", status.deadLetters);
  new Counter(options("reorgs_total", "Reorgs that the journal went through")).inc(status.reorgs);
  new Counter(options("events_total", "Events journalled, those of reorgs too")).inc(status.events);
  perQueue("queue_pending", "Deliveries that wait to be sent", ({ pending }) => pending);
  perQueue("queue_in_flight", "Deliveries sent and not settled", ({ inFlight }) => inFlight);
  perQueue("queue_dead", "Dead letters of a queue", ({ failed }) => failed);
  const nodes = new Gauge({
    ...options("node_up", "1 if a node is asked; 0 where it failed, is behind or lied"),
    labelNames: ["node", "state"],
  });
  for (const { url, state } of status.nodes) nodes.set({ node: url, state }, state === "ok" ? 1 : 0);
  const latency = new Gauge({ ...options("node_latency_seconds", "Time of a small call, a moving average"), labelNames: ["node"] });
  for (const node of status.nodes) if (node.latency !== null) latency.set({ node: node.url }, node.latency / 1_000);
  const done = new Counter({ ...options("queue_done_total", "Deliveries settled"), labelNames: ["queue"] });
  for (const [queue, counts] of Object.entries(status.queues)) done.inc({ queue }, counts.done);
  const age = new Gauge({ ...options("queue_oldest_seconds", "Age of the oldest delivery that is not settled"), labelNames: ["queue"] });
  for (const queue of Object.keys(status.queues)) age.set({ queue }, journal.oldest.get(queue)?.age ?? 0);
  const applied = new Gauge({
    ...options("apply_latency_seconds", "From the node's announcement of a block to its applied effect, over the last five minutes"),
    labelNames: ["quantile"],
  });
  for (const [quantile, seconds] of quantilesOf(journal.latencies)) applied.set({ quantile: String(quantile) }, seconds);
  return registry;
}

/** How each webhook endpoint is doing. */
function webhookMetrics(chainId: number, endpoints: readonly EndpointCounts[]): Registry {
  const registry = new Registry();
  registry.setDefaultLabels({ chain: String(chainId) });
  const options = (name: string, help: string) => ({
    name: `sluice_webhook_${name}`,
    help,
    labelNames: ["endpoint"],
    registers: [registry],
  });
  const gauge = (name: string, help: string, value: (counts: EndpointCounts) => number) => {
    const metric = new Gauge(options(name, help));
    for (const counts of endpoints) metric.set({ endpoint: counts.id }, value(counts));
  };
  gauge("active", "1 if the endpoint is neither paused nor disabled", ({ state }) => (state === "active" ? 1 : 0));
  gauge("breaker_open", "1 while the endpoint is left alone but for one message now and then", ({ open }) => (open ? 1 : 0));
  gauge("pending", "Messages that wait to be delivered", ({ pending }) => pending);
  gauge("dead", "Messages that were given up", ({ dead }) => dead);
  const delivered = new Counter(options("delivered_total", "Messages delivered"));
  const failed = new Counter(options("failed_attempts_total", "Attempts that failed"));
  for (const counts of endpoints) {
    delivered.inc({ endpoint: counts.id }, counts.delivered);
    failed.inc({ endpoint: counts.id }, counts.failed);
  }
  return registry;
}
const secondsSince = (time: string | null) => (time === null ? null : Math.max(0, (Date.now() - Date.parse(time)) / 1_000));
