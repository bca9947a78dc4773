import type { App, CompiledRoute, DeliveryFinality } from "../app.ts";
import type { Tx } from "../db.ts";
import { insertDeliveries, type Release } from "./deliveries.ts";
import { planMissing } from "./missing.ts";

/** Numbers of blocks: our tip, the last final one (-1 before there is one), and the one that the node calls safe, where we hold it. */
export type Reached = { tip: number; finalized: number; safe?: number | undefined };

/** The last block whose events may be delivered to whoever waits for this finality; -1 where there is none. */
export function dueUpTo(finality: DeliveryFinality, { tip, finalized, safe = -1 }: Reached): number {
  if (finality === "latest") return tip;
  if (finality === "finalized") return finalized;
  return Math.max(finalized, finality === "safe" ? Math.min(safe, tip) : tip - finality);
}

/** SQL: the number of block `hash` at height `number` where the journal of chain `$1` holds it: another branch's block is not ours. */
export const heldBlock = (number: string, hash: string) =>
  `(select b.number from blocks b where b.chain_id = $1 and b.number = ${number} and b.hash = ${hash})`;

/**
 * Stores deliveries for what has come due for these routes, none of which follows the head, and notes how far that is. What a
 * queue has already is not delivered again.
 *
 * @param safe the number of the safe block, held by the journal, where that has moved
 * @returns how many deliveries each queue got
 */
export async function planWaiting(
  tx: Tx,
  {
    app,
    chainId,
    routes,
    safe,
    release,
  }: { app: App; chainId: number; routes: readonly CompiledRoute[]; safe?: number; release?: Release | undefined },
): Promise<Record<string, number>> {
  if (routes.length === 0) return {};
  const { rows } = await tx.query<{ tip: number; finalized: number; planned: Record<string, number> }>(
    `select coalesce(tip_number, -1) as tip, coalesce(finalized_number, -1) as finalized,
       (select coalesce(json_object_agg(queue, planned_to) filter (where planned_to is not null), '{}') from queues where chain_id = $1) as planned
     from checkpoint where chain_id = $1`,
    [chainId],
  );
  const { planned, ...reached } = rows[0]!;
  const counts: Record<string, number> = {};
  for (const route of routes) {
    const above = planned[route.queue] ?? -1;
    const upTo = dueUpTo(route.finality, { ...reached, safe });
    if (upTo <= above) continue;
    const { drafts } = await planMissing(tx, { app, chainId, route, names: [...route.events], above, upTo });
    Object.assign(counts, await insertDeliveries(tx, chainId, drafts, release));
    await notePlanned(tx, { chainId, routes: [route], upTo });
  }
  return counts;
}

/** Notes that these queues have deliveries for everything up to this block. */
export async function notePlanned(
  tx: Tx,
  { chainId, routes, upTo }: { chainId: number; routes: readonly CompiledRoute[]; upTo: number },
): Promise<void> {
  if (routes.length === 0) return;
  await tx.query(
    `insert into queues (chain_id, queue, planned_to) select $1, unnest($2::text[]), $3::bigint
     on conflict (chain_id, queue) do update set planned_to = excluded.planned_to`,
    [chainId, routes.map(({ queue }) => queue).sort(), upTo],
  );
}
