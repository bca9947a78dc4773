import { once } from "node:events";
import { type ApiOptions, listenApi, type RunningApi } from "../api/server.ts";
import { readDeployment } from "../chain/deployment.ts";
import { reads } from "../dapp/reads.ts";
import { app } from "../dapp/routes.ts";
import { buildPage } from "../embedded/build.ts";
import { describe } from "../errors.ts";
import { openProcess } from "./process.ts";

/** Serves the API until the process is told to stop. */
export async function serve(): Promise<void> {
  await using process = openProcess("serve");
  const { config, log, signal } = process;
  const { chainId } = readDeployment(config.deployment);
  const { db, url } = await process.openDatabase({ pipeline: true });
  // Who only wants the API shall have it where the page cannot be built.
  await buildPage().catch(error => log.warn({ reason: describe(error) }, "no dashboard"));
  const api = await startApi({ app, config, db, chainId, log, backend: process.openQueues(url) });
  process.defer(() => api.close());
  log.info({ chainId, url: api.url, docs: `${api.url}/docs` }, "serving");
  if (!signal.aborted) await once(signal, "abort");
}

/** Starts the API with this application's resources. `url` is where it answers; `close` takes at most 2 s. */
export const startApi = (options: Omit<ApiOptions, "reads">): Promise<RunningApi> => listenApi({ ...options, reads });
