import { createHash } from "node:crypto";
import type { App, CompiledRoute, JournalEvent } from "../app.ts";
import { cleanText, type Tx } from "../db.ts";
import { describe } from "../errors.ts";
import { type EventRow, toJournalEvent } from "./events.ts";

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
 * Gives each draft the next place in its queue and stores it. Locks the queues' rows, in order, until the end of `tx`.
 *
 * @returns how many deliveries each queue got
 */
export async function insertDeliveries(tx: Tx, chainId: number, drafts: readonly Draft[]): Promise<Record<string, number>> {
  const counts = new Map<string, number>();
  if (drafts.length === 0) return {};
  for (const { queue } of drafts) counts.set(queue, (counts.get(queue) ?? 0) + 1);
  const names = [...counts.keys()].sort();
  const left = new Map(counts);
  // How far from the last place of its queue each will be.
  const placed = drafts.map(draft => {
    left.set(draft.queue, left.get(draft.queue)! - 1);
    return { ...draft, position: -left.get(draft.queue)! };
  });
  await tx.query(
    `with last as (
       insert into queues as q (chain_id, queue, created)
       select $1, queue, n from unnest($10::text[], $11::bigint[]) as c (queue, n)
       on conflict (chain_id, queue) do update set created = q.created + excluded.created
       returning queue, created
     ) ${store("created + position", "join last using (queue)")}`,
    [...columns(chainId, placed), names, names.map(name => counts.get(name))],
  );
  return Object.fromEntries(counts);
}

/** Stores deliveries in places that are theirs already. */
export async function storeDeliveries(tx: Tx, chainId: number, drafts: readonly Placed[]): Promise<void> {
  if (drafts.length > 0) await tx.query(store("position"), columns(chainId, drafts));
}

const store = (position: string, join = "") => `
  insert into deliveries (chain_id, queue, position, operation, events, first_event, last_event, key, state, last_error)
  select $1, queue, ${position}, operation, events::bigint[], first_event, last_event, key,
    case when error is null then 'pending' else 'dead' end, error
  from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[])
    as d (queue, position, operation, events, first_event, last_event, key, error) ${join}`;

const columns = (chainId: number, drafts: readonly Placed[]) => [
  chainId,
  drafts.map(d => d.queue),
  drafts.map(d => d.position),
  drafts.map(d => d.operation),
  drafts.map(d => `{${d.events.join(",")}}`),
  drafts.map(d => Math.min(d.events[0]!, d.events.at(-1)!)),
  drafts.map(d => Math.max(d.events[0]!, d.events.at(-1)!)),
  drafts.map(d => d.key),
  drafts.map(d => d.error),
];
