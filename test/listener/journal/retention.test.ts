import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { prunedQueuesOf } from "../../../listener/api/deliveries.ts";
import type { App } from "../../../listener/app.ts";
import { SCHEMA, transaction } from "../../../listener/db.ts";
import { audit } from "../../../listener/journal/audit.ts";
import { AUDIT_SCHEMA } from "../../../listener/journal/audit-shadow.ts";
import { openJournal } from "../../../listener/journal/journal.ts";
import { planResync, resync } from "../../../listener/journal/resync.ts";
import { prune } from "../../../listener/journal/retention.ts";
import { countDeliveries } from "../../../listener/journal/status.ts";
import { retryDeadLetters } from "../../../listener/worker/dead-letters.ts";
import { rebuild } from "../../../listener/worker/rebuild.ts";
import { replay } from "../../../listener/worker/replay.ts";
import { assertAudit } from "../../support/audit.ts";
import { entries, entriesApp } from "../../support/entries.ts";
import { follower } from "../../support/follower.ts";
import { contractsOf, rowsOf } from "../../support/journal.ts";
import { added, meterApp, named, taskRoute } from "../../support/meter.ts";
import { openRig, type Rig } from "../../support/rig.ts";
import { type ScriptedChain, scriptedChain } from "../../support/scripted-chain.ts";
import { stubRpc } from "../../support/stub-rpc.ts";

