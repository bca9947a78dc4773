import type { App, CompiledRoute } from "../app.ts";
import { type Db, type Tx, transaction } from "../db.ts";
import { SluiceError } from "../errors.ts";
import { insertDeliveries, planDeliveries, reachesInto, toRouted } from "../journal/deliveries.ts";
import { EVENT_COLUMNS, type EventRow } from "../journal/events.ts";
import { isPruned } from "../journal/pruned.ts";
import { liveEventOf } from "../journal/runs.ts";
import { chosenEvents, type EventChoice } from "./event-choice.ts";

/** Which events to run again: live ones, of these blocks (inclusive), of that name or id. */
export type ReplayChoice = { fromBlock?: number | undefined; toBlock?: number | undefined; event?: EventChoice | undefined };

/**
 * What a replay of one queue comes to. `events` are run again, by so many `deliveries`; the others are left alone: those
 * whose delivery is `open` still, is a dead letter (`dead`: retry it), or is yet to be made (`undelivered`).
 */
export type Replayed = { queue: string; events: number; deliveries: number; open: number; dead: number; undelivered: number };

type Candidate = EventRow & { open: boolean; dead: boolean; done: boolean };

/** Events that are looked at in one transaction. */
const AT_ONCE = 5_000;

/** Why a queue cannot be replayed, or nothing. */
export function whyNotReplayed(route: CompiledRoute): string | undefined {
  if (!route.orderBy || !route.projection) return undefined;
  return `${route.queue} applies its events in order, and one cannot be taken back from beneath later ones`;
}

/**
 * Runs events again through a queue, while listener and workers run. The new deliveries take their places at its end.
 *
 * A projection takes each event back and applies it again in one transaction: the net effect stays one. A task runs once
 * more, under the same key. Only what is live and done is run again.
 *
 * @throws SluiceError for a projection that is fed in order: see `whyNotReplayed`
 */
export async function replay(
  { db, app, chainId, dryRun = false }: { db: Db; app: App; chainId: number; dryRun?: boolean },
  route: CompiledRoute,
  choice: ReplayChoice = {},
): Promise<Replayed> {
  const why = whyNotReplayed(route);
  if (why) throw new SluiceError(why, { hint: `run \`npm run rebuild -- ${route.projection!.name}\`` });
  const { rows } = await db.query<{ events: number }>("select events from checkpoint where chain_id = $1", [chainId]);
  const replayed: Replayed = { queue: route.queue, events: 0, deliveries: 0, open: 0, dead: 0, undelivered: 0 };
  // What comes in meanwhile is not waited for.
  const last = rows[0]?.events ?? 0;
  for (let after = 0; after < last; ) {
    const found = await transaction(db, async tx => {
      const candidates = await findCandidates(tx, chainId, route, { ...choice, after, last });
      const again = candidates.filter(({ open, dead, done }) => done && !open && !dead);
      const drafts = planDeliveries([route], toRouted(app, again), "replay");
      if (!dryRun) await insertDeliveries(tx, chainId, drafts);
      replayed.events += again.length;
      replayed.deliveries += drafts.length;
      replayed.open += candidates.filter(({ open }) => open).length;
      replayed.dead += candidates.filter(({ open, dead }) => dead && !open).length;
      replayed.undelivered += candidates.filter(({ open, dead, done }) => !open && !dead && !done).length;
      return candidates;
    });
    if (found.length === 0) break;
    after = found.at(-1)!.position;
  }
  return replayed;
}

/** The next live events of the choice, and how each stands with its deliveries. */
async function findCandidates(
  tx: Tx,
  chainId: number,
  route: CompiledRoute,
  { after, last, fromBlock, toBlock, event }: ReplayChoice & { after: number; last: number },
): Promise<Candidate[]> {
  const { condition, parameters } = chosenEvents(event, 9);
  const { rows } = await tx.query<Candidate>(
    `with found as materialized (
       select ${EVENT_COLUMNS} from events
       where chain_id = $1 and position > $2 and position <= $3 and live and contract || '.' || name = any($4)
         and ($5::bigint is null or block_number >= $5) and ($6::bigint is null or block_number <= $6) and ${condition}
         and ($10::text is null or position = (select position from ${liveEventOf("$1", "$10", "$11::integer")} e))
       order by position limit $8
     ), range as materialized (
       select min(position) as low, max(position) as high from found
     ), covered as materialized (
       select u.event, bool_or(d.state in ('pending', 'sent')) as open, bool_or(d.state = 'dead') as dead,
         bool_or(d.state = 'done' and d.operation in ('apply', 'run')) as done, bool_or(d.operation in ('apply', 'run')) as forward
       from range r join deliveries d on d.chain_id = $1 and d.queue = $7
         and ${reachesInto("r.low", "r.high")}
       cross join unnest(d.events) as u (event) group by u.event
     )
     select f.*, coalesce(c.open, false) as open, coalesce(c.dead, false) as dead,
       coalesce(c.done, false) or (coalesce(${isPruned("$7", "f")}, false) and not coalesce(c.forward, false)) as done
     from found f left join covered c on c.event = f.position order by f.position`,
    [chainId, after, last, [...route.events], fromBlock ?? null, toBlock ?? null, route.queue, AT_ONCE, ...parameters],
  );
  return rows;
}
