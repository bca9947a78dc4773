import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { keccak256 } from "ethers";
import { checkHeaderHash } from "../../../listener/chain/header-hash.ts";
import { provenLogs, provenTransactions, receiptsRoot } from "../../../listener/chain/receipts.ts";
import { encodeTransaction } from "../../../listener/chain/transactions.ts";
import { listRoot, trieRoot } from "../../../listener/chain/trie.ts";
import { BadAnswerError, UnverifiableError } from "../../../listener/errors.ts";
import { noAnvil, startAnvil } from "../../support/anvil.ts";
import { eventfulChain, type RpcBlock, type RpcLog, type RpcReceipt, receiptsOf, toBeHexNumber } from "../../support/eventful-chain.ts";
import { hardhatNode } from "../../support/hardhat-node.ts";

type Found = { block: RpcBlock; receipts: RpcReceipt[]; logs: RpcLog[] };

for (const [node, start, expected] of [
  ["anvil", startAnvil, ["0x0", "0x1", "0x2", "0x3", "0x4"]],
  ["Hardhat", hardhatNode, ["0x0", "0x1", "0x2", "0x4"]],
] as const) {
  describe(`receipts of ${node}`, { skip: node === "anvil" && noAnvil }, () => {
    const blocks: Found[] = [];
    let types = new Set<string>();
    let close = async () => {};
    before(async () => {
      const server = await start();
      close = server.close;
      const chain = await eventfulChain(server.url);
      types = chain.types;
      for (let number = 0; number <= chain.head; number++) {
        const at = toBeHexNumber(number);
        blocks.push({
          block: await chain.call<RpcBlock>("eth_getBlockByNumber", at, true),
          receipts: await receiptsOf(chain.call, at),
          logs: await chain.call<RpcLog[]>("eth_getLogs", { fromBlock: at, toBlock: at }),
        });
      }
    });
    after(() => close());

    it("holds every type of transaction, a creation, a failure and an empty block", () => {
      assert.deepEqual([...types].sort(), expected);
      assert.ok(blocks.some(({ receipts }) => receipts.some(({ contractAddress }) => contractAddress)));
      assert.ok(blocks.some(({ receipts }) => receipts.some(({ status }) => status === "0x0")));
      assert.ok(blocks.some(({ receipts }) => receipts.length === 0));
      assert.ok(blocks.some(({ receipts }) => receipts.length > 128));
    });

    it("has each block's hash, roots and transactions rebuilt from what the node says", () => {
      for (const { block, receipts } of blocks) {
        checkHeaderHash(block);
        assert.equal(receiptsRoot(receipts), block.receiptsRoot);
        const hashes = block.transactions.map(({ hash }) => hash);
        assert.deepEqual(
          block.transactions.map(one => keccak256(encodeTransaction(one))),
          hashes,
        );
        if (!hasBlobs(block)) assert.deepEqual(provenTransactions(block), hashes);
      }
    });

    it("gives the logs that the node gives, each where it stands", () => {
      for (const { block, receipts, logs } of blocks) {
        const proven = provenLogs(proof(block), receipts);
        assert.deepEqual(
          proven.map(log => [log.transactionHash, log.transactionIndex, log.logIndex, log.address, log.topics, log.data]),
          logs.map(log => [log.transactionHash, Number(log.transactionIndex), Number(log.logIndex), log.address, log.topics, log.data]),
        );
      }
    });

    it("notices when any one field of any header is another", () => {
      for (const { block } of blocks) {
        const fields = Object.keys(block).filter(
          name => !["size", "uncles", "transactions", "withdrawals", "totalDifficulty"].includes(name),
        );
        assert.ok(fields.length >= 17);
        for (const name of fields) {
          const value = block[name] as string;
          const last = value.endsWith("1") ? "2" : "1";
          const altered = value === "0x" ? "0x01" : `${value.slice(0, -1)}${last}`;
          assert.throws(() => checkHeaderHash({ ...block, [name]: altered }), BadAnswerError, name);
        }
      }
    });

    it("says so where a header has fields that it does not know, and its hash is not Ethereum's", () => {
      const { block } = blocks.at(-1)!;
      checkHeaderHash({ ...block, l1BlockNumber: "0x1" });
      assert.throws(() => checkHeaderHash({ ...block, hash: block.parentHash, l1BlockNumber: "0x1" }), UnverifiableError);
    });

    it("refuses receipts of a type that Ethereum does not have", () => {
      const { block, receipts } = blocks.find(found => found.receipts.length > 0)!;
      assert.throws(() => provenLogs(proof(block), [{ ...receipts[0], type: "0x7e" }, ...receipts.slice(1)]), UnverifiableError);
    });

    it("refuses whatever is no receipt, no list and no number", () => {
      const { block, receipts } = blocks.find(found => found.receipts.length > 0)!;
      for (const bad of [null, {}, "0x", receipts.slice(1), [null], [{}], [{ ...receipts[0], cumulativeGasUsed: 5 }]])
        assert.throws(() => provenLogs(proof(block), bad), BadAnswerError);
    });
  });
}

/** Anvil's root of these is not Ethereum's: see `provenTransactions`. */
const hasBlobs = (block: RpcBlock) => block.transactions.some(({ type }) => type === "0x3");

const proof = (block: RpcBlock) => ({
  number: Number(block.number),
  hash: block.hash,
  timestamp: Number(block.timestamp),
  receiptsRoot: String(block.receiptsRoot),
  transactions: hasBlobs(block) ? block.transactions.map(({ hash }) => hash) : provenTransactions(block),
});

describe("trie", () => {
  // "dogs", from the tests of the Ethereum project (trieanyorder.json): extension, branch with a value, and inlined nodes.
  it("has the root of the classic example, whatever the order", () => {
    const hex = (text: string) => `0x${Buffer.from(text).toString("hex")}`;
    const entries = [
      ["doe", "reindeer"],
      ["dog", "puppy"],
      ["dogglesworth", "cat"],
    ].map(([key, value]) => [hex(key!), hex(value!)] as const);
    for (const given of [entries, entries.toReversed()])
      assert.equal(trieRoot(given), "0x8aad789dff2f538bca5d8ea56e8abe10f4c7ba3a5dea95fea4cd6e7c3a1168d3");
  });

  it("has the root of nothing that every empty block has", () => {
    assert.equal(listRoot([]), "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421");
  });
});
