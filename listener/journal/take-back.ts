import type { App } from "../app.ts";
import type { Tx } from "../db.ts";
import { appliedAmong } from "./applied.ts";
import { type Draft, insertDeliveries, planDeliveries, toRouted } from "./deliveries.ts";
import { EVENT_COLUMNS, type EventRow } from "./events.ts";

/** Live events of the blocks above `above`; where there may be very many, the newest `limit` of those before position `before`. */
export type TakeBackOptions = { app: App; chainId: number; above: number; before?: number; limit?: number };

/**
 * Orphans events, and puts their reverts into the queues, the newest first: into those that follow the head, and of those that
 * wait into each that has had the event. What only runs when it is final has no way back.
 *
 * @returns the orphaned events, the newest first, and how many deliveries each queue got
 */
export async function takeBack(
  tx: Tx,
  { app, chainId, above, before, limit }: TakeBackOptions,
): Promise<{ orphaned: EventRow[]; deliveries: Record<string, number> }> {
  const { rows: orphaned } = await tx.query<EventRow>(
    `with orphaned as (
       update events set live = false where chain_id = $1 and position in (
         select position from events where chain_id = $1 and block_number > $2 and live and ($3::bigint is null or position < $3)
         order by position desc limit $4
       ) returning ${EVENT_COLUMNS}
     )
     select * from orphaned order by position desc`,
    [chainId, above, before ?? null, limit ?? null],
  );
  const routed = toRouted(app, orphaned);
  const drafts: Draft[] = [];
  for (const route of app.routes.filter(({ undoable }) => undoable)) {
    const had = route.finality === "latest" ? undefined : await plannedOf(tx, chainId, route.queue, orphaned);
    const wanted = had ? routed.filter(({ event }) => had.has(event.position)) : routed;
    drafts.push(...planDeliveries([route], wanted, "revert"));
  }
  // In one order, as everybody locks them.
  await tx.query(
    `update queues set planned_to = $2 where chain_id = $1 and queue = any(array(
       select queue from queues where chain_id = $1 and planned_to > $2 order by queue for update))`,
    [chainId, above],
  );
  return { orphaned, deliveries: await insertDeliveries(tx, chainId, drafts) };
}

async function plannedOf(tx: Tx, chainId: number, queue: string, rows: readonly EventRow[]): Promise<Set<number>> {
  const positions = rows.map(({ position }) => position);
  return new Set(await appliedAmong(tx, chainId, queue, positions, "planned"));
}
