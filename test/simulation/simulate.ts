import type { Db } from "../../listener/db.ts";
import type { Difference } from "./compare.ts";
import { compare, endFaults, settle } from "./settle.ts";
import { someStep } from "./steps.ts";
import { openSimulation } from "./world.ts";

export type Simulated = Difference & {
  seed: number;
  settledSeconds: number;
  commits: number;
  reorgs: number;
  stale: number;
  deaths: number;
};

export type SimulateOptions = {
  db: Db;
  chainId: number;
  seed: number;
  steps: number;
  /** Told of each step, for a person who looks for a fault. */
  trace?: (line: string) => void;
};

/** So many steps of everything that may happen; then all faults end, and what is there is held against the chain. */
export async function simulate({ db, chainId, seed, steps, trace }: SimulateOptions): Promise<Simulated> {
  const simulation = await openSimulation({ db, chainId, seed });
  let difference: Difference;
  let settledSeconds = 0;
  let doing = "the start";
  try {
    for (let n = 0; n < steps; n++) {
      const step = someStep(simulation);
      doing = `step ${n}, ${step.name}`;
      trace?.(`${doing}: block ${simulation.chain.head.number}, ${simulation.writers.length} writers, ${simulation.store.size()} jobs`);
      await step.run(simulation);
    }
    doing = "settling";
    endFaults(simulation);
    settledSeconds = await settle(simulation);
    doing = "comparing";
    difference = await compare(simulation);
  } catch (error) {
    trace?.((error as Error).stack ?? "");
    difference = { lost: 0, doubled: 0, wrong: 1, first: `${doing}: ${(error as Error).message}` };
  } finally {
    await simulation.close();
  }
  const { commits, reorgs, stale, deaths } = simulation.found;
  return { ...difference, seed, settledSeconds, commits, reorgs, stale, deaths };
}
