import type { App, CompiledRoute } from "../app.ts";
import { createNaps, type Db, isDbOutage, transaction } from "../db.ts";
import { describe } from "../errors.ts";
import { forwardOf, type Handed, type Operation, SENT_TO } from "../journal/deliveries.ts";
import { QUEUE_KEY } from "../journal/queue-lock.ts";
import { createOutage, type Log } from "../log.ts";
import { type DeliveryQueue, jobId, type QueueBackend } from "./backend.ts";

export type RelayOptions = {
  db: Db;
  backend: QueueBackend;
  chainId: number;
  app: App;
  /** Deliveries of a queue that may be in flight: what Redis holds of a backfill of any size. */
  window: number;
  log: Log;
  signal: AbortSignal;
  /** Milliseconds after which a delivery that is not done is looked for in its queue, and sent again if it is not there. */
  resendAfter?: number;
  /** Called after each delivery of a carried queue that was settled: no worker of ours does that. */
  onSettled?: (settled: { queue: string; operation: Operation; events: number; state: "done" | "dead" }) => void;
};

type Sent = { position: number; sends: number; operation: string };

/** While something waits for a place or for a barrier the queue is looked at in growing steps: up to `drained` while it moves, else up to `to` (ms). */
const BUSY = { from: 4, drained: 32, to: 250 };
/** With nothing pending, wake-ups do the work; this is for the one that got lost (ms). */
const IDLE = 500;
/** Oldest deliveries that are looked for at once. Workers take the oldest first, so the lost ones surface there. */
const LOOKED_FOR = 100;

/** How the relay of one queue is reached: see `Relay`. */
export type Desk = { wake(): void; take?(count: number): boolean; add?(handed: readonly Handed[]): void };

/** Whether the journal may store deliveries of this queue as sent, and the relay add jobs for them as they come: see `Release`. */
export const isReleased = (route: CompiledRoute) => !route.orderBy && !route.carry;

/**
 * Moves deliveries into BullMQ, for as long as this process leads. A row is marked as sent, or passed by `queues.sent_to`,
 * before its job is added, so that a job never comes for a row that is not its turn; what is lost in between is found missing
 * and sent again: at the start, for it may be another one's, and every `resendAfter`.
 */
export async function relayQueue(route: CompiledRoute, options: RelayOptions, onOpen: (desk: Desk) => void): Promise<void> {
  const { db, backend, chainId, window, log, signal } = options;
  const { queue } = route;
  const jobs: Jobs = untilAborted(backend.openQueue(chainId, queue), signal);
  const outage = createOutage(log, `relay of ${queue}`);
  const { nap, wake } = createNaps(signal);
  const room = createRoom();
  let refused = false;
  const failed = (error: unknown) => {
    if (signal.aborted) return;
    room.count()(0);
    outage.begins(describe(error));
    refused = !isDbOutage(error);
  };
  onOpen({
    wake,
    take: room.take,
    add(handed) {
      // What BullMQ does not take is found missing.
      addJobs(
        jobs,
        chainId,
        queue,
        handed.map(delivery => ({ ...delivery, sends: 1 })),
      ).catch(failed);
      room.handed();
    },
  });

  let pause = BUSY.from;
  let begun = false;
  let from = 0;
  let lookedAt = 0;
  // At first all that another relay left behind is looked through, however young it is.
  let resendAfter = 0;
  while (!signal.aborted) {
    try {
      if (!begun && !isReleased(route)) await withdrawReleased(db, chainId, queue);
      begun = true;
      const counted = room.count();
      const { moved, waiting, ...next } = await relayNext(db, jobs, { chainId, route, window, from });
      from = next.from;
      counted(next.free);
      let added = moved;
      if (Date.now() - lookedAt >= resendAfter) {
        added += await resendLost(db, jobs, { chainId, queue, resendAfter, log });
        lookedAt = Date.now();
        resendAfter = options.resendAfter ?? 3_000;
      }
      // A full Redis refuses jobs and answers everything else: only a job that it took shows that it is back.
      if (added > 0 || !refused) {
        refused = false;
        outage.ends();
      }
      if (moved >= window / 2) {
        pause = BUSY.from;
        continue;
      }
      // A claim costs about the same for one row as for many: what becomes free in the window is given time to add up.
      await nap(waiting ? pause : IDLE);
      const longest = moved === 0 ? BUSY.to : route.orderBy ? BUSY.from : BUSY.drained;
      pause = waiting && moved < window / 4 ? Math.min(longest, pause * 2) : BUSY.from;
    } catch (error) {
      failed(error);
      await nap(isDbOutage(error) ? 1_000 : 2_000);
    }
  }
}

