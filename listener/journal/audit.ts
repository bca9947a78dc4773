import type { App, AuditContext } from "../app.ts";
import type { ContractAt } from "../chain/events.ts";
import type { Rpc } from "../chain/rpc.ts";
import type { BlockRef, ChainSource, Hex } from "../chain/types.ts";
import { type Db, type Sql, sleep, type Tx, transaction } from "../db.ts";
import { SluiceError } from "../errors.ts";
import {
  checkCoverage,
  checkFlow,
  checkKept,
  checkOrder,
  checkPlanned,
  everyStretch,
  type QueueJobs,
  type Stretch,
  stretches,
} from "./audit-deliveries.ts";
import { checkBlocks, checkEpochs, checkEvents } from "./audit-events.ts";
import { type AuditReport, createFindings, type Findings } from "./audit-findings.ts";
import { checkProjection } from "./audit-projections.ts";
import { advanceShadow, carryOutRest, compareShadow, ENTER_SHADOWS, prepareShadow, settleShadow, shadowed } from "./audit-shadow.ts";
import { RESYNC } from "./halt.ts";
import { firstOpenBlock } from "./settled.ts";

export type { AuditReport } from "./audit-findings.ts";

/** `window`, `jobs` and `secrets` are for I14 to I16: what is not given is not checked against. */
export type AuditOptions = {
  db: Db;
  rpc: Rpc;
  source: ChainSource;
  app: App;
  chainId: number;
  contracts: readonly ContractAt[];
  window?: number;
  jobs?: QueueJobs;
  secrets?: readonly string[];
};

type Checkpoint = {
  start_block: number;
  tip_number: number | null;
  tip_hash: Hex;
  finalized_number: number | null;
  events: number;
  audited_to: number | null;
  doubts: number;
  halted: boolean;
};

/** What one look came to: blocks `from` to `tip` were checked, and up to `reached` everything is delivered. */
type Audited = { checkpoint: Checkpoint; findings: Findings; from: number; tip: BlockRef; reached: number };

/**
 * Holds the journal and every projection against the chain itself, from the beginning, at one moment of the database: what
 * is still under way then is neither missed nor counted twice, so a live system can be audited as it runs.
 *
 * I1 and I2: the node's logs from the start to the tip are exactly the live events. I3 and I4: the blocks held are linked
 * and end in the tip. I5 and I6: one delivery covers each event and operation, with the net effect of one if it is live.
 * I9 and I10: each projection's tables equal what its events give when they are applied anew. I11: no finality queue has
 * a revert. I12: order per key. I13: epochs never go down. I14 to I16: see `checkFlow` and `checkKept`. The application
 * adds its own.
 *
 * @throws SluiceError when nothing was followed yet, or the chain moves away under the audit again and again
 */
export async function audit(options: AuditOptions): Promise<AuditReport> {
  return untilCanonical(options, async () => {
    const { db, source, app, chainId, contracts } = options;
    return transaction(
      db,
      async tx => {
        const { checkpoint, tip } = await readTip(tx, chainId);
        return atTip(options, tip, async findings => {
          const from = checkpoint.start_block;
          await checkEvents(tx, source, { chainId, from, to: tip.number, contracts }, findings);
          await checkBlocks(tx, source, chainId, tip, findings);
          await checkEpochs(tx, { chainId, from: 0, to: tip.number }, findings);
          for (const route of app.routes) {
            for (const stretch of everyStretch(checkpoint.events)) await checkCoverage(tx, { chainId, route, ...stretch }, findings);
            await checkPlanned(tx, { chainId, route, tip: tip.number, finalized: checkpoint.finalized_number ?? -1 }, findings);
            if (route.orderBy) await checkOrder(tx, { chainId, queue: route.queue, low: 0 }, findings);
          }
          for (const projection of app.projections) await checkProjection(tx, chainId, app, projection, findings);
          await checkApplication(options, tx, tip, undefined, findings);
          await checkDelivery(options, findings, true);
          return { checkpoint, findings, from, tip, reached: await settledTo(tx, app, chainId, checkpoint) };
        });
      },
      "repeatable read",
    );
  });
}

/** Blocks of a final range whose events are looked at in one go. */
const FINAL_AT_ONCE = 20_000;

/**
 * The same, for what came since a block (unless told, since the last one that was audited), beside a live system: it reads
 * little, computes nothing twice, and each of its transactions is short. Final blocks do not change, so they are walked
 * through without a snapshot; what may still change is compared in one.
 *
 * Projections are held against their shadows (see audit-shadow.ts), and where `since` is older than what these have
 * seen, still by the rows that were touched since the last audit. The application is told the block that it may begin at.
 */
