import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { Webhook } from "standardwebhooks";
import type { BlockRef } from "../../../listener/chain/types.ts";
import { app } from "../../../listener/dapp/routes.ts";
import { deleteEndpoint, rotateSecret, setState } from "../../../listener/webhooks/endpoints.ts";
import { readAttempts, readMessagesOf } from "../../../listener/webhooks/read.ts";
import { replayMessages, retryDead, sendTest } from "../../../listener/webhooks/replay.ts";
import { verifyWebhook } from "../../../listener/webhooks/verify.ts";
import { eventually } from "../../support/eventually.ts";
import { account, CHAIN, hashOf, registered, transfer } from "../api/support.ts";
import { openReceiver, type Receiver } from "./receiver.ts";
import { openWebhooks } from "./support.ts";

const pay = (value: number, from = 1, to = 2) => transfer(account(from), account(to), BigInt(value));

describe("webhooks", () => {
  let hooks: Awaited<ReturnType<typeof openWebhooks>>;
  const receivers: Receiver[] = [];
  const receiver = async (...given: Parameters<typeof openReceiver>) => {
    const opened = await openReceiver(...given);
    receivers.push(opened);
    return opened;
  };
  let safe: BlockRef | undefined;
  let asked = 0;
  before(async () => {
    hooks = await openWebhooks();
    await hooks.dispatch({
      safe: async () => {
        asked += 1;
        return safe;
      },
    });
    await hooks.deliver();
    await hooks.world.extend([pay(1), pay(2)]);
    await hooks.world.finalize(1);
  });
  afterEach(async () => {
    await hooks.db.query("update webhooks set state = 'paused'");
    for (const opened of receivers.splice(0)) await opened.close();
  });
  after(() => hooks?.close());

  it("tells of final events, signed, under ids made of the event's and the operation, and records the attempts", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url, headers: { "x-tenant": "seven" } });
    await hooks.world.extend([pay(3), registered(account(5), "ada")]);
    await hooks.world.finalize(hooks.world.tip().number);
    await hooks.told(endpoint.id);
    assert.equal(to.received.length, 2);
    const one = to.received.find(({ payload }) => payload.type === "SluiceToken.Transfer")!;
    assert.equal(one.id, `${one.events[0]!.id}-event`);
    assert.equal(one.headers["x-tenant"], "seven");
    assert.equal(one.events[0]!.arguments.value, "3");
    const { secret } = endpoint.secrets[0]!;
    assert.deepEqual(new Webhook(secret).verify(one.text, one.headers as Record<string, string>), one.payload);
    assert.deepEqual(verifyWebhook(one.text, one.headers, secret), one.payload);
    const [last] = await readAttempts(hooks.db, CHAIN, endpoint.id, { before: 2 ** 50, limit: 10 });
    assert.deepEqual([last!.status, last!.answer, last!.attempt], [200, "thanks", 1]);
  });

  it("delivers history from a block on, then what comes, without a gap or a double", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url, events: ["SluiceToken.Transfer"], ordered: true }, 1);
    for (let n = 100; n < 110; n++) {
      await hooks.world.extend([pay(n)]);
      await hooks.world.finalize(hooks.world.tip().number);
    }
    await hooks.told(endpoint.id);
    const { rows } = await hooks.db.query<{ value: string }>(
      "select arguments ->> 'value' as value from events where name = 'Transfer' and live order by position",
    );
    assert.deepEqual(
      to.seen(),
      rows.map(({ value }) => `event ${value}`),
    );
  });

  it("tells `latest` of reorgs: the event, then reverted, then what came in its place", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url, finality: "latest" });
    const ancestor = hooks.world.tip().number;
    await hooks.world.extend([pay(201), pay(202)]);
    await hooks.told(endpoint.id);
    // The originals fail at first now: their end must wait all the same.
    let refusals = 3;
    to.become(response => void response.writeHead(refusals-- > 0 ? 500 : 200).end());
    await hooks.world.extend([pay(203)]);
    await hooks.world.reorg(ancestor);
    await hooks.world.extend([pay(301), pay(302)], { fork: "b" });
    await eventually(() => to.seen().filter(text => /30[12]/.test(text)).length >= 2, { what: "the replacements" });
    await hooks.told(endpoint.id);
    const accepted = new Map(to.received.map(({ id }, i) => [id, to.seen()[i]!]));
    const kinds = [...accepted.values()].map(text => text.split(" ")[0]);
    const told = [...accepted.values()];
    for (const value of ["201", "202"]) assert.ok(told.indexOf(`event ${value}`) < told.indexOf(`reverted ${value}`), told.join());
    assert.ok(kinds.lastIndexOf("reverted") < told.findIndex(text => /30[12]/.test(text)), told.join());
  });

  it("tells `safe` of what the node's safe block brings, and nothing where that is a block of another branch", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url, finality: "safe" });
    await hooks.world.extend([pay(221)]);
    const first = hooks.world.tip();
    await hooks.world.extend([pay(222)]);
    safe = { number: first.number + 1, hash: hashOf("elsewhere") };
    const before = asked;
    // Asked again after it was given once: it has been looked at by then.
    await eventually(() => asked >= before + 2, { what: "the safe block is asked for" });
    assert.deepEqual(to.seen(), []);
    safe = first;
    await eventually(() => to.seen().length === 1, { what: "the safe event" });
    await hooks.world.reorg(first.number);
    await hooks.world.extend([pay(223)], { fork: "d" });
    safe = hooks.world.tip();
    await hooks.told(endpoint.id);
    assert.deepEqual(to.seen(), ["event 221", "event 223"]);
  });

  it("knows of each event whom it told, in requests of many events too, and of its end", async () => {
    const to = await receiver();
    const single = await hooks.create({ url: to.url, finality: "latest" });
    const many = await hooks.create({ url: to.url, finality: "latest", batch: 3, wait: 0 });
    const ancestor = hooks.world.tip().number;
    await hooks.world.extend([pay(211), pay(212), pay(213), pay(214)]);
    for (const { id } of [single, many]) await hooks.told(id);
    await hooks.world.reorg(ancestor);
    await hooks.world.extend([pay(215)], { fork: "c" });
    for (const { id } of [single, many]) await hooks.told(id);
    const { rows } = await hooks.db.query<{ position: number }>("select position from events where arguments ->> 'value' = '212'");
    const told = await readMessagesOf(hooks.db, CHAIN, [rows[0]!.position]);
    const said = (id: string) => told.filter(({ endpoint }) => endpoint === id).map(({ operation, state }) => `${operation} ${state}`);
    for (const { id } of [single, many]) assert.deepEqual(said(id), ["event done", "reverted done"]);
    for (const { sequence, endpoint, url } of told) {
      const { rows: messages } = await hooks.db.query("select events from webhook_messages where endpoint = $1 and sequence = $2", [
        endpoint,
        sequence,
      ]);
      assert.ok(messages[0].events.map(Number).includes(rows[0]!.position));
      assert.equal(url, to.url);
    }
  });

  it("gives a block that is orphaned and comes back new ids", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url, finality: "latest" });
    const ancestor = hooks.world.tip().number;
    for (const fork of ["x", "y", "x"]) {
      await hooks.world.extend([pay(400)], { fork });
      await hooks.told(endpoint.id);
      if (to.received.length < 5) await hooks.world.reorg(ancestor);
      await hooks.told(endpoint.id);
    }
    await eventually(() => to.received.length >= 5, { what: "five messages" });
    const ids = to.received.map(({ id }) => id);
    assert.equal(new Set(ids).size, 5, ids.join("\n"));
    assert.equal(ids.at(-1), `${ids[0]}-2`);
  });

  it("never tells a finalized endpoint of what a reorg took", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url });
    const ancestor = hooks.world.tip().number;
    await hooks.world.extend([pay(501)]);
    await hooks.world.reorg(ancestor);
    await hooks.world.extend([pay(502)], { fork: "c" });
    await hooks.world.finalize(hooks.world.tip().number);
    await hooks.told(endpoint.id);
    assert.deepEqual(to.seen(), ["event 502"]);
  });

  it("sends a test at once where the breaker is open, before what waits", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url, finality: "latest" });
    await hooks.db.query("update webhook_turns set failures = 5, probes = 1, probe_at = now() + interval '1 hour' where endpoint = $1", [
      endpoint.id,
    ]);
    await hooks.world.extend([pay(551), pay(552)]);
    await eventually(async () => (await hooks.status(endpoint.id)).counts.pending === 2, { what: "two messages that wait" });
    assert.equal(to.received.length, 0);
    await sendTest(hooks.db, CHAIN, endpoint.id);
    await hooks.told(endpoint.id);
    assert.deepEqual(
      to.received.map(({ payload }) => payload.operation),
      ["test", "event", "event"],
    );
  });

  it("waits for as many confirmations as asked", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url, finality: 2 });
    await hooks.world.extend([pay(601)]);
    await hooks.world.extend([pay(602)]);
    await hooks.world.extend([pay(603)]);
    await eventually(() => to.received.length === 1, { what: "the first" });
    await hooks.world.finalize(hooks.world.tip().number);
    await hooks.told(endpoint.id);
    assert.equal(to.received.length, 3);
  });

  it("fills requests, and sends what is not full after its wait", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url, finality: "latest", batch: 3, wait: 100 });
    await hooks.world.extend([pay(1), pay(2), pay(3), pay(4)]);
    // seen_at of this world is long ago, so the wait is over at once.
    await hooks.told(endpoint.id);
    assert.deepEqual(to.seen().sort(), ["event 1 2 3", "event 4"]);
    assert.match(to.received[0]!.id, /^batch-[0-9a-f]{40}-event$|-event$/);
  });

  it("filters by name, account, arguments and amount", async () => {
    const to = await receiver();
    const filter = { account: account(7), minimumAmount: "50", arguments: { to: [account(7), account(8)] } };
    const endpoint = await hooks.create({ url: to.url, finality: "latest", events: ["SluiceToken.Transfer"], filter });
    await hooks.world.extend([
      pay(49, 1, 7),
      pay(50, 1, 7),
      pay(60, 7, 1),
      pay(70, 7, 8),
      pay(80, 1, 8),
      registered(account(7), "bob", 99n),
    ]);
    await hooks.told(endpoint.id);
    assert.deepEqual(to.seen().sort(), ["event 50", "event 70"]);
  });

  it("keeps the order of each account, and lets one whose message is refused hold only its own", async () => {
    const to = await receiver();
    let refuse = true;
    to.become((response, { events }) => void response.writeHead(refuse && events[0]!.arguments.value === "701" ? 500 : 200).end());
    const endpoint = await hooks.create({ url: to.url, finality: "latest", ordered: true });
    await hooks.world.extend([pay(701, 21, 22), pay(702, 23, 24), pay(703, 22, 25), pay(704, 25, 26), pay(705, 23, 24)]);
    await eventually(() => to.seen().includes("event 705"), { what: "the other accounts" });
    assert.ok(!to.seen().includes("event 703") && !to.seen().includes("event 704"), to.seen().join());
    refuse = false;
    await hooks.told(endpoint.id);
    const seen = to.seen();
    assert.ok(
      seen.lastIndexOf("event 701") < seen.indexOf("event 703") && seen.indexOf("event 703") < seen.indexOf("event 704"),
      seen.join(),
    );
    assert.ok(seen.indexOf("event 702") < seen.indexOf("event 705"));
  });

  it("tries again under the same id, honours Retry-After, and writes down what was answered", async () => {
    const to = await receiver();
    let first = true;
    to.become(response => {
      if (first) response.writeHead(503, { "retry-after": "1" }).end("x".repeat(5_000));
      else response.end();
      first = false;
    });
    const endpoint = await hooks.create({ url: to.url, finality: "latest" });
    await hooks.world.extend([pay(801)]);
    await hooks.told(endpoint.id);
    assert.equal(to.received.length, 2);
    assert.equal(to.received[0]!.id, to.received[1]!.id);
    assert.equal(to.received[0]!.text, to.received[1]!.text);
    assert.ok(to.received[1]!.at - to.received[0]!.at >= 900, "it came too early");
    const attempts = await readAttempts(hooks.db, CHAIN, endpoint.id, { before: 2 ** 50, limit: 10 });
    assert.deepEqual(
      attempts.map(({ status }) => status),
      [200, 503],
    );
    assert.equal(attempts[1]!.answer!.length, 1_024);
  });

  it("disables an endpoint that answers 410, and goes on where it was once it is resumed", async () => {
    const to = await receiver({ answer: response => void response.writeHead(410).end() });
    const endpoint = await hooks.create({ url: to.url, finality: "latest" });
    await hooks.world.extend([pay(901)]);
    await eventually(async () => (await hooks.status(endpoint.id)).state === "disabled", { what: "it is disabled" });
    await hooks.world.extend([pay(902)]);
    to.become(undefined);
    to.received.length = 0;
    await setState(hooks.db, CHAIN, endpoint.id, "active");
    await hooks.told(endpoint.id);
    assert.deepEqual(to.seen().sort(), ["event 901", "event 902"]);
  });

  it("signs with both secrets while they are rotated", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url });
    const rotated = (await rotateSecret(hooks.db, CHAIN, endpoint.id, 60_000))!;
    await sendTest(hooks.db, CHAIN, endpoint.id);
    await eventually(() => to.received.length === 1, { what: "the test" });
    const { text, headers } = to.received[0]!;
    for (const { secret } of rotated.secrets) new Webhook(secret).verify(text, headers as Record<string, string>);
    assert.equal(rotated.secrets.length, 2);
    await rotateSecret(hooks.db, CHAIN, endpoint.id, 0);
    await sendTest(hooks.db, CHAIN, endpoint.id);
    await eventually(() => to.received.length === 2, { what: "the second test" });
    assert.throws(() => verifyWebhook(to.received[1]!.text, to.received[1]!.headers, rotated.secrets[0]!.secret), /no signature matches/);
  });

  it("tells again on demand, under the same ids", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url, finality: "latest" });
    const { number } = hooks.world.tip();
    await hooks.world.extend([pay(1001), pay(1002)]);
    await hooks.told(endpoint.id);
    const target = { db: hooks.db, app, chainId: CHAIN, endpoint: endpoint.id };
    assert.equal(await replayMessages(target, { fromBlock: number + 1 }), 2);
    assert.equal(await replayMessages(target, { id: to.received[0]!.events[0]!.id }), 0, "what is pending is not doubled");
    await hooks.told(endpoint.id);
    assert.equal(await replayMessages(target, { id: to.received[0]!.events[0]!.id }), 1);
    await hooks.told(endpoint.id);
    assert.equal(to.received.length, 5);
    assert.equal(new Set(to.received.map(({ id }) => id)).size, 2);
  });

  it("deletes an endpoint with everything of it", async () => {
    const to = await receiver();
    const endpoint = await hooks.create({ url: to.url, finality: "latest" });
    await hooks.world.extend([pay(1101)]);
    await hooks.told(endpoint.id);
    assert.equal(await deleteEndpoint(hooks.db, CHAIN, endpoint.id), true);
    assert.equal((await hooks.messages(endpoint.id)).length, 0);
    assert.equal(await retryDead(hooks.db, CHAIN, endpoint.id), 0);
  });
});
