import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { noAnvil, startHardhat } from "../support/anvil.ts";
import { eventually } from "../support/eventually.ts";
import { openOwnPostgres } from "../support/own-postgres.ts";
import { openWorld, type World, type WorldOptions } from "../support/world.ts";

let world: World;
const open = async (options: WorldOptions) => (world = await openWorld(options));

async function holds(): Promise<void> {
  await world.settled();
  const { ok, failures } = await world.audit();
  assert.deepEqual(failures, []);
  assert.equal(ok, true);
  assert.equal(Number((await world.counts()).dead), 0);
}

describe("outages during traffic are waited for", () => {
  afterEach(() => world?.close());

  it("Postgres killed and started again: nobody gives up, nothing floods the log", { skip: noAnvil }, async () => {
    const postgres = await openOwnPostgres();
    await open({ redis: false, database: async () => postgres });
    const processes = ["listen", "work", "serve"].map(command => world.start(command));
    const traffic = world.traffic();
    await eventually(async () => Number((await world.counts()).events) > 10, { timeout: 60_000 });
    await postgres.kill();
    await traffic.more(30);
    await postgres.start();
    await traffic.more(30);
    await traffic.stop();
    await holds();
    for (const { child, stderr } of processes) {
      assert.equal(child.exitCode, null, stderr());
      assert.ok(stderr().split("\n").length < 60, `it floods the log: ${stderr()}`);
    }
  });

  it("a node that hangs: the listener goes on when it answers again", { skip: noAnvil }, async () => {
    await open({ redis: false });
    world.start("listen");
    world.start("work");
    const before = world.traffic();
    await before.more(20);
    await before.stop();
    await world.caughtUp();
    world.chain.signal("SIGSTOP");
    // The leader renews its lease without the node.
    const leader = await world.leader();
    await eventually(async () => (await world.leader()).until > leader.until);
    world.chain.signal("SIGCONT");
    const after = world.traffic();
    await after.more(20);
    await after.stop();
    await holds();
    assert.equal((await world.leader()).epoch, leader.epoch);
  });

  it("a local chain that was restarted: the listener halts, changes nothing, and says what to do", { skip: noAnvil }, async () => {
    await open({ redis: false, node: () => startHardhat() });
    const listen = world.start("listen");
    const traffic = world.traffic();
    await traffic.more(10);
    await traffic.stop();
    await world.caughtUp();
    const before = await world.counts();
    await world.chain.close();
    const again = await startHardhat(Number(new URL(world.chain.url).port));
    try {
      await listen.said(/halted: .*npm run resync/, 60_000);
      assert.deepEqual(await world.counts(), before);
    } finally {
      await again.close();
    }
  });
});
