import { computeHmac, getCreateAddress, Transaction, type TransactionLike, toBeHex, Wallet, zeroPadBytes, zeroPadValue } from "ethers";

/** The first account of the mnemonic that anvil and Hardhat share. */
export const KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
export const EVENT_TOPIC = `0x${"70".repeat(32)}`;
const OTHER_TOPIC = `0x${"71".repeat(32)}`;

/** The code of a contract that emits its calldata twice, with `topic` and its first word, then with `topic`; without any it reverts. */
export const emitter = (topic: string) =>
  `0x6058600a5f3960585ff33615605457365f5f375f357f${topic.slice(2)}365fa27f${topic.slice(2)}365fa1005b5f5ffd`;

/** The blob of nothing but zeros, whose commitment and proof are the point at infinity. */
const EMPTY_BLOB = { data: zeroPadBytes("0x", 131_072), commitment: zeroPadBytes("0xc0", 48), proof: zeroPadBytes("0xc0", 48) };

/** What a node says, as far as tests read it. */
export type RpcLog = Record<
  "blockNumber" | "blockHash" | "transactionHash" | "logIndex" | "transactionIndex" | "address" | "data",
  string
> & {
  topics: string[];
  blockTimestamp?: string;
};
export type RpcReceipt = Record<string, unknown> & { status: string; logs: RpcLog[] };
export type RpcBlock = Record<string, unknown> & {
  hash: string;
  number: string;
  parentHash: string;
  transactions: { hash: string; type: string }[];
};

export type Call = <T = unknown>(method: string, ...params: unknown[]) => Promise<T>;

/** Plain calls of a node; rejects with what it answered. */
export const callsOf =
  (url: string): Call =>
  async <T>(method: string, ...params: unknown[]) => {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
    });
    const { result, error } = (await response.json()) as { result?: unknown; error?: { message: string } };
    if (error) throw new Error(`${method}: ${error.message}`);
    return result as T;
  };

/**
 * Fills a development chain with blocks that hold every type of transaction (a blob's where the node takes it), creations,
 * failures and empty blocks, with logs of ours (`address`, `EVENT_TOPIC`) among those of another contract.
 */
export async function eventfulChain(url: string): Promise<{ call: Call; address: string; types: Set<string>; head: number }> {
  const call = callsOf(url);
  const wallet = new Wallet(KEY);
  const chainId = Number(await call("eth_chainId"));
  let nonce = Number(await call("eth_getTransactionCount", wallet.address, "latest"));
  const address = getCreateAddress({ from: wallet.address, nonce }).toLowerCase();
  const other = getCreateAddress({ from: wallet.address, nonce: nonce + 1 }).toLowerCase();
  const dynamic = { maxFeePerGas: 20_000_000_000n, maxPriorityFeePerGas: 1n };
  const sign = async (transaction: TransactionLike) => {
    const signed = Transaction.from(
      await wallet.signTransaction({ chainId, nonce, gasLimit: 400_000n, value: 0n, ...transaction } as TransactionLike<string>),
    );
    nonce += 1;
    return signed.serialized;
  };
  const send = async (transaction: TransactionLike) => call("eth_sendRawTransaction", await sign(transaction));
  const words = (count: number) => zeroPadValue(toBeHex(nonce + 1), 32).concat("ab".repeat(count));

  await call("evm_setAutomine", false);
  await send({ type: 2, ...dynamic, data: emitter(EVENT_TOPIC) });
  await send({ type: 0, gasPrice: 20_000_000_000n, data: emitter(OTHER_TOPIC) });
  await call("evm_mine");
  for (let block = 0; block < 6; block++) {
    await send({ type: 2, ...dynamic, to: other, data: words(block) });
    await send({ type: 0, gasPrice: 20_000_000_000n, to: address, data: words(0) });
    await send({
      type: 1,
      gasPrice: 20_000_000_000n,
      to: address,
      data: words(31),
      accessList: [{ address, storageKeys: [zeroPadValue("0x", 32)] }],
    });
    // No calldata: it fails.
    await send({ type: 2, ...dynamic, to: address, data: "0x" });
    for (let i = 0; i < block; i++) await send({ type: 2, ...dynamic, to: i % 2 ? address : other, data: words(i * 32) });
    await call("evm_mine");
  }
  const authorization = new Wallet(computeHmac("sha256", "0x01", "0x02")).authorizeSync({ address, nonce: 0, chainId });
  await send({ type: 4, ...dynamic, to: address, data: words(4), authorizationList: [authorization] });
  await call("evm_mine");
  // More than 127 of them: indices of two bytes in the trie.
  for (let i = 0; i < 140; i++) await send({ type: 2, ...dynamic, gasLimit: 60_000n, to: address, data: words(0) });
  await call("evm_mine");
  await call("evm_mine");
  await send({
    type: 3,
    ...dynamic,
    to: address,
    data: words(3),
    maxFeePerBlobGas: 10n ** 10n,
    blobs: [EMPTY_BLOB],
    blobVersionedHashes: undefined,
  } as TransactionLike).catch(() => (nonce -= 1));
  await call("evm_mine");
  await send({ type: 2, ...dynamic, to: other, data: words(1) });
  await call("evm_mine");
  await call("evm_setAutomine", true);

  const head = Number(await call("eth_blockNumber"));
  const types = new Set<string>();
  for (let number = 0; number <= head; number++) {
    for (const { type } of (await call<RpcBlock>("eth_getBlockByNumber", toBeHexNumber(number), true)).transactions) types.add(type);
  }
  return { call, address, types, head };
}

export const toBeHexNumber = (number: number): string => `0x${number.toString(16)}`;

/** A block's receipts: at once, or one by one where a node (Hardhat's) cannot give them at once. */
export async function receiptsOf(call: Call, at: string): Promise<RpcReceipt[]> {
  try {
    return await call<RpcReceipt[]>("eth_getBlockReceipts", at);
  } catch {
    const { transactions } = await call<RpcBlock>("eth_getBlockByNumber", at, true);
    return Promise.all(transactions.map(({ hash }) => call<RpcReceipt>("eth_getTransactionReceipt", hash)));
  }
}
