import { ContractFactory, type InterfaceAbi, id, type Signer, ZeroAddress } from "ethers";
import artifact from "../../artifacts/contracts/SluiceToken.sol/SluiceToken.json" with { type: "json" };
import type { Deployment } from "./deployment.ts";
import { demoMintLimit, demoTerms, type Terms } from "./terms.ts";

export interface DeployOptions {
  /** What differs from the terms of the demonstration. */
  terms?: Partial<Terms>;
  /** Whether the deploying account gets the minter (with `mintLimit`), pauser and unpauser roles. By default it does. */
  roles?: boolean;
  /** What the deploying account may mint per period; in the smallest unit. */
  mintLimit?: bigint;
}

/**
 * Deploys the token with ethers alone, so that a program without Hardhat can do it too.
 *
 * @param signer An account with ether, connected to a provider.
 * @returns What the deployment file holds; all transactions are mined by then.
 */
export async function deployToken(signer: Signer, options: DeployOptions = {}): Promise<Deployment> {
  const account = await signer.getAddress();
  const terms: Terms = { ...demoTerms, admin: ZeroAddress, ...options.terms };
  if (terms.admin === ZeroAddress) terms.admin = account;

  const { chainId } = await signer.provider!.getNetwork();
  const factory = new ContractFactory(artifact.abi as InterfaceAbi, artifact.bytecode, signer);
  // Numbered here: the pending count that a node tells may lag behind what was just sent.
  let nonce = await signer.getNonce();
  const deployed = await factory.deploy(terms, { nonce: nonce++ });
  const receipt = await deployed.deploymentTransaction()!.wait();

  if (options.roles ?? true) {
    const to = await deployed.getAddress();
    const roles = ["MINTER_ROLE", "PAUSER_ROLE", "UNPAUSER_ROLE"];
    const calls = roles.map(role => factory.interface.encodeFunctionData("grantRole", [id(role), account]));
    calls.push(factory.interface.encodeFunctionData("setMintLimit", [account, options.mintLimit ?? demoMintLimit]));
    const sent = [];
    for (const data of calls) sent.push(await signer.sendTransaction({ to, data, nonce: nonce++ }));
    for (const transaction of sent) await transaction.wait();
  }

  return {
    chainId: Number(chainId),
    contracts: { SluiceToken: { address: await deployed.getAddress(), block: receipt!.blockNumber } },
  };
}
