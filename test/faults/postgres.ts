import { sleep } from "../../listener/db.ts";
import type { FaultRun } from "./row.ts";
import { type Kept, moment, onBothBackends, type Site, type SiteOptions } from "./site.ts";
import { committed } from "./wire.ts";

/** Faults between two comparisons with the chain. */
const AT_ONCE = 100;

const withProcesses =
  (fault: string, happen: (site: Site, processes: readonly Kept[]) => Promise<unknown>, settings: Partial<SiteOptions> = {}): FaultRun =>
  options => {
    const body = async (site: Site, times: number) => {
      const processes = await Promise.all(["listen", "work", "work"].map(site.keep));
      await site.progress();
      for (let i = 1; i <= times; i++) {
        await happen(site, processes);
        if (i % AT_ONCE === 0 && i < times) await site.settle();
      }
    };
    return onBothBackends(fault, options, body, settings);
  };

/** One connection of ours in the middle of something, or all of them at once. */
export const backendKilled = withProcesses("Postgres backend killed", async site => {
  await moment(site.random, 150);
  const all = site.random.below(5) === 0;
  await site.world.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where application_name like 'sluice-%' and application_name <> 'sluice-test'
     order by state = 'idle', random() ${all ? "" : "limit 1"}`,
  );
  if (all) await site.progress();
});

/** Killed as by a power cut, and started again. */
export const restarted = withProcesses("Postgres killed and started again", async site => {
  await site.more(10);
  await moment(site.random, 300);
  await site.postgres.kill();
  await moment(site.random, 1_500);
  await site.postgres.start();
  await site.settle({ compare: false });
});

/** The server committed, and the client that asked for it never hears of it: its connection is reset instead. */
export const replyLost = withProcesses(
  "Postgres reply lost after commit",
  async (site, processes) => {
    for (;;) {
      const waited = new AbortController();
      const { fired, cancel } = site.random.pick(processes).postgres!.ambush("reply", committed, () => "cut");
      const came = await Promise.race([fired.then(() => true), sleep(2_000, waited.signal).then(() => false)]);
      waited.abort();
      cancel();
      if (came) return;
    }
  },
  { proxies: ["postgres"] },
);
