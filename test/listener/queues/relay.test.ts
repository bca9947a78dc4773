import assert from "node:assert/strict";
import { afterEach, it } from "node:test";
import type { App } from "../../../listener/app.ts";
import { transaction } from "../../../listener/db.ts";
import { lockQueue } from "../../../listener/journal/queue-lock.ts";
import { eventually } from "../../support/eventually.ts";
import { added, ledger, ledgerRoute, meterApp } from "../../support/meter.ts";
import { onBothBackends, openRig, type Rig } from "../../support/rig.ts";
import { type ScriptedChain, scriptedChain } from "../../support/scripted-chain.ts";

/** Blocks `a1` to `aN` with one event each, of accounts 1 to `accounts` in turn. */
function busy(blocks: number, accounts = 3): { chain: ScriptedChain; names: string } {
  const names = Array.from({ length: blocks }, (_, i) => `a${i + 1}`);
  const chain = scriptedChain(names.join(" "));
  for (const [i, name] of names.entries()) chain.logs(name, [added((i % accounts) + 1, i + 1)]);
  return { chain, names: names.join(" ") };
}

onBothBackends("relay", kind => {
  let rig: Rig;
  afterEach(() => rig.close());
  const open = async (app: App) => (rig = await openRig(kind, app));
  const sent = async () => (await rig.deliveries()).filter(({ state }) => state === "sent");
  /** Plays a worker that settles everything that was sent. */
  const settleSent = (state = "done") =>
    rig.db.query("update deliveries set state = $2 where chain_id = $1 and state = 'sent'", [rig.chainId, state]);
  const counts = () => rig.backend.openQueue(rig.chainId, "ledger").getJobCounts("waiting", "active", "delayed", "prioritized");
  const total = (of: Record<string, number>) => Object.values(of).reduce((sum, n) => sum + n, 0);

  it("keeps no more than the window in flight, whatever waits behind it", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const { chain, names } = busy(60);
    await rig.record(chain.extend(names));
    const relay = rig.startRelay({ window: 10, resendAfter: 600_000 });
    await eventually(async () => total(await counts()) === 10);
    assert.equal((await sent()).length, 10);
    // Half of them done makes room for as many.
    await rig.db.query("update deliveries set state = 'done' where chain_id = $1 and position <= 5", [rig.chainId]);
    relay.wake(["ledger"]);
    await eventually(async () => total(await counts()) === 15);
    assert.deepEqual(
      (await sent()).map(({ position }) => position),
      [6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    );
  });

  it("keeps the window when dead letters are put back before what is in flight", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const { chain, names } = busy(40);
    await rig.record(chain.extend(names));
    await rig.db.query("update deliveries set state = 'dead' where chain_id = $1 and position <= 20", [rig.chainId]);
    const relay = rig.startRelay({ window: 10, resendAfter: 600_000 });
    await eventually(async () => (await sent()).length === 10);
    await rig.db.query("update deliveries set state = 'pending' where chain_id = $1 and position <= 20", [rig.chainId]);
    for (let position = 21; position <= 30; position++) {
      await rig.db.query("update deliveries set state = 'done' where chain_id = $1 and position = $2", [rig.chainId, position]);
      relay.wake(["ledger"]);
      await eventually(async () => (await sent()).some(row => row.position === position - 20));
      assert.equal((await sent()).length, 10);
    }
  });

  it("passes over what waits behind a poisoned key, however much it is", async () => {
    await open(meterApp(ledgerRoute(ledger(), byAccount as object)));
    const chain = scriptedChain("a1 a2").logs("a1", [added(1, 1)]);
    await rig.record(chain.extend("a1"));
    await rig.db.query("update deliveries set state = 'dead' where chain_id = $1", [rig.chainId]);
    await rig.db.query(
      `insert into deliveries (chain_id, queue, position, operation, events, first_event, last_event, key)
       select chain_id, queue, n, operation, '{}', 1, 1, key from deliveries, generate_series(2, 30001) n where chain_id = $1`,
      [rig.chainId],
    );
    await rig.db.query("update queues set created = 30001 where chain_id = $1", [rig.chainId]);
    await rig.record(chain.logs("a2", [added(2, 2), added(3, 3)]).extend("a2"));
    rig.startRelay();
    await rig.startWorkers();
    await eventually(async () => Object.keys(await rig.sums()).length === 2);
    assert.deepEqual(await rig.sums(), { 2: 2n, 3: 3n });
  });

  it("never has more than the window in flight while workers drain a backlog", async () => {
    let most = 0;
    const app = meterApp(
      ledgerRoute(
        ledger({
          async before(_, __, tx) {
            const { rows } = await tx.query("select count(*) as n from deliveries where state = 'sent'");
            most = Math.max(most, rows[0].n);
          },
        }),
      ),
    );
    await open(app);
    const { chain, names } = busy(150);
    await rig.record(chain.extend(names));
    rig.startRelay({ window: 12 });
    await rig.startWorkers();
    await rig.settled();
    assert.ok(most <= 12, `${most} in flight`);
    assert.ok(most > 1, "nothing ran side by side");
    assert.deepEqual(await rig.sums(), await rig.trueSums());
  });

  it("sends reverts when every earlier apply is settled, and later applies when the reverts are", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const chain = scriptedChain("a1 a2")
      .logs("a1", [added(1, 1)])
      .logs("a2", [added(1, 2)])
      .forkAt("a1", "b2")
      .logs("b2", [added(1, 3)]);
    await rig.record(chain.extend("a1 a2"));
    await rig.record(chain.reorg("a1", "a2"));
    await rig.record(chain.extend("b2"));
    const relay = rig.startRelay({ resendAfter: 600_000 });
    const stage = async (positions: number[]) => {
      relay.wake(["ledger"]);
      await eventually(async () => (await sent()).length === positions.length);
      assert.deepEqual(
        (await sent()).map(({ position }) => position),
        positions,
      );
    };
    await stage([1, 2]);
    await rig.db.query("update deliveries set state = 'done' where chain_id = $1 and position = 1", [rig.chainId]);
    await stage([2]);
    await settleSent();
    await stage([3]);
    await settleSent();
    await stage([4]);
  });

  it("takes a dead letter for settled: it holds up no barrier", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const chain = scriptedChain("a1 a2").logs("a2", [added(1, 2)]);
    await rig.record(chain.extend("a1 a2"));
    await rig.record(chain.reorg("a1", "a2"));
    const relay = rig.startRelay({ resendAfter: 600_000 });
    await eventually(async () => (await sent()).length === 1);
    await settleSent("dead");
    relay.wake(["ledger"]);
    await eventually(async () => (await sent())[0]?.operation === "revert");
  });

  it("applies, reverts and applies in the order of the chain when workers run", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const { chain, names } = busy(20);
    chain.forkAt("a8", "b9 b10").logs("b9", [added(1, 1_000)]);
    await rig.record(chain.extend(names));
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    await rig.record(chain.reorg("a8", names.split(" ").slice(8).reverse().join(" ")));
    await rig.record(chain.extend("b9 b10"));
    await rig.settled();
    const calls = await rig.calls();
    const operations = calls.map(call => call.split(" ")[0]);
    assert.equal(operations.filter(operation => operation === "apply").length - 1, operations.indexOf("revert"));
    assert.equal(operations.lastIndexOf("revert"), calls.length - 2);
    assert.equal(calls.at(-1), "apply 21");
    assert.deepEqual(await rig.sums(), await rig.trueSums());
  });

  const byAccount = { orderBy: (event: { arguments: { who: string } }) => event.arguments.who } as never;

  it("keeps the order of a key while other keys run beside it", async () => {
    let random = 7;
    const app = meterApp(
      ledgerRoute(
        ledger({
          async before() {
            random = (random * 48_271) % 2_147_483_647;
            await new Promise(resolve => setTimeout(resolve, random % 8));
            if (random % 5 === 0) throw new Error("not now");
          },
        }),
        { ...(byAccount as object), concurrency: 8 },
      ),
    );
    await open(app);
    const { chain, names } = busy(40, 4);
    await rig.record(chain.extend(names));
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled(60_000);
    const positions = (await rig.calls()).map(call => Number(call.split(" ")[1]));
    for (const key of [0, 1, 2, 3]) {
      const lane = positions.filter(position => position % 4 === key);
      assert.deepEqual(
        lane,
        lane.toSorted((a, b) => a - b),
        `lane ${key}`,
      );
    }
    assert.equal(positions.length, 40);
    assert.notDeepEqual(
      positions,
      positions.toSorted((a, b) => a - b),
      "keys ran one after the other",
    );
  });

  it("parks the lane of a poisoned event and no other", async () => {
    const poisoned = ledger({
      before(_, [event]) {
        if (event!.position === 4) throw new Error("poison");
      },
    });
    await open(meterApp(ledgerRoute(poisoned, { ...(byAccount as object), attempts: 2 })));
    const { chain, names } = busy(12, 3);
    await rig.record(chain.extend(names));
    rig.startRelay();
    await rig.startWorkers();
    await eventually(async () => (await rig.deliveries()).filter(({ state }) => state === "done" || state === "dead").length === 10);
    assert.deepEqual(
      (await rig.deliveries()).filter(({ state }) => state !== "done").map(d => [d.position, d.state]),
      [
        [4, "dead"],
        [7, "pending"],
        [10, "pending"],
      ],
    );
    // A reorg takes back what was applied, and passes by what was not.
    await rig.record(chain.reorg("", names.split(" ").reverse().join(" ")));
    await eventually(
      async () => (await rig.deliveries()).filter(({ operation, state }) => operation === "revert" && state === "done").length === 12,
    );
    assert.deepEqual(await rig.sums(), {});
  });

  it("sends everything again that its queue lost", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const { chain, names } = busy(30);
    await rig.record(chain.extend(names));
    rig.startRelay({ window: 20 });
    await eventually(async () => total(await counts()) === 20);
    await rig.loseAllJobs();
    await eventually(async () => total(await counts()) >= 20, { what: "the jobs are there again" });
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(await rig.sums(), await rig.trueSums());
    assert.equal((await rig.calls()).length, 30);
  });

  it("loses nothing and doubles nothing when the jobs vanish under working workers", async () => {
    await open(meterApp(ledgerRoute(ledger({ before: () => new Promise(resolve => setTimeout(resolve, 3)) }))));
    const { chain, names } = busy(120);
    await rig.record(chain.extend(names));
    rig.startRelay({ window: 40 });
    await rig.startWorkers();
    for (const done of [20, 60, 90]) {
      await eventually(async () => (await rig.calls()).length >= done);
      await rig.loseAllJobs();
    }
    await rig.settled();
    assert.equal((await rig.calls()).length, 120);
    assert.deepEqual(await rig.sums(), await rig.trueSums());
  });

  it("leaves a job alone that only takes long", async () => {
    let release = () => {};
    const gate = new Promise<void>(resolve => {
      release = resolve;
    });
    await open(meterApp(ledgerRoute(ledger({ before: () => gate }))));
    const chain = scriptedChain("a1 a2")
      .logs("a1", [added(1, 1)])
      .logs("a2", [added(1, 1)]);
    await rig.record(chain.extend("a1 a2"));
    rig.startRelay({ resendAfter: 20 });
    await rig.startWorkers({ concurrency: 1 });
    // Long enough for many looks: each of them is a chance to send it twice.
    await eventually(async () => {
      const { rows } = await rig.db.query("select min(sent_at) < now() - interval '600 ms' as old from deliveries where state = 'sent'");
      return rows[0].old;
    });
    assert.deepEqual(
      (await rig.deliveries()).map(({ sends }) => sends),
      [1, 1],
    );
    release();
    await rig.settled();
  });

  it("goes on where another relay was stopped between its mark and its jobs", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const { chain, names } = busy(5);
    await rig.record(chain.extend(names));
    await rig.db.query("update deliveries set state = 'sent', sends = 1, sent_at = now() where chain_id = $1", [rig.chainId]);
    await rig.db.query("update queues set sent_to = created where chain_id = $1", [rig.chainId]);
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    assert.equal((await rig.calls()).length, 5);
  });

  /** A writer beside a relay that has so much room. */
  const beside = async (room: number) => {
    const writer = rig.writer(0, { released: new Set(["ledger"]), take: (_, count) => count <= room });
    await writer.checkpoint();
    return writer;
  };
  const sentTo = async () => (await rig.db.query("select sent_to from queues where chain_id = $1", [rig.chainId])).rows[0].sent_to;

  it("adds the jobs of what was stored as sent, without a claim", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const { chain, names } = busy(8);
    const relay = rig.startRelay({ resendAfter: 600_000 });
    // Until the first look at the queue nothing is known of its room.
    await eventually(() => relay.take("ledger", 100));
    assert.equal(relay.take("ledger", 101), false, "more than the window has room for");
    const writer = rig.writer(0, relay);
    await writer.checkpoint();
    relay.wake(["ledger"]);
    await eventually(() => relay.take("ledger", 8));
    const { handed } = await writer.record(chain.extend(names));
    assert.deepEqual([handed.length, await sentTo(), total(await counts())], [8, 8, 0]);
    assert.deepEqual([...new Set((await rig.deliveries()).map(({ state, sends }) => `${state} ${sends}`))], ["sent 1"]);
    relay.add(handed);
    await eventually(async () => total(await counts()) === 8);
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(await rig.sums(), await rig.trueSums());
  });

  it("adds at once what another listener stored as sent and did not live to add", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const { chain, names } = busy(150);
    await (await beside(1_000)).record(chain.extend(names));
    assert.equal(await sentTo(), 150);
    rig.startRelay({ resendAfter: 600_000, window: 1_000 });
    await eventually(async () => total(await counts()) === 150);
    await rig.startWorkers();
    await rig.settled();
    assert.equal((await rig.calls()).length, 150);
  });

  it("has no more jobs than the window of what was stored as sent, however much that is", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const { chain, names } = busy(60);
    const { handed } = await (await beside(0)).record(chain.extend(names));
    assert.deepEqual([handed.length, (await sent()).length, await sentTo()], [0, 60, 0]);
    const relay = rig.startRelay({ window: 10, resendAfter: 20 });
    await eventually(async () => total(await counts()) === 10);
    await rig.db.query("update deliveries set state = 'done' where chain_id = $1 and position <= 5", [rig.chainId]);
    relay.wake(["ledger"]);
    await eventually(async () => total(await counts()) === 15);
    assert.equal(await sentTo(), 15);
    // Nothing behind it is taken for lost, though it was stored as sent long ago.
    await rig.db.query("update deliveries set sent_at = now() - interval '1 hour' where chain_id = $1 and position > 5", [rig.chainId]);
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual([...new Set((await rig.deliveries()).map(({ sends }) => sends))], [1]);
    assert.equal((await rig.calls()).length, 55);
  });

  it("has what comes after a revert wait for it, room or not", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const chain = scriptedChain("a1 a2")
      .logs("a2", [added(1, 2)])
      .forkAt("a1", "b2 b3")
      .logs("b2", [added(1, 3)])
      .logs("b3", [added(1, 4)]);
    const writer = await beside(1_000);
    await writer.record(chain.extend("a1 a2"));
    await writer.record(chain.reorg("a1", "a2"));
    const { handed } = await writer.record(chain.extend("b2"));
    assert.deepEqual(handed, []);
    assert.deepEqual(await rig.states("ledger"), ["1 apply 1 sent", "2 revert 1 pending", "3 apply 2 pending"]);
    rig.startRelay({ resendAfter: 600_000 });
    await rig.startWorkers();
    await rig.settled();
    // With the revert done the way is free.
    assert.equal((await writer.record(chain.extend("b3"))).handed.length, 1);
    assert.equal(await sentTo(), 4);
  });

  it("has what comes while a queue is rebuilt wait for it, room or not", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const { chain } = busy(2);
    const writer = await beside(1_000);
    await writer.record(chain.extend("a1"));
    await transaction(rig.db, async tx => {
      await lockQueue(tx, rig.chainId, "ledger");
      assert.deepEqual((await writer.record(chain.extend("a2"))).handed, []);
    });
    assert.deepEqual(await rig.states("ledger"), ["1 apply 1 sent", "2 apply 2 pending"]);
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(await rig.sums(), await rig.trueSums());
  });

  it("takes back into the order of its key what was stored as sent before the route had one", async () => {
    await open(meterApp(ledgerRoute(ledger(), byAccount as object)));
    const { chain, names } = busy(6, 2);
    await (await beside(0)).record(chain.extend(names));
    rig.startRelay({ window: 10, resendAfter: 600_000 });
    await eventually(async () => (await sent()).length === 2);
    assert.deepEqual(
      (await sent()).map(({ position }) => position),
      [1, 2],
    );
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(await rig.sums(), await rig.trueSums());
  });
});
