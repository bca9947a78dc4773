import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { getAddress, ZeroAddress } from "ethers";
import type { FastifyInstance } from "fastify";
import { createEndpoint } from "../../../listener/webhooks/endpoints.ts";
import { sendTest } from "../../../listener/webhooks/replay.ts";
import {
  account,
  apiOf,
  ask,
  askAll,
  BASE_TIME,
  broken,
  CHAIN,
  createWorld,
  describedBy,
  emit,
  hashOf,
  openTestDb,
  registered,
  TOKEN,
  transfer,
  type World,
} from "./support.ts";

const [alice, bob, carol] = [account(1), account(2), account(3)];

describe("the journal through the API", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let world: World;
  let api: FastifyInstance;

  before(async () => {
    database = await openTestDb();
    world = await createWorld(database.db);
    api = await apiOf(database.db);
    // 1..3 final, 4 and 5 reorged out, new 4..6 with a log that cannot be decoded.
    await world.extend([registered(alice, "alice", 5n), transfer(ZeroAddress, alice, 100n)]);
    await world.extend([transfer(alice, bob, 30n), transfer(alice, alice, 1n)]);
    await world.extend();
    await world.finalize(2);
    await world.extend([transfer(alice, carol, 7n)]);
    await world.extend([registered(carol, "carol"), transfer(carol, bob, 7n)]);
    await world.work();
    await world.reorg(3);
    await world.extend([transfer(alice, bob, 2n)], { fork: "b" });
    await world.extend([broken()], { fork: "b" });
    await world.extend([registered(alice, "alice again"), emit("Paused", alice)], { fork: "b", head: 9 });
    await world.work();
  });
  after(async () => {
    await api?.close();
    await database?.close();
  });

  it("says where it stands", async () => {
    const status = await ask(api, "status");
    const { queues, headAt, ...rest } = status;
    assert.ok(Math.abs(Date.parse(headAt) - Date.now()) < 60_000, headAt);
    assert.deepEqual(rest, {
      chainId: CHAIN,
      head: 9,
      tip: { number: 6, hash: hashOf("b6") },
      finalized: { number: 2, hash: hashOf("a2") },
      lag: 3,
      leader: null,
      queueBackend: "postgres",
      halted: null,
      auditedTo: null,
      audit: null,
      reorgs: 1,
      events: 11,
      backfill: null,
      deadLetters: 4,
      nodes: [],
    });
    // Two applied, one reverted, one that registers an account again and is given up.
    assert.deepEqual(queues.accounts, { pending: 0, inFlight: 0, done: 3, failed: 1 });
    assert.deepEqual(queues.balances, { pending: 0, inFlight: 0, done: 6, failed: 1 });
    assert.deepEqual(queues.mining, { pending: 0, inFlight: 0, done: 0, failed: 0 });
  });

  it("shows events in the order of the declaration, with checksums and decimal strings", async () => {
    const [event] = (await ask(api, "events?contract=SluiceToken&name=Transfer&status=finalized&limit=1")).items;
    assert.deepEqual(Object.entries(event.arguments), [
      ["from", getAddress(alice)],
      ["to", getAddress(alice)],
      ["value", "1"],
    ]);
    assert.deepEqual(
      { ...event, arguments: undefined },
      {
        id: `${CHAIN}-${hashOf("a2")}-1`,
        position: 4,
        contract: "SluiceToken",
        address: getAddress(TOKEN),
        name: "Transfer",
        arguments: undefined,
        status: "finalized",
        error: null,
        block: { number: 2, hash: hashOf("a2"), timestamp: BASE_TIME + 24 },
        transactionHash: hashOf(`tx ${hashOf("a2")} 0`),
        logIndex: 1,
      },
    );
  });

  it("leads from a transaction to its events, those that a reorg took too", async () => {
    const { events } = await ask(api, `transactions/${hashOf(`tx ${hashOf("a5")} 0`)}`);
    assert.deepEqual(
      events.map(({ position, status }: { position: number; status: string }) => `${position} ${status}`),
      ["6 orphaned", "7 orphaned"],
    );
    assert.equal((await ask(api, `events/${events[0].id}`)).position, 6);
    await ask(api, `transactions/${hashOf("no such")}`, 404);
  });

  it("walks through all events without a gap or a double, the newest first", async () => {
    for (const limit of [1, 3, 11, 200]) {
      const positions = (await askAll(api, "events", limit)).map(({ position }) => position);
      assert.deepEqual(positions, [11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    }
  });

  it("keeps a page's place while new events arrive", async () => {
    const first = await ask(api, "events?limit=2");
    await world.extend([emit("Unpaused", alice)], { fork: "b" });
    await world.work();
    const second = await ask(api, `events?limit=2&cursor=${first.nextCursor}`);
    assert.deepEqual(
      [...first.items, ...second.items].map(({ position }) => position),
      [11, 10, 9, 8],
    );
  });

  it("tells included, finalized, orphaned and undecodable events apart", async () => {
    const positions = async (filter: string) => (await askAll(api, `events?${filter}`, 2)).map(({ position }) => position);
    assert.deepEqual(await positions("status=finalized"), [4, 3, 2, 1]);
    assert.deepEqual(await positions("status=orphaned"), [7, 6, 5]);
    assert.deepEqual(await positions("status=undecodable"), [9]);
    assert.deepEqual(await positions("status=included"), [12, 11, 10, 8]);
    const [undecodable] = (await ask(api, "events?status=undecodable")).items;
    assert.equal(undecodable.arguments, null);
    assert.match(undecodable.error, /1 bytes, expected 32/);
  });

  it("filters by contract, name, block range and transaction", async () => {
    const positions = async (filter: string) => (await askAll(api, `events?${filter}`, 3)).map(({ position }) => position);
    assert.deepEqual(await positions("name=Registered"), [10, 6, 1]);
    assert.deepEqual(await positions("contract=SluiceToken&name=Paused"), [11]);
    assert.deepEqual(await positions("contract=Another"), []);
    assert.deepEqual(await positions("fromBlock=4&toBlock=4"), [8, 5]);
    assert.deepEqual(await positions("toBlock=1"), [2, 1]);
    assert.deepEqual(await positions("fromBlock=6"), [12, 11, 10]);
    assert.deepEqual(await positions(`transaction=${hashOf(`tx ${hashOf("a5")} 0`)}`), [7, 6]);
  });

  it("traces an event that a reorg took: applied, then taken back, in every queue that had it", async () => {
    const trace = await ask(api, `events/${CHAIN}-${hashOf("a4")}-0`);
    assert.equal(trace.status, "orphaned");
    assert.deepEqual(trace.topics.length, 3);
    assert.equal(trace.seenAt, new Date((BASE_TIME + 48) * 1_000).toISOString());
    const told = trace.deliveries.map(({ queue, operation, state }: Record<string, string>) => `${queue} ${operation} ${state}`);
    assert.deepEqual(
      told.sort(),
      ["balances", "statistics", "transfers"].flatMap(queue => [`${queue} apply done`, `${queue} revert done`]),
    );
    const [delivery] = trace.deliveries;
    assert.deepEqual(Object.keys(delivery).sort(), [
      "attempts",
      "createdAt",
      "doneAt",
      "lastError",
      "operation",
      "position",
      "queue",
      "sentAt",
      "state",
    ]);
    assert.equal(delivery.attempts, 1);
    assert.ok(Date.parse(delivery.doneAt) >= Date.parse(delivery.sentAt));
  });

  it("gives a block with its events, and one without", async () => {
    const block = await ask(api, "blocks/4");
    assert.deepEqual(
      { ...block, events: block.events.map(({ position }: { position: number }) => position) },
      {
        number: 4,
        hash: hashOf("b4"),
        parentHash: hashOf("a3"),
        timestamp: BASE_TIME + 48,
        status: "included",
        eventCount: 1,
        events: [8],
      },
    );
    const final = await ask(api, "blocks/1");
    assert.deepEqual([final.hash, final.parentHash, final.status, final.eventCount], [hashOf("a1"), null, "finalized", 2]);
    assert.equal((await ask(api, "blocks/3")).eventCount, 0);
    await ask(api, "blocks/0", 404);
    await ask(api, "blocks/1000", 404);
  });

  it("lists the blocks from the tip down to the final one, page by page", async () => {
    const kept = await askAll(api, "blocks", 2);
    assert.deepEqual(
      kept.map(({ number, hash, status, eventCount }) => [number, hash, status, eventCount]),
      [
        [7, hashOf("b7"), "included", 1],
        [6, hashOf("b6"), "included", 2],
        [5, hashOf("b5"), "included", 1],
        [4, hashOf("b4"), "included", 1],
        [3, hashOf("a3"), "included", 0],
        [2, hashOf("a2"), "finalized", 2],
      ],
    );
    assert.equal(kept[0]!.parentHash, hashOf("b6"));
  });

  it("says where the jobs are", async () => {
    const onRedis = await apiOf(database.db, { config: { redisUrl: "redis://127.0.0.1:1" } });
    assert.equal((await ask(onRedis, "status")).queueBackend, "redis");
    await onRedis.close();
  });

  it("lists dead letters with their events, reasons and times, page by page", async () => {
    const letters = await askAll(api, "dead-letters", 1);
    assert.deepEqual(
      letters.map(({ queue, position, operation, attempts }) => [queue, position, operation, attempts]),
      [
        ["transfers", 7, "apply", 0],
        ["statistics", 7, "apply", 0],
        ["balances", 7, "apply", 0],
        ["accounts", 4, "apply", 20],
      ],
    );
    const [letter] = (await ask(api, "dead-letters?queue=accounts")).items;
    assert.deepEqual(letter.events, [`${CHAIN}-${hashOf("b6")}-0`]);
    assert.match(letter.lastError, /duplicate key/);
    assert.ok(Date.parse(letter.at) > 0);
    assert.deepEqual((await ask(api, "dead-letters?queue=mining")).items, []);
  });

  it("lists every queue of the routing table with what feeds it", async () => {
    const { items } = await ask(api, "queues");
    assert.deepEqual(
      items.map(({ name }: { name: string }) => name),
      ["accounts", "balances", "transfers", "mining", "statistics"],
    );
    assert.deepEqual(items[0].events, ["SluiceToken.Registered"]);
    assert.deepEqual(
      [items[0].kind, items[0].follows, items[0].batch, items[0].oldest, items[0].failed],
      ["projection", "head", 200, null, 1],
    );
  });

  it("answers what its documentation promises", async () => {
    const document = (await api.inject("/docs/openapi.json")).json();
    const [{ id }] = (await ask(api, "events?status=undecodable")).items;
    const hook = await createEndpoint(database.db, CHAIN, { url: "https://example.org/hook" }, 1);
    await sendTest(database.db, CHAIN, hook.id);
    const paths = {
      status: "status",
      events: "events",
      "events/{id}": `events/${id}`,
      blocks: "blocks",
      "blocks/{number}": "blocks/4",
      queues: "queues",
      activity: "activity?window=1h",
      "transactions/{hash}": `transactions/${hashOf(`tx ${hashOf("a1")} 0`)}`,
      session: "session",
      deliveries: "deliveries?queue=balances&state=done&limit=1",
      "dead-letters": "dead-letters?limit=1",
      accounts: "accounts?limit=1",
      "accounts/{address}": `accounts/${alice}`,
      "accounts/{address}/transfers": `accounts/${alice}/transfers`,
      transfers: `transfers?from=${alice}`,
      "accounts/{address}/history": `accounts/${alice}/history`,
      mining: "mining?limit=2",
      "mining/epochs": "mining/epochs",
      statistics: "statistics",
      "statistics/series": "statistics/series?metric=volume&resolution=day",
      webhooks: "webhooks",
      "webhooks/{id}": `webhooks/${hook.id}`,
      "webhooks/{id}/attempts": `webhooks/${hook.id}/attempts`,
      "webhooks/{id}/messages": `webhooks/${hook.id}/messages`,
    };
    for (const [path, asked] of Object.entries(paths)) {
      const result = describedBy(document, `/api/v1/${path}`).safeParse(await ask(api, asked));
      assert.ok(result.success, `${path}: ${result.error}`);
    }
    const described = Object.keys(document.paths).filter(
      path => path.startsWith("/api/v1/") && document.paths[path].get && !path.endsWith("/stream"),
    );
    assert.deepEqual(
      Object.keys(paths)
        .map(path => `/api/v1/${path}`)
        .sort(),
      described.sort(),
    );
    assert.ok(!describedBy(document, "/api/v1/accounts/{address}").safeParse({ address: alice, balance: 7 }).success);
  });

  it("takes back what was audited with the blocks of a reorg", async () => {
    const auditedTo = async () => (await ask(api, "status")).auditedTo;
    await world.extend([], { fork: "b" });
    await database.db.query("update checkpoint set audited_to = 7");
    await world.reorg(7);
    assert.equal(await auditedTo(), 7);
    await database.db.query("update checkpoint set audited_to = 6");
    await world.extend([], { fork: "c" });
    await world.reorg(7);
    assert.equal(await auditedTo(), 6);
    await database.db.query("update checkpoint set audited_to = 8");
    await world.extend([], { fork: "b" });
    await world.reorg(7);
    assert.equal(await auditedTo(), 7);
  });

  it("shows both lives of an event whose block was taken and came back", async () => {
    await world.reorg(7);
    await world.extend([transfer(alice, bob, 1n)], { fork: "c" });
    await world.work();
    await world.reorg(7);
    await world.extend([transfer(alice, bob, 1n)], { fork: "c" });
    await world.work();
    const trace = await ask(api, `events/${CHAIN}-${hashOf("c8")}-0`);
    assert.equal(trace.status, "included");
    const told = trace.deliveries.filter(({ queue }: { queue: string }) => queue === "transfers");
    assert.deepEqual(
      told.map(({ operation, state }: Record<string, string>) => `${operation} ${state}`),
      ["apply done", "revert done", "apply done"],
    );
  });
});
