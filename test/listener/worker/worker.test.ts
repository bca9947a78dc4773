import assert from "node:assert/strict";
import { afterEach, it } from "node:test";
import type { App } from "../../../listener/app.ts";
import { eventually } from "../../support/eventually.ts";
import { added, ledger, ledgerRoute, meterApp, taskRoute } from "../../support/meter.ts";
import { onBothBackends, openRig, type Rig } from "../../support/rig.ts";
import { scriptedChain } from "../../support/scripted-chain.ts";

onBothBackends("worker", kind => {
  let rig: Rig;
  afterEach(() => rig.close());
  const open = async (app: App) => (rig = await openRig(kind, app));
  const one = () => scriptedChain("a1").logs("a1", [added(1, 10)]);

  it("applies each event once", async () => {
    await open(meterApp(ledgerRoute(ledger(), { batch: 2 })));
    await rig.record(
      scriptedChain("a1")
        .logs("a1", [added(1, 10), added(2, 5), added(1, 7)])
        .extend("a1"),
    );
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(await rig.sums(), { 1: 17n, 2: 5n });
    assert.deepEqual(await rig.states("ledger"), ["1 apply 1,2 done", "2 apply 3 done"]);
  });

  it("is not moved by jobs that are doubled, forged or late", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    await rig.record(
      scriptedChain("a1")
        .logs("a1", [added(1, 10), added(2, 5)])
        .extend("a1"),
    );
    const queue = rig.backend.openQueue(rig.chainId, "ledger");
    const job = (data: unknown) => queue.add("apply", data as never, { attempts: 1 });
    const { chainId } = rig;
    // Early: its row is not its turn yet.
    for (const position of [1, 2, 3]) await job({ chainId, queue: "ledger", position });
    await rig.startWorkers();
    await eventually(async () => (await queue.getJobCountByTypes("waiting", "active", "delayed")) === 0);
    assert.deepEqual(await rig.calls(), []);
    rig.startRelay();
    for (let i = 0; i < 5; i++) await job({ chainId, queue: "ledger", position: 1 });
    for (const data of [
      {},
      null,
      { chainId: chainId + 1, position: 1 },
      { chainId, position: 1.5 },
      { chainId, position: "1" },
      { chainId, position: 999_999 },
      { chainId, position: -1 },
    ]) {
      await job(data);
    }
    await rig.settled();
    // Late: its row is done.
    for (let i = 0; i < 5; i++) await job({ chainId, queue: "ledger", position: 2 });
    await eventually(async () => (await queue.getJobCountByTypes("waiting", "active", "delayed")) === 0);
    assert.deepEqual((await rig.calls()).sort(), ["apply 1", "apply 2"]);
    assert.deepEqual(await rig.sums(), { 1: 10n, 2: 5n });
  });

  it("leaves nothing of an effect whose projection throws after it wrote", async () => {
    let left: unknown;
    let tries = 0;
    const projection = ledger({
      async after(_, __, tx) {
        tries += 1;
        if (tries === 1) throw new Error("after it wrote");
        left = (await tx.query("select positions from calls")).rows;
      },
    });
    await open(meterApp(ledgerRoute(projection)));
    await rig.record(one().extend("a1"));
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(left, [{ positions: [1] }], "the first try left something");
    assert.deepEqual(await rig.sums(), { 1: 10n });
    assert.equal((await rig.deliveries())[0]!.attempts, 2);
  });

  it("tries again after pauses that grow", async () => {
    const at: number[] = [];
    const projection = ledger({
      before() {
        at.push(performance.now());
        if (at.length < 4) throw new Error("not yet");
      },
    });
    await open(meterApp(ledgerRoute(projection)));
    await rig.record(one().extend("a1"));
    rig.startRelay({ resendAfter: 600_000 });
    await rig.startWorkers();
    await rig.settled();
    const pauses = at.slice(1).map((time, i) => time - at[i]!);
    for (const [i, least] of [200, 400, 800].entries()) assert.ok(pauses[i]! >= least - 20, `pause ${i + 1} of ${pauses[i]} ms`);
    assert.ok(pauses[0]! < 15_000, `the first pause took ${pauses[0]} ms`);
    const [row] = await rig.deliveries();
    assert.deepEqual([row!.state, row!.attempts, row!.last_error, row!.sends], ["done", 4, null, 1]);
  });

  it("takes a batch apart that keeps failing, so that one poison event holds no other", async () => {
    const projection = ledger({
      before(_, events) {
        if (events.some(event => event.arguments.who.endsWith("5"))) throw new Error("poison");
      },
    });
    await open(meterApp(ledgerRoute(projection, { batch: 10, attempts: 3 })));
    const chain = scriptedChain("a1").logs(
      "a1",
      Array.from({ length: 10 }, (_, i) => added(i + 1, 1)),
    );
    await rig.record(chain.extend("a1"));
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    const dead = (await rig.deliveries()).filter(({ state }) => state === "dead");
    assert.deepEqual(
      dead.map(({ events }) => events),
      [[5]],
    );
    assert.match(dead[0]!.last_error!, /poison/);
    assert.deepEqual(Object.keys(await rig.sums()).map(Number), [1, 2, 3, 4, 6, 7, 8, 9, 10]);
    // What was applied one by one is taken back all the same.
    await rig.record(chain.reorg("", "a1"));
    await rig.settled();
    assert.deepEqual(await rig.sums(), {});
  });

  it("never takes a revert apart: what replaces the block would come before it", async () => {
    const projection = ledger({
      before(operation) {
        if (operation === "revert") throw new Error("not yet");
      },
    });
    await open(meterApp(ledgerRoute(projection, { batch: 10, attempts: 4 })));
    const chain = scriptedChain("a1")
      .logs("a1", [added(1, 10), added(2, 5)])
      .forkAt("", "b1")
      .logs("b1", [added(3, 1)]);
    await rig.record(chain.extend("a1"));
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    await rig.record(chain.reorg("", "a1"));
    await rig.record(chain.extend("b1"));
    await rig.settled();
    assert.deepEqual(await rig.states("ledger"), ["1 apply 1,2 done", "2 revert 2,1 dead", "3 apply 3 done"]);
  });

  it("makes a dead letter of an event whose orderBy throws, and goes on", async () => {
    const orderBy = ({ arguments: { who } }: { arguments: { who: string } }) => {
      if (who.endsWith("2")) throw new Error("no key for this one");
      return who;
    };
    await open(meterApp(ledgerRoute(ledger(), { orderBy: orderBy as never })));
    const chain = scriptedChain("a1").logs("a1", [added(1, 10), added(2, 5), added(3, 7)]);
    await rig.record(chain.extend("a1"));
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(await rig.states("ledger"), ["1 apply 1 done", "2 apply 2 dead", "3 apply 3 done"]);
    assert.match((await rig.deliveries())[1]!.last_error!, /orderBy of queue ledger: no key for this one/);
    await rig.record(chain.reorg("", "a1"));
    await rig.settled();
    assert.deepEqual(await rig.sums(), {});
  });

  it("gives up at the last attempt, and says why in the dead letter", async () => {
    const settled: unknown[] = [];
    const projection = ledger({
      before() {
        throw new Error("poison\0 with a NUL");
      },
    });
    await open(meterApp(ledgerRoute(projection, { attempts: 2 })));
    await rig.record(one().extend("a1"));
    rig.startRelay();
    await rig.startWorkers({ onSettled: ({ state }) => settled.push(state) });
    await rig.settled();
    const [row] = await rig.deliveries();
    assert.deepEqual([row!.state, row!.attempts], ["dead", 2]);
    assert.match(row!.last_error!, /^poison with a NUL\n\s+at /);
    assert.deepEqual(settled, ["dead"]);
    const queue = rig.backend.openQueue(rig.chainId, "ledger");
    await eventually(async () => (await queue.getJobCountByTypes("waiting", "active", "delayed", "failed")) === 0, {
      what: "no job of it is left",
    });
  });

  it("does not revert a dead letter: nothing of it was applied", async () => {
    const projection = ledger({
      before(_, [event]) {
        if (event!.position === 1) throw new Error("poison");
      },
    });
    await open(meterApp(ledgerRoute(projection, { attempts: 1 })));
    const chain = scriptedChain("a1").logs("a1", [added(1, 10), added(2, 5)]);
    await rig.record(chain.extend("a1"));
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    await rig.record(chain.reorg("", "a1"));
    await rig.settled();
    assert.deepEqual(await rig.calls(), ["apply 2", "revert 2"]);
    assert.deepEqual(await rig.states("ledger"), ["1 apply 1 dead", "2 apply 2 done", "3 revert 2 done", "4 revert 1 done"]);
  });

  it("neither applies nor reverts what a reorg took before its turn came", async () => {
    await open(meterApp(ledgerRoute(ledger(), { batch: 5 })));
    const chain = scriptedChain("a1 a2")
      .logs("a1", [added(1, 1)])
      .logs("a2", [added(2, 2), added(3, 3)]);
    await rig.record(chain.extend("a1 a2"));
    await rig.record(chain.reorg("a1", "a2"));
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(await rig.calls(), ["apply 1"]);
    assert.deepEqual(await rig.sums(), { 1: 1n });
  });

  it("takes a balance back when its block is reorged out", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const chain = scriptedChain("a1 a2")
      .logs("a1", [added(1, 1)])
      .logs("a2", [added(1, 2)])
      .forkAt("a1", "b2")
      .logs("b2", [added(2, 7)]);
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2"));
    await rig.settled();
    assert.deepEqual(await rig.sums(), { 1: 3n });
    await rig.record(chain.reorg("a1", "a2"));
    await rig.record(chain.extend("b2"));
    await rig.settled();
    assert.deepEqual(await rig.sums(), { 1: 1n, 2: 7n });
  });

  it("runs a task on final events alone, under the same key at every try", async () => {
    const runs: { key: string; attempt: number; position: number }[] = [];
    const app = meterApp(
      taskRoute(async (event, { key, attempt }) => {
        runs.push({ key, attempt, position: event.position });
        if (attempt < 3) throw new Error("the receiver is away");
      }),
    );
    await open(app);
    const chain = scriptedChain("a1 a2")
      .logs("a1", [added(1, 1)])
      .logs("a2", [added(1, 2)]);
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2"));
    await rig.record(chain.reorg("a1", "a2"));
    await rig.record(chain.finalize("a1"));
    await rig.settled();
    const id = `${rig.chainId}-${chain.ref("a1").hash}-0-run`;
    assert.deepEqual(runs, [
      { key: id, attempt: 1, position: 1 },
      { key: id, attempt: 2, position: 1 },
      { key: id, attempt: 3, position: 1 },
    ]);
    assert.deepEqual(await rig.states("tasks"), ["1 run 1 done"]);
  });

  it("runs a task for no delivery that is done, and its batch in order, whatever jobs come late", async () => {
    const runs: number[] = [];
    const app = meterApp(taskRoute(async ({ position }) => void runs.push(position), { batch: 2 }));
    await open(app);
    const chain = scriptedChain("a1").logs("a1", [added(1, 1), added(1, 2), added(1, 3)]);
    await rig.startWorkers();
    rig.startRelay();
    await rig.record(chain.extend("a1"));
    await rig.record(chain.finalize("a1"));
    await rig.settled();
    const queue = rig.backend.openQueue(rig.chainId, "tasks");
    const { chainId } = rig;
    for (let i = 0; i < 6; i++) await queue.add("run", { chainId, queue: "tasks", position: 1 + (i % 3) }, { attempts: 1 });
    await eventually(async () => (await queue.getJobCountByTypes("waiting", "active", "delayed")) === 0);
    assert.deepEqual(
      runs.filter(position => position < 3),
      [1, 2],
    );
    assert.deepEqual(runs.toSorted(), [1, 2, 3]);
    assert.deepEqual(await rig.states("tasks"), ["1 run 1,2 done", "2 run 3 done"]);
  });

  it("lets what is under way finish when it closes, and leaves nothing stalled", async () => {
    let release = () => {};
    const gate = new Promise<void>(resolve => {
      release = resolve;
    });
    let started = 0;
    const projection = ledger({
      before() {
        started += 1;
        return started <= 2 ? gate : undefined;
      },
    });
    await open(meterApp(ledgerRoute(projection, { concurrency: 2 })));
    const chain = scriptedChain("a1").logs(
      "a1",
      Array.from({ length: 8 }, () => added(1, 1)),
    );
    await rig.record(chain.extend("a1"));
    rig.startRelay();
    const workers = await rig.startWorkers();
    await eventually(() => started === 2);
    const closing = workers.close();
    release();
    await closing;
    const queue = rig.backend.openQueue(rig.chainId, "ledger");
    assert.equal(await queue.getJobCountByTypes("active"), 0);
    const done = (await rig.deliveries()).filter(({ state }) => state === "done").length;
    assert.equal(done, started, "what was begun was finished");
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(await rig.sums(), { 1: 8n });
    assert.equal((await rig.calls()).length, 8);
  });

  it("shares the work among several processes, each delivery done by one", async () => {
    // Nobody is to be so quick that nothing is left for the others.
    const everybody = Promise.withResolvers<void>();
    await open(meterApp(ledgerRoute(ledger({ before: () => everybody.promise }))));
    const chain = scriptedChain("a1").logs(
      "a1",
      Array.from({ length: 150 }, (_, i) => added(i % 7, i)),
    );
    await rig.record(chain.extend("a1"));
    const by = [0, 0, 0];
    for (const i of by.keys()) await rig.startWorkers({ concurrency: 5, onSettled: () => void (by[i]! += 1) });
    rig.startRelay();
    const queue = rig.backend.openQueue(rig.chainId, "ledger");
    await eventually(async () => (await queue.getActiveCount()) === 15, { what: "each has its hands full" });
    everybody.resolve();
    await rig.settled();
    assert.equal(
      by.reduce((sum, n) => sum + n, 0),
      150,
    );
    assert.ok(
      by.every(n => n >= 5),
      `one did what was another's: ${by}`,
    );
    assert.deepEqual(await rig.sums(), await rig.trueSums());
  });

  it("recovers when Postgres ends its connections under way, and counts that as no attempt", async () => {
    let killed = 0;
    // Nothing comes to its end before some have lost their connection in the middle of it.
    const before = () => eventually(() => killed >= 5 && new Promise(resolve => setTimeout(() => resolve(true), 2)));
    await open(meterApp(ledgerRoute(ledger({ before }), { attempts: 1, concurrency: 8 })));
    const chain = scriptedChain("a1").logs(
      "a1",
      Array.from({ length: 100 }, (_, i) => added(i % 5, 1)),
    );
    await rig.record(chain.extend("a1"));
    rig.startRelay();
    await rig.startWorkers();
    while ((await rig.open()).length > 0) {
      const { rowCount } = await rig.db.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'sluice-test-worker' and state <> 'idle' limit 1`,
      );
      killed += rowCount ?? 0;
      if (killed >= 12) break;
      await new Promise(resolve => setImmediate(resolve));
    }
    await rig.settled(60_000);
    assert.ok(killed >= 5, `only ${killed} connections were ended`);
    assert.deepEqual(
      (await rig.deliveries()).filter(({ state }) => state !== "done"),
      [],
    );
    assert.equal((await rig.calls()).length, 100);
    assert.deepEqual(await rig.sums(), await rig.trueSums());
  });
});
