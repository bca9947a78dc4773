import type { Sql, Tx } from "../db.ts";
import { coversEvent, MAX_SPREAD } from "./deliveries.ts";

/**
 * What done deliveries that are no longer kept leave behind: per queue and event name the position `up_to` which each live
 * event was applied or run once, unless a delivery that is still there says otherwise. See retention.ts.
 *
 * SQL: event `e` of chain `$1` lies there. It says so of live events only: of those that a reorg took the rows tell.
 */
export const isPruned = (queue: string, e = "e") =>
  `(${e}.live and ${e}.position <= (
     select p.up_to from pruned p where p.chain_id = $1 and p.queue = ${queue} and p.event = ${e}.contract || '.' || ${e}.name))`;

/** SQL: an event of queue `queue` at this position has a delivery in the ledger that took it there. */
export const hasForward = (queue: string, position = "e.position") =>
  `exists (select from deliveries d where d.chain_id = $1 and d.queue = ${queue} and d.operation in ('apply', 'run') and ${coversEvent(position)})`;

/** SQL: event `e` was given to the queue by a delivery that is no longer there, and by none that is. */
export const isOnlyPruned = (queue: string, e = "e") => `(${isPruned(queue, e)} and not ${hasForward(queue, `${e}.position`)})`;

/**
 * Positions of the next events, in order, that queue `queue` was given by a delivery that is no longer there.
 *
 * @param limit all of them unless told
 */
export async function prunedEvents(
  sql: Sql,
  chainId: number,
  queue: string,
  { after = 0, limit }: { after?: number; limit?: number } = {},
) {
  const { rows } = await sql.query<{ position: number }>(
    `with reach as materialized (
       select max(up_to) as up_to from pruned where chain_id = $1 and queue = $2
     ), covered as materialized (
       select unnest(d.events) as event from deliveries d, reach r
       where d.chain_id = $1 and d.queue = $2 and d.operation in ('apply', 'run')
         and d.last_event > $3 and d.last_event <= r.up_to + ${MAX_SPREAD}
     )
     select position from events e
     where chain_id = $1 and position > $3 and position <= (select up_to from reach) and ${isPruned("$2")}
       and position not in (select event from covered) order by position limit $4`,
    [chainId, queue, after, limit ?? null],
  );
  return rows.map(({ position }) => position);
}

/** The key of the lock under which a queue of a chain, `$1` and `$2`, is pruned, and under which nothing of it is. */
const PRUNING_KEY = "hashtextextended('sluice pruning ' || $1::bigint || ' ' || $2::text, 0)";

/** Keeps the done deliveries of a queue to this transaction: meanwhile none is pruned elsewhere. The relay goes on. */
export async function lockPruning(tx: Tx, chainId: number, queue: string): Promise<void> {
  await tx.query(`select pg_advisory_xact_lock(${PRUNING_KEY})`, [chainId, queue]);
}

/**
 * Puts done deliveries of events of these blocks back into the ledger of a queue, before a resync takes the events: from then on
 * the rows alone tell what was applied. They go to the queue's end, and so the audit's shadow has to begin anew.
 */
export async function restorePruned(tx: Tx, { chainId, queue, from }: { chainId: number; queue: string; from: number }): Promise<void> {
  await tx.query(
    `with lost as (
       select e.position from events e
       where e.chain_id = $1 and e.block_number >= $3 and ${isOnlyPruned("$2")}
     ), grouped as (
       select array_agg(position order by position) as events, min(position) as first, max(position) as last,
         row_number() over (order by min(position)) as n
       from lost group by position / ${MAX_SPREAD}
     ), placed as (
       update queues set created = created + g.n, removed = removed + g.n, pruned = pruned - g.n, restarts = restarts + 1
       from (select count(*) as n from grouped) g where chain_id = $1 and queue = $2 and g.n > 0 returning created - g.n as before
     )
     insert into deliveries (chain_id, queue, position, operation, events, first_event, last_event, state, done_at)
     select $1, $2, before + n, 'apply', events, first, last, 'done', clock_timestamp() from grouped, placed`,
    [chainId, queue, from],
  );
}

/** A queue that is rebuilt begins anew: what was pruned of it counts as not applied. */
export async function forgetPruned(tx: Tx, chainId: number, queue: string): Promise<void> {
  await tx.query("delete from pruned where chain_id = $1 and queue = $2", [chainId, queue]);
}
