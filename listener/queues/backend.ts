import { type Job, Queue, type QueueOptions, runMigrations, Worker, type WorkerOptions } from "bullmq";
import { Cluster } from "ioredis";
import pg from "pg";
import { atMost, CONNECTING, isDbOutage, KEEP_ALIVE, keepAlive, sleep } from "../db.ts";
import { describe } from "../errors.ts";
import { createOutage, createThrottle, type Log } from "../log.ts";
import { redactUrl } from "../redact.ts";
import { watchSilence } from "../silence.ts";
import { checkRedis, openRedisConnection } from "./redis.ts";
import { createSteadyBackend } from "./steady-connection.ts";

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

export const BACKENDS = ["redis", "postgres"] as const;
export type BackendKind = (typeof BACKENDS)[number];

/** Where the jobs are: in Redis where one is configured, otherwise in the database. */
export const backendKind = (redisUrl: string | undefined): BackendKind => (redisUrl ? "redis" : "postgres");

/** BullMQ on Redis or on Postgres. Whoever opens queues and workers here sees no difference. */
export interface QueueBackend {
  readonly kind: BackendKind;
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

/** How long a statement of BullMQ that met an outage takes at least (ms). */
const REST = 200;

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
  const connection = openRedisConnection(url);
  connection.on("error", error => outage.begins(describe(error)));
  connection.on("ready", () => outage.ends());
  try {
    await checkRedis(connection);
  } catch (error) {
    connection.disconnect();
    throw error;
  }
  // All keys of a queue lie in one slot of a cluster, and queues in different ones.
  const prefixOf = connection instanceof Cluster ? (name: string) => `{${name}}` : undefined;
  return createBackend("redis", { connection, prefixOf }, log, async () => connection.disconnect());
}

async function openPostgres(url: string, log: Log): Promise<QueueBackend> {
  // One pool for every queue and worker of the process: BullMQ would open one each.
  const pool = new pg.Pool({
    connectionString: url,
    max: 16,
    options: "-c search_path=bullmq",
    application_name: "sluice-bullmq",
    connectionTimeoutMillis: CONNECTING,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE,
  });
  pool.setMaxListeners(0);
  keepAlive(pool);
  restAfterOutage(pool);
  const endWatch = watchSilence(pool, { log });
  const outage = createOutage(log, "BullMQ's Postgres");
  pool.on("error", error => outage.begins(describe(error)));
  pool.on("connect", () => outage.ends());
  try {
    const client = await pool.connect();
    await runMigrations(client, "bullmq").finally(() => client.release());
  } catch (error) {
    endWatch();
    await pool.end();
    throw error;
  }
  return createBackend("postgres", { connection: pool }, log, () => {
    endWatch();
    return pool.end();
  });
}

/** BullMQ's workers ask again at once where Postgres refuses them: each of their statements that found none there ends a little later. */
function restAfterOutage(pool: pg.Pool): void {
  const query = pool.query.bind(pool) as (...given: unknown[]) => Promise<pg.QueryResult>;
  pool.query = (async (...given: unknown[]) => {
    try {
      return await query(...given);
    } catch (error) {
      if (isDbOutage(error)) await sleep(REST);
      throw error;
    }
  }) as never;
}

function createBackend(
  kind: QueueBackend["kind"],
  { connection, prefixOf }: { connection: unknown; prefixOf?: ((name: string) => string) | undefined },
  log: Log,
  disconnect: () => Promise<void>,
): QueueBackend {
  const opened: (Queue | Worker)[] = [];
  const factory = kind === "postgres" ? createSteadyBackend : undefined;
  const report = createThrottle(REPORT_EVERY, (reason: string) => log.warn({ reason }, "BullMQ reports an error"));
  const keep = <T extends Queue | Worker>(it: T): T => {
    (it as Queue).on("error", error => report(describe(error)));
    opened.push(it);
    return it;
  };
  const shared = (name: string) => ({ connection, ...(prefixOf ? { prefix: prefixOf(name) } : {}) });
  return {
    kind,
    openQueue(chainId, queue) {
      const name = bullName(chainId, queue);
      const settings = { ...shared(name), defaultJobOptions: JOB_DEFAULTS, streams: STREAM } as QueueOptions;
      return keep(new Queue<JobData>(name, settings, factory as never));
    },
    openWorker(chainId, queue, run, options) {
      const name = bullName(chainId, queue);
      const settings = {
        ...shared(name),
        lockDuration: 6_000,
        stalledInterval: 2_000,
        maxStalledCount: 1_000_000,
        runRetryDelay: 1_000,
        ...JOB_DEFAULTS,
        ...options,
      } as WorkerOptions;
      return keep(new Worker<JobData>(name, (job, _token, signal) => run(job, signal), settings, factory as never));
    },
    async close() {
      // Where Redis is away BullMQ waits for it to say goodbye; nothing depends on that.
      await atMost(CLOSING, Promise.allSettled(opened.map(it => it.close())));
      await atMost(CLOSING, disconnect());
    },
  };
}
