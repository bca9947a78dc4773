import { Interface, ZeroAddress } from "ethers";
import fc from "fast-check";
import type { JournalEvent } from "../../listener/app.ts";
import { contracts } from "../../listener/dapp/contracts.ts";

export const token = new Interface(contracts.SluiceToken as never);

/** The address of account `n`; account 0 is the zero address. */
export const holder = (n: number) => (n === 0 ? ZeroAddress : `0x${n.toString(16).padStart(40, "a")}`);

const amount = fc.oneof(fc.bigInt({ min: 0n, max: 1_000n }), fc.bigInt({ min: 0n, max: 2n ** 256n - 1n }));
const anyone = fc.integer({ min: 1, max: 5 }).map(holder);
/** A mint, a burn or a transfer; never from nobody to nobody. */
const sides = fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 5 })).filter(([from, to]) => from + to > 0);
const happened = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(sides, amount)
      .map(([[from, to], value]) => ({ name: "Transfer", arguments: { from: holder(from), to: holder(to), value } })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(anyone, anyone, amount)
      .map(([minter, to, n]) => ({ name: "Minted", arguments: { minter, to, amount: n, reason: `0x${"00".repeat(32)}`, sequence: 0n } })),
  },
  { weight: 1, arbitrary: amount.map(reward => ({ name: "Mined", arguments: { reward } })) },
  { weight: 2, arbitrary: fc.constantFrom("Paused", "Unpaused").map(name => ({ name, arguments: {} })) },
);

/** Events of a token at positions 1 on, in blocks of a few hours; the registrations are of different accounts. */
export const tokenEvents = fc
  .record({
    happened: fc.array(happened, { maxLength: 40 }),
    registered: fc.integer({ min: 0, max: 5 }),
    from: fc.integer({ min: 0, max: 100_000 }),
  })
  .map(({ happened, registered, from }) => {
    const registrations = Array.from({ length: registered }, (_, i) => ({
      name: "Registered",
      arguments: { account: holder(i + 1), name: `name-${i}`, grant: BigInt(i), sequence: 0n },
    }));
    return [...registrations, ...happened].map(
      ({ name, arguments: values }, i): JournalEvent => ({
        id: `event-${i}`,
        chainId: 1,
        position: i + 1,
        contract: "SluiceToken",
        address: holder(9),
        event: `SluiceToken.${name}`,
        arguments: values as never,
        block: { number: i, hash: `0x${i}`, timestamp: from + i * 977 },
        transactionHash: `0x${i}`,
        logIndex: 0,
      }),
    );
  });