/**
 * Places in a queue's window that are known to be free. One writer takes them, some at a time: what it took last is counted
 * on until it is handed over, or given up, which the next time tells.
 */
function createRoom() {
  let [free, open, since] = [0, 0, 0];
  return {
    take(count: number): boolean {
      const fits = count <= free;
      open = fits ? count : 0;
      free -= open;
      since += open;
      return fits;
    },
    handed(): void {
      open = 0;
    },
    /** Before the places are counted, which may or may not see what is open or taken meanwhile. The count goes where this gives. */
    count() {
      const before = open;
      since = 0;
      return (counted: number) => {
        free = counted - before - since;
      };
    },
  };
}

/**
 * `moved`: how many jobs were added. `free`: places left in the window. `waiting`: something waits for a place or its turn.
 * `from`: nothing at or before this place is in flight, so that the next look may begin there; the rows of what is done are
 * not gone through again.
 */
export type Relayed = { moved: number; free: number; waiting: boolean; from: number };

/** Moves the next deliveries of a queue into its jobs. */
export async function relayNext(
  db: Db,
  jobs: Jobs,
  { chainId, route, window, from = 0 }: { chainId: number; route: CompiledRoute; window: number; from?: number | undefined },
): Promise<Relayed> {
  const { queue } = route;
  if (!isReleased(route)) {
    const claimed = await claim(db, { chainId, route, window });
    await addJobs(jobs, chainId, queue, claimed);
    return { moved: claimed.length, free: 0, waiting: await hasAny(db, chainId, queue, "'pending'"), from: 0 };
  }
  const { rows } = await db.query<Look>(LOOK, [chainId, queue, window, false, from]);
  const look = rows[0]!;
  const operation = forwardOf(route);
  const released = look.positions.map(position => ({ position, sends: 1, operation }));
  const claimed = look.pending ? await claim(db, { chainId, route, window }) : [];
  await addJobs(jobs, chainId, queue, [...released, ...claimed]);
  const moved = released.length + claimed.length;
  const free = Math.max(0, window - look.busy - moved);
  return { moved, free, waiting: look.pending || free === 0, from: Math.min(look.oldest, claimed[0]?.position ?? look.oldest) - 1 };
}

/** `busy`: how many are in flight, of which `oldest` is the first. The others are to be added now. */
type Look = { busy: number; oldest: number; pending: boolean; positions: number[] };

/**
 * Marks the next deliveries as sent and gives them. Never more than `window` in flight, never past a barrier:
 *
 * - without order, only deliveries before the first open one of another operation: reverts wait until every earlier apply
 *   is settled, later applies until the reverts are, and the same with replays.
 *   What a task runs, or runs again, waits for nothing;
 * - with order per key, only the first delivery of a key that is not done. A dead letter parks its key, except for
 *   reverts: what is parked was never applied, and reverting it does nothing.
 *
 * Nothing at all while the queue is being rebuilt. The lock may come free after this statement's view of the rows was
 * taken. Without order that does no harm, for what was removed is not there to be marked; with order a later delivery
 * would pass by the new ones that it does not see yet, so there the lock is a statement of its own.
 */
export async function claim(
  db: Db,
  { chainId, route, window }: { chainId: number; route: CompiledRoute; window: number },
): Promise<Sent[]> {
  const carried = route.carry !== undefined;
  const claimed = route.orderBy
    ? transaction(db, async tx => {
        const { rows } = await tx.query<{ ours: boolean }>(`select ${OURS} and ${unflushed("$3")} as ours`, [
          chainId,
          route.queue,
          carried,
        ]);
        return rows[0]!.ours ? (await tx.query<Sent>(CLAIM_BY_KEY, [chainId, route.queue, window])).rows : [];
      })
    : db.query<Sent>(CLAIM, [chainId, route.queue, window, carried]).then(({ rows }) => rows);
  return (await claimed).sort((a, b) => a.position - b.position);
}

/** Shared among relays; a rebuild has it to itself. */
const OURS = `pg_try_advisory_xact_lock_shared(${QUEUE_KEY})`;

/**
 * SQL, true: the commit does not wait for the disk. A claim that a crash of Postgres forgets is made again: its job found a row
 * that is not sent and did nothing. What workers commit for it comes later in the log, so that is never kept without it.
 * A carried queue's does wait: workers elsewhere look at no row.
 */
