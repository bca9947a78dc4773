import assert from "node:assert/strict";
import { afterEach, it } from "node:test";
import type { App, Route } from "../../../listener/app.ts";
import { SluiceError } from "../../../listener/errors.ts";
import { chooseEvent } from "../../../listener/worker/event-choice.ts";
import { type ReplayChoice, replay } from "../../../listener/worker/replay.ts";
import { assertAudit } from "../../support/audit.ts";
import { entries } from "../../support/entries.ts";
import { eventually } from "../../support/eventually.ts";
import { added, ledger, ledgerRoute, meterApp, named, taskRoute } from "../../support/meter.ts";
import { onBothBackends, openRig, type Rig } from "../../support/rig.ts";
import { scriptedChain } from "../../support/scripted-chain.ts";

onBothBackends("replay", kind => {
  let rig: Rig;
  let app: App;
  afterEach(() => rig.close());
  const open = async (given: App) => {
    app = given;
    rig = await openRig(kind, app);
  };
  const again = (choice: ReplayChoice = {}, dryRun = false) =>
    replay({ db: rig.db, app, chainId: rig.chainId, dryRun }, app.routes[0]!, choice);
  const three = () =>
    scriptedChain("a1 a2 a3")
      .logs("a1", [added(1, 1)])
      .logs("a2", [added(2, 2), named(2, "two")])
      .logs("a3", [added(3, 3)]);

  it("takes each event back and applies it again, by block, by name and by id", async () => {
    await open(meterApp(ledgerRoute(ledger(), { batch: 10 })));
    const chain = three();
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2 a3"));
    await rig.settled();
    const sums = await rig.sums();
    const named = { queue: "ledger", deliveries: 1, open: 0, dead: 0, undelivered: 0 };
    assert.deepEqual(await again({ fromBlock: 2, toBlock: 3 }), { ...named, events: 2 });
    await rig.settled();
    assert.deepEqual(await rig.calls(), ["apply 1,2,4", "revert 4,2", "apply 2,4"]);
    const id = chooseEvent(app, rig.chainId, `${rig.chainId}-${chain.ref("a1").hash}-0`);
    assert.deepEqual(await again({ event: id }), { ...named, events: 1 });
    await rig.settled();
    assert.deepEqual((await rig.calls()).slice(3), ["revert 1", "apply 1"]);
    assert.deepEqual(await again({ event: chooseEvent(app, rig.chainId, "Named") }), { ...named, events: 0, deliveries: 0 });
    assert.deepEqual(await rig.sums(), sums);
    await assertAudit(rig, app, chain);
  });

  it("leaves the net effect of each event at one", async () => {
    await open(meterApp({ queue: "entries", events: ["Meter.Added"], projection: entries() } as never));
    const chain = three();
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2 a3"));
    await rig.settled();
    await again();
    await rig.settled();
    assert.deepEqual(
      (await rig.deliveries()).map(({ operation, state }) => `${operation} ${state}`),
      [...Array(3).fill("apply done"), ...Array(3).fill("replay done")],
    );
    await assertAudit(rig, app, chain);
  });

  it("leaves nothing of a replay that fails half-way", async () => {
    let ill = false;
    const projection = entries((operation, events) => {
      if (ill && operation === "apply" && events[0]!.position === 2) throw new Error("ill between revert and apply");
    });
    await open(meterApp({ queue: "entries", events: ["Meter.Added"], projection, attempts: 1 } as never));
    const chain = three();
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2 a3"));
    await rig.settled();
    ill = true;
    await again();
    await rig.settled();
    assert.deepEqual(
      (await rig.deliveries()).filter(({ state }) => state === "dead").map(({ operation, events }) => [operation, events]),
      [["replay", [2]]],
    );
    await assertAudit(rig, app, chain);
  });

  it("passes by what a reorg takes while the replay waits or runs", async () => {
    let release = () => {};
    const gate = new Promise<void>(resolve => {
      release = resolve;
    });
    let reverts = 0;
    const projection = entries(operation => {
      if (operation === "revert") reverts += 1;
      return operation === "revert" && reverts === 1 ? gate : undefined;
    });
    await open(meterApp({ queue: "entries", events: ["Meter.Added"], projection, concurrency: 1 } as never));
    const chain = three();
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2 a3"));
    await rig.settled();
    assert.equal((await again()).events, 3);
    // The first replay is in the middle of it, the others wait, and two of the three events go.
    await eventually(() => reverts === 1);
    await rig.record(
      chain
        .forkAt("a1", "b2")
        .logs("b2", [added(2, 20)])
        .reorg("a1", "a3 a2"),
    );
    await rig.record(chain.extend("b2"));
    release();
    await rig.settled();
    assert.deepEqual(
      (await rig.deliveries()).filter(({ operation }) => operation === "replay").map(({ events }) => events),
      [[1], [], []],
    );
    await assertAudit(rig, app, chain);
  });

  it("stays right when replays, reorgs and workers meet in any order", async () => {
    await open(meterApp({ queue: "entries", events: ["Meter.Added"], projection: entries(), batch: 3 } as never));
    const chain = scriptedChain("a1").logs("a1", [added(1, 1), added(2, 2)]);
    rig.startRelay();
    await rig.startWorkers();
    await rig.startWorkers();
    await rig.record(chain.extend("a1"));
    await rig.settled();
    for (let round = 0; round < 12; round++) {
      const [two, next] = [`${"bcdefghijklm"[round]}2`, `${"bcdefghijklm"[round]}3`];
      chain
        .forkAt("a1", `${two} ${next}`)
        .logs(two, [added(3, round), added(4, 1)])
        .logs(next, [added(5, 5)]);
      await Promise.all([again(), rig.record(chain.extend(`${two} ${next}`))]);
      if (round === 11) break;
      await Promise.all([again({ fromBlock: 2 }), rig.record(chain.reorg("a1", `${next} ${two}`))]);
    }
    await rig.settled();
    assert.ok(
      (await rig.deliveries()).some(({ operation, events }) => operation === "replay" && events.length > 0),
      "nothing was replayed",
    );
    assert.deepEqual(
      (await rig.deliveries()).filter(({ state }) => state === "dead"),
      [],
    );
    await assertAudit(rig, app, chain);
  });

  it("runs a task once more under the same key, and holds up no new one meanwhile", async () => {
    const runs: { key: string; position: number }[] = [];
    let ill = false;
    await open(
      meterApp(
        taskRoute(async (event, { key }) => {
          if (ill && event.position === 1) throw new Error("the receiver is away");
          runs.push({ key, position: event.position });
        }),
      ),
    );
    const chain = three();
    rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2 a3"));
    await rig.record(chain.finalize("a2"));
    await rig.settled();
    const first = runs.splice(0);
    ill = true;
    assert.deepEqual(await again(), { queue: "tasks", events: 2, deliveries: 2, open: 0, dead: 0, undelivered: 1 });
    assert.deepEqual(await again({ toBlock: 1 }), { queue: "tasks", events: 0, deliveries: 0, open: 1, dead: 0, undelivered: 0 });
    await rig.record(chain.finalize("a3"));
    await eventually(() => runs.some(({ position }) => position === 4), { what: "the new event is not held up" });
    ill = false;
    await rig.settled();
    const key = (position: number) => runs.find(run => run.position === position)?.key;
    for (const run of first) assert.equal(key(run.position), run.key);
    assert.equal(runs.length, 3);
    await assertAudit(rig, app, chain);
  });

  it("replays neither what is open nor what is dead", async () => {
    await open(
      meterApp(
        ledgerRoute(
          ledger({
            before(_, [event]) {
              if (event!.position === 1) throw new Error("poison");
            },
          }),
          { attempts: 1 },
        ),
      ),
    );
    const chain = three();
    const relay = rig.startRelay();
    await rig.startWorkers();
    await rig.record(chain.extend("a1 a2"));
    await rig.settled();
    await relay.end();
    await rig.record(chain.extend("a3"));
    const before = await rig.deliveries();
    assert.deepEqual(await again({}, true), { queue: "ledger", events: 1, deliveries: 1, open: 1, dead: 1, undelivered: 0 });
    assert.deepEqual(await rig.deliveries(), before, "a dry run changed something");
  });

  it("refuses a projection that is fed in order", async () => {
    const orderBy = (event: { arguments: { who: string } }) => event.arguments.who;
    await open(meterApp(ledgerRoute(ledger(), { orderBy } as never as Partial<Route>)));
    await assert.rejects(again(), SluiceError);
  });
});
