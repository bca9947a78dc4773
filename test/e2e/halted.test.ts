import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { noAnvil, startAnvil } from "../support/anvil.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/ports.ts";
import { openWorld, type World } from "../support/world.ts";

let world: World;

/** Runs a command to its end and gives what it printed as JSON. */
async function json<T>(command: string): Promise<T> {
  const running = world.start(`${command} --json`);
  const { code } = await running.exited;
  assert.equal(code, 0, running.stderr());
  return JSON.parse(running.stdout()) as T;
}
type Status = { halted: { reason: string; block: number } | null; leader: string | null; tip: { number: number; hash: string } };

const halted = () =>
  eventually(async () => (await world.query("select from sluice.checkpoint where halted_at is not null")).rowCount === 1, {
    timeout: 60_000,
  });

/** Everything was read again and delivered, and is what the chain says. */
async function holds(): Promise<void> {
  await world.settled();
  const { failures, checked } = await world.audit();
  assert.deepEqual(failures, []);
  assert.ok(checked.I7! > 0, "no balance was compared");
}

describe("a chain that takes back what was final", { skip: noAnvil }, () => {
  afterEach(() => world?.close());

  it("halts every listener, until a resync repairs the journal", async () => {
    world = await openWorld({ redis: false });
    const environment = { FINALITY: "2" };
    const leader = world.start("listen", environment);
    await leader.said(/writes the journal now/);
    const standby = world.start("listen", environment);
    world.start("work");
    const before = world.traffic();
    await before.more(30);
    await before.stop();
    await world.settled();

    await world.chain.rpc("anvil_reorg", [8, []]);
    await world.chain.rpc("anvil_mine", ["0x3"]);
    await halted();
    await leader.said(/halted: .*npm run resync/);
    await standby.said(/halted: .*npm run resync/);
    await standby.end();
    const restarted = world.start("listen", environment);
    await restarted.said(/halted: .*npm run resync/);
    const { halted: state, leader: none, tip } = await json<Status>("status");
    assert.match(state!.reason, /which was final/);
    assert.equal(none, null);
    const after = world.traffic();
    await after.more(10);
    assert.deepEqual((await json<Status>("status")).tip, tip, "it was written on");

    const nobody = world.start("resync");
    assert.equal((await nobody.exited).code, 1, "it must ask");
    const plan = await json<{ done: boolean; from: number; events: number }>("resync --dry-run");
    assert.deepEqual([plan.done, plan.from <= tip.number - 7, plan.events > 0], [false, true, true]);
    const tooLate = world.start(`resync --yes --from ${tip.number}`);
    assert.equal((await tooLate.exited).code, 1);
    assert.match(tooLate.stderr(), new RegExp(`--from ${plan.from}`));
    assert.ok((await json<Status>("status")).halted, "it was changed all the same");

    assert.equal((await json<{ done: boolean }>(`resync --yes --from ${plan.from}`)).done, true);
    await after.more(10);
    await after.stop();
    await holds();
    assert.equal((await json<Status>("status")).halted, null);
  });

  it("halts on a chain that was reset while nobody looked, and begins anew on it when told to", async () => {
    const port = await freePort();
    world = await openWorld({ redis: false, node: () => startAnvil([], port) });
    const listen = world.start("listen");
    world.start("work");
    await world.settled();
    await listen.end();
    await world.chain.close();

    const reset = await startAnvil(["--timestamp", "1900000000"], port);
    try {
      const again = world.start("listen");
      await again.said(/halted: .*genesis/);
      await world.deploy();
      const traffic = world.traffic();
      await traffic.more(10);
      assert.equal((await json<{ done: boolean; from: number }>("resync --yes")).done, true);
      await traffic.stop();
      await holds();
    } finally {
      await reset.close();
    }
  });
});