export async function auditSince(options: AuditOptions, since?: number): Promise<AuditReport> {
  const { db, source, app, chainId, contracts } = options;
  const { checkpoint: before } = await readTip(db, chainId);
  const from = Math.max(before.start_block, since ?? (before.audited_to ?? before.start_block - 1) + 1);
  const shadows = shadowed(app);
  return untilCanonical(options, async () => {
    const early = createFindings();
    const final = before.finalized_number ?? -1;
    await checkEvents(db, source, { chainId, from, to: final, contracts }, early);
    for (let low = from; low <= final; low += FINAL_AT_ONCE)
      await checkDeliveriesOf(db, options, { from: low, to: Math.min(final, low + FINAL_AT_ONCE - 1) }, early);
    for (const shadow of shadows) {
      const advance = (tx: Tx) => advanceShadow(tx, { chainId, app }, shadow);
      let more = await inShadows(db, async tx => {
        await prepareShadow(tx, chainId, shadow);
        return advance(tx);
      });
      // As many steps as it takes: each is a transaction of its own.
      while (more) more = await inShadows(db, advance);
    }
    return inShadows(db, async tx => {
      const { checkpoint, tip } = await readTip(tx, chainId);
      return atTip(
        options,
        tip,
        async findings => {
          const open = Math.max(from, final + 1);
          await checkEvents(tx, source, { chainId, from: open, to: tip.number, contracts }, findings);
          await checkBlocks(tx, source, chainId, tip, findings);
          await checkEpochs(tx, { chainId, from, to: tip.number }, findings);
          await checkDeliveriesOf(tx, options, { from: open, to: tip.number }, findings);
          const finalized = checkpoint.finalized_number ?? -1;
          for (const route of app.routes) await checkPlanned(tx, { chainId, route, tip: tip.number, finalized }, findings);
          const isWhole = await checkShadows(tx, tip, { from, finalized }, findings);
          await checkDelivery(options, findings, false);
          const reached = isWhole ? await settledTo(tx, app, chainId, checkpoint) : from - 1;
          return { checkpoint, findings, from, tip, reached };
        },
        early,
      );
    });
  });

  /** Compares what was touched; with what is open added, asks the application. False where too much is under way for that. */
  async function checkShadows(
    tx: Tx,
    tip: BlockRef,
    { from, finalized }: { from: number; finalized: number },
    findings: Findings,
  ): Promise<boolean> {
    let isWhole = true;
    for (const shadow of shadows) await advanceShadow(tx, { chainId, app }, shadow);
    await tx.query("savepoint ahead");
    const failed = findings.failures();
    for (const shadow of shadows) {
      isWhole &&= await carryOutRest(tx, { chainId, app }, shadow, "done");
      if (isWhole) await compareShadow(tx, chainId, shadow, findings);
    }
    const isRight = isWhole && findings.failures() === failed;
    for (const shadow of shadows) isWhole &&= await carryOutRest(tx, { chainId, app }, shadow, "open");
    if (isWhole) await checkApplication(options, tx, tip, from, findings);
    await tx.query("rollback to savepoint ahead");
    if (isRight) for (const shadow of shadows) await settleShadow(tx, chainId, shadow, finalized);
    return isWhole;
  }
}

/** One audit at a time works on the shadows; a second one gives up. */
async function inShadows<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  return transaction(
    db,
    async (tx, [lock]) => {
      const { ours } = lock!.rows[0] as { ours: boolean };
      if (!ours) throw new SluiceError("another audit is running", { hint: "wait for it", retryable: true });
      return work(tx);
    },
    "repeatable read",
    ["select pg_try_advisory_xact_lock(hashtextextended('sluice audit', 0)) as ours", ENTER_SHADOWS],
  );
}

/** I5, I6, I11 for the events of these blocks, I12 for these and those that came after them. */
async function checkDeliveriesOf(
  sql: Sql,
  { app, chainId }: AuditOptions,
  { from, to }: { from: number; to: number },
  findings: Findings,
): Promise<void> {
  const { rows } = await sql.query<{ position: number }>(
    "select position from events where chain_id = $1 and block_number between $2 and $3 order by position",
    [chainId, from, to],
  );
  const found: Stretch[] = stretches(rows.map(({ position }) => position));
  for (const route of app.routes) {
    for (const stretch of found) await checkCoverage(sql, { chainId, route, ...stretch }, findings);
    if (route.orderBy && found[0]) await checkOrder(sql, { chainId, queue: route.queue, low: found[0].low }, findings);
  }
}

