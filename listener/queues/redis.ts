import { Cluster, Redis, type RedisOptions } from "ioredis";
import { SluiceError } from "../errors.ts";
import { parseRedisUrl } from "../redis-url.ts";

/**
 * Connects as the URL says. BullMQ waits for its Redis however long that takes, so commands are never given up.
 *
 * @param options what ioredis takes for a single Redis, and for each one of a cluster
 */
export function openRedisConnection(url: string, options: RedisOptions = {}): Redis | Cluster {
  const { kind, hosts, tls, username, password, database, master } = parseRedisUrl(url);
  const all: RedisOptions = {
    maxRetriesPerRequest: null,
    retryStrategy: retryAfter,
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    ...(tls ? { tls: {} } : {}),
    ...options,
  };
  if (kind === "cluster") {
    // Each node is asked for its name's address anew: behind TLS the certificate goes by the name.
    const { lazyConnect, retryStrategy, ...redisOptions } = all;
    const cluster = new Cluster(hosts, {
      redisOptions,
      clusterRetryStrategy: retryStrategy as (tries: number) => number,
      ...(lazyConnect ? { lazyConnect } : {}),
      ...(tls ? { dnsLookup: (address: string, callback: (error: null, found: string) => void) => callback(null, address) } : {}),
    });
    return cluster.on("+node", writeTogether);
  }
  if (kind === "sentinel") {
    return writeTogether(
      new Redis({
        ...all,
        db: database,
        sentinels: hosts,
        name: master!,
        sentinelRetryStrategy: retryAfter,
        ...(tls ? { enableTLSForSentinelMode: true, sentinelTLS: {} } : {}),
      }),
    );
  }
  return writeTogether(new Redis({ ...all, ...hosts[0]!, db: database }));
}

/**
 * Commands of one turn of the event loop go out in one write: BullMQ has one for each job that ends, and a write costs as much as
 * the command. ioredis' `enableAutoPipelining` does the same for twice the price of a command.
 */
function writeTogether(redis: Redis): Redis {
  return redis.on("connect", () => {
    const { stream } = redis;
    const write = stream.write.bind(stream) as (...given: unknown[]) => boolean;
    stream.write = (...given: unknown[]) => {
      if (stream.writableCorked === 0) {
        stream.cork();
        process.nextTick(() => stream.uncork());
      }
      return write(...given);
    };
  });
}

const retryAfter = (tries: number) => Math.min(100 * tries, 2_000) * (0.5 + Math.random() / 2);

/**
 * BullMQ needs Redis 6.2 (it says 5, and warns), and a Redis that never evicts a key: an evicted job would be sent again
 * late. Of a cluster each master is looked at.
 *
 * @throws SluiceError that says what to change
 */
export async function checkRedis(redis: Pick<Redis, "info"> | Cluster): Promise<void> {
  if (redis instanceof Cluster) {
    // Whoever asks a cluster first makes it find its nodes.
    await redis.info();
    await Promise.all(redis.nodes("master").map(checkRedis));
    return;
  }
  const info = await redis.info("server");
  const version = /redis_version:(\d+)\.(\d+)/.exec(info);
  if (version && Number(version[1]) * 100 + Number(version[2]) < 602) {
    throw new SluiceError(`Redis is ${version[1]}.${version[2]}`, { hint: "use Redis 6.2 or later" });
  }
  const policy = /maxmemory_policy:(\S+)/.exec(await redis.info("memory"))?.[1];
  if (policy && policy !== "noeviction") {
    throw new SluiceError(`Redis evicts keys when it is full (maxmemory-policy ${policy})`, {
      hint: "set it with `redis-cli config set maxmemory-policy noeviction`, and in redis.conf",
    });
  }
}
