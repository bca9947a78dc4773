import type { App } from "../app.ts";
import { createNaps, type Db, isDbOutage, sleep } from "../db.ts";
import { describe } from "../errors.ts";
import { createOutage, type Log } from "../log.ts";
import {
  type Change,
  type ChangeFilter,
  type Cursor,
  CursorAheadError,
  createMatcher,
  isBefore,
  readChanges,
  readEdge,
} from "./changes.ts";
import { watchJournal } from "./wake.ts";

/** Changes that wait for one follower at most. One that is slower reads on from the table, as it did up to the live edge. */
const MAX_PENDING = 1_000;
/** Wake-ups do the work; this is for the one that got lost, and for a database that is away (ms). */
const IDLE = 1_000;

export type FollowOptions = { from: Cursor; filter?: ChangeFilter };

/** The changes after a cursor, in order, some at a time, without end. Takes no more than it is asked for. */
export type Follower = AsyncIterableIterator<Change[]> & {
  /** The follower has dealt with everything up to here. It may be past the last change that was given: others were not wanted. */
  cursor(): Cursor;
};

export type Feed = {
  /** The end of the journal as it is now. */
  edge(): Promise<Cursor>;
  /**
   * Ends with its `return`, which a loop calls that is left, or with the feed. Outlasts a database that is away.
   *
   * @throws CursorAheadError while iterating, where the cursor is of another journal, or the journal was begun anew
   */
  follow(options: FollowOptions): Follower;
  close(): Promise<void>;
};

type Subscriber = {
  matches: ReturnType<typeof createMatcher>;
  /** What came since it was looked at last. Undefined: that was too much, and is to be read from the table. */
  pending: Change[] | undefined;
  failure: Error | undefined;
  rouse(): void;
};

/** `readTo`: everything up to here was shared out; undefined before the first look. */
type Reader = { readTo: Cursor | undefined; started: Promise<void>; stopped: Promise<unknown>; stop(): void };

/**
 * The journal's changes for any number of followers in this process. One reader reads each change once, as it is committed,
 * and shares it out; who begins further back reads pages of its own until it meets the reader.
 */
export function openFeed({ db, app, chainId, log }: { db: Db; app: App; chainId: number; log: Log }): Feed {
  const subscribers = new Set<Subscriber>();
  const closing = new AbortController();
  const outage = createOutage(log, "the feed of changes");
  let reader: Reader | undefined;

  function share(changes: readonly Change[]): void {
    for (const subscriber of subscribers) {
      const wanted = changes.filter(change => change.type === "reorg" || subscriber.matches(change.row));
      if (wanted.length === 0) continue;
      if (subscriber.pending && subscriber.pending.length + wanted.length > MAX_PENDING) subscriber.pending = undefined;
      subscriber.pending?.push(...wanted);
      subscriber.rouse();
    }
  }

  /** Whoever follows now holds places of a journal that is gone. */
  function fail(failure: Error): void {
    for (const subscriber of subscribers) {
      subscriber.failure = failure;
      subscriber.rouse();
    }
  }

  /** Tries again for as long as the database is away. */
  async function outlasting<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      try {
        const result = await work();
        signal.throwIfAborted();
        outage.ends();
        return result;
      } catch (error) {
        if (signal.aborted || !isDbOutage(error)) throw error;
        outage.begins(describe(error));
        await sleep(IDLE, signal);
      }
    }
  }

  /** Runs while somebody follows. */
  function startReader(): Reader {
    const stopping = new AbortController();
    const signal = AbortSignal.any([stopping.signal, closing.signal]);
    const { nap, wake } = createNaps(signal);
    const lookAtEdge = async () => void (self.readTo = await outlasting(signal, () => readEdge(db, chainId)));
    const read = async () => {
      await self.started;
      for (;;) {
        try {
          const page = await outlasting(signal, () => readChanges(db, app, chainId, self.readTo!));
          const moved = isBefore(self.readTo!, page.cursor);
          self.readTo = page.cursor;
          share(page.changes);
          if (!moved) await nap(IDLE);
        } catch (error) {
          if (!(error instanceof CursorAheadError)) throw error;
          fail(error);
          await lookAtEdge();
        }
      }
    };
    const self: Reader = { readTo: undefined, started: Promise.resolve(), stopped: Promise.resolve(), stop: () => stopping.abort() };
    self.started = lookAtEdge();
    const reading = read().catch(error => {
      if (!signal.aborted) fail(error);
    });
    self.stopped = Promise.allSettled([reading, watchJournal({ db, chainId, onChange: wake, log, signal })]);
    return self;
  }

  return {
    edge: () => readEdge(db, chainId),
    follow({ from, filter = {} }) {
      const leaving = new AbortController();
      const signal = AbortSignal.any([leaving.signal, closing.signal]);
      const subscriber: Subscriber = { matches: createMatcher(app, filter), pending: [], failure: undefined, rouse() {} };
      signal.addEventListener("abort", () => subscriber.rouse(), { once: true });
      // Whoever rouses is in this process, so none is lost and no clock is needed: there may be hundreds of followers.
      const roused = () => new Promise<void>(resolve => (subscriber.rouse = resolve));
      let cursor = from;
      let idle = false;

      async function* iterate(): AsyncGenerator<Change[], undefined> {
        subscribers.add(subscriber);
        reader ??= startReader();
        try {
          await reader.started;
          // Each turn: from here on what comes is kept, what came before is read from the table, and then what was kept is
          // taken, for as long as it can be kept.
          for (;;) {
            subscriber.pending = [];
            for (const target = reader.readTo!; isBefore(cursor, target); ) {
              const page = await outlasting(signal, () => readChanges(db, app, chainId, cursor, filter));
              if (page.changes.length > 0) yield page.changes;
              cursor = page.cursor;
            }
            while (subscriber.pending) {
              const changes: Change[] = subscriber.pending.filter(change => isBefore(cursor, change.cursor));
              subscriber.pending = [];
              if (changes.length > 0) {
                yield changes;
                cursor = changes.at(-1)!.cursor;
              }
              if (subscriber.failure) throw subscriber.failure;
              signal.throwIfAborted();
              if (subscriber.pending?.length !== 0) continue;
              idle = true;
              await roused();
              idle = false;
            }
          }
        } catch (error) {
          if (!signal.aborted) throw error;
          return undefined;
        } finally {
          subscribers.delete(subscriber);
          if (subscribers.size === 0) {
            reader?.stop();
            reader = undefined;
          }
        }
      }

      const changes = iterate();
      return {
        [Symbol.asyncIterator]() {
          return this;
        },
        next: () => changes.next(),
        // A generator that waits hears nothing of its `return` until it has something to give.
        return() {
          leaving.abort();
          return changes.return(undefined);
        },
        cursor() {
          const readTo = idle && subscriber.pending?.length === 0 ? reader?.readTo : undefined;
          return readTo && isBefore(cursor, readTo) ? readTo : cursor;
        },
      };
    },
    async close() {
      const stopped = reader?.stopped;
      closing.abort();
      await stopped;
    },
  };
}
