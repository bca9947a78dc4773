import type { FaultRun } from "../faults/row.ts";
import { BLOCK_FAULTS, HUGE, LOG_FAULTS, WIRE_FAULTS, type WireFault } from "../support/chain-sim/wire.ts";
import type { RpcRequest } from "../support/json-rpc-server.ts";
import type { Lane } from "./lane.ts";
import { runLanes } from "./lanes.ts";

type Class = { name: string; fault: WireFault; hits: (request: RpcRequest) => boolean };

const classes = (table: Record<string, WireFault>, hits: Class["hits"]): Class[] =>
  Object.entries(table).map(([name, fault]) => ({ name, fault, hits }));

/** Every class of bad reply, and the calls that it is an answer to. */
export const BAD_REPLIES: readonly Class[] = [
  ...classes(WIRE_FAULTS, () => true),
  ...classes(BLOCK_FAULTS, ({ method }) => method.startsWith("eth_getBlockBy")),
  ...classes(LOG_FAULTS, ({ method }) => method === "eth_getLogs"),
];

/** 50 MB cost as much as all the others: they come in one round of ten. */
function classOf(n: number): Class {
  const round = Math.floor(n / BAD_REPLIES.length);
  const given = BAD_REPLIES[n % BAD_REPLIES.length]!;
  return given.name === HUGE && round % 10 > 0 ? BAD_REPLIES[0]! : given;
}

/** Most of it is waiting: for a node that rests, or a pace. */
const LANES = 32;

/** How many answers in a row are bad at most, and how many good ones may come before them. */
const MOST = 3;
const BEFORE = 4;

/** Each class of bad reply in turn, from one node or from both, while the chain grows and is reorganised. */
export const run: FaultRun = ({ times, seed, log }) =>
  runLanes({
    fault: "bad RPC replies",
    times,
    seed,
    log,
    nodes: 2,
    verify: "bloom",
    lanes: LANES,
    once: (lane, n) => once(lane, classOf(n)),
  });

export async function once(lane: Lane, { name, fault, hits }: Class): Promise<number> {
  const { chain, random, served } = lane;
  let wait = random.below(BEFORE);
  let left = 1 + random.below(MOST);
  // A log fault needs a log, and both nodes may be bad at once.
  const [first] = served;
  const both = random.below(3) === 0;
  for (const node of served) {
    node.fault = request => {
      if (!hits(request) || left === 0 || (node !== first && !both)) return undefined;
      if (wait > 0) {
        wait -= 1;
        return undefined;
      }
      left -= 1;
      return fault;
    };
  }
  // A head that is lower than ours is only suspect, so the new branch is no shorter.
  const depth = 1 + random.below(4);
  if (random.below(4) === 0 && chain.depth() > depth) chain.reorg(depth, depth + random.below(3));
  else chain.mine(1 + random.below(3));
  if (random.below(3) === 0) chain.finalize(6);
  try {
    return await lane.settle();
  } catch (error) {
    throw new Error(`after ${name}: ${(error as Error).message}`, { cause: error });
  } finally {
    for (const node of served) node.fault = () => undefined;
  }
}
