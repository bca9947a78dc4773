import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { noAnvil } from "../support/anvil.ts";
import { eventually } from "../support/eventually.ts";
import { openWorld, type World } from "../support/world.ts";

let world: World;
const tip = async () => Number((await world.query("select tip_number as n from sluice.checkpoint")).rows[0]?.n ?? -1);

/** Looks again and again, and gives the longest time (ms) in which the journal did not move on. */
function watchTip() {
  let going = true;
  let longest = 0;
  const ended = (async () => {
    for (let last = await tip(), since = performance.now(); going; ) {
      await new Promise(resolve => setTimeout(resolve, 20));
      const now = await tip();
      longest = Math.max(longest, performance.now() - since);
      if (now !== last) [last, since] = [now, performance.now()];
    }
  })();
  return async () => {
    going = false;
    await ended;
    return longest;
  };
}

describe("upkeep under traffic", () => {
  afterEach(() => world?.close());

  it("restarts two listeners in turn, and each that leads hands over at once", { skip: noAnvil }, async t => {
    world = await openWorld({ redis: false });
    // Without a hand-over nobody writes for as long as the lease is good: two thirds of it at least.
    const LEASE = 30_000;
    const start = () => world.start("listen", { LEASE_MS: String(LEASE) });
    const first = start();
    await first.said(/writes the journal now/);
    const listeners = [first, start()];
    await listeners[1]!.said(/standing by/);
    world.start("work");
    const traffic = world.traffic();
    await traffic.more(10);
    await eventually(async () => (await tip()) > 5);
    const stopWatching = watchTip();
    for (let turn = 0; turn < 2; turn++) {
      const leader = listeners.shift()!;
      const { epoch } = await world.leader();
      const { code, signal } = await leader.end("SIGTERM");
      assert.deepEqual([code, signal], [0, null], leader.stderr());
      await eventually(async () => Number((await world.leader()).epoch) === Number(epoch) + 1, {
        timeout: 60_000,
        what: "the other one writes",
      });
      const from = await tip();
      await eventually(async () => (await tip()) > from, { what: "the journal moves on" });
      const next = start();
      await next.said(/standing by/);
      listeners.push(next);
    }
    const longest = await stopWatching();
    t.diagnostic(`the longest time without a new tip: ${Math.round(longest)} ms`);
    await traffic.stop();
    assert.ok(longest < LEASE / 2, `${longest} ms without a new tip`);
    await world.settled();
    const { failures } = await world.audit();
    assert.deepEqual(failures, []);
  });

  it("audits while it listens: the watermark rises everywhere, and a row that was altered is told of", { skip: noAnvil }, async () => {
    world = await openWorld({ redis: false });
    const listener = world.start("listen --audit-every 300ms");
    world.start("work");
    const api = world.start("serve");
    await api.said(/"msg":"serving"/);
    const url = /"url":"(http[^"]+)"/.exec(api.stderr())![1]!;
    const traffic = world.traffic(20);
    const shown = async () => {
      const command = world.start("status --json");
      await command.exited;
      const status = JSON.parse(command.stdout()) as { auditedTo: number | null };
      const answered = (await (await fetch(new URL("/api/v1/status", url))).json()) as { auditedTo: number | null };
      const metrics = await (await fetch(new URL("/metrics", url))).text();
      const metric = (name: string) => Number(new RegExp(`^sluice_${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(metrics)?.[1] ?? -1);
      return [status.auditedTo ?? -1, answered.auditedTo ?? -1, metric("audited_block")];
    };
    const rises = async (above: number) =>
      eventually(async () => [await shown()].filter(three => Math.min(...three) > above)[0], {
        timeout: 60_000,
        what: `everything is audited beyond ${above}`,
      });
    await rises(Math.max(...(await rises(-1))));
    await traffic.stop();
    await world.settled();

    await world.query(
      "update sluice.balances set balance = balance + 1 where address = (select address from sluice.balances order by address limit 1)",
    );
    await world.traffic(20).more(5);
    await listener.said(/the audit found \d+ differences/, 60_000);
    await eventually(async () => /^sluice_audit_failures(?:\{[^}]*\})? [1-9]/m.test(await (await fetch(new URL("/metrics", url))).text()), {
      what: "the metric tells of it",
    });
    const said = await listener.end("SIGTERM");
    assert.equal(said.code, 0, listener.stderr());
  });
});
