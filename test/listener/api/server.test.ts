import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import { getAddress } from "ethers";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { isLoopback } from "../../../listener/api/hosts.ts";
import { read } from "../../../listener/api/read.ts";
import { type ApiOptions, listenApi } from "../../../listener/api/server.ts";
import { describeStatus } from "../../../listener/commands/status.ts";
import { reads } from "../../../listener/dapp/reads.ts";
import { app } from "../../../listener/dapp/routes.ts";
import { openDb } from "../../../listener/db.ts";
import { ReorgPastFinalityError, SluiceError } from "../../../listener/errors.ts";
import { halt } from "../../../listener/journal/halt.ts";
import { writeNodes } from "../../../listener/journal/nodes.ts";
import { readStatus } from "../../../listener/journal/status.ts";
import { account, apiOf, ask, CHAIN, createWorld, hashOf, openTestDb, registered, silent, transfer, type World } from "./support.ts";

const KEYS = ["a-key-of-many-letters", "another-key-of-many"];
const PROBLEM = /^application\/problem\+json/;

describe("the API server", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let api: FastifyInstance;
  const options = (config: Partial<ApiOptions["config"]> = {}): ApiOptions => ({
    app,
    reads,
    db: database.db,
    chainId: CHAIN,
    log: silent,
    config: { host: "127.0.0.1", port: 0, apiKeys: [], maxLag: 10, ...config },
  });

  before(async () => {
    database = await openTestDb();
    api = await apiOf(database.db);
  });
  after(async () => {
    await api?.close();
    await database?.close();
  });

  describe("before a listener has entered the chain", () => {
    it("answers with nulls and empty lists", async () => {
      const status = await ask(api, "status");
      assert.deepEqual([status.head, status.tip, status.finalized, status.lag, status.leader], [null, null, null, null, null]);
      assert.deepEqual((await ask(api, "events")).items, []);
      assert.deepEqual((await ask(api, "accounts")).items, []);
      const statistics = await ask(api, "statistics");
      assert.deepEqual([statistics.supply, statistics.asOf], ["0", null]);
      await ask(api, "blocks/1", 404);
      assert.match((await api.inject("/metrics")).body, /^sluice_leader\{chain="31337"\} 0$/m);
    });
  });

  describe("refusing what it cannot answer", () => {
    const reasons: [path: string, name: string, reason: RegExp][] = [
      ["events?limit=0", "limit", /whole number from 1 to 200/],
      ["events?limit=201", "limit", /whole number from 1 to 200/],
      ["events?limit=ten", "limit", /whole number from 1 to 200/],
      ["events?limit=1&limit=2", "limit", /string/],
      ["events?cursor=rubbish", "cursor", /not a cursor of this list/],
      ["events?cursor=", "cursor", /not a cursor of this list/],
      [`accounts?cursor=${Buffer.from('[1,"events",5]').toString("base64url")}`, "cursor", /nextCursor of accounts/],
      [`events?cursor=${Buffer.from('[1,"events","5"]').toString("base64url")}`, "cursor", /not a cursor/],
      [`events?cursor=${Buffer.from('[9,"events",5]').toString("base64url")}`, "cursor", /not a cursor/],
      [`dead-letters?cursor=${Buffer.from('[1,"dead-letters",["a"]]').toString("base64url")}`, "cursor", /not a cursor/],
      ["events?status=lost", "status", /expected one of/],
      ["events?fromBlock=-1", "fromBlock", /whole number/],
      ["events?toBlock=99999999999999999", "toBlock", /whole number/],
      ["events?transaction=0x12", "transaction", /64 hexadecimal digits/],
      ["events?acount=0x12", "acount", /no such parameter/],
      ["events/nonsense", "id", /\{chainId\}-\{blockHash\}-\{logIndex\}/],
      ["accounts/0x12", "address", /40 hexadecimal digits/],
      [`accounts/${getAddress(account(1)).replace("A", "a")}`, "address", /wrong checksum/],
      [`accounts/${account(1).slice(2)}/transfers`, "address", /0x and 40/],
      ["blocks/latest", "number", /whole number/],
    ];
    for (const [path, name, reason] of reasons) {
      it(`says what is wrong with ${path.slice(0, 60)}`, async () => {
        const response = await api.inject(`/api/v1/${path}`);
        assert.equal(response.statusCode, 400, response.body);
        assert.match(response.headers["content-type"] as string, PROBLEM);
        const problem = response.json();
        assert.deepEqual([problem.type, problem.title, problem.status], ["about:blank", "Bad Request", 400]);
        assert.equal(problem.errors[0].name, name);
        assert.match(problem.errors[0].reason, reason);
        assert.match(problem.detail, reason);
      });
    }

    it("names every mistake of a request at once", async () => {
      const { errors } = await ask(api, "events?limit=x&cursor=y&transaction=z", 400);
      assert.deepEqual(
        errors.map(({ name }: { name: string }) => name),
        ["limit", "cursor", "transaction"],
      );
    });

    it("refuses a range that is upside down", async () => {
      assert.match((await ask(api, "events?fromBlock=9&toBlock=3", 400)).detail, /fromBlock 9 is above toBlock 3/);
    });

    it("answers 404 as a problem: for a path, an event, another chain's event", async () => {
      for (const path of [
        "/nope",
        "/api/v1/nope",
        `/api/v1/events/${CHAIN}-${hashOf("none")}-0`,
        `/api/v1/events/1-${hashOf("a1")}-0`,
        "/api/v1/blocks/7",
      ]) {
        const response = await api.inject(path);
        assert.equal(response.statusCode, 404, path);
        assert.match(response.headers["content-type"] as string, PROBLEM);
      }
      assert.equal((await api.inject({ method: "POST", url: "/api/v1/status" })).statusCode, 404);
      assert.equal((await api.inject("/%E0%A4%A")).statusCode, 400);
    });

    it("lets nothing of its own mistakes out", async () => {
      const secret = "password=hunter2";
      const broken = [
        ...reads,
        read({ path: "broken", tag: "x", summary: "throws", response: z.object({}), handle: () => Promise.reject(new Error(secret)) }),
        read({
          path: "wrong",
          tag: "x",
          summary: "breaks its own schema",
          response: z.object({ n: z.int() }),
          handle: async () => ({ n: "x" }) as never,
        }),
        read({
          path: "writes",
          tag: "x",
          summary: "tries to write",
          response: z.object({}),
          handle: async ({ sql }) => (await sql.query("delete from events")) as never,
        }),
      ];
      const other = await apiOf(database.db, { reads: broken });
      for (const path of ["broken", "wrong", "writes"]) {
        const response = await other.inject(`/api/v1/${path}`);
        assert.equal(response.statusCode, 500);
        assert.match(response.headers["content-type"] as string, PROBLEM);
        assert.doesNotMatch(response.body, /hunter2|stack|read-only|schema|delete/);
      }
      await other.close();
    });

    it("answers 503 with a Retry-After while the database is away, and shows its own metrics", async () => {
      const away = openDb("postgresql://nobody:x@127.0.0.1:1/none");
      const other = await apiOf(away);
      const response = await other.inject("/api/v1/status");
      assert.equal(response.statusCode, 503);
      assert.match(response.headers["content-type"] as string, PROBLEM);
      assert.equal(response.headers["retry-after"], "2");
      assert.deepEqual((await other.inject("/readyz")).json().reasons, ["the database does not answer"]);
      assert.equal((await other.inject("/healthz")).statusCode, 200);
      const metrics = await other.inject("/metrics");
      assert.match(metrics.body, /^sluice_database_up\{chain="31337"\} 0$/m);
      assert.match(metrics.body, /^process_cpu_seconds_total /m);
      await other.close();
      await away.end();
    });
  });

  describe("access", () => {
    it("is refused at the start where others could reach it without a key", async () => {
      for (const host of ["0.0.0.0", "::", "192.168.1.5", "example.org"]) {
        await assert.rejects(
          apiOf(database.db, { config: { host } }),
          (error: unknown) => error instanceof SluiceError && /API_KEYS/.test(error.hint!),
        );
      }
    });

    it("knows what only this machine can reach", () => {
      for (const host of ["127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]", "::ffff:127.0.0.1"]) assert.ok(isLoopback(host), host);
      for (const host of ["0.0.0.0", "::", "127.0.0.1.example.org", "localhost.example.org", "::ffff:10.0.0.1"])
        assert.ok(!isLoopback(host), host);
    });

    it("needs a key for everything but the health checks when bound to others", async () => {
      const guarded = await apiOf(database.db, { config: { host: "0.0.0.0", apiKeys: KEYS } });
      for (const url of ["/api/v1/status", "/api/v1/events", "/metrics", "/docs/", "/docs/openapi.json", "/docs/js/scalar.js", "/nope"]) {
        for (const authorization of [
          undefined,
          "",
          "Bearer",
          "Bearer wrong",
          `Basic ${KEYS[0]}`,
          `Bearer ${KEYS[0]}x`,
          `Bearer ${KEYS.join(",")}`,
        ]) {
          const response = await guarded.inject({ url, headers: authorization === undefined ? {} : { authorization } });
          assert.equal(response.statusCode, 401, `${url} with ${authorization}`);
          assert.match(response.headers["www-authenticate"] as string, /^Bearer/);
          assert.match(response.headers["content-type"] as string, PROBLEM);
        }
        for (const key of KEYS) {
          const response = await guarded.inject({ url, headers: { authorization: `Bearer ${key}` } });
          assert.notEqual(response.statusCode, 401);
        }
      }
      assert.equal((await guarded.inject("/healthz")).statusCode, 200);
      assert.equal((await guarded.inject("/readyz")).statusCode, 503);
      await guarded.close();
    });
  });

  describe("documentation", () => {
    it("lists every route and describes what it answers", async () => {
      const document = (await api.inject("/docs/openapi.json")).json();
      assert.deepEqual(Object.keys(document.paths).sort(), [
        "/api/v1/accounts",
        "/api/v1/accounts/{address}",
        "/api/v1/accounts/{address}/history",
        "/api/v1/accounts/{address}/transfers",
        "/api/v1/activity",
        "/api/v1/blocks",
        "/api/v1/blocks/{number}",
        "/api/v1/dead-letters",
        "/api/v1/dead-letters/retry",
        "/api/v1/deliveries",
        "/api/v1/events",
        "/api/v1/events/{id}",
        "/api/v1/mining",
        "/api/v1/mining/epochs",
        "/api/v1/queues",
        "/api/v1/replay",
        "/api/v1/session",
        "/api/v1/statistics",
        "/api/v1/statistics/series",
        "/api/v1/status",
        "/api/v1/stream",
        "/api/v1/transactions/{hash}",
        "/api/v1/transfers",
        "/api/v1/webhooks",
        "/api/v1/webhooks/{id}",
        "/api/v1/webhooks/{id}/attempts",
        "/api/v1/webhooks/{id}/messages",
        "/api/v1/webhooks/{id}/pause",
        "/api/v1/webhooks/{id}/replay",
        "/api/v1/webhooks/{id}/resume",
        "/api/v1/webhooks/{id}/rotate",
        "/api/v1/webhooks/{id}/test",
        "/healthz",
        "/metrics",
        "/readyz",
      ]);
      const described = api.declared.filter(({ method, url }) => method !== "HEAD" && url.startsWith("/api/v1/"));
      for (const { method, url, scope } of described) {
        const route = document.paths[url.replaceAll(/:(\w+)/g, "{$1}")]?.[method.toLowerCase()];
        assert.ok(route?.summary, `${method} ${url} is not described`);
        const roles = route.security.map((one: Record<string, string[]>) => Object.values(one)[0]?.[0] ?? "nobody");
        assert.deepEqual(roles, { open: [], read: ["nobody", "read", "read"] }[scope as string] ?? [scope, scope], `${method} ${url}`);
      }
      assert.equal(
        described.length,
        Object.keys(document.paths).flatMap(path => (path.startsWith("/api/v1/") ? Object.keys(document.paths[path]) : [])).length,
      );
      const { limit } = Object.fromEntries(
        document.paths["/api/v1/events"].get.parameters.map((p: { name: string; schema: unknown }) => [p.name, p.schema]),
      );
      assert.deepEqual(limit, { type: "integer", minimum: 1, maximum: 200, default: 50 });
      for (const path of Object.keys(document.paths).filter(path => path.startsWith("/api") && path !== "/api/v1/session")) {
        const { get, post } = document.paths[path];
        const { responses } = get ?? post;
        assert.ok(responses[400].content["application/problem+json"].schema, path);
        const { content } = responses[200] ?? responses[202];
        assert.ok(path.endsWith("/stream") ? content["text/event-stream"] : content["application/json"].schema.properties, path);
      }
    });

    it("is a page that loads nothing from elsewhere", async () => {
      assert.equal((await api.inject("/docs")).headers.location, "/docs/");
      const page = await api.inject("/docs/");
      assert.doesNotMatch(page.body, /https?:\/\//);
      assert.match(page.headers["content-security-policy"] as string, /^default-src 'none'; script-src 'self' 'sha256-[\w+/=]+';/);
      assert.doesNotMatch(page.headers["content-security-policy"] as string, /https?:|\*/);
      const script = await api.inject("/docs/js/scalar.js");
      assert.equal(script.statusCode, 200);
      assert.ok(script.body.length > 100_000);
    });
  });

  describe("listening", () => {
    it("answers at its url and closes although a client holds a connection", async () => {
      const running = await listenApi(options());
      assert.equal((await (await fetch(`${running.url}/healthz`)).json()).alive, true);
      const { port } = new URL(running.url);
      const idle = connect(Number(port), "127.0.0.1").on("error", () => {});
      const half = connect(Number(port), "127.0.0.1").on("error", () => {});
      await Promise.all([once(idle, "connect"), once(half, "connect")]);
      half.write("GET /healthz HTTP/1.1\r\nHost: x\r\n");
      const began = performance.now();
      await Promise.all([running.close(), running.close()]);
      assert.ok(performance.now() - began < 4_500, "it waited for the headers, which have 5 s");
      await assert.rejects(fetch(`${running.url}/healthz`));
    });

    it("says so when the port is taken or the host is another machine's", async () => {
      const running = await listenApi(options());
      const port = Number(new URL(running.url).port);
      const refused = (hint: RegExp) => (error: unknown) => error instanceof SluiceError && hint.test(error.hint!);
      await assert.rejects(listenApi(options({ port })), refused(/PORT/));
      await running.close();
      await assert.rejects(listenApi(options({ host: "192.0.2.1", apiKeys: KEYS })), refused(/HOST/));
    });

    it("answers what is no HTTP, or too much of it, with a problem", async () => {
      const running = await listenApi(options());
      const answerTo = async (bytes: string) => {
        const socket = connect(Number(new URL(running.url).port), "127.0.0.1");
        socket.end(bytes);
        let text = "";
        for await (const chunk of socket) text += chunk;
        return text;
      };
      assert.match(await answerTo("hello\r\n\r\n"), /^HTTP\/1\.1 400 Bad Request\r\nContent-Type: application\/problem\+json/);
      const bomb = `GET / HTTP/1.1\r\nHost: x\r\nX: ${"x".repeat(100_000)}\r\n\r\n`;
      assert.match(await answerTo(bomb).catch(() => "HTTP/1.1 431"), /^HTTP\/1\.1 431/);
      await running.close();
    });
  });

  describe("readiness", () => {
    let world: World;
    const reasons = async () => {
      const response = await api.inject("/readyz");
      return response.statusCode === 200 ? [] : (response.json().reasons as string[]);
    };

    before(async () => {
      world = await createWorld(database.db);
    });

    it("comes with a leader and a tip near the head, and goes with either", async () => {
      assert.equal((await reasons()).length, 2);
      await world.lead(true);
      assert.deepEqual(await reasons(), ["nothing of this chain is in the journal yet"]);
      await world.extend([registered(account(1), "a"), transfer(account(1), account(2), 0n)], { head: 12 });
      assert.deepEqual(await reasons(), ["the tip is 11 blocks behind the head, allowed are 10"]);
      await world.extend([], { head: 12 });
      assert.deepEqual(await reasons(), []);
      assert.equal((await ask(api, "status")).leader, "writer-1");
      await world.lead(false);
      assert.deepEqual(await reasons(), ["no listener leads"]);
      assert.equal((await ask(api, "status")).leader, null);
    });

    it("is in the metrics, with a line per queue", async () => {
      await world.lead(true);
      await world.work({ queues: ["accounts"] });
      const { body, headers } = await api.inject("/metrics");
      assert.match(headers["content-type"] as string, /^text\/plain/);
      const value = (name: string, label = "") =>
        Number(new RegExp(`^sluice_${name}\\{${label}chain="31337"\\} (\\S+)$`, "m").exec(body)?.[1]);
      assert.deepEqual(
        ["head_block", "tip_block", "lag_blocks", "leader", "reorgs_total", "dead_letters", "database_up"].map(name => value(name)),
        [12, 2, 10, 1, 0, 0, 1],
      );
      assert.equal(value("queue_done_total", 'queue="accounts",'), 1);
      assert.equal(value("queue_pending", 'queue="balances",'), 1);
      assert.equal(value("queue_in_flight", 'queue="balances",'), 0);
      assert.doesNotMatch(body, /sluice_finalized_block/);
    });

    it("goes while the journal is halted, with the reason, and comes back after it", async () => {
      await world.lead(true);
      const error = new ReorgPastFinalityError("the chain replaced block 1", 1);
      await database.db.query("update checkpoint set lease_until = '-infinity'");
      await halt(database.db, CHAIN, { error });
      const [reason, ...others] = await reasons();
      assert.match(reason!, /^halted since .*: the chain replaced block 1; run `npm run resync`$/);
      assert.deepEqual(others, []);
      const { halted } = await ask(api, "status");
      assert.deepEqual([halted.reason, halted.block], ["the chain replaced block 1", 1]);
      assert.match((await api.inject("/metrics")).body, /^sluice_halted\{chain="31337"\} 1$/m);
      assert.match(describeStatus(await readStatus(database.db, CHAIN)), /^halted +since .*npm run resync/m);
      await database.db.query("update checkpoint set halted_at = null, epoch = epoch - 1");
      await world.lead(true);
      assert.deepEqual(await reasons(), []);
      assert.match((await api.inject("/metrics")).body, /^sluice_halted\{chain="31337"\} 0$/m);
    });

    it("has an alert rule and a panel for no metric that is not there", async () => {
      await database.db.query(
        "update checkpoint set audited_to = 1, audit_at = now(), audit_failures = 0, finalized_number = 1, finalized_hash = '0x1', head_at = now()",
      );
      const { body } = await api.inject("/metrics");
      for (const file of ["ops/prometheus/alerts.yml", "ops/grafana/sluice.json"]) {
        const named = readFileSync(file, "utf8").match(/\b(?:sluice|process)_[a-z_]+/g) ?? [];
        const names = new Set(named.map(name => name.replace(/_(?:bucket|count|sum)$/, "")));
        assert.ok(names.size > 3);
        for (const name of names) assert.match(body, new RegExp(`^# TYPE ${name} `, "m"), `${name} of ${file}`);
      }
    });

    it("has a dashboard that Grafana can load: panels with an id, a place of their own and queries", () => {
      const { uid, title, schemaVersion, panels, templating } = JSON.parse(readFileSync("ops/grafana/sluice.json", "utf8"));
      assert.deepEqual([uid, title, schemaVersion >= 39], ["sluice", "Sluice", true]);
      assert.equal(new Set(panels.map(({ id }: { id: number }) => id)).size, panels.length);
      const taken = new Set<string>();
      for (const { title, type, gridPos, targets, datasource, fieldConfig, options } of panels) {
        assert.ok(["stat", "timeseries"].includes(type) && fieldConfig.defaults && options, title);
        assert.equal(new Set(targets.map(({ refId }: { refId?: string }) => refId ?? "none")).size, targets.length, `${title}: refIds`);
        assert.equal(datasource.uid, ["$", "{datasource}"].join(""), title);
        assert.ok(targets.length > 0 && gridPos.x + gridPos.w <= 24, title);
        for (const { expr } of targets) assert.equal(expr.split("(").length, expr.split(")").length, expr);
        for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
          for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
            assert.ok(!taken.has(`${x} ${y}`), `${title} lies on another panel`);
            taken.add(`${x} ${y}`);
          }
        }
      }
      assert.deepEqual(
        templating.list.map(({ name, type }: { name: string; type: string }) => [name, type]),
        [
          ["datasource", "datasource"],
          ["chain", "query"],
        ],
      );
    });

    it("has a line per node in the metrics, without its secrets", async () => {
      const since = new Date().toISOString();
      const nodes = [
        { url: "https://node.example/***", state: "lying", reason: "log 1 of block 2 is hidden", since, latency: 12, rateLimit: null },
        { url: "https://other.example/", state: "ok", reason: null, since, latency: null, rateLimit: 2.5 },
      ] as const;
      const { rows } = await database.db.query<{ epoch: number }>("select epoch from checkpoint where chain_id = $1", [CHAIN]);
      await writeNodes(database.db, { chainId: CHAIN, epoch: rows[0]!.epoch }, nodes);
      const { body } = await api.inject("/metrics");
      assert.match(body, /^sluice_node_up\{node="https:\/\/node.example\/\*\*\*",state="lying",chain="31337"\} 0$/m);
      assert.match(body, /^sluice_node_up\{node="https:\/\/other.example\/",state="ok",chain="31337"\} 1$/m);
      assert.deepEqual((await ask(api, "status")).nodes, nodes);
    });

    it("is told to a person as text", async () => {
      const text = describeStatus(await readStatus(database.db, CHAIN, ["accounts", "mining"]));
      assert.match(text, /^lag +10 blocks$/m);
      assert.match(text, /^leader +writer-1$/m);
      assert.match(text, /^accounts +0 +0 +1 +0$/m);
      assert.match(text, /^mining +0 +0 +0 +0$/m);
    });
  });
});
