import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { createKey } from "../../../listener/api/keys.ts";
import { account, apiOf, ask, broken, createWorld, openTestDb, registered, transfer, type World } from "./support.ts";

describe("repairs through the API", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let world: World;
  let api: FastifyInstance;
  let key: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of the JSON
  const post = async (path: string, payload: object, status = 200): Promise<any> => {
    const response = await api.inject({ method: "POST", url: `/api/v1/${path}`, headers: { authorization: `Bearer ${key}` }, payload });
    assert.equal(response.statusCode, status, response.body);
    if (status !== 200) return response.json();
    const { paths } = (await api.inject("/docs/openapi.json")).json();
    const described = z.fromJSONSchema(paths[`/api/v1/${path}`].post.responses[200].content["application/json"].schema);
    const result = described.safeParse(response.json());
    assert.ok(result.success, `${path} does not answer what it promises: ${result.error}`);
    return response.json();
  };
  const balance = async (who: string) => (await ask(api, `accounts/${who}`)).balance;

  before(async () => {
    database = await openTestDb();
    api = await apiOf(database.db);
    key = (await createKey(database.db, { name: "ops", scope: "operate" })).key;
    world = await createWorld(database.db);
    await world.extend([registered(account(1), "alice"), transfer(`0x${"0".repeat(40)}`, account(1), 50n), broken()]);
    await world.work();
  });
  after(async () => {
    await api?.close();
    await database?.close();
  });

  it("says which dead letters a retry would take, takes them, and finds none then", async () => {
    const { items } = await ask(api, "dead-letters");
    assert.ok(items.length > 0);
    const dry = await post("dead-letters/retry", { all: true, dryRun: true });
    assert.deepEqual([dry.dryRun, dry.count], [true, items.length]);
    assert.equal((await ask(api, "dead-letters")).items.length, items.length);
    const { queue, position, events } = items[0];
    const one = await post("dead-letters/retry", { queue, position });
    assert.deepEqual(
      one.items.map((letter: typeof one) => [letter.queue, letter.position, letter.events]),
      [[queue, position, events]],
    );
    const rest = await post("dead-letters/retry", { event: events[0] });
    assert.equal(rest.count, items.length - 1);
    assert.equal((await post("dead-letters/retry", { all: true })).count, 0);
    const { rows } = await database.db.query("select 1 from deliveries where state = 'pending'");
    assert.equal(rows.length, items.length);
  });

  it("runs events again without changing what they came to", async () => {
    await world.work();
    assert.equal(await balance(account(1)), "50");
    const before = (await database.db.query<{ n: number }>("select count(*) as n from deliveries")).rows[0]!.n;
    const dry = await post("replay", { queues: ["balances"], dryRun: true });
    assert.equal(dry.queues[0].events, 1);
    const done = await post("replay", { queues: "all", event: "Transfer" });
    assert.ok(done.queues.find(({ queue }: { queue: string }) => queue === "balances").deliveries >= 1);
    const { rows } = await database.db.query<{ n: number }>("select count(*) as n from deliveries");
    assert.ok(rows[0]!.n > before);
    await world.work();
    assert.equal(await balance(account(1)), "50");
  });

  it("says what is missing or does not exist", async () => {
    const reasons: [path: string, body: object, status: number, reason: RegExp][] = [
      ["dead-letters/retry", {}, 400, /queue .*event.*all: true/],
      ["dead-letters/retry", { position: 3, all: true }, 400, /say queue too/],
      ["dead-letters/retry", { queue: "nope" }, 400, /the queues are .*balances/],
      ["dead-letters/retry", { event: "Nope" }, 400, /SluiceToken\.Transfer/],
      ["dead-letters/retry", { event: `1-0x${"a".repeat(64)}-0` }, 400, /chain 1; this is chain 31337/],
      ["dead-letters/retry", { all: true, dryrun: true }, 400, /dryrun/],
      ["replay", {}, 400, /queues/],
      ["replay", { queues: [] }, 400, /queues/],
      ["replay", { queues: ["nope"] }, 400, /the queues are/],
      ["replay", { queues: "all", fromBlock: 9, toBlock: 3 }, 400, /fromBlock 9 is above toBlock 3/],
    ];
    for (const [path, body, status, reason] of reasons) assert.match((await post(path, body, status)).detail, reason);
  });
});
