import { isDeepStrictEqual } from "node:util";
import type { App, AuditContext, AuditFailure, CompiledRoute, Projection } from "../app.ts";
import { argumentsToJson, type ContractAt, createDecoder } from "../chain/events.ts";
import { logRanges } from "../chain/ranges.ts";
import type { Rpc } from "../chain/rpc.ts";
import type { BlockRef, ChainSource, Hex, Log } from "../chain/types.ts";
import { type Db, SCHEMA, sleep, type Tx, transaction } from "../db.ts";
import { SluiceError } from "../errors.ts";
import { EVENT_COLUMNS, type EventRow, toJournalEvent } from "./events.ts";

/** What an audit found. `checked` counts, per invariant, how many things were compared. Blocks `from` to `to`, inclusive. */
export type AuditReport = {
  ok: boolean;
  chainId: number;
  from: number;
  to: number;
  checked: Record<string, number>;
  failures: { invariant: string; what: string; expected: string; found: string }[];
};

export type AuditOptions = { db: Db; rpc: Rpc; source: ChainSource; app: App; chainId: number; contracts: readonly ContractAt[] };

type Checkpoint = { start_block: number; tip_number: number | null; tip_hash: Hex; finalized_number: number | null };

/** A table of differences is cut here: the first ones tell the story. */
const MAX_FAILURES = 100;
const RECOMPUTE_AT_ONCE = 500;

/**
 * Holds the journal and every projection against the chain itself, at one moment of the database: what is still under way
 * then is neither missed nor counted twice, so a live system can be audited as it runs.
 *
 * I1 and I2: the node's logs from the start to the tip are exactly the live events. I3 and I4: the blocks held are linked
 * and end in the tip. I5 and I6: one delivery covers each event and operation, with the net effect of one if it is live.
 * I9 and I10: each projection's tables equal what its events give when they are applied anew. I11: no finality queue has
 * a revert. The application adds its own.
 *
 * @throws SluiceError when nothing was followed yet, or the chain moves away under the audit again and again
 */
export async function audit(options: AuditOptions): Promise<AuditReport> {
  for (let tries = 1; ; tries++) {
    const report = await auditOnce(options);
    if (report) return report;
    if (tries === 10)
      throw new SluiceError("the node no longer has the journal's tip", {
        hint: "is a listener running? its reorg must be followed first",
      });
    await sleep(500);
  }
}

/** One attempt; undefined where the node's block at the tip is another than the journal's by now. */
async function auditOnce({ db, rpc, source, app, chainId, contracts }: AuditOptions): Promise<AuditReport | undefined> {
  return transaction(
    db,
    async tx => {
      const { rows } = await tx.query<Checkpoint>(
        "select start_block, tip_number, tip_hash, finalized_number from checkpoint where chain_id = $1",
        [chainId],
      );
      const checkpoint = rows[0];
      if (!checkpoint || checkpoint.tip_number === null) {
        throw new SluiceError(`nothing of chain ${chainId} has been followed yet`, { hint: "run `npm run listen` first" });
      }
      const tip = { number: checkpoint.tip_number, hash: checkpoint.tip_hash };
      const isCanonical = async () => (await source.headerByNumber(tip.number))?.hash === tip.hash;
      if (!(await isCanonical())) return undefined;

      const findings = createFindings();
      try {
        await checkEvents(tx, source, { chainId, from: checkpoint.start_block, tip, contracts }, findings);
        await checkBlocks(tx, source, chainId, tip, findings);
        for (const route of app.routes) await checkDeliveries(tx, chainId, route, checkpoint.finalized_number ?? -1, findings);
        for (const projection of app.projections) await checkProjection(tx, chainId, app, projection, findings);
        const context: AuditContext = {
          tx,
          chainId,
          rpc,
          tip,
          contracts: Object.fromEntries(contracts.map(({ name, address }) => [name, address])),
          checked: findings.checked,
          failed: findings.failed,
        };
        for (const check of app.audits) await check(context);
      } catch (error) {
        // Asked about a block that was orphaned meanwhile, a node refuses.
        if (error instanceof SluiceError && !(await isCanonical())) return undefined;
        throw error;
      }
      if (!(await isCanonical())) return undefined;
      return findings.report({ chainId, from: checkpoint.start_block, to: tip.number });
    },
    "repeatable read",
  );
}

type Findings = ReturnType<typeof createFindings>;

function createFindings() {
  const checked: Record<string, number> = {};
  const failures: AuditReport["failures"] = [];
  let failed = 0;
  const show = (value: unknown) =>
    typeof value === "string" ? value : (JSON.stringify(value, (_, v) => (typeof v === "bigint" ? v.toString() : v)) ?? "nothing");
  return {
    checked(invariant: string, count: number) {
      checked[invariant] = (checked[invariant] ?? 0) + count;
    },
    failed({ invariant, what, expected, found }: AuditFailure) {
      failed += 1;
      if (failures.length < MAX_FAILURES) failures.push({ invariant, what, expected: show(expected), found: show(found) });
    },
    report: (range: { chainId: number; from: number; to: number }): AuditReport => ({ ok: failed === 0, ...range, checked, failures }),
  };
}

