import type { App } from "../app.ts";
import { createNaps, type Db, isDbOutage } from "../db.ts";
import { describe } from "../errors.ts";
import { createOutage, type Log } from "../log.ts";
import type { QueueBackend } from "../queues/backend.ts";
import { planEndpoint } from "./plan.ts";
import { sweep } from "./sweep.ts";

/** The queue whose jobs are endpoints that have something to be told. No route may have this name. */
export const WEBHOOKS = "webhooks";

export type DispatchOptions = {
  db: Db;
  backend: QueueBackend;
  app: App;
  chainId: number;
  /** The number of the block that the node calls safe. Asked only where an endpoint wants it. */
  safe: () => Promise<number | undefined>;
  log: Log;
  signal: AbortSignal;
  /** Milliseconds after which a worker that was asked and did not come is asked for again. */
  askAgainAfter?: number;
};

export type Dispatcher = {
  /** There may be something to tell. Without a call it is found all the same, a little later. */
  wake(): void;
  stopped: Promise<void>;
};

/** With nothing under way; while something is (ms). */
const NAP = { idle: 250, busy: 25 };
const SWEEP_EVERY = 60_000;
const SAFE_FOR = 2_000;

/**
 * Makes messages of what the journal says, and asks workers to deliver them, for as long as this process leads. An endpoint
 * that was created, changed or resumed is seen within a nap. A job that is lost is asked for again: the messages are the truth.
 */
export function startDispatcher(options: DispatchOptions): Dispatcher {
  const { nap, wake } = createNaps(options.signal);
  return { wake, stopped: dispatch(options, nap) };
}

async function dispatch(options: DispatchOptions, nap: (ms: number) => Promise<void>): Promise<void> {
  const { db, backend, chainId, log, signal, askAgainAfter = 2_000 } = options;
  const queue = backend.openQueue(chainId, WEBHOOKS);
  const outage = createOutage(log, "the dispatch of webhooks");
  const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  aborted.catch(() => {});
  const safeNow = remember(options.safe, SAFE_FOR);
  let sweptAt = 0;
  while (!signal.aborted) {
    try {
      const planned = await plan(options, safeNow);
      const turns = await ask(db, chainId, askAgainAfter);
      if (turns.length > 0) {
        const jobs = turns.map(({ endpoint, turn }) => ({
          name: "turn",
          data: { chainId, queue: WEBHOOKS, position: turn, endpoint },
          opts: { jobId: `${chainId}-${endpoint}-${turn}`, attempts: 1 },
        }));
        await Promise.race([queue.addBulk(jobs), aborted]);
      }
      if (Date.now() - sweptAt >= SWEEP_EVERY) {
        sweptAt = Date.now();
        await sweep(db, chainId);
      }
      outage.ends();
      if (!planned) await nap(turns.length > 0 ? NAP.busy : (await isBusy(db, chainId)) ? NAP.busy : NAP.idle);
    } catch (error) {
      if (signal.aborted) return;
      outage.begins(describe(error));
      await nap(isDbOutage(error) ? 1_000 : 2_000);
    }
  }
}

/** Plans every endpoint that is behind; true where one has more. One that fails does not hold the others. */
async function plan({ db, app, chainId, log }: DispatchOptions, safeNow: () => Promise<number | undefined>): Promise<boolean> {
  const { rows } = await db.query<{ id: string; finality: string }>(
    `select w.id, w.finality from webhooks w join webhook_cursors c on c.chain_id = w.chain_id and c.endpoint = w.id
       join checkpoint k on k.chain_id = w.chain_id
     where w.chain_id = $1 and w.state = 'active' and (c.position < k.events or c.reorgs < k.reorgs)`,
    [chainId],
  );
  let more = false;
  for (const { id, finality } of rows) {
    try {
      const safe = finality === "safe" ? await safeNow() : undefined;
      more = (await planEndpoint({ db, app, chainId, safe }, id)) || more;
    } catch (error) {
      // Somebody changed the row at the same moment: the next look sees it.
      if ((error as { code?: string }).code === "40001") more = true;
      else if (isDbOutage(error)) throw error;
      else log.error({ endpoint: id, reason: describe(error) }, "a webhook endpoint's messages cannot be planned");
    }
  }
  return more;
}

const IS_DUE = `
  from webhooks w where w.chain_id = t.chain_id and w.id = t.endpoint and w.state = 'active' and (t.probe_at is null or t.probe_at <= now())
    and exists (
      select from webhook_messages m where m.chain_id = t.chain_id and m.endpoint = t.endpoint and m.state = 'pending'
        and (t.probe_at is not null or m.next_at <= now()))`;

/** The endpoints that have something due and nobody who sees to it. */
async function ask(db: Db, chainId: number, askAgainAfter: number): Promise<{ endpoint: string; turn: number }[]> {
  const { rows } = await db.query<{ endpoint: string; turn: number }>(
    `update webhook_turns t set turn = turn + 1, asked_at = clock_timestamp()
     where t.chain_id = $1 and t.until < clock_timestamp()
       and (t.asked_at is null or t.asked_at < clock_timestamp() - $2 * interval '1 ms') and exists (select ${IS_DUE})
     returning endpoint, turn`,
    [chainId, askAgainAfter],
  );
  return rows;
}

async function isBusy(db: Db, chainId: number): Promise<boolean> {
  const { rowCount } = await db.query(
    "select from webhook_turns where chain_id = $1 and (asked_at is not null or until > clock_timestamp()) limit 1",
    [chainId],
  );
  return rowCount === 1;
}

/** What `read` gave, for so many milliseconds; the last answer where it fails. */
function remember<T>(read: () => Promise<T | undefined>, ms: number): () => Promise<T | undefined> {
  let value: T | undefined;
  let at = Number.NEGATIVE_INFINITY;
  return async () => {
    if (performance.now() - at >= ms) {
      at = performance.now();
      value = await read().catch(() => value);
    }
    return value;
  };
}
