import type { Sql } from "../db.ts";

/** What changed above this block was not audited as it is now: nothing above it counts as audited, nor what an audit finds that is under way. */
export async function doubtAudit(sql: Sql, chainId: number, above: number): Promise<void> {
  // `least` would take a null for nothing to compare with, and call a journal audited that never was.
  await sql.query(
    `update checkpoint set doubts = doubts + 1,
       audited_to = case when audited_to > $2::bigint then nullif(greatest($2, start_block - 1), start_block - 1) else audited_to end
     where chain_id = $1`,
    [chainId, above],
  );
}
