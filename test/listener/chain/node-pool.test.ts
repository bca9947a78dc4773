import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { type TestContext, test } from "node:test";
import pino from "pino";
import { subscribeToHeads } from "../../../listener/chain/new-heads.ts";
import { openRpc, RpcError } from "../../../listener/chain/rpc.ts";
import { BadAnswerError } from "../../../listener/errors.ts";
import { eventually } from "../../support/eventually.ts";
import { jsonRpcServer, type Rule } from "../../support/json-rpc-server.ts";
import { freePort } from "../../support/ports.ts";

const serve = async (t: TestContext, rule: Rule) => {
  const server = await jsonRpcServer(rule);
  t.after(() => server.close());
  return server;
};

/** Opens the URLs for the length of a test, and holds what is logged. */
function open(t: TestContext, ...urls: string[]) {
  const lines: string[] = [];
  const log = pino({ level: "warn" }, { write: line => void lines.push(line) });
  const stop = new AbortController();
  const rpc = openRpc(urls, { log, signal: stop.signal });
  t.after(() => {
    stop.abort();
    rpc.close();
  });
  return { rpc, lines, states: () => rpc.nodes().map(({ state }) => state) };
}

const says =
  (result: unknown): Rule =>
  () => ({ result });
const block = (number: number) => ({
  number: `0x${number.toString(16)}`,
  hash: `0x${"a".repeat(64)}`,
  parentHash: `0x${"b".repeat(64)}`,
  timestamp: "0x1",
});
const EMPTY_LOGS = says([]);

test("asks a second URL where the first takes long, takes its answer and gives the first up", { timeout: 120_000 }, async t => {
  let givenUp = false;
  const first = await serve(t, says("first"));
  const second = await serve(t, says("second"));
  const { rpc } = open(t, first.url, second.url);
  for (let i = 0; i < 20; i++) assert.equal(await rpc.call("eth_x", []), "first");
  first.behave((_, response) => {
    response.on("close", () => {
      givenUp = true;
    });
    return undefined;
  });
  assert.equal(await rpc.call("eth_x", []), "second");
  await eventually(() => givenUp);
});

test("asks a URL first that is clearly faster than those before it", { timeout: 120_000 }, async t => {
  const slow: Rule = (request, response) => {
    setTimeout(() => response.end(JSON.stringify({ jsonrpc: "2.0", id: request.id, result: block(9) })), 300);
    return undefined;
  };
  const [first, second] = [await serve(t, slow), await serve(t, says(block(9)))];
  const { rpc } = open(t, first.url, second.url);
  await eventually(async () => {
    const before = second.requests.length;
    await rpc.call("eth_getBlockByNumber", ["0x9", false]);
    return second.requests.length > before && rpc.nodes().every(({ latency }) => latency !== null);
  });
  const [a, b] = rpc.nodes();
  assert.ok(a!.latency! > b!.latency!, `${a!.latency} and ${b!.latency}`);
});

