import type { App } from "../app.ts";
import type { Tx } from "../db.ts";
import { insertDeliveries, planDeliveries, toRouted } from "./deliveries.ts";
import { EVENT_COLUMNS, type EventRow } from "./events.ts";

/** Live events of the blocks above `above`; where there may be very many, the newest `limit` of those before position `before`. */
export type TakeBackOptions = { app: App; chainId: number; above: number; before?: number; limit?: number };

/**
 * Orphans events, and puts their reverts into the queues that follow the head, the newest first.
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
  const routes = app.routes.filter(route => route.follows === "head");
  const drafts = planDeliveries(routes, toRouted(app, orphaned), "revert");
  return { orphaned, deliveries: await insertDeliveries(tx, chainId, drafts) };
}
