import { readDeployment } from "../chain/deployment.ts";
import { app } from "../dapp/routes.ts";
import { SluiceError } from "../errors.ts";
import { runListener } from "./listener.ts";
import { openProcess } from "./process.ts";

/** Follows the chain, writes the journal, relays. */
export async function listen(): Promise<void> {
  await using process = openProcess("listen");
  const { config, log, signal } = process;
  if (config.rpcUrls.length === 0) {
    throw new SluiceError("RPC_URL is not set", { hint: "for a local chain run `npx hardhat node` and set RPC_URL=http://127.0.0.1:8545" });
  }
  const deployment = readDeployment(config.deployment);
  const { db, url } = await process.openDatabase();
  const backend = await process.openQueues(url);
  log.info({ chainId: deployment.chainId, queues: backend.kind }, "listening");
  await runListener({ app, config, db, backend, deployment, log, signal });
}
