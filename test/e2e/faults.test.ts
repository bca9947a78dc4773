import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { noAnvil, startHardhat } from "../support/anvil.ts";
import { eventually } from "../support/eventually.ts";
import { noRedisServer } from "../support/redis.ts";
import { openWorld, type World, type WorldOptions } from "../support/world.ts";

let world: World;
const open = async (options: WorldOptions) => (world = await openWorld(options));
const skipOn = (redis: boolean) => noAnvil || (redis && noRedisServer);

/** Everything was delivered, nothing was given up, and journal and projections are what the chain says. */
async function holds(): Promise<void> {
  await world.settled();
  const { ok, failures, checked } = await world.audit();
  assert.deepEqual(failures, []);
  assert.equal(ok, true);
  assert.ok(checked.I7! > 0, "no balance was compared");
  assert.equal(Number((await world.counts()).dead), 0);
}

describe("faults during traffic end in a clean audit", () => {
  afterEach(() => world?.close());

  for (const redis of [true, false]) {
    const backend = redis ? "Redis" : "Postgres";

    it(`reorgs of depth 1, 3 and 12, on ${backend}`, { skip: skipOn(redis) }, async () => {
      await open({ redis });
      world.start("listen");
      world.start("work");
      for (const depth of [1, 3, 12]) {
        const before = world.traffic();
        await before.more(40);
        await before.stop();
        // A block that goes before anybody has read it is no reorg to us.
        await world.caughtUp();
        const { reorgs } = await world.counts();
        await world.chain.rpc("anvil_reorg", [depth, []]);
        const after = world.traffic();
        await eventually(async () => (await world.counts()).reorgs > reorgs, {
          timeout: 60_000,
          what: `a reorg of depth ${depth} is seen`,
        });
        await after.more(20);
        await after.stop();
      }
      await holds();
    });

    it(`kill -9 of each process, on ${backend}`, { skip: skipOn(redis) }, async () => {
      await open({ redis });
      const processes = new Map(["listen", "work", "serve"].map(command => [command, world.start(command)]));
      const traffic = world.traffic();
      await eventually(async () => Number((await world.counts()).events) > 10, { timeout: 60_000 });
      for (const command of ["listen", "work", "serve", "work", "listen"]) {
        await traffic.more(15);
        await processes.get(command)!.end("SIGKILL");
        await traffic.more(15);
        processes.set(command, world.start(command));
      }
      await traffic.more(15);
      await traffic.stop();
      await holds();
    });
  }

  it("snapshots that are reverted, on a Hardhat node", { skip: skipOn(true) }, async () => {
    await open({ redis: true, node: () => startHardhat() });
    world.start("listen");
    world.start("work");
    for (const depth of [1, 3, 12]) {
      const before = world.traffic();
      await before.more(15);
      await before.stop();
      const snapshot = await world.chain.rpc("evm_snapshot");
      const lost = world.traffic();
      await lost.more(depth);
      await lost.stop();
      await world.settled();
      await world.chain.rpc("evm_revert", [snapshot]);
    }
    const after = world.traffic();
    await after.more(30);
    await after.stop();
    await holds();
    assert.equal(Number((await world.counts()).reorgs), 3);
  });

  it("FLUSHALL, and Redis killed and started again empty", { skip: skipOn(true) }, async () => {
    await open({ redis: true });
    world.start("listen");
    world.start("work");
    const { Redis } = await import("ioredis");
    const traffic = world.traffic();
    for (let i = 0; i < 3; i++) {
      await traffic.more(20);
      const redis = new Redis(world.redis!.url);
      await redis.flushall();
      redis.disconnect();
    }
    await traffic.more(10);
    await world.redis!.stop("SIGKILL");
    await traffic.more(20);
    await world.redis!.start();
    await traffic.more(10);
    await traffic.stop();
    await holds();
  });

  it("two listeners: the standby takes over from a killed leader", { skip: skipOn(false) }, async () => {
    await open({ redis: false });
    const first = world.start("listen");
    await first.said(/writes the journal now/);
    const second = world.start("listen");
    await second.said(/standing by/);
    world.start("work");
    const traffic = world.traffic();
    await traffic.more(20);
    await first.end("SIGKILL");
    await second.said(/writes the journal now/);
    await traffic.more(20);
    await traffic.stop();
    await holds();
  });
});
