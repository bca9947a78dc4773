import { createHash } from "node:crypto";
import type { App, CompiledRoute, JournalEvent } from "../app.ts";
import { cleanText, plainArray, type Tx } from "../db.ts";
import { describe } from "../errors.ts";
import { type EventRow, toJournalEvent } from "./events.ts";
import { queueKey } from "./queue-lock.ts";

/** `replay` makes an effect again that is there already: its net effect is none, so it counts beside the others. */
export type Operation = "apply" | "revert" | "run" | "replay";

/** An event on its way into deliveries. One that could not be decoded goes straight to the dead letters, with its reason. */
export type Routed = { event: JournalEvent; error: string | undefined };

/** A delivery before it has its place in the queue. */
export type Draft = { queue: string; operation: Operation; events: number[]; key: string | null; error: string | null };

/** A delivery with its place in the queue. */
export type Placed = Draft & { position: number };

/** How far apart the events of one delivery may lie: it bounds the search for an event's deliveries. */
export const MAX_SPREAD = 10_000;

/** What a route's events are delivered as, the first time. */
export const forwardOf = ({ undoable }: CompiledRoute): Operation => (undoable ? "apply" : "run");

/** SQL: the delivery `d`, or another row with its bounds, covers the event at this position. Found through the index on `last_event`. */
export const coversEvent = (position: string, d = "d") =>
  `${d}.last_event between ${position} and ${position} + ${MAX_SPREAD} and ${d}.first_event <= ${position} and ${position} = any(${d}.events)`;

/** SQL: the delivery `d` may cover an event from `low` to `high`, among others. */
export const reachesInto = (low: string, high: string) =>
  `d.last_event between ${low} and ${high}::bigint + ${MAX_SPREAD} and d.first_event <= ${high}`;

const MAX_KEY = 200;

/**
 * Rows of the journal on their way into deliveries. A log that could not be decoded when it came is tried again: its ABI
 * may be right by now, and what a retry applied must be taken back by a reorg, and made again by a rebuild.
 */
export function toRouted(app: App, rows: readonly EventRow[]): Routed[] {
  return rows.map(row => {
    try {
      return { event: toJournalEvent(app, row), error: undefined };
    } catch (error) {
      if (row.error === null) throw error;
      return { event: { position: row.position, event: `${row.contract}.${row.name}` } as JournalEvent, error: row.error };
    }
  });
}

/** The deliveries that take these events, in the given order, to every route that wants them. Pure. */
export function planDeliveries(routes: readonly CompiledRoute[], routed: readonly Routed[], operation: Operation): Draft[] {
  const drafts: Draft[] = [];
  for (const route of routes) {
    let open: Draft | undefined;
    for (const { event, error: undecodable } of routed) {
      if (!route.events.has(event.event)) continue;
      const { key, error } = undecodable === undefined ? keyOf(route, event) : { key: null, error: undecodable };
      // Of what goes straight to the dead letters nothing was ever applied, so there is nothing to revert.
      if (error !== null && operation === "revert") continue;
      const fits = open && error === null && open.events.length < route.batch && Math.abs(event.position - open.events[0]!) < MAX_SPREAD;
      if (fits) {
        open!.events.push(event.position);
        continue;
      }
      const draft = { queue: route.queue, operation, events: [event.position], key, error };
      drafts.push(draft);
      if (error === null) open = draft;
    }
  }
  return drafts;
}

/**
 * The key that a delivery is ordered by. An index holds no long keys, and an event's text has no limit: of a long key its
 * hash does as well. A route whose `orderBy` throws gets a dead letter: one event must not hold the chain.
 */
function keyOf(route: CompiledRoute, event: JournalEvent): { key: string | null; error: string | null } {
  try {
    const key = route.orderBy?.(event) ?? null;
    return { key: key !== null && key.length > MAX_KEY ? createHash("sha256").update(key).digest("hex") : key, error: null };
  } catch (error) {
    return { key: null, error: cleanText(`orderBy of queue ${route.queue}: ${describe(error)}`) };
  }
}

/**
 * Deliveries that need not wait for their turn are stored as sent: a claim, and with it a version of each row, is spared. `queues`
 * are those where that may be: without order per key, and with workers that look at the row.
 *
 * `take` says whether there is room for so many jobs of a queue at once, and counts on them then. If so, they are put into
 * `handed`, and once the transaction is committed whoever gave `take` has to add their jobs; otherwise the relay finds the
 * deliveries behind `queues.sent_to`.
 */
export type Release = { queues: ReadonlySet<string>; take(queue: string, count: number): boolean; handed: Handed[] };

/** A delivery that is committed as sent, and has no job yet. */
export type Handed = { queue: string; position: number; operation: Operation };

/** SQL: the delivery `d` of queue `q` has, or had, a job. */
export const isInFlight = (d = "d", q = "q") => `(${d}.state = 'sent' and ${d}.position <= ${q}.sent_to)`;

/** SQL: the state of the delivery `d` of queue `q`. What may be sent and has no job yet is pending to whoever looks from outside. */
export const shownState = (d = "d", q = "q") =>
  `case when ${d}.state = 'sent' and ${d}.position > ${q}.sent_to then 'pending' else ${d}.state end`;

/** SQL: how far the jobs of queue `$2` of chain `$1` have been made. */
export const SENT_TO = "coalesce((select sent_to from queues where chain_id = $1 and queue = $2), 0)";

