import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { getAddress } from "ethers";
import { buildClientSchema, GraphQLString, getIntrospectionQuery, graphql } from "graphql";
import pino from "pino";
import { z } from "zod";
import { eventsRead } from "../../../listener/api/events.ts";
import { fieldName } from "../../../listener/api/graphql/names.ts";
import { createLoader, createSchema } from "../../../listener/api/graphql/schema.ts";
import { read } from "../../../listener/api/read.ts";
import { type ApiOptions, listenApi, type RunningApi } from "../../../listener/api/server.ts";
import { reads } from "../../../listener/dapp/reads.ts";
import { app } from "../../../listener/dapp/routes.ts";
import type { Sql } from "../../../listener/db.ts";
import { eventually } from "../../support/eventually.ts";
import { openStream } from "../../support/sse.ts";
import { account, CHAIN, createWorld, openTestDb, registered, silent, transfer, type World } from "./support.ts";

// biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of the JSON
type Json = any;

/** What a team would add beside a projection of its own, in shapes that this application has none of. */
const odd = read({
  path: "odd/:kind/things",
  tag: "odd",
  summary: "Many shapes",
  params: z.object({ kind: z.enum(["small", "large"]) }),
  query: z.strictObject({ note: z.string().max(5).default("none"), window: z.enum(["15m", "1h"]).optional() }),
  response: z.object({
    kind: z.enum(["small", "large"]),
    note: z.string(),
    window: z.string().nullable(),
    free: z.record(z.string(), z.unknown()),
    nested: z.array(z.object({ ratio: z.number(), yes: z.boolean(), more: z.object({ big: z.int() }).nullable() })),
  }),
  handle: async ({ params, query }) => ({
    kind: params.kind,
    note: query.note,
    window: query.window ?? null,
    free: { a: [1, "x"] },
    nested: [
      { ratio: 0.5, yes: true, more: null },
      { ratio: 2, yes: false, more: { big: 2 ** 40 } },
    ],
  }),
});
const broken = read({
  path: "broken",
  tag: "x",
  summary: "throws",
  response: z.object({ n: z.int() }),
  async handle() {
    throw new Error("the password is hunter2");
  },
});

