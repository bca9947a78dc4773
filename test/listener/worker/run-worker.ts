/**
 * A worker process on the database and the chain id that are given. It says so when it is in the middle of a delivery, and
 * stays there: it is killed in that state.
 */
import { openDb } from "../../../listener/db.ts";
import { openBackend } from "../../../listener/queues/backend.ts";
import { startWorkers } from "../../../listener/worker/worker.ts";
import { entriesApp } from "../../support/entries.ts";
import { silent } from "../../support/silent.ts";

const [databaseUrl, chainId, redisUrl] = process.argv.slice(2);
const app = entriesApp(async () => {
  console.log("in the middle");
  await new Promise(() => {});
});
startWorkers({
  app,
  db: openDb(databaseUrl!),
  backend: await openBackend({ redisUrl: redisUrl || undefined, databaseUrl: databaseUrl!, log: silent }),
  chainId: Number(chainId),
  log: silent,
});
