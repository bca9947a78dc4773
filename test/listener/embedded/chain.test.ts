import assert from "node:assert/strict";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { JsonRpcProvider, WebSocketProvider } from "ethers";
import { type ChainOptions, type LocalChain, resetChain, startChain } from "../../../listener/embedded/chain.ts";
import { SluiceError } from "../../../listener/errors.ts";
import { freePort } from "../../support/ports.ts";
import { runProgram, temporaryDirectory, until } from "./support.ts";

type Block = { number: string; hash: string; timestamp: string; transactions: string[] };

/** Emits a log with the caller on every call, and reverts when it is called with data. */
const EMITTER = "0x601680600b6000396000f33660105733600052600160206000a1005b60006000fd";

/** Starts the chain of a directory; one that a test leaves open is closed at its end. */
async function start(t: TestContext, options: ChainOptions): Promise<LocalChain> {
  const chain = await startChain(options);
  t.after(() => chain.close());
  return chain;
}

async function accounts(chain: LocalChain): Promise<string[]> {
  return chain.request<string[]>("eth_accounts");
}

const pay = (chain: LocalChain, from: string, to: string, more: object = {}): Promise<string> =>
  chain.request<string>("eth_sendTransaction", [{ from, to, value: "0x1", ...more }]);

const hex = (value: number): string => `0x${value.toString(16)}`;

async function head(chain: LocalChain): Promise<number> {
  return Number(await chain.request("eth_blockNumber"));
}

async function block(chain: LocalChain, number: number): Promise<Block> {
  return chain.request<Block>("eth_getBlockByNumber", [hex(number), false]);
}

async function hashes(chain: LocalChain): Promise<string[]> {
  const found: string[] = [];
  for (let number = 0; number <= (await head(chain)); number++) found.push((await block(chain, number)).hash);
  return found;
}

/** Closes the chain, starts it again, and checks that it is the same, block by block. */
async function restarted(t: TestContext, chain: LocalChain, dataDir: string): Promise<LocalChain> {
  const before = await hashes(chain);
  await chain.close();
  const again = await start(t, { dataDir });
  assert.deepEqual(await hashes(again), before);
  assert.equal(again.identity, chain.identity);
  assert.equal(again.resumed.blocks, before.length - 1);
  return again;
}

const isSluiceError = (pattern: RegExp) => (error: unknown) => {
  assert.ok(error instanceof SluiceError, String(error));
  assert.match(error.message, pattern);
  assert.ok(error.hint);
  return true;
};

test("resumes with the same blocks, whatever was in them", async t => {
  const dataDir = temporaryDirectory(t);
  let chain = await start(t, { dataDir });
  const [a, b, c] = (await accounts(chain)) as [string, string, string];

  await pay(chain, a, b);
  await pay(chain, a, b, { gasPrice: "0x77359400" });
  await pay(chain, b, c, { gasPrice: "0x77359400", accessList: [{ address: c, storageKeys: [`0x${"00".repeat(32)}`] }] });
  const created = await chain.request<string>("eth_sendTransaction", [{ from: a, data: EMITTER }]);
  const { contractAddress } = await chain.request<{ contractAddress: string }>("eth_getTransactionReceipt", [created]);
  await chain.request("eth_sendTransaction", [{ from: c, to: contractAddress }]);
  await assert.rejects(chain.request("eth_sendTransaction", [{ from: c, to: contractAddress, data: "0x01", gas: "0x30d40" }]), /revert/);
  await assert.rejects(pay(chain, a, b, { value: `0x${"f".repeat(40)}` }));

  await chain.request("evm_setAutomine", [false]);
  for (const [from, to] of [
    [a, b],
    [c, a],
    [a, c],
    [b, a],
    [a, b],
  ] as const)
    await pay(chain, from, to);
  await chain.request("evm_mine");
  assert.equal((await block(chain, await head(chain))).transactions.length, 5);
  await chain.request("evm_mine");
  await chain.request("evm_setAutomine", [true]);
  await chain.request("eth_call", [{ from: a, to: contractAddress }, "pending"]);

  chain = await restarted(t, chain, dataDir);
  const logs = await chain.request<unknown[]>("eth_getLogs", [{ fromBlock: "0x0", address: contractAddress }]);
  assert.equal(logs.length, 1);
  await pay(chain, a, b);
  await restarted(t, chain, dataDir);
});