/**
 * Gives each draft the next place in its queue and stores it. Locks the queues' rows, in order, until the end of `tx`.
 *
 * A draft is released where `release` has its queue, nothing is open there that later deliveries wait for, and the queue is
 * not being rebuilt. Only the writer of the journal may release: of what bars the way its statements see all, for nobody else
 * stores a revert. (A replay stored at the same moment may be missed, and bars nothing: what is new is not in it.)
 *
 * @returns how many deliveries each queue got
 */
export async function insertDeliveries(
  tx: Tx,
  chainId: number,
  drafts: readonly Draft[],
  release?: Release,
): Promise<Record<string, number>> {
  if (drafts.length === 0) return {};
  const { counts, values, hand } = placeDrafts(chainId, drafts, release);
  const { rows } = await tx.query<{ handed: Record<string, number> }>(
    `with ${PLACED_DELIVERIES()}, stored as (${STORED}) select ${HANDED} as handed`,
    values,
  );
  hand(rows[0]!.handed);
  return counts;
}

/**
 * Drafts on their way into `PLACED_DELIVERIES`, whose parameters `values` are.
 *
 * `hand` takes what `HANDED` gave.
 */
export function placeDrafts(chainId: number, drafts: readonly Draft[], release?: Release) {
  const counts = new Map<string, number>();
  for (const { queue } of drafts) counts.set(queue, (counts.get(queue) ?? 0) + 1);
  const names = [...counts.keys()].sort();
  const left = new Map(counts);
  // How far from the last place of its queue each will be.
  const placed = drafts.map(draft => {
    left.set(draft.queue, left.get(draft.queue)! - 1);
    return { ...draft, position: -left.get(draft.queue)! };
  });
  const released = names.filter(name => release?.queues.has(name));
  const values = [
    ...columns(chainId, placed),
    names,
    names.map(name => counts.get(name)),
    released,
    released.map(name => release!.take(name, counts.get(name)!)),
  ];
  return {
    counts: Object.fromEntries(counts),
    values,
    hand(created: Record<string, number>): void {
      for (const { queue, operation, position, error } of placed) {
        if (error === null && queue in created) release!.handed.push({ queue, operation, position: created[queue]! + position });
      }
    },
  };
}

/** How many parameters `PLACED_DELIVERIES` has. */
export const PLACED_VALUES = 13;

/** SQL: gives drafts their places, and stores them, in steps of a `with`; nothing at all where `gate` is there and false. */
export const PLACED_DELIVERIES = (gate = "") => `
     released as materialized (
       select queue, room and not exists (
         select from deliveries p where p.chain_id = $1 and p.queue = r.queue and p.state = 'pending'
       ) and not exists (
         select from deliveries s where s.chain_id = $1 and s.queue = r.queue and s.state = 'sent'
           and s.position > coalesce((select sent_to from queues where chain_id = $1 and queue = r.queue), 0)
       ) as handed
       from unnest($12::text[], $13::boolean[]) as r (queue, room)
       where pg_try_advisory_xact_lock_shared(${queueKey("r.queue")}) and not exists (
         select from deliveries b
         where b.chain_id = $1 and b.queue = r.queue and b.state in ('pending', 'sent') and b.operation in ('revert', 'replay'))
     ), last as (
       insert into queues as q (chain_id, queue, created, sent_to)
       select $1, queue, n, case when (select handed from released r where r.queue = c.queue) then n else 0 end
       from unnest($10::text[], $11::bigint[]) as c (queue, n) ${gate && `where ${gate}`}
       on conflict (chain_id, queue) do update set created = q.created + excluded.created,
         sent_to = case when excluded.sent_to > 0 then q.created + excluded.created else q.sent_to end
       returning queue, created
     )`;

/** SQL: the last place of each queue whose deliveries are handed over. */
export const HANDED = "(select coalesce(json_object_agg(queue, created), '{}') from last join released using (queue) where handed)";

/** Stores deliveries in places that are theirs already. */
export async function storeDeliveries(tx: Tx, chainId: number, drafts: readonly Placed[]): Promise<void> {
  if (drafts.length > 0) await tx.query(store("position"), columns(chainId, drafts));
}

const store = (position: string, join = "", sent = "false") => `
  insert into deliveries (chain_id, queue, position, operation, events, first_event, last_event, key, state, sends, sent_at, last_error)
  select $1, queue, ${position}, operation, events::bigint[], first_event, last_event, key,
    case when error is not null then 'dead' when ${sent} then 'sent' else 'pending' end,
    case when error is null and ${sent} then 1 else 0 end, case when error is null and ${sent} then now() end, error
  from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[])
    as d (queue, position, operation, events, first_event, last_event, key, error) ${join}`;

/** SQL: the step after `PLACED_DELIVERIES`. */
export const STORED = store("created + position", "join last using (queue) left join released using (queue)", "released.queue is not null");

/** Words and numbers have nothing to quote, and keys and errors are rare: see `plainArray`. */
const columns = (chainId: number, drafts: readonly Placed[]) => [
  chainId,
  plainArray(drafts.map(d => d.queue)),
  plainArray(drafts.map(d => d.position)),
  plainArray(drafts.map(d => d.operation)),
  plainArray(drafts.map(d => `"{${d.events.join(",")}}"`)),
  plainArray(drafts.map(d => Math.min(d.events[0]!, d.events.at(-1)!))),
  plainArray(drafts.map(d => Math.max(d.events[0]!, d.events.at(-1)!))),
  orNull(drafts.map(d => d.key)),
  orNull(drafts.map(d => d.error)),
];

/** Of no array at all `unnest` makes nulls beside the others. */
const orNull = (texts: (string | null)[]) => (texts.every(text => text === null) ? null : texts);
