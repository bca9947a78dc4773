import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { AbiCoder } from "ethers";
import { defineApp } from "../../../listener/app.ts";
import { compileEvents } from "../../../listener/chain/events.ts";
import { enterChain } from "../../../listener/journal/chains.ts";
import { openJournal } from "../../../listener/journal/journal.ts";
import { addressOf, CHAIN, chainOf, idle, openDatabases } from "./journal-fixture.ts";

const open = await openDatabases();
const named = [{ type: "event", name: "Named", inputs: [{ name: "name", type: "string", indexed: false }] }] as const;
const [decoder] = compileEvents(named);

/** The ABI encoding of a string that consists of these bytes. */
const encode = (bytes: Uint8Array) => AbiCoder.defaultAbiCoder().encode(["bytes"], [bytes]);

/** Records one block with an event per string. */
async function record(texts: readonly Uint8Array[], orderBy?: (event: { arguments: { name: string } }) => string) {
  const route = { queue: "q", events: ["One.Named"], projection: idle("q"), ...(orderBy ? { orderBy: orderBy as never } : {}) };
  const app = defineApp({ contracts: { One: named }, routes: [route] });
  const db = await open(app);
  const identity = { chainId: CHAIN, genesis: "a0", instance: undefined, development: false };
  await enterChain(db, chainOf({}, { length: 1, final: 0 }).rpc, identity, {
    chainId: CHAIN,
    contracts: { One: { address: addressOf(1), block: 1 } },
  });
  const contracts = [{ name: "One", decoders: app.contracts.get("One")!, address: addressOf(1) }];
  const journal = openJournal({ db, chainId: CHAIN, epoch: 0, app, contracts });
  const logs = texts.map((text, logIndex) => ({
    blockNumber: 1,
    blockHash: "a1",
    blockTimestamp: 1,
    transactionHash: "tx1",
    transactionIndex: 0,
    logIndex,
    address: addressOf(1),
    topics: [decoder!.topic],
    data: encode(text),
  }));
  const header = { number: 1, hash: "a1", parentHash: "a0", timestamp: 1, logsBloom: "0x" };
  await journal.record({ type: "extend", headers: [header], logs, head: 1, seenAt: new Date() });
  return db;
}

test("orders by a string of any length", async () => {
  const long = () => randomBytes(48 * 1024).toString("base64");
  const [a, b] = [long(), long()];
  const db = await record([a, b, a].map(Buffer.from), event => event.arguments.name);
  const { rows } = await db.query<{ key: string }>("select key from deliveries order by position");
  assert.equal(rows[0]!.key, rows[2]!.key);
  assert.notEqual(rows[0]!.key, rows[1]!.key);
});

test("reads a string that is not UTF-8 as well as it can", async () => {
  const db = await record([Buffer.from([0x61, 0xff, 0x62]), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from("\ufeffé\0")]);
  const { rows } = await db.query<{ name: string; error: string | null }>(
    "select arguments ->> 'name' as name, error from events order by position",
  );
  assert.deepEqual(rows, [
    { name: "a\ufffdb", error: null },
    { name: "\ufffd\ufffd\ufffd", error: null },
    { name: "\ufeffé\ufffd", error: null },
  ]);
});
