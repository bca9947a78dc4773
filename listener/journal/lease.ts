import { type Db, STANDSTILL, sleep, transaction } from "../db.ts";
import { describe } from "../errors.ts";
import type { Log } from "../log.ts";
import { HaltedError, readHalted } from "./halt.ts";

/** The right to write one chain's journal. `lost` aborts when it is over, for whatever reason. */
export type Lease = {
  epoch: number;
  lost: AbortSignal;
  /** Gives the lease back, so that a standby takes over at once. */
  release(): Promise<void>;
};

export type LeaseOptions = { db: Db; chainId: number; writer: string; duration: number; log: Log; signal: AbortSignal };

/**
 * Waits until this process may write. The lease is a row with the database's clock: held for `duration` ms, renewed at a
 * third of that, and each take-over raises the epoch, by which the journal refuses whoever held it before.
 *
 * @throws HaltedError while nobody may write
 */
export async function acquireLease(options: LeaseOptions): Promise<Lease> {
  const { db, duration, log, signal } = options;
  let standby = false;
  for (;;) {
    signal.throwIfAborted();
    const epoch = await takeOver(db, options);
    if (epoch !== undefined) {
      log.info({ epoch, chainId: options.chainId }, "this listener writes the journal now");
      return holdLease(epoch, options);
    }
    if (await readHalted(db, options.chainId)) throw new HaltedError();
    if (!standby) log.info({ chainId: options.chainId }, "another listener writes; standing by");
    standby = true;
    await sleep(duration / 6, signal);
  }
}

/** Where the row is locked this waits for as long as the lock is there. */
function takeOver(db: Db, { chainId, writer, duration }: LeaseOptions): Promise<number | undefined> {
  return transaction(
    db,
    async (tx, [found]) => {
      const { pid } = found!.rows[0] as { pid: number };
      const timer = setInterval(() => void endStopped(db, pid).catch(() => {}), STANDSTILL);
      try {
        const { rows } = await tx.query<{ epoch: number }>(
          `update checkpoint set epoch = epoch + 1, writer = $2, lease_until = clock_timestamp() + $3 * interval '1 ms'
           where chain_id = $1 and halted_at is null and (lease_until < clock_timestamp() or writer = $2) returning epoch`,
          [chainId, writer, duration],
        );
        return rows[0]?.epoch;
      } finally {
        clearInterval(timer);
      }
    },
    undefined,
    ["select pg_backend_pid() as pid"],
  );
}

/**
 * Ends the connection that `pid` waits for, if that waits for rows of a COPY. A writer that was stopped or cut off in the middle
 * of one keeps its locks for as long as that lasts: to Postgres it does not stand still, and no timeout of a statement or a
 * transaction reaches it there. Its lease is over, so what it would commit is refused anyway.
 */
async function endStopped(db: Db, pid: number): Promise<void> {
  await db.query(
    `select pg_terminate_backend(a.pid) from pg_stat_activity a
     where a.pid = any(pg_blocking_pids($1)) and a.state = 'active' and a.wait_event = 'ClientRead'`,
    [pid],
  );
}

function holdLease(epoch: number, { db, chainId, duration, log, signal }: LeaseOptions): Lease {
  const lost = new AbortController();
  const renewing = new AbortController();
  let renewedAt = performance.now();
  // A lease that ran out while nobody took over, such as behind a long commit, is as good as before: the epoch tells.
  const renew = async () => {
    const began = performance.now();
    const { rowCount } = await db.query(
      `update checkpoint set lease_until = clock_timestamp() + $3 * interval '1 ms'
       where chain_id = $1 and epoch = $2 and lease_until > '-infinity'`,
      [chainId, epoch, duration],
    );
    if (rowCount === 0) return lost.abort();
    renewedAt = began;
  };
  void (async () => {
    while (!renewing.signal.aborted && !lost.signal.aborted) {
      await sleep(duration / 3, renewing.signal);
      if (renewing.signal.aborted) return;
      // While Postgres is away nobody can take over either; the lease is only given up once it has surely run out.
      await renew().catch(error => {
        if (performance.now() - renewedAt > duration) lost.abort();
        log.debug({ reason: describe(error) }, "the lease could not be renewed");
      });
    }
  })();
  return {
    epoch,
    lost: AbortSignal.any([lost.signal, signal]),
    async release() {
      renewing.abort();
      await db
        .query("update checkpoint set lease_until = '-infinity' where chain_id = $1 and epoch = $2", [chainId, epoch])
        .catch(error => log.debug({ reason: describe(error) }, "the lease runs out by itself"));
    },
  };
}
