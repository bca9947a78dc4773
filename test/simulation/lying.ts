import type { Verify } from "../../listener/config.ts";
import type { FaultRun } from "../faults/row.ts";
import { type Lie, PLAIN_LIES, SUBTLE_LIES } from "../support/chain-sim/lies.ts";
import type { Lane } from "./lane.ts";
import { runLanes } from "./lanes.ts";

/** Milliseconds after which a liar that nobody asked is given up: one that answered late once is not preferred for seconds. */
const PATIENCE = 60_000;

const lyingNode =
  (fault: string, verify: Verify, lies: Record<string, Lie>, deep: boolean): FaultRun =>
  ({ times, seed, log }) => {
    const names = Object.keys(lies);
    const once = (lane: Lane, n: number) => lieOnce(lane, names[n % names.length]!, lies, deep && n % 2 === 1);
    return runLanes({ fault, times, seed, log, nodes: 2, verify, perChain: 1, once });
  };

/** Logs dropped, added, altered and swapped so that no bloom tells, in every other case in the receipts as well. */
export const inReceipts = lyingNode("lying node (drop, add, alter, swap), by receipts", "receipts", { ...SUBTLE_LIES }, true);

/** Those lies that a bloom can tell. */
export const inBloom = lyingNode("lying node, as far as a bloom can tell", "bloom", PLAIN_LIES, false);

/** The preferred node lies about blocks until it was asked about one; the other does not. The liar must be marked. */
async function lieOnce(lane: Lane, name: string, lies: Record<string, Lie>, deep: boolean): Promise<number> {
  const { chain, served } = lane;
  const { node } = served[0]!;
  node.lie = lies[name]!;
  node.deep = deep;
  let seconds = 0;
  const began = performance.now();
  while (node.lies === 0) {
    if (performance.now() - began > PATIENCE) throw new Error("the liar was never asked");
    do chain.mine(1, 3);
    while (chain.head.logs.length === 0);
    seconds = Math.max(seconds, await lane.settle());
  }
  const [liar, honest] = lane.nodes();
  if (liar?.state !== "lying") throw new Error(`${name}: the liar is ${liar?.state}: ${liar?.lastError}`);
  if (honest?.state === "lying") throw new Error(`${name}: the honest node is called a liar: ${honest.lastError}`);
  return seconds;
}
