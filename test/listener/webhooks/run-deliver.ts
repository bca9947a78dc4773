/** A process that delivers webhooks with the database and the Redis that are given, until it is killed. */
import { app } from "../../../listener/dapp/routes.ts";
import { openDb } from "../../../listener/db.ts";
import { openBackend } from "../../../listener/queues/backend.ts";
import { startWebhooks } from "../../../listener/webhooks/deliver.ts";
import { silent } from "../../support/silent.ts";
import { FAST } from "./timing.ts";

const [databaseUrl, chainId, redisUrl] = process.argv.slice(2);
startWebhooks({
  app,
  db: openDb(databaseUrl!),
  backend: await openBackend({ redisUrl: redisUrl || undefined, databaseUrl: databaseUrl!, log: silent }),
  chainId: Number(chainId),
  guard: { allowLoopback: true },
  log: silent,
  // It is killed, and another one has to take over.
  timing: { ...FAST, lease: 1_500 },
});
