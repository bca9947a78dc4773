import type { Tx } from "../db.ts";

/** The key of the advisory lock on one queue of chain `$1`. */
export const queueKey = (queue: string) => `hashtextextended('sluice queue ' || $1::bigint || ' ' || ${queue}::text, 0)`;
/** The same of the queue `$2`. */
export const QUEUE_KEY = queueKey("$2");

/**
 * Keeps the queue to this transaction: meanwhile no relay sends from it, nobody else fills or rebuilds it. New deliveries
 * may be stored in it all the same. Postgres gives the lock back at the end of `tx`, however its process ends.
 */
export async function lockQueue(tx: Tx, chainId: number, queue: string): Promise<void> {
  await tx.query(`select pg_advisory_xact_lock(${QUEUE_KEY})`, [chainId, queue]);
}
