import { accessSync, constants, existsSync, mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { bindingLoads } from "../../setup/postinstall.mjs";
import { readDeployment } from "../chain/deployment.ts";
import { checkDeployment, checkSameChain, readIdentity } from "../chain/identity.ts";
import { openRpc } from "../chain/rpc.ts";
import { type Config, loadEnvironment, readConfig } from "../config.ts";
import { app } from "../dapp/routes.ts";
import { type Db, missingMigrations, openDb } from "../db.ts";
import { openPostgres } from "../embedded/postgres.ts";
import { describe, SluiceError } from "../errors.ts";
import { readOrigin } from "../journal/chains.ts";
import { createLog } from "../log.ts";
import { checkRedis, openRedisConnection } from "../queues/redis.ts";
import { redactUrl } from "../redact.ts";
import { MIGRATIONS } from "./process.ts";

export type Finding = { check: string; ok: boolean; detail: string; hint?: string };

type Patient = { config: Config; db: Db | undefined };
type Check = (patient: Patient) => Promise<string> | string;

const PATIENCE = 5_000;

/** What is looked at, in this order. A check gives what it found, or throws what is wrong, with what to do about it. */
const CHECKS: Record<string, Check> = {
  Node: () => {
    const [major, minor] = process.versions.node.split(".").map(Number) as [number, number];
    if (major * 100 + minor < 2_213)
      throw new SluiceError(`this is Node ${process.version}`, { hint: "run `npm ci`, which brings Node 24, and use `npm run`" });
    return process.version;
  },
  "Hardhat's binding": () => {
    if (!bindingLoads())
      throw new SluiceError("@nomicfoundation/edr does not load", { hint: "run `npm ci`, or `npm start`, which mends it" });
    return "loads";
  },
  "data directory": ({ config }) => {
    mkdirSync(config.dataDir, { recursive: true });
    try {
      accessSync(config.dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
    } catch (cause) {
      throw new SluiceError(`${config.dataDir} cannot be read and written`, { hint: "give DATA_DIR a directory of your own", cause });
    }
    return config.dataDir;
  },
  Postgres: async ({ config, db }) => {
    if (!db) return "embedded, not made yet: the first command makes it";
    const { rows } = await db.query<{ version: string }>("select current_setting('server_version') as version");
    return `${config.databaseUrl ? redactUrl(config.databaseUrl) : "embedded"}, version ${rows[0]!.version}`;
  },
  schema: async ({ db }) => {
    if (!db) return "no database yet";
    const { rowCount } = await db.query("select from pg_tables where schemaname = 'sluice' and tablename = 'migrations'");
    if (!rowCount) return "empty: the first command makes it";
    const missing = await missingMigrations(db, MIGRATIONS);
    if (missing.length > 0) {
      const names = missing.map(({ name }) => name).join(", ");
      throw new SluiceError(`the schema lacks ${names}`, { hint: "restart listen, work or serve: the first of them brings it up to date" });
    }
    return "up to date";
  },
  Redis: async ({ config }) => {
    if (!config.redisUrl) return "not used: BullMQ runs on Postgres (set REDIS_URL to use Redis)";
    const redis = openRedisConnection(config.redisUrl, { lazyConnect: true, retryStrategy: () => null, connectTimeout: PATIENCE });
    redis.on("error", () => {});
    try {
      await redis.connect();
      await checkRedis(redis);
    } catch (cause) {
      if (cause instanceof SluiceError) throw cause;
      throw new SluiceError(`${redactUrl(config.redisUrl)} does not answer`, { hint: "start Redis, or correct REDIS_URL", cause });
    } finally {
      redis.disconnect();
    }
    return `${redactUrl(config.redisUrl)}, noeviction`;
  },
  deployment: ({ config }) => {
    const { chainId, contracts } = readDeployment(config.deployment);
    const unknown = Object.keys(contracts).filter(name => !app.contracts.has(name));
    if (unknown.length > 0)
      throw new SluiceError(`the application does not know ${unknown.join(", ")}`, { hint: "add it to listener/dapp/contracts.ts" });
    return `chain ${chainId}: ${Object.keys(contracts).join(", ")}`;
  },
  node: async ({ config, db }) => {
    if (config.rpcUrls.length === 0) return "RPC_URL is not set: `start` runs an embedded chain, the other commands need it";
    const signal = AbortSignal.timeout(PATIENCE);
    const rpc = openRpc(config.rpcUrls, { log: createLog("silent"), signal });
    try {
      const identity = await readIdentity(rpc);
      const deployment = existsSync(config.deployment) ? readDeployment(config.deployment) : undefined;
      if (deployment) await checkDeployment(rpc, identity, deployment);
      const entered = await db?.query("select from checkpoint where chain_id = $1", [identity.chainId]).catch(() => undefined);
      const origin = db && entered?.rowCount ? await readOrigin(db, identity.chainId) : undefined;
      if (origin) await checkSameChain(rpc, identity, origin);
      return `${config.rpcUrls.map(redactUrl).join(", ")}: chain ${identity.chainId}`;
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new SluiceError(`${config.rpcUrls.map(redactUrl).join(", ")} does not answer`, {
        hint: "start the node (`npx hardhat node`), or correct RPC_URL",
      });
    } finally {
      rpc.close();
    }
  },
  port: ({ config }) =>
    new Promise((resolve, reject) => {
      const probe = createServer()
        .once("error", () =>
          reject(
            new SluiceError(`port ${config.port} on ${config.host} is taken`, {
              hint: "stop what listens there, or set PORT to another one",
            }),
          ),
        )
        .listen(config.port, config.host, () => probe.close(() => resolve(`${config.host}:${config.port} is free`)));
    }),
};

/** Looks at the machine and the configuration; the exit code is 1 where something is wrong. */
export async function doctor(options: { json?: boolean }): Promise<void> {
  const findings = await examine();
  if (options.json) process.stdout.write(`${JSON.stringify(findings, null, 2)}\n`);
  else
    for (const { check, ok, detail, hint } of findings)
      process.stdout.write(`${ok ? "ok  " : "BAD "} ${check.padEnd(18)} ${detail}${hint ? `\n     → ${hint}` : ""}\n`);
  if (findings.some(({ ok }) => !ok)) process.exitCode = 1;
}

async function examine(): Promise<Finding[]> {
  const findings: Finding[] = [];
  const found = async (check: string, look: () => Promise<string> | string) => {
    try {
      findings.push({ check, ok: true, detail: await look() });
    } catch (error) {
      const hint = error instanceof SluiceError ? error.hint : undefined;
      findings.push({ check, ok: false, detail: describe(error), ...(hint ? { hint } : {}) });
    }
  };
  let config: Config | undefined;
  await found("configuration", () => {
    config = readConfig(loadEnvironment());
    return "no mistakes";
  });
  if (!config) return findings;
  await using stack = new AsyncDisposableStack();
  const db = await openExisting(config, stack).catch(error => {
    findings.push({ check: "Postgres", ok: false, detail: describe(error), hint: "start Postgres, or correct DATABASE_URL" });
    return null;
  });
  for (const [check, look] of Object.entries(CHECKS)) {
    if (db === null && (check === "Postgres" || check === "schema")) continue;
    await found(check, () => look({ config: config!, db: db ?? undefined }));
  }
  return findings;
}

/** The database, where there is one: an embedded one that was never made is not made for this. */
async function openExisting(config: Config, stack: AsyncDisposableStack): Promise<Db | undefined> {
  let url = config.databaseUrl;
  if (!url) {
    if (!existsSync(join(config.dataDir, "postgres"))) return undefined;
    const postgres = await openPostgres({ dataDir: config.dataDir });
    stack.defer(() => postgres.close());
    url = postgres.url;
  }
  const db = openDb(url, { max: 2, name: "sluice-doctor" });
  stack.defer(() => db.end());
  await db.query("select 1");
  return db;
}
