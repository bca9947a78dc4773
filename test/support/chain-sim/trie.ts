import { encodeRlp, keccak, type Rlp, scalar } from "./rlp.ts";

/**
 * The Merkle-Patricia trie of a list (Yellow Paper, appendix D), by inserting one entry after the other: written apart from
 * the code that it is to check, and in another way.
 */
type Node =
  | { kind: "leaf"; path: number[]; value: string }
  | { kind: "extension"; path: number[]; child: Node }
  | { kind: "branch"; children: (Node | undefined)[]; value: string };

const EMPTY = keccak("0x80");

const nibblesOf = (key: string) => [...key.slice(2)].map(digit => Number.parseInt(digit, 16));
const shared = (a: readonly number[], b: readonly number[]) => {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
};
const branch = (): Extract<Node, { kind: "branch" }> => ({ kind: "branch", children: new Array(16), value: "0x" });
const extend = (path: number[], child: Node): Node => (path.length === 0 ? child : { kind: "extension", path, child });

function insert(node: Node | undefined, path: number[], value: string): Node {
  if (!node) return { kind: "leaf", path, value };
  if (node.kind === "branch") {
    if (path.length === 0) return { ...node, value };
    node.children[path[0]!] = insert(node.children[path[0]!], path.slice(1), value);
    return node;
  }
  const n = shared(node.path, path);
  if (node.kind === "extension" && n === node.path.length) return { ...node, child: insert(node.child, path.slice(n), value) };
  const fork = branch();
  const rest = node.path.slice(n);
  if (rest.length === 0 && node.kind === "leaf") fork.value = node.value;
  else fork.children[rest[0]!] = node.kind === "leaf" ? { ...node, path: rest.slice(1) } : extend(rest.slice(1), node.child);
  return extend(path.slice(0, n), insert(fork, path.slice(n), value));
}

function prefixed(path: readonly number[], leaf: boolean): string {
  const flag = leaf ? 2 : 0;
  const nibbles = path.length % 2 ? [flag + 1, ...path] : [flag, 0, ...path];
  return `0x${nibbles.map(n => n.toString(16)).join("")}`;
}

function structure(node: Node): Rlp {
  if (node.kind === "leaf") return [prefixed(node.path, true), node.value];
  if (node.kind === "extension") return [prefixed(node.path, false), link(node.child)];
  return [...Array.from(node.children, child => (child ? link(child) : "0x")), node.value];
}

function link(node: Node): Rlp {
  const inner = structure(node);
  const encoded = encodeRlp(inner);
  return encoded.length < 2 + 2 * 32 ? inner : keccak(encoded);
}

/** The root of the trie whose keys are the RLP of 0, 1, 2… and whose values these bytes are. */
export function rootOf(values: readonly string[]): string {
  let root: Node | undefined;
  for (const [i, value] of values.entries()) root = insert(root, nibblesOf(encodeRlp(scalar(`0x${i.toString(16)}`))), value);
  return root ? keccak(encodeRlp(structure(root))) : EMPTY;
}
