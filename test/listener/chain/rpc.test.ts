import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { openRpc, type Rpc, RpcError } from "../../../listener/chain/rpc.ts";
import { hardhatNode } from "../../support/hardhat-node.ts";
import { jsonRpcServer, type Rule } from "../../support/json-rpc-server.ts";
import { freePort } from "../../support/ports.ts";
import { silent } from "../../support/silent.ts";

describe("rpc", () => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const it of open.splice(0).reverse()) await it.close();
  });
  const serve = async (rule: Rule, port?: number) => {
    const server = await jsonRpcServer(rule, port);
    open.push(server);
    return server;
  };
  const connect = (...urls: string[]): Rpc & { abort: AbortController } => {
    const abort = new AbortController();
    const rpc = openRpc(urls, { log: silent, signal: abort.signal });
    open.push({
      close() {
        abort.abort();
        rpc.close();
      },
    });
    return { ...rpc, abort };
  };
  const says =
    (result: unknown): Rule =>
    () => ({ result });
  const http =
    (status: number, headers: Record<string, string> = {}): Rule =>
    (_, response) => {
      response.writeHead(status, headers).end("<html>");
      return undefined;
    };

  it("asks the first URL while it answers", async () => {
    const [first, second] = [await serve(says("first")), await serve(says("second"))];
    const rpc = connect(first.url, second.url);
    assert.equal(await rpc.call("eth_x", [1]), "first");
    assert.deepEqual(first.requests[0]!.params, [1]);
    assert.equal(second.requests.length, 0);
  });

  const faults: [string, Rule][] = [
    ["HTTP 500", http(500)],
    ["a page that is not JSON", http(200)],
    ["an answer without a result", () => ({})],
    ["null", (_, response) => void response.end("null")],
    ["a number", (_, response) => void response.end("5")],
    ["a list", (request, response) => void response.end(JSON.stringify([{ jsonrpc: "2.0", id: request.id, result: "listed" }]))],
    ["JSON that is cut short", (_, response) => void response.end('{"jsonrpc":"2.0","id":1,"result":"cu')],
    ["the answer to another request", request => ({ id: request.id + 1, result: "another's" }) as object],
    ["more than a small answer can be", (_, response) => void response.end(`{"result":"${"x".repeat(17 * 1024 * 1024)}"}`)],
    ["a key that is refused", http(401)],
    ["an error that is a text", () => ({ error: "rate limit exceeded" as never })],
    ["a cut connection", (_, response) => void response.destroy()],
    ["429", http(429)],
    ["too many requests, said in JSON", () => ({ error: { code: -32_005, message: "Too Many Requests" } })],
    ["limit exceeded, said in JSON", () => ({ error: { code: -32_005, message: "limit exceeded" } })],
    ["a used-up plan", () => ({ error: { code: 429, message: "Monthly capacity limit exceeded." } })],
    ["no healthy backend", () => ({ error: { code: -32_011, message: "no backend is currently healthy to serve traffic" } })],
  ];
  for (const [what, rule] of faults) {
    it(`goes to the next URL after ${what}`, async () => {
      const [bad, good] = [await serve(rule), await serve(says("good"))];
      assert.equal(await connect(bad.url, good.url).call("eth_x", []), "good");
      assert.equal(bad.requests.length, 1);
    });
  }

  it("goes to the next URL when nobody listens at the first", async () => {
    const good = await serve(says("good"));
    assert.equal(await connect(`http://127.0.0.1:${await freePort()}`, good.url).call("eth_x", []), "good");
  });

  it("passes on what the node answered on purpose, and does not ask elsewhere", async () => {
    const [first, second] = [
      await serve(() => ({ error: { code: -32_602, message: "invalid argument", data: "at position 3" } })),
      await serve(says("second")),
    ];
    await assert.rejects(connect(first.url, second.url).call("eth_x", []), (error: RpcError) => {
      assert.ok(error instanceof RpcError);
      assert.deepEqual([error.code, error.method], [-32_602, "eth_x"]);
      assert.match(error.message, /at position 3/);
      return true;
    });
    assert.equal(second.requests.length, 0);
  });

  it("takes null for an answer", async () => {
    const node = await serve(says(null));
    assert.equal(await connect(node.url).call("eth_getBlockByHash", []), null);
  });

  it("rests as long as Retry-After says", async () => {
    const node = await serve(http(429, { "retry-after": "1" }));
    const rpc = connect(node.url);
    const began = performance.now();
    const call = rpc.call("eth_x", []);
    node.behave(says("later"));
    assert.equal(await call, "later");
    if (node.requests.length > 1) assert.ok(performance.now() - began >= 900, `asked again after ${performance.now() - began} ms`);
  });

  it("asks again after the rest only, while the URL rests", async () => {
    const at: number[] = [];
    const node = await serve((request, response) => {
      at.push(performance.now());
      return at.length === 1 ? http(429, { "retry-after": "1" })(request, response) : { result: "later" };
    });
    assert.equal(await connect(node.url).call("eth_x", []), "later");
    assert.ok(at[1]! - at[0]! >= 950, `after ${at[1]! - at[0]!} ms`);
  });

  it("rests as long as the backoff_seconds of an error say, rather than Retry-After", async () => {
    const at: number[] = [];
    const rate = { allowed_rps: 10, backoff_seconds: 0.8, current_rps: 20.1 };
    const node = await serve((_, response) => {
      at.push(performance.now());
      if (at.length > 1) return { result: "later" };
      response.writeHead(429, { "content-type": "application/json", "retry-after": "60" });
      response.end(JSON.stringify({ jsonrpc: "2.0", id: 1, error: { code: -32_005, message: "rate exceeded", data: { rate } } }));
      return undefined;
    });
    assert.equal(await connect(node.url).call("eth_x", []), "later");
    assert.ok(at[1]! - at[0]! >= 750 && at[1]! - at[0]! < 30_000, `after ${at[1]! - at[0]!} ms`);
  });

  it("waits through an outage of every URL and goes on when one is back", async () => {
    const port = await freePort();
    const call = connect(`http://127.0.0.1:${port}`).call("eth_x", []);
    await serve(says("back"), port);
    assert.equal(await call, "back");
  });

  it("returns to the preferred URL once it answers again", async () => {
    const [first, second] = [await serve(http(500)), await serve(says("second"))];
    const rpc = connect(first.url, second.url);
    assert.equal(await rpc.call("eth_x", []), "second");
    first.behave(says("first"));
    let answer: unknown;
    while ((answer = await rpc.call("eth_x", [])) !== "first") assert.equal(answer, "second");
  });

  it("stops waiting when it is told to", async () => {
    const rpc = connect(`http://127.0.0.1:${await freePort()}`);
    const call = rpc.call("eth_x", []);
    rpc.abort.abort();
    await assert.rejects(call, { name: "AbortError" });
  });

  it("sends user and password as a header", async () => {
    let authorization: string | undefined;
    const node = await serve((_, response) => {
      authorization = response.req.headers.authorization;
      return { result: 1 };
    });
    await connect(node.url.replace("//", "//user:p%40ss@")).call("eth_x", []);
    assert.equal(authorization, `Basic ${Buffer.from("user:p@ss").toString("base64")}`);
  });

  it("speaks to a node over a WebSocket, many calls at once, and is woken by its heads", async () => {
    const node = await hardhatNode();
    open.push(node);
    const rpc = connect(node.url.replace("http", "ws"));
    const woken = new Promise<void>(resolve => rpc.onNewHead(resolve));
    const answers = await Promise.all(Array.from({ length: 50 }, () => rpc.call("eth_chainId", [])));
    assert.deepEqual(new Set(answers), new Set(["0x7a69"]));
    const mining = (async () => {
      for (let mined = 0; mined < 100; mined++) {
        await rpc.call("hardhat_mine", ["0x1"]);
        if ((await Promise.race([woken.then(() => true), new Promise(resolve => setTimeout(resolve, 100))])) === true) return;
      }
      throw new Error("no head woke anybody");
    })();
    await mining;
  });
});
