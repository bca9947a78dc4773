import { randomUUID } from "node:crypto";
import type { App } from "../app.ts";
import type { Db } from "../db.ts";
import { sleep } from "../db.ts";
import type { Log } from "../log.ts";
import { type Endpoint, readEndpoint, setState } from "./endpoints.ts";
import type { Lingering } from "./linger.ts";
import { type Pending, type Runnable, readBodies, readFirst, readRunnable } from "./pending.ts";
import { type Outcome, record } from "./record.ts";
import { type Attempt, isDelivered, type Sender } from "./send.ts";
import { type Timing, waitAfter } from "./timing.ts";

export type TurnOptions = {
  db: Db;
  app: App;
  chainId: number;
  senderOf: (endpoint: Endpoint) => Promise<Sender>;
  timing: Timing;
  lingering: Lingering;
  log: Log;
  /** Called with each attempt, delivered or not. */
  onAttempt?: ((attempt: Attempt) => void) | undefined;
};

/** The breaker of an endpoint as a turn sees it. */
export type Breaker = { failures: number; probes: number; probeAt: Date | null };

/** How often results are written down while a turn goes on (ms). */
const WRITE_EVERY = 20;
/** After this time nothing more is begun before the endpoint was looked at again: it may have been paused or changed (ms). */
const LONGEST_ROUND = 500;

/**
 * Delivers what one endpoint is to be told, for as long as something is due and the turn lasts. One worker of all processes
 * holds an endpoint at a time, so its concurrency, its order and its breaker hold everywhere; whoever holds none does nothing.
 * A worker that is killed loses it after the lease: what it had sent and not written down is sent again, under the same id.
 */
export async function takeTurn(options: TurnOptions, id: string, signal: AbortSignal): Promise<void> {
  const { db, chainId, timing } = options;
  const holder = randomUUID();
  const held = await db.query<{ failures: number; probes: number; probe_at: Date | null }>(
    `update webhook_turns set holder = $3, until = clock_timestamp() + $4 * interval '1 ms'
     where chain_id = $1 and endpoint = $2 and until < clock_timestamp() returning failures, probes, probe_at`,
    [chainId, id, holder, timing.lease],
  );
  const row = held.rows[0];
  if (!row) return;
  const over = new AbortController();
  const turn = AbortSignal.any([signal, over.signal]);
  const renewing = renew(options, id, holder, over);
  try {
    const breaker: Breaker = { failures: row.failures, probes: row.probes, probeAt: row.probe_at };
    const end = Date.now() + timing.turn;
    let told = false;
    while (!turn.aborted && Date.now() < end) {
      const endpoint = await readEndpoint(db, chainId, id);
      if (endpoint?.state !== "active") break;
      const more = await round(options, endpoint, breaker, turn);
      // A new turn costs a job and several statements, so one that told something stays a little for what comes next.
      if (!more && (!told || breaker.failures > 0 || !(await options.lingering.isDue(id, turn)))) break;
      told = more;
    }
  } finally {
    over.abort();
    await renewing;
    await db.query(
      "update webhook_turns set holder = null, until = '-infinity', asked_at = null where chain_id = $1 and endpoint = $2 and holder = $3",
      [chainId, id, holder],
    );
  }
}

/** Keeps the hold, and gives everything up where it is lost. */
async function renew({ db, chainId, timing }: TurnOptions, id: string, holder: string, over: AbortController): Promise<void> {
  let until = Date.now() + timing.lease;
  for (;;) {
    await sleep(timing.lease / 3, over.signal);
    if (over.signal.aborted) return;
    const asked = Date.now();
    const renewed = await db
      .query(
        `update webhook_turns set until = clock_timestamp() + $4 * interval '1 ms' where chain_id = $1 and endpoint = $2 and holder = $3`,
        [chainId, id, holder, timing.lease],
      )
      .then(({ rowCount }) => rowCount === 1)
      .catch(() => undefined);
    if (renewed) until = asked + timing.lease;
    if (renewed === false || Date.now() >= until) return over.abort();
  }
}

