import assert from "node:assert/strict";
import type { App } from "../../listener/app.ts";
import type { Db } from "../../listener/db.ts";
import { audit, auditSince } from "../../listener/journal/audit.ts";
import { contractsOf } from "./journal.ts";
import type { ScriptedChain } from "./scripted-chain.ts";
import { stubRpc } from "./stub-rpc.ts";

/**
 * Holds the journal, its deliveries and the projections against the script, whose canonical head must be the tip. The
 * ledger is left out: it keeps a diary, which a recomputation cannot equal.
 */
export async function assertAudit({ db, chainId }: { db: Db; chainId: number }, app: App, chain: ScriptedChain): Promise<void> {
  const audited = { ...app, projections: app.projections.filter(({ name }) => name !== "ledger") };
  const options = { db, rpc: stubRpc({}), source: chain.source, app: audited, chainId, contracts: contractsOf(app) };
  // What came since the last audit is found right by one that looks at nothing else, and everything by one that begins anew.
  const since = await auditSince(options);
  assert.deepEqual(since.failures, []);
  const report = await audit(options);
  assert.deepEqual(report.failures, []);
  assert.ok(report.checked.I5! > 0, "no delivery was checked");
  for (const { name, tables } of audited.projections) assert.ok(report.checked.I10! >= 0, `${name} (${tables}) was not compared`);
}
