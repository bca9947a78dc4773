import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { FastifyInstance } from "fastify";
import { createKey } from "../../../listener/api/keys.ts";
import { eventually } from "../../support/eventually.ts";
import { account, apiOf, transfer } from "../api/support.ts";
import { openReceiver, type Receiver } from "./receiver.ts";
import { openWebhooks } from "./support.ts";

describe("webhooks over the API", () => {
  let hooks: Awaited<ReturnType<typeof openWebhooks>>;
  let api: FastifyInstance;
  let receiver: Receiver;
  let key: string;
  // biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of the JSON
  const call = async (method: "GET" | "POST" | "PATCH" | "DELETE", path: string, payload?: object, expected = 200): Promise<any> => {
    const response = await api.inject({
      method,
      url: `/api/v1/webhooks${path}`,
      headers: { authorization: `Bearer ${key}` },
      ...(payload ? { payload } : {}),
    });
    assert.equal(response.statusCode, expected, response.body);
    return response.body === "" ? undefined : response.json();
  };

  before(async () => {
    hooks = await openWebhooks();
    await hooks.dispatch();
    await hooks.deliver();
    receiver = await openReceiver();
    api = await apiOf(hooks.db, { config: { webhooksAllowLoopback: true } });
    key = (await createKey(hooks.db, { name: "test", scope: "operate" })).key;
  });
  after(async () => {
    await api?.close();
    await receiver?.close();
    await hooks?.close();
  });

  it("creates an endpoint that is told without a restart, and shows its secret once", async () => {
    const created = await call("POST", "", { url: receiver.url, finality: "latest", headers: { authorization: "Bearer hush" } }, 201);
    assert.match(created.secret, /^whsec_/);
    await hooks.world.extend([transfer(account(1), account(2), 5n)]);
    await eventually(() => receiver.received.length === 1, { what: "the event" });
    const listed = await api.inject({ url: "/api/v1/webhooks" });
    assert.ok(!listed.body.includes("whsec_") && !listed.body.includes("hush"), listed.body);
    const shown = await eventually(async () => {
      const one = await call("GET", `/${created.id}`);
      return one.counts.delivered === 1 && one;
    });
    assert.deepEqual([shown.breaker.state, shown.lastAttempt.status, shown.counts.pending], ["closed", 200, 0]);
    assert.equal((await call("GET", `/${created.id}/attempts`)).items[0].answer, "thanks");
    assert.equal((await call("GET", `/${created.id}/messages?state=done`)).items[0].id, receiver.received[0]!.id);
    const [event] = (await api.inject({ url: "/api/v1/events?limit=1" })).json().items;
    const trace = (await api.inject({ url: `/api/v1/events/${event.id}` })).json();
    const { id, endpoint, url, operation, state, attempts, status, nextAt } = trace.webhooks[0];
    assert.equal(trace.webhooks.length, 1);
    assert.deepEqual(
      [id, endpoint, url, operation, state, attempts, status, nextAt],
      [receiver.received[0]!.id, created.id, receiver.url, "event", "done", 1, 200, null],
    );
  });

  it("changes, pauses, resumes, tests, replays, rotates and deletes", async () => {
    const { id, secret } = await call("POST", "", { url: receiver.url, finality: "latest" }, 201);
    receiver.received.length = 0;
    const changed = await call("PATCH", `/${id}`, { events: ["SluiceToken.Transfer"], description: "books" });
    assert.deepEqual([changed.events, changed.description, changed.finality], [["SluiceToken.Transfer"], "books", "latest"]);
    assert.equal((await call("POST", `/${id}/pause`)).state, "paused");
    await call("POST", `/${id}/test`, undefined, 202);
    assert.equal((await call("POST", `/${id}/resume`)).state, "active");
    await eventually(() => receiver.received.some(({ payload }) => payload.type === "test"), { what: "the test" });
    const before = receiver.received.length;
    await hooks.world.extend([transfer(account(1), account(2), 6n)]);
    await hooks.told(id);
    assert.deepEqual(await call("POST", `/${id}/replay`, { fromBlock: 2 }, 202), { messages: 1 });
    await hooks.told(id);
    assert.ok(receiver.received.length >= before + 2);
    const rotated = await call("POST", `/${id}/rotate`, { overlap: 1_000 });
    assert.notEqual(rotated.secret, secret);
    assert.equal(rotated.secrets.length, 2);
    await call("DELETE", `/${id}`, undefined, 204);
    await call("GET", `/${id}`, undefined, 404);
    await call("DELETE", `/${id}`, undefined, 404);
  });

  const bad: [string, object, RegExp][] = [
    ["a private address", { url: "https://10.0.0.1/" }, /not a public address/],
    ["a name for this machine's metadata", { url: "https://169.254.169.254/latest" }, /not a public address/],
    ["plain http", { url: "http://example.com/" }, /use https/],
    ["an unknown event", { url: "https://example.com/", events: ["Token.Nothing"] }, /expected some of/],
    ["a header of ours", { url: "https://example.com/", headers: { "Webhook-Id": "1" } }, /set by Sluice/],
    ["a header with a line break", { url: "https://example.com/", headers: { a: "b\r\nc: d" } }, /printable/],
    ["a member that does not exist", { url: "https://example.com/", finalty: "latest" }, /finalty/],
    [
      "an account with a wrong checksum",
      { url: "https://example.com/", filter: { account: "0x5fbDB2315678afecb367f032d93F642f64180aa4" } },
      /checksum/,
    ],
  ];
  for (const [what, body, reason] of bad) {
    it(`refuses ${what}`, async () => assert.match(JSON.stringify(await call("POST", "", body, 400)), reason));
  }

  it("lets nobody change anything without a key that may", async () => {
    const reader = (await createKey(hooks.db, { name: "reader", scope: "read" })).key;
    const payload = { url: receiver.url };
    assert.equal((await api.inject({ method: "POST", url: "/api/v1/webhooks", payload })).statusCode, 401);
    const response = await api.inject({ method: "POST", url: "/api/v1/webhooks", payload, headers: { authorization: `Bearer ${reader}` } });
    assert.equal(response.statusCode, 403);
  });

  it("shows each endpoint in the metrics", async () => {
    const { body } = await api.inject({ url: "/metrics", headers: { authorization: `Bearer ${key}` } });
    assert.match(body, /sluice_webhook_delivered_total\{endpoint="wh_[0-9a-f]+",chain="31337"\} \d+/);
  });
});
