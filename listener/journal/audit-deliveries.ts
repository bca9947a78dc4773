import type { CompiledRoute } from "../app.ts";
import type { Sql } from "../db.ts";
import type { Findings } from "./audit-findings.ts";
import { MAX_SPREAD, reachesInto, SENT_TO } from "./deliveries.ts";
import { isPruned } from "./pruned.ts";
import { dueUpTo } from "./waiting.ts";

type Coverage = {
  position: number;
  live: boolean | null;
  due: boolean;
  undecodable: boolean;
  resynced: boolean;
  forward: number;
  backward: number;
  forward_done: number;
  backward_done: number;
  open: number;
};

/** Positions of the journal, inclusive. */
export type Stretch = { low: number; high: number };

/** Positions that are looked at in one statement. */
const AT_ONCE = 20_000;

/** Cuts positions, ascending, into stretches whose deliveries are found together: few enough, and near enough to each other. */
export function stretches(positions: readonly number[]): Stretch[] {
  const found: Stretch[] = [];
  for (const position of positions) {
    const last = found.at(-1);
    if (last && position - last.low < AT_ONCE && position - last.high <= MAX_SPREAD) last.high = position;
    else found.push({ low: position, high: position });
  }
  return found;
}

/** All positions up to `last`. */
export const everyStretch = (last: number): Stretch[] =>
  Array.from({ length: Math.ceil(last / AT_ONCE) }, (_, i) => ({ low: i * AT_ONCE + 1, high: Math.min(last, (i + 1) * AT_ONCE) }));

/**
 * I5, I6, I11 of one queue and a stretch of the journal. A replay has no net effect, and an event may have any number of
 * them. An event of a queue that waits is due up to the block that the queue was planned to: see `checkPlanned`. What has one
 * delivery, done, and is live is as it should be and stays in the database: only the rest is looked at one by one.
 */
export async function checkCoverage(
  sql: Sql,
  { chainId, route, low, high }: Stretch & { chainId: number; route: CompiledRoute },
  findings: Findings,
): Promise<void> {
  const { rows } = await sql.query<{ total: number; settled: number; odd: Coverage[] }>(
    `with covered as (
       select e.position, d.operation, d.state from deliveries d cross join unnest(d.events) as e (position)
       where d.chain_id = $1 and d.queue = $2 and ${reachesInto("$5", "$6")}
         and e.position between $5 and $6
     ), wanted as (
       select position, live, error is not null as undecodable,
         $4 or block_number <= (select planned_to from queues where chain_id = $1 and queue = $2) as due,
         not live and exists (
           select from resyncs r where r.chain_id = $1 and block_number >= r.from_block and position <= r.last_event
         ) as resynced, coalesce(${isPruned("$2", "events")}, false) as pruned
       from events where chain_id = $1 and position between $5 and $6 and contract || '.' || name = any($3)
     ), counted as (
       select coalesce(w.position, c.position) as position, w.live, w.undecodable, w.due, w.resynced, w.pruned,
         count(*) filter (where operation in ('apply', 'run')) as forward,
         count(*) filter (where operation = 'revert') as backward,
         count(*) filter (where operation in ('apply', 'run') and state = 'done') as forward_done,
         count(*) filter (where operation = 'revert' and state = 'done') as backward_done,
         count(*) filter (where operation <> 'replay' and state in ('pending', 'sent')) as open
       from wanted w full join covered c on c.position = w.position
       group by 1, 2, 3, 4, 5, 6
     ), coverage as (
       -- A delivery that is no longer kept was done.
       select position, live, undecodable, due, resynced, backward, backward_done, open,
         case when pruned and forward = 0 then 1 else forward end as forward,
         case when pruned and forward = 0 then 1 else forward_done end as forward_done
       from counted
     )
     select count(*) as total, count(*) filter (where open = 0) as settled,
       coalesce(json_agg(c) filter (where not coalesce(live and due and forward = 1 and backward = 0 and (forward_done = 1 or open > 0), false)), '[]') as odd
     from coverage c`,
    [chainId, route.queue, [...route.events], route.finality === "latest", low, high],
  );
  const { total, settled, odd } = rows[0]!;
  for (const row of odd) {
    const what = `event ${row.position} in queue ${route.queue}`;
    const coverage = expectedCoverage(row, route);
    if (!coverage.holds)
      findings.failed({ invariant: "I5", what, expected: coverage.expected, found: `${row.forward} and ${row.backward} back` });
    if (row.open > 0 || ranForGood(row, route)) continue;
    const net = row.forward_done - (row.forward_done > 0 ? row.backward_done : 0);
    const expected = row.live && row.due ? 1 : 0;
    if (net !== expected) findings.failed({ invariant: "I6", what: `net effect of ${what}`, expected, found: net });
    if (!route.undoable && row.backward > 0) findings.failed({ invariant: "I11", what, expected: "no revert", found: row.backward });
  }
  findings.checked("I5", total);
  findings.checked("I6", settled);
  if (!route.undoable) findings.checked("I11", total);
}

