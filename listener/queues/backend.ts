import { createPostgresBackend, type Job, Queue, type QueueOptions, runMigrations, Worker, type WorkerOptions } from "bullmq";
import { Redis } from "ioredis";
import pg from "pg";
import { atMost, keepAlive } from "../db.ts";
import { describe, SluiceError } from "../errors.ts";
import { createOutage, createThrottle, type Log } from "../log.ts";
import { redactUrl } from "../redact.ts";

/** What a job carries: the place of its row in `deliveries`. Everything else is read from there. */
export type JobData = {
  chainId: number;
  queue: string;
  position: number;
  /** Of the queue `webhooks` alone: whose turn it is. */
  endpoint?: string;
};

export type DeliveryQueue = Queue<JobData>;
export type DeliveryJob = Job<JobData>;

/** BullMQ on Redis or on Postgres. Whoever opens queues and workers here sees no difference. */
export interface QueueBackend {
  readonly kind: "redis" | "postgres";
  openQueue(chainId: number, queue: string): DeliveryQueue;
  openWorker(
    chainId: number,
    queue: string,
    run: (job: DeliveryJob, signal?: AbortSignal) => Promise<void>,
    options: Partial<WorkerOptions>,
  ): Worker<JobData>;
  close(): Promise<void>;
}

/** The name of a queue in BullMQ. No colon: BullMQ keeps that for itself. */
export const bullName = (chainId: number, queue: string) => `sluice-${chainId}-${queue}`;

/** A new id at every sending: BullMQ drops a job whose id it still knows, in whatever state. */
export const jobId = (chainId: number, { position, sends }: { position: number; sends: number }) => `${chainId}-${position}-${sends}`;

/** Finished jobs are of no use, the rows tell what became of them; a queue's own event stream is not read by anybody. */
const JOB_DEFAULTS = { removeOnComplete: true, removeOnFail: true };
const STREAM = { events: { maxLen: 100 } };

/** BullMQ reports every failed command of an outage, thousands a second: each reason is logged once in this time (ms). */
const REPORT_EVERY = 30_000;

/** How long a goodbye to BullMQ, and then to its server, may take (ms). */
const CLOSING = 800;

/**
 * Opens the queue backend: Redis where a URL is given, otherwise the database.
 *
 * @throws SluiceError when Redis is too old or would evict our jobs; an unreachable one is waited for by ioredis itself
 */
export async function openBackend(options: { redisUrl: string | undefined; databaseUrl: string; log: Log }): Promise<QueueBackend> {
  return options.redisUrl ? openRedis(options.redisUrl, options.log) : openPostgres(options.databaseUrl, options.log);
}

async function openRedis(url: string, log: Log): Promise<QueueBackend> {
  const outage = createOutage(log, `Redis ${redactUrl(url)}`);
  const connection = new Redis(url, {
    maxRetriesPerRequest: null,
    retryStrategy: tries => Math.min(100 * tries, 2_000) * (0.5 + Math.random() / 2),
  });
  connection.on("error", error => outage.begins(describe(error)));
  connection.on("ready", () => outage.ends());
  try {
    await checkRedis(connection);
  } catch (error) {
    connection.disconnect();
    throw error;
  }
  return createBackend("redis", { connection }, log, async () => connection.disconnect());
}

/** BullMQ needs Redis 6.2 (it says 5, and warns), and a Redis that never evicts a key: an evicted job would be sent again late. */
export async function checkRedis(redis: Redis): Promise<void> {
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

async function openPostgres(url: string, log: Log): Promise<QueueBackend> {
  // One pool for every queue and worker of the process: BullMQ would open one each.
  const pool = new pg.Pool({
    connectionString: url,
    max: 16,
    options: "-c search_path=bullmq",
    application_name: "sluice-bullmq",
    keepAlive: true,
  });
  pool.setMaxListeners(0);
  keepAlive(pool);
  const outage = createOutage(log, "BullMQ's Postgres");
  pool.on("error", error => outage.begins(describe(error)));
  pool.on("connect", () => outage.ends());
  try {
    const client = await pool.connect();
    await runMigrations(client, "bullmq").finally(() => client.release());
  } catch (error) {
    await pool.end();
    throw error;
  }
  return createBackend("postgres", { connection: pool }, log, () => pool.end());
}

function createBackend(
  kind: QueueBackend["kind"],
  shared: { connection: unknown },
  log: Log,
  disconnect: () => Promise<void>,
): QueueBackend {
  const opened: (Queue | Worker)[] = [];
  const factory = kind === "postgres" ? createPostgresBackend : undefined;
  const report = createThrottle(REPORT_EVERY, (reason: string) => log.warn({ reason }, "BullMQ reports an error"));
  const keep = <T extends Queue | Worker>(it: T): T => {
    (it as Queue).on("error", error => report(describe(error)));
    opened.push(it);
    return it;
  };
  return {
    kind,
    openQueue: (chainId, queue) =>
      keep(
        new Queue<JobData>(
          bullName(chainId, queue),
          { ...shared, defaultJobOptions: JOB_DEFAULTS, streams: STREAM } as QueueOptions,
          factory as never,
        ),
      ),
    openWorker(chainId, queue, run, options) {
      const settings = {
        ...shared,
        lockDuration: 6_000,
        stalledInterval: 2_000,
        maxStalledCount: 1_000_000,
        runRetryDelay: 1_000,
        ...JOB_DEFAULTS,
        ...options,
      } as WorkerOptions;
      return keep(new Worker<JobData>(bullName(chainId, queue), (job, _token, signal) => run(job, signal), settings, factory as never));
    },
    async close() {
      // Where Redis is away BullMQ waits for it to say goodbye; nothing depends on that.
      await atMost(CLOSING, Promise.allSettled(opened.map(it => it.close())));
      await atMost(CLOSING, disconnect());
    },
  };
}
