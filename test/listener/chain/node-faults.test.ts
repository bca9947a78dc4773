import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { type TestContext, test } from "node:test";
import pino from "pino";
import { follow } from "../../../listener/chain/follow.ts";
import { openRpc, RpcError } from "../../../listener/chain/rpc.ts";
import { nodeSource } from "../../../listener/chain/source.ts";
import { WrongChainError } from "../../../listener/errors.ts";
import { hashOf, nameOf } from "../../support/scripted-chain.ts";

const silent = pino({ level: "silent" });

type Answer = { status?: number; headers?: Record<string, string>; result?: unknown; error?: { code: number; message: string } };

/** A node that answers every call by a function. */
async function nodeOf(t: TestContext, answer: (method: string, parameters: unknown[]) => Answer): Promise<string> {
  const server = createServer(async (request: IncomingMessage, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const { id, method, params } = JSON.parse(body);
    const { status = 200, headers = {}, ...rest } = answer(method, params);
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify({ jsonrpc: "2.0", id, ...rest }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

/** Opens the URLs for the length of a test. */
function open(t: TestContext, urls: string[], options: Partial<Parameters<typeof openRpc>[1]> = {}) {
  const stop = new AbortController();
  const rpc = openRpc(urls, { log: silent, signal: stop.signal, ...options });
  t.after(() => {
    stop.abort();
    rpc.close();
  });
  return { rpc, signal: stop.signal };
}

const hex = (number: number) => `0x${number.toString(16)}`;

/** The blocks of a chain whose hashes begin with `name`. */
function chainOf(name: string, { chainId, length }: { chainId: number; length: number }) {
  const block = (number: number) =>
    number > length
      ? null
      : { number: hex(number), hash: hashOf(`${name}${number}`), parentHash: hashOf(`${name}${number - 1}`), timestamp: hex(number) };
  return (method: string, [at]: unknown[]): Answer => {
    if (method === "eth_chainId") return { result: hex(chainId) };
    if (method === "eth_getBlockByNumber") return { result: block(at === "latest" || at === "finalized" ? length : Number(at)) };
    if (method === "eth_getBlockByHash") return { result: block(Number(nameOf(String(at)).slice(name.length))) };
    if (method === "eth_getLogs") return { result: [] };
    return { error: { code: -32_601, message: "the method does not exist" } };
  };
}

for (const [code, message] of [
  [-32_603, "Internal error"],
  [-32_000, "execution timeout"],
] as const) {
  test(`goes on following after the node answered "${message}"`, { timeout: 120_000 }, async t => {
    const chain = chainOf("a", { chainId: 1, length: 3 });
    let calls = 0;
    const url = await nodeOf(t, (method, parameters) =>
      ++calls <= 8 && calls % 2 === 1 ? { error: { code, message } } : chain(method, parameters),
    );
    const { rpc, signal } = open(t, [url]);
    const filter = { addresses: [`0x${"1".repeat(40)}`], topics: [`0x${"1".repeat(64)}`] };
    const source = nodeSource({ rpc, filter, finality: 2, verify: "off", pollInterval: 5, signal, log: silent });
    for await (const update of follow(source, { start: 0, finalized: undefined, blocks: [] }, silent)) {
      if (update.type === "extend" && update.headers.at(-1)?.hash === hashOf("a3")) break;
    }
  });
}

test("waits where a node limits the rate by a JSON-RPC error", { timeout: 120_000 }, async t => {
  const refusals = [
    { code: 429, message: "Your app has exceeded its capacity" },
    { code: -32_005, message: "daily request limit exceeded" },
    { code: -32_005, message: "limit exceeded" },
  ];
  let asked = 0;
  const url = await nodeOf(t, () => (asked < refusals.length ? { error: refusals[asked++]! } : { result: [] }));
  const { rpc } = open(t, [url]);
  assert.deepEqual(await rpc.call("eth_getLogs", []), []);
  assert.equal(asked, refusals.length);
});

test("asks nothing of a URL that stands for another chain", { timeout: 120_000 }, async t => {
  let down = false;
  const asked: string[] = [];
  const ours = chainOf("a", { chainId: 1, length: 3 });
  const theirs = chainOf("b", { chainId: 5, length: 9 });
  const first = await nodeOf(t, (method, parameters) => (down ? { status: 503 } : ours(method, parameters)));
  const second = await nodeOf(t, (method, parameters) => {
    asked.push(method);
    return theirs(method, parameters);
  });
  const { rpc } = open(t, [first, second], { chain: { chainId: 1, genesis: hashOf("a0") } });
  assert.equal((await rpc.call<{ hash: string }>("eth_getBlockByNumber", ["latest", false])).hash, hashOf("a3"));
  down = true;
  await assert.rejects(rpc.call("eth_getLogs", [{}]), WrongChainError);
  assert.ok(!asked.includes("eth_getLogs"));
});

test("finds out when a URL that came back stands for another chain", { timeout: 120_000 }, async t => {
  let node = chainOf("a", { chainId: 1, length: 3 });
  let down = 0;
  const url = await nodeOf(t, (method, parameters) => (down-- > 0 ? { status: 503 } : node(method, parameters)));
  const { rpc } = open(t, [url], { chain: { chainId: 1, genesis: hashOf("a0") } });
  await rpc.call("eth_getBlockByNumber", ["latest", false]);
  node = chainOf("b", { chainId: 1, length: 3 });
  down = 2;
  await assert.rejects(rpc.call("eth_getLogs", [{}]), WrongChainError);
});

test("takes no logs from a second URL whose node is not that far yet", { timeout: 120_000 }, async t => {
  const log = (number: number) => ({
    blockNumber: hex(number),
    blockHash: hashOf(`a${number}`),
    transactionHash: hashOf("tx"),
    transactionIndex: "0x0",
    logIndex: "0x0",
    address: `0x${"1".repeat(40)}`,
    topics: [`0x${"1".repeat(64)}`],
    data: "0x",
  });
  const nodeAt = (length: number) => {
    const chain = chainOf("a", { chainId: 1, length });
    return (method: string, parameters: unknown[]): Answer => {
      if (method !== "eth_getLogs") return chain(method, parameters);
      const { fromBlock, toBlock } = parameters[0] as { fromBlock: string; toBlock: string };
      const numbers = Array.from({ length: Number(toBlock) - Number(fromBlock) + 1 }, (_, i) => Number(fromBlock) + i);
      return { result: numbers.filter(number => number <= length).map(log) };
    };
  };
  let faults = 1;
  const whole = nodeAt(40);
  const first = await nodeOf(t, (method, parameters) =>
    method === "eth_getLogs" && faults-- > 0 ? { status: 503 } : whole(method, parameters),
  );
  const second = await nodeOf(t, nodeAt(10));
  const { rpc, signal } = open(t, [first, second]);
  const filter = { addresses: [`0x${"1".repeat(40)}`], topics: [`0x${"1".repeat(64)}`] };
  const source = nodeSource({ rpc, filter, finality: "finalized", verify: "off", pollInterval: 5, signal, log: silent });
  assert.equal((await source.logsIn(1, 40)).length, 40);
});

test("waits for no block that none of its nodes has", { timeout: 120_000 }, async t => {
  const urls = await Promise.all([3, 2].map(length => nodeOf(t, chainOf("a", { chainId: 1, length }))));
  const { rpc } = open(t, urls);
  await assert.rejects(rpc.call("eth_getLogs", [{}], { knows: 1_048_575 }), RpcError);
  assert.deepEqual(await rpc.call("eth_getLogs", [{}], { knows: 3 }), []);
});
