import { JsonRpcProvider } from "ethers";
import { deployToken } from "../../scripts/support/deploy-token.ts";
import { writeDeployment } from "../../scripts/support/deployment.ts";
import { type Crowd, openCrowd } from "../../scripts/support/traffic.ts";
import { SluiceError } from "../errors.ts";

/** What `start` does on a development chain before and beside the listener. A team with its own contracts writes its own. */

/** Deploys the application's contracts with the node's first account and writes the deployment file. */
export async function deployDemo(rpcUrl: string, file: string): Promise<void> {
  const provider = new JsonRpcProvider(rpcUrl, undefined, { batchMaxCount: 1, pollingInterval: 20 });
  try {
    const signer = await provider.getSigner(0).catch(cause => {
      throw new SluiceError(`the node at ${rpcUrl} has no account of its own to deploy with`, {
        hint: "deploy yourself and point DEPLOYMENT to the file; `start` deploys on a development chain only",
        cause,
      });
    });
    await writeDeployment(file, await deployToken(signer));
  } finally {
    provider.destroy();
  }
}

/** The people of the demonstration, who send the traffic. */
export function openDemo(rpcUrl: string, contracts: Record<string, { address: string }>): Promise<Crowd> {
  const token = contracts.SluiceToken;
  if (!token) throw new SluiceError("the deployment has no SluiceToken", { hint: "start without traffic: --no-traffic" });
  return openCrowd({ rpcUrl, address: token.address });
}
