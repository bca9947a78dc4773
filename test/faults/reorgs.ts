import { startHardhat } from "../support/anvil.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultRow, type FaultRun, together } from "./row.ts";
import { onSite, PATIENCE, type Site } from "./site.ts";

const DEEPEST = 64;
/** Reorgs between two comparisons with the chain. */
const AT_ONCE = 16;

/**
 * Reorgs of each depth from 1 to 64 in turn, each turn on a chain of its own: after some hundreds of them anvil 1.7 loses
 * its contracts, whoever looks on.
 */
export const onAnvil: FaultRun = async options => {
  const rows: FaultRow[] = [];
  for (let done = 0; done < options.times; done += DEEPEST) {
    rows.push(await eachDepth({ ...options, seed: options.seed + done, times: Math.min(DEEPEST, options.times - done) }));
  }
  return together(rows);
};

const eachDepth: FaultRun = options =>
  onSite("reorg of each depth 1 to 64 on anvil", options, async (site, times) => {
    await start(site);
    await site.more(DEEPEST + 10);
    const { world } = site;
    for (let depth = 1; depth <= times; depth++) {
      await site.more(3);
      const { reorgs } = await world.counts();
      // The new blocks are empty: with transactions of their own, anvil loses its contracts sooner.
      await site.calmly(() => world.chain.rpc("anvil_reorg", [depth, []]));
      await eventually(async () => (await world.counts()).reorgs > reorgs, {
        timeout: PATIENCE,
        what: `a reorg of depth ${depth} is seen`,
      });
      await site.settle({ compare: depth % AT_ONCE === 0 });
    }
  });

/** Snapshots that are reverted: the head goes down, nothing is announced, and other blocks take the same numbers. */
export const onHardhat: FaultRun = options =>
  onSite(
    "snapshot reverted on Hardhat",
    options,
    async (site, times) => {
      await start(site);
      await site.more(5);
      const { world, random } = site;
      for (let i = 0; i < times; i++) {
        let snapshot = "";
        await site.calmly(async () => {
          snapshot = await world.chain.rpc<string>("evm_snapshot");
        });
        await site.more(1 + random.below(20));
        const { reorgs } = await world.counts();
        await site.calmly(() => world.chain.rpc("evm_revert", [snapshot]));
        await eventually(async () => (await world.counts()).reorgs > reorgs, { timeout: PATIENCE, what: "the reverted snapshot is seen" });
        await site.settle({ compare: i % AT_ONCE === AT_ONCE - 1 });
      }
    },
    { node: () => startHardhat() },
  );

async function start(site: Site): Promise<void> {
  await Promise.all([site.keep("listen"), site.keep("work")]);
  await site.progress();
}
