import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { connect, type Socket } from "node:net";
import { after, before, describe, it } from "node:test";
import { limitConnections } from "../../../listener/api/connections.ts";
import { createKey, revokeKey } from "../../../listener/api/keys.ts";
import { listenApi, type RunningApi } from "../../../listener/api/server.ts";
import { reads } from "../../../listener/dapp/reads.ts";
import { app } from "../../../listener/dapp/routes.ts";
import { eventually } from "../../support/eventually.ts";
import { account, CHAIN, createWorld, openTestDb, registered, silent } from "./support.ts";

/** Milliseconds that a good client may wait at worst, on a machine that does other things too. */
const PATIENCE = 15_000;

describe("hostile clients", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let api: RunningApi;
  const sockets: Socket[] = [];
  const dial = async () => {
    const socket = connect(Number(new URL(api.url).port), "127.0.0.1").on("error", () => {});
    sockets.push(socket);
    await once(socket, "connect");
    return socket;
  };
  const closed = async (socket: Socket) => {
    let text = "";
    socket.on("data", chunk => {
      text += chunk;
    });
    if (!socket.destroyed) await once(socket, "close");
    return text;
  };
  /** A good client in the meantime. */
  const othersAreServed = async () => {
    for (let i = 0; i < 20; i += 1) {
      const began = performance.now();
      const response = await fetch(`${api.url}/api/v1/events`);
      await response.arrayBuffer();
      assert.equal(response.status, 200);
      assert.ok(performance.now() - began < PATIENCE, `${performance.now() - began} ms`);
    }
  };

  before(async () => {
    database = await openTestDb();
    const world = await createWorld(database.db);
    await world.extend(Array.from({ length: 50 }, (_, i) => registered(account(i + 1), "x".repeat(1_000))));
    const config = { host: "127.0.0.1", port: 0, apiKeys: [], maxLag: 10 };
    api = await listenApi({ app, reads, db: database.db, chainId: CHAIN, log: silent, config });
  });
  after(async () => {
    for (const socket of sockets) socket.destroy();
    await api?.close();
    await database?.close();
  });

  it("do not keep others waiting by holding hundreds of idle connections", async () => {
    await Promise.all(Array.from({ length: 500 }, dial));
    await othersAreServed();
  });

  it("are cut off when their headers come a byte at a time", async () => {
    const slow = await dial();
    const began = performance.now();
    let ended = 0;
    slow.once("close", () => {
      ended = performance.now();
    });
    const text = closed(slow);
    slow.write("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
    const drip = setInterval(() => slow.write("x"), 200);
    await othersAreServed();
    assert.match(await text, /^HTTP\/1\.1 408 /);
    clearInterval(drip);
    assert.ok(ended - began < 30_000, "headers have 5 s, and without us a minute");
  });

  it("are cut off when their body does not come", async () => {
    const slow = await dial();
    const text = closed(slow);
    slow.write(
      'POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{"key":"',
    );
    await othersAreServed();
    assert.match(await text, /^HTTP\/1\.1 (?:408|403) /);
  });

  it("are refused with headers or a body that are too large, before anybody reads them", async () => {
    const bomb = await dial();
    bomb.write(
      `GET / HTTP/1.1\r\nHost: localhost\r\n${Array.from({ length: 400 }, (_, i) => `X-${i}: ${"y".repeat(100)}\r\n`).join("")}\r\n`,
    );
    assert.match(await closed(bomb), /^HTTP\/1\.1 431 [\s\S]*application\/problem\+json/);
    const { key } = await createKey(database.db, { name: "large", scope: "operate" });
    const flood = await fetch(`${api.url}/api/v1/replay`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify({ queues: ["x".repeat(2_000_000)] }),
    }).catch(() => undefined);
    assert.ok(flood === undefined || flood.status === 413);
    await othersAreServed();
  });

  it("that ask much and never read hold nothing up", async () => {
    const mute = await Promise.all(Array.from({ length: 20 }, dial));
    for (const socket of mute) {
      socket.pause();
      socket.write("GET /docs/js/scalar.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(5));
    }
    await othersAreServed();
  });

  it("may hold so many connections per address and no more", async () => {
    const server = createServer((_, response) => response.end("hello"));
    limitConnections(server, 3);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const open = async () => {
      const socket = connect(port, "127.0.0.1").on("error", () => {});
      sockets.push(socket);
      await once(socket, "connect");
      return socket;
    };
    const first = [await open(), await open(), await open()];
    const fourth = await open();
    await once(fourth, "close");
    assert.ok(first.every(socket => !socket.destroyed));
    first[0]!.destroy();
    await eventually(async () => {
      const again = await open();
      again.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
      const [answer] = (await Promise.race([once(again, "data"), once(again, "close").then(() => [""])])) as [Buffer | string];
      return String(answer).startsWith("HTTP/1.1 200");
    });
    server.closeAllConnections();
    server.close();
  });

  it("lose what they had open when their key is revoked, within a second", async () => {
    const { id, key } = await createKey(database.db, { name: "stream", scope: "read" });
    const response = await fetch(`${api.url}/api/v1/stream`, { headers: { authorization: `Bearer ${key}` } });
    const reader = response.body!.getReader();
    assert.equal((await reader.read()).done, false);
    await revokeKey(database.db, id);
    const began = performance.now();
    const ended = (async () => {
      for (;;) if ((await reader.read()).done) return;
    })().catch(() => {});
    await ended;
    assert.ok(performance.now() - began < PATIENCE, `${performance.now() - began} ms`);
  });
});
