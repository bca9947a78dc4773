import { once } from "node:events";
import { readDeployment } from "../chain/deployment.ts";
import { app } from "../dapp/routes.ts";
import { startWebhooks } from "../webhooks/deliver.ts";
import { WEBHOOKS } from "../webhooks/dispatch.ts";
import { startWorkers } from "../worker/worker.ts";
import { openProcess } from "./process.ts";
import { checkOurs, checkQueues } from "./queue-names.ts";

/** Runs workers on all queues, or on those named. */
export async function work(options: { queues?: string[]; concurrency?: number }): Promise<void> {
  checkQueues(
    app,
    (options.queues ?? []).filter(queue => queue !== WEBHOOKS),
  );
  checkOurs(app, options.queues ?? []);
  await using process = openProcess("work");
  const { config, log, signal } = process;
  const { chainId } = readDeployment(config.deployment);
  const { db, url } = await process.openDatabase();
  const backend = await process.openQueues(url);
  const workers = startWorkers({ app, db, backend, chainId, log, ...options });
  process.defer(() => workers.close());
  if (options.queues?.includes(WEBHOOKS) ?? true) {
    const webhooks = startWebhooks({ app, db, backend, chainId, guard: { allowLoopback: config.webhooksAllowLoopback }, log });
    process.defer(() => webhooks.close());
  }
  log.info({ chainId, queues: options.queues ?? "all", backend: backend.kind }, "working");
  if (!signal.aborted) await once(signal, "abort");
}
