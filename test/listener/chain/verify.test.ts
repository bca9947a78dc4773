import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { getBytes } from "ethers";
import fc from "fast-check";
import type { Log } from "../../../listener/chain/types.ts";
import { bloomAdmits, checkBlock, checkLogs } from "../../../listener/chain/verify.ts";
import { BadAnswerError } from "../../../listener/errors.ts";
import { bloomOf } from "../../support/bloom.ts";
import { SCRIPTED_ADDRESS, SCRIPTED_TOPIC, scriptedChain } from "../../support/scripted-chain.ts";

const filter = { addresses: [SCRIPTED_ADDRESS], topics: [SCRIPTED_TOPIC] };
const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length }).map(all => `0x${Buffer.from(all).toString("hex")}`);
const log = fc.record({ address: bytes(20), topics: fc.array(bytes(32), { maxLength: 4 }) });

/** The logs of a block of three, and a header that fits them. */
function block() {
  const chain = scriptedChain("a1 a2").logs("a2", 3);
  const { logs } = chain.extend("a2") as { logs: Log[] };
  return { logs, header: { ...chain.block("a2"), logsBloom: bloomOf(logs) } };
}

describe("verify", () => {
  it("finds every address and topic of a block's logs in its bloom", () => {
    fc.assert(
      fc.property(fc.array(log, { maxLength: 20 }), logs => {
        const bloom = getBytes(bloomOf(logs));
        for (const { address, topics } of logs) for (const value of [address, ...topics]) assert.ok(bloomAdmits(bloom, value));
      }),
    );
  });

  it("finds next to nothing in it that is not there", () => {
    fc.assert(
      fc.property(fc.array(log, { minLength: 1, maxLength: 5 }), fc.array(bytes(20), { minLength: 50, maxLength: 50 }), (logs, others) => {
        const bloom = getBytes(bloomOf(logs));
        assert.ok(others.filter(other => bloomAdmits(bloom, other)).length < 10);
      }),
      { numRuns: 50 },
    );
    assert.equal(bloomAdmits(new Uint8Array(256), SCRIPTED_ADDRESS), false);
  });

  it("passes the logs of a block that are as they should be", () => {
    const { logs, header } = block();
    assert.deepEqual(checkBlock(header, checkLogs(logs, filter, 2, 2), filter), { promisedButMissing: false });
  });

  it("sorts logs into the order of the chain", () => {
    const { logs } = block();
    assert.deepEqual(checkLogs(logs.toReversed(), filter, 2, 2), logs);
  });

  it("notices a block without logs whose bloom promises one", () => {
    const { header } = block();
    assert.deepEqual(checkBlock(header, [], filter), { promisedButMissing: true });
  });

  it("expects nothing of a block whose bloom lacks our address or our topic", () => {
    const { header } = block();
    assert.equal(checkBlock(header, [], { ...filter, addresses: [`0x${"01".repeat(20)}`] }).promisedButMissing, false);
    assert.equal(checkBlock(header, [], { ...filter, topics: [`0x${"01".repeat(32)}`] }).promisedButMissing, false);
  });

  const caught: [string, (logs: Log[]) => Log[]][] = [
    ["of another block", logs => [{ ...logs[0]!, blockHash: `0x${"99".repeat(32)}` }]],
    ["with a topic that the block's bloom does not admit", logs => [{ ...logs[0]!, topics: [SCRIPTED_TOPIC, `0x${"77".repeat(32)}`] }]],
    ["of an address that was not asked for", logs => [{ ...logs[0]!, address: `0x${"01".repeat(20)}` }]],
    ["with a first topic that was not asked for", logs => [{ ...logs[0]!, topics: [`0x${"01".repeat(32)}`] }]],
    ["without topics", logs => [{ ...logs[0]!, topics: [] }]],
    ["that comes twice", logs => [logs[0]!, ...logs]],
    ["below the range", logs => [{ ...logs[0]!, blockNumber: 1 }]],
    ["above the range", logs => [...logs, { ...logs[0]!, blockNumber: 3 }]],
    ["of a second block of the same number", logs => [logs[0]!, { ...logs[1]!, blockHash: `0x${"99".repeat(32)}` }]],
  ];
  for (const [what, alter] of caught) {
    it(`refuses a log ${what}`, () => {
      const { logs, header } = block();
      assert.throws(() => checkBlock(header, checkLogs(alter(logs), filter, 2, 2), filter), BadAnswerError);
    });
  }
});