/** I1, I2: walks the node's logs and the journal's live events side by side, in the order of the chain. */
async function checkEvents(
  tx: Tx,
  source: ChainSource,
  { chainId, from, tip, contracts }: { chainId: number; from: number; tip: BlockRef; contracts: readonly ContractAt[] },
  findings: Findings,
): Promise<void> {
  const decode = createDecoder(contracts);
  for await (const range of logRanges(source, from, tip.number)) {
    const { rows } = await tx.query<EventRow>(
      `select ${EVENT_COLUMNS} from events where chain_id = $1 and block_number between $2 and $3 and live order by block_number, log_index`,
      [chainId, range.from, range.to],
    );
    const place = (number: number, index: number) => `block ${number}, log ${index}`;
    const events = new Map(rows.map(row => [place(row.block_number, row.log_index), row]));
    for (const log of range.logs) {
      const at = place(log.blockNumber, log.logIndex);
      const event = events.get(at);
      events.delete(at);
      if (!event) findings.failed({ invariant: "I1", what: `event of ${at}`, expected: decode(log).name, found: "nothing" });
      else if (!isSame(log, event, decode)) findings.failed({ invariant: "I2", what: `event of ${at}`, expected: log, found: event });
    }
    for (const [at, event] of events) findings.failed({ invariant: "I2", what: `event of ${at}`, expected: "nothing", found: event });
    findings.checked("I1", range.logs.length);
    findings.checked("I2", rows.length);
  }
}

function isSame(log: Log, event: EventRow, decode: ReturnType<typeof createDecoder>): boolean {
  const decoded = decode(log);
  return (
    event.block_hash === log.blockHash &&
    event.transaction_hash === log.transactionHash &&
    event.address === log.address &&
    event.data === log.data &&
    isDeepStrictEqual(event.topics, log.topics) &&
    event.name === decoded.name &&
    (decoded.arguments === undefined ||
      event.error !== null ||
      isDeepStrictEqual(event.arguments, JSON.parse(argumentsToJson(decoded.arguments))))
  );
}

/** I3, I4: the blocks held are contiguous, linked, the node's, and end in the checkpoint; no live event lies beyond it. */
async function checkBlocks(tx: Tx, source: ChainSource, chainId: number, tip: BlockRef, findings: Findings): Promise<void> {
  const { rows: blocks } = await tx.query<BlockRef & { parent_hash: Hex }>(
    "select number, hash, parent_hash from blocks where chain_id = $1 order by number",
    [chainId],
  );
  const headers = await source.headers(blocks.map(({ number }) => number));
  for (const [i, block] of blocks.entries()) {
    const below = blocks[i - 1];
    if (below && (below.number !== block.number - 1 || below.hash !== block.parent_hash)) {
      findings.failed({ invariant: "I3", what: `parent of block ${block.number}`, expected: block.parent_hash, found: below });
    }
    if (headers[i]?.hash !== block.hash)
      findings.failed({ invariant: "I3", what: `block ${block.number}`, expected: headers[i]?.hash, found: block.hash });
  }
  findings.checked("I3", blocks.length);
  const last = blocks.at(-1);
  if (last?.hash !== tip.hash) findings.failed({ invariant: "I4", what: "the last block held", expected: tip, found: last });
  const { rows: beyond } = await tx.query<{ position: number }>(
    "select position from events where chain_id = $1 and block_number > $2 and live",
    [chainId, tip.number],
  );
  for (const { position } of beyond)
    findings.failed({ invariant: "I4", what: `event ${position}`, expected: "nothing beyond the tip", found: position });
  findings.checked("I4", 1);
}

type Coverage = {
  position: number;
  live: boolean;
  due: boolean;
  undecodable: boolean;
  resynced: boolean;
  forward: number;
  backward: number;
  forward_done: number;
  backward_done: number;
  open: number;
};

