import type { BlockRef, Header } from "../chain/types.ts";
import type { Db } from "../db.ts";
import { type Draft, HANDED, PLACED_DELIVERIES, PLACED_VALUES, placeDrafts, type Release, STORED } from "./deliveries.ts";
import { EVENT_ROWS, EVENT_VALUES, eventValues, type NewEvent } from "./events.ts";
import { NOTIFY } from "./wake.ts";

/** What a writer knows of the journal that it left: the tip, and how many events there are. */
export type Left = { tip: BlockRef; events: number };

/** Blocks that follow the tip, one after the other, their events with their positions, and the deliveries of these. */
export type LiveBlocks = { headers: readonly Header[]; head: number; seenAt: Date; events: readonly NewEvent[]; drafts: readonly Draft[] };

const own = (n: number) => `$${PLACED_VALUES + EVENT_VALUES + 1 + n}`;
const HELD = "exists (select from held)";
const AS_LEFT = `chain_id = $1 and epoch = ${own(0)} and tip_hash = ${own(1)} and events = ${own(2)}`;

/**
 * One statement, and so one transaction: each turn less is a block that is known so much sooner. Nothing of it happens unless the
 * journal is as it was left. The update asks for `held`, too: locked after it, the row would count as gone.
 */
const RECORD = `with held as materialized (
    select from checkpoint where ${AS_LEFT} for no key update
  ), linked as (
    insert into blocks (chain_id, number, hash, parent_hash, timestamp)
    select $1, * from unnest(${own(3)}::bigint[], ${own(4)}::text[], ${own(5)}::text[], ${own(6)}::bigint[]) where ${HELD}
  ), journaled as (
    ${EVENT_ROWS(HELD, n => `$${PLACED_VALUES + 1 + n}`)}
  ), ${PLACED_DELIVERIES(HELD)}, stored as (
    ${STORED}
  )
  update checkpoint set tip_number = ${own(7)}, tip_hash = ${own(8)}, updated_at = now(), head_number = greatest(${own(9)}::bigint, ${own(7)}),
    head_at = now(), events = events + ${own(10)}, backfill_from = null, backfill_to = null, backfill_events = events,
    backfill_began = $${PLACED_VALUES + 15}::timestamptz
  where ${AS_LEFT} and ${HELD} returning ${HANDED} as handed, ${NOTIFY}`;

/**
 * Commits blocks at the head.
 *
 * @returns how many deliveries each queue got; undefined, with nothing done, where the journal is not as this writer left it
 */
export async function recordLive(
  db: Db,
  { chainId, epoch, left, release }: { chainId: number; epoch: number; left: Left; release: Release },
  { headers, head, seenAt, events, drafts }: LiveBlocks,
): Promise<Record<string, number> | undefined> {
  const { counts, values, hand } = placeDrafts(chainId, drafts, release);
  const last = headers.at(-1)!;
  const given = [
    ...values,
    ...eventValues(events, { chainId, epoch, seenAt }),
    epoch,
    left.tip.hash,
    left.events,
    headers.map(({ number }) => number),
    headers.map(({ hash }) => hash),
    headers.map(({ parentHash }) => parentHash),
    headers.map(({ timestamp }) => timestamp),
    last.number,
    last.hash,
    head,
    events.length,
  ];
  const { rows } = await db.query<{ handed: Record<string, number> }>({ name: "record-live", text: RECORD, values: given });
  if (!rows[0]) return undefined;
  hand(rows[0].handed);
  return counts;
}
