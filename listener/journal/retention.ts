import type { App, CompiledRoute } from "../app.ts";
import { type Db, sleep, type Tx, transaction } from "../db.ts";
import { describe } from "../errors.ts";
import { createOutage, type Log } from "../log.ts";
import { coversEvent, type Operation } from "./deliveries.ts";
import { hasForward, lockPruning } from "./pruned.ts";
import { MAX_RUN } from "./runs.ts";

export type RetentionOptions = {
  db: Db;
  app: App;
  chainId: number;
  /** Milliseconds for which a delivery that is done is kept. */
  retention: number;
};

/** Deliveries that are looked at in one step, and the events that these cover at most. */
const AT_ONCE = { deliveries: 1_000, events: 10_000 };
/** Between two steps, so that they are nobody's load; between two sweeps (ms). */
const PAUSE = { step: 50, sweep: 600_000 };

type Row = { position: number; operation: Operation; state: string; events: number[]; old: boolean };
type Event = { position: number; event: string; live: boolean; final: boolean };
type Step = { removed: number; next: number | undefined };

/** Removes what need not be kept, queue by queue, again and again until the signal aborts. */
export async function keepPruning({ log, signal, ...options }: RetentionOptions & { log: Log; signal: AbortSignal }): Promise<void> {
  const outage = createOutage(log, "old deliveries cannot be removed");
  while (!signal.aborted) {
    try {
      const removed = await prune({ ...options, signal });
      outage.ends();
      if (removed > 0) log.info({ removed }, "removed deliveries that were done long ago");
    } catch (error) {
      if (!signal.aborted) outage.begins(describe(error));
    }
    await sleep(Math.min(PAUSE.sweep, Math.max(1_000, options.retention / 10)), signal);
  }
}

/**
 * One sweep: removes deliveries that are done for longer than the retention, in small steps. All of their events are in final
 * blocks that were audited, and the audit's shadow of a projection has taken them in: without audits nothing is removed. Dead
 * letters and what is open stay, and so does an event's way there for as long as its way back is kept.
 *
 * What is left of them is one number per queue and event name: see pruned.ts.
 *
 * @param atOnce deliveries that a step looks at, the events that these cover at most
 * @returns how many were removed
 */
export async function prune(options: RetentionOptions & { signal?: AbortSignal; atOnce?: typeof AT_ONCE }): Promise<number> {
  const { db, app, signal, atOnce = AT_ONCE } = options;
  let removed = 0;
  for (const route of app.routes) {
    for (let after: number | undefined = 0; after !== undefined && !signal?.aborted; ) {
      const step: Step = await transaction(db, tx => pruneNext(tx, options, { route, after: after!, atOnce }));
      removed += step.removed;
      after = step.next;
      if (signal && after !== undefined) await sleep(PAUSE.step, signal);
    }
  }
  return removed;
}

async function pruneNext(
  tx: Tx,
  { chainId, retention }: RetentionOptions,
  { route, after, atOnce }: { route: CompiledRoute; after: number; atOnce: typeof AT_ONCE },
): Promise<Step> {
  const { queue } = route;
  // While this is held no resync and no rebuild begins. The relay and the listener go on.
  await lockPruning(tx, chainId, queue);
  const upTo = await auditedUpTo(tx, chainId, route);
  const { rows } = await tx.query<Row>(
    `select position, operation, state, events, old from (
       select position, operation, state, events, done_at < clock_timestamp() - $4 * interval '1 ms' as old,
         sum(cardinality(events)) over (order by position) - cardinality(events) as before
       from (
         select * from deliveries where chain_id = $1 and queue = $2 and position > $3 and position <= $5 order by position limit $6
       ) d
     ) d where before < $7 order by position`,
    [chainId, queue, after, retention, upTo, atOnce.deliveries, atOnce.events],
  );
  const isDue = ({ state, old }: Row) => state === "dead" || (state === "done" && old);
  const young = rows.findIndex(row => !isDue(row));
  const due = young < 0 ? rows : rows.slice(0, young);
  const next = due.length < rows.length ? undefined : rows.at(-1)?.position;
  const removed = await removeDue(
    tx,
    { chainId, queue, retention, upTo },
    due.filter(({ state }) => state === "done"),
  );
  return { removed, next };
}

/** The last place of a queue whose deliveries may go; 0 where there is none. The row is held: no audit forgets it meanwhile. */
async function auditedUpTo(tx: Tx, chainId: number, { queue, projection }: CompiledRoute): Promise<number> {
  if (!projection) return Number.MAX_SAFE_INTEGER;
  const { rows } = await tx.query<{ position: number }>(
    `select a.position from audited a where a.chain_id = $1 and a.queue = $2 and a.restarts = (
       select restarts from queues q where q.chain_id = $1 and q.queue = $2) for share of a`,
    [chainId, queue],
  );
  return rows[0]?.position ?? 0;
}

type Scope = { chainId: number; queue: string; retention: number; upTo: number };

