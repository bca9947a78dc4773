import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ReorgPastFinalityError } from "../../../listener/errors.ts";
import { follower } from "../../support/follower.ts";
import { scriptedChain } from "../../support/scripted-chain.ts";

/** `a1 a2 … aN`. */
const run = (branch: string, from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => `${branch}${from + i}`).join(" ");

/** Looks as often as it takes to believe that a final block was replaced. */
async function insisting(following: ReturnType<typeof follower>): Promise<void> {
  for (let looks = 1; looks <= 3; looks++) assert.deepEqual(await following.look(), [], "something of it was yielded");
}

describe("follow", () => {
  it("begins at the start block and takes every block up to the head", async () => {
    assert.deepEqual(await follower(scriptedChain("a1 a2 a3")).look(), ["extend a1 a2 a3"]);
  });

  it("waits while there is nothing new", async () => {
    const chain = scriptedChain("a1");
    const following = follower(chain);
    await following.look();
    assert.deepEqual(await following.look(), []);
    assert.deepEqual(await following.look(), []);
  });

  it("takes a block that comes after the tip", async () => {
    const chain = scriptedChain("a1 a2");
    const following = follower(chain);
    await following.look();
    chain.grow("a3");
    assert.deepEqual(await following.look(), ["extend a3"]);
  });

  it("takes all blocks of a gap, in order and with their logs", async () => {
    const chain = scriptedChain("a1");
    const following = follower(chain);
    await following.look();
    chain.grow("a2 a3 a4").logs("a3", 2);
    assert.deepEqual(await following.look(), ["extend a2 a3 a4"]);
    assert.deepEqual(
      chain.calls.filter(call => call.startsWith("logs of")),
      ["logs of a1", "logs of a2", "logs of a3", "logs of a4"],
    );
  });

  it("cuts a long gap into updates that are bounded", async () => {
    const following = follower(scriptedChain(run("a", 1, 150)));
    assert.deepEqual(await following.look(), [`extend ${run("a", 1, 64)}`, `extend ${run("a", 65, 128)}`, `extend ${run("a", 129, 150)}`]);
  });

  it("waits for a chain that has not reached the start block", async () => {
    const chain = scriptedChain("a1 a2");
    const following = follower(chain, { start: 4 });
    assert.deepEqual(await following.look(), []);
    chain.grow("a3 a4 a5");
    assert.deepEqual(await following.look(), ["extend a4 a5"]);
  });

  for (const depth of [1, 3, 12]) {
    it(`replaces ${depth} block${depth > 1 ? "s" : ""} that a reorg took`, async () => {
      const chain = scriptedChain(run("a", 1, 20));
      const following = follower(chain);
      await following.look();
      const ancestor = 20 - depth;
      chain.forkAt(`a${ancestor}`, run("b", ancestor + 1, 21));
      const gone = run("a", ancestor + 1, 20)
        .split(" ")
        .reverse()
        .join(" ");
      assert.deepEqual(await following.look(), [`reorg to a${ancestor} without ${gone}`, `extend ${run("b", ancestor + 1, 21)}`]);
    });
  }

  it("finds a reorg whose new branch is no longer than the old one", async () => {
    const chain = scriptedChain("a1 a2 a3");
    const following = follower(chain);
    await following.look();
    chain.forkAt("a1", "b2 b3");
    assert.deepEqual(await following.look(), ["reorg to a1 without a3 a2", "extend b2 b3"]);
  });

  it("finds a reorg that goes back to the very first block", async () => {
    const chain = scriptedChain("a1 a2 a3");
    const following = follower(chain);
    await following.look();
    chain.forkAt("", "b1 b2 b3 b4");
    assert.deepEqual(await following.look(), ["reorg to nothing without a3 a2 a1", "extend b1 b2 b3 b4"]);
  });

  it("follows A, B and A again", async () => {
    const chain = scriptedChain("a1 a2 a3");
    const following = follower(chain);
    await following.look();
    chain.forkAt("a1", "b2 b3 b4");
    await following.look();
    chain.switchTo("a3").grow("a4 a5");
    assert.deepEqual(await following.look(), ["reorg to a1 without b4 b3 b2", "extend a2 a3 a4 a5"]);
  });

  it("does not take a lagging node for a reorg", async () => {
    const chain = scriptedChain("a1 a2 a3");
    const following = follower(chain);
    await following.look();
    chain.heads("a1");
    assert.deepEqual(await following.look(), []);
    chain.heads("a2");
    assert.deepEqual(await following.look(), []);
    chain.switchTo("a3").grow("a4");
    assert.deepEqual(await following.look(), ["extend a4"]);
  });

  it("does not take a node that lags on another branch for a reorg until it reaches our tip", async () => {
    const chain = scriptedChain("a1 a2 a3");
    const following = follower(chain);
    await following.look();
    chain.forkAt("a1", "b2 b3 b4").heads("b2");
    assert.deepEqual(await following.look(), []);
    chain.switchTo("b4");
    assert.deepEqual(await following.look(), ["reorg to a1 without a3 a2", "extend b2 b3 b4"]);
  });

  it("adds nothing twice while a balancer flips between two nodes", async () => {
    const chain = scriptedChain("a1 a2 a3 a4");
    const following = follower(chain);
    chain.heads("a4 a2 a4 a1 a3 a4 a2 a4");
    assert.deepEqual(await following.look(), ["extend a1 a2 a3 a4"]);
  });

  it("rewinds a chain that was set back, once it is as high as our tip again", async () => {
    const chain = scriptedChain("a1 a2 a3");
    const following = follower(chain);
    await following.look();
    chain.switchTo("a1");
    assert.deepEqual(await following.look(), [], "a lower head is only suspect");
    chain.forkAt("a1", "b2 b3");
    assert.deepEqual(await following.look(), ["reorg to a1 without a3 a2", "extend b2 b3"]);
  });

  it("refuses a reorg past the finalized block, and names it", async () => {
    const chain = scriptedChain("a1 a2 a3 a4").final("a3");
    const following = follower(chain);
    assert.deepEqual(await following.look(), ["extend a1 a2 a3 a4", "finalize a3"]);
    chain.forkAt("a2", "b3 b4 b5");
    await assert.rejects(insisting(following), ReorgPastFinalityError);
    assert.deepEqual(following.held.names(), ["a3", "a4"], "nothing of it was yielded");
  });

  it("does not believe a node that once replaces a final block", async () => {
    const chain = scriptedChain("a1 a2 a3 a4").final("a3");
    const following = follower(chain);
    await following.look();
    for (let i = 0; i < 3; i++) {
      chain.forkAt("a2", `b3 b4 b5`);
      assert.deepEqual(await following.look(), []);
      assert.deepEqual(await following.look(), []);
      chain.switchTo("a4");
      assert.deepEqual(await following.look(), []);
    }
    chain.grow("a5");
    assert.deepEqual(await following.look(), ["extend a5"]);
  });

  it("takes a reorg down to the finalized block, which stays", async () => {
    const chain = scriptedChain("a1 a2 a3 a4").final("a2");
    const following = follower(chain);
    await following.look();
    chain.forkAt("a2", "b3 b4 b5");
    assert.deepEqual(await following.look(), ["reorg to a2 without a4 a3", "extend b3 b4 b5"]);
  });

  it("refuses a chain whose first block is another one, when the first block is final", async () => {
    const chain = scriptedChain("a1 a2").final("a1");
    const following = follower(chain);
    await following.look();
    chain.forkAt("", "b1 b2 b3");
    await assert.rejects(insisting(following), ReorgPastFinalityError);
  });

  it("goes on from a checkpoint as if it had never stopped", async () => {
    const chain = scriptedChain("a1 a2 a3 a4").final("a2");
    const before = follower(chain);
    await before.look();
    chain.grow("a5 a6");
    const after = follower(chain, before.held.checkpoint());
    assert.deepEqual(await after.look(), ["extend a5 a6"]);
  });

  it("finds at its start that the checkpoint's tip was reorged out meanwhile", async () => {
    const chain = scriptedChain("a1 a2 a3 a4").final("a2");
    const before = follower(chain);
    await before.look();
    chain.forkAt("a2", "b3 b4 b5 b6");
    const after = follower(chain, before.held.checkpoint());
    assert.deepEqual(await after.look(), ["reorg to a2 without a4 a3", "extend b3 b4 b5 b6"]);
  });

  it("takes what is far below the finalized block by ranges, and the rest block by block", async () => {
    const chain = scriptedChain(run("a", 1, 700))
      .final("a690")
      .logs("a3", 1)
      .logs("a500", 1);
    const following = follower(chain);
    const updates = await following.look();
    const ranges = chain.calls.flatMap(call =>
      [...call.matchAll(/^logs in (\d+) to (\d+)$/g)].map(([, from, to]) => [Number(from), Number(to)]),
    );
    assert.deepEqual([ranges[0]![0], ranges.at(-1)![1]], [1, 690]);
    for (const [i, [from]] of ranges.entries()) assert.equal(from, (ranges[i - 1]?.[1] ?? 0) + 1);
    assert.ok(ranges.length < 10, `${ranges.length} ranges`);
    const byRange = ranges.map(([, to]) => `extend a${to}`);
    assert.deepEqual(updates, [...byRange, `extend ${run("a", 691, 700)}`]);
    assert.deepEqual(following.held.checkpoint().finalized, chain.ref("a690"));
  });

  it("takes back an orphaned tip before it fetches ranges on top of it", async () => {
    const chain = scriptedChain("a1 a2 a3");
    const following = follower(chain);
    await following.look();
    chain.forkAt("a1", run("b", 2, 400)).final("b390");
    const updates = await following.look();
    assert.equal(updates[0], "reorg to a1 without a3 a2");
    assert.deepEqual(following.held.names(), run("b", 390, 400).split(" "));
  });

  it("refuses ranges on top of a final block that was replaced", async () => {
    const chain = scriptedChain("a1 a2 a3").final("a2");
    const following = follower(chain);
    await following.look();
    chain.forkAt("a1", run("b", 2, 400)).final("b390");
    await assert.rejects(insisting(following), ReorgPastFinalityError);
  });

  it("tells once when a block becomes final, by tag", async () => {
    const chain = scriptedChain("a1 a2 a3").final("a1");
    const following = follower(chain);
    assert.deepEqual(await following.look(), ["extend a1 a2 a3", "finalize a1"]);
    assert.deepEqual(await following.look(), []);
    chain.final("a3");
    assert.deepEqual(await following.look(), ["finalize a3"]);
    chain.final("a2");
    assert.deepEqual(await following.look(), [], "finality never goes back");
  });

  it("tells when a block becomes final, by confirmations", async () => {
    const chain = scriptedChain("a1 a2").final(3);
    const following = follower(chain);
    assert.deepEqual(await following.look(), ["extend a1 a2"]);
    chain.grow("a3 a4 a5");
    assert.deepEqual(await following.look(), ["extend a3 a4 a5", "finalize a2"]);
  });

  it("does not call a block final that is not ours", async () => {
    const chain = scriptedChain("a1 a2 a3");
    const following = follower(chain);
    await following.look();
    chain.forkAt("a1", "b2 b3").final("b2").switchTo("a3");
    assert.deepEqual(await following.look(), []);
  });

  it("asks again for a block that vanishes half-way, and yields nothing of it before", async () => {
    const chain = scriptedChain("a1");
    const following = follower(chain);
    await following.look();
    chain.grow("a2 a3").forget("a3", 2);
    assert.deepEqual(await following.look(), []);
    assert.deepEqual(await following.look(), []);
    assert.deepEqual(await following.look(), ["extend a2 a3"]);
  });

  it("asks again when a parent is not known yet", async () => {
    const chain = scriptedChain("a1 a2 a3");
    const following = follower(chain);
    await following.look();
    chain.forkAt("a1", "b2 b3 b4").heads("b4").forget("b2");
    chain.forget("b3");
    assert.deepEqual(await following.look(), []);
    while (following.held.names().at(-1) !== "b4") await following.look();
    assert.deepEqual(following.held.names(), ["a1", "b2", "b3", "b4"]);
  });

  it("holds exactly the canonical chain after any schedule of growth, reorgs, lag, finality and restarts", async () => {
    type Step =
      | { kind: "grow"; by: number }
      | { kind: "fork"; depth: number; by: number }
      | { kind: "back" }
      | { kind: "lag"; by: number }
      | { kind: "final"; behind: number }
      | { kind: "restart" };
    const step: fc.Arbitrary<Step> = fc.oneof(
      fc.record({ kind: fc.constant("grow" as const), by: fc.integer({ min: 1, max: 200 }) }),
      fc.record({ kind: fc.constant("fork" as const), depth: fc.integer({ min: 1, max: 30 }), by: fc.integer({ min: 0, max: 30 }) }),
      fc.record({ kind: fc.constant("back" as const) }),
      fc.record({ kind: fc.constant("lag" as const), by: fc.integer({ min: 1, max: 10 }) }),
      fc.record({ kind: fc.constant("final" as const), behind: fc.integer({ min: 0, max: 10 }) }),
      fc.record({ kind: fc.constant("restart" as const) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async steps => {
        const chain = scriptedChain("a1");
        let following = follower(chain);
        let branches = 0;
        let final = 0;
        let previous = "a1";
        const tip = () => chain.canonical(1).at(-1)!;
        const height = () => chain.canonical(1).length;
        for (const step of steps) {
          if (step.kind === "grow") {
            const branch = `g${branches++}x`;
            chain.grow(run(branch, height() + 1, height() + step.by));
          } else if (step.kind === "fork") {
            const ancestor = Math.max(final, height() - step.depth);
            if (ancestor === height()) continue;
            previous = tip();
            const branch = `f${branches++}x`;
            const parent = ancestor === 0 ? "" : chain.canonical(1)[ancestor - 1]!;
            chain.forkAt(parent, run(branch, ancestor + 1, height() + step.by));
          } else if (step.kind === "back") {
            // Back to a branch that was left, as long as it holds the final block.
            const now = tip();
            const finalName = chain.canonical(1)[final - 1];
            chain.switchTo(previous);
            if (finalName && chain.canonical(1)[final - 1] !== finalName) chain.switchTo(now);
            else previous = now;
          } else if (step.kind === "lag") {
            const behind = chain.canonical(1).at(-1 - step.by);
            if (behind) chain.heads(`${behind} ${tip()}`);
          } else if (step.kind === "final") {
            final = Math.max(final, Math.max(1, height() - step.behind));
            chain.final(chain.canonical(1)[final - 1]!);
          } else {
            following = follower(chain, following.held.checkpoint());
          }
          await following.look();
        }
        // A node that was set back is believed as soon as it has as many blocks as we.
        const missing = Number(/\d+$/.exec(following.held.names().at(-1)!)![0]) - height();
        chain.grow(run("z", height() + 1, height() + Math.max(0, missing) + 1));
        await following.look();
        const held = following.held.names();
        const first = Number(/\d+$/.exec(held[0]!)![0]);
        assert.deepEqual(held, chain.canonical(first));
        assert.ok(first === 1 || first <= Math.max(1, final), `blocks from ${first} on are held, final is ${final}`);
      }),
      { numRuns: 500 },
    );
  });
});
