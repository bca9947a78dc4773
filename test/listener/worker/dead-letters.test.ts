import assert from "node:assert/strict";
import { afterEach, it } from "node:test";
import type { App, Route } from "../../../listener/app.ts";
import { transaction } from "../../../listener/db.ts";
import { SluiceError } from "../../../listener/errors.ts";
import { listDeadLetters, retryDeadLetters } from "../../../listener/worker/dead-letters.ts";
import { chooseEvent } from "../../../listener/worker/event-choice.ts";
import { assertAudit } from "../../support/audit.ts";
import { eventually } from "../../support/eventually.ts";
import { added, ledger, ledgerRoute, meterApp, named, truncated } from "../../support/meter.ts";
import { onBothBackends, openRig, type Rig } from "../../support/rig.ts";
import { scriptedChain } from "../../support/scripted-chain.ts";

const byAccount = { orderBy: (event: { arguments: { who: string } }) => event.arguments.who } as never as Partial<Route>;

onBothBackends("dead letters", kind => {
  let rig: Rig;
  afterEach(() => rig.close());
  let app: App;
  const open = async (given: App) => {
    app = given;
    rig = await openRig(kind, app);
  };
  const retry = (choice = {}) => transaction(rig.db, tx => retryDeadLetters(tx, rig.chainId, choice));

  /** A ledger that refuses the events at these positions while it is ill. */
  function fragile(...bad: number[]) {
    const state = { ill: true };
    const projection = ledger({
      before(operation, events) {
        if (state.ill && operation === "apply" && events.some(({ position }) => bad.includes(position))) throw new Error("ill\nand more");
      },
    });
    return { state, projection };
  }

  it("says which events, why and with which stack, and the raw log of one that cannot be decoded", async () => {
    await open(meterApp(ledgerRoute(fragile(1).projection, { attempts: 1 })));
    const chain = scriptedChain("a1 a2")
      .logs("a1", [added(1, 10), truncated(2)])
      .logs("a2", [added(3, 1)]);
    await rig.record(chain.extend("a1 a2"));
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    const letters = await listDeadLetters(rig.db, rig.chainId);
    assert.deepEqual(
      letters.map(({ position, operation, attempts, events }) => [
        position,
        operation,
        attempts,
        events.map(e => [e.name, e.block, e.live]),
      ]),
      [
        [1, "apply", 1, [["Meter.Added", 1, true]]],
        [2, "apply", 0, [["Meter.Added", 1, true]]],
      ],
    );
    assert.equal(letters[0]!.reason, "ill and more");
    assert.match(letters[0]!.lastError!, /\n\s+at /);
    assert.equal(letters[0]!.events[0]!.raw, null);
    assert.equal(letters[1]!.events[0]!.raw!.data, "0x01");
    const id = letters[1]!.events[0]!.id;
    const positions = async (choice: object) => (await listDeadLetters(rig.db, rig.chainId, choice)).map(({ position }) => position);
    assert.deepEqual(await positions({ event: chooseEvent(app, rig.chainId, id) }), [2]);
    assert.deepEqual(await positions({ event: chooseEvent(app, rig.chainId, "Added") }), [1, 2]);
    assert.deepEqual(await positions({ event: chooseEvent(app, rig.chainId, "Meter.Named") }), []);
    assert.deepEqual(await positions({ queue: "another" }), []);
    assert.deepEqual(await positions({ limit: 1 }), [1]);
    assert.throws(() => chooseEvent(app, rig.chainId, "Nothing"), SluiceError);
    assert.throws(() => chooseEvent(app, rig.chainId + 1, id), SluiceError);
  });

  it("applies at a retry what is live, and nothing of what a reorg took meanwhile", async () => {
    const { state, projection } = fragile(1, 2);
    await open(meterApp(ledgerRoute(projection, { attempts: 1 })));
    const chain = scriptedChain("a1 a2")
      .logs("a1", [added(1, 10)])
      .logs("a2", [added(2, 5), added(3, 1)]);
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2"));
    await rig.settled();
    await rig.record(chain.switchTo("a1").reorg("a1", "a2"));
    await rig.settled();
    assert.deepEqual(await rig.sums(), {});
    state.ill = false;
    const back = await retry();
    assert.deepEqual(
      back.map(({ position, events }) => [position, events[0]!.live]),
      [
        [1, true],
        [2, false],
      ],
    );
    await rig.settled();
    assert.deepEqual(await rig.sums(), { 1: 10n });
    assert.deepEqual(await rig.calls(), ["apply 3", "revert 3", "apply 1"]);
    assert.equal((await rig.deliveries())[0]!.attempts, 1, "attempts begin anew");
    await assertAudit(rig, app, chain);
  });

  it("takes a retried event back when a reorg comes in the middle of the retry", async () => {
    let release = () => {};
    const gate = new Promise<void>(resolve => {
      release = resolve;
    });
    let tries = 0;
    const projection = ledger({
      before(operation) {
        if (operation !== "apply") return;
        tries += 1;
        if (tries === 1) throw new Error("ill");
        return gate;
      },
    });
    await open(meterApp(ledgerRoute(projection, { attempts: 1 })));
    const chain = scriptedChain("a1 a2").logs("a2", [added(1, 10)]);
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2"));
    await rig.settled();
    await retry({ queue: "ledger", position: 1 });
    await eventually(() => tries === 2);
    await rig.record(chain.switchTo("a1").reorg("a1", "a2"));
    release();
    await rig.settled();
    assert.deepEqual(await rig.calls(), ["apply 1", "revert 1"]);
    assert.deepEqual(await rig.sums(), {});
    await assertAudit(rig, app, chain);
  });

  it("applies a log whose ABI is right by now, and takes it back with its block", async () => {
    await open(meterApp(ledgerRoute(ledger())));
    const chain = scriptedChain("a1 a2").logs("a2", [truncated(1)]);
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2"));
    await rig.db.query("update events set data = $1", [added(1, 7).data]);
    await retry();
    await rig.settled();
    assert.deepEqual(await rig.sums(), { 1: 7n });
    await rig.record(chain.switchTo("a1").reorg("a1", "a2"));
    await rig.settled();
    assert.deepEqual(await rig.sums(), {});
    await assertAudit(rig, app, chain);
  });

  it("releases a parked lane in its order, and no other lane", async () => {
    const { state, projection } = fragile(1, 2);
    await open(meterApp(ledgerRoute(projection, { ...byAccount, attempts: 1 })));
    const chain = scriptedChain("a1").logs(
      "a1",
      Array.from({ length: 12 }, (_, i) => added(i % 2, 1)),
    );
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1"));
    await eventually(async () => (await listDeadLetters(rig.db, rig.chainId)).length === 2);
    state.ill = false;
    await retry({ position: 1, queue: "ledger" });
    await eventually(async () => (await rig.calls()).length === 6);
    assert.deepEqual(
      await rig.calls(),
      [1, 3, 5, 7, 9, 11].map(n => `apply ${n}`),
    );
    await retry();
    await rig.settled();
    assert.deepEqual(
      (await rig.calls()).slice(6),
      [2, 4, 6, 8, 10, 12].map(n => `apply ${n}`),
    );
    await assertAudit(rig, app, chain);
  });

  it("retries nothing but what was chosen and is dead", async () => {
    const { projection } = fragile(1, 2);
    await open(meterApp(ledgerRoute(projection, { attempts: 1 })));
    rig.startRelay();
    await rig.startWorkers();
    const chain = scriptedChain("a1").logs("a1", [added(1, 1), added(2, 1), added(3, 1), named(1, "x")]);
    await rig.record(chain.extend("a1"));
    await rig.settled();
    const before = await rig.deliveries();
    assert.deepEqual(await retry({ queue: "ledger", position: 3 }), []);
    assert.deepEqual(await retry({ queue: "another" }), []);
    assert.deepEqual(await rig.deliveries(), before);
    const id = chooseEvent(meterApp(), rig.chainId, `${rig.chainId}-${chain.ref("a1").hash}-1`);
    assert.deepEqual(
      (await retry({ event: id })).map(({ position }) => position),
      [2],
    );
  });
});
