import { app } from "../../../listener/dapp/routes.ts";
import { openDb } from "../../../listener/db.ts";
import { openBackend } from "../../../listener/queues/backend.ts";
import { startWebhooks } from "../../../listener/webhooks/deliver.ts";
import { type DispatchOptions, startDispatcher } from "../../../listener/webhooks/dispatch.ts";
import { createEndpoint, type EndpointSettings } from "../../../listener/webhooks/endpoints.ts";
import { readEndpoints, readMessages } from "../../../listener/webhooks/read.ts";
import type { Timing } from "../../../listener/webhooks/timing.ts";
import { eventually } from "../../support/eventually.ts";
import { CHAIN, createWorld, openTestDb, silent } from "../api/support.ts";
import { FAST } from "./timing.ts";

/** A journal that a test writes, a dispatcher and workers that deliver what is in it. */
export async function openWebhooks({ timing = FAST, redisUrl }: { timing?: Timing; redisUrl?: string | undefined } = {}) {
  const base = await openTestDb();
  const world = await createWorld(base.db);
  const closing: (() => Promise<unknown>)[] = [];
  const connect = async () => {
    const backend = await openBackend({ redisUrl, databaseUrl: base.url, log: silent });
    closing.push(() => backend.close());
    return backend;
  };
  return {
    ...base,
    world,
    async dispatch(options: Partial<DispatchOptions> = {}) {
      const stop = new AbortController();
      const backend = await connect();
      const dispatcher = startDispatcher({
        db: base.db,
        backend,
        app,
        chainId: CHAIN,
        safe: async () => undefined,
        log: silent,
        signal: stop.signal,
        askAgainAfter: 500,
        ...options,
      });
      closing.push(async () => {
        stop.abort();
        await dispatcher.stopped;
      });
      return dispatcher;
    },
    async deliver(guard = { allowLoopback: true }) {
      const own = openDb(base.url, { name: "sluice-test-webhooks", max: 6 });
      closing.push(() => own.end());
      const webhooks = startWebhooks({ app, db: own, backend: await connect(), chainId: CHAIN, guard, log: silent, timing });
      closing.push(() => webhooks.close());
      return webhooks;
    },
    create: (settings: Partial<EndpointSettings> & { url: string }, fromBlock?: number) =>
      createEndpoint(base.db, CHAIN, settings, fromBlock),
    status: async (id: string) => (await readEndpoints(base.db, CHAIN, id))[0]!,
    messages: (id: string) => readMessages(base.db, CHAIN, id, { before: Number.MAX_SAFE_INTEGER, limit: 1_000 }),
    /** Waits until the endpoint has been told of the whole journal and nothing is pending. */
    async told(id: string, timeout = 60_000) {
      await eventually(
        async () => {
          const { rows } = await base.db.query<{ told: boolean }>(
            `select c.position = k.events and c.reorgs = k.reorgs as told from webhook_cursors c join checkpoint k using (chain_id)
             where chain_id = $1 and endpoint = $2`,
            [CHAIN, id],
          );
          // Only what was planned before this answer counts as pending in the next.
          return rows[0]!.told && (await readEndpoints(base.db, CHAIN, id))[0]!.counts.pending === 0;
        },
        { timeout, what: "everything is delivered" },
      );
    },
    async close() {
      for (const close of closing.splice(0).reverse()) await close();
      await base.close();
    },
  };
}
