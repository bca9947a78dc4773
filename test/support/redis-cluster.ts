import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { eventually } from "./eventually.ts";
import { freePort } from "./ports.ts";
import { run } from "./processes.ts";
import { findRedisServer, type RedisServer, startRedisServer } from "./redis-server.ts";

const SLOTS = 16_384;

/** A cluster of three masters without replicas, each a Redis of its own on loopback. */
export async function startRedisCluster() {
  const servers: RedisServer[] = [];
  const ports: { port: number; bus: number }[] = [];
  for (let i = 0; i < 3; i++) {
    const bus = await freePort();
    const server = await startRedisServer({ "cluster-enabled": "yes", "cluster-port": String(bus) });
    servers.push(server);
    ports.push({ port: server.port, bus });
  }
  const masters = servers.map(({ url }) => new Redis(url));
  await Promise.all(
    masters.map((redis, i) => redis.call("CLUSTER", "ADDSLOTSRANGE", Math.ceil((i * SLOTS) / 3), Math.ceil(((i + 1) * SLOTS) / 3) - 1)),
  );
  for (const { port, bus } of ports.slice(1)) await masters[0]!.call("CLUSTER", "MEET", "127.0.0.1", port, bus);
  const isWhole = async (redis: Redis) => /cluster_state:ok[\s\S]*cluster_known_nodes:3/.test(String(await redis.call("CLUSTER", "INFO")));
  await eventually(async () => (await Promise.all(masters.map(isWhole))).every(Boolean), { timeout: 30_000 });
  return {
    url: `redis+cluster://${ports.map(({ port }) => `127.0.0.1:${port}`).join(",")}`,
    masters,
    async remove() {
      for (const redis of masters) redis.disconnect();
      await Promise.all(servers.map(server => server.remove()));
    },
  };
}

/** A master with a replica, and a sentinel that makes the replica master within a second or two of the master's end. */
export async function startRedisSentinel() {
  const [master, replica] = [await startRedisServer(), await startRedisServer()];
  const follower = new Redis(replica.url);
  await follower.call("REPLICAOF", "127.0.0.1", master.port);
  follower.disconnect();

  // A sentinel writes what it learns into its file, so it needs one.
  const dir = mkdtempSync(join(tmpdir(), "sluice-sentinel-"));
  const [file, port] = [join(dir, "sentinel.conf"), await freePort()];
  const settings = [
    `port ${port}`,
    "bind 127.0.0.1",
    `dir ${dir}`,
    `sentinel monitor ours 127.0.0.1 ${master.port} 1`,
    "sentinel down-after-milliseconds ours 500",
    "sentinel failover-timeout ours 2000",
  ];
  writeFileSync(file, `${settings.join("\n")}\n`);
  const sentinel = run(findRedisServer()!, [file, "--sentinel"]);
  const control = new Redis(`redis://127.0.0.1:${port}`);
  control.on("error", () => {});
  const knowsReplica = async () => String(await control.call("SENTINEL", "REPLICAS", "ours")).includes(String(replica.port));
  await eventually(knowsReplica, { timeout: 30_000, what: sentinel.stdout });
  return {
    url: `redis+sentinel://127.0.0.1:${port}/ours`,
    master,
    replica,
    async remove() {
      control.disconnect();
      await sentinel.end("SIGKILL");
      await Promise.all([master, replica].map(server => server.remove()));
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
