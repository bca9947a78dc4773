import type { Random } from "../../../scripts/support/random.ts";
import { buildBlock, type RawLog, type SimBlock } from "./block.ts";
import { act, type Emitted, emptyToken } from "./token-model.ts";

export const TOKEN_ADDRESS = `0x${"5e".repeat(20)}`;
/** The block from which on the token is there. */
export const TOKEN_BLOCK = 1;
const GENESIS_TIME = 1_700_000_000;

/**
 * A chain of blocks with real hashes, roots and blooms, in which anything may happen that may happen to a chain: branches of
 * any depth above the finalized block, and a return to one that was left. The same random numbers give the same chain.
 *
 * @param confirmations after so many blocks one is final, from the first block on: whoever counts them may rely on it at any time
 */
export function simChain(random: Random, confirmations?: number) {
  const blocks = new Map<string, SimBlock>();
  let salt = 0;
  const build = (parent: SimBlock | undefined, transactions: readonly (readonly Emitted[])[], token = parent?.token ?? emptyToken()) => {
    const timestamp = parent ? Number(parent.header.timestamp) + 1 + random.below(20) : GENESIS_TIME;
    const block = buildBlock({ parent, timestamp, salt: ++salt, address: TOKEN_ADDRESS, transactions, token });
    blocks.set(block.hash, block);
    return block;
  };
  const genesis = build(undefined, []);
  let head = genesis;
  let finalized = genesis;
  /** Heads that were left, the latest last. */
  const left: SimBlock[] = [];

  /** The block of this number on the branch that ends in `tip`. */
  const at = (number: number, tip = head): SimBlock | undefined => {
    let block: SimBlock | undefined = number > tip.number ? undefined : tip;
    while (block && block.number > number) block = block.parent;
    return block;
  };
  const contains = (block: SimBlock, tip = head) => at(block.number, tip) === block;
  const confirm = () => {
    if (confirmations !== undefined) chain.finalize(confirmations);
  };

  const chain = {
    genesis,
    get head() {
      return head;
    },
    get finalized() {
      return finalized;
    },
    get left(): readonly SimBlock[] {
      return left;
    },
    block: (hash: string) => blocks.get(hash),
    at,
    contains,
    /** Adds blocks on the head, each with up to `busy` transactions. */
    mine(count = 1, busy = 2): SimBlock {
      for (let i = 0; i < count; i++) {
        const { transactions, after } = act(head.token, random, random.below(busy + 1));
        head = build(head, transactions, after);
      }
      confirm();
      return head;
    },
    /** Adds a block with exactly these transactions. What they say is not added to the token's state. */
    mineRaw(transactions: readonly (readonly Emitted[])[]): SimBlock {
      head = build(head, transactions);
      confirm();
      return head;
    },
    /** How deep a reorg may go without touching what is final. */
    depth: () => head.number - finalized.number,
    /** Replaces the newest `depth` blocks by `length` others. */
    reorg(depth: number, length: number, busy = 2): SimBlock {
      if (depth > chain.depth()) throw new Error(`a reorg of ${depth} blocks would replace the finalized block ${finalized.number}`);
      left.push(head);
      head = at(head.number - depth)!;
      return chain.mine(length, busy);
    },
    /** Makes another branch the canonical one, such as one that was left: A, B, A. */
    switchTo(block: SimBlock): void {
      if (!contains(finalized, block)) throw new Error("that branch does not hold the finalized block");
      left.push(head);
      head = block;
      confirm();
    },
    /** Calls everything up to this many blocks below the head final. */
    finalize(confirmations: number): void {
      const block = at(head.number - confirmations);
      if (block && block.number > finalized.number) finalized = block;
      for (let i = left.length - 1; i >= 0; i--) if (!contains(finalized, left[i])) left.splice(i, 1);
    },
    /** Canonical logs of [from, to]. */
    logs(from = 0, to = head.number, tip = head): RawLog[] {
      const found: RawLog[][] = [];
      for (let block = at(Math.min(to, tip.number), tip); block && block.number >= from; block = block.parent) found.push(block.logs);
      return found.reverse().flat();
    },
  };
  return chain;
}

export type SimChain = ReturnType<typeof simChain>;
