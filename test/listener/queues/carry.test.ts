import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { type Job, Worker, type WorkerOptions } from "bullmq";
import { Redis } from "ioredis";
import type { Route } from "../../../listener/app.ts";
import { checksumAddress } from "../../../listener/chain/address.ts";
import { checkOurs } from "../../../listener/commands/queue-names.ts";
import { migrate, transaction } from "../../../listener/db.ts";
import { SluiceError } from "../../../listener/errors.ts";
import type { CarriedJob } from "../../../listener/queues/carried-job.ts";
import { WEBHOOK_MIGRATIONS } from "../../../listener/webhooks/schema.ts";
import { retryDeadLetters } from "../../../listener/worker/dead-letters.ts";
import { rebuild } from "../../../listener/worker/rebuild.ts";
import { replay } from "../../../listener/worker/replay.ts";
import { assertAudit } from "../../support/audit.ts";
import { eventually } from "../../support/eventually.ts";
import { account, added, carriedRoute, meterApp, named, truncated } from "../../support/meter.ts";
import { noRedisServer, noSharedRedis, sharedRedis } from "../../support/redis.ts";
import { type RedisServer, startRedisServer } from "../../support/redis-server.ts";
import { openRig, type Rig } from "../../support/rig.ts";
import { SCRIPTED_ADDRESS, type ScriptedChain, scriptedChain } from "../../support/scripted-chain.ts";
import { apiOf, ask } from "../api/support.ts";

