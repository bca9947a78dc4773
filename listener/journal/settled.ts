import type { BlockRef } from "../chain/types.ts";
import type { Sql } from "../db.ts";
import { knownAtOrBelow } from "./known-block.ts";

/**
 * SQL: the lowest block with an event of an open delivery, of the chain `$1` and the queues `$2`. A replay makes again what
 * is there, in one step: it opens nothing.
 *
 * Live events have positions in the order of the chain, so for applies the first live event from the lowest open position
 * on is as low as any; only up to `late_to`, the last that came out of this order, must all that follow be looked at. Reverts
 * cover events that are live no more, in no such order: each is looked at, and they are few. The `offset 0` keeps Postgres
 * from looking for that minimum along the blocks of the whole journal.
 */
const FIRST_OPEN = `
  with open as materialized (
    select operation, first_event from deliveries where chain_id = $1 and queue = any($2) and state in ('pending', 'sent')
      and operation <> 'replay'
  ), lowest as (
    select min(first_event) as position from open where operation <> 'revert'
  )
  select min(block) as block from (
    select (
      select block_number from events where chain_id = $1 and live and position >= lowest.position order by position limit 1
    ) as block from lowest
    union all
    select (
      select min(block_number) from (
        select block_number from events where chain_id = $1 and live and position between lowest.position and c.late_to offset 0
      ) late
    ) from lowest join checkpoint c on c.chain_id = $1
    union all
    select e.block_number from open o join events e on e.chain_id = $1 and e.position = o.first_event where o.operation = 'revert'
  ) blocks`;

/**
 * The block that the work of these queues is complete up to: the tip where nothing is open, otherwise one below every open
 * delivery's events. Dead letters count as settled. Later blocks may be worked in already, in part.
 *
 * A block whose hash the journal does not hold (it is final and has none of our events) gives way to the one before it that
 * has some: between the two nothing of ours happened. Null where nothing is settled yet.
 */
export async function settledUpTo(sql: Sql, chainId: number, queues: readonly string[]): Promise<BlockRef | null> {
  const { rows } = await sql.query<{ number: number | null; hash: string; open: number | null }>(
    `select tip_number as number, tip_hash as hash, (${FIRST_OPEN}) as open from checkpoint where chain_id = $1`,
    [chainId, queues],
  );
  const tip = rows[0];
  if (!tip || tip.number === null) return null;
  if (tip.open === null || tip.open > tip.number) return { number: tip.number, hash: tip.hash };
  return (await knownAtOrBelow(sql, chainId, tip.open - 1)) ?? null;
}

/** The lowest block with an event of an open delivery of these queues; null where nothing is open. */
export async function firstOpenBlock(sql: Sql, chainId: number, queues: readonly string[]): Promise<number | null> {
  const { rows } = await sql.query<{ block: number | null }>(FIRST_OPEN, [chainId, queues]);
  return rows[0]!.block;
}
