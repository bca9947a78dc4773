import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeRlp as byEthers } from "ethers";
import fc from "fast-check";
import { encodeRlp, type RlpNode } from "../../../listener/chain/rlp.ts";

const bytes = fc.uint8Array({ maxLength: 80 }).map(array => `0x${Buffer.from(array).toString("hex")}`);
const { node } = fc.letrec<{ node: RlpNode }>(tie => ({
  node: fc.oneof({ maxDepth: 5 }, bytes, fc.array(tie("node"), { maxLength: 20 })),
}));

test("encodes as ethers does", () => {
  fc.assert(fc.property(node, given => assert.equal(encodeRlp(given), byEthers(given as never))));
});

for (const length of [0, 1, 55, 56, 255, 256, 65_535, 65_536]) {
  test(`encodes ${length} bytes, and as many items, as ethers does`, () => {
    const given = `0x${"7f".repeat(length)}`;
    assert.equal(encodeRlp(given), byEthers(given));
    const items = Array.from({ length: Math.min(length, 2_000) }, () => "0x80");
    assert.equal(encodeRlp(items), byEthers(items));
  });
}

test("encodes a receipt with 10,000 logs", () => {
  const log = [`0x${"ab".repeat(20)}`, Array.from({ length: 3 }, () => `0x${"cd".repeat(32)}`), `0x${"ef".repeat(64)}`];
  const encoded = encodeRlp(["0x01", Array.from({ length: 10_000 }, () => log)]);
  assert.equal(encoded.length, 2 + 2 * (4 + 1 + 4 + 10_000 * 190));
});
