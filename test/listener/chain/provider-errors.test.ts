import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { classifyRefusal, type RangeRefusal } from "../../../listener/chain/provider-errors.ts";

const cap = (blocks: number): RangeRefusal => ({ kind: "cap stated", cap: blocks });
const suggested = (from: number, to: number): RangeRefusal => ({ kind: "range suggested", from, to });
const dense: RangeRefusal = { kind: "too dense" };
const filters: RangeRefusal = { kind: "too many addresses or topics" };
const rate: RangeRefusal = { kind: "rate limited" };
const behind: RangeRefusal = { kind: "node behind" };
const unknown: RangeRefusal = { kind: "unknown" };

/** What providers really say, and what they mean by it. */
const MESSAGES: [provider: string, message: string, meaning: RangeRefusal][] = [
  [
    "Alchemy",
    "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on the response size, or you can request any block range with a cap of 10K logs in the response. Based on your parameters and the response size limit, this block range should work: [0x100, 0x1ff]",
    suggested(256, 511),
  ],
  ["Alchemy", "this block range should work: [0x1ff, 0x100]", suggested(256, 511)],
  [
    "Alchemy",
    "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on the response size, or you can request any block range with a cap of 10K logs in the response.",
    cap(2_000),
  ],
  ["Alchemy", "You can make eth_getLogs requests with up to a 500 block range.", cap(500)],
  ["Infura", "query returned more than 10000 results. Try with this block range [0xA00, 0xAFF].", suggested(2560, 2815)],
  ["Infura", "query returned more than 10000 results", dense],
  ["Infura", "query timeout exceeded", dense],
  ["Infura", "range 20000 exceeds limit of 10000", cap(10_000)],
  ["Infura", "This query contains 6001 filters. The current limit is 5000.", filters],
  ["QuickNode", "eth_getLogs is limited to a 10,000 blocks range", cap(10_000)],
  ["1RPC", "eth_getLogs is limited to a 10000 block range", cap(10_000)],
  ["Blast", "response size should not greater than 10000000 bytes", dense],
  ["Ankr", "block range is too wide", dense],
  ["Moonbeam", "query exceeds max results 20000", dense],
  ["Moonbeam", "maximum [from, to] blocks distance: 1024", cap(1_024)],
  ["Cloudflare", "Max range: 800", cap(800)],
  ["dRPC", "ranges over 10000 blocks are not supported on freetier", cap(10_000)],
  ["thirdweb", "Maximum allowed number of requested blocks is 1000", cap(1_000)],
  ["Avalanche", "requested too many blocks from 0 to 5000, maximum is set to 2048", cap(2_048)],
  ["Base", "please limit the query to at most 1000 blocks", cap(1_000)],
  ["Coinbase", "block range too large", dense],
  ["Optimism", "backend response too large", dense],
  ["Base", "no backend is currently healthy to serve traffic", behind],
  ["Chainstack", "Block range limit exceeded. See more details at https://docs.chainstack.com", dense],
  ["Chainstack", "Block range limit exceeded.", dense],
  ["PublicNode", "maximum block range: 50000", cap(50_000)],
  ["Hyperliquid", "query exceeds max block range 1000", cap(1_000)],
  ["Merkle", "eth_getLogs range is too large, max is 10k blocks", cap(10_000)],
  ["Sei", "block range too large (2000), maximum allowed is 1000 blocks", cap(1_000)],
  ["Arbitrum", "logs matched by query exceeds limit of 10000", dense],
  ["zkEVM", "query returned more than 20000 results", dense],
  ["geth", "invalid block range params", unknown],
  ["geth", "block range extends beyond current head block", behind],
  ["geth", "exceed maximum block range 5000", cap(5_000)],
  ["geth", "exceed max addresses or topics per search position", filters],
  ["geth", "unknown block", behind],
  ["geth", "filter not found", unknown],
  ["reth", "query exceeds max block range 100000", cap(100_000)],
  ["reth", "query exceeds max results 20000, retry with the range 100-150", suggested(100, 150)],
  ["reth", "block range extends beyond current head block: requested 20, head 10", behind],
  ["HTTP", "429 Too Many Requests", rate],
  ["Infura", "limit exceeded", rate],
  ["Cloudflare", "node is under too much load", rate],
  ["Alchemy", "Monthly capacity limit exceeded. Visit https://dashboard.alchemy.com/settings/billing", rate],
  ["anybody", "something else altogether", unknown],
  ["anybody", "", unknown],
];

describe("provider errors", () => {
  for (const [provider, message, meaning] of MESSAGES) {
    it(`${provider}: ${JSON.stringify(message.slice(-70))} means ${JSON.stringify(meaning)}`, () => {
      assert.deepEqual(classifyRefusal(message), meaning);
    });
  }

  it("understands each of them in any case", () => {
    for (const [, message, meaning] of MESSAGES) assert.deepEqual(classifyRefusal(message.toUpperCase().replaceAll("0X", "0x")), meaning);
  });
});
