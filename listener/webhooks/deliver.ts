import type { App } from "../app.ts";
import { atMost, type Db, isDbOutage } from "../db.ts";
import { describe } from "../errors.ts";
import { createOutage, type Log } from "../log.ts";
import type { QueueBackend } from "../queues/backend.ts";
import type { Guard } from "./address-guard.ts";
import { WEBHOOKS } from "./dispatch.ts";
import type { Endpoint } from "./endpoints.ts";
import { createLingering } from "./linger.ts";
import type { Sender } from "./send.ts";
import { TIMING, type Timing } from "./timing.ts";
import { type TurnOptions, takeTurn } from "./turn.ts";

export type DeliverOptions = {
  app: App;
  db: Db;
  backend: QueueBackend;
  chainId: number;
  guard: Guard;
  log: Log;
  timing?: Timing;
  onAttempt?: TurnOptions["onAttempt"];
};

/** Endpoints that one process serves at a time. Each is one job, however much it has to be told, so a slow one takes one place. */
const AT_ONCE = 100;
/** How long requests under way have at the end (ms). */
const GRACE = 2_000;
/** Endpoints whose connections are kept open. */
const MAX_SENDERS = 1_000;

/** Delivers webhooks until `close`. A job names an endpoint whose turn it is; what to tell it is in its messages. */
export function startWebhooks({ app, db, backend, chainId, guard, log, timing = TIMING, onAttempt }: DeliverOptions): {
  close(): Promise<void>;
} {
  const closing = new AbortController();
  const outage = createOutage(log, "the webhooks' Postgres");
  const senders = new Map<string, { version: string; sender: Sender }>();

  async function senderOf(endpoint: Endpoint): Promise<Sender> {
    // A client for HTTP is loaded by the first message: most workers of a dApp without endpoints never send one.
    const { openSender } = await import("./send.ts");
    const version = JSON.stringify([endpoint.url, endpoint.headers, endpoint.timeout, endpoint.concurrency, endpoint.secrets]);
    const open = senders.get(endpoint.id);
    if (open?.version === version) return open.sender;
    const oldest = senders.size >= MAX_SENDERS ? senders.keys().next().value : undefined;
    for (const id of [endpoint.id, oldest]) {
      if (id === undefined) continue;
      void senders.get(id)?.sender.close();
      senders.delete(id);
    }
    const sender = openSender(endpoint, guard);
    senders.set(endpoint.id, { version, sender });
    return sender;
  }

  const turn = { db, app, chainId, senderOf, timing, lingering: createLingering(db, chainId), log, onAttempt };
  const worker = backend.openWorker(
    chainId,
    WEBHOOKS,
    async (job, signal) => {
      if (typeof job.data?.endpoint !== "string") return;
      try {
        await takeTurn(turn, job.data.endpoint, signal ? AbortSignal.any([signal, closing.signal]) : closing.signal);
        outage.ends();
      } catch (error) {
        // The endpoint is asked for again, by whoever dispatches.
        if (isDbOutage(error)) outage.begins(describe(error));
        else log.error({ endpoint: job.data.endpoint, reason: describe(error) }, "a webhook endpoint's turn failed");
      }
    },
    { concurrency: AT_ONCE },
  );
  return {
    async close() {
      const ended = worker.close();
      closing.abort();
      await atMost(GRACE, ended);
      await Promise.all([...senders.values()].map(({ sender }) => sender.close()));
    },
  };
}