test("asks a node that hangs behind the others' heads after them, and says that it is behind", { timeout: 120_000 }, async t => {
  const [first, second] = [await serve(t, says(block(10))), await serve(t, says(block(20)))];
  const { rpc, states, lines } = open(t, first.url, second.url);
  await eventually(async () => ((await rpc.call("eth_getBlockByNumber", ["latest", false])) as { number: string }).number === "0x14");
  assert.deepEqual(states(), ["behind", "ok"]);
  assert.match(rpc.nodes()[0]!.lastError!, /its head is 10, another node's is 20/);
  assert.match(lines.join(""), /another node is asked first/);
  first.behave(says(block(20)));
  await eventually(async () => (await rpc.call("eth_x", [])) && states()[0] === "ok");
});

test("learns how many requests a second a node allows, and keeps to it", { timeout: 120_000 }, async t => {
  const ALLOWED = 40;
  const taken: number[] = [];
  let refused = 0;
  const node = await serve(t, (_, response) => {
    const now = Date.now();
    while (taken[0]! <= now - 1_000) taken.shift();
    if (taken.length < ALLOWED) {
      taken.push(now);
      return { result: "0x1" };
    }
    refused += 1;
    response.writeHead(429).end();
    return undefined;
  });
  const { rpc } = open(t, node.url);
  const TOTAL = 120;
  let begun = 0;
  const caller = async () => {
    while (begun++ < TOTAL) assert.equal(await rpc.call("eth_x", []), "0x1");
  };
  await Promise.all(Array.from({ length: 10 }, caller));
  const { rateLimit } = rpc.nodes()[0]!;
  assert.ok(rateLimit! > 1 && rateLimit! <= ALLOWED * 1.5, `${rateLimit} a second`);
  assert.ok(refused < TOTAL / 4, `${refused} refused`);
});

test("says what to do about a URL that refuses us, shows no key of it, and goes on with another", { timeout: 120_000 }, async t => {
  const key = "sEcReT0123456789abcdef";
  const first = await serve(t, (_, response) => {
    response.writeHead(401).end(JSON.stringify({ error: { code: -32_001, message: `invalid key ${key}` } }));
    return undefined;
  });
  const second = await serve(t, says("second"));
  const { rpc, states, lines } = open(t, `${first.url}/v2/${key}`, second.url);
  assert.equal(await rpc.call("eth_x", []), "second");
  assert.deepEqual(states(), ["refused", "ok"]);
  assert.match(lines.join(""), /HTTP 401.*check this URL and its key in RPC_URL/);
  assert.doesNotMatch(lines.join("") + JSON.stringify(rpc.nodes()), new RegExp(key));
});

test("asks another URL where an answer is false, and the liar no more", { timeout: 120_000 }, async t => {
  const [first, second] = [await serve(t, says("lie")), await serve(t, says("truth"))];
  const { rpc, states } = open(t, first.url, second.url);
  const check = (answer: unknown) => {
    if (answer === "lie") throw new BadAnswerError("log 1 of block 2 is invented");
    return answer;
  };
  for (let i = 0; i < 3; i++) assert.equal(await rpc.call("eth_getLogs", [], { check }), "truth");
  assert.equal(first.requests.length, 1);
  assert.deepEqual(states(), ["lying", "ok"]);
  assert.equal(rpc.nodes()[0]!.lastError, "log 1 of block 2 is invented");
});

test("asks its only URL again after a lie, and says so", { timeout: 120_000 }, async t => {
  const node = await serve(t, says("lie"));
  const { rpc, states, lines } = open(t, node.url);
  const check = (answer: unknown) => {
    if (answer === "lie") throw new BadAnswerError("log 1 of block 2 is invented");
    return answer;
  };
  await assert.rejects(rpc.call("eth_getLogs", [], { check }), BadAnswerError);
  node.behave(says("truth"));
  assert.equal(await rpc.call("eth_getLogs", [], { check }), "truth");
  assert.deepEqual(states(), ["lying"]);
  assert.match(lines.join(""), /there is no other node to ask/);
});

test("waits for no URL that is down where another one says that there is no such block", { timeout: 120_000 }, async t => {
  const node = await serve(t, says(null));
  const { rpc } = open(t, `http://127.0.0.1:${await freePort()}`, node.url);
  assert.equal(await rpc.call("eth_getBlockByHash", ["0x1", false], { exists: true }), null);
});

test("goes on with the node that knows a block, and calls the other behind", { timeout: 120_000 }, async t => {
  const [first, second] = [await serve(t, says(null)), await serve(t, says("known"))];
  const { rpc, states } = open(t, first.url, second.url);
  assert.equal(await rpc.call("eth_getBlockByHash", ["0x1", false], { exists: true }), "known");
  assert.deepEqual(states(), ["behind", "ok"]);
});

test("takes an answer that is too large for a range that is", { timeout: 120_000 }, async t => {
  const node = await serve(t, (_, response) => {
    response.write('{"result":"');
    const more = () => {
      for (let flows = true; flows && !response.destroyed; ) flows = response.write("x".repeat(1024 * 1024));
      if (!response.destroyed) response.once("drain", more);
    };
    more();
    return undefined;
  });
  const { rpc } = open(t, node.url);
  await assert.rejects(rpc.call("eth_getLogs", []), (error: RpcError) => error instanceof RpcError && /body exceeds/.test(error.message));
  node.behave(EMPTY_LOGS);
  assert.deepEqual(await rpc.call("eth_getLogs", []), []);
});

test("opens a WebSocket that closes at once more and more seldom", { timeout: 120_000 }, async () => {
  const opened: number[] = [];
  const server = createServer();
  server.on("upgrade", (request, socket) => {
    opened.push(performance.now());
    const accept = createHash("sha1")
      .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest("base64");
    socket.end(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = new AbortController();
  const ended = subscribeToHeads([`ws://127.0.0.1:${(server.address() as { port: number }).port}`], () => {}, stop.signal);
  await eventually(() => opened.length >= 6);
  stop.abort();
  await ended;
  server.close();
  for (let i = 1; i < 6; i++) {
    const gap = opened[i]! - opened[i - 1]!;
    assert.ok(gap >= 0.5 * 100 * 2 ** (i - 1) - 5, `${gap} ms before connection ${i + 1}`);
  }
});
