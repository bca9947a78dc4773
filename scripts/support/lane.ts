import type { JsonRpcApiProvider, TransactionRequest, Wallet } from "ethers";
import { isNonceFailure } from "./failures.ts";

/** An account that sends one transaction after another, with nonces counted here rather than asked for each time. */
export interface Lane {
  address: string;
  wallet: Pick<Wallet, "signTypedData">;
  /** Signs, sends and returns the transaction's hash. Throws what the node answers when it refuses. */
  send(request: Pick<TransactionRequest, "to" | "data">): Promise<string>;
}

/** How long a count of nonces is believed: a chain that is reverted takes them back without a word. */
const believed = 2_000;

const attempts = 3;

/** Fees above what a local chain asks; gas for the dearest transaction of the demonstration. */
const terms = { type: 2, gasLimit: 1_000_000, maxFeePerGas: 100_000_000_000n, maxPriorityFeePerGas: 1_000_000n };

export function openLane(
  wallet: Pick<Wallet, "address" | "signTransaction" | "signTypedData">,
  provider: JsonRpcApiProvider,
  chainId: bigint,
): Lane {
  let nonce: number | undefined;
  let readAt = 0;
  let last: Promise<unknown> = Promise.resolve();

  async function send(request: Pick<TransactionRequest, "to" | "data">): Promise<string> {
    for (let attempt = 1; ; attempt++) {
      if (nonce === undefined || performance.now() - readAt > believed) {
        nonce = Number(await provider.send("eth_getTransactionCount", [wallet.address, "pending"]));
        readAt = performance.now();
      }
      const signed = await wallet.signTransaction({ ...terms, ...request, chainId, nonce });
      try {
        const hash: string = await provider.send("eth_sendRawTransaction", [signed]);
        nonce++;
        return hash;
      } catch (error) {
        // Refused or reverted: only the node knows now whether it used the nonce.
        nonce = undefined;
        if (attempt === attempts || !isNonceFailure(error)) throw error;
      }
    }
  }

  return {
    address: wallet.address,
    wallet,
    send(request) {
      const sent = last.then(() => send(request));
      last = sent.catch(() => undefined);
      return sent;
    },
  };
}
