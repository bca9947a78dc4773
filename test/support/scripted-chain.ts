import { UnknownBlockError } from "../../listener/chain/source.ts";
import type { BlockRef, ChainSource, ChainUpdate, Header, Hex, Log } from "../../listener/chain/types.ts";

/** A log as a script gives it: what is left out is made up. */
export type ScriptedLog = Partial<Pick<Log, "address" | "topics" | "data" | "transactionHash">>;

type Block = Header & { name: string; logs: Log[] };

export const SCRIPTED_ADDRESS = `0x${"c0".repeat(20)}`;
export const SCRIPTED_TOPIC = `0x${"70".repeat(32)}`;

/** The hash of the block with this name: readable in a failure, and the same in every run. */
export const hashOf = (name: string): Hex => `0x${Buffer.from(name).toString("hex").padStart(64, "0")}`;
/** The name of the block with this hash. */
export const nameOf = (hash: Hex): string => Buffer.from(hash.slice(2), "hex").toString().replaceAll("\0", "");

/**
 * A chain in memory, scripted as text. A block's name is letters for its branch and its number: `b12` is block 12 of
 * branch b.
 *
 *     scriptedChain("a1 a2 a3").forkAt("a1", "b2 b3 b4")
 *
 * The last block that was added, by `grow` or `forkAt`, is the head. `heads` scripts what the node admits to, poll by poll.
 */
