import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { Redis } from "ioredis";
import type { DeliveryFinality } from "../../listener/app.ts";
import { openReceiver, type Received, type Receiver } from "../listener/webhooks/receiver.ts";
import { noAnvil } from "../support/anvil.ts";
import { eventually } from "../support/eventually.ts";
import { noRedisServer } from "../support/redis.ts";
import { openWorld, type World } from "../support/world.ts";

const KEY = "only-this-test-knows-this-key";

let world: World;
let receiver: Receiver;

/** What a receiver ends with that drops repetitions: the events that it was told of and not told to take back. */
function heldOf(received: readonly Received[]): string[] {
  const texts = new Map<string, string>();
  const held = new Set<string>();
  for (const { id, text, payload, events } of received) {
    if (texts.has(id)) {
      assert.equal(texts.get(id), text, "a repetition says something else");
      continue;
    }
    texts.set(id, text);
    for (const event of events) {
      if (payload.operation === "event") held.add(event.id);
      else assert.ok(held.delete(event.id), `${event.id} was reverted before it was told`);
    }
  }
  return [...held].sort();
}

describe("webhooks of real processes", () => {
  afterEach(async () => {
    await world?.close();
    await receiver?.close();
  });

  it("all arrive, over kill -9 of listener and workers, a FLUSHALL and reorgs", { skip: noAnvil || noRedisServer }, async () => {
    world = await openWorld({ redis: true });
    receiver = await openReceiver();
    const settings = { WEBHOOKS_ALLOW_LOOPBACK: "true", API_KEYS: KEY };
    const start = (command: string) => world.start(command, settings);
    const listen = start("listen");
    const work = start("work");
    const serve = start("serve");
    await serve.said(/"msg":"serving"/, 60_000);
    const [, url] = /"url":"([^"]+)"/.exec(serve.stderr())!;
    const create = async (finality: DeliveryFinality) => {
      const response = await fetch(`${url}/api/v1/webhooks`, {
        method: "POST",
        headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
        body: JSON.stringify({ url: receiver.url, finality, fromBlock: 0 }),
      });
      assert.equal(response.status, 201, await response.clone().text());
      return ((await response.json()) as { id: string }).id;
    };
    await world.caughtUp();
    const [latest, confirmed] = [await create("latest"), await create(3)];

    let traffic = world.traffic(5);
    const planned = (endpoint: string) =>
      eventually(
        async () => {
          const { rows } = await world.query(
            `select from sluice.webhook_cursors c join sluice.checkpoint k using (chain_id)
             where c.endpoint = '${endpoint}' and c.position = k.events and c.reorgs = k.reorgs`,
          );
          return rows.length === 1;
        },
        { timeout: 60_000, what: "an endpoint has messages for everything" },
      );
    const redis = new Redis(world.redis!.url);
    const told = async (more: number) => {
      const before = receiver.received.length;
      await eventually(() => receiver.received.length >= before + more, { timeout: 60_000, what: "messages come" });
    };
    await told(10);
    // A reorg takes what the listener has seen, and has messages for.
    await traffic.stop();
    await world.caughtUp();
    await planned(latest);
    await work.end("SIGKILL");
    await world.chain.rpc("anvil_reorg", [2, []]);
    traffic = world.traffic(5);
    start("work");
    await told(10);
    await redis.flushall();
    await told(10);
    await listen.end("SIGKILL");
    start("listen");
    await told(10);
    await traffic.stop();
    redis.disconnect();
    // What comes last is under three blocks then.
    for (let i = 0; i < 4; i++) await world.chain.rpc("evm_mine");
    await world.settled();
    for (const endpoint of [latest, confirmed]) await planned(endpoint);
    await eventually(
      async () => (await world.query("select from sluice.webhook_messages where state = 'pending' limit 1")).rows.length === 0,
      { timeout: 60_000, what: "every message was taken" },
    );
    const { rows } = await world.query(
      "select chain_id || '-' || block_hash || '-' || log_index as id from sluice.events where live order by id",
    );
    const live = rows.map(({ id }) => id).sort();
    const of = (endpoint: string) => receiver.received.filter(({ payload }) => payload.endpoint === endpoint);
    assert.ok(live.length > 20);
    assert.deepEqual(heldOf(of(latest)), live);
    assert.ok(
      of(latest).some(({ payload }) => payload.operation === "reverted"),
      "no reorg took anything",
    );
    assert.deepEqual(heldOf(of(confirmed)), live);
    assert.ok(
      of(confirmed).every(({ payload }) => payload.operation === "event"),
      "it was told of an orphan",
    );
    assert.deepEqual((await world.audit()).failures, []);
  });
});
