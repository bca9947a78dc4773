import { join } from "node:path";
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";
import type { TaskArguments } from "hardhat/types/tasks";
import { readIgnition } from "../../listener/chain/deployment.ts";
import { deploymentFile, readDeployment, writeDeployment } from "./deployment.ts";

/**
 * `hardhat ignition deploy`, and then the deployment file as scripts/deploy.ts writes it, so that either way of deploying
 * leads to a listener that finds the contracts. A deployment on a chain that ends with the process is not recorded.
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
  const folder = join(hre.config.paths.ignition, "deployments", String(parameters.deploymentId || `chain-${chainId}`));
  const deployed = readIgnition(folder, chainId);

  // What another script deployed on this chain stays in the file; Ignition itself remembers all of its own modules.
  const file = deploymentFile();
  const before = await readDeployment(file).catch(() => undefined);
  const contracts = { ...(before?.chainId === chainId ? before.contracts : {}), ...deployed.contracts };
  await writeDeployment(file, { chainId, contracts });
  for (const [name, { address, block }] of Object.entries(deployed.contracts)) console.log(`${name} at ${address}, block ${block}`);
  console.log(`written to ${file}`);
  return result;
}
