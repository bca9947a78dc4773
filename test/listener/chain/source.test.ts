import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RpcError } from "../../../listener/chain/rpc.ts";
import { nodeSource, RangeRefusedError, UnknownBlockError } from "../../../listener/chain/source.ts";
import type { Header } from "../../../listener/chain/types.ts";
import { BadAnswerError } from "../../../listener/errors.ts";
import { bloomOf } from "../../support/bloom.ts";
import { silent } from "../../support/silent.ts";
import { type StubAnswers, stubRpc } from "../../support/stub-rpc.ts";

const ADDRESS = `0x${"c0".repeat(20)}`;
const TOPIC = `0x${"70".repeat(32)}`;
const BLOCK = `0x${"b1".repeat(32)}`;
const header: Header = {
  number: 9,
  hash: BLOCK,
  parentHash: `0x${"b0".repeat(32)}`,
  timestamp: 1,
  logsBloom: bloomOf([{ address: ADDRESS, topics: [TOPIC] }]),
};
const rawHeader = { ...header, number: "0x9", timestamp: "0x1" };
const rawLog = {
  blockNumber: "0x9",
  blockHash: BLOCK,
  transactionHash: `0x${"7a".repeat(32)}`,
  transactionIndex: "0x0",
  logIndex: "0x0",
  address: ADDRESS,
  topics: [TOPIC],
  data: "0x",
};

const open = (answers: StubAnswers, options: Partial<Parameters<typeof nodeSource>[0]> = {}) => {
  const rpc = stubRpc(answers);
  const source = nodeSource({
    rpc,
    filter: { addresses: [ADDRESS], topics: [TOPIC] },
    finality: 2,
    verify: "bloom",
    pollInterval: 5,
    signal: new AbortController().signal,
    log: silent,
    ...options,
  });
  return { rpc, source };
};
const refuses = (message: string) => () => {
  throw new RpcError("eth_getLogs", -32_000, message);
};