const unflushed = (carried: string) => `(${carried}::boolean or set_config('synchronous_commit', 'off', true) = 'off')`;

/**
 * An array and, in the claims, a scalar subquery instead of joins: a planner that knows nothing of a table just filled may
 * join in a nested loop, and then a claim among a few hundred deliveries takes seconds.
 */
const MARK_SENT = `, reached as (
    update queues set sent_to = greatest(sent_to, (select max(position) from next))
    where chain_id = $1 and queue = $2 and exists (select from next)
  ) update deliveries d set state = 'sent', sends = sends + 1, sent_at = now()
  where d.chain_id = $1 and d.queue = $2 and d.position = any(array(select position from next)) and d.state = 'pending'
  returning d.position, d.sends, d.operation`;

/** Places in the window. What a retry of dead letters puts before the deliveries that are in flight has to wait for one too. */
const CAPACITY = `
  capacity as materialized (
    select greatest(0, $3 - count(*)) as free from deliveries
    where chain_id = $1 and queue = $2 and state = 'sent' and position <= ${SENT_TO}
  )`;

const CLAIM = `
  with ${CAPACITY}, turn as materialized (
    select ${OURS} and ${unflushed("$4")} as ours
  ), open as materialized (
    select position, operation, state from deliveries
    where chain_id = $1 and queue = $2 and state in ('pending', 'sent') and (select ours from turn) order by position limit $3
  ), first as materialized (
    select operation from open order by position limit 1
  ), barrier as materialized (
    select min(o.position) as position from open o, first f
    where o.operation <> f.operation and o.operation <> 'run' and f.operation <> 'run'
  ), next as materialized (
    select position from open
    where state = 'pending' and ((select position from barrier) is null or position < (select position from barrier))
      and position < coalesce((
        select min(position) from deliveries where chain_id = $1 and queue = $2 and state = 'sent' and position > ${SENT_TO}
      ), 'infinity'::float8)
    order by position limit (select free from capacity)
  ) ${MARK_SENT}`;

/**
 * Passes the next of those that were stored as sent, which costs no row of theirs a version. They are in no turn but that of
 * the window: what bars the way of later ones came after them. From `$5` on, for what lies before is not in flight.
 */
const LOOK = `
  with turn as materialized (
    select ${OURS} and ${unflushed("$4")} as ours
  ), reached as materialized (
    select ${SENT_TO} as sent_to
  ), busy as materialized (
    select count(*) as n, min(position) as oldest from deliveries
    where chain_id = $1 and queue = $2 and state = 'sent' and position > $5 and position <= (select sent_to from reached)
  ), next as materialized (
    select position from deliveries
    where chain_id = $1 and queue = $2 and state = 'sent' and position > (select sent_to from reached) and (select ours from turn)
    order by position limit (select greatest(0, $3 - n) from busy)
  ), passed as (
    update queues set sent_to = greatest(sent_to, (select max(position) from next))
    where chain_id = $1 and queue = $2 and exists (select from next)
  )
  select n as busy, coalesce(oldest, sent_to + 1) as oldest,
    exists (select from deliveries where chain_id = $1 and queue = $2 and state = 'pending') as pending,
    array(select position from next order by position) as positions
  from busy, reached`;

/** What waits behind a key that is in flight or parked, however much it is, is passed over without a look-up for each row. The
 * scalar subquery is answered out of the index, whatever the planner knows of the table. */
const CLAIM_BY_KEY = `
  with ${CAPACITY}, held as materialized (
    select key from deliveries where chain_id = $1 and queue = $2 and state = 'sent' and key is not null
    union
    select key from deliveries where chain_id = $1 and queue = $2 and state = 'dead' and key is not null
  ), next as materialized (
    select d.position from deliveries d
    where d.chain_id = $1 and d.queue = $2 and d.state = 'pending'
      and (d.operation = 'revert' or d.key is null or d.key not in (select key from held)) and (
      select true from deliveries e
      where e.chain_id = $1 and e.queue = $2 and e.key = d.key and e.position < d.position and e.state <> 'done'
        and (d.operation <> 'revert' or (e.state <> 'dead' and not (e.operation = 'apply' and exists (
          select from deliveries f
          where f.chain_id = $1 and f.queue = $2 and f.key = d.key and f.position < e.position and f.state = 'dead'))))
      order by e.position limit 1
    ) is null order by d.position limit (select free from capacity)
  ) ${MARK_SENT}`;

