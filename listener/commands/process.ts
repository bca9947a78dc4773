import { join } from "node:path";
import { KEY_MIGRATIONS } from "../api/keys.ts";
import { type Config, loadEnvironment, readConfig } from "../config.ts";
import { app } from "../dapp/routes.ts";
import { type Db, migrate, openDb, outlast, waitForDb } from "../db.ts";
import { openPostgres } from "../embedded/postgres.ts";
import { JOURNAL_MIGRATIONS } from "../journal/schema.ts";
import { createLog, type Log } from "../log.ts";
import { openBackend, type QueueBackend } from "../queues/backend.ts";
import { watchSilence } from "../silence.ts";
import { WEBHOOK_MIGRATIONS } from "../webhooks/schema.ts";

/** Everything that the schema needs: the journal's tables and those of the application's projections. */
export const MIGRATIONS = [...JOURNAL_MIGRATIONS, ...KEY_MIGRATIONS, ...WEBHOOK_MIGRATIONS, ...app.migrations];

/** What a command has in hand. Closing gives back what it opened, the newest first. */
export type Process = AsyncDisposable & {
  config: Config;
  log: Log;
  /** Aborts at Ctrl-C and SIGTERM. A second one ends the process at once. */
  signal: AbortSignal;
  stop(): void;
  /** The given database, or the embedded one. Migrated and reachable. */
  openDatabase(options?: { max?: number; pipeline?: boolean }): Promise<{ db: Db; url: string; embedded: boolean }>;
  openQueues(databaseUrl: string): Promise<QueueBackend>;
  /** Runs at the end, before what was opened earlier is closed. */
  defer(close: () => unknown): void;
};

/** Reads the configuration and prepares a command. `logFile` is put into the data directory. */
export function openProcess(command: string, options: { logFile?: string } = {}): Process {
  const config = readConfig(loadEnvironment());
  const log = createLog(config.logLevel, options.logFile && join(config.dataDir, options.logFile)).child({ command });
  const stopping = new AbortController();
  const stack = new AsyncDisposableStack();
  const onSignal = () => {
    if (stopping.signal.aborted) process.exit(130);
    stopping.abort();
  };
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, onSignal);
  stack.defer(() => {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.off(name, onSignal);
  });
  return {
    config,
    log,
    signal: stopping.signal,
    stop: () => stopping.abort(),
    defer: close => stack.defer(async () => void (await close())),
    async openDatabase(options = {}) {
      let url = config.databaseUrl;
      if (!url) {
        const postgres = await openPostgres({ dataDir: config.dataDir, log: line => log.info(line) });
        stack.defer(() => postgres.close());
        url = postgres.url;
      }
      const db = openDb(url, { name: `sluice-${command}`, prepare: config.prepare, ...options });
      stack.defer(() => db.end());
      stack.defer(watchSilence(db, { log }));
      await waitForDb(db, log, stopping.signal);
      await outlast(() => migrate(db, MIGRATIONS), { log, signal: stopping.signal });
      return { db, url, embedded: !config.databaseUrl };
    },
    async openQueues(databaseUrl) {
      const open = () => openBackend({ redisUrl: config.redisUrl, databaseUrl, log });
      const backend = await outlast(open, { log, signal: stopping.signal });
      stack.defer(() => backend.close());
      return backend;
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** The node that `npx hardhat node` runs, for the commands that need one where RPC_URL says nothing. */
export const withLocalNode = (config: Config): Config =>
  config.rpcUrls.length > 0 ? config : { ...config, rpcUrls: ["http://127.0.0.1:8545", "ws://127.0.0.1:8545"] };
