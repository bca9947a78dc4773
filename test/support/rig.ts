import { describe } from "node:test";
import { Redis } from "ioredis";
import type { App } from "../../listener/app.ts";
import type { ChainUpdate } from "../../listener/chain/types.ts";
import { openDb } from "../../listener/db.ts";
import { bullName, openBackend, type QueueBackend } from "../../listener/queues/backend.ts";
import type { RelayOptions } from "../../listener/queues/relay.ts";
import { startRelay } from "../../listener/queues/start-relay.ts";
import { startWorkers, type WorkerSettings } from "../../listener/worker/worker.ts";
import { eventually } from "./eventually.ts";
import { openTestJournal, rowsOf } from "./journal.ts";
import { noSharedRedis, sharedRedis } from "./redis.ts";
import { silent } from "./silent.ts";

export type BackendKind = QueueBackend["kind"];

/** The same tests on both backends; those on Redis are skipped where there is none. */
export function onBothBackends(title: string, tests: (kind: BackendKind) => void): void {
  describe(`${title} on Postgres`, () => tests("postgres"));
  describe(`${title} on Redis`, { skip: noSharedRedis }, () => tests("redis"));
}

export type DeliveryRow = {
  queue: string;
  position: number;
  operation: string;
  events: number[];
  key: string | null;
  state: string;
  sends: number;
  attempts: number;
  last_error: string | null;
};

/** Journal, relay and workers around one application, on a database and a chain id of their own, and the suite's Redis unless told. */
export async function openRig(kind: BackendKind, app: App, redisUrl = sharedRedis) {
  const base = await openTestJournal(app);
  const { db, chainId, journal } = base;
  await journal.checkpoint();
  const closing: (() => Promise<unknown>)[] = [];
  const connect = async () => {
    const backend = await openBackend({ redisUrl: kind === "redis" ? redisUrl : undefined, databaseUrl: base.url, log: silent });
    closing.push(() => backend.close());
    return backend;
  };
  const backend = await connect();

  const deliveries = (queue?: string) =>
    rowsOf<DeliveryRow>(db, chainId, "select * from deliveries where chain_id = $1 order by queue, position").then(rows =>
      rows.filter(row => queue === undefined || row.queue === queue),
    );
  const open = async () => (await deliveries()).filter(({ state }) => state === "pending" || state === "sent");

  return {
    ...base,
    backend,
    record: (update: ChainUpdate) => journal.record(update),
    deliveries,
    /** Deliveries as text: `1 apply 1,2 done`. */
    async states(queue: string): Promise<string[]> {
      return (await deliveries(queue)).map(d => `${d.position} ${d.operation} ${d.events.join(",")} ${d.state}`);
    },
    startRelay(options: Partial<RelayOptions> = {}) {
      const stop = new AbortController();
      const relay = startRelay({
        db,
        backend,
        chainId,
        app,
        window: 100,
        log: silent,
        signal: stop.signal,
        resendAfter: 100,
        ...options,
      });
      const end = async () => {
        stop.abort();
        await relay.stopped;
      };
      closing.push(end);
      return { ...relay, end };
    },
    /** Workers with connections of their own, as in a process of their own. */
    async startWorkers(options: Partial<WorkerSettings> = {}) {
      const own = openDb(base.url, { name: "sluice-test-worker" });
      closing.push(() => own.end());
      const workers = startWorkers({ app, db: own, backend: await connect(), chainId, log: silent, ...options });
      closing.push(() => workers.close());
      return workers;
    },
    /** Waits until every delivery is done or dead. */
    async settled(timeout = 60_000): Promise<void> {
      await eventually(async () => (await open()).length === 0, { timeout, what: "every delivery is settled" });
    },
    open,
    /** The ledger's sums by account number, without those of 0. */
    async sums(): Promise<Record<string, bigint>> {
      const rows = await rowsOf<{ who: string; total: bigint }>(
        db,
        chainId,
        "select who, total from sums where chain_id = $1 and total <> 0 order by who",
      );
      return Object.fromEntries(rows.map(({ who, total }) => [Number(who), total]));
    },
    /** What the sums have to be: those of the live events. */
    async trueSums(): Promise<Record<string, bigint>> {
      const rows = await rowsOf<{ who: string; total: bigint }>(
        db,
        chainId,
        `select arguments ->> 'who' as who, sum((arguments ->> 'amount')::numeric)::numeric(78,0) as total from events
         where chain_id = $1 and live and name = 'Added' and error is null group by 1 having sum((arguments ->> 'amount')::numeric) <> 0 order by 1`,
      );
      return Object.fromEntries(rows.map(({ who, total }) => [Number(who), total]));
    },
    /** What the ledger was called for, in the order in which it took effect. */
    async calls(): Promise<string[]> {
      const rows = await rowsOf<{ operation: string; positions: number[] }>(
        db,
        chainId,
        "select operation, positions from calls where chain_id = $1 order by id",
      );
      return rows.map(({ operation, positions }) => `${operation} ${positions.join(",")}`);
    },
    /** Removes every trace of this chain's jobs from the backend, as FLUSHALL would. */
    async loseAllJobs(): Promise<void> {
      if (kind === "postgres") {
        const { rows } = await db.query<{ name: string }>(
          "select quote_ident(tablename) as name from pg_tables where schemaname = 'bullmq' and tablename not like '%migration%'",
        );
        // Workers hold some of these tables: Postgres may choose this statement as a deadlock's victim.
        await eventually(() => db.query(`truncate ${rows.map(({ name }) => `bullmq.${name}`).join(", ")} cascade`));
        return;
      }
      const redis = new Redis(sharedRedis!);
      const keys = await redis.keys(`bull:${bullName(chainId, "*")}`);
      if (keys.length > 0) await redis.del(...keys);
      redis.disconnect();
    },
    async close() {
      for (const close of closing.splice(0).reverse()) await close();
      await base.close();
    },
  };
}

export type Rig = Awaited<ReturnType<typeof openRig>>;
