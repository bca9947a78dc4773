import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { FastifyInstance, InjectOptions, LightMyRequestResponse } from "fastify";
import { createKey, digestOf, listKeys, revokeKey } from "../../../listener/api/keys.ts";
import { covers, type Needs, SCOPES, type Scope } from "../../../listener/api/scope.ts";
import type { ApiOptions } from "../../../listener/api/server.ts";
import { type Demo, demoOperations } from "../../../listener/dapp/demo-operations.ts";
import { SluiceError } from "../../../listener/errors.ts";
import { account, apiOf, hashOf, openTestDb } from "./support.ts";

/** Values for the parameters of paths; what they name need not exist. */
const PARAMETERS: Record<string, string> = { address: account(1), number: "1", hash: hashOf("x"), id: `31337-${hashOf("x")}-0` };
const pathOf = (url: string) => url.replaceAll(/:(\w+)/g, (_, name) => PARAMETERS[name] ?? "none").replace("*", "nothing");

/** The demonstration's operations without a chain behind them: the guard stands before it. */
const demo = demoOperations({ crowd: {}, reorg: () => Promise.reject(new Error("no chain")) } as unknown as Demo);

describe("access", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  const keys = {} as Record<Scope | "revoked", string>;
  const opened: FastifyInstance[] = [];
  const open = async (config: Partial<ApiOptions["config"]> = {}, more: Partial<ApiOptions> = {}) => {
    // No stream is let in: one that is would never end its answer.
    const given = { operations: demo, backend: new Promise<never>(() => {}), streams: 0, ...more };
    const api = await apiOf(database.db, { ...given, config });
    await api.ready();
    opened.push(api);
    return api;
  };
  const bearer = (key: string | undefined): Record<string, string> => (key ? { authorization: `Bearer ${key}` } : {});

  before(async () => {
    database = await openTestDb();
    for (const scope of SCOPES) keys[scope] = (await createKey(database.db, { name: scope, scope })).key;
    const revoked = await createKey(database.db, { name: "lost", scope: "admin" });
    await revokeKey(database.db, revoked.id);
    keys.revoked = revoked.key;
  });
  after(async () => {
    await Promise.all(opened.map(api => api.close()));
    await database?.close();
  });

  for (const host of ["127.0.0.1", "0.0.0.0"]) {
    it(`asks of every route what it declares, bound to ${host}`, async () => {
      const api = await open({ host });
      const routes = api.declared.filter(({ url }) => url !== "/api/v1/session");
      assert.ok(routes.length > 60, `only ${routes.length} routes`);
      const given: [who: string, key: string | undefined][] = [
        ["no key", undefined],
        ["a wrong key", keys.admin.slice(0, -1) + (keys.admin.endsWith("A") ? "B" : "A")],
        ["a revoked key", keys.revoked],
        ...SCOPES.map((scope): [string, string] => [scope, keys[scope]]),
      ];
      const expected = (who: string, needs: Needs): number | undefined => {
        if (needs === "open") return undefined;
        if (who === "no key") return needs === "read" && host === "127.0.0.1" ? undefined : 401;
        if (!SCOPES.includes(who as Scope)) return 401;
        return covers(who as Scope, needs) ? undefined : 403;
      };
      const wrong: string[] = [];
      for (const { method, url, scope } of routes) {
        for (const [who, key] of given) {
          const request = { method, url: pathOf(url), headers: bearer(key) } as InjectOptions;
          const payload = ["POST", "PUT", "PATCH", "DELETE"].includes(method) ? { payload: { bad: 1 } } : {};
          const { statusCode, headers } = await api.inject({ ...request, ...payload });
          // A 403 that is no problem of ours is what bull-board says of what it hides from everybody.
          const ours = String(headers["content-type"]).startsWith("application/problem+json");
          const refused = [401, 403, 421, 429].includes(statusCode) && (ours || statusCode !== 403) ? statusCode : undefined;
          if (refused !== expected(who, scope)) wrong.push(`${method} ${url} with ${who}: ${statusCode}, expected ${expected(who, scope)}`);
          if (refused && !ours) wrong.push(`${url}: no problem`);
          if (refused === 401 && !headers["www-authenticate"]) wrong.push(`${url}: no challenge`);
        }
      }
      assert.deepEqual(wrong, []);
      const operations = routes.filter(({ scope }) => scope === "operate" || scope === "admin");
      assert.ok(operations.length > 20, "bull-board's and the repairs' routes were not met");
      assert.deepEqual(
        routes
          .filter(({ method, scope }) => !["GET", "HEAD", "OPTIONS"].includes(method) && !covers(scope as Scope, "operate"))
          .map(({ url }) => url),
        ["/graphql"],
        "what changes something must need more than read; GraphQL has queries only",
      );
    });
  }

  it("does not start with a route that declares no scope", async () => {
    const api = await apiOf(database.db);
    api.get("/forgotten", async () => "data");
    await assert.rejects(
      async () => api.ready(),
      (error: unknown) => error instanceof SluiceError && /GET \/forgotten/.test(error.message),
    );
    await api.close();
  });

  it("starts beyond loopback with a key of the database alone, and takes those of API_KEYS for admin", async () => {
    const api = await open({ host: "0.0.0.0", apiKeys: ["a-key-of-many-letters"] });
    const asked = (authorization: string) => api.inject({ method: "POST", url: "/api/v1/replay", headers: { authorization }, payload: {} });
    assert.equal((await asked("Bearer a-key-of-many-letters")).statusCode, 400);
    for (const authorization of [
      "",
      "Bearer",
      "Basic a-key-of-many-letters",
      "Bearer a-key-of-many-letter",
      "Bearer a-key-of-many-letters x",
    ]) {
      assert.equal((await asked(authorization)).statusCode, 401, authorization);
    }
  });

  it("stores no key, and refuses one from the moment it is revoked", async () => {
    const api = await open({ host: "0.0.0.0" });
    const { id, key } = await createKey(database.db, { name: "short-lived", scope: "read" });
    assert.match(key, /^sluice_[0-9a-f]{12}_[\w-]{43}$/);
    const { rows } = await database.db.query<{ stored: string }>("select row_to_json(k)::text as stored from api_keys k");
    assert.ok(rows.every(({ stored }) => !stored.includes(key.split("_")[2]!)));
    assert.ok(rows.some(({ stored }) => stored.includes(digestOf(key).toString("hex"))));
    const ask = async () => (await api.inject({ url: "/api/v1/queues", headers: bearer(key) })).statusCode;
    assert.equal(await ask(), 200);
    assert.equal((await revokeKey(database.db, id))?.id, id);
    assert.equal(await ask(), 401);
    assert.equal(await revokeKey(database.db, id), undefined);
    assert.ok((await listKeys(database.db)).find(one => one.id === id)?.revokedAt);
  });

  it("answers for its own names only, so that no page can rebind a name of its own to it", async () => {
    const local = await open();
    const status = async (api: FastifyInstance, host: string, more = {}) =>
      (await api.inject({ url: "/api/v1/queues", headers: { host, ...more } })).statusCode;
    for (const host of ["localhost", "localhost:3000", "127.0.0.1:3000", "[::1]:3000", "sluice.localhost"]) {
      assert.equal(await status(local, host), 200, host);
    }
    for (const host of [
      "evil.example",
      "evil.example:3000",
      "127.0.0.1.evil.example",
      "localhost.evil.example",
      "a b",
      "x@localhost",
      "192.168.0.9",
    ]) {
      assert.equal(await status(local, host), 421, host);
    }
    const proxied = await open({ allowedHosts: ["sluice.example.org"] });
    assert.equal(await status(proxied, "sluice.example.org"), 401, "a proxy's clients are not this machine");
    assert.equal(await status(proxied, "sluice.example.org", bearer(keys.read)), 200);
    assert.equal(await status(proxied, "localhost", { "x-forwarded-for": "203.0.113.9" }), 401);
    const wide = await open({ host: "0.0.0.0", allowedHosts: ["sluice.example.org"] });
    assert.equal(await status(wide, "other.example.org", bearer(keys.read)), 421);
    assert.equal(await status(wide, "sluice.example.org", bearer(keys.read)), 200);
  });

  describe("a session", () => {
    const origin = "http://localhost:3000";
    const own = { host: "localhost:3000", origin };
    const session = (api: FastifyInstance, payload: object, headers: Record<string, string> = own) =>
      api.inject({ method: "POST", url: "/api/v1/session", headers, payload });
    const cookieOf = (response: { headers: Record<string, unknown> }) => String(response.headers["set-cookie"]).split(";")[0]!;

    it("comes for a key, as a cookie that scripts and other sites cannot use, and may what the key may", async () => {
      const api = await open({ host: "0.0.0.0" });
      const response = await session(api, { key: keys.operate });
      assert.equal(response.statusCode, 200, response.body);
      assert.match(String(response.headers["set-cookie"]), /^sluice_session=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; SameSite=Strict$/);
      const tls = await session(api, { key: keys.operate }, { host: "x.example", origin: "https://x.example" });
      assert.match(String(tls.headers["set-cookie"]), /; Secure$/);
      const cookie = cookieOf(response);
      assert.equal((await api.inject({ url: "/api/v1/queues", headers: { cookie } })).statusCode, 200);
      const { scope, name, reads } = (await api.inject({ url: "/api/v1/session", headers: { cookie } })).json();
      assert.deepEqual([scope, name, reads], ["operate", "operate", true]);
      const { rows } = await database.db.query<{ stored: string }>("select row_to_json(s)::text as stored from api_sessions s");
      assert.ok(rows.every(({ stored }) => !stored.includes(cookie.split("=")[1]!)));
    });

    it("changes something only for pages of this server", async () => {
      const api = await open();
      const cookie = cookieOf(await session(api, { key: keys.operate }));
      const post = (headers: Record<string, string>) =>
        api.inject({ method: "POST", url: "/api/v1/replay", headers: { ...headers, cookie }, payload: {} });
      assert.equal((await post(own)).statusCode, 400, "let through to its validation");
      for (const headers of [
        { host: "localhost:3000" },
        { host: "localhost:3000", origin: "null" },
        { host: "localhost:3000", origin: "https://evil.example" },
        { host: "localhost:3000", origin: "http://localhost:3001" },
      ]) {
        assert.equal((await post(headers as Record<string, string>)).statusCode, 403, JSON.stringify(headers));
        assert.equal((await session(api, { key: keys.operate }, headers as Record<string, string>)).statusCode, 403);
      }
    });

    it("ends with its key, with its time, and when it is told to", async () => {
      const api = await open({ host: "0.0.0.0" });
      const { id, key } = await createKey(database.db, { name: "short", scope: "read" });
      const first = cookieOf(await session(api, { key }));
      const ask = async (cookie: string) => (await api.inject({ url: "/api/v1/queues", headers: { cookie } })).statusCode;
      assert.equal(await ask(first), 200);
      await revokeKey(database.db, id);
      assert.equal(await ask(first), 401);

      const second = cookieOf(await session(api, { key: keys.read }));
      await api.inject({ method: "DELETE", url: "/api/v1/session", headers: { ...own, cookie: second } });
      assert.equal(await ask(second), 401);

      const third = cookieOf(await session(api, { key: keys.read }));
      await database.db.query("update api_sessions set expires_at = now() - interval '1 second'");
      assert.equal(await ask(third), 401);
    });

    it("is refused for a wrong key, and without one where none is offered", async () => {
      const api = await open();
      assert.equal((await session(api, { key: "wrong" })).statusCode, 401);
      assert.equal((await session(api, {})).statusCode, 401);
      assert.equal((await api.inject({ url: "/api/v1/session" })).json().offered, false);
    });

    it("is offered by `start` to its own page on this machine, and to nobody else", async () => {
      const api = await open({}, { localKey: "of-this-run-only" });
      assert.equal((await api.inject({ url: "/api/v1/session", headers: { host: "localhost:3000" } })).json().offered, true);
      const given = await session(api, {});
      assert.equal(given.json().scope, "admin");
      assert.equal((await session(api, {}, { host: "localhost:3000" })).statusCode, 403, "no Origin");
      assert.equal((await session(api, {}, { host: "evil.example", origin: "http://evil.example" })).statusCode, 421);
      assert.equal((await session(api, {}, { ...own, "x-forwarded-for": "203.0.113.9" })).statusCode, 401);
      const later = await open();
      const headers = { ...own, cookie: cookieOf(given) };
      assert.equal((await later.inject({ method: "POST", url: "/api/v1/replay", headers, payload: {} })).statusCode, 401, "another run");
    });
  });

  describe("limits", () => {
    /** Asks until it is refused. How often it was let through before, and how often the time that this took had earned, at one a second. */
    async function untilRefused(ask: () => Promise<LightMyRequestResponse>, through = 200) {
      const began = performance.now();
      for (let before = 0; ; before += 1) {
        const refused = await ask();
        if (refused.statusCode === 429) return { before, earned: (performance.now() - began) / 1_000, refused };
        assert.equal(refused.statusCode, through, refused.body);
      }
    }

    it("counts by key, and without one by address, and says when to come back", async () => {
      const api = await open({ host: "0.0.0.0", rateLimit: 60 });
      const ask = (key: string) => api.inject({ url: "/api/v1/queues", headers: bearer(key) });
      const { before, earned, refused } = await untilRefused(() => ask(keys.read));
      assert.ok(before >= 10 && before <= 10 + earned, `${before}: a sixth of a minute's allowance may come at once`);
      assert.equal(refused.headers["retry-after"], "1");
      assert.equal(refused.json().status, 429);
      assert.equal((await ask(keys.operate)).statusCode, 200, "another key has an allowance of its own");
      assert.equal((await api.inject({ url: "/healthz" })).statusCode, 200);
    });

    it("counts reads of this machine that need no key too, and allows them ten times as many", async () => {
      const api = await open({ rateLimit: 6 });
      const ask = (key?: string) => api.inject({ url: "/api/v1/queues", headers: bearer(key) });
      const { before, earned } = await untilRefused(() => ask());
      assert.ok(before >= 10 && before <= 10 + earned, String(before));
      assert.equal((await ask(keys.read)).statusCode, 200, "a key has an allowance of its own");
    });

    it("looks no further at an address that keeps sending wrong keys", async () => {
      const api = await open({ host: "0.0.0.0", rateLimit: 600 });
      let i = 0;
      const { before, earned } = await untilRefused(() => api.inject({ url: "/metrics", headers: bearer(`wrong-key-number-${i++}`) }), 401);
      assert.ok(before >= 10 && before <= 10 + earned, String(before));
    });

    it("takes no body that is too large, too deep, or no JSON", async () => {
      const api = await open();
      const post = (payload: string, type = "application/json") =>
        api.inject({ method: "POST", url: "/api/v1/replay", headers: { ...bearer(keys.operate), "content-type": type }, payload });
      assert.equal((await post(JSON.stringify({ queues: ["x".repeat(70_000)] }))).statusCode, 413);
      const deep = await post(`{"queues":${"[".repeat(5_000)}${"]".repeat(5_000)}}`);
      assert.equal(deep.statusCode, 400);
      assert.match(deep.json().detail, /deeper than 32/);
      assert.equal((await post("{")).statusCode, 400);
      assert.equal((await post('{"__proto__":{"admin":true},"queues":"all"}')).statusCode, 400);
      assert.equal((await post("queues=all", "application/x-www-form-urlencoded")).statusCode, 415);
      assert.equal((await post('{"queues":"all"}', "text/plain")).statusCode, 400);
    });
  });

  describe("headers", () => {
    it("let a browser do nothing with an answer that is no page", async () => {
      const { headers } = await (await open()).inject("/api/v1/queues");
      assert.equal(headers["content-security-policy"], "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'");
      assert.equal(headers["x-content-type-options"], "nosniff");
      assert.equal(headers["referrer-policy"], "no-referrer");
      assert.equal(headers["cross-origin-resource-policy"], "same-origin");
      assert.equal(headers["cache-control"], "no-store");
      assert.equal(headers["access-control-allow-origin"], undefined);
    });

    it("let in the origins of CORS_ORIGINS, with a key and never with a cookie", async () => {
      const api = await open({ corsOrigins: ["https://app.example.org"] });
      const preflight = (origin: string) =>
        api.inject({
          method: "OPTIONS",
          url: "/api/v1/replay",
          headers: { origin, "access-control-request-method": "POST", "access-control-request-headers": "authorization" },
        });
      const welcome = await preflight("https://app.example.org");
      assert.equal(welcome.headers["access-control-allow-origin"], "https://app.example.org");
      assert.match(String(welcome.headers["access-control-allow-headers"]), /authorization/);
      assert.equal(welcome.headers["access-control-allow-credentials"], undefined);
      assert.notEqual((await preflight("https://evil.example")).headers["access-control-allow-origin"], "https://evil.example");
      const refused = await api.inject({ url: "/api/v1/queues", headers: { origin: "https://app.example.org", ...bearer("wrong") } });
      assert.deepEqual([refused.statusCode, refused.headers["access-control-allow-origin"]], [401, "https://app.example.org"]);
    });
  });
});
