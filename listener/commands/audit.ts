import type { App } from "../app.ts";
import { type Deployment, readDeployment } from "../chain/deployment.ts";
import { checkDeployment, readIdentity } from "../chain/identity.ts";
import { openRpc, type Rpc } from "../chain/rpc.ts";
import { nodeSource } from "../chain/source.ts";
import type { Config } from "../config.ts";
import { app } from "../dapp/routes.ts";
import type { Db } from "../db.ts";
import { type AuditReport, audit as auditAll, auditSince } from "../journal/audit.ts";
import type { QueueJobs } from "../journal/audit-deliveries.ts";
import type { Log } from "../log.ts";
import { jobId, type QueueBackend } from "../queues/backend.ts";
import { finalityOf, followed } from "./listener.ts";
import { openProcess, withLocalNode } from "./process.ts";

/** Compares journal and projections with the chain. The exit code is 1 where they differ. */
export async function audit(options: { json?: boolean; since?: number | true }): Promise<void> {
  await using running = openProcess("audit");
  const { config, log, signal } = running;
  const deployment = readDeployment(config.deployment);
  const { db, url } = await running.openDatabase();
  const backend = await running.openQueues(url);
  const report = await runAudit({ app, config: withLocalNode(config), db, backend, deployment, log, signal, since: options.since });
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : describeAudit(report));
  if (!report.ok) process.exitCode = 1;
}

export type RunAuditOptions = {
  app: App;
  config: Pick<Config, "rpcUrls" | "finality" | "verify" | "pollInterval" | "window" | "apiKeys" | "databaseUrl" | "redisUrl">;
  db: Db;
  backend: QueueBackend;
  deployment: Deployment;
  log: Log;
  signal: AbortSignal;
  /** From this block on, or what came since the last audit; everything from the beginning unless told. */
  since?: number | true | undefined;
};

/** Audits, and publishes how far everything was found right. */
export async function runAudit(options: RunAuditOptions): Promise<AuditReport> {
  const { app, config, db, backend, deployment, log, signal, since } = options;
  const plain = openRpc(config.rpcUrls, { log, signal });
  let rpc: Rpc | undefined;
  try {
    const identity = await readIdentity(plain);
    await checkDeployment(plain, identity, deployment);
    rpc = openRpc(config.rpcUrls, { log, signal, chain: identity });
    const { contracts, filter } = followed(app, deployment);
    const source = nodeSource({ ...config, rpc, filter, finality: finalityOf(config.finality, identity), signal, log });
    const { chainId } = identity;
    const { window } = config;
    const settings = { db, rpc, source, app, chainId, contracts, window, jobs: jobsOf(backend, chainId), secrets: secretsOf(config) };
    return await (since === undefined ? auditAll(settings) : auditSince(settings, since === true ? undefined : since));
  } finally {
    plain.close();
    rpc?.close();
  }
}

/** Jobs as the backend has them. One that is being worked on is not waiting; its row may be done already. */
function jobsOf(backend: QueueBackend, chainId: number): QueueJobs {
  const opened = new Map<string, ReturnType<QueueBackend["openQueue"]>>();
  return async name => {
    const queue = opened.get(name) ?? backend.openQueue(chainId, name);
    opened.set(name, queue);
    return {
      waiting: await queue.getJobCountByTypes("waiting", "delayed", "prioritized"),
      has: async delivery => (await queue.getJob(jobId(chainId, delivery))) !== undefined,
    };
  };
}

/** What no log, job or error may hold: keys, and the passwords of URLs. */
function secretsOf({ apiKeys, databaseUrl, redisUrl, rpcUrls }: RunAuditOptions["config"]): string[] {
  const passwords = [databaseUrl, redisUrl, ...rpcUrls].flatMap(url => URL.parse(url ?? "")?.password ?? []);
  return [...apiKeys, ...passwords.flatMap(password => [password, decodeURIComponent(password)])].filter(secret => secret.length >= 6);
}

/** The report for a person: one line that says it, one per invariant, one per difference. */
export function describeAudit({ ok, chainId, from, to, auditedTo, checked, failures }: AuditReport): string {
  const reached = !ok ? "" : auditedTo === null ? "; nothing is settled yet" : auditedTo < to ? `; settled up to ${auditedTo}` : "";
  const lines = [`${ok ? "ok" : "NOT ok"}: chain ${chainId}, blocks ${from} to ${to}${reached}`];
  for (const [invariant, count] of Object.entries(checked)) {
    const failed = failures.filter(failure => failure.invariant === invariant).length;
    lines.push(`  ${invariant.padEnd(8)} ${String(count).padStart(9)} checked${failed ? `, ${failed} differ` : ""}`);
  }
  for (const { invariant, what, expected, found } of failures) lines.push(`  ${invariant}: ${what}: expected ${expected}, found ${found}`);
  return `${lines.join("\n")}\n`;
}
