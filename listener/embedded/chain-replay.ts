import { SluiceError } from "../errors.ts";
import type { Entry, RecordedTransaction } from "./chain-record.ts";
import { type RpcTransaction, rawTransaction } from "./raw-transaction.ts";

/** Calls the chain in this process. */
export type Request = <T = unknown>(method: string, params?: unknown[]) => Promise<T>;

/** A block with its transactions, as far as it is needed here. */
export type RpcBlock = {
  number: string;
  hash: string;
  parentHash: string;
  timestamp: string;
  mixHash: string;
  transactions: RpcTransaction[];
};

/**
 * Makes a fresh chain go through `entries` again. `afterBlock` is called after each entry that made blocks, with its
 * index and the head's number. Automine must be off. Throws SluiceError if another chain comes out.
 */
export async function replay(
  request: Request,
  entries: readonly Entry[],
  afterBlock: (index: number, number: number) => Promise<void>,
): Promise<void> {
  let number = 0;
  for (const [index, entry] of entries.entries()) {
    try {
      number += await apply(request, entry);
    } catch (cause) {
      throw differs(number + 1, "its replay was refused", cause);
    }
    if ("hash" in entry) await afterBlock(index, number);
  }
  const last = entries.findLast(entry => "hash" in entry);
  if (last && (await blockAt(request, number))?.hash !== last.hash) throw await firstDifference(request, entries);
}

/** Answers how many blocks it made. */
async function apply(request: Request, entry: Entry): Promise<number> {
  if ("method" in entry) {
    await request(entry.method, entry.params);
    return 0;
  }
  const { time, transactions, count, interval } = entry;
  // One after the other: the chain mines in the order of arrival, and calls at once may overtake each other.
  for (const transaction of transactions) await send(request, transaction);
  if (count === undefined) {
    await request("evm_mine", [time]);
    return 1;
  }
  await request("evm_setNextBlockTimestamp", [time]);
  await request("hardhat_mine", [hex(count), hex(interval ?? 1)]);
  return count;
}

/** Gives the chain a recorded transaction again. */
export async function send(request: Request, transaction: RecordedTransaction): Promise<void> {
  if (typeof transaction === "string") await request("eth_sendRawTransaction", [transaction]);
  else await request("eth_sendTransaction", [transaction.impersonate]);
}

/** What must be kept of a mined transaction to send it again. */
export function recorded(transaction: RpcTransaction): RecordedTransaction {
  return isImpersonated(transaction) ? { impersonate: callOf(transaction) } : rawTransaction(transaction);
}

/** A block that `hardhat_mine` left out and that the chain makes up when it is asked for. */
export function isMadeUp(block: RpcBlock): boolean {
  return /^0x0+$/.test(block.mixHash);
}

export function blockAt(request: Request, number: number): Promise<RpcBlock | null> {
  return request("eth_getBlockByNumber", [hex(number), true]);
}

export const hex = (value: number): string => `0x${value.toString(16)}`;

/** The chain signs for an impersonated sender by writing the address in place of the signature. */
function isImpersonated({ from, r, s }: RpcTransaction): boolean {
  return r === s && BigInt(r) === BigInt(from);
}

function callOf({ from, to, nonce, gas, value, input, ...rest }: RpcTransaction): Record<string, unknown> {
  const fees =
    Number(rest.type) >= 2
      ? { maxFeePerGas: rest.maxFeePerGas, maxPriorityFeePerGas: rest.maxPriorityFeePerGas }
      : { gasPrice: rest.gasPrice };
  return {
    from,
    ...(to ? { to } : {}),
    nonce,
    gas,
    value,
    data: input,
    ...fees,
    ...(rest.accessList ? { accessList: rest.accessList } : {}),
  };
}

async function firstDifference(request: Request, entries: readonly Entry[]): Promise<SluiceError> {
  let number = 0;
  for (const entry of entries) {
    if (!("hash" in entry)) continue;
    number += entry.count ?? 1;
    const found = (await blockAt(request, number))?.hash ?? "none";
    if (found !== entry.hash) return differs(number, `its hash is ${found}, recorded was ${entry.hash}`);
  }
  return differs(number, "its hash is another one");
}

function differs(number: number, what: string, cause?: unknown): SluiceError {
  return new SluiceError(`the local chain cannot be resumed: block ${number} does not come out as it was (${what})`, {
    hint: "`npm run reset` starts a new chain; this happens after an update of Hardhat, or when the record was edited",
    cause,
  });
}
