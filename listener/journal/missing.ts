import type { App, CompiledRoute } from "../app.ts";
import type { Tx } from "../db.ts";
import { type Draft, planDeliveries, reachesInto, toRouted } from "./deliveries.ts";
import { EVENT_COLUMNS, type EventRow } from "./events.ts";

export type MissingOptions = {
  app: App;
  chainId: number;
  route: CompiledRoute;
  /** Which of the route's events, `Token.Transfer` and so on. */
  names: readonly string[];
  /** The journal position after which to look. */
  after: number;
};

/** Events that are read at once. */
const READ_AT_ONCE = 5_000;

/**
 * Plans a queue's deliveries for live events that none covers yet, the next few thousand in the order of the journal. What
 * waits for finality is due once its block is final.
 *
 * @returns the deliveries, not stored; and the position to go on after, undefined at the journal's end
 */
export async function planMissing(
  tx: Tx,
  { app, chainId, route, names, after }: MissingOptions,
): Promise<{ drafts: Draft[]; events: number; last: number | undefined }> {
  const { rows } = await tx.query<EventRow & { covered: boolean }>(
    `with found as materialized (
       select ${EVENT_COLUMNS} from events
       where chain_id = $1 and position > $2 and live and contract || '.' || name = any($3)
         and ($4 or block_number <= (select finalized_number from checkpoint where chain_id = $1))
       order by position limit $6
     ), range as materialized (
       select min(position) as low, max(position) as high from found
     ), covered as materialized (
       select unnest(d.events) as event from deliveries d, range r
       where d.chain_id = $1 and d.queue = $5 and d.operation in ('apply', 'run')
         and ${reachesInto("r.low", "r.high")}
     )
     select *, position in (select event from covered) as covered from found order by position`,
    [chainId, after, names, route.follows === "head", route.queue, READ_AT_ONCE],
  );
  const missing = rows.filter(({ covered }) => !covered);
  return {
    drafts: planDeliveries([route], toRouted(app, missing), route.follows === "head" ? "apply" : "run"),
    events: missing.length,
    last: rows.at(-1)?.position,
  };
}
