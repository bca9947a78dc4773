import assert from "node:assert/strict";
import { it } from "node:test";
import { newSeed, randomFrom } from "../../scripts/support/random.ts";
import { simChain } from "../support/chain-sim/chain.ts";

it("never replaces a block that has its confirmations, from the first block on", t => {
  const seed = newSeed();
  t.diagnostic(`seed ${seed}`);
  const random = randomFrom(seed);
  for (let chains = 0; chains < 20; chains++) {
    const confirmations = 1 + random.below(8);
    const chain = simChain(random, confirmations);
    let final = chain.genesis;
    const look = () => {
      assert.ok(chain.contains(final), `seed ${seed}: block ${final.number} was final, with ${confirmations} confirmations`);
      if (chain.head.number - confirmations > final.number) final = chain.at(chain.head.number - confirmations)!;
    };
    chain.mine(1 + random.below(20), 0);
    look();
    for (let steps = 0; steps < 20; steps++) {
      const depth = random.below(chain.depth() + 1);
      const back = chain.left.at(-1);
      if (random.below(3) > 0) chain.reorg(depth, random.below(depth + 3), 0);
      else if (back) chain.switchTo(back);
      look();
    }
  }
});
