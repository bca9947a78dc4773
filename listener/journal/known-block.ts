import type { BlockRef } from "../chain/types.ts";
import type { Sql } from "../db.ts";

/** The highest block at or below a number whose hash the journal holds. */
export async function knownAtOrBelow(sql: Sql, chainId: number, number: number): Promise<BlockRef | undefined> {
  const { rows } = await sql.query<BlockRef>(
    `(select number, hash from blocks where chain_id = $1 and number <= $2 order by number desc limit 1)
     union all
     (select block_number, block_hash from events where chain_id = $1 and block_number <= $2 and live
      order by block_number desc, log_index desc limit 1)
     order by number desc limit 1`,
    [chainId, number],
  );
  return rows[0];
}
