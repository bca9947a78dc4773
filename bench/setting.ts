import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import pg from "pg";
import { openPostgres } from "../listener/embedded/postgres.ts";
import { startRedisServer } from "../test/support/redis-server.ts";
import type { BenchChain } from "./chain.ts";

/** What every contender finds: the chain, a fresh database on the one Postgres, the one Redis, empty. */
export type Setting = {
  chain: BenchChain;
  databaseUrl: string;
  redisUrl: string;
  db: pg.Client;
  environment: NodeJS.ProcessEnv;
};

/**
 * The servers of a run of the benchmark: a Postgres and a Redis with their default settings. With `commitTimes` Postgres
 * also keeps when each transaction was committed.
 */
export async function openServers({ commitTimes = false } = {}) {
  const scratch = mkdtempSync(join(tmpdir(), "sluice-bench-"));
  const postgres = await startPostgres(join(scratch, "postgres"), commitTimes);
  const redis = await startRedisServer();
  const admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  const { rows } = await admin.query<{ data_directory: string }>("show data_directory");
  const postmaster = Number(readFileSync(join(rows[0]!.data_directory, "postmaster.pid"), "utf8").split("\n")[0]);
  const control = new Redis(redis.url);
  let databases = 0;
  return {
    postmaster,
    redisProcess: Number(/process_id:(\d+)/.exec(await control.info("server"))![1]),
    /** A setting for one run of one contender. */
    async setting(chain: BenchChain): Promise<Setting & { end(): Promise<void> }> {
      await control.flushall();
      const name = `bench_${++databases}`;
      await admin.query(`create database ${name}`);
      const url = new URL(postgres.url);
      url.pathname = `/${name}`;
      const db = new pg.Client({ connectionString: url.href });
      await db.connect();
      const data = join(scratch, name);
      mkdirSync(data);
      const deployment = join(data, "deployment.json");
      writeFileSync(
        deployment,
        JSON.stringify({ chainId: chain.chainId, contracts: { SluiceToken: { address: chain.token, block: chain.start } } }),
      );
      const environment = {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        NODE_ENV: "production",
        RPC_URL: chain.url,
        DATABASE_URL: url.href,
        DATA_DIR: data,
        DEPLOYMENT: deployment,
        FINALITY: "2",
        LOG_LEVEL: "warn",
        BENCH_TOKEN: chain.token,
        BENCH_START: String(chain.start),
        BENCH_LAST: String(chain.last),
        BENCH_EVENTS: String(chain.events),
        BENCH_REDIS_URL: redis.url,
      };
      return {
        chain,
        databaseUrl: url.href,
        redisUrl: redis.url,
        db,
        environment,
        async end() {
          await db.end();
          await admin.query(`drop database ${name} with (force)`);
          rmSync(data, { recursive: true, force: true });
          await admin.query("checkpoint");
        },
      };
    },
    async close() {
      control.disconnect();
      await admin.end();
      await redis.remove();
      await postgres.close();
      rmSync(scratch, { recursive: true, force: true });
    },
  };
}

async function startPostgres(dataDir: string, commitTimes: boolean) {
  const postgres = await openPostgres({ dataDir });
  if (!commitTimes) return postgres;
  const admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  await admin.query("alter system set track_commit_timestamp = on");
  await admin.end();
  // A setting for a server that starts.
  await postgres.close();
  return openPostgres({ dataDir });
}
