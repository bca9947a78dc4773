import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { afterEach, describe, it } from "node:test";
import { Redis } from "ioredis";
import { eventually } from "../../support/eventually.ts";
import { freePort } from "../../support/ports.ts";
import { run } from "../../support/processes.ts";
import { noRedisServer } from "../../support/redis.ts";
import { startRedisServer } from "../../support/redis-server.ts";
import { account, CHAIN, transfer } from "../api/support.ts";
import { openReceiver, type Received } from "./receiver.ts";
import { openWebhooks } from "./support.ts";
import { FAST } from "./timing.ts";

const closing: (() => Promise<unknown>)[] = [];
const open = async (...given: Parameters<typeof openWebhooks>) => {
  const hooks = await openWebhooks(...given);
  closing.push(() => hooks.close());
  return hooks;
};
const receive = async (...given: Parameters<typeof openReceiver>) => {
  const receiver = await openReceiver(...given);
  closing.push(() => receiver.close());
  return receiver;
};
/** Whole numbers below `n`, the same ones for the same seed (mulberry32). */
function createChance(seed: number): (n: number) => number {
  let state = seed;
  return n => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

type Hooks = Awaited<ReturnType<typeof open>>;

/** Transfers among five accounts, each of another amount. */
async function traffic({ world }: Hooks, blocks: number, perBlock: number): Promise<void> {
  for (let block = 0; block < blocks; block++) {
    const n = (world.tip()?.number ?? 0) * perBlock;
    await world.extend(Array.from({ length: perBlock }, (_, i) => transfer(account((n + i) % 5), account((n + i + 1) % 5), BigInt(n + i))));
    await world.finalize(world.tip().number);
  }
}

/** Ids of all live events, in the order of the chain. */
const canonical = async ({ db }: Hooks) =>
  (
    await db.query<{ id: string }>(
      "select chain_id || '-' || block_hash || '-' || log_index as id from events where live order by block_number, log_index",
    )
  ).rows.map(({ id }) => id);

/** What a receiver that drops repetitions took, in order. */
function distinct(received: readonly Received[]): Received[] {
  const seen = new Set<string>();
  return received.filter(({ id }) => !seen.has(id) && seen.add(id));
}

/** Holds the order of each account among these messages against the chain's. */
function inOrder(received: readonly Received[]): void {
  const last = new Map<string, number>();
  for (const { events } of received) {
    const { arguments: given } = events[0]!;
    for (const who of [given.from, given.to].map(String)) {
      assert.ok((last.get(who) ?? -1) < Number(given.value), `${who} saw ${given.value} after ${last.get(who)}`);
      last.set(who, Number(given.value));
    }
  }
}

describe("webhooks through faults", () => {
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  it("deliver everything once and in order to a receiver that was down all the time", async () => {
    const hooks = await open({ timing: { ...FAST, tripAfter: 3, retries: [20, 40, 30_000] } });
    await hooks.dispatch();
    await hooks.deliver();
    const port = await freePort();
    const endpoint = await hooks.create({ url: `http://127.0.0.1:${port}/`, ordered: true });
    await traffic(hooks, 10, 20);
    const down = await eventually(async () => {
      const status = await hooks.status(endpoint.id);
      return status.breaker.state === "open" && status.counts.pending === 200 ? status : undefined;
    });
    assert.equal(down.lastAttempt!.status, null);
    // The breaker lets one message through now and then: the others are not used up.
    const receiver = await receive({ port });
    await hooks.told(endpoint.id);
    assert.equal((await hooks.status(endpoint.id)).breaker.state, "closed");
    assert.equal(receiver.received.length, 200);
    assert.deepEqual(receiver.received.map(({ events }) => events[0]!.id).sort(), (await canonical(hooks)).sort());
    inOrder(receiver.received);
  });

  it("give a message up after its time, keep it as a dead letter, and deliver the rest", async () => {
    const hooks = await open({ timing: { ...FAST, giveUpAfter: 150 } });
    await hooks.dispatch();
    await hooks.deliver();
    const receiver = await receive({
      answer: (response, { events }) => void response.writeHead(events[0]!.arguments.value === "1" ? 500 : 200).end(),
    });
    const endpoint = await hooks.create({ url: receiver.url });
    await traffic(hooks, 1, 3);
    await hooks.told(endpoint.id);
    const { counts } = await hooks.status(endpoint.id);
    assert.deepEqual([counts.dead, counts.delivered], [1, 2]);
  });

  it("do not let an endpoint that hangs delay another one", async () => {
    const hooks = await open();
    await hooks.dispatch();
    await hooks.deliver();
    const hanging = await receive({ answer: () => {} });
    const good = await receive();
    await hooks.create({ url: hanging.url, timeout: 600_000 });
    const endpoint = await hooks.create({ url: good.url });
    await traffic(hooks, 1, 10);
    await eventually(() => hanging.received.length > 0, { what: "it hangs" });
    await traffic(hooks, 4, 10);
    await hooks.told(endpoint.id);
    assert.equal(good.received.length, 50);
  });

  it("cut off an answer that never ends, and count its status", { timeout: 120_000 }, async () => {
    const hooks = await open();
    await hooks.dispatch();
    await hooks.deliver();
    const receiver = await receive({
      answer: response => {
        response.writeHead(200);
        const pump = () => {
          while (!response.destroyed && response.write("x".repeat(65_536)));
          if (!response.destroyed) response.once("drain", pump);
        };
        pump();
      },
    });
    const endpoint = await hooks.create({ url: receiver.url });
    await traffic(hooks, 1, 20);
    await hooks.told(endpoint.id);
    assert.equal(receiver.received.length, 20);
  });

  it("lose nothing through kill -9 of workers and FLUSHALL, and repeat only under the same id", { skip: noRedisServer }, async () => {
    const redis = await startRedisServer();
    closing.push(() => redis.remove());
    const flusher = new Redis(redis.url);
    closing.push(async () => flusher.disconnect());
    const hooks = await open({ redisUrl: redis.url });
    await hooks.dispatch();
    const start = () =>
      run(process.execPath, [new URL("./run-deliver.ts", import.meta.url).pathname, hooks.url, String(CHAIN), redis.url], process.env);
    let worker = start();
    closing.push(() => worker.end("SIGKILL"));
    const receiver = await receive({ answer: response => void setTimeout(() => response.end(), 5) });
    const endpoint = await hooks.create({ url: receiver.url, ordered: true });
    await traffic(hooks, 20, 30);
    for (const share of [100, 250, 400]) {
      await eventually(() => receiver.received.length >= share, { timeout: 60_000, what: () => `${receiver.received.length} of ${share}` });
      await worker.end("SIGKILL");
      if (share === 250) await flusher.flushall();
      worker = start();
    }
    await hooks.told(endpoint.id);
    const got = distinct(receiver.received);
    assert.deepEqual(got.map(({ events }) => events[0]!.id).sort(), (await canonical(hooks)).sort());
    inOrder(got);
    for (const { id, events } of receiver.received) assert.equal(id, `${events[0]!.id}-event`);
  });

  it("bring `latest` to exactly the canonical set through reorgs, and `finalized` never sees an orphan", async () => {
    const seed = randomInt(2 ** 31);
    const chance = createChance(seed);
    const hooks = await open();
    await hooks.dispatch();
    await hooks.deliver();
    let n = 0;
    const flaky = await receive({ answer: response => void response.writeHead(n++ % 7 === 0 ? 500 : 200).end() });
    const steady = await receive();
    const latest = await hooks.create({ url: flaky.url, finality: "latest" });
    const final = await hooks.create({ url: steady.url });
    const { world } = hooks;
    let value = 0;
    for (let round = 0; round < 60; round++) {
      const blocks = 1 + chance(3);
      for (let b = 0; b < blocks; b++) {
        await world.extend(
          Array.from({ length: chance(4) }, () => transfer(account(1), account(2), BigInt(value++))),
          { fork: `f${round}x` },
        );
      }
      const to = world.tip().number - chance(4);
      const { rows } = await hooks.db.query<{ n: number }>("select greatest(finalized_number, 1) as n from checkpoint");
      if (chance(2) === 0 && to >= rows[0]!.n && to < world.tip().number) await world.reorg(to);
      if (world.tip().number > 6) await world.finalize(world.tip().number - 5);
    }
    // However late the deliveries above were, one event is told for certain before its block is orphaned.
    await world.extend([transfer(account(1), account(2), BigInt(value++))], { fork: "told" });
    await hooks.told(latest.id);
    await world.reorg(world.tip().number - 1);
    await world.extend([], { fork: "after" });
    await world.finalize(world.tip().number);
    await hooks.told(latest.id);
    await hooks.told(final.id);
    const live = (await canonical(hooks)).sort();
    // A receiver that drops repetitions and undoes what is reverted. A 500 may come after it did its work: it counts as taken.
    const held = new Map<string, number>();
    for (const { payload, events } of distinct(flaky.received)) {
      const { id } = events[0]!;
      held.set(id, (held.get(id) ?? 0) + (payload.operation === "event" ? 1 : -1));
      assert.ok([0, 1].includes(held.get(id)!), `seed ${seed}: ${id} stands at ${held.get(id)}`);
    }
    assert.deepEqual(
      [...held]
        .filter(([, count]) => count === 1)
        .map(([id]) => id)
        .sort(),
      live,
      `seed ${seed}`,
    );
    assert.deepEqual(steady.received.map(({ events }) => events[0]!.id).sort(), live, `seed ${seed}`);
    assert.ok(
      distinct(flaky.received).some(({ payload }) => payload.operation === "reverted"),
      `seed ${seed}: no reorg was told`,
    );
  });
});
