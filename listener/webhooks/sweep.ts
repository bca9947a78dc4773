import type { Db } from "../db.ts";

/** How long attempts and delivered messages are kept, how many attempts of an endpoint at most, and how many go at once. */
const KEPT = { days: 7, attempts: 10_000, atOnce: 5_000 };

/** Removes what is old, some at a time: it is called again and again. Dead letters stay until they are replayed or deleted. */
export async function sweep(db: Db, chainId: number): Promise<void> {
  await db.query(
    `delete from webhook_attempts where ctid = any(array(
       select ctid from webhook_attempts where at < now() - $1 * interval '1 day' limit $2))`,
    [KEPT.days, KEPT.atOnce],
  );
  await db.query(
    `delete from webhook_attempts a using (
       select w.id, (select b.number from webhook_attempts b where b.chain_id = w.chain_id and b.endpoint = w.id
         order by b.number desc offset $2 limit 1) as last
       from webhooks w where w.chain_id = $1
     ) old where a.chain_id = $1 and a.endpoint = old.id and a.number <= old.last`,
    [chainId, KEPT.attempts],
  );
  // A message below the finalized block is never asked for again; one above it may have to be reverted.
  await db.query(
    `delete from webhook_messages where ctid = any(array(
       select m.ctid from webhook_messages m
       where m.chain_id = $1 and m.state = 'done' and m.done_at < now() - $2 * interval '1 day'
         and not exists (select from events e join checkpoint k on k.chain_id = e.chain_id
           where e.chain_id = m.chain_id and e.position = m.last_event and e.block_number > coalesce(k.finalized_number, -1))
       limit $3))`,
    [chainId, KEPT.days, KEPT.atOnce],
  );
}
