import { MIGRATIONS } from "../../listener/commands/process.ts";
import type { FaultRow } from "../faults/row.ts";
import { keepHashes } from "../support/known-hashes.ts";
import type { Difference } from "./compare.ts";
import { openSimulationDatabase } from "./database.ts";
import { type Lane, type LaneOptions, openLane } from "./lane.ts";

export type LanesOptions = Pick<LaneOptions, "nodes" | "verify"> & {
  fault: string;
  times: number;
  seed: number;
  log: (line: string) => void;
  /** Does the fault once, number `n` of all, and waits until everything is right again. Gives the seconds that this took. */
  once(lane: Lane, n: number): Promise<number>;
  /** Times after which a lane begins with a chain and nodes of its own: what is compared stays small. */
  perChain?: number;
  /** Chains that are followed side by side: the more, the more of a fault's time is waiting. */
  lanes?: number;
};

/** Chains that are followed side by side, unless told. */
const LANES = 8;
const TIMES_PER_CHAIN = 100;

/** Does a fault so many times, on several lanes, and compares each with its chain at its end. */
export async function runLanes({
  fault,
  times,
  seed,
  log,
  once,
  perChain = TIMES_PER_CHAIN,
  lanes = LANES,
  ...options
}: LanesOptions): Promise<FaultRow> {
  keepHashes();
  await using base = await openSimulationDatabase(MIGRATIONS);
  const row: FaultRow = { fault, times: 0, lost: 0, doubled: 0, wrong: 0, settledSeconds: 0 };
  let chains = 0;
  let next = 0;
  const one = async () => {
    while (next < times) {
      const first = next;
      next = Math.min(times, next + perChain);
      const last = next;
      chains += 1;
      const own = seed * 1_000 + chains;
      const lane = await openLane({ db: base.db, chainId: own, seed: own, ...options });
      let difference: Difference;
      try {
        await lane.settle();
        for (let n = first; n < last; n++) {
          row.settledSeconds = Math.max(row.settledSeconds, await once(lane, n));
          row.times += 1;
        }
        difference = await lane.compare();
      } catch (error) {
        difference = { lost: 0, doubled: 0, wrong: 1, first: (error as Error).message };
      } finally {
        await lane.close();
      }
      row.lost += difference.lost;
      row.doubled += difference.doubled;
      row.wrong += difference.wrong;
      if (difference.first) log(`${fault}: seed ${seed}, chain ${chains}: ${difference.first}`);
    }
  };
  await Promise.all(Array.from({ length: lanes }, one));
  return { ...row, settledSeconds: Math.round(row.settledSeconds * 100) / 100 };
}
