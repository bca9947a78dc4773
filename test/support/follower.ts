import { follow } from "../../listener/chain/follow.ts";
import type { BlockRef, ChainUpdate, Checkpoint } from "../../listener/chain/types.ts";
import { nameOf, type ScriptedChain } from "./scripted-chain.ts";
import { silent } from "./silent.ts";

const names = (blocks: readonly BlockRef[]) => blocks.map(block => nameOf(block.hash)).join(" ");

/** An update as text: `extend a2 a3`, `reorg to a1 without a3 a2`, `finalize a2`. */
export function toText(update: ChainUpdate): string {
  if (update.type === "extend") return `extend ${names(update.headers)}`;
  if (update.type === "finalize") return `finalize ${names([update.block])}`;
  return `reorg to ${update.ancestor ? names([update.ancestor]) : "nothing"} without ${names(update.removed)}`;
}

/** What a journal would hold: the smallest thing that updates can be applied to. Throws on one that does not fit. */
export function memory(checkpoint: Checkpoint) {
  let { finalized } = checkpoint;
  let blocks = [...checkpoint.blocks];
  return {
    checkpoint: (): Checkpoint => ({ start: checkpoint.start, finalized, blocks: [...blocks] }),
    names: () => blocks.map(block => nameOf(block.hash)),
    apply(update: ChainUpdate) {
      if (update.type === "extend") {
        const [first] = update.headers;
        const tip = blocks.at(-1);
        if (tip && first!.number === tip.number + 1 && first!.parentHash !== tip.hash) throw new Error(`${toText(update)} does not fit`);
        for (const { number, hash } of update.headers) {
          if (blocks.length > 0 && number !== blocks.at(-1)!.number + 1) blocks = [];
          blocks.push({ number, hash });
        }
        if (update.backfill) {
          finalized = blocks.at(-1);
          blocks = blocks.slice(-1);
        }
      } else if (update.type === "reorg") {
        const removed = blocks.filter(block => block.number > (update.ancestor?.number ?? -1));
        if (names(removed.toReversed()) !== names(update.removed)) throw new Error(`${toText(update)}, but held ${names(removed)}`);
        blocks = blocks.slice(0, blocks.length - removed.length);
        if (update.ancestor && blocks.at(-1)?.hash !== update.ancestor.hash) throw new Error(`${toText(update)}: no such ancestor`);
      } else {
        finalized = update.block;
        blocks = blocks.filter(block => block.number >= update.block.number);
      }
    },
  };
}

/** Follows a scripted chain step by step. `commit` is what a journal does with each update. */
export function follower(chain: ScriptedChain, from: Partial<Checkpoint> = {}, commit: (update: ChainUpdate) => unknown = () => {}) {
  chain.detach();
  const held = memory({ start: 1, finalized: undefined, blocks: [], ...from });
  const updates = follow(chain.source, held.checkpoint(), silent);
  let pending: Promise<IteratorResult<ChainUpdate, never>> | undefined;
  return {
    held,
    /** Everything that the chain's present state leads to, as text. Rejects with what `follow` throws. */
    async look(): Promise<string[]> {
      const seen: string[] = [];
      const rest = chain.settle();
      for (;;) {
        pending ??= updates.next();
        const next = await Promise.race([pending, rest]);
        if (next === "rest") return seen;
        pending = undefined;
        held.apply(next.value);
        await commit(next.value);
        seen.push(toText(next.value));
      }
    },
  };
}
