import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { FastifyInstance } from "fastify";
import { type Activity, openActivity } from "../../../listener/journal/activity.ts";
import { eventually } from "../../support/eventually.ts";
import { account, apiOf, ask, CHAIN, createWorld, hashOf, openTestDb, registered, silent, transfer, type World } from "./support.ts";

type Point = {
  time: number;
  events: Record<string, number>;
  reorgs: number;
  lag: number | null;
  latency: { p50: number; p95: number } | null;
  queues: Record<string, { done: number; failed: number }>;
};

describe("activity", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let world: World;
  let api: FastifyInstance;
  const counting = (lag = false): Activity => openActivity({ db: database.db, chainId: CHAIN, log: silent, lag });
  /** As they are now: by a server that has not answered this before. */
  const points = async (window: string): Promise<Point[]> => {
    const fresh = await apiOf(database.db);
    const answer = await ask(fresh, `activity?window=${window}`);
    await fresh.close();
    return answer.points;
  };
  const total = (all: Point[], of: (point: Point) => number | undefined) => all.reduce((sum, point) => sum + (of(point) ?? 0), 0);

  before(async () => {
    database = await openTestDb();
    world = await createWorld(database.db);
    api = await apiOf(database.db);
  });
  after(async () => {
    await api?.close();
    await database?.close();
  });

  it("has every point of its window, and says what it does not know", async () => {
    for (const [window, count, step] of [
      ["15m", 90, 10],
      ["1h", 120, 30],
      ["24h", 120, 720],
    ] as const) {
      const answer = await ask(api, `activity?window=${window}`);
      assert.deepEqual([answer.window, answer.step, answer.points.length], [window, step, count]);
      const times = answer.points.map(({ time }: Point) => time);
      assert.ok(times.every((time: number, i: number) => time % step === 0 && (i === 0 || time - times[i - 1] === step)));
      assert.ok(Math.abs(times.at(-1) - Date.now() / 1_000) <= step + 60);
      const { events, lag, latency } = answer.points[0];
      assert.deepEqual([events, lag, latency], [{}, null, null]);
    }
    await ask(api, "activity?window=2d", 400);
  });

  it("adds up what several processes did at the same time", async () => {
    const processes = Array.from({ length: 4 }, () => counting());
    const recorded = await world.extend([
      registered(account(1), "a"),
      transfer(account(1), account(2), 0n),
      transfer(account(2), account(1), 0n),
    ]);
    for (const activity of processes) {
      activity.recorded(recorded);
      activity.recorded({ ...recorded, update: { type: "reorg", ancestor: undefined, removed: [] }, events: [] });
      for (const queue of ["balances", "accounts"]) activity.settled({ queue, state: "done" });
      activity.settled({ queue: "balances", state: "dead" });
      for (let ms = 1; ms <= 100; ms += 1) activity.settled({ queue: "transfers", state: "done", latency: ms });
    }
    await Promise.all(processes.map(activity => activity.close()));
    for (const window of ["15m", "1h", "24h"]) {
      const all = await points(window);
      assert.equal(
        total(all, point => point.reorgs),
        4,
      );
      assert.equal(
        total(all, point => point.queues.balances!.done),
        4,
      );
      assert.equal(
        total(all, point => point.queues.balances!.failed),
        4,
      );
      const ratio = total(all, point => point.events["SluiceToken.Transfer"]) / total(all, point => point.events["SluiceToken.Registered"]);
      assert.ok(Math.abs(ratio - 2) < 0.2, `${ratio}`);
      const { p50, p95 } = all.findLast(({ latency }) => latency)!.latency!;
      assert.ok(p50 > 43 && p50 < 57, `p50 ${p50}`);
      assert.ok(p95 > 83 && p95 < 108, `p95 ${p95}`);
    }
    const { items } = await ask(api, "queues");
    assert.ok(items.find(({ name }: { name: string }) => name === "transfers").rate > 6);
  });

  it("is fed by the workers, and by the one who leads with how far it lags behind", async () => {
    await world.extend([], { head: 40 });
    await world.work();
    const leader = counting(true);
    await eventually(async () => {
      const all = await points("15m");
      return all.some(({ lag }) => lag !== null && lag > 30) && total(all, point => point.queues.statistics!.done) > 0;
    });
    await leader.close();
  });

  it("says since when the oldest of a queue waits", async () => {
    await world.extend([transfer(account(1), account(2), 0n)]);
    const queueOf = async () => (await ask(api, "queues")).items.find(({ name }: { name: string }) => name === "balances");
    const { oldest, oldestAge } = await queueOf();
    assert.ok(oldestAge >= 0 && oldestAge < 60, `${oldestAge}`);
    assert.ok(Math.abs(Date.parse(oldest) - Date.now()) < 60_000);
    await world.work();
    assert.deepEqual([(await queueOf()).oldest, (await queueOf()).oldestAge], [null, null]);
  });

  it("shows how far a backfill is, and how fast", async () => {
    const tip = world.tip().number;
    const seenAt = new Date(Date.now() - 10_000);
    const range = { from: tip + 1, to: tip + 1_000 };
    const read = (number: number) =>
      world.journal.record({
        type: "extend",
        headers: [{ number, hash: hashOf(`f${number}`), parentHash: hashOf("before"), timestamp: 1, logsBloom: "0x" }],
        logs: [],
        head: tip + 1_020,
        seenAt,
        backfill: range,
      });
    await read(tip + 200);
    await read(tip + 400);
    const { backfill } = await ask(api, "status");
    const { blocksPerSecond, eventsPerSecond, secondsLeft, ...progress } = backfill;
    assert.deepEqual(progress, { ...range, at: tip + 400 });
    assert.ok(blocksPerSecond > 15 && blocksPerSecond <= 40, `${blocksPerSecond}`);
    assert.equal(eventsPerSecond, 0);
    assert.ok(secondsLeft >= 15 && secondsLeft <= 40, `${secondsLeft}`);
    await read(tip + 1_000);
    assert.equal((await ask(api, "status")).backfill, null);
  });
});
