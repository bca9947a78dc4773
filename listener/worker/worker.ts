import { UnrecoverableError } from "bullmq";
import pg, { type QueryResult } from "pg";
import type { App, CompiledRoute, JournalEvent } from "../app.ts";
import { atMost, cleanText, type Db, isDbOutage, plainArray, type Tx, transaction } from "../db.ts";
import { describe } from "../errors.ts";
import { openActivity } from "../journal/activity.ts";
import { appliedAmong } from "../journal/applied.ts";
import { insertDeliveries, type Operation } from "../journal/deliveries.ts";
import { type EventRow, eventAt, inOrder, OCCURRENCE_COLUMNS, type Occurrence, selectEvents, toJournalEvent } from "../journal/events.ts";
import { createOutage, type Log } from "../log.ts";
import type { DeliveryJob, QueueBackend } from "../queues/backend.ts";
import { createGather } from "./gather.ts";
import { preparing } from "./prepare.ts";

export type WorkerSettings = {
  app: App;
  db: Db;
  backend: QueueBackend;
  chainId: number;
  /** Which queues to work on; all of the application's unless told. */
  queues?: readonly string[];
  /** Overrides the routes' own concurrency. */
  concurrency?: number;
  log: Log;
  /** Called after each delivery that this process settled. */
  onSettled?: (settled: Settled) => void;
};

/** `latency`: milliseconds from when the listener saw the newest of the events to their effect; of applies only. */
export type Settled = { queue: string; operation: Operation; events: number; state: "done" | "dead"; latency?: number };

/** How long `close` waits for what is under way (ms). What takes longer is taken up by another worker: its row is not done. */
const GRACE = 2_000;

/** Events of a delivery for which the statements of a projection are prepared. */
const FEW = 100;

/** Attempts after which a batch is taken apart, so that one bad event does not hold the others. */
const ATTEMPTS_AS_BATCH = 3;

/** Whole milliseconds before the next try: doubling from 400 ms to 30 s, the later half of it by chance. */
const backoff = (attempts: number) => Math.round(Math.min(30_000, 200 * 2 ** Math.min(attempts, 12)) * (0.5 + Math.random() / 2));

/**
 * Works on the application's queues, but for those whose workers are elsewhere, until `close`, which lets what is under way finish.
 *
 * A job is a hint: the row of its delivery says what to do, and is marked done in the transaction of the effect. A job
 * that comes twice, late, or for a row that is not its turn finds nothing to do.
 */
export function startWorkers(settings: WorkerSettings): { close(): Promise<void> } {
  const { app, db, backend, chainId, log } = settings;
  const activity = openActivity({ db, chainId, log });
  const onSettled = (settled: Settled) => {
    activity.settled(settled);
    settings.onSettled?.(settled);
  };
  const outage = createOutage(log, "the workers' Postgres");
  const routes = app.routes.filter(({ queue, carry }) => !carry && (settings.queues?.includes(queue) ?? true));
  const workers = routes.map(route => {
    const deliver = createDelivery(route, { ...settings, onSettled });
    const work = async (job: DeliveryJob, signal?: AbortSignal) => {
      if (job.data?.chainId !== chainId || !Number.isSafeInteger(job.data.position)) {
        throw new UnrecoverableError("not a job of ours");
      }
      try {
        await deliver(job.data.position, signal ?? new AbortController().signal);
        outage.ends();
      } catch (error) {
        if (isOutage(error)) outage.begins(describe(error));
        // The row has the whole reason. BullMQ stores what it gets, and on Postgres a text with NUL would leave the job stalled.
        throw new Error(cleanText(describe(error)).slice(0, 500));
      }
    };
    const worker = backend.openWorker(chainId, route.queue, work, {
      concurrency: settings.concurrency ?? route.concurrency,
      settings: { backoffStrategy: backoff },
    });
    // Somebody else may run the job by now. The row decides whose effect counts; a task is told to stop.
    worker.on("lockRenewalFailed", ids => {
      for (const id of ids) worker.cancelJob(id, "the lock was lost");
    });
    return worker;
  });
  return {
    async close() {
      await atMost(GRACE, Promise.allSettled(workers.map(worker => worker.close())));
      await activity.close();
    },
  };
}

/** What a task threw. It counts as an attempt, even where it reads as if Postgres were away: that is the task's receiver. */
class TaskFailure extends Error {
  constructor(cause: unknown) {
    super(describe(cause), { cause });
    if (cause instanceof Error && cause.stack) this.stack = cause.stack;
  }
}

const isOutage = (error: unknown) => !(error instanceof TaskFailure) && isDbOutage(error);

/** SQL: those of the deliveries at `$3` that a task may run now. */
const DUE = "chain_id = $1 and queue = $2 and position = any($3) and state = 'sent'";

/** SQL: these deliveries, each beside its first event; their other events stand alone. So a moment of both takes one round trip. */
const withEvents = (deliveries: string, columns?: string) => `
  with due as (${deliveries}), found as (${selectEvents("$1", "array(select unnest(events) from due)", columns)})
  select * from due full join found on found.position = due.events[1]`;

