import { startHardhat } from "../support/anvil.ts";
import { eventually } from "../support/eventually.ts";
import type { FaultRun } from "./row.ts";
import { onSite, PATIENCE, type Site } from "./site.ts";

const DEEPEST = 64;
/** Reorgs between two comparisons with the chain. */
const AT_ONCE = 16;

/** Reorgs of each depth from 1 to 64 in turn. */
export const onAnvil: FaultRun = options =>
  onSite("reorg of each depth 1 to 64 on anvil", options, async (site, times) => {
    await start(site);
    await site.more(DEEPEST + 10);
    const { world } = site;
    for (let i = 0; i < times; i++) {
      const depth = (i % DEEPEST) + 1;
      await site.more(3);
      const { reorgs } = await world.counts();
      // The new blocks are empty: with transactions of their own, anvil 1.7 came to a state without the contract.
      await site.calmly(() => world.chain.rpc("anvil_reorg", [depth, []]));
      await eventually(async () => (await world.counts()).reorgs > reorgs, {
        timeout: PATIENCE,
        what: `a reorg of depth ${depth} is seen`,
      });
      await site.settle({ compare: i % AT_ONCE === AT_ONCE - 1 });
      if (depth === DEEPEST) options.log(`${i + 1} reorgs`);
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