describe("a carried queue", { skip: noSharedRedis }, () => {
  let rig: Rig;
  let redis: RedisServer | undefined;
  const closing: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await rig.close();
    await redis?.remove();
    redis = undefined;
  });

  async function open(route: Route = carriedRoute(), url = sharedRedis) {
    rig = await openRig("redis", meterApp(route), url);
    return rig;
  }

  /** BullMQ as anybody has it, with no code of ours: it keeps of each event what the newest job says. */
  function consume(given: { url?: string; options?: Partial<WorkerOptions>; before?: (job: Job<CarriedJob>) => unknown } = {}) {
    const log: string[] = [];
    const jobs: CarriedJob[] = [];
    const newest = new Map<string, CarriedJob>();
    const connection = new Redis(given.url ?? sharedRedis!, { maxRetriesPerRequest: null });
    connection.on("error", () => {});
    const worker = new Worker<CarriedJob>(
      `sluice-${rig.chainId}-orders`,
      async job => {
        await given.before?.(job);
        const { id, seq, operation } = job.data;
        log.push(`${operation} ${job.data.arguments.amount}`);
        jobs.push(job.data);
        if (seq > (newest.get(id)?.seq ?? 0)) newest.set(id, job.data);
      },
      { connection, concurrency: 4, ...given.options },
    );
    worker.on("error", () => {});
    const close = async () => {
      await worker.close(true);
      connection.disconnect();
    };
    closing.push(close);
    return {
      log,
      jobs,
      worker,
      close,
      /** Ids of the events that are applied by the newest job about each. */
      applied: () =>
        [...newest.values()]
          .filter(({ operation }) => operation === "apply")
          .map(({ id }) => id)
          .sort(),
    };
  }

  async function liveIds(): Promise<string[]> {
    const { rows } = await rig.db.query<{ id: string }>(
      "select chain_id || '-' || block_hash || '-' || log_index as id from events where live and name = 'Added' and error is null",
    );
    return rows.map(({ id }) => id).sort();
  }

  function twoBranches(): ScriptedChain {
    return scriptedChain("a1 a2 a3")
      .logs("a1", [added(1, 1), added(2, 2)])
      .logs("a2", [added(1, 3)])
      .logs("a3", [added(3, 4), added(1, 5)])
      .forkAt("a1", "b2 b3 b4")
      .logs("b2", [added(1, 13)])
      .logs("b4", [added(2, 14)]);
  }

  it("holds the whole event, in a form that JSON gives back as it was", async () => {
    await open(carriedRoute({ events: ["Meter.Added", "Meter.Named"] }));
    const invalid = named(2, "ok");
    // 0xff is not UTF-8 anywhere.
    const bytes = { ...invalid, data: invalid.data!.replace("6f6b", "ff6b") };
    const chain = scriptedChain("a1").logs("a1", [added(1, 2n ** 256n - 1n), bytes]);
    await rig.record(chain.extend("a1"));
    rig.startRelay();
    const { jobs } = consume();
    await rig.settled();
    const [one, two] = jobs.sort((a, b) => a.seq - b.seq);
    const block = chain.block("a1");
    assert.deepEqual(one, {
      v: 1,
      operation: "apply",
      seq: 1,
      id: `${rig.chainId}-${block.hash}-0`,
      chainId: rig.chainId,
      contract: "Meter",
      address: checksumAddress(SCRIPTED_ADDRESS),
      name: "Added",
      arguments: { who: account(1), amount: (2n ** 256n - 1n).toString() },
      block: { number: 1, hash: block.hash, timestamp: block.timestamp },
      transactionHash: one!.transactionHash,
      logIndex: 0,
      raw: { topics: added(1, 1).topics, data: `0x${"f".repeat(64)}` },
    });
    assert.equal(two!.arguments.name, "\ufffdk");
    assert.equal(two!.raw.data, bytes.data);
  });

  it("brings every event, each reorg's reverts after their applies and before what takes their place, with a rising sequence", async () => {
    await open();
    const chain = twoBranches();
    await rig.record(chain.extend("a1 a2 a3"));
    rig.startRelay();
    const worker = consume();
    await rig.settled();
    assert.deepEqual(worker.log.splice(0).sort(), ["apply 1", "apply 2", "apply 3", "apply 4", "apply 5"]);
    await rig.record(chain.reorg("a1", "a3 a2"));
    await rig.record(chain.extend("b2 b3 b4"));
    await rig.settled();
    assert.deepEqual(worker.log.slice(0, 3).sort(), ["revert 3", "revert 4", "revert 5"]);
    assert.deepEqual(worker.log.slice(3).sort(), ["apply 13", "apply 14"]);
    // A block that comes back brings its events under the same ids, with a higher sequence.
    await rig.record(chain.reorg("a1", "b4 b3 b2"));
    await rig.record(chain.extend("a2 a3"));
    await rig.settled();
    assert.deepEqual(worker.applied(), await liveIds());
    for (const id of new Set(worker.jobs.map(job => job.id))) {
      const mine = worker.jobs.filter(job => job.id === id);
      assert.deepEqual(
        mine.map(({ operation }) => operation),
        ["apply", "revert", "apply"].slice(0, mine.length),
      );
      assert.ok(mine.every(({ seq }, i) => i === 0 || seq > mine[i - 1]!.seq));
    }
    chain.switchTo("a3");
    await assertAudit(rig, meterApp(carriedRoute()), chain);
    const queue = rig.backend.openQueue(rig.chainId, "orders");
    assert.equal(await queue.getJobCountByTypes("completed", "failed", "waiting", "active", "delayed"), 0, "no job of it is left");
  });

  it("does not send what a reorg took before its turn came", async () => {
    await open();
    const chain = twoBranches();
    await rig.record(chain.extend("a1 a2 a3"));
    await rig.record(chain.reorg("a1", "a3 a2"));
    await rig.record(chain.extend("b2 b3 b4"));
    rig.startRelay();
    const { log } = consume();
    await rig.settled();
    assert.deepEqual(log.sort(), ["apply 1", "apply 13", "apply 14", "apply 2"]);
    chain.switchTo("b4");
    await assertAudit(rig, meterApp(carriedRoute()), chain);
  });

  it("makes a dead letter of a job that failed for good, with its reason and stack, and tries it again when told", async () => {
    const route = carriedRoute({ attempts: 2, backoff: { type: "fixed", delay: 10 } });
    await open(route);
    const chain = scriptedChain("a1").logs("a1", [added(1, 1), added(2, 2), truncated(3)]);
    await rig.record(chain.extend("a1"));
    rig.startRelay();
    let broken = true;
    const { log } = consume({
      before({ data }) {
        if (broken && data.arguments.amount === "2") throw new TypeError("the warehouse is closed\0");
      },
    });
    await rig.settled();
    assert.deepEqual(await rig.states("orders"), ["1 apply 1 done", "2 apply 2 dead", "3 apply 3 dead"].toSorted());
    const dead = (await rig.deliveries()).find(({ position, events }) => position > 0 && events[0] === 2)!;
    assert.equal(dead.attempts, 2);
    assert.match(dead.last_error!, /^the warehouse is closed.?\n\s+at .*carry\.test/);
    broken = false;
    await transaction(rig.db, tx => retryDeadLetters(tx, rig.chainId, {}));
    await rig.settled();
    assert.deepEqual(log, ["apply 1", "apply 2"]);
    const left = (await rig.deliveries()).filter(({ state }) => state === "dead");
    assert.deepEqual(
      left.map(({ events }) => events[0]),
      [3],
      "what cannot be decoded is a dead letter again",
    );
    assert.match(left[0]!.last_error!, /bytes|data/);
  });

  it("is told to take back what it failed for: nobody knows how far it came", async () => {
    await open(carriedRoute({ attempts: 1 }));
    const chain = twoBranches();
    await rig.record(chain.extend("a1 a2"));
    rig.startRelay();
    const { log } = consume({
      before({ data }) {
        if (data.operation === "apply" && data.arguments.amount === "3") throw new Error("no");
      },
    });
    await rig.settled();
    await rig.record(chain.reorg("a1", "a2"));
    await rig.settled();
    assert.deepEqual(log.slice(-1), ["revert 3"]);
  });

  it("runs events again with a higher sequence when they are replayed", async () => {
    const app = meterApp(carriedRoute());
    await open();
    const chain = twoBranches();
    await rig.record(chain.extend("a1 a2"));
    rig.startRelay();
    const { log, jobs } = consume();
    await rig.settled();
    const replayed = await replay({ db: rig.db, app, chainId: rig.chainId }, app.routes[0]!, { fromBlock: 2 });
    assert.equal(replayed.deliveries, 1);
    await rig.settled();
    assert.deepEqual(log.slice(3), ["apply 3"]);
    assert.ok(jobs[3]!.seq > jobs[2]!.seq);
    chain.switchTo("a2");
    await assertAudit(rig, app, chain);
  });

  it("waits as its finality says", async () => {
    await open(carriedRoute({ finality: 2 }));
    const chain = twoBranches();
    await rig.record(chain.extend("a1 a2 a3"));
    rig.startRelay();
    const { log } = consume();
    await rig.settled();
    await rig.record(chain.reorg("a1", "a3 a2"));
    await rig.record(chain.extend("b2 b3 b4"));
    await rig.settled();
    assert.deepEqual(log.sort(), ["apply 1", "apply 13", "apply 2"]);
  });

  it("keeps the order of a key, and a dead letter parks its own key alone", async () => {
    await open(carriedRoute({ attempts: 1, orderBy: ((event: { arguments: { who: string } }) => event.arguments.who) as never }));
    const chain = twoBranches();
    await rig.record(chain.extend("a1 a2 a3"));
    rig.startRelay();
    let broken = true;
    const { log } = consume({
      before({ data }) {
        if (broken && data.arguments.amount === "3") throw new Error("no");
      },
    });
    await eventually(async () => (await rig.states("orders")).filter(state => /done|dead/.test(state)).length === 4);
    assert.deepEqual(log.toSorted(), ["apply 1", "apply 2", "apply 4"]);
    broken = false;
    await transaction(rig.db, tx => retryDeadLetters(tx, rig.chainId, {}));
    await rig.settled();
    assert.deepEqual(log.slice(3), ["apply 3", "apply 5"]);
  });

  it("is shown like any other queue, with its name in BullMQ, and is refused where workers or projections of ours are meant", async () => {
    const app = meterApp(carriedRoute({ attempts: 1, finality: "safe" }));
    await open(carriedRoute({ attempts: 1, finality: "safe" }));
    const chain = twoBranches();
    await rig.record(chain.extend("a1 a2"));
    await rig.journal.sawSafe(chain.ref("a2"));
    const settled: string[] = [];
    rig.startRelay({ onSettled: ({ queue, state }) => settled.push(`${queue} ${state}`) });
    consume({
      before({ data }) {
        if (data.arguments.amount === "3") throw new Error("no");
      },
    });
    await rig.settled();
    assert.deepEqual(settled.sort(), ["orders dead", "orders done", "orders done"]);
    const { db, chainId } = rig;
    await migrate(db, WEBHOOK_MIGRATIONS);
    const api = await apiOf(db, { app, chainId, reads: [] });
    closing.push(() => api.close());
    const { items } = await ask(api, "queues");
    const { kind, handler, follows, finality, done, failed, inFlight, pending } = items[0];
    assert.deepEqual([kind, handler, follows, finality], ["carried", `sluice-${chainId}-orders`, "finality", "safe"]);
    assert.deepEqual([done, failed, inFlight, pending], [2, 1, 0, 0]);
    assert.deepEqual((await ask(api, "status")).queues.orders, { done: 2, failed: 1, inFlight: 0, pending: 0 });
    const letters = (await ask(api, "dead-letters")).items;
    assert.match(letters[0].lastError, /^no\n/);
    const { deliveries } = await ask(api, `events/${letters[0].events[0]}`);
    assert.deepEqual([deliveries[0].queue, deliveries[0].operation, deliveries[0].state], ["orders", "apply", "dead"]);
    assert.throws(() => checkOurs(app, ["orders"]), SluiceError);
    await assert.rejects(rebuild({ db, app, chainId }, "orders"), /feeds no projection/);
  });

  it("loses nothing over a FLUSHALL, and sends again under the same ids", { skip: noRedisServer }, async () => {
    redis = await startRedisServer();
    await open(carriedRoute(), redis.url);
    const names = Array.from({ length: 40 }, (_, i) => `a${i + 1}`);
    const chain = scriptedChain(names.join(" "));
    for (const [i, name] of names.entries()) chain.logs(name, [added(1, i + 1), added(2, 1_000 + i)]);
    await rig.record(chain.extend(names.join(" ")));
    rig.startRelay({ window: 30 });
    const ids = new Map<number, Set<string>>();
    let started = 0;
    const note = (job: Job<CarriedJob>) => {
      started += 1;
      ids.set(job.data.seq, (ids.get(job.data.seq) ?? new Set()).add(job.id!));
    };
    const worker = consume({ url: redis.url, before: note });
    const admin = new Redis(redis.url);
    closing.push(async () => admin.disconnect());
    for (const at of [10, 45]) {
      await eventually(() => started >= at, { what: `${at} jobs were begun` });
      await admin.flushall();
    }
    await rig.settled();
    assert.deepEqual(worker.applied(), await liveIds());
    assert.equal(ids.size, 80);
    for (const [seq, mine] of ids) assert.deepEqual([...mine], [`${rig.chainId}-${seq}-1`]);
    chain.switchTo("a40");
    await assertAudit(rig, meterApp(carriedRoute()), chain);
  });
});