describe("GraphQL", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let world: World;
  let api: RunningApi;
  const options = (config: Partial<ApiOptions["config"]> = {}): ApiOptions => ({
    app,
    reads: [...reads, odd, broken],
    db: database.db,
    chainId: CHAIN,
    log: silent,
    config: { host: "127.0.0.1", port: 0, apiKeys: [], maxLag: 10, ...config },
  });
  const post = async (body: unknown, to = api): Promise<Json> =>
    (
      await fetch(`${to.url}/graphql`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })
    ).json();
  const ask = async (query: string, variables?: Json): Promise<Json> => {
    const { data, errors } = await post({ query, variables });
    assert.equal(errors, undefined, JSON.stringify(errors));
    return data;
  };
  const refusal = async (query: string, variables?: Json): Promise<Json> => (await post({ query, variables })).errors[0];
  const rest = async (path: string): Promise<Json> => (await fetch(`${api.url}/api/v1/${path}`)).json();

  before(async () => {
    database = await openTestDb();
    world = await createWorld(database.db);
    for (let i = 1; i <= 12; i += 1) await world.extend([registered(account(i), `person ${i}`), transfer(account(1), account(2), 0n)]);
    await world.reorg(11);
    await world.work();
    api = await listenApi(options());
  });
  after(async () => {
    await api?.close();
    await database?.close();
  });

  it("names its fields after the paths of REST", () => {
    for (const [path, name] of [
      ["status", "status"],
      ["events/:id", "event"],
      ["accounts/:address/transfers", "accountTransfers"],
      ["statistics/series", "statisticsSeries"],
      ["dead-letters", "deadLetters"],
      ["odd/:kind/things", "oddThings"],
    ] as const) {
      assert.equal(fieldName(path), name);
    }
  });

  it("answers what REST answers, many things in one request", async () => {
    const data = await ask(
      `query ($who: Address!) {
        account(address: $who) { address balance registered { block name granted } asOf { number hash } }
        status { chainId tip { number hash } queues events backfill { at } }
        events(limit: 3, name: "Transfer") { nextCursor items { id position name arguments status block { number timestamp } } }
        block(number: 3) { number eventCount events { id } }
        statistics { supply holders registered paused }
      }`,
      { who: account(3) },
    );
    const { address, balance, registered: found, asOf } = await rest(`accounts/${account(3)}`);
    assert.deepEqual(data.account, { address, balance, registered: found, asOf });
    const { tip, queues } = await rest("status");
    assert.deepEqual([data.status.tip, data.status.queues, data.status.backfill], [tip, queues, null]);
    const events = await rest("events?limit=3&name=Transfer");
    assert.equal(data.events.nextCursor, events.nextCursor);
    assert.deepEqual(
      data.events.items.map(({ id }: Json) => id),
      events.items.map(({ id }: Json) => id),
    );
    assert.deepEqual(data.events.items[0].arguments, events.items[0].arguments);
    assert.equal(data.block.eventCount, 2);
    assert.equal(data.statistics.registered, 11);
  });

  it("pages with the cursors of REST", async () => {
    const seen: number[] = [];
    for (let cursor: string | null = null, first = true; first || cursor; first = false) {
      const { events } = await ask("query ($cursor: String) { events(limit: 7, cursor: $cursor) { nextCursor items { position } } }", {
        cursor,
      });
      seen.push(...events.items.map(({ position }: Json) => position));
      cursor = events.nextCursor;
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 24 }, (_, i) => 24 - i),
    );
  });

  it("looks the deliveries of many events up at once", async () => {
    const statements: string[] = [];
    const sql = {
      query(text: string, values: unknown[]) {
        statements.push(text);
        return database.db.query(text, values);
      },
    } as unknown as Sql;
    const source = "{ events(limit: 20) { items { id deliveries { queue operation state attempts doneAt } } } }";
    const schema = createSchema([eventsRead(app)], () => ({ nothing: { type: GraphQLString } }));
    const { data, errors } = await graphql({ schema, source, contextValue: { sql, chainId: CHAIN, deliveries: createLoader(sql, CHAIN) } });
    assert.equal(errors, undefined);
    const { items } = (data as Json).events;
    assert.equal(items.length, 20);
    assert.equal(statements.filter(text => text.includes("join deliveries")).length, 1);
    for (const { id, deliveries } of items.slice(0, 3)) {
      const trace = (await rest(`events/${id}`)).deliveries;
      assert.ok(trace.length > 0);
      assert.deepEqual(
        JSON.parse(JSON.stringify(deliveries)),
        trace.map(({ queue, operation, state, attempts, doneAt }: Json) => ({ queue, operation, state, attempts, doneAt })),
      );
    }
  });

  it("makes types and arguments of any read that an application declares", async () => {
    const { oddThings } = await ask('{ oddThings(kind: large, window: "1h") { kind note window free nested { ratio yes more { big } } } }');
    assert.deepEqual(oddThings, {
      kind: "large",
      note: "none",
      window: "1h",
      free: { a: [1, "x"] },
      nested: [
        { ratio: 0.5, yes: true, more: null },
        { ratio: 2, yes: false, more: { big: 2 ** 40 } },
      ],
    });
    assert.match((await refusal('{ oddThings(kind: small, note: "too long a note") { kind } }')).message, /note: .*5/);
    assert.match((await refusal('{ oddThings(kind: small, window: "2h") { kind } }')).message, /window/);
  });

  it("gives null for what is not there, and says what is wrong with what was asked", async () => {
    assert.deepEqual(await ask("{ block(number: 999) { number } }"), { block: null });
    for (const [query, reason] of [
      ['{ account(address: "0x12") { balance } }', /address: .*40 hexadecimal/],
      ["{ events(limit: 201) { nextCursor } }", /limit: .*1 to 200/],
      ['{ events(cursor: "rubbish") { nextCursor } }', /not a cursor of this list/],
    ] as const) {
      const error = await refusal(query);
      assert.match(error.message, reason);
      assert.equal(error.extensions.code, "BAD_USER_INPUT");
    }
  });

  it("says nothing of what goes wrong inside", async () => {
    const response = await post({ query: "{ broken { n } }" });
    assert.equal(response.data?.broken ?? null, null);
    assert.doesNotMatch(JSON.stringify(response), /hunter2|stack|node_modules/);
    assert.equal(response.errors[0].extensions.code, "INTERNAL");
  });

  describe("limits", () => {
    const nest = (depth: number): string => (depth === 0 ? "number" : `x { ${nest(depth - 1)} }`);
    const aliases = (count: number) => `{ ${Array.from({ length: count }, (_, i) => `a${i}: status { chainId }`).join(" ")} }`;

    it("refuses what is too deep, too dear, or renames too much", async () => {
      assert.match(
        (await post({ query: `{ ${nest(9)} }` })).errors.map(({ message }: Json) => message).join(),
        /depth .* 10, allowed are 8/,
      );
      assert.match((await refusal(aliases(16))).message, /aliases .* 16, allowed are 15/);
      await ask(aliases(15));
      const many = (count: number) =>
        `{ ${Array.from({ length: count }, (_, i) => `e${i}: events(limit: 200) { items { block { number } deliveries { queue } } }`).join(" ")} }`;
      await ask(many(2));
      const error = await refusal(many(15));
      assert.match(error.message, /cost/);
      assert.equal(error.extensions.code, "TOO_MUCH");
      // A limit that only the variables say.
      const hidden = `query ($n: Int) { ${Array.from({ length: 15 }, (_, i) => `e${i}: events(limit: $n) { items { block { number } deliveries { queue } } }`).join(" ")} }`;
      assert.match((await refusal(hidden, { n: 200 })).message, /cost/);
      await ask(hidden, { n: 5 });
    });

    it("is not deceived by fragments", async () => {
      const fragments = Array.from(
        { length: 30 },
        (_, i) => `fragment f${i} on Query { ...f${i + 1} ...f${i + 1} a${i}: status { chainId } }`,
      ).join(" ");
      const began = performance.now();
      const { errors } = await post({ query: `{ ...f0 } ${fragments} fragment f30 on Query { status { chainId } }` });
      assert.match(errors[0].message, /aliases/);
      assert.ok(performance.now() - began < 60_000, "what they stand for was written out");
      const ring = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
      assert.ok((await refusal(ring)).message);
    });

    it("takes ten operations in one request and no more, and no endless text", async () => {
      const batch = (count: number) => post(Array.from({ length: count }, () => ({ query: "{ status { chainId } }" })));
      assert.equal((await batch(10)).length, 10);
      assert.ok((await batch(11)).errors);
      assert.ok((await refusal(`{ status { ${"chainId ".repeat(2_500)} } }`)).message);
    });
  });

  describe("the schema and its page", () => {
    it("are there in development, and load nothing from elsewhere", async () => {
      const data = await ask(getIntrospectionQuery());
      const schema = buildClientSchema(data);
      assert.ok(schema.getQueryType()!.getFields().accountTransfers);
      const page = await fetch(`${api.url}/graphql`, { headers: { accept: "text/html" } });
      const html = await page.text();
      assert.equal(page.status, 200);
      assert.match(page.headers.get("content-security-policy")!, /^default-src 'none'; script-src 'self' 'sha256-/);
      assert.doesNotMatch(html, /<(?:script|link|img)[^>]+(?:src|href)=["']?(?:https?:)?\/\//);
    });

    it("are not there in production", async () => {
      const other = await listenApi(options({ graphqlExplorer: false }));
      for (const query of ["{ __schema { types { name } } }", '{ __type(name: "Event") { name } }'])
        assert.match((await post({ query }, other)).errors[0].message, /introspection/i);
      assert.deepEqual((await post({ query: "{ __typename status { __typename } }" }, other)).data, {
        __typename: "Query",
        status: { __typename: "Status" },
      });
      const page = await fetch(`${other.url}/graphql`, { headers: { accept: "text/html" } });
      assert.doesNotMatch(await page.text(), /graphiql/i);
      await other.close();
    });
  });

  describe("subscriptions", () => {
    const subscribe = (query: string) =>
      openStream(`${api.url}/graphql?query=${encodeURIComponent(query)}`, { accept: "text/event-stream" });
    const CHANGES =
      "{ __typename ... on EventChange { cursor event { name arguments deliveries { queue } } } ... on ReorgChange { cursor removed ancestor { number } } }";
    const payloads = (stream: Awaited<ReturnType<typeof subscribe>>) =>
      stream.stream.messages.filter(({ event }) => event === "next").map(({ data }) => data.data);

    it("give the changes that the stream gives, from a cursor on", async () => {
      const { events, reorgs } = await rest("status");
      const stream = await subscribe(`subscription { changes(from: "${events - 1}-0", account: "${account(2)}") ${CHANGES} }`);
      await world.extend([registered(account(30), "late"), transfer(account(2), account(5), 0n)], { fork: "b" });
      await eventually(() => payloads(stream).length >= 3);
      const [first, reorg, last] = payloads(stream).map(({ changes }) => changes);
      assert.deepEqual([first.__typename, reorg.__typename, last.__typename], ["EventChange", "ReorgChange", "EventChange"]);
      assert.equal(last.cursor, `${events + 2}-${reorgs}`);
      assert.equal(reorg.removed.length, 2);
      assert.equal(last.event.arguments.to, getAddress(account(5)));
      assert.ok(last.event.deliveries.length > 0);
      await stream.close();
    });

    it("give the status as it changes", async () => {
      const stream = await subscribe("subscription { status { tip { number } } }");
      await world.extend([], { fork: "b" });
      const { tip } = await rest("status");
      await eventually(() => payloads(stream).at(-1)?.status.tip.number === tip.number);
      await stream.close();
    });

    it("drop a subscriber that does not read, and one that does goes on", async () => {
      // Both ends are in this process: one that reads may be late by as long as a busy machine keeps it from that.
      const dropped = Promise.withResolvers<void>();
      const log = pino({ level: "info" }, { write: line => void (/subscriber .* too slow/.test(line) && dropped.resolve()) });
      const impatient = await listenApi({ ...options(), log, streams: 2, streamLimits: { patience: 3_000 } });
      const { events } = await rest("status");
      const path = `/graphql?query=${encodeURIComponent(`subscription { changes(from: "${events}-0", event: "Registered") ${CHANGES} }`)}`;
      const slow = connect(Number(new URL(impatient.url).port), "127.0.0.1").on("error", () => {});
      await once(slow, "connect");
      slow.pause();
      slow.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n`);
      const quick = await openStream(`${impatient.url}${path}`, { accept: "text/event-stream" });
      // Far more than the buffers of both ends hold.
      const text = "x".repeat(50_000);
      for (let i = 0; i < 20; i += 1) {
        const said = Array.from({ length: 20 }, (_, j) => registered(account(1_000 + i * 20 + j), text));
        await world.extend(said, { fork: "b" });
      }
      await dropped.promise;
      await eventually(() => payloads(quick).filter(({ changes }) => changes.__typename === "EventChange").length === 400, {
        timeout: 60_000,
      });
      slow.resume();
      await once(slow, "close");
      // Its place is free again.
      const next = await eventually(() => openStream(`${impatient.url}${path}`, { accept: "text/event-stream" }));
      await Promise.all([quick.close(), next.close(), impatient.close()]);
    });

    it("refuse a cursor of another journal, and too many at a time", async () => {
      const stream = await subscribe('subscription { changes(from: "9999999-0") { __typename } }');
      await eventually(() => stream.stream.ended);
      assert.match(stream.stream.text, /lies beyond|begun anew|errors/);
      const narrow = await listenApi({ ...options(), streams: 1 });
      const url = `${narrow.url}/graphql?query=${encodeURIComponent("subscription { status { chainId } }")}`;
      const first = await openStream(url, { accept: "text/event-stream" });
      assert.equal((await fetch(url, { headers: { accept: "text/event-stream" } })).status, 503);
      await narrow.close();
      await eventually(() => first.stream.ended);
    });
  });
});