test("resumes what was changed past the transactions", async t => {
  const dataDir = temporaryDirectory(t);
  const chain = await start(t, { dataDir });
  const [a, b] = (await accounts(chain)) as [string, string];
  const nobody = "0x00000000000000000000000000000000000000aa";
  await chain.request("hardhat_setBalance", [nobody, "0xde0b6b3a7640000"]);
  await chain.request("hardhat_impersonateAccount", [nobody]);
  await pay(chain, nobody, b);
  await chain.request("hardhat_setNonce", [b, "0x7"]);
  await chain.request("hardhat_setNextBlockBaseFeePerGas", ["0x3b9aca00"]);
  await pay(chain, b, a);
  await chain.request("hardhat_setCode", [nobody, "0x00"]);
  await chain.request("hardhat_setStorageAt", [nobody, "0x0", `0x${"01".repeat(32)}`]);
  await chain.request("hardhat_setCoinbase", [a]);
  await chain.request("hardhat_setPrevRandao", [`0x${"02".repeat(32)}`]);
  await chain.request("evm_setBlockGasLimit", ["0x1c9c380"]);
  await chain.request("evm_increaseTime", [3600]);
  await chain.request("evm_mine");
  await chain.request("evm_mine");
  await restarted(t, chain, dataDir);
});

test("resumes the blocks that hardhat_mine only makes up", async t => {
  const dataDir = temporaryDirectory(t);
  const chain = await start(t, { dataDir });
  const [a, b] = (await accounts(chain)) as [string, string];
  await chain.request("hardhat_mine", ["0x3"]);
  await chain.request("hardhat_mine", ["0x64", "0xc"]);
  await pay(chain, a, b);
  await chain.request("evm_setAutomine", [false]);
  await pay(chain, a, b);
  await pay(chain, b, a);
  await chain.request("hardhat_mine", ["0x400"]);
  await chain.request("hardhat_mine", []);
  await restarted(t, chain, dataDir);
});

test("the record follows the chain back to a snapshot and on along another branch", async t => {
  const dataDir = temporaryDirectory(t);
  const chain = await start(t, { dataDir });
  const [a, b] = (await accounts(chain)) as [string, string];
  await pay(chain, a, b);
  const outer = await chain.request("evm_snapshot");
  await pay(chain, a, b);
  await chain.request("hardhat_setBalance", [b, "0x1"]);
  const inner = await chain.request("evm_snapshot");
  await chain.request("hardhat_mine", ["0x20"]);
  assert.equal(await chain.request("evm_revert", [inner]), true);
  await pay(chain, a, b, { value: "0x2" });
  assert.equal(await chain.request("evm_revert", [outer]), true);
  assert.equal(await chain.request("evm_revert", [inner]).catch(() => false), false);
  await pay(chain, a, b, { value: "0x3" });
  await chain.request("evm_mine");
  assert.equal(await head(chain), 3);
  await restarted(t, chain, dataDir);
});

// 2: a revert to a snapshot that is used up also uses up those after it.
for (const seed of [2, Number(process.env.SEED ?? Date.now() % 1_000_000)])
  test(`resumes after any mixture of calls (SEED=${seed})`, async t => {
    const random = seeded(seed);
    const dataDir = temporaryDirectory(t);
    let chain = await start(t, { dataDir });
    const all = await accounts(chain);
    const one = (): string => all[Math.floor(random() * all.length)]!;
    const snapshots: unknown[] = [];
    const steps: (() => Promise<unknown>)[] = [
      () => pay(chain, one(), one()),
      () => Promise.all(Array.from({ length: 8 }, () => pay(chain, one(), one()))),
      () => chain.request("evm_mine"),
      () => chain.request("hardhat_mine", [hex(1 + Math.floor(random() * 30))]),
      async () => snapshots.push(await chain.request("evm_snapshot")),
      () => chain.request("evm_revert", [snapshots.pop() ?? "0xffff"]),
      () => chain.reorg({ depth: 1 + Math.floor(random() * 5), keepTransactions: random() < 0.5 }),
      () => chain.request("hardhat_setBalance", [`0x${"00".repeat(19)}bb`, hex(Math.floor(random() * 1e9))]),
    ];
    for (let round = 0; round < 4; round++) {
      for (let step = 0; step < 40; step++) await steps[Math.floor(random() * steps.length)]!().catch(() => {});
      snapshots.length = 0;
      chain = await restarted(t, chain, dataDir);
    }
  });

