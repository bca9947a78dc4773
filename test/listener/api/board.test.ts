import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { FastifyInstance } from "fastify";
import { createKey } from "../../../listener/api/keys.ts";
import { openBackend, type QueueBackend } from "../../../listener/queues/backend.ts";
import { eventually } from "../../support/eventually.ts";
import { noSharedRedis, sharedRedis } from "../../support/redis.ts";
import { apiOf, openTestDb, silent } from "./support.ts";

/** Of this file alone: the Redis is shared. */
const CHAIN = 31_338_000 + Math.floor(Math.random() * 1_000);

for (const kind of ["redis", "postgres"] as const) {
  describe(`bull-board on ${kind}`, { skip: kind === "redis" && noSharedRedis }, () => {
    let database: Awaited<ReturnType<typeof openTestDb>>;
    let backend: QueueBackend;
    let api: FastifyInstance;
    let authorization: string;
    before(async () => {
      database = await openTestDb();
      backend = await openBackend({ redisUrl: kind === "redis" ? sharedRedis : undefined, databaseUrl: database.url, log: silent });
      api = await apiOf(database.db, { chainId: CHAIN, backend: Promise.resolve(backend) });
      authorization = `Bearer ${(await createKey(database.db, { name: "ops", scope: "operate" })).key}`;
    });
    after(async () => {
      await api?.close();
      await backend?.close();
      await database?.close();
    });

    it("shows the jobs of every queue, and changes them for a key that may", async () => {
      await backend.openQueue(CHAIN, "balances").add("deliver", { chainId: CHAIN, queue: "balances", position: 1 }, { delay: 3_600_000 });
      const queues = async () => (await api.inject("/queues/api/queues")).json().queues;
      const found = await eventually(async () =>
        (await queues()).find((queue: { name: string }) => queue.name === `sluice-${CHAIN}-balances`),
      );
      assert.equal(found.counts.delayed, 1);
      const pause = { method: "PUT", url: `/queues/api/queues/${found.name}/pause` } as const;
      assert.equal((await api.inject(pause)).statusCode, 401);
      assert.equal((await api.inject({ ...pause, headers: { authorization } })).statusCode, 200);
      assert.equal((await queues()).find((queue: { name: string }) => queue.name === found.name).isPaused, true);
    });

    it("is a page that loads nothing from elsewhere and has nothing inline but data", async () => {
      const { statusCode, headers, body } = await api.inject("/queues");
      assert.equal(statusCode, 200);
      assert.doesNotMatch(body, /(?:src|href)="https?:/);
      assert.match(String(headers["content-security-policy"]), /default-src 'none'; script-src 'self'[ ;]/);
      assert.doesNotMatch(String(headers["content-security-policy"]), /unsafe-inline/);
      for (const [, path] of body.matchAll(/(?:src|href)="(static\/[^"]+\.(?:js|css))"/g)) {
        assert.equal((await api.inject(`/queues/${path}`)).statusCode, 200, path);
      }
    });
  });
}