/** I5, I6, I11 of one queue. A replay has no net effect, and an event may have any number of them. An event of a finality queue is due once its block is final. */
async function checkDeliveries(tx: Tx, chainId: number, route: CompiledRoute, finalized: number, findings: Findings): Promise<void> {
  const { rows } = await tx.query<Coverage>(
    `with covered as (
       select e.position, d.operation, d.state from deliveries d cross join unnest(d.events) as e (position)
       where d.chain_id = $1 and d.queue = $2
     ), wanted as (
       select position, live, error is not null as undecodable, $4 or block_number <= $5 as due,
         not live and exists (
           select from resyncs r where r.chain_id = $1 and block_number >= r.from_block and position <= r.last_event
         ) as resynced from events
       where chain_id = $1 and contract || '.' || name = any($3)
     )
     select coalesce(w.position, c.position) as position, w.live, w.undecodable, w.due, w.resynced,
       count(*) filter (where operation in ('apply', 'run')) as forward,
       count(*) filter (where operation = 'revert') as backward,
       count(*) filter (where operation in ('apply', 'run') and state = 'done') as forward_done,
       count(*) filter (where operation = 'revert' and state = 'done') as backward_done,
       count(*) filter (where operation <> 'replay' and state in ('pending', 'sent')) as open
     from wanted w full join covered c on c.position = w.position
     group by 1, 2, 3, 4, 5`,
    [chainId, route.queue, [...route.events], route.follows === "head", finalized],
  );
  for (const row of rows) {
    const what = `event ${row.position} in queue ${route.queue}`;
    const coverage = expectedCoverage(row, route);
    if (!coverage.holds)
      findings.failed({ invariant: "I5", what, expected: coverage.expected, found: `${row.forward} and ${row.backward} back` });
    if (row.open > 0 || ranForGood(row, route)) continue;
    const net = row.forward_done - (row.forward_done > 0 ? row.backward_done : 0);
    const expected = row.live && row.due ? 1 : 0;
    if (net !== expected) findings.failed({ invariant: "I6", what: `net effect of ${what}`, expected, found: net });
    if (route.follows === "finality" && row.backward > 0)
      findings.failed({ invariant: "I11", what, expected: "no revert", found: row.backward });
  }
  findings.checked("I5", rows.length);
  findings.checked("I6", rows.filter(row => row.open === 0).length);
  if (route.follows === "finality") findings.checked("I11", rows.length);
}

/** A task that ran for an event that was final, until a resync took it: nothing takes that back. */
const ranForGood = (row: Coverage, route: CompiledRoute) => route.follows === "finality" && row.resynced && row.forward === 1;

/**
 * One delivery there for a live event; for an orphaned one also one back, and none there where a reorg came first. An event
 * that was orphaned before the queue was there has neither.
 */
function expectedCoverage(row: Coverage, route: CompiledRoute): { holds: boolean; expected: string } {
  if (row.live === null) return { holds: false, expected: "no delivery: the queue has no such event" };
  if (ranForGood(row, route)) return { holds: true, expected: "1" };
  if (route.follows === "finality") {
    const forward = row.live && row.due ? 1 : 0;
    return { holds: row.forward === forward, expected: `${forward}` };
  }
  if (row.live) return { holds: row.forward === 1 && row.backward === 0, expected: "1 and 0 back" };
  // What could not be decoded was applied only if a retry found its ABI right by then.
  const backward = row.undecodable ? row.backward <= 1 : row.backward === 1;
  const holds = row.forward <= 1 && (backward || (row.forward === 0 && row.backward === 0));
  return { holds, expected: `0 or 1 and ${row.undecodable ? "0 or 1" : "1"} back` };
}

/**
 * I9, I10: applies a projection's events anew, to empty copies of its tables, and compares. A temporary table hides the
 * real one of the same name, so the projection's own statements run unchanged.
 */
async function checkProjection(tx: Tx, chainId: number, app: App, projection: Projection, findings: Findings): Promise<void> {
  for (const table of projection.tables)
    await tx.query(`create temporary table ${table} (like ${SCHEMA}.${table} including all) on commit drop`);
  const queues = app.routes.filter(route => route.projection === projection).map(route => route.queue);
  const { rows: applied } = await tx.query<{ position: number }>(
    `select e.position from deliveries d cross join unnest(d.events) as e (position)
     where d.chain_id = $1 and d.queue = any($2) and d.state = 'done'
     group by e.position having count(*) filter (where operation = 'apply') > count(*) filter (where operation = 'revert')
     order by e.position`,
    [chainId, queues],
  );
  for (let i = 0; i < applied.length; i += RECOMPUTE_AT_ONCE) {
    const { rows } = await tx.query<EventRow>(
      `select ${EVENT_COLUMNS} from events where chain_id = $1 and position = any($2) order by position`,
      [chainId, applied.slice(i, i + RECOMPUTE_AT_ONCE).map(({ position }) => position)],
    );
    await projection.apply(
      tx,
      rows.map(row => toJournalEvent(app, row)),
    );
  }
  const invariant = projection.name === "statistics" ? "I9" : "I10";
  for (const table of projection.tables) {
    const stored = `select * from ${SCHEMA}.${table} where chain_id = $1`;
    const again = `select * from pg_temp.${table} where chain_id = $1`;
    const difference = async (left: string, right: string) =>
      (await tx.query<{ row: object }>(`select to_jsonb(d) as row from (${left} except all ${right}) d limit ${MAX_FAILURES}`, [chainId]))
        .rows;
    for (const { row } of await difference(again, stored))
      findings.failed({ invariant, what: `a row of ${table}`, expected: row, found: "nothing" });
    for (const { row } of await difference(stored, again))
      findings.failed({ invariant, what: `a row of ${table}`, expected: "nothing", found: row });
    const { rows } = await tx.query<{ n: number }>(`select count(*) as n from ${SCHEMA}.${table} where chain_id = $1`, [chainId]);
    findings.checked(invariant, rows[0]!.n);
    await tx.query(`drop table pg_temp.${table}`);
  }
}
