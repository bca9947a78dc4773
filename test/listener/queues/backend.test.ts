import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Redis } from "ioredis";
import { SluiceError } from "../../../listener/errors.ts";
import { openBackend } from "../../../listener/queues/backend.ts";
import { checkRedis } from "../../../listener/queues/redis.ts";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/ports.ts";
import { noRedisServer } from "../../support/redis.ts";
import { startRedisServer } from "../../support/redis-server.ts";
import { silent } from "../../support/silent.ts";

const redisThatSays = (info: string) => ({ info: async () => info }) as unknown as Redis;
const hasHint = (pattern: RegExp) => (error: SluiceError) => error instanceof SluiceError && pattern.test(error.hint ?? "");

describe("queue backend", () => {
  for (const policy of ["allkeys-lru", "volatile-ttl", "allkeys-random"]) {
    it(`refuses a Redis that evicts keys (${policy}), and says how to set it`, { skip: noRedisServer }, async () => {
      const server = await startRedisServer({ "maxmemory-policy": policy });
      await assert.rejects(openBackend({ redisUrl: server.url, databaseUrl: "", log: silent }), hasHint(/noeviction/));
      await server.remove();
    });
  }

  for (const version of ["6.0.16", "5.0.7", "3.2.1"]) {
    it(`refuses Redis ${version}`, () => assert.rejects(checkRedis(redisThatSays(`redis_version:${version}\r\n`)), hasHint(/6\.2/)));
  }

  for (const version of ["6.2.0", "7.0.15", "8.2.1"]) {
    it(`takes Redis ${version}`, () => checkRedis(redisThatSays(`redis_version:${version}\r\nmaxmemory_policy:noeviction\r\n`)));
  }

  it("waits for a Redis that is not there yet", { skip: noRedisServer }, async () => {
    const port = await freePort();
    const opening = openBackend({ redisUrl: `redis://127.0.0.1:${port}`, databaseUrl: "", log: silent });
    const server = await startRedisServer({ port: String(port) });
    await (await opening).close();
    await server.remove();
  });

  it("holds no connection after it was closed", { skip: noRedisServer }, async () => {
    const server = await startRedisServer();
    const backend = await openBackend({ redisUrl: server.url, databaseUrl: "", log: silent });
    const queue = backend.openQueue(1, "q");
    const worker = backend.openWorker(1, "q", async () => {}, {});
    await worker.waitUntilReady();
    await queue.getJobCounts();
    await backend.close();
    const redis = new Redis(server.url);
    await eventually(
      async () =>
        String(await redis.client("LIST"))
          .trim()
          .split("\n").length === 1,
      { what: "we are alone" },
    );
    redis.disconnect();
    await server.remove();
  });
});
