import assert from "node:assert/strict";
import { test } from "node:test";
import type { App } from "../../../listener/app.ts";
import { follow } from "../../../listener/chain/follow.ts";
import { type Rpc, RpcError } from "../../../listener/chain/rpc.ts";
import { followed } from "../../../listener/commands/listener.ts";
import type { Db } from "../../../listener/db.ts";
import { audit } from "../../../listener/journal/audit.ts";
import { catchUp } from "../../../listener/journal/catch-up.ts";
import { enterChain } from "../../../listener/journal/chains.ts";
import { openJournal } from "../../../listener/journal/journal.ts";
import { settledUpTo } from "../../../listener/journal/settled.ts";
import { hashOf, nameOf } from "../../support/scripted-chain.ts";
import { addressOf, appOf, CHAIN, chainOf, idle, openDatabases, silent, sourceOn } from "./journal-fixture.ts";

const open = await openDatabases();
const identity = { chainId: CHAIN, genesis: hashOf("a0"), instance: undefined, development: false };

const deploymentOf = (contracts: Record<string, [digit: number, block: number]>) => ({
  chainId: CHAIN,
  contracts: Object.fromEntries(Object.entries(contracts).map(([name, [digit, block]]) => [name, { address: addressOf(digit), block }])),
});

/** What a listener does from its start until it has nothing more to do. */
async function listen(db: Db, app: App, contracts: Record<string, [number, number]>, chain: ReturnType<typeof chainOf>): Promise<void> {
  const deployment = deploymentOf(contracts);
  await enterChain(db, chain.rpc, identity, deployment);
  const { rows } = await db.query<{ epoch: number }>("update checkpoint set epoch = epoch + 1 returning epoch");
  const { contracts: at, filter } = followed(app, deployment);
  const journal = openJournal({ db, chainId: CHAIN, epoch: rows[0]!.epoch, app, contracts: at });
  await catchUp({ db, chainId: CHAIN, journal, contracts: at, sourceFor: chain.sourceFor, log: silent });
  const idleNow = new Error("nothing new");
  const source = { ...chain.sourceFor(filter), changed: () => Promise.reject(idleNow) };
  try {
    for await (const update of follow(source, await journal.checkpoint(), silent)) await journal.record(update);
  } catch (error) {
    if (error !== idleNow) throw error;
  }
}

/** How many deliveries there are per queue, live event and operation: `"q a5 A apply 1"`. */
async function coverage(db: Db): Promise<string[]> {
  const { rows } = await db.query<{ queue: string; hash: string; rest: string }>(
    `select d.queue, v.block_hash as hash, concat_ws(' ', v.name, d.operation, count(*)) as rest
     from deliveries d cross join unnest(d.events) as e (position) join events v on v.position = e.position and v.live
     group by d.queue, v.block_hash, v.name, d.operation, v.block_number order by d.queue, v.block_number, v.name, d.operation`,
  );
  return rows.map(({ queue, hash, rest }) => `${queue} ${nameOf(hash)} ${rest}`);
}

/** Everything that was delivered is done, as by a worker, and an audit agrees with the chain. */
async function auditAll(db: Db, app: App, contracts: Record<string, [number, number]>, chain: ReturnType<typeof chainOf>) {
  await db.query("update deliveries set state = 'done' where state in ('pending', 'sent')");
  const { contracts: at, filter } = followed(app, deploymentOf(contracts));
  return (await audit({ db, rpc: chain.rpc, source: chain.sourceFor(filter), app, chainId: CHAIN, contracts: at })).failures;
}

const route = (queue: string, ...events: string[]) => ({ queue, events, projection: idle(queue) });

test("gives a contract that joins later, with a queue of its own, one delivery per event", async () => {
  const chain = chainOf({ 2: ["1 A"], 3: ["2 B"], 5: ["2 B"], 9: ["2 B"] }, { length: 10, final: 6 });
  const before = appOf({ One: ["A"] }, [route("a", "One.A")]);
  const db = await open(before);
  await listen(db, before, { One: [1, 1] }, chain);
  const after = appOf({ One: ["A"], Two: ["B"] }, [route("a", "One.A"), route("b", "Two.B")]);
  const contracts: Record<string, [number, number]> = { One: [1, 1], Two: [2, 3] };
  await listen(db, after, contracts, chain);
  assert.deepEqual(await coverage(db), ["a a2 A apply 1", "b a3 B apply 1", "b a5 B apply 1", "b a9 B apply 1"]);
  assert.deepEqual(await auditAll(db, after, contracts, chain), []);
});

test("gives an event that leaves a route and comes back what it missed, once", async () => {
  const early = chainOf({ 2: ["1 A", "1 B"] }, { length: 3, final: 2 });
  const both = appOf({ One: ["A", "B", "C"] }, [route("q", "One.A", "One.B")]);
  const db = await open(both);
  await listen(db, both, { One: [1, 1] }, early);
  const middle = chainOf({ 2: ["1 A", "1 B"], 4: ["1 A", "1 B"] }, { length: 5, final: 4 });
  await listen(db, appOf({ One: ["A", "B", "C"] }, [route("q", "One.A", "One.C")]), { One: [1, 1] }, middle);
  await listen(db, both, { One: [1, 1] }, middle);
  const late = chainOf({ 2: ["1 A", "1 B"], 4: ["1 A", "1 B"], 6: ["1 A", "1 B"] }, { length: 7, final: 6 });
  await listen(db, appOf({ One: ["A", "B", "C"] }, [route("q", "One.A")]), { One: [1, 1] }, late);
  await listen(db, both, { One: [1, 1] }, late);
  assert.deepEqual(
    await coverage(db),
    ["a2 A", "a2 B", "a4 A", "a4 B", "a6 A", "a6 B"].map(event => `q ${event} apply 1`),
  );
});

