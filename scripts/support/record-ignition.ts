import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import type { TaskArguments } from "hardhat/types/tasks";
import { deploymentFile, writeDeployment } from "./deployment.ts";

/**
 * `hardhat ignition deploy`, and then the deployment file as scripts/deploy.ts writes it, so that either way of deploying
 * leads to a listener that finds the contract. A deployment on a chain that ends with the process is not recorded.
 */
export default async function deployAndRecord(
  parameters: TaskArguments,
  hre: HardhatRuntimeEnvironment,
  runSuper: (parameters: TaskArguments) => Promise<unknown>,
): Promise<unknown> {
  const result = (await runSuper(parameters)) as { type?: string } | null;
  if (result?.type !== "SUCCESSFUL_DEPLOYMENT") return result;

  const { provider, networkConfig } = await hre.network.create();
  if (networkConfig.type !== "http") return result;
  const chainId = Number(await provider.request({ method: "eth_chainId" }));
  const journal = join(hre.config.paths.ignition, "deployments", String(parameters.deploymentId || `chain-${chainId}`), "journal.jsonl");
  const token = deployedToken(await readFile(journal, "utf8"));
  if (!token) return result;

  const file = deploymentFile();
  await writeDeployment(file, { chainId, contracts: { SluiceToken: token } });
  console.log(`\nSluiceToken at ${token.address}, block ${token.block}, written to ${file}`);
  return result;
}

/** Finds in Ignition's journal (one JSON object a line) where the token is and in which block it was deployed. */
export function deployedToken(journal: string): { address: string; block: number } | undefined {
  const entries = journal
    .split("\n")
    .filter(Boolean)
    .map(line => JSON.parse(line));
  const confirmed = entries.findLast(
    entry => entry.type === "TRANSACTION_CONFIRM" && entry.futureId === "SluiceToken#SluiceToken" && entry.receipt.contractAddress,
  );
  return confirmed && { address: confirmed.receipt.contractAddress, block: Number(confirmed.receipt.blockNumber) };
}
