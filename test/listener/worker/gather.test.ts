import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { createGather } from "../../../listener/worker/gather.ts";

/** A gather whose round trips end when they are told to. */
function held() {
  const trips: { keys: number[]; end(): void; fail(error: Error): void }[] = [];
  const call = createGather<string>(keys => {
    const { promise, resolve, reject } = Promise.withResolvers<Map<number, string>>();
    trips.push({ keys, end: () => resolve(new Map(keys.map(key => [key, `found ${key}`]))), fail: reject });
    return promise;
  });
  const calls = (count: number, from = 1) => Array.from({ length: count }, (_, i) => call(from + i));
  return { trips, call, calls };
}

const settle = async () => {
  for (let i = 0; i < 5; i++) await turn();
};

describe("calls that share their round trips", () => {
  it("sends a lone one at once, and those that come meanwhile together", async () => {
    const { trips, call, calls } = held();
    const first = call(1);
    await settle();
    const later = calls(10, 2);
    await settle();
    assert.deepEqual(
      trips.map(({ keys }) => keys),
      [[1]],
    );
    trips[0]!.end();
    assert.equal(await first, "found 1");
    await settle();
    assert.equal(trips[1]!.keys.length, 10);
    trips[1]!.end();
    assert.equal((await Promise.all(later)).at(-1), "found 11");
  });

  it("answers one of two with the same key", async () => {
    const { trips, call } = held();
    const both = [call(7), call(7)];
    await settle();
    trips[0]!.end();
    assert.deepEqual(await Promise.all(both), ["found 7", undefined]);
  });

  it("tries each by itself where several fail, so that one pays alone", async () => {
    const { trips, calls } = held();
    const results = Promise.allSettled(calls(2));
    await settle();
    trips[0]!.fail(new Error("one of them is bad"));
    await settle();
    assert.deepEqual(
      trips.slice(1).map(({ keys }) => keys),
      [[1], [2]],
    );
    trips[1]!.fail(new Error("bad"));
    trips[2]!.end();
    assert.deepEqual(
      (await results).map(({ status }) => status),
      ["rejected", "fulfilled"],
    );
  });
});
