import type { HardhatEthers } from "@nomicfoundation/hardhat-ethers/types";
import { type BaseContract, Contract, type ContractTransactionReceipt, type ContractTransactionResponse, type Signer } from "ethers";
import { network } from "hardhat";
import { deploymentFile, readDeployment } from "./deployment.ts";
import { describeFailure, tokenInterface } from "./failures.ts";
import { InputError } from "./input-error.ts";
import { account, address, optional } from "./parameters.ts";

/** What every script that acts on the token can be told. */
export const common = { as: optional(account), token: optional(address) };

/** The token as an account of the chosen network sees it. */
export interface Opened {
  token: Contract;
  signer: Signer;
  sender: string;
  address: string;
  ethers: HardhatEthers;
  /** Sends a call, waits until it is mined, and returns the receipt with its decoded events of the token. */
  send(method: string, ...values: unknown[]): Promise<{ receipt: ContractTransactionReceipt; events: TokenEvent[] }>;
}

export interface TokenEvent {
  name: string;
  args: Record<string, unknown>;
}

/** Runs a script's main function. A person's mistake and the chain's refusal are one line each, never a stack trace. */
export async function run(script: string, main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    console.error(`${script}: ${error instanceof InputError ? error.message : describeFailure(error)}`);
    process.exitCode = 1;
  }
}

/**
 * Connects to the network that Hardhat was told, and to the token there.
 *
 * @throws InputError if nothing is deployed, there is another chain behind the address, or no such account.
 */
export async function openToken(given: { as?: number; token?: string }): Promise<Opened> {
  const { ethers, networkName } = await network.create();
  const { chainId } = await ethers.provider.getNetwork();
  const at = given.token ?? (await addressOn(chainId, networkName));
  if ((await ethers.provider.getCode(at)) === "0x") {
    throw new InputError(`no contract at ${at} on chain ${chainId} (network ${networkName}); ${howToDeploy}`);
  }

  const signers = await ethers.getSigners();
  const signer = signers[given.as ?? 0];
  if (!signer) throw new InputError(`--as: given ${given.as ?? 0}; the network ${networkName} has ${signers.length} accounts`);
  const token = new Contract(at, tokenInterface, signer);
  return {
    token,
    signer,
    sender: signer.address,
    address: at,
    ethers,
    async send(method, ...values) {
      const sent: ContractTransactionResponse = await token.getFunction(method).send(...values);
      const receipt = (await sent.wait())!;
      return { receipt, events: eventsOf(receipt, token) };
    },
  };
}

const howToDeploy = "deploy first: npx hardhat run scripts/deploy.ts --network localhost";

async function addressOn(chainId: bigint, networkName: string): Promise<string> {
  const file = deploymentFile();
  const deployment = await readDeployment(file).catch(() => undefined);
  const at = deployment?.contracts?.SluiceToken?.address;
  if (!at) throw new InputError(`${file}: no deployment there; ${howToDeploy}`);
  if (BigInt(deployment.chainId) !== chainId) {
    throw new InputError(`${file} is for chain ${deployment.chainId}, the network ${networkName} is chain ${chainId}; ${howToDeploy}`);
  }
  return at;
}

function eventsOf(receipt: ContractTransactionReceipt, token: BaseContract): TokenEvent[] {
  return receipt.logs.flatMap(log => {
    const parsed = log.address === token.target ? token.interface.parseLog(log) : null;
    return parsed ? [{ name: parsed.name, args: parsed.args.toObject() }] : [];
  });
}

/** Shows a transaction: where it is, and each event with its values. */
export function report(done: { receipt: ContractTransactionReceipt; events: TokenEvent[] }): void {
  console.log(`transaction ${done.receipt.hash}, block ${done.receipt.blockNumber}, gas ${done.receipt.gasUsed}`);
  for (const { name, args } of done.events) {
    const values = Object.entries(args).map(([key, value]) => `${key} ${String(value)}`);
    console.log(`  ${name}  ${values.join("  ")}`);
  }
}
