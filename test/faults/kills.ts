import { sleep } from "../../listener/db.ts";
import type { FaultRun } from "./row.ts";
import { type Kept, moment, onBothBackends, type Site } from "./site.ts";
import { anything, asksToCommit, begins, committed } from "./wire.ts";

/** Kills between two comparisons with the chain. */
const AT_ONCE = 50;

/**
 * SIGKILL of listeners, workers and the API: at random moments, their start among them, and at each transaction's edge. The
 * proxies before Postgres and Redis see the edges, so no line of the product knows of it.
 */
export const run: FaultRun = options => {
  const body = async (site: Site, times: number) => {
    const [listeners, workers, apis] = await Promise.all([
      Promise.all([site.keep("listen"), site.keep("listen")]),
      Promise.all([site.keep("work"), site.keep("work")]),
      Promise.all([site.keep("serve")]),
    ]);
    for (let left = times; left > 0; left -= AT_ONCE) {
      const count = Math.min(left, AT_ONCE);
      const [ofWorkers, ofApis] = [Math.round(count * 0.45), Math.round(count * 0.15)];
      await Promise.all([
        killEach(site, count - ofWorkers - ofApis, () => chooseListener(site, listeners)),
        killEach(site, ofWorkers, async () => site.random.pick(workers)),
        killEach(site, ofApis, async () => apis[0]!),
      ]);
      options.log(`${times - left + count} of ${times} killed`);
      if (left > AT_ONCE) await site.settle();
    }
  };
  return onBothBackends("SIGKILL of listener, worker, API", options, body, { proxies: ["postgres", "redis"] });
};

/** The one that writes three times of four, otherwise any. */
const chooseListener = async (site: Site, listeners: readonly Kept[]): Promise<Kept> =>
  site.random.below(4) > 0 ? (await site.leader()).kept : site.random.pick(listeners);

async function killEach(site: Site, times: number, choose: () => Promise<Kept>): Promise<void> {
  for (let i = 0; i < times; i++) {
    const victim = await choose();
    const replaced = victim.replaced();
    await site.random.pick(MOMENTS)(site, victim);
    await replaced;
    // A listener that never leads long enough to commit would show nothing.
    if (victim.command === "listen") await site.progress();
  }
}

type Moment = (site: Site, victim: Kept) => Promise<unknown>;

const MOMENTS: readonly Moment[] = [
  async ({ random }, victim) => {
    await moment(random, 600);
    victim.kill();
  },
  async ({ random }, victim) => {
    await victim.ready();
    await moment(random, 300);
    victim.kill();
  },
  edge("postgres", "request", begins),
  edge("postgres", "request", asksToCommit),
  edge("postgres", "reply", committed),
  edge("postgres", "reply", committed, "pass"),
  edge("redis", "request", anything),
  edge("redis", "reply", anything),
];

/**
 * Kills at the next such piece on the victim's way to its server. "cut" lets the piece not arrive: a request that was sent
 * and never came, an answer that nobody heard. Where no such piece comes (the API writes nothing), any moment will do.
 */
function edge(
  server: "postgres" | "redis",
  direction: "request" | "reply",
  matches: (piece: Buffer) => boolean,
  fate: "cut" | "pass" = "cut",
): Moment {
  return async ({ random }, victim) => {
    await victim.ready();
    await moment(random, 100);
    const proxy = victim[server] ?? victim.postgres!;
    const { fired, cancel } = proxy.ambush(direction, matches, () => {
      victim.kill();
      return fate;
    });
    const waited = new AbortController();
    const came = await Promise.race([fired.then(() => true), sleep(1_500, waited.signal).then(() => false)]);
    waited.abort();
    cancel();
    if (!came) victim.kill();
  };
}
