import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { constants, setPriority } from "node:os";
import { fileURLToPath } from "node:url";
import type { FaultRow, FaultRun } from "../faults/row.ts";
import { openSimulationDatabase } from "./database.ts";
import type { Simulated } from "./simulate.ts";

export const STEPS_PER_SEED = 500;

/** A process of its own for each core that a run may have: a simulation is as fast as one of them. */
const PROCESSES = 2;

export type SeedsOptions = {
  first: number;
  count: number;
  steps: number;
  processes?: number;
  /** Told of each seed at its end. */
  onSimulated(simulated: Simulated): void;
};

/** Simulates the seeds from `first` on, side by side in several processes, each with a database of its own. */
export async function simulateSeeds({ first, count, steps, processes = PROCESSES, onSimulated }: SeedsOptions): Promise<void> {
  let next = first;
  const children: ChildProcess[] = [];
  const runOne = async () => {
    await using base = await openSimulationDatabase();
    const child = fork(fileURLToPath(new URL("./child.ts", import.meta.url)), [base.url, String(steps)]);
    children.push(child);
    // Its time is virtual: whoever waits beside it for something real goes first.
    setPriority(child.pid!, constants.priority.PRIORITY_BELOW_NORMAL);
    const give = () => (next < first + count ? child.send(next++) : child.disconnect());
    child.on("message", (simulated: Simulated) => {
      onSimulated(simulated);
      give();
    });
    give();
    const [code] = (await once(child, "exit")) as [number | null];
    if (code !== 0) throw new Error(`a simulation's process ended with ${code}`);
  };
  try {
    await Promise.all(Array.from({ length: Math.min(processes, count) }, runOne));
  } finally {
    for (const child of children) child.kill();
  }
}

/** How a person runs one seed again. */
export const again = (seed: number, steps: number) => `node test/simulation/run.ts --seed ${seed} --steps ${steps}`;

/** `times` seeds of 500 steps each. */
export const run: FaultRun = async ({ times, seed, log }) => {
  const row: FaultRow = {
    fault: `simulation, seeds of ${STEPS_PER_SEED} steps`,
    times: 0,
    lost: 0,
    doubled: 0,
    wrong: 0,
    settledSeconds: 0,
  };
  const seen = { commits: 0, reorgs: 0, stale: 0, deaths: 0 };
  await simulateSeeds({
    first: seed,
    count: times,
    steps: STEPS_PER_SEED,
    onSimulated(simulated) {
      row.times += 1;
      for (const kind of ["lost", "doubled", "wrong"] as const) row[kind] += simulated[kind];
      for (const kind of ["commits", "reorgs", "stale", "deaths"] as const) seen[kind] += simulated[kind];
      row.settledSeconds = Math.max(row.settledSeconds, simulated.settledSeconds);
      if (simulated.first) log(`${again(simulated.seed, STEPS_PER_SEED)}: ${simulated.first}`);
      else if (row.times % 100 === 0) log(`simulation: ${row.times} of ${times} seeds`);
    },
  });
  row.note = `${seen.commits} commits, ${seen.reorgs} reorgs followed, ${seen.stale} commits of stale writers refused, ${seen.deaths} processes killed in mid-statement; seconds are virtual`;
  return row;
};
