import type { Job, Queue } from "bullmq";
import type { App, CompiledRoute } from "../app.ts";
import { cleanText, createNaps, type Db, isDbOutage } from "../db.ts";
import { describe } from "../errors.ts";
import { appliedAmong } from "../journal/applied.ts";
import type { Operation } from "../journal/deliveries.ts";
import { readOccurrences } from "../journal/events.ts";
import { createOutage, type Log } from "../log.ts";
import { jobId } from "./backend.ts";
import { type CarriedJob, toCarriedJob } from "./carried-job.ts";
import { claim, type Desk, hasAny, type RelayOptions, resendMissing, untilAborted, withdrawReleased } from "./relay.ts";

type CarriedQueue = Pick<Queue<CarriedJob>, "addBulk" | "getJob" | "getJobs" | "remove">;

/** A delivery that is to have a job, with the one event that it covers. */
type Sent = { position: number; sends: number; operation: Operation; event: number };

/** How a delivery ended, or that it has to be sent once more (`pending`). `attempts` and `error` stay as they are where they are null. */
type End = {
  position: number;
  sends: number;
  state: "done" | "dead" | "pending";
  attempts: number | null;
  error: string | null;
  /** Nothing of it was ever sent, so that it does not even claim its event. */
  dropped?: boolean;
};

/** While jobs are with their workers, their ends are looked for in growing steps between these; otherwise a wake-up is waited for (ms). */
const BUSY = { from: 10, to: 250 };
const IDLE = 500;
/** Jobs whose ends are read at once: with fewer, the ways to Postgres and back are what a job costs. */
const ENDS_AT_ONCE = 1_000;
/** What BullMQ, in whichever language, says of a job whose workers died or hung too often. */
const STALLED = /^job stalled more than/;
const MAX_ERROR = 4_000;

/**
 * Moves the deliveries of a carried queue into BullMQ, with their events, and learns from there what became of them: no code
 * of ours runs where the jobs are worked on. BullMQ keeps a finished job until its end is in the row; then it is removed. So
 * a row is done only by a job that was, and what Redis loses is sent again, under the same id, until it is.
 */
export async function relayCarried(route: CompiledRoute, options: RelayOptions, onOpen: (desk: Desk) => void): Promise<void> {
  const { db, app, backend, chainId, window, log, signal } = options;
  const { queue } = route;
  const jobs = untilAborted(backend.openQueue(chainId, queue) as unknown as CarriedQueue, signal);
  const outage = createOutage(log, `relay of ${queue}`);
  const resendAfter = options.resendAfter ?? 3_000;
  const carried = { db, app, jobs, chainId, route, log, onSettled: options.onSettled };
  const { nap, wake } = createNaps(signal);
  onOpen({ wake });
  if (backend.kind === "postgres") {
    log.warn(
      { queue },
      "the queues are in Postgres, and BullMQ of most languages works on Redis alone: set REDIS_URL for workers elsewhere",
    );
  }

  let pause = BUSY.from;
  let lookedAt = Date.now();
  let begun = false;
  while (!signal.aborted) {
    try {
      if (!begun) await withdrawReleased(db, chainId, queue);
      begun = true;
      // Ends first: they make room, and what waits for them may be sent then.
      const moved = (await settleEnded(carried)) + (await send(carried, await claim(db, { chainId, route, window })));
      if (Date.now() - lookedAt >= resendAfter) {
        // Under the same ids.
        await resendMissing(db, jobs, { chainId, queue, resendAfter, log }, missing => send(carried, missing, true));
        lookedAt = Date.now();
      }
      outage.ends();
      if (moved > 0) {
        pause = BUSY.from;
        continue;
      }
      const open = await hasAny(db, chainId, queue, "'pending', 'sent'");
      await nap(open ? pause : IDLE);
      pause = open ? Math.min(BUSY.to, pause * 2) : BUSY.from;
    } catch (error) {
      if (signal.aborted) return;
      outage.begins(describe(error));
      await nap(isDbOutage(error) ? 1_000 : 2_000);
    }
  }
}

type Carried = {
  db: Db;
  app: App;
  jobs: CarriedQueue;
  chainId: number;
  route: CompiledRoute;
  log: Log;
  onSettled: RelayOptions["onSettled"];
};

/**
 * Adds the jobs of these deliveries, each marked as sent, in order. What a reorg took before its turn came is not sent, nor
 * its revert: then the delivery is over. Adding a job that is there already changes nothing.
 *
 * @param again they may have been with a worker before
 * @returns how many deliveries that were
 */