/**
 * Has what was stored as sent, and has no job yet, wait for its turn: its route has got an order, or other workers, since. Such a
 * row is as old as its sending.
 */
export async function withdrawReleased(db: Db, chainId: number, queue: string): Promise<void> {
  await db.query(
    `update deliveries set state = 'pending'
     where chain_id = $1 and queue = $2 and state = 'sent' and position > ${SENT_TO} and sent_at = created_at`,
    [chainId, queue],
  );
}

/** @param states as SQL lists them: of literals alone Postgres sees that a partial index has them */
export async function hasAny(db: Db, chainId: number, queue: string, states: string): Promise<boolean> {
  const { rowCount } = await db.query(`select from deliveries where chain_id = $1 and queue = $2 and state in (${states}) limit 1`, [
    chainId,
    queue,
  ]);
  return rowCount === 1;
}

/** The calls of a queue, which wait for Redis as long as it is away: they end with the signal. */
export function untilAborted<Q extends object>(queue: Q, signal: AbortSignal): Q {
  const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  aborted.catch(() => {});
  return new Proxy(queue, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? (...given: unknown[]) => Promise.race([value.apply(target, given), aborted]) : value;
    },
  });
}

/** What the relay needs of a queue of BullMQ. */
export type Jobs = Pick<DeliveryQueue, "addBulk" | "getJob">;

/** Jobs that are added at once: enough for one trip to be worth it, few enough to be gone before V8 takes them for long-lived. */
const ADDED_AT_ONCE = 250;

export async function addJobs(jobs: Jobs, chainId: number, queue: string, sent: readonly Sent[]): Promise<void> {
  for (let i = 0; i < sent.length; i += ADDED_AT_ONCE) {
    await jobs.addBulk(
      sent.slice(i, i + ADDED_AT_ONCE).map(delivery => ({
        name: delivery.operation,
        data: { chainId, queue, position: delivery.position },
        // How often a delivery is tried is decided by its row; the job itself never gives up.
        opts: { jobId: jobId(chainId, delivery), attempts: 1_000_000, backoff: { type: "custom" } },
      })),
    );
  }
}

/**
 * Sends again what BullMQ has no job for any more: after FLUSHALL, a lost append-only tail, a crash between mark and add.
 *
 * @returns how many
 */
export function resendLost(db: Db, jobs: Jobs, lost: Lost): Promise<number> {
  const { chainId, queue } = lost;
  return resendMissing(db, jobs, lost, async missing => {
    const { rows: again } = await db.query<Sent>(
      `update deliveries set sends = sends + 1, sent_at = now()
       where chain_id = $1 and queue = $2 and position = any($3) and state = 'sent' returning position, sends, operation`,
      [chainId, queue, missing.map(({ position }) => position)],
    );
    await addJobs(
      jobs,
      chainId,
      queue,
      again.sort((a, b) => a.position - b.position),
    );
    return again.length;
  });
}

/** `resendAfter`: milliseconds since it was sent after which a delivery is looked for. With 0 all are, not the oldest alone. */
type Lost = { chainId: number; queue: string; resendAfter: number; log: Log };

/**
 * Gives `send` the deliveries that were sent and have no job, some at a time, the oldest first. A job that is still there,
 * waiting or being worked on, is left alone, however long it takes.
 *
 * @param send gives how many of them it sent
 * @returns how many were sent
 */
export async function resendMissing(
  db: Db,
  jobs: { getJob(id: string): Promise<unknown> },
  { chainId, queue, resendAfter, log }: Lost,
  send: (missing: { position: number }[]) => Promise<number>,
): Promise<number> {
  let after = 0;
  let resent = 0;
  for (;;) {
    const { rows } = await db.query<{ position: number; sends: number }>(
      `select position, sends from deliveries
       where chain_id = $1 and queue = $2 and state = 'sent' and sent_at < now() - $3 * interval '1 ms' and position > $4
         and position <= ${SENT_TO}
       order by position limit $5`,
      [chainId, queue, resendAfter, after, LOOKED_FOR],
    );
    const found = await Promise.all(rows.map(row => jobs.getJob(jobId(chainId, row))));
    const missing = rows.filter((_, i) => !found[i]);
    if (missing.length > 0) resent += await send(missing);
    if (rows.length < LOOKED_FOR || (missing.length === 0 && resendAfter > 0)) break;
    after = rows.at(-1)!.position;
  }
  if (resent > 0) log.warn({ queue, resent }, "sent again what its queue had lost");
  return resent;
}
