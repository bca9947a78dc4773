import { globSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { sleep } from "../../listener/db.ts";
import type { FaultRun } from "./row.ts";
import { moment, onSite, type Site, type SiteOptions } from "./site.ts";

/** How long Redis takes nothing more (ms). */
const FULL_FOR = 10_000;

const onRedis =
  (fault: string, happen: (site: Site) => Promise<unknown>, redis: SiteOptions["redis"] = { appendonly: "yes" }): FaultRun =>
  options =>
    onSite(
      fault,
      options,
      async (site, times) => {
        await Promise.all([site.keep("listen"), site.keep("work"), site.keep("work")]);
        await site.progress();
        for (let i = 0; i < times; i++) {
          await site.more(10);
          await moment(site.random, 300);
          await happen(site);
          await site.settle({ compare: i % 10 === 9 });
        }
      },
      { redis },
    );

const command = async (site: Site, ...args: [string, ...string[]]) => {
  const redis = new Redis(site.world.redis!.url);
  try {
    return await redis.call(...args);
  } finally {
    redis.disconnect();
  }
};

export const killed = onRedis("Redis killed with -9", async ({ world, random }) => {
  await world.redis!.stop("SIGKILL");
  await moment(random, 1_500);
  await world.redis!.start();
});

export const flushed = onRedis("Redis FLUSHALL", site => command(site, "FLUSHALL"));

/** Everything that came after some moment is gone, in the middle of a command: what a power cut leaves of `appendfsync everysec`. */
export const lostTail = onRedis("Redis with a lost AOF tail", async ({ world, random }) => {
  await world.redis!.stop("SIGKILL");
  const [file] = globSync(join(world.redis!.dir, "appendonlydir", "*.incr.aof"));
  truncateSync(file!, Math.floor(statSync(file!).size * (0.2 + random.next() * 0.7)));
  await world.redis!.start();
});

/** It answers, and takes nothing more. Longer than a person looks away, shorter than a backoff may become. */
export const full = onRedis("Redis full (OOM) for 10 s", async site => {
  await command(site, "CONFIG", "SET", "maxmemory", "1");
  await sleep(FULL_FOR);
  await command(site, "CONFIG", "SET", "maxmemory", "0");
});
