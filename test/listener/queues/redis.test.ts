import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import type { Redis } from "ioredis";
import { checkRedis, openRedisConnection } from "../../../listener/queues/redis.ts";
import { eventually } from "../../support/eventually.ts";
import { added, ledger, ledgerRoute, meterApp } from "../../support/meter.ts";
import { noRedisServer } from "../../support/redis.ts";
import { startRedisCluster, startRedisSentinel } from "../../support/redis-cluster.ts";
import { startRedisServer } from "../../support/redis-server.ts";
import { openRig } from "../../support/rig.ts";
import { scriptedChain } from "../../support/scripted-chain.ts";

const chainOf = () =>
  scriptedChain("a1 a2 a3")
    .logs("a1", [added(1, 10), added(2, 5), added(3, 1)])
    .logs("a2", [added(1, 7), added(2, 2)])
    .logs("a3", [added(3, 4)]);

describe("a connection to Redis", { skip: noRedisServer }, () => {
  it("sends the commands of one turn in one write, and loses none", async () => {
    const server = await startRedisServer();
    const connection = openRedisConnection(server.url) as Redis;
    await connection.ping();
    const writes: number[] = [];
    const writev = connection.stream._writev!.bind(connection.stream);
    connection.stream._writev = (chunks, done) => {
      writes.push(chunks.length);
      writev(chunks, done);
    };
    const values = Array.from({ length: 500 }, (_, i) => `${i}`);
    const echoed = await Promise.all(values.map(value => connection.echo(value)));
    assert.deepEqual(echoed, values);
    assert.deepEqual(writes, [500]);
    connection.disconnect();
    await server.remove();
  });
});

describe("a Redis cluster of three masters", { skip: noRedisServer }, async () => {
  const cluster = await startRedisCluster();
  after(() => cluster.remove());

  it("carries every queue's jobs, each queue in a slot of its own", async () => {
    const rig = await openRig("redis", meterApp(ledgerRoute(ledger())), cluster.url);
    const chain = chainOf();
    await rig.record(chain.extend("a1 a2 a3"));
    rig.startRelay();
    const keys = async () => (await Promise.all(cluster.masters.map(redis => redis.keys("{sluice-*")))).map(found => found.length);
    await eventually(async () => (await keys()).some(count => count > 0), { what: "jobs lie in the cluster" });
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(await rig.sums(), await rig.trueSums());
    await rig.close();
  });

  it("is refused where one of its masters evicts keys", async () => {
    const connection = openRedisConnection(cluster.url);
    await checkRedis(connection);
    await cluster.masters[2]!.config("SET", "maxmemory-policy", "allkeys-lru");
    await assert.rejects(checkRedis(connection), /evicts keys/);
    await cluster.masters[2]!.config("SET", "maxmemory-policy", "noeviction");
    connection.disconnect();
  });
});

describe("a Redis behind sentinels", { skip: noRedisServer }, () => {
  it("goes on with the replica after the master's end", async () => {
    const redis = await startRedisSentinel();
    const rig = await openRig("redis", meterApp(ledgerRoute(ledger())), redis.url);
    const chain = chainOf();
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1"));
    await rig.settled();
    await redis.master.stop("SIGKILL");
    await rig.record(chain.extend("a2 a3"));
    await rig.settled(120_000);
    assert.deepEqual(await rig.sums(), await rig.trueSums());
    await rig.close();
    await redis.remove();
  });
});
