import type { App } from "../app.ts";
import { type Deployment, readDeployment } from "../chain/deployment.ts";
import { checkDeployment, readIdentity } from "../chain/identity.ts";
import { openRpc } from "../chain/rpc.ts";
import { nodeSource } from "../chain/source.ts";
import type { Config } from "../config.ts";
import { app } from "../dapp/routes.ts";
import type { Db } from "../db.ts";
import { type AuditReport, audit as auditJournal } from "../journal/audit.ts";
import type { Log } from "../log.ts";
import { finalityOf, followed } from "./listener.ts";
import { openProcess, withLocalNode } from "./process.ts";

/** Compares journal and projections with the chain. The exit code is 1 where they differ. */
export async function audit(options: { json?: boolean }): Promise<void> {
  await using running = openProcess("audit");
  const { config, log, signal } = running;
  const deployment = readDeployment(config.deployment);
  const { db } = await running.openDatabase();
  const report = await runAudit({ app, config: withLocalNode(config), db, deployment, log, signal });
  process.stdout.write(options.json ? `${JSON.stringify(report, null, 2)}\n` : describeAudit(report));
  if (!report.ok) process.exitCode = 1;
}

/** Audits, and publishes how far everything was found right. */
export async function runAudit(options: {
  app: App;
  config: Pick<Config, "rpcUrls" | "finality" | "verify" | "pollInterval">;
  db: Db;
  deployment: Deployment;
  log: Log;
  signal: AbortSignal;
}): Promise<AuditReport> {
  const { app, config, db, deployment, log, signal } = options;
  const rpc = openRpc(config.rpcUrls, { log, signal });
  try {
    const identity = await readIdentity(rpc);
    await checkDeployment(rpc, identity, deployment);
    const { contracts, filter } = followed(app, deployment);
    const source = nodeSource({ ...config, rpc, filter, finality: finalityOf(config.finality, identity), signal, log });
    const report = await auditJournal({ db, rpc, source, app, chainId: identity.chainId, contracts });
    if (report.ok)
      await db.query("update checkpoint set audited_to = least($2, tip_number) where chain_id = $1", [report.chainId, report.to]);
    return report;
  } finally {
    rpc.close();
  }
}

/** The report for a person: one line that says it, one per invariant, one per difference. */
export function describeAudit({ ok, chainId, from, to, checked, failures }: AuditReport): string {
  const lines = [`${ok ? "ok" : "NOT ok"}: chain ${chainId}, blocks ${from} to ${to}`];
  for (const [invariant, count] of Object.entries(checked)) {
    const failed = failures.filter(failure => failure.invariant === invariant).length;
    lines.push(`  ${invariant.padEnd(8)} ${String(count).padStart(9)} checked${failed ? `, ${failed} differ` : ""}`);
  }
  for (const { invariant, what, expected, found } of failures) lines.push(`  ${invariant}: ${what}: expected ${expected}, found ${found}`);
  return `${lines.join("\n")}\n`;
}
