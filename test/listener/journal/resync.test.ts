import assert from "node:assert/strict";
import { afterEach, it } from "node:test";
import type { ChainIdentity } from "../../../listener/chain/identity.ts";
import { LeaseLostError, ReorgPastFinalityError, SluiceError } from "../../../listener/errors.ts";
import { HaltedError, halt, readHalted } from "../../../listener/journal/halt.ts";
import { openJournal } from "../../../listener/journal/journal.ts";
import { acquireLease } from "../../../listener/journal/lease.ts";
import { planResync, resync } from "../../../listener/journal/resync.ts";
import { readStatus } from "../../../listener/journal/status.ts";
import { assertAudit } from "../../support/audit.ts";
import { entriesApp } from "../../support/entries.ts";
import { follower } from "../../support/follower.ts";
import { contractsOf, rowsOf } from "../../support/journal.ts";
import { added, taskRoute } from "../../support/meter.ts";
import { onBothBackends, openRig, type Rig } from "../../support/rig.ts";
import { nameOf, type ScriptedChain, scriptedChain } from "../../support/scripted-chain.ts";
import { silent } from "../../support/silent.ts";

onBothBackends("resync", kind => {
  let rig: Rig;
  let ran: string[];
  afterEach(() => rig.close());

  const app = entriesApp(
    undefined,
    taskRoute(async (_, { key }) => void ran.push(key)),
  );
  const identity = (): ChainIdentity => ({ chainId: rig.chainId, genesis: "0x00", instance: undefined, development: true });
  const context = (chain: ScriptedChain) => ({ db: rig.db, app, source: chain.source, identity: identity() });
  const names = async () =>
    (await rowsOf<{ hash: string }>(rig.db, rig.chainId, "select hash from blocks where chain_id = $1 order by number")).map(b =>
      nameOf(b.hash),
    );

  /** A writer that follows the chain from what the journal holds until there is nothing more. */
  async function follow(chain: ScriptedChain): Promise<void> {
    const { rows } = await rig.db.query<{ epoch: number }>("update checkpoint set epoch = epoch + 1 where chain_id = $1 returning epoch", [
      rig.chainId,
    ]);
    const journal = openJournal({ db: rig.db, chainId: rig.chainId, epoch: rows[0]!.epoch, app, contracts: contractsOf(app) });
    const following = follower(chain, await journal.checkpoint(), update => journal.record(update));
    for (let looks = 1; looks <= 3; looks++) await following.look();
  }

  /** Six blocks with an event in each, of which the first four are final; everything delivered. */
  async function settled(): Promise<ScriptedChain> {
    ran = [];
    rig = await openRig(kind, app);
    const chain = scriptedChain("a1 a2 a3 a4 a5 a6").final("a4");
    for (const n of [1, 2, 3, 4, 5, 6]) chain.logs(`a${n}`, [added(n, n)]);
    await follow(chain);
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    await assertAudit(rig, app, chain);
    return chain;
  }
  const haltBy = async (chain: ScriptedChain) => {
    const error = await follow(chain).then(
      () => assert.fail("it was not found"),
      e => e as ReorgPastFinalityError,
    );
    assert.ok(error instanceof ReorgPastFinalityError);
    await halt(rig.db, rig.chainId, { error });
    return error;
  };

  it("takes back what was final and is not the chain's any more, and reads it again", async () => {
    const chain = await settled();
    assert.equal(ran.length, 4);
    chain.forkAt("a2", "b3 b4 b5 b6 b7").final("b5");
    for (const n of [3, 5, 7]) chain.logs(`b${n}`, [added(n, 10 * n)]);
    const { block } = await haltBy(chain);
    assert.equal(block, 4);
    assert.deepEqual((await readStatus(rig.db, rig.chainId)).halted?.block, 4);

    const plan = await planResync(context(chain));
    const { from, events, ran: already } = plan;
    assert.deepEqual([from, events, already, plan.ancestor?.hash], [3, 4, 2, chain.ref("a2").hash]);
    await resync(rig.db, context(chain), plan);
    assert.deepEqual(await names(), ["a2"]);
    const status = await readStatus(rig.db, rig.chainId);
    assert.deepEqual([status.halted, status.tip, status.finalized], [null, chain.ref("a2"), chain.ref("a2")]);
    await follow(chain);
    await rig.settled();
    assert.deepEqual(await names(), ["b5", "b6", "b7"]);
    await assertAudit(rig, app, chain);
    assert.deepEqual(
      ran
        .slice(4)
        .map(key => nameOf(key.split("-")[1]!))
        .sort(),
      ["b3", "b5"],
      "what became final anew ran under keys of its own",
    );
  });

  it("runs no task for an event that was taken back before its turn", async () => {
    ran = [];
    rig = await openRig(kind, app);
    const chain = scriptedChain("a1 a2 a3 a4").final("a4");
    for (const n of [1, 2, 3, 4]) chain.logs(`a${n}`, [added(n, n)]);
    await follow(chain);
    chain
      .forkAt("a2", "b3 b4 b5")
      .final("b4")
      .logs("b4", [added(9, 9)]);
    await haltBy(chain);
    const plan = await planResync(context(chain));
    assert.equal(plan.ran, 0);
    await resync(rig.db, context(chain), plan);
    await follow(chain);
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(ran.map(key => nameOf(key.split("-")[1]!)).sort(), ["a1", "a2", "b4"]);
    await assertAudit(rig, app, chain);
  });

  it("begins anew on a chain that has nothing of the journal's", async () => {
    await settled();
    const other = scriptedChain("c1 c2 c3")
      .final("c2")
      .logs("c2", [added(1, 100)]);
    const moved = { ...context(other), identity: { ...identity(), genesis: "0x99", instance: "two" } };
    const plan = await planResync(moved);
    assert.deepEqual([plan.from, plan.ancestor, plan.events], [1, undefined, 6]);
    await resync(rig.db, moved, plan);
    await follow(other);
    await rig.settled();
    assert.deepEqual(await names(), ["c2", "c3"]);
    await assertAudit(rig, app, other);
    const rows = await rowsOf(rig.db, rig.chainId, "select genesis_hash, instance from checkpoint where chain_id = $1");
    assert.deepEqual(rows, [{ genesis_hash: "0x99", instance: "two" }]);
  });

  it("takes back an event that the chain has now, in a final block of which the journal held nothing", async () => {
    ran = [];
    rig = await openRig(kind, app);
    const chain = scriptedChain("a1 a2 a3 a4 a5 a6")
      .final("a5")
      .logs("a1", [added(1, 1)])
      .logs("a6", [added(6, 6)]);
    await follow(chain);
    chain
      .forkAt("a2", "b3 b4 b5 b6")
      .final("b6")
      .logs("b3", [added(3, 3)]);
    // The blocks below the finalized one are not known by their hashes any more.
    const plan = await planResync(context(chain));
    assert.equal(plan.from, 3);
    await assert.rejects(planResync(context(chain), 5), SluiceError, "block 4 is not the one that was followed");
    assert.equal((await planResync(context(chain), 2)).from, 2);
    await resync(rig.db, context(chain), plan);
    await follow(chain);
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    await assertAudit(rig, app, chain);
  });

  it("finds nothing to take back where the chain holds the journal again, and lifts the halt", async () => {
    const chain = await settled();
    chain.forkAt("a2", "b3 b4 b5 b6 b7");
    await haltBy(chain);
    chain.switchTo("a6").grow("a7");
    const plan = await planResync(context(chain));
    assert.deepEqual([plan.from, plan.events], [7, 0]);
    await resync(rig.db, context(chain), plan);
    assert.equal(await readHalted(rig.db, rig.chainId), null);
    await follow(chain);
    await rig.settled();
    await assertAudit(rig, app, chain);
  });

  it("is refused while a listener writes, and where the journal moved since it was planned", async () => {
    const chain = await settled();
    const plan = await planResync(context(chain), 3);
    const stop = new AbortController();
    const lease = await acquireLease({
      db: rig.db,
      chainId: rig.chainId,
      writer: "one",
      duration: 60_000,
      log: silent,
      signal: stop.signal,
    });
    await assert.rejects(resync(rig.db, context(chain), plan), SluiceError);
    await lease.release();
    stop.abort();
    chain.grow("a7");
    await follow(chain);
    await assert.rejects(resync(rig.db, context(chain), plan), SluiceError);
    assert.equal((await readStatus(rig.db, rig.chainId)).tip?.number, 7);
  });

  it("keeps every writer from writing while it is halted", async () => {
    const chain = await settled();
    const stop = new AbortController();
    const ask = (writer: string, duration = 60_000) =>
      acquireLease({ db: rig.db, chainId: rig.chainId, writer, duration, log: silent, signal: stop.signal });
    const one = await ask("one");
    const { epoch } = one;
    const journal = rig.writer(epoch);
    await journal.checkpoint();
    const standby = assert.rejects(ask("two", 600), HaltedError);
    const error = new ReorgPastFinalityError("gone", 4);
    await halt(rig.db, rig.chainId, { error });
    assert.equal(await readHalted(rig.db, rig.chainId), null, "one who does not lead halts nobody who does");
    await halt(rig.db, rig.chainId, { error, epoch: epoch - 1 });
    assert.equal(await readHalted(rig.db, rig.chainId), null, "nor does one who led before");
    await halt(rig.db, rig.chainId, { error, epoch });
    await assert.rejects(journal.record(chain.grow("a7").extend("a7")), LeaseLostError);
    await assert.rejects(ask("three"), HaltedError);
    await standby;
    await one.release();
    stop.abort();
  });
});