/** I5: a queue that waits was planned up to where its finality is. How far the chain is safe is the node's to say, not the journal's. */
export async function checkPlanned(
  sql: Sql,
  { chainId, route, tip, finalized }: { chainId: number; route: CompiledRoute; tip: number; finalized: number },
  findings: Findings,
): Promise<void> {
  if (route.finality === "latest") return;
  const { rows } = await sql.query<{ planned_to: number | null }>("select planned_to from queues where chain_id = $1 and queue = $2", [
    chainId,
    route.queue,
  ]);
  const due = dueUpTo(route.finality, { tip, finalized });
  const found = rows[0]?.planned_to ?? -1;
  const what = `the block that queue ${route.queue} was planned to`;
  if (found < due) findings.failed({ invariant: "I5", what, expected: `${due} at least`, found });
  findings.checked("I5", 1);
}

/** A task that ran for an event that was final, until a resync took it: nothing takes that back. */
const ranForGood = (row: Coverage, route: CompiledRoute) => !route.undoable && row.resynced && row.forward === 1;

/**
 * One delivery there for a live event; for an orphaned one also one back, and none there where a reorg came first. An event
 * that was orphaned before the queue was there has neither.
 */
function expectedCoverage(row: Coverage, route: CompiledRoute): { holds: boolean; expected: string } {
  if (row.live === null) return { holds: false, expected: "no delivery: the queue has no such event" };
  if (ranForGood(row, route)) return { holds: true, expected: "1" };
  if (!route.undoable || (row.live && !row.due)) {
    const forward = row.live && row.due ? 1 : 0;
    return { holds: row.forward === forward && (row.backward === 0 || !route.undoable), expected: `${forward}` };
  }
  if (row.live) return { holds: row.forward === 1 && row.backward === 0, expected: "1 and 0 back" };
  // What could not be decoded was applied only if a retry found its ABI right by then.
  const backward = row.undecodable ? row.backward <= 1 : row.backward === 1;
  const holds = row.forward <= 1 && (backward || (row.forward === 0 && row.backward === 0));
  return { holds, expected: `0 or 1 and ${row.undecodable ? "0 or 1" : "1"} back` };
}

/**
 * I12: of an ordered queue's deliveries of events from a position on, none of a key was done before an earlier one of that key, except a
 * revert, which a dead letter does not hold: what it reverts was never applied.
 */
export async function checkOrder(
  sql: Sql,
  { chainId, queue, low }: { chainId: number; queue: string; low: number },
  findings: Findings,
): Promise<void> {
  const { rows } = await sql.query<{ total: number; wrong: { position: number; key: string }[] }>(
    `select count(*) as total, coalesce(json_agg(json_build_object('position', position, 'key', key)) filter (where wrong), '[]') as wrong
     from (
       select position, key, operation <> 'revert' and state = 'done'
         and coalesce(done_at < max(done_at) over earlier or bool_or(state <> 'done') over earlier, false) as wrong
       from deliveries where chain_id = $1 and queue = $2 and last_event >= $3 and key is not null
       window earlier as (partition by key order by position rows between unbounded preceding and 1 preceding)
     ) d`,
    [chainId, queue, low],
  );
  const { total, wrong } = rows[0]!;
  for (const { position, key } of wrong) {
    const what = `delivery ${position} of key ${JSON.stringify(key)} in queue ${queue}`;
    findings.failed({ invariant: "I12", what, expected: "done after every earlier one of its key", found: "done before" });
  }
  findings.checked("I12", total);
}

/** Milliseconds for which a sent delivery may be without a job: the relay looks for lost ones every few seconds. */
const LOST_FOR = 60_000;
/** Oldest sent deliveries whose jobs are looked for. */
const LOOKED_FOR = 100;

