import type { Sql } from "../db.ts";
import { type ChainReplacedError, describe, type ReorgPastFinalityError, SluiceError } from "../errors.ts";

/**
 * Nobody writes this chain's journal, and nothing of it is delivered, until a `resync`: the node's chain and what the
 * journal holds as final cannot both be true. `block` is the final block that the node lacks; `at` is ISO 8601.
 */
export type Halted = { reason: string; block: number | null; at: string };

/** The journal is halted, so there is no lease to be had. */
export class HaltedError extends SluiceError {
  constructor() {
    super("the journal is halted", { hint: RESYNC, retryable: true });
  }
}

export const RESYNC = "run `npm run resync`: it says from which block, and asks before it repairs";

export async function readHalted(sql: Sql, chainId: number): Promise<Halted | null> {
  const { rows } = await sql.query<{ reason: string; block: number | null; at: Date }>(
    "select halted_reason as reason, halted_block as block, halted_at as at from checkpoint where chain_id = $1 and halted_at is not null",
    [chainId],
  );
  return rows[0] ? { ...rows[0], at: rows[0].at.toISOString() } : null;
}

/**
 * Halts the journal: as the writer of `epoch`, or, without one, only where nobody holds the lease. A listener that is
 * pointed to the wrong node must not stop one that is not. The epoch goes up, so that no earlier writer commits any more.
 */
export async function halt(
  sql: Sql,
  chainId: number,
  { error, epoch }: { error: ChainReplacedError | ReorgPastFinalityError; epoch?: number },
): Promise<void> {
  await sql.query(
    `update checkpoint set halted_reason = $2, halted_block = $3, halted_at = clock_timestamp(), epoch = epoch + 1,
       lease_until = '-infinity'
     where chain_id = $1 and halted_at is null and case when $4::bigint is null then lease_until < clock_timestamp() else epoch = $4 end`,
    [chainId, describe(error), error.block ?? null, epoch ?? null],
  );
}
