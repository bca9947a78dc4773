import type { FaultRow, FaultRun } from "../faults/row.ts";
import { keepHashes } from "../support/known-hashes.ts";
import { openSimulationDatabase } from "./database.ts";
import { compare, endFaults, settle } from "./settle.ts";
import { app } from "./sim-app.ts";
import { openSimulation, type Simulation } from "./world.ts";

/** Returns to a branch after which a chain is held against what came of it. */
const TIMES_PER_CHAIN = 10;

/** A, B, A: a branch is replaced and comes back, with the work on either in any state in between. */
export const run: FaultRun = async ({ times, seed, log }) => {
  keepHashes();
  await using base = await openSimulationDatabase();
  const row: FaultRow = { fault: "A, B, A", times: 0, lost: 0, doubled: 0, wrong: 0, settledSeconds: 0 };
  for (let chains = 1; row.times < times; chains++) {
    const own = seed * 1_000 + chains;
    const simulation = await openSimulation({ db: base.db, chainId: own, seed: own });
    try {
      for (let n = 0; n < TIMES_PER_CHAIN && row.times < times; n++, row.times++) await once(simulation);
      endFaults(simulation);
      row.settledSeconds = Math.max(row.settledSeconds, await settle(simulation));
      const { lost, doubled, wrong, first } = await compare(simulation);
      row.lost += lost;
      row.doubled += doubled;
      row.wrong += wrong;
      if (first) log(`A, B, A: seed ${seed}, chain ${chains}: ${first}`);
    } finally {
      await simulation.close();
    }
  }
  return row;
};

async function once(simulation: Simulation): Promise<void> {
  const { chain, random, finality } = simulation;
  const most = typeof finality === "number" ? finality - 3 : 12;
  const finalize = () => {
    if (finality === "finalized") chain.finalize(most + 3);
  };
  chain.mine(2 + random.below(4), 2);
  finalize();
  await goOn(simulation);
  const a = chain.head;
  const depth = Math.min(chain.depth(), 1 + random.below(most));
  if (depth === 0) return;
  chain.reorg(depth, depth + 1, 1);
  await goOn(simulation);
  chain.switchTo(a);
  chain.mine(2, 1);
  await goOn(simulation);
  finalize();
}

/** Follows to the head; of what that brings some is relayed and some of that worked on. */
async function goOn(simulation: Simulation): Promise<void> {
  const { random, writers, chain, db, chainId } = simulation;
  for (;;) {
    const writer = writers.at(-1);
    if (!writer) await simulation.takeOver();
    else if (!(await simulation.advance(writer))) {
      const { rows } = await db.query<{ tip_hash: string }>("select tip_hash from checkpoint where chain_id = $1", [chainId]);
      if (rows[0]!.tip_hash === chain.head.hash) break;
    }
  }
  for (let i = random.below(30); i > 0; i--) {
    const { queue } = random.pick(app.routes);
    if (random.below(2) === 0) await simulation.relay(queue);
    else await simulation.work(queue);
  }
}