async function removeDue(tx: Tx, scope: Scope, due: readonly Row[]): Promise<number> {
  if (due.length === 0) return 0;
  const { chainId, queue } = scope;
  const { rows } = await tx.query<Event>(
    `select e.position, e.contract || '.' || e.name as event, e.live,
       coalesce(e.block_number <= least(c.finalized_number, c.audited_to) and c.finalized_number is not null and c.audited_to is not null, false) as final
     from events e join checkpoint c using (chain_id) where chain_id = $1 and position = any($2)`,
    [chainId, [...new Set(due.flatMap(({ events }) => events))]],
  );
  const events = new Map(rows.map(event => [event.position, event]));
  const ends = await gapsOf(tx, scope, rows, due);
  const wayBack = await settledBack(tx, scope, rows);
  const mayGo = (row: Row, position: number): boolean => {
    const { event, live, final } = events.get(position)!;
    if (!final) return false;
    if (row.operation === "run" && !live) return true;
    if (row.operation === "apply" && !live) return wayBack.has(position);
    return !isForward(row) || position < (ends.get(event) ?? Number.POSITIVE_INFINITY);
  };
  const going = due.filter(row => row.events.every(position => mayGo(row, position)));
  const there = await remove(
    tx,
    scope,
    going.filter(row => row.operation !== "revert"),
  );
  // What is applied, by its row, and not taken back, by no row, would be wrong.
  const back = await remove(
    tx,
    scope,
    going.filter(row => row.operation === "revert"),
    `and not exists (
      select from unnest(v.events) as e (position) where ${hasForward("$2")})`,
  );
  const reached = new Map<string, number>();
  for (const row of going.filter(isForward)) {
    for (const position of row.events) {
      const { event, live } = events.get(position)!;
      if (live) reached.set(event, Math.max(reached.get(event) ?? 0, position));
    }
  }
  await tx.query(
    `insert into pruned as p (chain_id, queue, event, up_to) select $1, $2, * from unnest($3::text[], $4::bigint[])
     on conflict (chain_id, queue, event) do update set up_to = greatest(p.up_to, excluded.up_to)`,
    [chainId, queue, [...reached.keys()], [...reached.values()]],
  );
  // The last thing: whoever stores deliveries waits for this row.
  if (there + back > 0)
    await tx.query("update queues set pruned = pruned + $3 where chain_id = $1 and queue = $2", [chainId, queue, there + back]);
  return there + back;
}

const isForward = ({ operation }: Row) => operation === "apply" || operation === "run";

async function remove(tx: Tx, { chainId, queue }: Scope, rows: readonly Row[], only = ""): Promise<number> {
  const { rowCount } = await tx.query(
    `delete from deliveries v where v.chain_id = $1 and v.queue = $2 and v.position = any($3) and v.state = 'done' ${only}`,
    [chainId, queue, rows.map(({ position }) => position)],
  );
  return rowCount ?? 0;
}

/**
 * Per name of these events the first live one, from where everything is known to be delivered, that has no delivery: a queue
 * may be filled with it yet, or wait for it. The number that is kept never passes over one.
 */
async function gapsOf(tx: Tx, { chainId, queue }: Scope, events: readonly Event[], due: readonly Row[]): Promise<Map<string, number>> {
  const ends = new Map<string, number>();
  const covered = due.filter(isForward).flatMap(row => row.events);
  for (const [event, own] of Map.groupBy(
    events.filter(({ live }) => live),
    ({ event }) => event,
  )) {
    const [contract, name] = event.split(".");
    const { rows } = await tx.query<{ position: number }>(
      `with reach as materialized (
         select coalesce((select up_to from pruned where chain_id = $1 and queue = $2 and event = $3 || '.' || $4), 0) as up_to
       )
       select e.position from named_events e
       where e.chain_id = $1 and e.contract = $3 and e.name = $4 and e.run > (select up_to from reach) - ${MAX_RUN} and e.run <= $5
         and e.live and e.position <= $5 and e.position > (select up_to from reach)
         and e.position not in (select unnest($6::bigint[])) and not ${hasForward("$2")}
       order by e.run, e.position limit 1`,
      [chainId, queue, contract, name, Math.max(...own.map(({ position }) => position)), covered],
    );
    if (rows[0]) ends.set(event, rows[0].position);
  }
  return ends;
}

/** Of these events those that a reorg took and whose way back is as old, as done and as audited as their way there. */
async function settledBack(tx: Tx, { chainId, queue, retention, upTo }: Scope, events: readonly Event[]): Promise<Set<number>> {
  const gone = events.filter(({ live }) => !live).map(({ position }) => position);
  if (gone.length === 0) return new Set();
  const { rows } = await tx.query<{ position: number }>(
    `select e.position from unnest($3::bigint[]) as e (position)
     where exists (
       select from deliveries d where d.chain_id = $1 and d.queue = $2 and d.operation = 'revert' and d.state = 'done'
         and d.done_at < clock_timestamp() - $4 * interval '1 ms' and d.position <= $5 and ${coversEvent("e.position")})`,
    [chainId, queue, gone, retention, upTo],
  );
  return new Set(rows.map(({ position }) => position));
}
