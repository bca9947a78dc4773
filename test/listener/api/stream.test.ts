import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { getAddress } from "ethers";
import pino from "pino";
import { type ApiOptions, listenApi, type RunningApi } from "../../../listener/api/server.ts";
import { reads } from "../../../listener/dapp/reads.ts";
import { app } from "../../../listener/dapp/routes.ts";
import { openDb } from "../../../listener/db.ts";
import { eventually } from "../../support/eventually.ts";
import { openStream, parseMessages } from "../../support/sse.ts";
import { account, CHAIN, createWorld, openTestDb, registered, silent, transfer, type World } from "./support.ts";

describe("the stream", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let world: World;
  let api: RunningApi;
  const serve = (options: Partial<ApiOptions> = {}) =>
    listenApi({
      app,
      reads,
      db: database.db,
      chainId: CHAIN,
      log: silent,
      config: { host: "127.0.0.1", port: 0, apiKeys: [], maxLag: 10 },
      ...options,
    });
  const open = (query = "", lastId?: string) => openStream(`${api.url}/api/v1/stream${query}`, lastId ? { "last-event-id": lastId } : {});
  const get = async (path: string) => (await fetch(`${api.url}/api/v1/${path}`)).json();

  before(async () => {
    database = await openTestDb();
    world = await createWorld(database.db);
    await world.extend([registered(account(1), "alice"), transfer(account(1), account(2), 5n)]);
    api = await serve();
  });
  after(async () => {
    await api?.close();
    await database?.close();
  });

  it("begins with what happens next, and gives events as the list of events does", async () => {
    const stream = await open();
    await eventually(() => stream.stream.lastId === "2-0");
    await world.extend([transfer(account(2), account(3), 1n)]);
    const [message] = await stream.took(1);
    const { items } = await get("events?limit=1");
    assert.deepEqual(message, { event: "event", id: "3-0", data: { ...items[0], cursor: "3-0" } });
    await stream.close();
  });

  it("tells of a reorg in its place, and of all before it on request", async () => {
    const live = await open();
    await eventually(() => live.stream.lastId === "3-0");
    const { items } = await get("events?limit=1");
    await world.reorg(1);
    await world.extend([transfer(account(1), account(3), 2n), transfer(account(1), account(3), 3n)], { fork: "b" });
    const changes = await live.took(3);
    assert.deepEqual(
      changes.map(({ event, id }) => `${event} ${id}`),
      ["reorg 3-1", "event 4-1", "event 5-1"],
    );
    const { ancestor, removed, at } = changes[0]!.data;
    const block = await get("blocks/1");
    assert.deepEqual([ancestor, removed], [{ number: 1, hash: block.hash }, [items[0].id]]);
    assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000);
    await live.close();

    const again = await open("?from=0-0");
    assert.deepEqual(
      (await again.took(6)).map(({ event, id }) => `${event} ${id}`),
      ["event 1-0", "event 2-0", "event 3-0", "reorg 3-1", "event 4-1", "event 5-1"],
    );
    assert.equal(again.changes()[2]!.data.status, "orphaned");
    await again.close();
  });

  it("goes on from any place, the header before the query", async () => {
    const all = ["1-0", "2-0", "3-0", "3-1", "4-1", "5-1"];
    for (const [i, place] of ["0-0", ...all.slice(0, -1)].entries()) {
      const stream = await open("?from=0-0", place);
      await stream.took(all.length - i);
      assert.deepEqual(
        stream.changes().map(({ id }) => id),
        all.slice(i),
        place,
      );
      await stream.close();
    }
  });

  it("gives only what is wanted, and reorgs in any case", async () => {
    const wanted = async (query: string) => {
      const stream = await open(`?from=0-0&${query}`);
      await eventually(() => stream.stream.lastId === "5-1");
      await stream.close();
      return stream.changes().map(({ id }) => id);
    };
    const expected = {
      "event=Registered": ["1-0", "3-1"],
      [`account=${getAddress(account(2))}`]: ["2-0", "3-0", "3-1"],
      [`account=${account(3)}&event=Transfer`]: ["3-0", "3-1", "4-1", "5-1"],
      "contract=SluiceToken&event=Paused": ["3-1"],
      "contract=Other": ["3-1"],
    };
    const given = await Promise.all(Object.keys(expected).map(wanted));
    assert.deepEqual(given, Object.values(expected));
  });

  it("gives each of many live readers what it wants of the same changes, and the same bytes where they want the same", async () => {
    const queries = ["", "", "?event=Registered", `?account=${account(4)}`, `?account=${account(4)}&event=Registered`, "?contract=Other"];
    const readers = await Promise.all(queries.map(query => open(query)));
    await eventually(() => readers.every(({ stream }) => stream.lastId !== ""));
    const { events } = await get("status");
    await world.extend([transfer(account(1), account(4), 1n), registered(account(4), "four"), transfer(account(1), account(3), 1n)]);
    await world.extend([transfer(account(4), account(3), 1n)]);
    const wanted = [[1, 2, 3, 4], [1, 2, 3, 4], [2], [1, 2, 4], [2], []];
    await Promise.all(readers.map((reader, i) => reader.took(wanted[i]!.length)));
    // Past what it did not want too, so that nothing more can come.
    await eventually(() => readers.every(({ stream }) => stream.lastId === `${events + 4}-1`));
    assert.deepEqual(
      readers.map(reader => reader.changes().map(({ data }) => data.position - events)),
      wanted,
    );
    const raw = readers.map(({ stream }) => stream.text.match(/event: event\n(?:.+\n)+/g));
    assert.deepEqual(raw[0], raw[1]);
    assert.ok(raw[0]!.includes(raw[2]![0]!));
    await Promise.all(readers.map(reader => reader.close()));
  });

  it("does not take a text that reads like an address for one", async () => {
    const stream = await open(`?account=${account(7)}`);
    await eventually(() => stream.stream.lastId !== "");
    await world.extend([registered(account(8), account(7)), registered(account(7), "seven")]);
    await stream.took(1);
    assert.deepEqual(
      stream.changes().map(({ data }) => data.arguments.name),
      ["seven"],
    );
    await stream.close();
  });

  it("remembers a place for readers whose events do not come", async () => {
    const stream = await open("?event=Nothing");
    await world.extend([transfer(account(1), account(3), 2n)]);
    const { events } = await get("status");
    await eventually(() => stream.stream.lastId === `${events}-1`);
    assert.deepEqual(stream.changes(), []);
    await stream.close();
  });

  it("sends the status at once, when it changes, and all the same when it does not", async () => {
    const stream = await open();
    const statuses = () => stream.stream.messages.filter(({ event }) => event === "status").map(({ data }) => data);
    await eventually(() => statuses().length > 0);
    assert.deepEqual(statuses()[0], await get("status"));
    await world.extend();
    const { tip } = await get("status");
    await eventually(() => statuses().at(-1).tip.number === tip.number);
    const count = statuses().length;
    await eventually(() => statuses().length >= count + 2);
    await stream.close();
  });

  it("loses and repeats nothing over a restart of the server, whatever happens meanwhile", async () => {
    const first = await open();
    await eventually(() => first.stream.lastId !== "");
    await world.extend([transfer(account(1), account(3), 4n)]);
    await first.took(1);
    await api.close();
    await eventually(() => first.stream.ended);
    assert.match(first.stream.text, /retry: [1-3]\d{3}\n: the server closes\n\n$/);
    const below = world.tip().number - 1;
    await world.extend([transfer(account(1), account(3), 5n)]);
    await world.reorg(below);
    await world.extend([transfer(account(1), account(3), 6n)], { fork: "c" });
    api = await serve();
    const second = await open("", first.stream.lastId);
    await second.took(3);
    await world.extend([transfer(account(1), account(3), 7n)], { fork: "c" });
    await second.took(4);
    assert.deepEqual(
      [...first.changes(), ...second.changes()].map(({ event, data }) => (event === "reorg" ? "reorg" : data.arguments.value)),
      ["4", "5", "reorg", "6", "7"],
    );
    await second.close();
  });

  it("is the same from every server, and outlasts the loss of its connections to Postgres", async () => {
    const name = "sluice-stream-servers";
    const db = openDb(database.url, { name });
    const servers = [await serve({ db }), await serve({ db })] as const;
    const [here, there] = [await openStream(`${servers[0].url}/api/v1/stream`), await openStream(`${servers[1].url}/api/v1/stream`)];
    await eventually(() => here.stream.lastId !== "" && there.stream.lastId !== "");
    await world.extend([transfer(account(1), account(3), 8n)], { fork: "c" });
    await Promise.all([here.took(1), there.took(1)]);
    const { rows } = await database.db.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = $1",
      [name],
    );
    assert.ok(rows.length >= 2, "the connections of the two servers");
    await world.extend([transfer(account(1), account(3), 9n)], { fork: "c" });
    await world.reorg(world.tip().number - 1);
    await Promise.all([here.took(3), there.took(3)]);
    assert.deepEqual(here.changes(), there.changes());
    assert.deepEqual(
      here.changes().map(({ event, data }) => data.arguments?.value ?? event),
      ["8", "9", "reorg"],
    );
    await Promise.all([here.close(), there.close(), ...servers.map(server => server.close())]);
    await db.end();
  });

  it("drops a reader that does not read, and that one finds everything again", async () => {
    const dropped = Promise.withResolvers<void>();
    const log = pino({ level: "info" }, { write: line => void (/too slow/.test(line) && dropped.resolve()) });
    // Both ends are in this process: one that reads may be late by as long as a busy machine keeps it from that.
    const impatient = await serve({ log, streamLimits: { patience: 3_000 } });
    const slow = connect(Number(new URL(impatient.url).port), "127.0.0.1").on("error", () => {});
    await once(slow, "connect");
    slow.pause();
    slow.write("GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    const quick = await openStream(`${impatient.url}/api/v1/stream`);
    await eventually(() => quick.stream.lastId !== "");
    const begin = quick.stream.lastId;
    // Far more than the buffers of both ends hold.
    const text = "x".repeat(50_000);
    for (let i = 0; i < 25; i += 1) {
      await world.extend(
        Array.from({ length: 20 }, (_, j) => registered(account(100 + i * 20 + j), text)),
        { fork: "c" },
      );
    }
    const expected = (await quick.took(500)).map(({ id }) => id);
    await quick.close();
    await dropped.promise;

    const taken: Buffer[] = [];
    slow.on("data", chunk => taken.push(chunk));
    slow.resume();
    await once(slow, "close");
    const { messages, lastId } = parseMessages(
      Buffer.concat(taken)
        .toString()
        .replaceAll(/\r\n[0-9a-f]+\r\n/g, ""),
    );
    const had = messages.filter(({ event }) => event === "event").map(({ id }) => id);
    assert.ok(had.length < expected.length, `${had.length} of ${expected.length} were taken by one that does not read`);
    const again = await open("", lastId || begin);
    assert.deepEqual([...had, ...(await again.took(expected.length - had.length)).map(({ id }) => id)], expected);
    await again.close();
    await impatient.close();
  });

  it("lets so many in and no more", async () => {
    const narrow = await serve({ streams: 2 });
    const url = `${narrow.url}/api/v1/stream`;
    const [first, second] = [await openStream(url), await openStream(url)];
    const third = await fetch(url);
    assert.equal(third.status, 503);
    assert.ok(third.headers.get("retry-after"));
    await first!.close();
    const next = await eventually(() => openStream(url));
    await Promise.all([second!.close(), next.close(), narrow.close()]);
  });

  describe("refusing", () => {
    const refused = async (query: string, headers: Record<string, string> = {}) => {
      const response = await fetch(`${api.url}/api/v1/stream${query}`, { headers });
      assert.match(response.headers.get("content-type")!, /^application\/problem\+json/);
      return { status: response.status, ...((await response.json()) as { detail: string }) };
    };

    it("says what is wrong with a place or a filter", async () => {
      for (const [query, headers] of [
        ["?from=5", {}],
        ["?from=-1-0", {}],
        ["", { "last-event-id": "rubbish" }],
        ["?account=0x12", {}],
        ["?kind=Transfer", {}],
      ] as const) {
        assert.equal((await refused(query, headers)).status, 400, query);
      }
    });

    it("does not go on from a place that this journal has not reached", async () => {
      const { events } = await get("status");
      for (const place of [`${events + 1}-0`, "0-99"]) assert.equal((await refused("", { "last-event-id": place })).status, 409);
    });
  });
});
