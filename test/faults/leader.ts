import { eventually } from "../support/eventually.ts";
import type { FaultOptions, FaultRun } from "./row.ts";
import { type Kept, moment, onSite, PATIENCE, type Site } from "./site.ts";
import { holdsLocks } from "./wire.ts";

/** SIGSTOP of the listener that writes, until another one has taken over and committed; at random, or while it holds locks. */
export const stopped: FaultRun = options =>
  removed("SIGSTOP of the leader beyond its lease", options, async (site, leader) => {
    const { child } = leader.running();
    await moment(site.random, 200);
    const stop = () => void child.kill("SIGSTOP");
    const goOn = () => void child.kill("SIGCONT");
    if (site.random.below(3) > 0) {
      stop();
      return goOn;
    }
    const { cancel } = leader.postgres!.ambush("reply", holdsLocks, () => {
      stop();
      return "pass";
    });
    return () => {
      cancel();
      goOn();
    };
  });

/** The same with a leader that goes on living behind a network that swallows everything between it and Postgres. */
export const partitioned: FaultRun = options =>
  removed("leader cut off from Postgres beyond its lease", options, async (site, leader) => {
    await moment(site.random, 200);
    leader.postgres!.blackhole(true);
    return () => leader.postgres!.blackhole(false);
  });

async function removed(fault: string, options: FaultOptions, remove: (site: Site, leader: Kept) => Promise<() => void>) {
  const body = async (site: Site, times: number) => {
    await Promise.all([site.keep("listen"), site.keep("listen"), site.keep("work")]);
    for (let done = 0; done < times; ) {
      const { kept, epoch } = await site.leader();
      const giveBack = await remove(site, kept);
      // On a slow machine a lease may run out by itself: then it was not the leader that was removed, and it does not count.
      const next = await eventually(
        async () => {
          const now = await site.leader();
          return now.kept === kept ? undefined : now;
        },
        { timeout: PATIENCE, what: () => `another listener takes over; they said: ${site.said()}` },
      );
      if (next.epoch === epoch + 1) done += 1;
      await site.progress();
      giveBack();
      await site.progress();
    }
  };
  return onSite(fault, options, body, { proxies: ["postgres"] });
}
