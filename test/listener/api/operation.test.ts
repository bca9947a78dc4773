import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { createKey } from "../../../listener/api/keys.ts";
import { operation } from "../../../listener/api/operation.ts";
import { HttpProblem } from "../../../listener/api/problem.ts";
import { address } from "../../../listener/api/schemas.ts";
import { account, apiOf, openTestDb } from "./support.ts";

const operations = [
  operation({
    method: "POST",
    path: "things",
    tag: "things",
    summary: "Make a thing",
    scope: "operate",
    status: 201,
    body: z.strictObject({ owner: address, size: z.int().min(1).max(9) }),
    response: z.object({ owner: address, size: z.int(), by: z.string() }),
    handle: async ({ body, by }) => ({ ...body, by: by.name }),
  }),
  operation({
    method: "DELETE",
    path: "things/:id",
    tag: "things",
    summary: "Remove a thing",
    scope: "admin",
    params: z.object({ id: z.string().max(9) }),
    async handle({ params: { id } }) {
      if (id === "held") throw new HttpProblem(409, "this one is held");
      return id === "one" ? true : undefined;
    },
  }),
];

describe("an operation", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let api: FastifyInstance;
  let keys: Record<string, string>;
  const send = (method: "POST" | "DELETE", path: string, key: string | undefined, payload?: object) =>
    api.inject({ method, url: `/api/v1/${path}`, headers: key ? { authorization: `Bearer ${key}` } : {}, ...(payload ? { payload } : {}) });

  before(async () => {
    database = await openTestDb();
    api = await apiOf(database.db, { operations });
    const made = await Promise.all(
      (["operate", "admin"] as const).map(scope => createKey(database.db, { name: `the ${scope} key`, scope })),
    );
    keys = Object.fromEntries(made.map(({ scope, key }) => [scope, key]));
  });
  after(async () => {
    await api?.close();
    await database?.close();
  });

  it("gets what was sent, validated and decoded, and says whose key it was", async () => {
    const response = await send("POST", "things", keys.operate, { owner: account(1).toUpperCase().replace("0X", "0x"), size: 3 });
    assert.equal(response.statusCode, 201, response.body);
    const { owner, ...rest } = response.json();
    assert.equal(owner.toLowerCase(), account(1));
    assert.deepEqual(rest, { size: 3, by: "the operate key" });
  });

  it("needs a key on loopback too, and one of its scope", async () => {
    assert.equal((await send("POST", "things", undefined, { owner: account(1), size: 3 })).statusCode, 401);
    const refused = await send("DELETE", "things/one", keys.operate);
    assert.equal(refused.statusCode, 403);
    assert.match(refused.json().detail, /scope admin; this one has the scope operate/);
  });

  it("answers 204 without a body, 404 for what is not there, and its own problems", async () => {
    const gone = await send("DELETE", "things/one", keys.admin);
    assert.deepEqual([gone.statusCode, gone.body], [204, ""]);
    assert.equal((await send("DELETE", "things/two", keys.admin)).statusCode, 404);
    assert.equal((await send("DELETE", "things/held", keys.admin)).statusCode, 409);
  });

  it("names each mistake of a body, and refuses members that it does not know", async () => {
    const bad = await send("POST", "things", keys.operate, { owner: "0x12", size: 10 });
    assert.equal(bad.statusCode, 400);
    assert.deepEqual(
      bad.json().errors.map((error: { in: string; name: string }) => [error.in, error.name]),
      [
        ["body", "owner"],
        ["body", "size"],
      ],
    );
    assert.match((await send("POST", "things", keys.operate, { owner: account(1), size: 3, color: "red" })).json().detail, /color/);
    assert.equal((await send("POST", "things", keys.operate)).statusCode, 400);
  });

  it("is described with its body, its answers and the scope that it needs", async () => {
    const { paths } = (await api.inject("/docs/openapi.json")).json();
    const { post } = paths["/api/v1/things"];
    assert.deepEqual(post.security, [{ apiKey: ["operate"] }, { session: ["operate"] }]);
    assert.equal(post.requestBody.content["application/json"].schema.properties.size.maximum, 9);
    assert.ok(post.responses[201].content["application/json"].schema.properties.by);
    assert.ok(post.responses[403].content["application/problem+json"]);
    assert.ok(paths["/api/v1/things/{id}"].delete.responses[204]);
  });
});