test("a kill -9 during traffic loses no block that was answered for", async t => {
  const dataDir = temporaryDirectory(t);
  for (let round = 0; round < 3; round++) {
    const killed = runProgram(t, "run-chain.ts", dataDir);
    const answered: Block[] = [];
    for (let count = 0; count < 30 + 20 * round; count++) answered.push(await killed.next<Block>());
    killed.signal("SIGKILL");
    await killed.ended;
    const chain = await start(t, { dataDir });
    for (const { number, hash } of answered) assert.equal((await block(chain, Number(number)))?.hash, hash);
    await chain.close();
  }
});

test("drops a last line that was torn", async t => {
  const dataDir = temporaryDirectory(t);
  const chain = await start(t, { dataDir });
  const [a, b] = (await accounts(chain)) as [string, string];
  await pay(chain, a, b);
  const before = await hashes(chain);
  await chain.close();
  appendFileSync(join(dataDir, "chain", "record.jsonl"), '{"time":17');
  const again = await start(t, { dataDir });
  assert.deepEqual(await hashes(again), before);
  await pay(again, a, b);
  await restarted(t, again, dataDir);
});

test("says which block does not come out again, and what to do", async t => {
  const dataDir = temporaryDirectory(t);
  const file = join(dataDir, "chain", "record.jsonl");
  const chain = await start(t, { dataDir });
  for (let count = 0; count < 4; count++) await chain.request("evm_mine", [hex(2_000_000_000 + count)]);
  await chain.close();
  const record = readFileSync(file, "utf8");
  writeFileSync(file, record.replace("2000000001", "2000000000"));
  await assert.rejects(startChain({ dataDir }), isSluiceError(/block 2 /));
  writeFileSync(file, record.replace(/"hash":"0x..../, 'hash":"'));
  await assert.rejects(startChain({ dataDir }), isSluiceError(/line 2/));
  writeFileSync(file, record.replace(/"genesisHash":"0x..../, '"genesisHash":"0x0000'));
  await assert.rejects(startChain({ dataDir }), isSluiceError(/first block/));
  assert.equal(await resetChain({ dataDir }), true);
  const fresh = await start(t, { dataDir });
  assert.notEqual(fresh.identity, chain.identity);
});

test("reorgs to every depth up to twelve, with other blocks and one more of them", async t => {
  const dataDir = temporaryDirectory(t);
  let chain = await start(t, { dataDir });
  const [a, b, c] = (await accounts(chain)) as [string, string, string];
  for (let count = 0; count < 20; count++) await pay(chain, a, b);
  for (const depth of [1, 3, 12]) {
    const before = await hashes(chain);
    const paid = await chain.request("eth_getBalance", [b]);
    const result = await chain.reorg({ depth });
    const after = await hashes(chain);
    const fork = before.length - depth;
    assert.equal(result.depth, depth);
    assert.equal(after.length, before.length + 1);
    assert.deepEqual(after.slice(0, fork), before.slice(0, fork));
    for (const hash of before.slice(fork)) assert.ok(!after.includes(hash));
    assert.equal(result.ancestor.hash, after[fork - 1]);
    assert.equal(result.head.hash, after.at(-1));
    assert.ok(BigInt(await chain.request("eth_getBalance", [b])) <= BigInt(paid as string));
    assert.equal(await chain.request("hardhat_getAutomine"), true);
    await pay(chain, a, b);
  }
  chain = await restarted(t, chain, dataDir);

  // The blocks are those of before the restart, and the transactions come back.
  const kept = await pay(chain, c, b);
  const { depth } = await chain.reorg({ depth: 4, keepTransactions: true });
  assert.equal(depth, 4);
  assert.ok(await chain.request("eth_getTransactionReceipt", [kept]));
  await assert.rejects(chain.reorg({ depth: 1000 }), isSluiceError(/1000/));
  await restarted(t, chain, dataDir);
});

test("keeps the clock of the machine after a restart and a reorg", async t => {
  const dataDir = temporaryDirectory(t);
  const file = join(dataDir, "chain", "record.jsonl");
  const chain = await start(t, { dataDir });
  await chain.close();
  // As if it had been started a day ago: another genesis, so the header is written anew.
  const { version, identity, genesisTime } = JSON.parse(readFileSync(file, "utf8"));
  writeFileSync(
    file,
    `${JSON.stringify({ version, identity, genesisTime: genesisTime - 86_400, genesisHash: await genesisAt(t, genesisTime - 86_400) })}\n`,
  );
  const again = await start(t, { dataDir });
  for (let count = 0; count < 3; count++) await again.request("evm_mine");
  assertIsNow(await block(again, 3));
  await again.reorg({ depth: 2 });
  await again.request("evm_mine");
  assertIsNow(await block(again, await head(again)));

  function assertIsNow({ timestamp }: Block): void {
    assert.ok(Math.abs(Number(timestamp) - Date.now() / 1000) < 600, timestamp);
  }
});

test("mines at an interval, empty blocks too", async t => {
  const dataDir = temporaryDirectory(t);
  const chain = await start(t, { dataDir, mining: { interval: 20 } });
  const [a, b] = (await accounts(chain)) as [string, string];
  const hash = await pay(chain, a, b);
  await until(() => chain.request("eth_getTransactionReceipt", [hash]), "the transaction is mined");
  await until(async () => (await head(chain)) >= 10, "ten blocks are mined");
  const seen = await Promise.all(Array.from({ length: 11 }, async (_, number) => (await block(chain, number)).hash));
  await chain.close();
  const again = await start(t, { dataDir });
  assert.deepEqual((await hashes(again)).slice(0, seen.length), seen);
});

test("serves HTTP and WebSocket on loopback, records what comes that way, and closes under an open connection", async t => {
  const dataDir = temporaryDirectory(t);
  const chain = await start(t, { dataDir });
  const http = new JsonRpcProvider(chain.url);
  const socket = new WebSocketProvider(chain.wsUrl);
  t.after(() => http.destroy());
  for (const provider of [http, socket]) {
    const [from, to] = [await provider.getSigner(0), await provider.getSigner(1)];
    await (await from.sendTransaction({ to, value: 1n })).wait();
  }
  (socket.websocket as unknown as { onerror: unknown }).onerror = () => {};
  assert.equal(await head(chain), 2);
  await restarted(t, chain, dataDir);
});

test("one process at a time runs the chain of a directory, and a taken port is refused", async t => {
  const dataDir = temporaryDirectory(t);
  const chain = await start(t, { dataDir });
  await assert.rejects(startChain({ dataDir }), isSluiceError(new RegExp(chain.url)));
  await assert.rejects(resetChain({ dataDir }), isSluiceError(new RegExp(chain.url)));
  const port = Number(new URL(chain.url).port);
  await assert.rejects(startChain({ dataDir: temporaryDirectory(t), port }), isSluiceError(new RegExp(String(port))));
});

test("of two that start at the same moment on one port, one gets it and the other says so", async t => {
  const port = await freePort();
  const both = await Promise.allSettled([1, 2].map(() => startChain({ dataDir: temporaryDirectory(t), port })));
  for (const { value } of both.filter(started => started.status === "fulfilled")) t.after(() => value.close());
  const refused = both.filter(started => started.status === "rejected");
  assert.equal(refused.length, 1);
  assert.ok(isSluiceError(new RegExp(String(port)))(refused[0]!.reason));
});

/** The hash of the first block of a chain that begins at `time`: what a record's header must say. */
async function genesisAt(t: TestContext, time: number): Promise<string> {
  const { createNetwork } = await import("../../../listener/embedded/chain-network.ts");
  const network = await createNetwork({ genesisTime: time, port: 0 });
  t.after(() => network.close());
  return (await network.request<Block>("eth_getBlockByNumber", ["0x0", false])).hash;
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
