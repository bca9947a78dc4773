import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, describe, it } from "node:test";
import { createPostgresBackend, Worker } from "bullmq";
import pg from "pg";
import type { CarriedJob } from "../../../listener/queues/carried-job.ts";
import { assertAudit } from "../../support/audit.ts";
import { eventually } from "../../support/eventually.ts";
import { added, carriedRoute, meterApp } from "../../support/meter.ts";
import { noSharedRedis, sharedRedis } from "../../support/redis.ts";
import { openRig, type Rig } from "../../support/rig.ts";
import { scriptedChain } from "../../support/scripted-chain.ts";

const app = meterApp(carriedRoute());

/** The worker that the page shows, with locks that end sooner. */
function workerOfThePage(): string {
  const page = readFileSync("docs/workers-in-other-languages.md", "utf8");
  const source = /`worker\.mjs`:\n\n```js\n(.*?)```/s.exec(page)?.[1];
  assert.ok(source, "the page has no worker.mjs");
  const shorter = source.replace(
    "lockDuration: 30_000, stalledInterval: 30_000, maxStalledCount: 10",
    "lockDuration: 1_000, stalledInterval: 300",
  );
  assert.notEqual(shorter, source);
  return shorter;
}

describe("a worker elsewhere", () => {
  let rig: Rig;
  const closing: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await rig.close();
  });

  function prepare() {
    const dir = mkdtempSync(join(tmpdir(), "sluice-elsewhere-"));
    closing.push(() => rmSync(dir, { recursive: true, force: true }));
    symlinkSync(resolve("node_modules"), join(dir, "node_modules"));
    writeFileSync(join(dir, "worker.mjs"), workerOfThePage());
    return {
      start(): ChildProcess {
        const env = { ...process.env, REDIS_URL: sharedRedis, DATABASE_URL: rig.url, QUEUE: `sluice-${rig.chainId}-orders` };
        const child = spawn(process.execPath, ["worker.mjs"], { cwd: dir, env, stdio: ["ignore", "ignore", "inherit"] });
        closing.push(() => child.kill("SIGKILL"));
        return child;
      },
      async kill(child: ChildProcess) {
        const exited = once(child, "exit");
        child.kill("SIGKILL");
        await exited;
      },
    };
  }

  const blocks = (branch: string, from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `${branch}${from + i}`);

  it("ends with the chain's events, over kill -9 in the middle of its jobs and reorgs", { skip: noSharedRedis }, async () => {
    rig = await openRig("redis", app);
    const { db, chainId } = rig;
    // No more jobs at first than the worker takes at a time, so that each is always in its hands.
    const [a, b] = [blocks("a", 1, 6), blocks("b", 4, 10)];
    const chain = scriptedChain(a.join(" ")).forkAt("a3", b.join(" "));
    for (const [i, name] of [...a, ...b].entries()) chain.logs(name, [added(1, i), added(2, 100 + i), added(3, 200 + i)]);
    const { start, kill } = prepare();
    let child = start();
    await eventually(async () => (await db.query("select to_regclass('orders') as found")).rows[0].found !== null, { what: "it began" });
    rig.startRelay();

    // Its jobs hang in their statement while this is held, and that is where it is killed: twice, which is more than BullMQ forgives.
    const holder = new pg.Client({ connectionString: rig.url });
    await holder.connect();
    closing.push(() => holder.end());
    const hold = () => holder.query("begin; lock table orders in share mode");
    await hold();
    await rig.record(chain.extend(a.join(" ")));
    const queue = rig.backend.openQueue(chainId, "orders");
    const midst = (jobs: number) =>
      eventually(async () => (await queue.getActiveCount()) >= jobs, { what: "it is in the middle of its jobs", timeout: 40_000 });
    await midst(18);
    await kill(child);
    child = start();
    // On a busy machine locks may run out once more by themselves: then it is sent again already.
    const resent = async () => (await rig.deliveries()).some(({ sends }) => sends > 1);
    const stalled = async () => (await queue.getActive()).some(job => job?.stalledCounter === 1) || (await resent());
    await eventually(stalled, { what: "what it held is given back to it", timeout: 40_000 });
    await midst(18);
    await kill(child);
    child = start();
    await eventually(resent, { what: "what BullMQ gave up is sent once more", timeout: 40_000 });
    await holder.query("commit");
    await rig.settled(40_000);

    await hold();
    await rig.record(chain.reorg("a3", a.slice(3).reverse().join(" ")));
    await rig.record(chain.extend(b.join(" ")));
    await midst(1);
    await kill(child);
    await holder.query("commit");
    start();
    await rig.settled(40_000);
    const { rows: theirs } = await db.query<{ id: string }>("select id from orders where live order by id");
    const { rows: ours } = await db.query<{ id: string }>(
      "select chain_id || '-' || block_hash || '-' || log_index as id from events where live order by id",
    );
    assert.equal(ours.length, 30);
    assert.deepEqual(theirs, ours);
    chain.switchTo("b10");
    await assertAudit(rig, app, chain);
  });

  it("may have its jobs in Postgres, where BullMQ's backend for that is used", async () => {
    rig = await openRig("postgres", app);
    const chain = scriptedChain("a1 a2")
      .logs("a1", [added(1, 1)])
      .logs("a2", [added(2, 2)]);
    await rig.record(chain.extend("a1 a2"));
    rig.startRelay();
    const log: string[] = [];
    const connection = new pg.Pool({ connectionString: rig.url, options: "-c search_path=bullmq" });
    connection.on("error", () => {});
    closing.push(() => connection.end());
    const worker = new Worker<CarriedJob>(
      `sluice-${rig.chainId}-orders`,
      async ({ data }) => void log.push(`${data.operation} ${data.arguments.amount}`),
      { connection } as never,
      createPostgresBackend as never,
    );
    worker.on("error", () => {});
    closing.push(() => worker.close());
    await rig.settled();
    await rig.record(chain.reorg("a1", "a2"));
    await rig.settled();
    assert.deepEqual(log, ["apply 1", "apply 2", "revert 2"]);
    chain.switchTo("a1");
    await assertAudit(rig, app, chain);
  });
});
