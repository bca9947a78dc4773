import { keccak256 } from "ethers/crypto";
import { dataLength, toBeHex } from "ethers/utils";
import { encodeRlp, quantity, type RlpNode } from "./rlp.ts";
import type { Hex } from "./types.ts";

type Entry = { nibbles: string; value: Hex };

/**
 * The root of the Merkle-Patricia trie of these entries (Yellow Paper, appendix D): 32 bytes. Keys are bytes, all
 * different; values are bytes, not empty. Built from the sorted entries in one go: we never need a node of it again.
 */
export function trieRoot(entries: Iterable<readonly [key: Hex, value: Hex]>): Hex {
  const all = [...entries].map(([key, value]): Entry => ({ nibbles: key.slice(2).toLowerCase(), value }));
  return keccak256(encodeRlp(all.length === 0 ? "0x" : nodeOf(all, 0)));
}

/** The root of the trie of a list, as a block has it of its transactions and receipts: the keys are the RLP of the indices. */
export const listRoot = (values: readonly Hex[]): Hex =>
  trieRoot(values.map((value, i) => [encodeRlp(quantity(toBeHex(i), "an index")), value] as const));

/** The node of entries that agree in their first `depth` nibbles: leaf, extension or branch. */
function nodeOf(entries: readonly Entry[], depth: number): RlpNode {
  const [first] = entries;
  if (entries.length === 1) return [compact(first!.nibbles.slice(depth), true), first!.value];
  const end = commonEnd(entries, depth);
  if (end > depth) return [compact(first!.nibbles.slice(depth, end), false), reference(nodeOf(entries, end))];
  const children = [..."0123456789abcdef"].map(nibble => {
    const below = entries.filter(({ nibbles }) => nibbles[depth] === nibble);
    return below.length === 0 ? "0x" : reference(nodeOf(below, depth + 1));
  });
  return [...children, entries.find(({ nibbles }) => nibbles.length === depth)?.value ?? "0x"];
}

/** How far the keys of these entries agree. */
function commonEnd(entries: readonly Entry[], depth: number): number {
  const [first] = entries;
  let end = first!.nibbles.length;
  for (const { nibbles } of entries) {
    let same = depth;
    while (same < end && nibbles[same] === first!.nibbles[same]) same++;
    end = same;
  }
  return end;
}

/** How a parent holds a node: by its hash, or as it is where that is shorter. */
function reference(node: RlpNode): RlpNode {
  const encoded = encodeRlp(node);
  return dataLength(encoded) < 32 ? node : keccak256(encoded);
}

/** Nibbles as bytes, after a first nibble that tells leaves from extensions, and odd from even (hex-prefix encoding). */
function compact(nibbles: string, leaf: boolean): Hex {
  const flag = (leaf ? 2 : 0) + (nibbles.length % 2);
  return `0x${flag}${nibbles.length % 2 ? "" : "0"}${nibbles}`;
}