describe("retention", () => {
  let rig: Rig;
  let ran: number[];
  afterEach(() => rig.close());

  const task = taskRoute(async event => void ran.push(event.position));
  let calls: string[] = [];
  const app = entriesApp((operation, events) => void calls.push(...events.map(({ position }) => `${operation} ${position}`)), task);
  const EVERYTHING = "select * from entries where chain_id = $1 order by position";
  const BLOCKS = [1, 2, 3, 4, 5, 6, 7, 8];

  async function follow(chain: ScriptedChain, of: App = app): Promise<void> {
    const { rows } = await rig.db.query<{ epoch: number }>("update checkpoint set epoch = epoch + 1 where chain_id = $1 returning epoch", [
      rig.chainId,
    ]);
    const journal = openJournal({ db: rig.db, chainId: rig.chainId, epoch: rows[0]!.epoch, app: of, contracts: contractsOf(of) });
    const following = follower(chain, await journal.checkpoint(), update => journal.record(update));
    await journal.fillQueues();
    for (let looks = 1; looks <= 3; looks++) await following.look();
  }

  /** Eight blocks with two events in each, of which the first six are final; everything delivered. */
  async function settled(of: App = app): Promise<ScriptedChain> {
    ran = [];
    rig = await openRig("postgres", of);
    const chain = scriptedChain(BLOCKS.map(n => `a${n}`).join(" ")).final("a6");
    for (const n of BLOCKS) chain.logs(`a${n}`, [added(n % 3, n), named(n, `name ${n}`)]);
    await follow(chain, of);
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    return chain;
  }
  const pruned = (of: App = app) =>
    prune({ db: rig.db, app: of, chainId: rig.chainId, retention: 0, atOnce: { deliveries: 2, events: 4 } });
  const blocksHeld = async (queue: string) =>
    (
      await rowsOf<{ block: number }>(
        rig.db,
        rig.chainId,
        `select distinct e.block_number as block from deliveries d join events e on e.chain_id = d.chain_id and e.position = any(d.events)
         where d.chain_id = $1 and d.queue = '${queue}' order by 1`,
      )
    ).map(({ block }) => block);
  const auditing = (chain: ScriptedChain, of: App = app) => ({
    db: rig.db,
    rpc: stubRpc({}),
    source: chain.source,
    app: of,
    chainId: rig.chainId,
    contracts: contractsOf(of),
  });

  it("removes in steps what is done, final, audited and old enough, and nothing else; the counts stay", async () => {
    const chain = await settled();
    const before = await countDeliveries(rig.db, rig.chainId);
    assert.equal(await pruned(), 0, "nothing was audited yet");
    await assertAudit(rig, app, chain);
    assert.equal(await prune({ db: rig.db, app, chainId: rig.chainId, retention: 3_600_000 }), 0, "nothing is an hour old");
    const held = (await rig.deliveries()).length;
    const removed = await pruned();
    assert.ok(removed > 0);
    assert.equal((await rig.deliveries()).length, held - removed);
    assert.deepEqual(await blocksHeld("named"), [7, 8]);
    assert.deepEqual(await blocksHeld("tasks"), []);
    assert.deepEqual(await countDeliveries(rig.db, rig.chainId), before);
    assert.equal(await pruned(), 0);
    await assertAudit(rig, app, chain);
  });

  it("delivers nothing twice when listeners start again, whatever their routes gained and lost meanwhile", async () => {
    const part = meterApp({ queue: "added", events: ["Meter.Added"], projection: entries(), batch: 3 });
    const whole = meterApp({ queue: "added", events: ["Meter.Added", "Meter.Named"], projection: entries(), batch: 3 } as never);
    const chain = await settled(part);
    await assertAudit(rig, part, chain);
    assert.ok((await pruned(part)) > 0);
    const before = await rig.deliveries();
    await follow(chain, part);
    assert.deepEqual(await rig.deliveries(), before);

    // What the route gains, it gets from the beginning; what it had, it does not get again.
    await follow(chain, whole);
    const gained = (await rig.deliveries()).slice(before.length);
    const names = await rowsOf<{ name: string; position: number }>(
      rig.db,
      rig.chainId,
      "select name, position from events where chain_id = $1",
    );
    const named = names.filter(({ name }) => name === "Named").map(({ position }) => position);
    assert.deepEqual(
      gained.flatMap(({ events }) => events).sort((a, b) => a - b),
      named.sort((a, b) => a - b),
    );
    await rig.startWorkers({ app: whole });
    await rig.settled();
    await assertAudit(rig, whole, chain);
    assert.ok((await pruned(whole)) > 0);
    await assertAudit(rig, whole, chain);
    assert.equal((await rowsOf(rig.db, rig.chainId, EVERYTHING)).length, 2 * BLOCKS.length);

    // An event that leaves the route and comes back is not delivered again either.
    const held = await rig.deliveries();
    await follow(chain, part);
    await follow(chain, whole);
    assert.deepEqual(await rig.deliveries(), held);
  });

  it("still finds a wrong row, and builds the audit's shadow anew from what was pruned", async () => {
    const chain = await settled();
    await assertAudit(rig, app, chain);
    await pruned();
    for (const table of ["entries", "totals"]) await rig.db.query(`drop table ${AUDIT_SCHEMA}.${table}`);
    await assertAudit(rig, app, chain);
    await rig.db.query(`update ${SCHEMA}.entries set amount = amount + 1 where chain_id = $1 and position = 1`, [rig.chainId]);
    const found = (await audit(auditing(chain))).failures.map(({ invariant }) => invariant);
    assert.ok(found.includes("I10"), `${found}`);
    await rig.db.query(`update ${SCHEMA}.entries set amount = amount - 1 where chain_id = $1 and position = 1`, [rig.chainId]);
    await rig.db.query(
      "delete from deliveries where chain_id = $1 and queue = 'named' and position = (select max(position) from deliveries where queue = 'named')",
      [rig.chainId],
    );
    const missing = (await audit(auditing(chain))).failures.map(({ invariant }) => invariant);
    assert.ok(missing.includes("I5") && missing.includes("I15"), `${missing}`);
  });

  it("replays and rebuilds what was pruned, once", async () => {
    const chain = await settled();
    await assertAudit(rig, app, chain);
    await pruned();
    const before = await rowsOf(rig.db, rig.chainId, EVERYTHING);
    const route = (queue: string) => app.routes.find(one => one.queue === queue)!;
    const again = await replay({ db: rig.db, app, chainId: rig.chainId }, route("added"));
    assert.deepEqual([again.events, again.undelivered], [8, 0]);
    const tasks = await replay({ db: rig.db, app, chainId: rig.chainId }, route("tasks"), { toBlock: 6 });
    assert.deepEqual([tasks.events, tasks.undelivered], [6, 0]);
    calls = [];
    await rig.settled();
    assert.ok(calls.includes("revert 1") && calls.includes("apply 1"), "what was pruned was taken back and applied again");
    assert.deepEqual(await rowsOf(rig.db, rig.chainId, EVERYTHING), before);
    assert.equal(ran.length, 12);
    assert.deepEqual((await audit(auditing(chain))).failures, []);
    await pruned();
    assert.deepEqual((await audit(auditing(chain))).failures, []);

    const { queues } = await rebuild({ db: rig.db, app, chainId: rig.chainId }, "entries");
    assert.deepEqual([queues.added!.events, queues.named!.events], [8, 8]);
    await rig.settled();
    assert.deepEqual(await rowsOf(rig.db, rig.chainId, EVERYTHING), before);
    await assertAudit(rig, app, chain);
  });

  it("takes back what was pruned when its blocks turn out not to be the chain's", async () => {
    const chain = await settled();
    await assertAudit(rig, app, chain);
    await pruned();
    const identity = { chainId: rig.chainId, genesis: "0x00", instance: undefined, development: true };
    chain.forkAt("a2", "b3 b4 b5 b6 b7 b8 b9").final("b7");
    for (const n of [3, 5, 8]) chain.logs(`b${n}`, [added(n, 10 * n)]);
    const counts = await countDeliveries(rig.db, rig.chainId);
    const plan = await planResync({ db: rig.db, app, source: chain.source, identity }, 3);
    assert.deepEqual([plan.from, plan.events, plan.ran], [3, 12, 4]);
    await resync(rig.db, { app, identity }, plan);
    assert.deepEqual(
      Object.entries(await countDeliveries(rig.db, rig.chainId)).map(([queue, { done }]) => [queue, done]),
      Object.entries(counts).map(([queue, { done }]) => [queue, done]),
    );
    await follow(chain);
    await rig.settled();
    await assertAudit(rig, app, chain);
    assert.deepEqual(
      (await rowsOf<{ amount: bigint }>(rig.db, rig.chainId, EVERYTHING)).map(({ amount }) => amount).sort(),
      [1n, 1n, 1n, 2n, 30n, 50n, 80n].sort(),
    );
    await pruned();
    await assertAudit(rig, app, chain);
  });

  it("keeps a dead letter, does not take it for done, and runs it once when it is retried", async () => {
    const chain = await settled();
    await assertAudit(rig, app, chain);
    await rig.db.query("update deliveries set state = 'dead' where chain_id = $1 and queue = 'tasks' and last_event = 5", [rig.chainId]);
    assert.ok((await pruned()) > 0);
    assert.deepEqual(await rig.states("tasks"), ["3 run 5 dead"]);
    const queues = async (position: number) => prunedQueuesOf(rig.db, rig.chainId, [position]);
    assert.deepEqual(await queues(3), ["added", "tasks"]);
    assert.deepEqual(await queues(5), ["added"]);
    const wrong = (await audit(auditing(chain))).failures.map(({ what, found }) => `${what}: ${found}`);
    assert.deepEqual(wrong, ["net effect of event 5 in queue tasks: 0"]);

    ran = [];
    await transaction(rig.db, tx => retryDeadLetters(tx, rig.chainId, { queue: "tasks" }));
    await rig.settled();
    assert.deepEqual(ran, [5]);
    assert.deepEqual(await pruned(), 1);
    await assertAudit(rig, app, chain);
  });

  it("lets the way there and the way back of what a reorg took go, and never leaves the former alone", async () => {
    const chain = await settled();
    chain.forkAt("a7", "b8 b9 b10 b11").final("b10");
    await follow(chain);
    await rig.settled();
    await assertAudit(rig, app, chain);
    const taken = () => rig.states("named").then(states => states.filter(state => / 16 /.test(state)).map(state => state.split(" ")[1]));
    const done = (operation: string, at: string) =>
      rig.db.query(`update deliveries set done_at = ${at} where chain_id = $1 and queue = 'named' and last_event = 16 and operation = $2`, [
        rig.chainId,
        operation,
      ]);
    assert.deepEqual(await taken(), ["apply", "revert"]);
    for (const kept of ["apply", "revert"]) {
      await done(kept, "now() + interval '1 hour'");
      await pruned();
      assert.deepEqual(await taken(), ["apply", "revert"], `the ${kept} is not old`);
      await assertAudit(rig, app, chain);
      await done(kept, "now() - interval '1 hour'");
    }
    await pruned();
    assert.deepEqual(await taken(), []);
    await assertAudit(rig, app, chain);
    assert.deepEqual(await prunedQueuesOf(rig.db, rig.chainId, [16]), []);
  });

  it("waits for the audit's shadow of a projection", async () => {
    const chain = await settled();
    await assertAudit(rig, app, chain);
    await rig.db.query("update audited set position = 2 where chain_id = $1 and queue = 'named'", [rig.chainId]);
    await pruned();
    assert.deepEqual(await blocksHeld("named"), [3, 4, 5, 6, 7, 8]);
  });

  it("stops before an event that a queue has yet to get", async () => {
    const chain = await settled();
    await assertAudit(rig, app, chain);
    // As after a start that was cut short while it filled the queue.
    await rig.db.query("delete from deliveries where chain_id = $1 and queue = 'tasks' and last_event = 5", [rig.chainId]);
    await pruned();
    assert.deepEqual(
      (await rig.deliveries("tasks")).map(({ events }) => events[0]),
      [7, 9, 11],
    );
    await rig.db.query("update queues set events = '{}' where chain_id = $1 and queue = 'tasks'", [rig.chainId]);
    ran = [];
    await follow(chain);
    await rig.settled();
    assert.deepEqual(ran, [5]);
  });
});
