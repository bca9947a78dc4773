import type { App } from "../app.ts";
import type { BlockRef } from "../chain/types.ts";
import { createNaps, type Db, isDbOutage } from "../db.ts";
import { describe } from "../errors.ts";
import { createOutage, type Log } from "../log.ts";
import type { QueueBackend } from "../queues/backend.ts";
import { type Jobs, untilAborted } from "../queues/relay.ts";
import { planEndpoint } from "./plan.ts";
import { sweep } from "./sweep.ts";

/** The queue whose jobs are endpoints that have something to be told. No route may have this name. */
export const WEBHOOKS = "webhooks";

export type DispatchOptions = {
  db: Db;
  backend: QueueBackend;
  app: App;
  chainId: number;
  /** The block that the node calls safe. Asked only where an endpoint wants it. */
  safe: () => Promise<BlockRef | undefined>;
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
const NAP = { idle: 250, busy: 40 };
/** Endpoints that are planned at a time: each takes a connection of the listener. */
const AT_ONCE = 4;
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
  const queue: Jobs = untilAborted(backend.openQueue(chainId, WEBHOOKS), signal);
  const outage = createOutage(log, "the dispatch of webhooks");
  const plan = createPlanner(options);
  let sweptAt = 0;
  while (!signal.aborted) {
    try {
      const more = await plan();
      const asked = await ask(db, queue, chainId, askAgainAfter);
      if (Date.now() - sweptAt >= SWEEP_EVERY) {
        sweptAt = Date.now();
        await sweep(db, chainId);
      }
      outage.ends();
      if (!more) await nap(asked > 0 || (await isBusy(db, chainId)) ? NAP.busy : NAP.idle);
    } catch (error) {
      if (signal.aborted) return;
      outage.begins(describe(error));
      await nap(isDbOutage(error) ? 1_000 : 2_000);
    }
  }
}

/**
 * Plans the endpoints that are behind, each anew only when something has changed since it was found to have nothing more. One that
 * fails does not hold the others.
 */
function createPlanner({ db, app, chainId, safe, log }: DispatchOptions): () => Promise<boolean> {
  const settled = new Map<string, string>();
  const safeNow = remember(safe, SAFE_FOR);

  return async () => {
    const { rows } = await db.query<{ id: string; finality: string; view: string }>(
      `select w.id, w.finality, concat_ws(' ', k.events, k.reorgs, k.tip_number, k.finalized_number, w.updated_at) as view
       from webhooks w join webhook_cursors c on c.chain_id = w.chain_id and c.endpoint = w.id join checkpoint k on k.chain_id = w.chain_id
       where w.chain_id = $1 and w.state = 'active' and (c.position < k.events or c.reorgs < k.reorgs)`,
      [chainId],
    );
    const behind = new Set(rows.map(({ id }) => id));
    for (const id of settled.keys()) if (!behind.has(id)) settled.delete(id);
    let more = false;
    const planOne = async ({ id, finality, view }: (typeof rows)[number]) => {
      const safe = finality === "safe" ? await safeNow() : undefined;
      const seen = `${view} ${safe?.hash}`;
      if (settled.get(id) === seen) return;
      try {
        const found = await planEndpoint({ db, app, chainId, safe }, id);
        if (found === "done") settled.set(id, seen);
        more ||= found === "more";
      } catch (error) {
        // Somebody changed the row at the same moment: the next look sees it.
        if ((error as { code?: string }).code === "40001") more = true;
        else if (isDbOutage(error)) throw error;
        else log.error({ endpoint: id, reason: describe(error) }, "a webhook endpoint's messages cannot be planned");
      }
    };
    for (let first = 0; first < rows.length; first += AT_ONCE) await Promise.all(rows.slice(first, first + AT_ONCE).map(planOne));
    return more;
  };
}

const jobId = (chainId: number, endpoint: string, turn: number) => `${chainId}-${endpoint}-${turn}`;

/**
 * Asks for a worker where an endpoint has something due and nobody who sees to it. Where one was asked and none has come, its
 * job is looked for first: as long as no worker runs, the jobs must not pile up. Gives how many were asked for.
 */
async function ask(db: Db, queue: Jobs, chainId: number, askAgainAfter: number): Promise<number> {
  const { rows } = await db.query<{ endpoint: string; turn: number; unheard: boolean }>(
    `select t.endpoint, t.turn, t.asked_at is not null and t.holder is null as unheard
     from webhook_turns t join webhooks w on w.chain_id = t.chain_id and w.id = t.endpoint
     where t.chain_id = $1 and w.state = 'active' and t.until < clock_timestamp() and (t.probe_at is null or t.probe_at <= now())
       and (t.asked_at is null or t.asked_at < clock_timestamp() - $2 * interval '1 ms')
       and exists (
         select from webhook_messages m where m.chain_id = t.chain_id and m.endpoint = t.endpoint and m.state = 'pending'
           and (t.probe_at is not null or m.next_at <= now()))`,
    [chainId, askAgainAfter],
  );
  if (rows.length === 0) return 0;
  const waiting = await Promise.all(rows.map(({ endpoint, turn, unheard }) => unheard && queue.getJob(jobId(chainId, endpoint, turn))));
  const lost = rows.filter((_, i) => !waiting[i]);
  const { rows: turns } = await db.query<{ endpoint: string; turn: number }>(
    `update webhook_turns set asked_at = clock_timestamp(), turn = turn + case when endpoint = any($3) then 1 else 0 end
     where chain_id = $1 and endpoint = any($2) returning endpoint, turn`,
    [chainId, rows.map(({ endpoint }) => endpoint), lost.map(({ endpoint }) => endpoint)],
  );
  const asked = turns.filter(({ endpoint }) => lost.some(one => one.endpoint === endpoint));
  if (asked.length === 0) return 0;
  await queue.addBulk(
    asked.map(({ endpoint, turn }) => ({
      name: "turn",
      data: { chainId, queue: WEBHOOKS, position: turn, endpoint },
      opts: { jobId: jobId(chainId, endpoint, turn), attempts: 1 },
    })),
  );
  return asked.length;
}

/** Whether a turn is under way, or was asked for a moment ago: what it leaves is to be found soon. */
async function isBusy(db: Db, chainId: number): Promise<boolean> {
  const { rowCount } = await db.query(
    `select from webhook_turns where chain_id = $1 and (asked_at > clock_timestamp() - interval '1 second' or until > clock_timestamp()) limit 1`,
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
