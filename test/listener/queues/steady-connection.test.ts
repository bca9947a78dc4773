import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { openBackend, type QueueBackend } from "../../../listener/queues/backend.ts";
import { openTestDatabase, type TestDatabase } from "../../support/database.ts";
import { eventually } from "../../support/eventually.ts";
import { silent } from "../../support/silent.ts";
import { openTcpProxy, type TcpProxy } from "../../support/tcp-proxy.ts";

type Site = { base: TestDatabase; proxy: TcpProxy; backend: QueueBackend };

const job = { chainId: 1, queue: "q", position: 1 };

/** BullMQ on a Postgres of which every connection can be broken. */
async function withBackend(work: (site: Site) => Promise<void>): Promise<void> {
  await using base = await openTestDatabase([]);
  const proxy = await openTcpProxy(base.url);
  const backend = await openBackend({ redisUrl: undefined, databaseUrl: proxy.through(base.url), log: silent });
  try {
    await work({ base, proxy, backend });
  } finally {
    await backend.close();
    await proxy.close();
  }
}

describe("BullMQ on a Postgres that goes away", () => {
  it("takes jobs in a queue whose first connection broke", () =>
    withBackend(async ({ proxy, backend }) => {
      proxy.refuse(true);
      proxy.reset();
      const queue = backend.openQueue(1, "q");
      await assert.rejects(queue.add("a", job));
      proxy.refuse(false);
      await eventually(() => queue.add("a", job));
    }));

  it("works in a queue whose worker found no Postgres at its start", () =>
    withBackend(async ({ proxy, backend }) => {
      await backend.openQueue(1, "q").add("a", job);
      proxy.refuse(true);
      proxy.reset();
      let done = 0;
      const refused = Promise.withResolvers<void>();
      const worker = backend.openWorker(1, "q", async () => void (done += 1), {});
      worker.on("error", () => refused.resolve());
      await refused.promise;
      proxy.refuse(false);
      await eventually(() => done === 1);
    }));

  it("hears of jobs after an outage at whose end its connection was lost in the moment it began to listen", () =>
    withBackend(async ({ base, proxy, backend }) => {
      const queue = backend.openQueue(1, "q");
      await queue.add("a", job);
      let done = 0;
      const worker = backend.openWorker(1, "q", async () => void (done += 1), {});
      const listening =
        "from pg_stat_activity where datname = current_database() and query ilike '%listen bullmq_jobs%' and pid <> pg_backend_pid()";
      const listens = async (condition: string) => (await base.db.query(`select ${listening} and ${condition}`)).rowCount;
      await eventually(async () => done === 1 && (await listens("state = 'idle'")) === 1);
      // After an error it waits as long as it ever does.
      let errors = 0;
      worker.on("error", () => void (errors += 1));
      proxy.refuse(true);
      proxy.reset();
      await eventually(() => errors > 3);
      // The answer to its LISTEN and the end of its connection come in one piece.
      const asked = proxy.ambush(
        "request",
        piece => piece.includes("LISTEN bullmq_jobs"),
        () => {
          proxy.blackhole(true);
          return "pass";
        },
      );
      proxy.refuse(false);
      await asked.fired;
      await eventually(async () => (await listens("state = 'idle'")) === 1);
      await base.db.query(`select pg_terminate_backend(pid) ${listening}`);
      await eventually(async () => (await listens("true")) === 0);
      proxy.blackhole(false);
      // It looks by itself, every 10 s, and hears of what comes later at once.
      for (const [nth, within] of [
        [2, 60_000],
        [3, 8_000],
        [4, 8_000],
      ] as const) {
        await queue.add("a", job);
        await eventually(() => done === nth, { timeout: within });
      }
    }));

  it("has a connection left for statements however many queues it listens for", () =>
    withBackend(async ({ backend }) => {
      const queues = Array.from({ length: 20 }, (_, i) => `q${i}`);
      const done = new Set<string>();
      for (const queue of queues) backend.openWorker(1, queue, async () => void done.add(queue), {});
      for (const queue of queues) await backend.openQueue(1, queue).add("a", job);
      await eventually(() => done.size === queues.length);
    }));
});
