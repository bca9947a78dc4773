import pg from "pg";
import { type Db, sleep } from "../db.ts";
import { describe } from "../errors.ts";
import { createOutage, type Log } from "../log.ts";

const CHANNEL = "sluice_journal";
/** Milliseconds before a connection that broke is opened again. */
const RECONNECT = 1_000;

/** What a statement of the writer returns, so that its commit wakes whoever watches the chain `$1`. */
export const NOTIFY = `pg_notify('${CHANNEL}', $1::bigint::text)`;

export type WatchOptions = { db: Db; chainId: number; onChange: () => void; log: Log; signal: AbortSignal };

/**
 * Calls `onChange` after each commit to a chain's journal, and after each time that commits may have gone by unheard, until
 * the signal aborts. On a connection of its own: a pool's is given to others. A wake-up is a hint, so look now and then as well.
 */
export async function watchJournal({ db, chainId, onChange, log, signal }: WatchOptions): Promise<void> {
  const outage = createOutage(log, "the wake-ups from Postgres");
  while (!signal.aborted) {
    const client = new pg.Client(db.options);
    const over = Promise.withResolvers<void>();
    const end = () => over.resolve();
    client.on("error", end);
    client.on("end", end);
    client.on("notification", ({ payload }) => void (payload === String(chainId) && onChange()));
    signal.addEventListener("abort", end, { once: true });
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      outage.ends();
      onChange();
      await over.promise;
    } catch (error) {
      outage.begins(describe(error));
    } finally {
      signal.removeEventListener("abort", end);
      await client.end().catch(() => {});
    }
    await sleep(RECONNECT, signal);
  }
}
