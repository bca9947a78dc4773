import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { getAddress } from "ethers/address";
import { z } from "zod";
import { SluiceError } from "../errors.ts";

/** Where our contracts are: for each its address and the block that holds its deployment. */
export type Deployment = { chainId: number; contracts: Record<string, { address: string; block: number }> };

const address = z.string().transform((text, context) => {
  try {
    return getAddress(text);
  } catch {
    context.addIssue({ code: "custom", message: `${JSON.stringify(text)} is not an address (or its checksum is wrong)` });
    return z.NEVER;
  }
});

const deploymentSchema = z.object({
  chainId: z.int().positive(),
  contracts: z
    .record(z.string(), z.object({ address, block: z.int().nonnegative() }))
    .refine(contracts => Object.keys(contracts).length > 0, "names no contract"),
});

const DEPLOY_FIRST =
  "deploy first: `npx hardhat run scripts/deploy.ts --network localhost`, or point DEPLOYMENT to the file or the Ignition folder";

/**
 * Reads a deployment: the JSON file that scripts/deploy.ts writes, or the folder of an Ignition deployment
 * (`ignition/deployments/chain-31337`). Where nothing is at `path`, Ignition's deployment on the local chain is taken.
 *
 * @throws SluiceError that says what is wrong with the file
 */
export function readDeployment(path: string, ignition = "ignition/deployments"): Deployment {
  const file = existsSync(path) ? path : localIgnitionDeployment(ignition);
  if (!file) throw new SluiceError(`there is no deployment at ${path}`, { hint: DEPLOY_FIRST });
  const given = statSync(file).isDirectory() ? readIgnition(file) : parseJson(file);
  const result = deploymentSchema.safeParse(given);
  if (result.success) return result.data;
  const problems = result.error.issues.map(issue => `${issue.path.join(".") || "the file"}: ${issue.message}`);
  throw new SluiceError(`the deployment ${file} is not valid:\n  ${problems.join("\n  ")}`, { hint: DEPLOY_FIRST });
}

function localIgnitionDeployment(folder: string): string | undefined {
  const chain = join(folder, "chain-31337");
  return existsSync(join(chain, "deployed_addresses.json")) ? chain : undefined;
}

function parseJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new SluiceError(`the deployment ${file} is not JSON`, { hint: DEPLOY_FIRST, cause });
  }
}

/**
 * The contracts of an Ignition deployment, by contract name. Ignition keeps addresses in one file and the receipts, with
 * their block numbers, in a journal of one JSON object a line.
 *
 * @param chainId of the chain where the folder's name, `chain-31337`, does not say it
 */
export function readIgnition(folder: string, chainId = Number(/chain-(\d+)$/.exec(folder.replace(/\/$/, ""))?.[1])): Deployment {
  const addresses = parseJson(join(folder, "deployed_addresses.json")) as Record<string, string>;
  const blocks = new Map<string, number>();
  for (const line of readFileSync(join(folder, "journal.jsonl"), "utf8").split("\n")) {
    if (!line.includes('"TRANSACTION_CONFIRM"')) continue;
    const entry = JSON.parse(line) as { futureId: string; receipt?: { blockNumber?: number; contractAddress?: string } };
    if (entry.receipt?.contractAddress) blocks.set(entry.futureId, entry.receipt.blockNumber ?? 0);
  }
  const contracts = Object.entries(addresses).map(([id, at]) => [id.split("#").at(-1)!, { address: at, block: blocks.get(id) ?? 0 }]);
  return { chainId, contracts: Object.fromEntries(contracts) };
}
