import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { afterEach, describe, it } from "node:test";
import type { App, DeliveryFinality, TaskContext } from "../../../listener/app.ts";
import type { ChainUpdate } from "../../../listener/chain/types.ts";
import { createDelivery } from "../../../listener/worker/worker.ts";
import { randomFrom } from "../../../scripts/support/random.ts";
import { assertAudit } from "../../support/audit.ts";
import { eventually } from "../../support/eventually.ts";
import { type Added, added, meterApp, taskRoute } from "../../support/meter.ts";
import { openRig, type Rig } from "../../support/rig.ts";
import { type ScriptedChain, scriptedChain } from "../../support/scripted-chain.ts";
import { silent } from "../../support/silent.ts";

type Extend = Extract<ChainUpdate, { type: "extend" }>;
type Context = TaskContext & { operation: "apply" | "revert" };

/** What a task was run for, as text: `apply 10`, by the event's amount. */
function diary(finality: DeliveryFinality, before: (event: Added, context: Context) => unknown = () => {}) {
  const ran: string[] = [];
  const keys: string[] = [];
  const run = async (event: Added, context: Context) => {
    await before(event, context);
    ran.push(`${context.operation} ${event.arguments.amount}`);
    keys.push(context.key.replace(`${event.id}-`, ""));
  };
  return { ran, keys, app: meterApp(taskRoute(run, { finality, concurrency: 1 })) };
}

/** `a1` to `a6` with one event each, whose amount is the block's number; branches `b` and `c` from 101 and 201 on. */
function threeBranches(): ScriptedChain {
  const chain = scriptedChain("a1 a2 a3 a4 a5 a6").forkAt("a4", "b5 b6 b7").forkAt("a2", "c3 c4 c5 c6 c7 c8");
  for (const [branch, first, last, offset] of [
    ["a", 1, 6, 0],
    ["b", 5, 7, 100],
    ["c", 3, 8, 200],
  ] as const) {
    for (let n = first; n <= last; n++) chain.logs(`${branch}${n}`, [added(n, offset + n)]);
  }
  return chain;
}