/** Sends what may be sent now and writes down what became of it; false where there is nothing more to do. */
async function round(options: TurnOptions, endpoint: Endpoint, breaker: Breaker, signal: AbortSignal): Promise<boolean> {
  const { db, app, chainId, timing, log } = options;
  const probing = breaker.probeAt !== null;
  if (probing && breaker.probeAt!.getTime() > Date.now()) return false;
  const first = probing ? await readFirst(db, chainId, endpoint.id) : undefined;
  const messages = probing ? (first ? [first] : []) : await readRunnable(db, chainId, endpoint);
  // An endpoint that has nothing to be told is not broken.
  if (messages.length === 0) return false;
  const bodies = await readBodies(db, app, chainId, endpoint, messages);
  const sender = await options.senderOf(endpoint);
  const finished: { message: Pending; attempt: Attempt }[] = [];
  const state = { gone: false, failed: false };
  const end = Date.now() + LONGEST_ROUND;

  const deliver = async (message: Pending): Promise<boolean> => {
    const attempt = await sender.send({ id: message.id, body: bodies.get(message.sequence)! }, signal);
    // An attempt that we ended ourselves says nothing of the receiver.
    if (signal.aborted && attempt.status === null) return false;
    options.onAttempt?.(attempt);
    finished.push({ message, attempt });
    const delivered = isDelivered(attempt);
    breaker.failures = delivered ? 0 : breaker.failures + 1;
    if (attempt.status === 410) state.gone = true;
    return delivered;
  };
  const stop = () => signal.aborted || state.gone || state.failed || Date.now() > end || (!probing && breaker.failures >= timing.tripAfter);

  const running = deliverAll(messages, { concurrency: endpoint.concurrency, deliver, stop });
  const write = async () => {
    const results = finished.splice(0);
    if (results.length === 0) return;
    const recovered = probing && results.some(({ attempt }) => isDelivered(attempt));
    if (recovered) Object.assign(breaker, { failures: 0, probes: 0, probeAt: null });
    else if (probing || (breaker.failures >= timing.tripAfter && breaker.probeAt === null)) {
      breaker.probes += 1;
      breaker.probeAt = new Date(Date.now() + waitAfter(timing.probes, breaker.probes));
    }
    const outcomes = results.map(({ message, attempt }) => outcomeOf(message, attempt, timing));
    await record(db, { chainId, endpoint: endpoint.id, outcomes, breaker, recovered });
  };
  const done = new AbortController();
  const writing = (async () => {
    while (!done.signal.aborted) {
      await sleep(WRITE_EVERY, done.signal);
      await write();
    }
  })().catch(error => {
    // What was delivered and could not be written down is delivered again, under the same ids.
    state.failed = true;
    throw error;
  });
  // It is awaited below, and may fail before that.
  writing.catch(() => {});
  await running.finally(() => done.abort());
  await writing;
  await write();
  if (!state.gone) return breaker.probeAt === null;
  log.warn({ endpoint: endpoint.id }, "a webhook endpoint is gone for good (410) and was disabled");
  await setState(db, chainId, endpoint.id, "disabled", "the receiver answered 410 Gone");
  return false;
}

/** Sends in order of the list, `concurrency` at a time; what has to come after something waits, and is left where that failed. */
async function deliverAll(
  messages: readonly Runnable[],
  { concurrency, deliver, stop }: { concurrency: number; deliver: (message: Runnable) => Promise<boolean>; stop: () => boolean },
): Promise<void> {
  const outcomes = new Map<Runnable, boolean>();
  const waiting = new Set(messages);
  const underWay = new Set<Promise<void>>();
  for (;;) {
    for (const message of waiting) {
      if (stop() || underWay.size >= concurrency) break;
      if (message.after.some(before => !outcomes.has(before))) continue;
      waiting.delete(message);
      if (message.after.some(before => !outcomes.get(before))) {
        outcomes.set(message, false);
        continue;
      }
      const one: Promise<void> = deliver(message).then(delivered => {
        outcomes.set(message, delivered);
        underWay.delete(one);
      });
      underWay.add(one);
    }
    if (underWay.size === 0) return;
    await Promise.race(underWay);
  }
}

function outcomeOf(message: Pending, attempt: Attempt, timing: Timing): Outcome {
  const { sequence } = message;
  const number = message.attempts + 1;
  if (isDelivered(attempt)) return { sequence, number, attempt, state: "done", wait: 0 };
  const wait = Math.max(waitAfter(timing.retries, number), attempt.retryAfter ?? 0);
  const age = message.age ?? 0;
  return { sequence, number, attempt, state: age + wait > timing.giveUpAfter ? "dead" : "pending", wait };
}