export function scriptedChain(script: string) {
  const blocks = new Map<Hex, Block>();
  const unknown = new Map<Hex, number>();
  const calls: string[] = [];
  let canonical: Hex = "";
  let admitted: Hex[] = [];
  let final: Hex | undefined;
  let confirmations: number | undefined;
  let wake = () => {};
  let rested = () => {};

  const get = (name: string): Block => {
    const block = blocks.get(hashOf(name));
    if (!block) throw new Error(`the script has no block ${name}`);
    return block;
  };
  const words = (text: string) => text.split(/\s+/).filter(Boolean);
  const add = (parent: Hex, names: string) => {
    let parentHash = parent;
    for (const name of words(names)) {
      const number = Number(/\d+$/.exec(name)?.[0]);
      const expected = blocks.get(parentHash);
      if (expected && expected.number + 1 !== number) throw new Error(`${name} cannot follow ${expected.name}`);
      const hash = hashOf(name);
      blocks.set(hash, { name, number, hash, parentHash, timestamp: 1_700_000_000 + number * 12, logsBloom: "0x", logs: [] });
      parentHash = hash;
    }
    canonical = parentHash;
    admitted = [];
  };
  /** The head of this poll. The scripted ones come first, each once; the last of them stays. */
  const headNow = (): Block => blocks.get(admitted[0] ?? canonical)!;
  const branches = new Map<Hex, Block[]>();
  /** The branch that ends in `head`, oldest block first. */
  const branch = (head: Hex): Block[] => {
    let found = branches.get(head);
    if (!found) {
      found = [];
      for (let block = blocks.get(head); block; block = blocks.get(block.parentHash)) found.push(block);
      branches.set(head, found.reverse());
    }
    return found;
  };
  const atNumber = (number: number): Block | undefined => {
    const line = branch(headNow().hash);
    return line[number - line[0]!.number];
  };
  const header = (block: Block | undefined): Header | undefined => {
    if (!block) return undefined;
    const { name, logs, ...rest } = block;
    return rest;
  };
  const takeUnknown = (hash: Hex): boolean => {
    const left = unknown.get(hash) ?? 0;
    if (left > 0) unknown.set(hash, left - 1);
    return left > 0;
  };

  const source: ChainSource = {
    async head() {
      calls.push("head");
      return header(headNow())!;
    },
    async finalized(head) {
      if (confirmations !== undefined) return head.number < confirmations ? undefined : header(atNumber(head.number - confirmations));
      return final === undefined ? undefined : header(blocks.get(final));
    },
    async headerByHash(hash) {
      calls.push(`header ${nameOf(hash)}`);
      return takeUnknown(hash) ? undefined : header(blocks.get(hash));
    },
    async headerByNumber(number) {
      calls.push(`header at ${number}`);
      return header(atNumber(number));
    },
    async headers(numbers) {
      return numbers.map(number => header(atNumber(number)));
    },
    async logsOf(block) {
      calls.push(`logs of ${nameOf(block.hash)}`);
      const found = blocks.get(block.hash);
      if (!found || takeUnknown(block.hash)) throw new UnknownBlockError(block);
      return found.logs.map(log => ({ ...log }));
    },
    async logsIn(from, to) {
      calls.push(`logs in ${from} to ${to}`);
      const found: Log[] = [];
      for (let number = from; number <= to; number++) found.push(...(atNumber(number)?.logs ?? []).map(log => ({ ...log })));
      return found;
    },
    changed() {
      if (admitted.length > 1) {
        admitted.shift();
        return Promise.resolve();
      }
      return new Promise(resolve => {
        wake = resolve;
        rested();
      });
    },
  };

  const chain = {
    source,
    /** What was asked of the chain, in order. */
    calls,
    /** Adds blocks on the head. */
    grow(names: string) {
      add(canonical, names);
      return chain;
    },
    /** Adds a branch on `ancestor` (or from the very first block, with ""), and makes it the canonical one. */
    forkAt(ancestor: string, names: string) {
      add(ancestor === "" ? hashOf("root") : get(ancestor).hash, names);
      return chain;
    },
    /** Makes the branch that ends in this block the canonical one: A, B, A. */
    switchTo(name: string) {
      canonical = get(name).hash;
      admitted = [];
      return chain;
    },
    /** What the node says at each of the next polls, for a node that lags or a balancer that flips between two. */
    heads(names: string) {
      admitted = words(names).map(name => get(name).hash);
      return chain;
    },
    /** This block is final: by tag, with its name, or at this many confirmations. */
    final(at: string | number) {
      if (typeof at === "number") confirmations = at;
      else final = get(at).hash;
      return chain;
    },
    /** The next `times` questions about this block's logs, or for it by hash, find that the node does not know it. */
    forget(name: string, times = 1) {
      unknown.set(get(name).hash, times);
      return chain;
    },
    /** Puts logs into a block: so many of no meaning, or these. */
    logs(name: string, logs: number | ScriptedLog[]) {
      const block = get(name);
      const given = typeof logs === "number" ? Array.from({ length: logs }, () => ({})) : logs;
      for (const log of given as ScriptedLog[]) {
        const logIndex = block.logs.length;
        block.logs.push({
          blockNumber: block.number,
          blockHash: block.hash,
          blockTimestamp: block.timestamp,
          transactionHash: log.transactionHash ?? hashOf(`${name} transaction ${logIndex}`),
          transactionIndex: logIndex,
          logIndex,
          address: log.address ?? SCRIPTED_ADDRESS,
          topics: log.topics ?? [SCRIPTED_TOPIC],
          data: log.data ?? "0x",
        });
      }
      return chain;
    },
    block: (name: string): Header => header(get(name))!,
    ref: (name: string): BlockRef => ({ number: get(name).number, hash: get(name).hash }),
    /** Names of the canonical blocks from `start` on. */
    canonical: (start: number): string[] =>
      branch(canonical)
        .filter(block => block.number >= start)
        .map(block => block.name),
    /** The update that adds these blocks with their logs. */
    extend(names: string): ChainUpdate {
      const headers = words(names).map(name => chain.block(name));
      const logs = words(names).flatMap(name => get(name).logs.map(log => ({ ...log })));
      return { type: "extend", headers, logs, head: headers.at(-1)!.number, seenAt: new Date() };
    },
    /** The update that takes these blocks, the newest first, back to `ancestor` ("" for none). */
    reorg(ancestor: string, removed: string): ChainUpdate {
      return {
        type: "reorg",
        ancestor: ancestor === "" ? undefined : chain.ref(ancestor),
        removed: words(removed).map(name => chain.ref(name)),
      } as ChainUpdate;
    },
    finalize: (name: string): ChainUpdate => ({ type: "finalize", block: chain.ref(name) }),
    /** Leaves the follower so far waiting for ever: a new one takes its place. */
    detach() {
      wake = () => {};
      rested = () => {};
    },
    /** Lets a follower that waits for news look again, and resolves when it has seen everything and waits anew. */
    settle(): Promise<"rest"> {
      const resting = new Promise<"rest">(resolve => {
        rested = () => resolve("rest");
      });
      wake();
      return resting;
    },
  };
  add(hashOf("root"), script);
  return chain;
}

export type ScriptedChain = ReturnType<typeof scriptedChain>;