describe("node source", () => {
  it("reads headers and logs into numbers and lower case", async () => {
    const { source } = open({
      eth_getBlockByNumber: rawHeader,
      eth_getLogs: [{ ...rawLog, address: ADDRESS.toUpperCase().replace("0X", "0x") }],
    });
    assert.deepEqual(await source.head(), header);
    const [log] = await source.logsOf(header);
    assert.deepEqual([log!.blockNumber, log!.logIndex, log!.address, log!.blockTimestamp], [9, 0, ADDRESS, undefined]);
  });

  it("asks for the logs of a block by its hash, with all addresses and topics at once", async () => {
    let asked: unknown;
    const { source } = open({
      eth_getLogs: (filter: unknown) => {
        asked = filter;
        return [rawLog];
      },
    });
    await source.logsOf(header);
    assert.deepEqual(asked, { blockHash: BLOCK, address: [ADDRESS], topics: [[TOPIC]] });
  });

  it("asks a second time when a block's bloom promises a log that the answer lacks", async () => {
    let tries = 0;
    const { source } = open({ eth_getLogs: () => (tries++ === 0 ? [] : [rawLog]) });
    assert.equal((await source.logsOf(header)).length, 1);
  });

  it("holds a range against the blooms of all its blocks, but far below the head only of those with logs", async () => {
    const hash = (number: number) => `0x${number.toString(16).padStart(64, "0")}`;
    const bloom = bloomOf([{ address: ADDRESS, topics: [TOPIC] }]);
    const asked: number[] = [];
    const { source } = open({
      eth_getBlockByNumber(at: string) {
        const number = at === "latest" ? 2_000_000 : Number(at);
        if (at !== "latest") asked.push(number);
        const timestamp = "0x1";
        return { number: `0x${number.toString(16)}`, hash: hash(number), parentHash: hash(number - 1), timestamp, logsBloom: bloom };
      },
      eth_getLogs: ({ fromBlock }: { fromBlock?: string }) => (fromBlock === "0x5" ? [{ ...rawLog, blockHash: hash(9) }] : []),
    });
    await source.head();
    assert.equal((await source.logsIn(5, 15)).length, 1);
    assert.deepEqual(asked, [9]);
    await source.logsIn(1_500_000, 1_500_002);
    assert.deepEqual(asked.slice(1), [1_500_000, 1_500_001, 1_500_002]);
  });

  it("believes an empty answer that was given twice, for a bloom may err", async () => {
    const { source, rpc } = open({ eth_getLogs: [] });
    assert.deepEqual(await source.logsOf(header), []);
    assert.equal(rpc.calls.length, 2);
  });

  it("asks once when it does not verify", async () => {
    const { source, rpc } = open({ eth_getLogs: [] }, { verify: "off" });
    await source.logsOf(header);
    assert.equal(rpc.calls.length, 1);
  });

  const bad: [string, unknown][] = [
    ["a log of another block", [{ ...rawLog, blockHash: `0x${"99".repeat(32)}` }]],
    ["a log that the bloom does not admit", [{ ...rawLog, topics: [TOPIC, `0x${"77".repeat(32)}`] }]],
    ["a log marked as removed", [{ ...rawLog, removed: true }]],
    ["a log without a transaction", [{ ...rawLog, transactionHash: undefined }]],
    ["something that is no list", { logs: [] }],
    ["one log twice", [rawLog, rawLog]],
    ["a log that is null", [null]],
    ["an index that is no number", [{ ...rawLog, logIndex: "0xzz" }]],
    ["a topic that is too short", [{ ...rawLog, topics: ["0x12"] }]],
    ["data that is no hex", [{ ...rawLog, data: "0xzz" }]],
  ];
  for (const [what, answer] of bad) {
    it(`uses nothing of an answer with ${what}`, async () => {
      await assert.rejects(open({ eth_getLogs: answer as never }).source.logsOf(header), BadAnswerError);
    });
  }

  for (const broken of [
    { hash: undefined },
    { hash: "0x12" },
    { number: "?" },
    { number: "0xa" },
    { parentHash: undefined },
    { timestamp: "?" },
    { timestamp: "" },
    { timestamp: null },
    { logsBloom: "0x00" },
  ]) {
    it(`uses no header with ${JSON.stringify(broken)}`, async () => {
      await assert.rejects(open({ eth_getBlockByNumber: { ...rawHeader, ...broken } }).source.headerByNumber(9), BadAnswerError);
    });
  }

  it("takes whatever a node says of a block by its hash for not knowing it", async () => {
    await assert.rejects(open({ eth_getLogs: refuses("internal error") }).source.logsOf(header), UnknownBlockError);
  });

  it("tells a refused range from a failure, with what the node meant", async () => {
    await assert.rejects(open({ eth_getLogs: refuses("maximum block range: 100") }).source.logsIn(1, 500), (error: RangeRefusedError) => {
      assert.ok(error instanceof RangeRefusedError);
      assert.deepEqual(error.refusal, { kind: "cap stated", cap: 100 });
      return true;
    });
  });

  it("has no header where the node's chain ends earlier", async () => {
    assert.equal(await open({ eth_getBlockByNumber: null }).source.headerByNumber(10), undefined);
    assert.equal(await open({ eth_getBlockByNumber: refuses("header not found") }).source.headerByNumber(10), undefined);
  });

  it("finds finality by tag or by depth", async () => {
    const asked: string[] = [];
    const answers = {
      eth_getBlockByNumber: (at: string) => {
        asked.push(at);
        return at === "safe" ? rawHeader : { ...rawHeader, number: at };
      },
    };
    await open(answers, { finality: "safe" }).source.finalized(header);
    await open(answers, { finality: 4 }).source.finalized(header);
    assert.equal(await open(answers, { finality: 10 }).source.finalized(header), undefined);
    assert.deepEqual(asked, ["safe", "0x5"]);
  });

  it("takes no block for final that is above the head", async () => {
    const answers = { eth_getBlockByNumber: { ...rawHeader, number: "0xfffff" } };
    assert.equal(await open(answers, { finality: "finalized" }).source.finalized(header), undefined);
  });

  it("waits no longer than the poll interval for news, and not at all after a head was announced", async () => {
    let announce = () => {};
    const rpc = { ...stubRpc({}), onNewHead: (wake: () => void) => void (announce = wake) };
    const { source } = open({}, { rpc, pollInterval: 20 });
    await source.changed();
    const patient = open({}, { rpc, pollInterval: 600_000 }).source;
    announce();
    await patient.changed();
    const waiting = patient.changed();
    announce();
    await waiting;
  });

  it("stops waiting for news when it is told to", async () => {
    const abort = new AbortController();
    const { source } = open({}, { pollInterval: 600_000, signal: abort.signal });
    const waiting = source.changed();
    abort.abort();
    await assert.rejects(waiting, { name: "AbortError" });
  });
});
