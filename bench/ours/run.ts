/**
 * One process of ours on one of the benchmark's applications: `node bench/ours/run.ts listen batched`. Everything else comes
 * from the environment, as for the commands of Sluice; the code is theirs, too.
 */
import { once } from "node:events";
import { readDeployment } from "../../listener/chain/deployment.ts";
import { runListener } from "../../listener/commands/listener.ts";
import { loadEnvironment, readConfig } from "../../listener/config.ts";
import { migrate, openDb } from "../../listener/db.ts";
import { JOURNAL_MIGRATIONS } from "../../listener/journal/schema.ts";
import { createLog } from "../../listener/log.ts";
import { openBackend } from "../../listener/queues/backend.ts";
import { WEBHOOK_MIGRATIONS } from "../../listener/webhooks/schema.ts";
import { startWorkers } from "../../listener/worker/worker.ts";
import { apps } from "./apps.ts";

const [role, name] = process.argv.slice(2);
const app = apps[name!]!;
const config = readConfig(loadEnvironment());
const log = createLog(config.logLevel);
const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());

const deployment = readDeployment(config.deployment);
const db = openDb(config.databaseUrl!, { prepare: config.prepare });
await migrate(db, [...JOURNAL_MIGRATIONS, ...WEBHOOK_MIGRATIONS, ...app.migrations]);
const backend = await openBackend({ redisUrl: config.redisUrl, databaseUrl: config.databaseUrl!, log });
const { signal } = stopping;
if (role === "listen") {
  await runListener({ app, config, db, backend, deployment, log, signal });
} else {
  const workers = startWorkers({ app, db, backend, chainId: deployment.chainId, log });
  if (!signal.aborted) await once(signal, "abort");
  await workers.close();
}
await backend.close();
await db.end();