/** I14, I15, I16: of now, not of a moment that is past, for the queue's backend knows no other. */
async function checkDelivery({ db, app, chainId, window, jobs, secrets }: AuditOptions, findings: Findings, all: boolean): Promise<void> {
  for (const { queue } of app.routes)
    await checkFlow(db, { chainId, queue, window: window ?? Number.POSITIVE_INFINITY, jobs, all }, findings);
  await checkKept(db, { chainId, queues: app.routes.map(({ queue }) => queue), secrets: secrets ?? [] }, findings);
}

async function checkApplication(
  { app, rpc, chainId, contracts }: AuditOptions,
  tx: Tx,
  tip: BlockRef,
  since: number | undefined,
  findings: Findings,
): Promise<void> {
  const context: AuditContext = {
    tx,
    chainId,
    rpc,
    tip,
    since,
    contracts: Object.fromEntries(contracts.map(({ name, address }) => [name, address])),
    checked: findings.checked,
    failed: findings.failed,
  };
  for (const check of app.audits) await check(context);
}

/** How far everything is delivered, and final where a task waits for that. */
async function settledTo(tx: Tx, app: App, chainId: number, { tip_number, finalized_number }: Checkpoint): Promise<number> {
  const open = await firstOpenBlock(
    tx,
    chainId,
    app.routes.map(({ queue }) => queue),
  );
  const delivered = open === null ? tip_number! : Math.min(tip_number!, open - 1);
  return app.routes.some(({ finality }) => finality !== "latest") ? Math.min(delivered, finalized_number ?? -1) : delivered;
}

/**
 * Writes down what was found, and raises the block up to which everything is audited, unless something below it changed
 * meanwhile or blocks in between were not looked at.
 */
async function publish({ db, chainId }: AuditOptions, { checkpoint, findings, from, tip, reached }: Audited): Promise<AuditReport> {
  const { start_block, doubts } = checkpoint;
  const report = findings.report({ chainId, from, to: tip.number, auditedTo: reached < start_block ? null : reached });
  await db.query(
    `update checkpoint set audit_at = now(), audit_failures = $2, audited_to =
       case when $3::bigint is not null and doubts = $4 and $5 <= coalesce(audited_to, start_block - 1) + 1 then greatest(audited_to, $3)
       else audited_to end
     where chain_id = $1`,
    [chainId, findings.failures(), report.auditedTo, doubts, from],
  );
  return report;
}

async function readTip(sql: Sql, chainId: number): Promise<{ checkpoint: Checkpoint; tip: BlockRef }> {
  const { rows } = await sql.query<Checkpoint>(
    `select start_block, tip_number, tip_hash, finalized_number, events, audited_to, doubts, halted_at is not null as halted
     from checkpoint where chain_id = $1`,
    [chainId],
  );
  const checkpoint = rows[0];
  if (!checkpoint || checkpoint.tip_number === null) {
    throw new SluiceError(`nothing of chain ${chainId} has been followed yet`, { hint: "run `npm run listen` first" });
  }
  if (checkpoint.halted) throw new SluiceError("the journal is halted", { hint: RESYNC });
  return { checkpoint, tip: { number: checkpoint.tip_number, hash: checkpoint.tip_hash } };
}

/** Runs checks that ask the node about the tip; undefined where its block there is another than the journal's by now. */
async function atTip(
  { source }: AuditOptions,
  tip: BlockRef,
  work: (findings: Findings) => Promise<Audited>,
  findings = createFindings(),
): Promise<Audited | undefined> {
  const isCanonical = async () => (await source.headerByNumber(tip.number))?.hash === tip.hash;
  if (!(await isCanonical())) return undefined;
  try {
    const audited = await work(findings);
    return (await isCanonical()) ? audited : undefined;
  } catch (error) {
    // Asked about a block that was orphaned meanwhile, a node refuses.
    if (error instanceof SluiceError && !(await isCanonical())) return undefined;
    throw error;
  }
}

async function untilCanonical(options: AuditOptions, once: () => Promise<Audited | undefined>): Promise<AuditReport> {
  for (let tries = 1; ; tries++) {
    const audited = await once();
    if (audited) return publish(options, audited);
    if (tries === 10) {
      throw new SluiceError(`the node no longer has the tip of chain ${options.chainId}'s journal`, {
        hint: "is a listener running? its reorg must be followed first",
      });
    }
    await sleep(500);
  }
}
