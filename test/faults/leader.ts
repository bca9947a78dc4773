import { eventually } from "../support/eventually.ts";
import type { FaultOptions, FaultRun } from "./row.ts";
import { type Kept, moment, onSite, type Site } from "./site.ts";
import { holdsLocks } from "./wire.ts";

/** SIGSTOP of the listener that writes, until another one has taken over and committed; at random, or while it holds locks. */
export const stopped: FaultRun = options =>
  removed("SIGSTOP of the leader beyond its lease", options, async (site, leader) => {
    const { child } = leader.running();
    if (site.random.below(3) > 0) {
      await moment(site.random, 200);
      child.kill("SIGSTOP");
    } else {
      const { fired } = leader.postgres.ambush("reply", holdsLocks, () => {
        child.kill("SIGSTOP");
        return "pass";
      });
      await fired;
    }
    return () => void child.kill("SIGCONT");
  });

/** The same with a leader that goes on living behind a network that swallows everything between it and Postgres. */
export const partitioned: FaultRun = options =>
  removed("leader cut off from Postgres beyond its lease", options, async (site, leader) => {
    await moment(site.random, 200);
    leader.postgres.blackhole(true);
    return () => leader.postgres.blackhole(false);
  });

async function removed(fault: string, options: FaultOptions, remove: (site: Site, leader: Kept) => Promise<() => void>) {
  return onSite(fault, options, async (site, times) => {
    await Promise.all([site.keep("listen"), site.keep("listen"), site.keep("work")]);
    const epoch = async () => (await site.world.leader()).epoch;
    for (let i = 0; i < times; i++) {
      const leader = await site.leader();
      await site.progress();
      const [before, began] = [await epoch(), performance.now()];
      const giveBack = await remove(site, leader);
      await eventually(async () => (await epoch()) > before, { timeout: 30_000, what: "another listener takes over" });
      options.log(`taken over after ${((performance.now() - began) / 1_000).toFixed(1)} s`);
      await site.progress();
      giveBack();
      await site.progress();
    }
  });
}
