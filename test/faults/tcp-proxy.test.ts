import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { afterEach, beforeEach, describe, it } from "node:test";
import pg from "pg";
import { openTestDatabase, type TestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { openTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";
import { asksToCommit, committed } from "./wire.ts";

describe("a TCP proxy before Postgres", () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  const clients: pg.Client[] = [];
  beforeEach(async () => {
    database = await openTestDatabase([]);
    await database.db.query("create table public.notes (note int)");
    proxy = await openTcpProxy(database.url);
  });
  afterEach(async () => {
    await proxy.close();
    await Promise.allSettled(clients.splice(0).map(client => client.end()));
    await database.close();
  });

  const connect = async () => {
    const client = new pg.Client({ connectionString: proxy.through(database.url) });
    client.on("error", () => {});
    clients.push(client);
    await client.connect();
    return client;
  };
  const notes = async () => (await database.db.query("select note from public.notes order by 1")).rows.map(({ note }) => note);
  const insert = async (client: pg.Client) => {
    await client.query("begin");
    await client.query("insert into public.notes values ($1)", [1]);
    await client.query("commit");
  };

  it("passes everything on", async () => {
    const client = await connect();
    const { rows } = await client.query("select repeat('x', 5000000) as text");
    assert.equal(rows[0].text.length, 5_000_000);
    assert.equal(proxy.links(), 1);
  });

  it("drops a commit on its way to the server: nothing is committed", async () => {
    const client = await connect();
    const { fired } = proxy.ambush("request", asksToCommit, () => "cut");
    await assert.rejects(insert(client));
    await fired;
    await eventually(() => proxy.links() === 0);
    assert.deepEqual(await notes(), []);
  });

  it("drops the reply of a commit: the client does not know, and it is committed", async () => {
    const client = await connect();
    const { fired } = proxy.ambush("reply", committed, () => "cut");
    await assert.rejects(insert(client));
    await fired;
    assert.deepEqual(await notes(), [1]);
  });

  it("drops the reply of a statement that is a transaction by itself, and not one inside another", async () => {
    const client = await connect();
    await client.query("insert into public.notes values (1)");
    proxy.ambush("reply", committed, () => "cut");
    await client.query("begin");
    await client.query("update public.notes set note = 2");
    await assert.rejects(client.query("commit"));
    assert.deepEqual(await notes(), [2]);
    const other = await connect();
    proxy.ambush("reply", committed, () => "cut");
    await assert.rejects(other.query("update public.notes set note = $1", [3]));
    assert.deepEqual(await notes(), [3]);
  });

  it("drops a statement that is a whole transaction, the first time and when it is prepared", async () => {
    const text = "with held as (select) insert into public.notes values ($1)";
    const client = await connect();
    await client.query({ name: "record-live", text, values: [1] });
    proxy.ambush("request", asksToCommit, () => "cut");
    await assert.rejects(client.query({ name: "record-live", text, values: [2] }));
    const other = await connect();
    proxy.ambush("request", asksToCommit, () => "cut");
    await assert.rejects(other.query({ name: "record-live", text, values: [3] }));
    assert.deepEqual(await notes(), [1]);
  });

  it("swallows everything for as long as it is a black hole, and loses nothing of it", async () => {
    const client = await connect();
    proxy.blackhole(true);
    let answered = false;
    const asked = client.query("select 1").then(() => void (answered = true));
    // Something that passes beside the hole takes its time; meanwhile nothing has come through.
    await database.db.query("select pg_sleep(0.1)");
    assert.equal(answered, false);
    proxy.blackhole(false);
    await asked;
  });

  it("delays each piece in both directions", async () => {
    const client = await connect();
    proxy.delay(60);
    const began = performance.now();
    await client.query("select 1");
    assert.ok(performance.now() - began >= 110);
  });

  it("resets what is open, and refuses what comes", async () => {
    const client = await connect();
    proxy.reset();
    await assert.rejects(client.query("select 1"));
    proxy.refuse(true);
    await assert.rejects(connect());
    proxy.refuse(false);
    assert.ok(await (await connect()).query("select 1"));
  });
});

describe("a TCP proxy before a server that reads slowly", () => {
  it("holds the sender back instead of keeping what it sends", async () => {
    const server = createServer(socket => void socket.pause().on("error", () => {}));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const proxy = await openTcpProxy(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const { connect } = await import("node:net");
    const client = connect(proxy.port, "127.0.0.1");
    client.on("error", () => {});
    const chunk = Buffer.alloc(1 << 20);
    let gone = 0;
    for (let i = 0; i < 64; i++) client.write(chunk, () => void (gone += 1));
    let [seen, looks] = [0, 0];
    const stands = () => {
      looks = gone === seen ? looks + 1 : 0;
      seen = gone;
      return gone > 0 && looks > 5;
    };
    await eventually(stands);
    assert.ok(gone < 32, `${gone} MB have left the sender`);
    client.destroy();
    await proxy.close();
    server.close();
  });
});