/** What the backend holds of a queue: jobs that wait, those being worked on left out; and whether a delivery has a job. */
export type QueueJobs = (
  queue: string,
) => Promise<{ waiting: number; has(delivery: { position: number; sends: number }): Promise<boolean> }>;

/**
 * I14: no more than a window of a queue's deliveries is in flight, and no more of its jobs wait in the backend. I15: what is
 * in flight has a job there, and no delivery was lost: there are as many as places were given out. The latter is counted
 * only where `all` is set, for that reads every row.
 *
 * @param sql sees the newest state, not a snapshot: the backend has none
 */
export async function checkFlow(
  sql: Sql,
  { chainId, queue, window, jobs, all }: { chainId: number; queue: string; window: number; jobs: QueueJobs | undefined; all: boolean },
  findings: Findings,
): Promise<void> {
  const count = async (query: string) => (await sql.query<{ n: number }>(query, [chainId, queue])).rows[0]?.n ?? 0;
  const inFlight = await count(
    `select count(*) as n from deliveries where chain_id = $1 and queue = $2 and state = 'sent' and position <= ${SENT_TO}`,
  );
  if (inFlight > window)
    findings.failed({ invariant: "I14", what: `in flight of queue ${queue}`, expected: `${window} at most`, found: inFlight });
  findings.checked("I14", 1);
  if (jobs) {
    const { waiting, has } = await jobs(queue);
    if (waiting > window)
      findings.failed({ invariant: "I14", what: `waiting jobs of queue ${queue}`, expected: `${window} at most`, found: waiting });
    const { rows: sent } = await sql.query<{ position: number; sends: number }>(
      `select position, sends from deliveries where chain_id = $1 and queue = $2 and state = 'sent' and position <= ${SENT_TO}
         and sent_at < clock_timestamp() - $3 * interval '1 ms' order by position limit ${LOOKED_FOR}`,
      [chainId, queue, LOST_FOR],
    );
    for (const delivery of sent) {
      if (!(await has(delivery)) && (await isStillSent(sql, chainId, queue, delivery)))
        findings.failed({
          invariant: "I15",
          what: `delivery ${delivery.position} of queue ${queue}`,
          expected: "a job in flight",
          found: "none",
        });
    }
    findings.checked("I15", sent.length);
  }
  if (!all) return;
  const { rows } = await sql.query<{ places: number; held: number }>(
    `select coalesce((select created - removed - pruned from queues where chain_id = $1 and queue = $2), 0) as places,
       (select count(*) from deliveries where chain_id = $1 and queue = $2) as held`,
    [chainId, queue],
  );
  const { places, held } = rows[0]!;
  if (places !== held) findings.failed({ invariant: "I15", what: `deliveries of queue ${queue}`, expected: places, found: held });
  findings.checked("I15", held);
}

/** Between the two questions it may have been done, or sent anew. */
async function isStillSent(
  sql: Sql,
  chainId: number,
  queue: string,
  { position, sends }: { position: number; sends: number },
): Promise<boolean> {
  const { rowCount } = await sql.query(
    "select from deliveries where chain_id = $1 and queue = $2 and position = $3 and state = 'sent' and sends = $4",
    [chainId, queue, position, sends],
  );
  return rowCount === 1;
}

/**
 * I16, as far as the journal shows it: nothing is open in a queue that no route names, and no error that is kept holds one
 * of these secrets.
 */
export async function checkKept(
  sql: Sql,
  { chainId, queues, secrets }: { chainId: number; queues: readonly string[]; secrets: readonly string[] },
  findings: Findings,
): Promise<void> {
  const { rows: orphans } = await sql.query<{ queue: string; n: number }>(
    `select queue, count(*) as n from deliveries where chain_id = $1 and state in ('pending', 'sent') and queue <> all($2) group by queue`,
    [chainId, queues],
  );
  for (const { queue, n } of orphans)
    findings.failed({ invariant: "I16", what: `open deliveries of queue ${queue}`, expected: "a route of that name", found: n });
  const { rows: told } = await sql.query<{ queue: string; position: number }>(
    `select queue, position from deliveries
     where chain_id = $1 and state in ('pending', 'sent', 'dead') and exists (select from unnest($2::text[]) s where position(s in last_error) > 0) limit 100`,
    [chainId, secrets],
  );
  for (const { queue, position } of told)
    findings.failed({ invariant: "I16", what: `error of delivery ${position} of queue ${queue}`, expected: "no secret", found: "one" });
  findings.checked("I16", queues.length);
}
