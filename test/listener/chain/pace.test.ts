import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createHedging } from "../../../listener/chain/hedge.ts";
import { createPace } from "../../../listener/chain/pace.ts";
import { parseRetryAfter } from "../../../listener/chain/transport.ts";

describe("pace", () => {
  /** Asks as often as the pace allows, from `from` to `to`; gives how often that was. */
  const ask = (pace: ReturnType<typeof createPace>, from: number, to: number) => {
    let asked = 0;
    for (let now = from; now < to; now++) {
      if (pace.readyAt() > now) continue;
      pace.take(now);
      asked += 1;
    }
    return asked;
  };

  it("knows no limit before it is told of one", () => {
    const pace = createPace();
    assert.equal(ask(pace, 10_000, 11_000), 1_000);
    assert.equal(pace.limit(), null);
  });

  it("goes below the rate at which it was refused, and takes refusals at once for one", () => {
    const pace = createPace();
    for (let now = 10_000; now < 11_000; now += 10) pace.take(now);
    for (let i = 0; i < 20; i++) pace.limited(11_000);
    assert.ok(pace.limit()! > 60 && pace.limit()! < 75, String(pace.limit()));
    assert.ok(ask(pace, 11_000, 12_000) <= 75);
  });

  it("does not learn a crawl from a refusal in quiet times", () => {
    const pace = createPace();
    pace.take(10_000);
    pace.limited(10_100);
    assert.equal(ask(pace, 11_000, 12_000), 5);
  });

  it("comes back when nothing is refused any more", () => {
    const pace = createPace();
    for (let now = 10_000; now < 11_000; now += 10) pace.take(now);
    pace.limited(11_000);
    const early = ask(pace, 11_000, 15_000);
    pace.take(300_000);
    assert.ok(pace.limit() === null || pace.limit()! > 5 * (early / 4), `${early} and ${pace.limit()}`);
  });
});

describe("hedging", () => {
  it("takes for slow what is slower than the same method's usual time", () => {
    const hedging = createHedging();
    assert.equal(hedging.delay("a"), 1_000);
    for (let i = 0; i < 100; i++) hedging.answered("a", 100);
    assert.equal(Math.round(hedging.delay("a")), 150);
    assert.equal(hedging.delay("b"), 1_000);
  });

  it("asks no more than one call in ten twice in the long run", () => {
    const hedging = createHedging();
    let twice = 0;
    for (let i = 0; i < 1_000; i++) {
      if (hedging.afford()) twice += 1;
      hedging.answered("a", 100);
    }
    assert.ok(twice >= 100 && twice <= 106, String(twice));
  });
});

describe("Retry-After", () => {
  it("is seconds or a date, no longer than a quarter of an hour, and else nothing", () => {
    const now = Date.parse("Fri, 20 Nov 2026 12:00:00 GMT");
    assert.equal(parseRetryAfter("3", now), 3_000);
    assert.equal(parseRetryAfter("Fri, 20 Nov 2026 12:00:30 GMT", now), 30_000);
    assert.equal(parseRetryAfter("99999", now), 900_000);
    for (const nothing of [undefined, "", "soon", "0", "-5", "Fri, 20 Nov 2026 11:00:00 GMT"])
      assert.equal(parseRetryAfter(nothing, now), undefined, nothing);
  });
});
