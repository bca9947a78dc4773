import { ChainReplacedError, WrongChainError } from "../errors.ts";
import type { Deployment } from "./deployment.ts";
import { type Rpc, RpcError } from "./rpc.ts";
import type { BlockRef, Hex } from "./types.ts";

/** What tells one chain from another. `instance` is the run of a development chain, where the node says it. */
export type ChainIdentity = { chainId: number; genesis: Hex; instance: string | undefined; development: boolean };

/** Asks the node which chain it stands for. */
export async function readIdentity(rpc: Rpc): Promise<ChainIdentity> {
  const [chainId, genesis, instance, client] = await Promise.all([
    rpc.call<Hex>("eth_chainId", []),
    rpc.call<{ hash: Hex } | null>("eth_getBlockByNumber", ["0x0", false]),
    optional(rpc.call<{ instanceId?: string }>("hardhat_metadata", [])),
    optional(rpc.call<string>("web3_clientVersion", [])),
  ]);
  return {
    chainId: Number(chainId),
    genesis: genesis?.hash ?? "",
    instance: instance?.instanceId,
    development: instance !== undefined || /anvil|hardhat|ganache/i.test(client ?? ""),
  };
}

const optional = <T>(call: Promise<T>): Promise<T | undefined> =>
  call.catch(error => {
    if (error instanceof RpcError) return undefined;
    throw error;
  });

const RESET =
  "point RPC_URL to the chain that the data came from; or run `npm run resync` to go on with this one, `npm run reset` to forget everything";

/** Every contract of the deployment has code on this chain, and the chain is the one that the deployment names. */
export async function checkDeployment(rpc: Rpc, identity: ChainIdentity, deployment: Deployment): Promise<void> {
  if (identity.chainId !== deployment.chainId) {
    throw new WrongChainError(`the node is on chain ${identity.chainId}, the deployment on chain ${deployment.chainId}`, {
      hint: "point RPC_URL to the right chain, or DEPLOYMENT to the file of this one",
    });
  }
  for (const [name, { address }] of Object.entries(deployment.contracts)) {
    const code = await rpc.call<Hex>("eth_getCode", [address, "latest"]);
    if (code === "0x") {
      throw new WrongChainError(`${name} is not at ${address} on chain ${identity.chainId}: there is no code`, {
        hint: "a local chain forgets everything when it is restarted: deploy again (`npx hardhat run scripts/deploy.ts --network localhost`), then `npm run reset`",
      });
    }
  }
}

/**
 * The node's chain is the one that the checkpoint was written for. A development chain that was restarted has another
 * instance; it is the same chain all the same where it still (or again) holds the oldest block that we know.
 */
export async function checkSameChain(
  rpc: Rpc,
  now: ChainIdentity,
  then: { genesis: Hex; instance: string | undefined; oldest: BlockRef | undefined },
): Promise<void> {
  if (now.genesis !== then.genesis) {
    throw new ChainReplacedError(`the node's genesis block is ${now.genesis}, the data's is ${then.genesis}`, { hint: RESET });
  }
  if (now.instance === then.instance || !then.oldest) return;
  const block = await rpc.call<{ number: Hex } | null>("eth_getBlockByHash", [then.oldest.hash, false]);
  if (!block) {
    throw new ChainReplacedError(`the local chain was restarted: it does not hold block ${then.oldest.number} ${then.oldest.hash}`, {
      hint: RESET,
      block: then.oldest.number,
    });
  }
}
