/**
 * Simulates chains, listeners, relays and workers under every fault, and holds the result against the chain.
 *
 *     node test/simulation/run.ts                            # 200 seeds of 500 steps
 *     node test/simulation/run.ts --seed 7 --steps 500       # one seed again, step by step with --trace
 *     node test/simulation/run.ts --seeds 5000 --processes 2
 *
 * A failing seed is run again with fewer steps, until the fewest are found that still fail. Exit 1 where one fails.
 */
import { parseArgs } from "node:util";
import { newSeed } from "../../scripts/support/random.ts";
import { openSimulationDatabase } from "./database.ts";
import { again, STEPS_PER_SEED, simulateSeeds } from "./seeds.ts";
import { type Simulated, simulate } from "./simulate.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    seeds: { type: "string" },
    steps: { type: "string", default: String(STEPS_PER_SEED) },
    processes: { type: "string", default: "2" },
    trace: { type: "boolean" },
    shrink: { type: "boolean" },
  },
});
const whole = (name: string, given: string): number => {
  if (/^\d{1,9}$/.test(given)) return Number(given);
  console.error(`--${name} ${given}: expected a whole number`);
  process.exit(2);
};
const first = values.seed === undefined ? newSeed() : whole("seed", values.seed);
const count = values.seeds ? whole("seeds", values.seeds) : values.seed === undefined ? 200 : 1;
const steps = whole("steps", values.steps);
const began = performance.now();
const failed: Simulated[] = [];

if (count === 1) await one();
else {
  await simulateSeeds({
    first,
    count,
    steps,
    processes: whole("processes", values.processes),
    onSimulated(simulated) {
      if (!simulated.first) return;
      failed.push(simulated);
      console.log(`seed ${simulated.seed} fails: ${simulated.first}\n    ${again(simulated.seed, steps)}`);
    },
  });
}
const seconds = Math.round((performance.now() - began) / 1_000);
console.log(
  `${count} seeds from ${first} on, ${steps} steps each, in ${seconds} s: ${failed.length === 0 ? "all hold" : `${failed.length} fail`}`,
);
process.exit(failed.length > 0 ? 1 : 0);

async function one(): Promise<void> {
  await using base = await openSimulationDatabase();
  let chainId = 0;
  const attempt = (steps: number, trace?: (line: string) => void) =>
    simulate({ db: base.db, chainId: ++chainId, seed: first, steps, ...(trace ? { trace } : {}) });
  const simulated = await attempt(steps, values.trace ? line => console.log(line) : undefined);
  console.log(simulated);
  if (!simulated.first) return;
  failed.push(simulated);
  if (!values.shrink) return;
  let [holds, fails] = [0, steps];
  while (fails - holds > 1) {
    const middle = Math.floor((holds + fails) / 2);
    if ((await attempt(middle)).first) fails = middle;
    else holds = middle;
  }
  console.log(`the fewest steps that fail: ${again(first, fails)} --trace`);
}
