import type { App, CompiledRoute } from "../app.ts";
import type { Tx } from "../db.ts";
import { type Draft, forwardOf, planDeliveries, reachesInto, toRouted } from "./deliveries.ts";
import { EVENT_COLUMNS, type EventRow } from "./events.ts";
import { isPruned } from "./pruned.ts";

export type MissingOptions = {
  app: App;
  chainId: number;
  route: CompiledRoute;
  /** Which of the route's events, `Token.Transfer` and so on. */
  names: readonly string[];
  /** The journal position after which to look, and how many events to look at; all of them unless told. */
  after?: number;
  limit?: number;
  /** Only events of later blocks than this one. */
  above?: number;
  /** Only events of blocks up to this one; of all blocks unless told. */
  upTo?: number | undefined;
};

/** Events that are read at once where there may be very many. */
export const READ_AT_ONCE = 5_000;

/**
 * Plans a queue's deliveries for live events that none covers yet, in the order of the journal.
 *
 * @returns the deliveries, not stored; and the position to go on after, undefined at the journal's end
 */
export async function planMissing(
  tx: Tx,
  { app, chainId, route, names, after = 0, limit, above = -1, upTo }: MissingOptions,
): Promise<{ drafts: Draft[]; events: number; last: number | undefined }> {
  const { rows } = await tx.query<EventRow & { covered: boolean }>(
    `with found as materialized (
       select ${EVENT_COLUMNS} from events
       where chain_id = $1 and position > $2 and live and contract || '.' || name = any($3)
         and block_number > $4 and block_number <= coalesce($5, ${Number.MAX_SAFE_INTEGER})
       order by position limit $7
     ), range as materialized (
       select min(position) as low, max(position) as high from found
     ), covered as materialized (
       select unnest(d.events) as event from deliveries d, range r
       where d.chain_id = $1 and d.queue = $6 and d.operation in ('apply', 'run')
         and ${reachesInto("r.low", "r.high")}
     )
     select *, position in (select event from covered) or coalesce(${isPruned("$6", "found")}, false) as covered from found order by position`,
    [chainId, after, names, above, upTo ?? null, route.queue, limit ?? null],
  );
  const missing = rows.filter(({ covered }) => !covered);
  return {
    drafts: planDeliveries([route], toRouted(app, missing), forwardOf(route)),
    events: missing.length,
    last: rows.at(-1)?.position,
  };
}