type Row = { operation: Operation; events: number[]; attempts: number; seenAt?: Date };
type Attempt = Row & { sends: number; found: (EventRow & Partial<Occurrence>)[] };
/** A delivery and its first event, or another event alone. */
type Begun = Omit<Attempt, "found"> & EventRow & Partial<Occurrence> & { delivery: number | null };

/**
 * What a worker of this queue does with a job: it settles the delivery at that position, where it is its turn. Rejects where
 * another try is due.
 */
export function createDelivery(
  route: CompiledRoute,
  { app, db, chainId, log, onSettled }: Pick<WorkerSettings, "app" | "db" | "chainId" | "log" | "onSettled">,
): (position: number, signal: AbortSignal) => Promise<void> {
  const { queue } = route;
  // An attempt is counted at its end, unless it was at its beginning: see `beginAttempt`.
  const uncounted = route.task && route.undoable ? 0 : 1;
  const done = `state = 'done', done_at = clock_timestamp(), attempts = attempts + ${uncounted}, last_error = null`;
  // What stands outside of our transactions is read, and marked after its run, together with what else is on its way.
  const begin = createGather(beginAttempts);
  const beginning = route.undoable
    ? withEvents(
        `update deliveries set attempts = attempts + 1 where ${DUE} returning position as delivery, operation, events, attempts, sends`,
        OCCURRENCE_COLUMNS,
      )
    : withEvents(`select position as delivery, operation, events, attempts + 1 as attempts, sends from deliveries where ${DUE}`);
  const markRun = createGather(markRuns);

  return async function deliver(position: number, signal: AbortSignal): Promise<void> {
    try {
      const settled = await (route.task
        ? runTask(position, signal)
        : transaction(db, (tx, opened) => project(tx, position, opened), "read committed", opening(position)));
      const latency = settled?.seenAt && Date.now() - settled.seenAt.getTime();
      if (settled) {
        const { operation, events } = settled;
        onSettled?.({ queue, operation, events: events.length, state: "done", ...(latency ? { latency } : {}) });
      }
    } catch (error) {
      if (isOutage(error)) throw error;
      const failed = await recordFailure(position, error);
      if (failed?.state === "sent") throw error;
      if (failed?.state === "dead") {
        log.error({ queue, position, reason: describe(error) }, "a delivery became a dead letter");
        onSettled?.({ queue, operation: failed.operation, events: failed.events.length, state: "dead" });
      }
    }
  };

  /** Marks those of the rows done that are still to be worked on, and says which. */
  async function markRuns(positions: readonly number[]): Promise<Map<number, true>> {
    const { rows } = await db.query<{ position: number }>(`update deliveries set ${done} where ${DUE} returning position`, [
      chainId,
      queue,
      plainArray(positions),
    ]);
    return new Map(rows.map(row => [row.position, true]));
  }

  /**
   * What the transaction of a projection begins with: it marks the row done and reads its events. Its commit does not wait for the
   * disk: what a crash of Postgres takes is effect and mark together, and the row, still sent, is sent again.
   */
  function opening(position: number): string[] {
    const row = `chain_id = ${chainId} and queue = ${pg.escapeLiteral(queue)} and position = ${position}`;
    return [
      "set local synchronous_commit = off",
      `update deliveries set ${done} where ${row} and state = 'sent' returning operation, events, attempts`,
      selectEvents(chainId, `array(select unnest(events) from deliveries where ${row})`),
    ];
  }

  /** The effect of a row that was marked done, in the transaction of the mark; nothing where it is not to be worked on. */
  async function project(tx: Tx, position: number, [, marked, found]: QueryResult[]): Promise<Row | undefined> {
    const row = marked!.rows[0] as Row | undefined;
    if (!row) return undefined;
    const rows = inOrder(found!.rows as EventRow[], chainId, row.events);
    const { projection } = route;
    if (row.operation === "revert") {
      const applied = await appliedOf(tx, rows);
      if (applied.length > 0) await projection!.revert(tx, toEvents(applied));
      return row;
    }
    // What a reorg took before its turn came is not applied, and the row no longer claims it: see `appliedAmong`.
    const live = rows.filter(event => event.live);
    if (row.operation === "apply") {
      await keepAmong(tx, position, row, live);
      if (live.length > 0) await projection!.apply(live.length <= FEW ? preparing(tx) : tx, toEvents(live));
      return { ...row, ...(live.length > 0 ? { seenAt: live.at(-1)!.seen_at } : {}) };
    }
    // A replay takes back and applies in this one transaction: nobody sees, and no crash leaves, what is in between.
    const applied = await appliedOf(tx, live);
    await keepAmong(tx, position, row, applied);
    if (applied.length > 0) {
      await projection!.revert(tx, toEvents(applied.toReversed()));
      await projection!.apply(tx, toEvents(applied));
    }
    return row;
  }

  async function keepAmong(tx: Tx, position: number, row: Row, kept: readonly EventRow[]): Promise<void> {
    if (kept.length === row.events.length) return;
    await tx.query("update deliveries set events = $4 where chain_id = $1 and queue = $2 and position = $3", [
      chainId,
      queue,
      position,
      kept.map(event => event.position),
    ]);
  }

  async function appliedOf(tx: Tx, rows: readonly EventRow[]): Promise<EventRow[]> {
    const positions = rows.map(row => row.position);
    const applied = new Set(await appliedAmong(tx, chainId, queue, positions));
    return rows.filter(row => applied.has(row.position));
  }

  function toEvents(rows: readonly EventRow[]): never {
    return rows.map(row => toJournalEvent(app, row)) as never;
  }

  async function runTask(position: number, signal: AbortSignal): Promise<Row | undefined> {
    const row = await begin(position);
    if (!row) return undefined;
    const { toRun, kept } = await chooseToRun(row);
    for (const found of toRun) {
      const event = toJournalEvent(app, found);
      const operation = row.operation === "revert" ? "revert" : "apply";
      // A block that a reorg took and that came back brings its events anew: what is done for them then is no repetition.
      const key = route.undoable ? `${event.id}-${operation}${found.time! > 1 ? `-${found.time}` : ""}` : `${event.id}-run`;
      const context = { key, attempt: row.attempts, signal, sql: db, operation } as const;
      await route.task!.run(event as JournalEvent as never, context).catch(cause => {
        throw new TaskFailure(cause);
      });
    }
    if (kept.length === row.events.length) return (await markRun(position)) && row;
    return transaction(db, async tx => {
      const { rowCount } = await tx.query(`update deliveries set ${done} where ${DUE}`, [chainId, queue, [position]]);
      if (rowCount === 0) return undefined;
      await keepAmong(tx, position, row, kept);
      return row;
    });
  }

  /**
   * Gives rows with the number of this attempt, and their events: of both one moment, in one statement. Where a revert may come,
   * the attempt is counted before it is made: what ran in a process that was killed then must be taken back too.
   */
  async function beginAttempts(positions: readonly number[]): Promise<Map<number, Attempt>> {
    const { rows } = await db.query<Begun>(beginning, [chainId, queue, plainArray(positions)]);
    const found = new Map(rows.map(row => [row.position, row]));
    return new Map(
      rows.flatMap(({ delivery, operation, events, attempts, sends }) =>
        delivery === null
          ? []
          : [[delivery, { operation, events, attempts, sends, found: events.map(event => eventAt(found, chainId, event)) }]],
      ),
    );
  }

  /**
   * What a reorg took before its turn came is not run, nor taken back. Of what may have run before, as far as we know, a later
   * revert must find its delivery.
   */
  async function chooseToRun(row: Attempt): Promise<{ toRun: Attempt["found"]; kept: EventRow[] }> {
    const { found } = row;
    if (row.operation === "revert") {
      const tried = new Set(await appliedAmong(db, chainId, queue, row.events, "tried"));
      return { toRun: found.filter(event => tried.has(event.position)), kept: found };
    }
    const live = found.filter(event => event.live);
    const mayHaveRun = route.undoable && (row.attempts > 1 || row.sends > 1);
    return { toRun: live, kept: mayHaveRun ? found : live };
  }

  /**
   * Counts a failed attempt in the row and gives it with its new state. A batch that keeps failing is taken apart into deliveries
   * of one event each: the bad ones become dead letters by themselves, the others are applied.
   */
  function recordFailure(position: number, error: unknown): Promise<(Row & { state: "sent" | "dead" | "split" }) | undefined> {
    return transaction(db, async tx => {
      const { rows } = await tx.query<Row>(
        `update deliveries set attempts = attempts + ${uncounted}, last_error = $4
         where chain_id = $1 and queue = $2 and position = $3 and state = 'sent' returning operation, events, attempts`,
        [chainId, queue, position, reasonOf(error)],
      );
      const row = rows[0];
      if (!row) return undefined;
      const settle = (state: "done" | "dead", events: number[]) =>
        tx.query(
          "update deliveries set state = $4, events = $5, done_at = clock_timestamp() where chain_id = $1 and queue = $2 and position = $3",
          [chainId, queue, position, state, events],
        );
      // Reverts stay where they are: at the end of the queue they would come after what replaces them.
      if (row.operation === "apply" && row.events.length > 1 && row.attempts >= Math.min(ATTEMPTS_AS_BATCH, route.attempts)) {
        await settle("done", []);
        const drafts = row.events.map(event => ({ queue, operation: row.operation, events: [event], key: null, error: null }));
        await insertDeliveries(tx, chainId, drafts);
        return { ...row, state: "split" };
      }
      if (row.attempts < route.attempts) return { ...row, state: "sent" };
      await settle("dead", row.events);
      return { ...row, state: "dead" };
    });
  }
}

/** Reason and place of a failure, without the values of a database row that Postgres adds as detail. */
function reasonOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? "").split("\n").slice(1, 4).join("\n") : "";
  return `${describe(error)}\n${stack}`.replaceAll("\0", "").trimEnd().slice(0, 4_000);
}