describe("a task", () => {
  let rig: Rig;
  afterEach(() => rig.close());
  async function open(app: App) {
    rig = await openRig("postgres", app);
    rig.startRelay();
    await rig.startWorkers();
  }

  for (const finality of ["finalized", "safe", 2] as const) {
    it(`of finality ${finality} gets each event of a backfill once, and what came before and after it`, async () => {
      const { ran, app } = diary(finality);
      await open(app);
      const chain = threeBranches();
      const backfilled = (names: string) => ({ ...(chain.extend(names) as Extend), backfill: { from: 2, to: 5 } });
      await rig.record(chain.extend("a1"));
      await rig.record(backfilled("a2"));
      await rig.record(backfilled("a3 a4"));
      await rig.record(backfilled("a5"));
      await rig.settled();
      assert.deepEqual(
        ran,
        [1, 2, 3, 4, 5].map(amount => `apply ${amount}`),
      );
      await rig.record(chain.extend("a6"));
      await rig.record(chain.finalize("a6"));
      await rig.settled();
      assert.deepEqual(ran.slice(5), ["apply 6"]);
    });
  }

  it("of 2 confirmations never sees what a reorg of 2 blocks takes, and is told of one that is deeper", async () => {
    const { ran, app } = diary(2);
    await open(app);
    const chain = threeBranches();
    await rig.record(chain.extend("a1 a2 a3 a4 a5 a6"));
    await rig.settled();
    assert.deepEqual(ran, ["apply 1", "apply 2", "apply 3", "apply 4"]);
    await rig.record(chain.reorg("a4", "a6 a5"));
    await rig.record(chain.extend("b5 b6 b7"));
    await rig.settled();
    assert.deepEqual(ran.splice(0), ["apply 1", "apply 2", "apply 3", "apply 4", "apply 105"]);
    await rig.record(chain.reorg("a2", "b7 b6 b5 a4 a3"));
    await rig.record(chain.extend("c3 c4 c5 c6 c7"));
    await rig.settled();
    assert.deepEqual(ran, ["revert 105", "revert 4", "revert 3", "apply 203", "apply 204", "apply 205"]);
    await rig.record(chain.finalize("c7"));
    await rig.settled();
    assert.deepEqual(ran.slice(6), ["apply 206", "apply 207"], "what is final is confirmed enough");
    chain.switchTo("c7");
    await assertAudit(rig, app, chain);
  });

  it("that waits for a safe block sees what that block brings, not what the safe block of another branch would", async () => {
    const { ran, app } = diary("safe");
    await open(app);
    const chain = threeBranches();
    await rig.record(chain.extend("a1 a2 a3 a4 a5 a6"));
    assert.deepEqual(await rig.journal.sawSafe(chain.ref("a3")), { tasks: 3 });
    assert.deepEqual(await rig.journal.sawSafe(chain.ref("a3")), {});
    assert.deepEqual(await rig.journal.sawSafe(chain.ref("b6")), {}, "a block of a branch that is not followed");
    await rig.settled();
    assert.deepEqual(ran, ["apply 1", "apply 2", "apply 3"]);
    await rig.record(chain.reorg("a4", "a6 a5"));
    await rig.record(chain.extend("b5 b6"));
    await rig.journal.sawSafe(chain.ref("b6"));
    await rig.settled();
    assert.deepEqual(ran, ["apply 1", "apply 2", "apply 3", "apply 4", "apply 105", "apply 106"]);
    // Not even a safe block is final.
    await rig.record(chain.reorg("a2", "b6 b5 a4 a3"));
    await rig.record(chain.extend("c3 c4"));
    await rig.record(chain.finalize("c3"));
    await rig.settled();
    assert.deepEqual(ran.slice(6), ["revert 106", "revert 105", "revert 4", "revert 3", "apply 203"]);
    chain.switchTo("c4");
    await assertAudit(rig, app, chain);
  });

  it("that waits for nothing gets reverts after their applies and before what takes their place, and new keys for a block that comes back", async () => {
    const { ran, keys, app } = diary("latest");
    await open(app);
    const chain = threeBranches();
    await rig.record(chain.extend("a1 a2 a3 a4 a5 a6"));
    await rig.record(chain.reorg("a4", "a6 a5"));
    await rig.record(chain.extend("b5"));
    await rig.record(chain.reorg("a4", "b5"));
    await rig.record(chain.extend("a5"));
    await rig.settled();
    // What a reorg took before its turn came was never run, so the first six may lack some; whatever ran is in order.
    const five = ran.map((line, i) => `${line} ${keys[i]}`).filter(line => / 5 /.test(line));
    assert.deepEqual(five.slice(-1), ["apply 5 apply-2"]);
    assert.ok(five.length === 1 || five.slice(0, 2).join() === "apply 5 apply,revert 5 revert", five.join());
    const counts = new Map<string, number>();
    for (const line of ran) {
      const [operation, amount] = line.split(" ") as [string, string];
      counts.set(amount, (counts.get(amount) ?? 0) + (operation === "apply" ? 1 : -1));
    }
    assert.deepEqual(
      [...counts]
        .filter(([, count]) => count === 1)
        .map(([amount]) => Number(amount))
        .sort(),
      [1, 2, 3, 4, 5],
    );
    chain.switchTo("a5");
    await assertAudit(rig, app, chain);
  });

  it("is told to take back what it failed for, since nobody knows how far it came, but not what never began", async () => {
    const { ran, app } = diary("latest", (event, { operation }) => {
      if (operation === "apply" && event.arguments.amount === 5n) throw new Error("the receiver is away");
    });
    const attempts = { ...app, routes: app.routes.map(route => ({ ...route, attempts: 1 })) };
    rig = await openRig("postgres", attempts);
    const chain = threeBranches();
    await rig.record(chain.extend("a1 a2 a3 a4 a5"));
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    assert.equal((await rig.deliveries()).filter(({ state }) => state === "dead").length, 1);
    await rig.record(chain.extend("a6"));
    await rig.record(chain.reorg("a4", "a6 a5"));
    await rig.settled();
    assert.ok(ran.includes("revert 5"), ran.join());
    assert.equal(ran.includes("apply 6"), ran.includes("revert 6"), ran.join());
  });

  it("is told to take back what ran in a process that was killed before it said so", async () => {
    const ran: string[] = [];
    const app = meterApp(
      taskRoute(
        async (event, { operation }) => {
          ran.push(`${operation} ${event.arguments.amount}`);
          if (ran.length === 1) await new Promise(() => {});
        },
        { finality: "latest" },
      ),
    );
    rig = await openRig("postgres", app);
    const chain = threeBranches();
    await rig.record(chain.extend("a1"));
    await rig.db.query("update deliveries set state = 'sent', sends = 1, sent_at = now()");
    // As a process does that is killed then: it never comes to an end, and another one takes the job over.
    const { db, chainId } = rig;
    const deliver = createDelivery(app.routes[0]!, { app, db, chainId, log: silent });
    const signal = new AbortController().signal;
    void deliver(1, signal);
    await eventually(() => ran.length === 1);
    await rig.record(chain.reorg("", "a1"));
    await deliver(1, signal);
    rig.startRelay();
    await rig.startWorkers();
    await rig.settled();
    assert.deepEqual(ran, ["apply 1", "revert 1"]);
  });

  it("keeps what it has had, and misses nothing, when its finality is changed", async () => {
    const ran: string[] = [];
    const run = async (event: Added, { operation }: Context) => void ran.push(`${operation} ${event.arguments.amount}`);
    const of = (finality: DeliveryFinality) => meterApp(taskRoute(run, { finality }));
    await open(of("safe"));
    const chain = threeBranches();
    await rig.record(chain.extend("a1 a2 a3 a4 a5 a6"));
    await rig.journal.sawSafe(chain.ref("a4"));
    await rig.record(chain.finalize("a2"));
    for (const [finality, expected] of [
      ["finalized", 4],
      [1, 4],
      ["latest", 6],
      ["finalized", 6],
    ] as const) {
      const journal = rig.writerOf(of(finality));
      await journal.checkpoint();
      await journal.fillQueues();
      const { rows } = await rig.db.query("select unnest(events) as event from deliveries order by 1");
      assert.deepEqual(
        rows.map(({ event }) => event),
        Array.from({ length: expected }, (_, i) => i + 1),
        `as ${finality}`,
      );
    }
  });

  const seed = Number(process.env.SEED ?? randomInt(1, 2 ** 31));
  it(`ends with the canonical events at every finality, after reorgs of every depth (SEED=${seed})`, async () => {
    const { next: random, below } = randomFrom(seed);
    const finalities = ["latest", "safe", "finalized", 1, 4] as const;
    const net = new Map<string, Map<bigint, number>>(finalities.map(finality => [String(finality), new Map()]));
    const routes = finalities.map(finality =>
      taskRoute(
        async (event, { operation }) => {
          const mine = net.get(String(finality))!;
          const { amount } = event.arguments;
          mine.set(amount, (mine.get(amount) ?? 0) + (operation === "apply" ? 1 : -1));
          assert.ok(Math.abs(mine.get(amount)!) <= 1, `${finality}: ${operation} ${amount} twice`);
        },
        { finality },
      ),
    );
    const app = meterApp(...routes.map((route, i) => ({ ...route, queue: `tasks-${finalities[i]}` })));
    await open(app);
    const chain = scriptedChain("a1");
    let amount = 0;
    const fill = (name: string) =>
      chain.logs(
        name,
        Array.from({ length: below(3) }, () => added(1, ++amount)),
      );
    fill("a1");
    let line = ["a1"];
    let final = 0;
    await rig.record(chain.extend("a1"));
    for (let step = 1; step <= 40; step++) {
      const depth = random() < 0.4 ? below(Math.min(6, line.length - final)) : 0;
      const kept = line.slice(0, line.length - depth);
      const names = Array.from(
        { length: depth + below(2) + 1 },
        (_, i) => `${String.fromCharCode(97 + Math.floor(step / 26), 97 + (step % 26))}${kept.length + 1 + i}`,
      );
      chain.forkAt(kept.at(-1) ?? "", names.join(" "));
      for (const name of names) fill(name);
      if (depth > 0) await rig.record(chain.reorg(kept.at(-1) ?? "", line.slice(kept.length).reverse().join(" ")));
      await rig.record(chain.extend(names.join(" ")));
      line = [...kept, ...names];
      const safe = Math.min(line.length, final + below(3));
      if (safe > 0) await rig.journal.sawSafe(chain.ref(line[safe - 1]!));
      if (random() < 0.3 && line.length - final > 6) {
        final += 1 + below(2);
        await rig.record(chain.finalize(line[final - 1]!));
      }
    }
    await rig.record(chain.finalize(line.at(-1)!));
    await rig.settled(60_000);
    const { rows } = await rig.db.query<{ amount: string }>(
      "select arguments ->> 'amount' as amount from events where live order by position",
    );
    const canonical = rows.map(row => Number(row.amount));
    assert.ok(canonical.length > 10);
    for (const [finality, counts] of net) {
      const left = [...counts].flatMap(([one, count]) => Array<number>(count).fill(Number(one)));
      assert.deepEqual(
        left.sort((a, b) => a - b),
        canonical,
        finality,
      );
    }
    await assertAudit(rig, app, chain);
  });
});