test("reads what a contract and an event did while they were not followed", async () => {
  const happenings = { 2: ["1 A", "1 B", "2 A"], 4: ["1 A", "1 B", "2 A"], 6: ["1 A", "1 B", "2 A"] };
  const whole = appOf({ One: ["A", "B"], Two: ["A"] }, [route("one", "One.A", "One.B"), route("two", "Two.A")]);
  const part = appOf({ One: ["A"] }, [route("one", "One.A")]);
  const contracts: Record<string, [number, number]> = { One: [1, 1], Two: [2, 1] };
  const db = await open(whole);
  await listen(db, whole, contracts, chainOf(happenings, { length: 3, final: 2 }));
  await listen(db, part, { One: [1, 1] }, chainOf(happenings, { length: 5, final: 4 }));
  const late = chainOf(happenings, { length: 7, final: 6 });
  await listen(db, whole, contracts, late);
  const numbers = [2, 4, 6];
  assert.deepEqual(await coverage(db), [
    ...numbers.flatMap(n => [`one a${n} A apply 1`, `one a${n} B apply 1`]),
    ...numbers.map(n => `two a${n} A apply 1`),
  ]);
  assert.deepEqual(await auditAll(db, whole, contracts, late), []);
});

test("calls nothing settled that a contract's past, read later, has still to do", async () => {
  const chain = chainOf({ 2: ["1 A"], 3: ["2 B"], 5: ["1 A"] }, { length: 10, final: 6 });
  const before = appOf({ One: ["A"] }, [route("q", "One.A")]);
  const db = await open(before);
  await listen(db, before, { One: [1, 1] }, chain);
  await listen(db, appOf({ One: ["A"], Two: ["B"] }, [route("q", "One.A", "Two.B")]), { One: [1, 1], Two: [2, 1] }, chain);
  const settled = async () => (await settledUpTo(db, CHAIN, ["q"]))?.number;

  await db.query("update deliveries set state = 'done' where first_event = 1");
  assert.equal(await settled(), 2, "block 3 is open, and was journaled after block 5");
  await db.query("update deliveries set state = 'done'");
  assert.equal(await settled(), 10);
});

test("follows an event of a contract only where that contract's ABI has it", async () => {
  const chain = chainOf({ 2: ["1 A", "1 B"], 3: ["2 B"], 8: ["1 B", "2 B"] }, { length: 8, final: 5 });
  const before = appOf({ One: ["A"] }, [route("a", "One.A")]);
  const db = await open(before);
  await listen(db, before, { One: [1, 1] }, chain);
  const after = appOf({ One: ["A"], Two: ["B"] }, [route("a", "One.A"), route("b", "Two.B")]);
  const contracts: Record<string, [number, number]> = { One: [1, 1], Two: [2, 3] };
  await listen(db, after, contracts, chain);
  assert.deepEqual(await auditAll(db, after, contracts, chain), []);
  const gained = appOf({ One: ["A", "B"], Two: ["B"] }, [route("a", "One.A", "One.B"), route("b", "Two.B")]);
  await listen(db, gained, contracts, chain);
  assert.deepEqual(await auditAll(db, gained, contracts, chain), []);
});

test("asks nothing of a new queue for events that a reorg took before it was there", async () => {
  const before = appOf({ One: ["A"] }, [route("a", "One.A")]);
  const db = await open(before);
  await listen(db, before, { One: [1, 1] }, chainOf({ 2: ["1 A"], 4: ["1 A"] }, { length: 4, final: 2 }));
  const chain = chainOf({ 2: ["1 A"], 5: ["1 A"] }, { length: 6, final: 2, branch: "b" });
  const after = appOf({ One: ["A"] }, [route("a", "One.A"), route("b", "One.A")]);
  await listen(db, before, { One: [1, 1] }, chain);
  await listen(db, after, { One: [1, 1] }, chain);
  assert.deepEqual(await auditAll(db, after, { One: [1, 1] }, chain), []);
});

test("believes a log that could not be decoded until its ABI was right", async () => {
  const wrong = (length: number) => `0x${"0".repeat(length)}`;
  const app = appOf({ One: ["A"] }, []);
  const chain = chainOf({ 2: ["1 A"] }, { length: 3, final: 2 });
  const db = await open(app);
  await listen(db, app, { One: [1, 1] }, chain);
  await db.query("update events set arguments = null, error = $1", ["the data has 32 bytes, expected 64"]);
  assert.deepEqual(await auditAll(db, app, { One: [1, 1] }, chain), []);
  await db.query("update events set data = $1", [wrong(64)]);
  assert.equal((await auditAll(db, app, { One: [1, 1] }, chain)).length, 1);
});

test("audits again when a reorg takes the tip away from under it", async () => {
  const app = appOf({ One: ["A"] }, []);
  const before = chainOf({ 2: ["1 A"] }, { length: 4, final: 2 });
  const db = await open(app);
  await listen(db, app, { One: [1, 1] }, before);
  const later = chainOf({ 2: ["1 A"] }, { length: 4, final: 2, branch: "b" });
  let orphaned = false;
  const rpc: Rpc = {
    ...before.rpc,
    call: (...given) => (orphaned ? later : before).rpc.call(...given),
  };
  const { contracts, filter } = followed(app, deploymentOf({ One: [1, 1] }));
  const atTheTip = async () => {
    if (orphaned) return;
    orphaned = true;
    await listen(db, app, { One: [1, 1] }, later);
    throw new RpcError("eth_call", -32_000, "header for hash not found");
  };
  const report = await audit({ db, rpc, source: sourceOn(rpc, filter), app: { ...app, audits: [atTheTip] }, chainId: CHAIN, contracts });
  assert.equal(report.ok, true);
});
