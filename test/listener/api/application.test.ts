import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { encodeBytes32String, getAddress, ZeroAddress, ZeroHash } from "ethers";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { read } from "../../../listener/api/read.ts";
import { amount } from "../../../listener/api/schemas.ts";
import {
  account,
  apiOf,
  ask,
  askAll,
  BASE_TIME,
  createWorld,
  emit,
  hashOf,
  openTestDb,
  registered,
  transfer,
  type World,
} from "./support.ts";

const HUGE = 2n ** 255n;
const people = Array.from({ length: 7 }, (_, i) => account(i + 1));
const [alice, bob] = people as [string, string];

/** What a team would add beside a projection of its own. */
const richest = read({
  path: "richest",
  tag: "accounts",
  summary: "Who holds the most",
  response: z.object({ balance: amount }),
  async handle({ sql, chainId }) {
    const { rows } = await sql.query<{ balance: bigint }>(
      "select max(balance)::numeric(78,0) as balance from balances where chain_id = $1",
      [chainId],
    );
    return rows[0];
  },
});

describe("the application's projections through the API", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let world: World;
  let api: FastifyInstance;

  before(async () => {
    database = await openTestDb();
    world = await createWorld(database.db);
    api = await apiOf(database.db, { more: [richest] });
    await world.extend(people.map((person, i) => registered(person, `person ${i}`, BigInt(i))));
    await world.extend([
      emit("Minted", bob, alice, HUGE, encodeBytes32String("payday"), 1n),
      transfer(ZeroAddress, alice, HUGE),
      emit("Mined", bob, 1n, 50n, ZeroHash, ZeroHash, 3n, 2n),
      transfer(ZeroAddress, bob, 50n),
    ]);
    for (let i = 0; i < 9; i++) await world.extend([transfer(alice, bob, BigInt(i)), transfer(bob, alice, 1n), transfer(alice, alice, 1n)]);
    await world.extend([emit("Paused", alice)]);
    await world.work();
  });
  after(async () => {
    await api?.close();
    await database?.close();
  });

  it("gives an account's balance over time, which ends in that of now", async () => {
    const { points, asOf } = await ask(api, `accounts/${bob}/history?limit=4`);
    assert.deepEqual(
      points.map(({ balance, number }: { balance: string; number: number }) => `${number} ${balance}`),
      ["10 71", "10 70", "11 78", "11 77"],
    );
    assert.deepEqual(asOf, { number: world.tip().number, hash: world.tip().hash });
    assert.equal((await ask(api, `accounts/${bob}`)).balance, "77");
    assert.equal((await ask(api, `accounts/${bob}/history`)).points[0].balance, "50");
  });

  it("gives an account's balance and registration, as of the tip", async () => {
    const tip = { number: world.tip().number, hash: world.tip().hash };
    assert.deepEqual(await ask(api, `accounts/${alice}`), {
      address: getAddress(alice),
      balance: String(HUGE - 36n + 9n),
      registered: { block: 1, name: "person 0", granted: "0" },
      asOf: tip,
    });
    assert.deepEqual(await ask(api, `accounts/${getAddress(account(99))}`), {
      address: getAddress(account(99)),
      balance: "0",
      registered: null,
      asOf: tip,
    });
  });

  it("takes an address in lower, upper and checksummed case", async () => {
    const upper = `0x${bob.slice(2).toUpperCase()}`;
    for (const given of [bob, upper, getAddress(bob)]) assert.equal((await ask(api, `accounts/${given}`)).address, getAddress(bob));
  });

  it("walks through registered accounts and through a history without a gap or a double", async () => {
    for (const limit of [1, 3, 7, 200]) {
      const names = (await askAll(api, "accounts", limit)).map(({ registered }) => registered.name);
      assert.deepEqual(names, ["person 6", "person 5", "person 4", "person 3", "person 2", "person 1", "person 0"]);
    }
    for (const limit of [1, 4, 28, 200]) {
      const history = await askAll(api, `accounts/${alice}/transfers`, limit);
      assert.equal(history.length, 28);
      assert.equal(new Set(history.map(({ id }) => id)).size, 28);
      const places = history.map(({ block, logIndex }) => block.number * 1_000 + logIndex);
      assert.deepEqual(
        places,
        places.toSorted((a, b) => b - a),
      );
    }
    assert.equal((await askAll(api, `accounts/${bob}/transfers`, 5)).length, 19);
  });

  it("walks through the transfers of all accounts, by who sent and who got them and by block", async () => {
    const all = await askAll(api, "transfers", 4);
    assert.equal(all.length, 29);
    assert.equal(new Set(all.map(({ id }) => id)).size, 29);
    const numbers = all.map(({ block, logIndex }) => block.number * 1_000 + logIndex);
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => b - a),
    );
    const idsOf = (some: typeof all) => some.map(({ id }) => id);
    for (const [filter, keep] of [
      [`from=${alice}`, (t: (typeof all)[number]) => t.from === getAddress(alice)],
      [`to=${bob}`, (t: (typeof all)[number]) => t.to === getAddress(bob)],
      [`from=${alice}&to=${alice}`, (t: (typeof all)[number]) => t.from === t.to],
      ["fromBlock=5", (t: (typeof all)[number]) => t.block.number >= 5],
      ["toBlock=3", (t: (typeof all)[number]) => t.block.number <= 3],
      [`fromBlock=4&toBlock=6&from=${bob}`, (t: (typeof all)[number]) => t.from === getAddress(bob) && /^[456]$/.test(t.block.number)],
    ] as const) {
      const kept = all.filter(keep);
      assert.ok(kept.length > 0 && kept.length < 29, filter);
      assert.deepEqual(idsOf(await askAll(api, `transfers?${filter}`, 2)), idsOf(kept), filter);
    }
    assert.deepEqual(await ask(api, "transfers?fromBlock=1000"), { items: [], nextCursor: null });
    await ask(api, "transfers?fromBlock=5&toBlock=4", 400);
  });

  it("gives transfers in the agreed shape", async () => {
    const { items } = await ask(api, `accounts/${bob}/transfers`);
    assert.deepEqual(items.at(-1), {
      id: items.at(-1).id,
      from: ZeroAddress,
      to: getAddress(bob),
      amount: "50",
      block: { number: 2, hash: hashOf("a2"), timestamp: BASE_TIME + 24 },
      transactionHash: hashOf(`tx ${hashOf("a2")} 1`),
      logIndex: 3,
    });
    assert.equal((await ask(api, `events/${items[0].id}`)).id, items[0].id);
  });

  it("adds up the statistics, amounts as decimal strings", async () => {
    assert.deepEqual(await ask(api, "statistics"), {
      supply: String(HUGE + 50n),
      holders: 2,
      registered: 7,
      transfers: 27,
      volume: "54",
      granted: "21",
      minted: String(HUGE),
      mined: "50",
      solutions: 1,
      memos: 0,
      paused: true,
      asOf: { number: world.tip().number, hash: world.tip().hash },
    });
  });

  it("gives the newest points of a series, oldest first", async () => {
    const all = await ask(api, "statistics/series?metric=transfers&resolution=minute");
    assert.equal(
      all.points.reduce((total: number, { value }: { value: string }) => total + Number(value), 0),
      27,
    );
    const times = all.points.map(({ time }: { time: number }) => time);
    assert.deepEqual(
      times,
      times.toSorted((a: number, b: number) => a - b),
    );
    const last = await ask(api, "statistics/series?metric=transfers&resolution=minute&limit=1");
    assert.deepEqual(last.points, all.points.slice(-1));
    const earlier = await ask(api, `statistics/series?metric=transfers&resolution=minute&to=${times.at(-1) - 1}`);
    assert.deepEqual(earlier.points, all.points.slice(0, -1));
    await ask(api, "statistics/series?metric=luck&resolution=minute", 400);
  });

  it("serves and describes a resource that only its declaration knows", async () => {
    assert.deepEqual(await ask(api, "richest"), { balance: String(HUGE - 36n + 9n) });
    const { paths } = (await api.inject("/docs/openapi.json")).json();
    assert.equal(paths["/api/v1/richest"].get.summary, "Who holds the most");
  });

  it("says up to which block an answer is complete while work is open, and through a reorg", async () => {
    const asOf = async () => (await ask(api, `accounts/${alice}`)).asOf.number;
    const tip = world.tip().number;
    await world.extend([transfer(alice, bob, 1n)]);
    await world.extend([transfer(alice, bob, 1n)]);
    await world.extend();
    assert.equal(await asOf(), tip);
    await world.work({ queues: ["balances"], limit: 1 });
    assert.equal(await asOf(), tip + 1);
    await world.work({ queues: ["balances"] });
    assert.equal(await asOf(), tip + 3);

    // Worked in and taken back: until it is reverted, the answer holds what is no longer on the chain.
    await world.reorg(tip + 1);
    assert.equal(await asOf(), tip + 1);
    await world.extend([], { fork: "b" });
    await world.extend([], { fork: "b" });
    assert.equal(await asOf(), tip + 1);
    await world.work({ queues: ["balances"] });
    assert.equal(await asOf(), tip + 3);
    assert.equal((await ask(api, `accounts/${alice}`)).asOf.hash, hashOf(`b${tip + 3}`));

    // Another queue's work is no concern of a balance.
    await world.extend([emit("Unpaused", alice)], { fork: "b" });
    assert.equal(await asOf(), tip + 4);
    assert.notEqual((await ask(api, "statistics")).asOf.number, tip + 4);
    await world.work();
    assert.equal((await ask(api, "statistics")).asOf.number, tip + 4);
  });

  it("names a lower block of the same state where the journal does not keep the hash", async () => {
    const from = world.tip().number;
    await world.extend([transfer(alice, bob, 1n)], { fork: "b" });
    await world.work();
    for (let i = 0; i < 3; i++) await world.extend([], { fork: "b" });
    await world.extend([transfer(alice, bob, 1n)], { fork: "b" });
    await world.finalize(from + 5);
    // Open is block + 5, so everything up to + 4 is worked in; its header is gone, and nothing happened since + 1.
    assert.deepEqual((await ask(api, `accounts/${alice}`)).asOf, { number: from + 1, hash: hashOf(`b${from + 1}`) });
    await world.work();
    assert.equal((await ask(api, `accounts/${alice}`)).asOf.number, from + 5);
  });
});
