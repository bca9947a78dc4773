import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { Redis } from "ioredis";
import { sleep } from "../../listener/db.ts";
import { noAnvil } from "../support/anvil.ts";
import { eventually } from "../support/eventually.ts";
import { cpuSeconds, noProcFs, residentMegabytes } from "../support/process-usage.ts";
import { noRedisServer } from "../support/redis.ts";
import { type Kept, openSite, type Site } from "./site.ts";

const WINDOW = 5;
/** What a process may hold more than when it was idle (MB): some garbage, and nothing that depends on how long it lasts. */
const GROWTH = 80;
/** Lines that a process may write in all, however long an outage lasts: of its start, of each queue's outage, and what was sent again. */
const LINES = 40;

describe("what is slow or full slows the flow down, and nothing grows without bound", {
  skip: noAnvil || noRedisServer || noProcFs,
}, () => {
  let site: Site;
  let listener: Kept;
  let worker: Kept;
  let redis: Redis;

  async function open(): Promise<void> {
    site = await openSite({ redis: true, seed: 1, settings: { WINDOW: String(WINDOW) }, proxies: ["postgres"] });
    redis = new Redis(site.world.redis!.url);
    redis.on("error", () => {});
    [listener, worker] = await Promise.all([site.keep("listen"), site.keep("work")]);
    await site.progress();
  }

  afterEach(async () => {
    redis?.disconnect();
    await site?.close();
  });

  /** The largest number of jobs that one queue has in Redis now, in whatever state. */
  async function jobs(): Promise<number> {
    const counts = new Map<string, number>();
    for (const key of await redis.keys("bull:*")) {
      const queue = /^bull:(.+):\d+-\d+-\d+$/.exec(key)?.[1];
      if (queue) counts.set(queue, (counts.get(queue) ?? 0) + 1);
    }
    return Math.max(0, ...counts.values());
  }

  /** Sends some hundreds of transactions as fast as the chain takes them; what the processes and Redis hold meanwhile, at most. */
  async function flood(): Promise<{ jobs: number; growth: number }> {
    const pids = [listener, worker].map(({ running }) => running().child.pid!);
    const idle = pids.map(residentMegabytes);
    const most = { jobs: 0, growth: 0 };
    const traffic = site.world.traffic();
    while (traffic.sent() < 300) {
      most.jobs = Math.max(most.jobs, await jobs());
      most.growth = Math.max(most.growth, ...pids.map((pid, i) => residentMegabytes(pid) - idle[i]!));
      await sleep(50);
    }
    await traffic.stop();
    return most;
  }

  async function recovers(): Promise<void> {
    await site.settle({ final: true });
    const { lost, doubled, wrong, note } = site.row("", 1);
    assert.deepEqual({ lost, doubled, wrong }, { lost: 0, doubled: 0, wrong: 0 }, note);
    for (const { command, running } of [listener, worker]) {
      const lines = running().stderr().trim().split("\n");
      const outages = lines.filter(line => line.includes("; waiting")).map(line => JSON.parse(line).msg);
      assert.deepEqual(outages, [...new Set(outages)], "an outage is said once");
      assert.ok(lines.length <= LINES, `${command} wrote ${lines.length} lines: ${lines.slice(0, 40).join("\n")}`);
    }
  }

  it("a queue that nobody works on: its jobs stay within the window, and the journal goes on", async () => {
    await open();
    worker.running().child.kill("SIGSTOP");
    const { jobs: most, growth } = await flood();
    await site.progress();
    await eventually(async () => (await jobs()) === WINDOW, { timeout: 60_000, what: "the window is full" });
    assert.ok(most <= WINDOW, `${most} jobs`);
    assert.ok(growth < GROWTH, `${growth} MB more`);
    worker.running().child.kill("SIGCONT");
    await recovers();
  });

  it("a Redis that is full: the journal goes on, nobody spins, and the jobs come when it has room", async () => {
    await open();
    await redis.config("SET", "maxmemory", "1");
    const pid = worker.running().child.pid!;
    const [before, began] = [cpuSeconds(pid), performance.now()];
    const { growth } = await flood();
    await site.progress();
    await sleep(Math.max(0, 5_000 - (performance.now() - began)));
    const share = (cpuSeconds(pid) - before) / ((performance.now() - began) / 1_000);
    assert.ok(growth < GROWTH, `${growth} MB more`);
    assert.ok(share < 0.5, `the worker uses ${Math.round(share * 100)} % of a processor for nothing`);
    await redis.config("SET", "maxmemory", "0");
    await recovers();
  });

  it("a Postgres that answers late: everything takes longer, and nothing piles up", async () => {
    await open();
    for (const { postgres } of [listener, worker]) postgres!.delay(50);
    const { jobs, growth } = await flood();
    await site.progress();
    assert.ok(jobs <= WINDOW, `${jobs} jobs`);
    assert.ok(growth < GROWTH, `${growth} MB more`);
    // It takes longer, but it is still one writer that writes.
    await eventually(async () => Number((await site.world.leader()).epoch) > 0);
    for (const { postgres } of [listener, worker]) postgres!.delay(0);
    await recovers();
  });
});
