import type { Random } from "../../../scripts/support/random.ts";
import { token } from "../token.ts";
import { quantity, type RawLog, type SimBlock } from "./block.ts";
import { type SimChain, TOKEN_BLOCK } from "./chain.ts";
import type { Lie } from "./lies.ts";

export type Answer = { result: unknown } | { error: { code: number; message: string } };
type Filter = {
  address?: string | string[];
  topics?: (string | string[] | null)[];
  fromBlock?: string;
  toBlock?: string;
  blockHash?: string;
};

const refuse = (message: string, code = -32_000): Answer => ({ error: { code, message } });

/**
 * A node of a simulated chain: what it answers to a call. `view` is the head that it admits to, which may lag, be of a
 * branch that was left, or be another at each call, as behind a balancer. `lie` is done to logs, and to receipts where
 * `deep`; a lie about a block is one that nobody else tells.
 */
export function simNode(chain: SimChain, { chainId, random }: { chainId: number; random: Random }) {
  const node = {
    view: (): SimBlock => chain.head,
    lie: undefined as Lie | undefined,
    deep: false,
    /** Logs that were lied about, in how many answers. */
    lies: 0,
    /** geth answers a range beyond its head with what it has; anvil and reth refuse it. */
    strict: random.below(2) === 0,
    answer,
  };

  const atTag = (tag: string, head: SimBlock): SimBlock | undefined => {
    if (tag === "latest" || tag === "pending") return head;
    if (tag === "earliest") return chain.genesis;
    if (tag === "finalized" || tag === "safe") return chain.contains(chain.finalized, head) ? chain.finalized : chain.at(0, head);
    return chain.at(Number(tag), head);
  };
  /** A node knows its own branch, and for a while those that it left. */
  const known = (hash: string, head: SimBlock): SimBlock | undefined => {
    const block = chain.block(hash);
    return block && (block.number <= head.number || chain.contains(block, head)) ? block : undefined;
  };
  const matches = (log: RawLog, { address, topics = [] }: Filter) =>
    (address === undefined || [address].flat().includes(log.address)) &&
    topics.every((wanted, i) => wanted === null || [wanted].flat().includes(log.topics[i] ?? "") || [wanted].flat().length === 0);
  const told = (logs: RawLog[]): RawLog[] => {
    if (!node.lie || logs.length === 0) return logs;
    node.lies += 1;
    return node.lie(logs, random);
  };

  const methods: Record<string, (parameters: never[], head: SimBlock) => Answer> = {
    eth_chainId: () => ({ result: quantity(chainId) }),
    net_version: () => ({ result: String(chainId) }),
    web3_clientVersion: () => ({ result: "sim/1" }),
    eth_blockNumber: (_, head) => ({ result: quantity(head.number) }),
    eth_getCode: (_, head) => ({ result: head.number >= TOKEN_BLOCK ? "0x6001" : "0x" }),
    eth_getBlockByNumber: ([tag, full]: never[], head) => ({ result: shown(atTag(tag!, head), full!) }),
    eth_getBlockByHash: ([hash, full]: never[], head) => ({ result: shown(known(hash!, head), full!) }),
    eth_getBlockReceipts: ([at]: never[], head) => {
      const tag = String(at);
      const block = tag.length === 66 ? known(tag, head) : atTag(tag, head);
      if (!block) return { result: null };
      if (!node.deep || !node.lie || block.logs.length === 0) return { result: block.receipts };
      const logs = told(block.logs);
      return {
        result: block.receipts.map(receipt => ({
          ...receipt,
          logs: logs.filter(log => log?.transactionIndex === receipt.transactionIndex),
        })),
      };
    },
    eth_getTransactionReceipt: ([hash]: never[], head) => {
      for (let block: SimBlock | undefined = head; block; block = block.parent) {
        const found = block.receipts.find(receipt => receipt.transactionHash === hash);
        if (found) return { result: found };
      }
      return { result: null };
    },
    eth_getLogs: ([filter]: never[], head) => getLogs(filter!, head),
    eth_call: (parameters: never[], head) => {
      const [{ data }, at] = parameters as unknown as [{ data: string }, unknown];
      const block = typeof at === "object" ? known((at as { blockHash: string }).blockHash, head) : atTag(String(at), head);
      return block ? call(data, block) : refuse("header not found");
    },
  };

  function getLogs(filter: Filter, head: SimBlock): Answer {
    if (filter.blockHash) {
      const block = known(filter.blockHash, head);
      return block ? { result: told(block.logs.filter(log => matches(log, filter))) } : refuse("unknown block");
    }
    const from = Number(filter.fromBlock ?? 0);
    const to = filter.toBlock === undefined || filter.toBlock === "latest" ? head.number : Number(filter.toBlock);
    if (to > head.number && node.strict)
      return refuse(`block range extends beyond current head block: requested ${to}, head ${head.number}`);
    return {
      result: told(chain.logs(from, Math.min(to, head.number), head).filter(log => matches(log, filter))),
    };
  }

  function answer(method: string, parameters: readonly unknown[]): Answer {
    const handle = methods[method];
    return handle ? handle(parameters as never[], node.view()) : refuse(`the method ${method} does not exist`, -32_601);
  }
  return node;
}

export type SimNode = ReturnType<typeof simNode>;

const shownBlocks = { full: new WeakMap<SimBlock, object>(), brief: new WeakMap<SimBlock, object>() };

/** A block as a node tells of it: the same object each time, which whoever takes it leaves as it is. */
function shown(block: SimBlock | undefined, full: boolean): unknown {
  if (!block) return null;
  const known = shownBlocks[full ? "full" : "brief"];
  let found = known.get(block);
  if (!found) {
    found = { ...block.header, transactions: full ? block.transactions : block.transactions.map(({ hash }) => hash) };
    known.set(block, found);
  }
  return found;
}

/** What the token's contract says in the state of this block. */
function call(data: string, { token: state }: SimBlock): Answer {
  const parsed = token.parseTransaction({ data });
  const answers: Record<string, () => unknown> = {
    balanceOf: () => state.balances.get(String(parsed!.args[0]).toLowerCase()) ?? 0n,
    totalSupply: () => state.supply,
    sequence: () => state.sequence,
    paused: () => state.paused,
    epoch: () => state.epoch,
    isRegistered: () => state.registered.has(String(parsed!.args[0]).toLowerCase()),
  };
  const found = answers[parsed?.name ?? ""];
  return found ? { result: token.encodeFunctionResult(parsed!.name, [found()]) } : refuse("execution reverted", 3);
}