async function send(carried: Carried, claimed: readonly { position: number }[], again = false): Promise<number> {
  if (claimed.length === 0) return 0;
  const { db, app, jobs, chainId, route } = carried;
  const { rows: sent } = await db.query<Sent>(
    `select position, sends, operation, events[1] as event from deliveries
     where chain_id = $1 and queue = $2 and position = any($3) and state = 'sent' order by position`,
    [chainId, route.queue, claimed.map(({ position }) => position)],
  );
  const positions = sent.map(({ event }) => event);
  const events = await readOccurrences(db, chainId, positions);
  const reverts = sent.filter(({ operation }) => operation === "revert").map(({ event }) => event);
  const tried = new Set(await appliedAmong(db, chainId, route.queue, reverts, "tried"));
  const ends: End[] = [];
  const wanted: { job: CarriedJob; id: string }[] = [];
  for (const [i, delivery] of sent.entries()) {
    const { position, sends } = delivery;
    const over = delivery.operation === "revert" ? !tried.has(delivery.event) : !events[i]!.live;
    if (over) {
      // What may have been with a worker must be found by its revert.
      const dropped = delivery.operation === "apply" && !again && sends === 1;
      ends.push({ position, sends, state: "done", attempts: null, error: null, dropped });
      continue;
    }
    try {
      wanted.push({ job: toCarriedJob(app, delivery, events[i]!), id: jobId(chainId, delivery) });
    } catch (error) {
      ends.push({ position, sends, state: "dead", attempts: null, error: cleanText(describe(error)).slice(0, MAX_ERROR) });
    }
  }
  await settle(carried, ends);
  await jobs.addBulk(
    wanted.map(({ job, id }) => ({
      name: job.operation,
      data: job,
      opts: {
        jobId: id,
        attempts: route.attempts,
        backoff: route.carry!.backoff,
        stackTraceLimit: 1,
        // These outweigh what a worker is told: its jobs stay until their ends are read.
        removeOnComplete: false,
        removeOnFail: false,
      },
    })),
  );
  return sent.length;
}

/** Reads the ends of jobs into their rows, and removes the jobs. Gives how many. */
async function settleEnded(carried: Carried): Promise<number> {
  const { jobs, chainId, route } = carried;
  const found = await jobs.getJobs(["completed", "failed"], 0, ENDS_AT_ONCE - 1, true);
  // One that is removed meanwhile is listed as nothing.
  const ended = found.filter((job): job is Job<CarriedJob> => Boolean(job?.id));
  await settle(
    carried,
    ended.flatMap(job => endOf(job, chainId, route.attempts) ?? []),
  );
  await Promise.all(ended.map(job => jobs.remove(job.id!)));
  return ended.length;
}

/** Undefined for a job that is none of ours: nobody waits for its end. */
function endOf(job: Job<CarriedJob>, chainId: number, limit: number): End | undefined {
  const [, chain, position, sends] = /^(\d{1,15})-(\d{1,15})-(\d{1,9})$/.exec(job.id!) ?? [];
  if (Number(chain) !== chainId) return undefined;
  const place = { position: Number(position), sends: Number(sends) };
  const reason = job.failedReason;
  const attempts = Math.max(1, job.attemptsMade);
  if (!job.finishedOn) return undefined;
  if (!reason) return { ...place, state: "done", attempts, error: null };
  // Its workers died, which it may have nothing to do with: it is sent anew, but not for ever.
  if (STALLED.test(reason) && place.sends < limit) return { ...place, state: "pending", attempts, error: reason };
  // Most languages begin or end the stack with the reason.
  const stack = (job.stacktrace?.at(-1) ?? "").split("\n").filter(line => !line.includes(reason));
  const error = cleanText([reason, ...stack].join("\n"))
    .trimEnd()
    .slice(0, MAX_ERROR);
  return { ...place, state: "dead", attempts, error };
}

async function settle({ db, chainId, route, log, onSettled }: Carried, ends: readonly End[]): Promise<void> {
  if (ends.length === 0) return;
  const { queue } = route;
  const { rows } = await db.query<{
    position: number;
    operation: Operation;
    state: End["state"];
    events: number[];
    last_error: string | null;
  }>(
    `update deliveries d set state = e.state, attempts = coalesce(e.attempts, d.attempts), last_error = e.error,
       done_at = case when e.state <> 'pending' then clock_timestamp() end, events = case when e.dropped then '{}' else d.events end
     from unnest($3::bigint[], $4::int[], $5::text[], $6::int[], $7::text[], $8::boolean[])
       as e (position, sends, state, attempts, error, dropped)
     where d.chain_id = $1 and d.queue = $2 and d.position = e.position and d.sends = e.sends and d.state = 'sent'
     returning d.position, d.operation, d.state, d.events, d.last_error`,
    [
      chainId,
      queue,
      ends.map(({ position }) => position),
      ends.map(({ sends }) => sends),
      ends.map(({ state }) => state),
      ends.map(({ attempts }) => attempts),
      ends.map(({ error }) => error),
      ends.map(({ dropped }) => dropped ?? false),
    ],
  );
  for (const { position, operation, state, events, last_error } of rows) {
    if (state === "pending") log.warn({ queue, position }, "a job's workers died too often; it is sent once more");
    if (state === "dead") log.error({ queue, position, reason: last_error?.split("\n", 1)[0] }, "a delivery became a dead letter");
    if (state !== "pending") onSettled?.({ queue, operation, events: events.length, state });
  }
}
