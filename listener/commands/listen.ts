import { readDeployment } from "../chain/deployment.ts";
import { app } from "../dapp/routes.ts";
import { redactUrl } from "../redact.ts";
import { keepAuditing } from "./auditor.ts";
import { runListener } from "./listener.ts";
import { openProcess, withLocalNode } from "./process.ts";

/** Follows the chain, writes the journal, relays. */
export async function listen(options: { auditEvery?: number } = {}): Promise<void> {
  await using process = openProcess("listen");
  const { log, signal } = process;
  const config = withLocalNode(process.config);
  const deployment = readDeployment(config.deployment);
  const { db, url } = await process.openDatabase();
  const backend = await process.openQueues(url);
  log.info({ chainId: deployment.chainId, node: config.rpcUrls.map(redactUrl), queues: backend.kind }, "listening");
  const settings = { app, config, db, backend, deployment, log };
  const every = options.auditEvery;
  if (config.retention !== undefined && !every)
    log.warn("RETENTION is set, but what was not audited is kept: give --audit-every, or run `npm run audit -- --since` now and then");
  const whileLeading = every ? (leading: AbortSignal) => keepAuditing({ ...settings, signal: leading, every }) : undefined;
  await runListener({ ...settings, signal, whileLeading });
}
