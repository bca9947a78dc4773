import type { ChainUpdate } from "../chain/types.ts";
import type { Journal, Recorded } from "./journal.ts";

/**
 * Commits one update after the other and gives what each did. In a backfill the next is taken and prepared while Postgres is
 * busy with the one before; elsewhere it is only asked for when that is committed.
 *
 * What `updates` or a commit throws ends it. An update that was taken by then is dropped: it comes again from the checkpoint.
 */
export async function* recordAll(journal: Journal, updates: AsyncIterator<ChainUpdate, void>): AsyncGenerator<Recorded, void> {
  const take = async () => {
    const next = await updates.next();
    if (!next.done) journal.prepare(next.value);
    return next;
  };
  let coming: ReturnType<typeof take> | undefined;
  try {
    for (;;) {
      const { done, value: update } = await (coming ?? updates.next());
      coming = undefined;
      if (done) return;
      if (update.type === "extend" && update.backfill) {
        coming = take();
        // It is awaited in its turn; until then a rejection must not count as unhandled.
        coming.catch(() => {});
      }
      yield await journal.record(update);
    }
  } finally {
    // One that is still being looked for may take for ever: the signal ends that, and nobody waits for it here.
    if (coming) void updates.return?.();
    else await updates.return?.();
  }
}
