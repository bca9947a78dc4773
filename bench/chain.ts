import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Interface } from "ethers";
import { type LocalNode, startAnvil } from "../test/support/anvil.ts";

const require = createRequire(import.meta.url);

/** Accounts that hold something from the beginning; each is endowed by one Transfer. */
export const PEOPLE = 10_000;
/** Events of a block of the past. */
const PER_BLOCK = 500;

export type BenchChain = {
  node: LocalNode;
  url: string;
  webSocketUrl: string;
  chainId: number;
  token: string;
  /** The block that holds the token's deployment. */
  start: number;
  /** The last block with events; a few empty ones follow, so that it is final. */
  last: number;
  events: number;
  supply: bigint;
  /** Sends a transaction that makes `count` transfers; it is in the next block. */
  transfer(count: number): Promise<void>;
  close(): Promise<void>;
};

const FINAL_AFTER = 4;

type Compiled = { abi: never[]; bytecode: string };

function compileToken(): Compiled {
  const solc = require("solc") as { compile(input: string): string };
  const input = {
    language: "Solidity",
    sources: { "BenchToken.sol": { content: readFileSync(new URL("BenchToken.sol", import.meta.url), "utf8") } },
    settings: {
      evmVersion: "cancun",
      optimizer: { enabled: true, runs: 10_000 },
      outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input)));
  const contract = output.contracts?.["BenchToken.sol"]?.BenchToken;
  if (!contract) throw new Error(`BenchToken.sol does not compile: ${JSON.stringify(output.errors)}`);
  return { abi: contract.abi, bytecode: `0x${contract.evm.bytecode.object}` };
}

/**
 * An anvil whose chain has exactly `events` Transfer events in full blocks, then a few empty ones. The same number makes
 * the same chain.
 *
 * @param events at least 10,000: each of the people is endowed first
 */
export async function makeChain(events: number): Promise<BenchChain> {
  if (events < PEOPLE) throw new Error(`the chain needs at least ${PEOPLE} events, for each of its people is endowed first`);
  const { abi, bytecode } = compileToken();
  const token = new Interface(abi);
  const node = await startAnvil(["--no-mining", "--gas-limit", "1000000000", "--slots-in-an-epoch", "1"]);
  const { rpc } = node;
  const [from] = await rpc<string[]>("eth_accounts");
  const gas = "0x3b000000";
  const send = (to: string | undefined, data: string) => rpc<string>("eth_sendTransaction", [{ from, ...(to ? { to } : {}), data, gas }]);
  const mine = () => rpc("evm_mine");

  const deployed = await send(undefined, bytecode);
  await mine();
  const receipt = await rpc<{ contractAddress: string; blockNumber: string }>("eth_getTransactionReceipt", [deployed]);
  const address = receipt.contractAddress;
  let made = 0;
  while (made < events) {
    const count = Math.min(PER_BLOCK, made < PEOPLE ? PEOPLE - made : events - made);
    const [method, values] = made < PEOPLE ? (["endow", [made, count]] as const) : (["transfers", [count]] as const);
    await send(address, token.encodeFunctionData(method, [...values]));
    await mine();
    made += count;
  }
  const last = Number(await rpc<string>("eth_blockNumber"));
  for (let i = 0; i < FINAL_AFTER; i++) await mine();
  return {
    node,
    url: node.url,
    webSocketUrl: node.url.replace("http", "ws"),
    chainId: Number(await rpc<string>("eth_chainId")),
    token: address,
    start: Number(receipt.blockNumber),
    last,
    events,
    supply: BigInt(PEOPLE) * 10n ** 18n,
    transfer: async count => void (await send(address, token.encodeFunctionData("transfers", [count]))),
    close: () => node.close(),
  };
}
