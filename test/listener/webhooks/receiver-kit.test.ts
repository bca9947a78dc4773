import assert from "node:assert/strict";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Webhook } from "standardwebhooks";
import { app } from "../../../listener/dapp/routes.ts";
import { replayMessages } from "../../../listener/webhooks/replay.ts";
import { signatureHeaders } from "../../../listener/webhooks/sign.ts";
import { verifyWebhook } from "../../../listener/webhooks/verify.ts";
import { run } from "../../support/processes.ts";
import { account, CHAIN, transfer } from "../api/support.ts";
import { openWebhooks } from "./support.ts";

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const body = '{"type":"Token.Transfer","name":"ümlaut 🦜"}';
const signed = (secrets = [secret], at = new Date()) => signatureHeaders({ id: "1-0xab-0-event", body, secrets, at });

describe("the receiver's kit", () => {
  it("signs as Standard Webhooks does, and verifies what that signs", () => {
    assert.deepEqual(new Webhook(secret).verify(body, signed()), JSON.parse(body));
    const at = new Date();
    const foreign = { ...signed([], at), "webhook-signature": new Webhook(secret).sign("1-0xab-0-event", at, body) };
    assert.deepEqual(verifyWebhook(body, foreign, secret), JSON.parse(body));
    assert.deepEqual(verifyWebhook(Buffer.from(body), signed([other, secret]), [secret, other]), JSON.parse(body));
  });

  const wrong: [string, () => unknown][] = [
    ["another secret", () => verifyWebhook(body, signed(), other)],
    ["a changed body", () => verifyWebhook(`${body} `, signed(), secret)],
    ["another id", () => verifyWebhook(body, { ...signed(), "webhook-id": "2" }, secret)],
    ["an old message", () => verifyWebhook(body, signed([secret], new Date(Date.now() - 301_000)), secret)],
    ["one from the future", () => verifyWebhook(body, signed([secret], new Date(Date.now() + 310_000)), secret)],
    ["a missing header", () => verifyWebhook(body, { ...signed(), "webhook-signature": undefined }, secret)],
    [
      "a signature of another version",
      () => verifyWebhook(body, { ...signed(), "webhook-signature": signed()["webhook-signature"]!.replace("v1,", "v2,") }, secret),
    ],
    ["an empty secret", () => verifyWebhook(body, signed(), "")],
  ];
  for (const [what, verify] of wrong) it(`refuses ${what}`, () => assert.throws(verify, Error));

  it("can be copied: it needs nothing but node:crypto", () => {
    const imports = [...readFileSync("listener/webhooks/verify.ts", "utf8").matchAll(/from "([^"]+)"/g)].map(([, name]) => name);
    assert.deepEqual(imports, ["node:crypto"]);
  });

  it("has a serverless handler on its page, which computes each message once and refuses what is not signed", async t => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-handler-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const page = readFileSync("docs/webhooks.md", "utf8");
    const handlerOfThePage = /```ts\n(import \{ verifyWebhook \} from "\.\/verify\.ts";.*?)```/s.exec(page)![1]!;
    copyFileSync("listener/webhooks/verify.ts", join(folder, "verify.ts"));
    // What the page leaves to its reader: a database and the effect.
    const rest = `
      type Message = { operation: string; data: { arguments: Record<string, string> } };
      const taken = new Set<string>();
      const takeOnce = async (id: string) => !taken.has(id) && Boolean(taken.add(id));
      export const computed: string[] = [];
      const compute = async ({ operation, data }: Message) => void computed.push(operation + " " + data.arguments.value);`;
    writeFileSync(join(folder, "handler.ts"), handlerOfThePage + rest);
    type Module = { default(request: Request): Promise<Response>; computed: string[] };
    const { default: handle, computed } = (await import(join(folder, "handler.ts"))) as Module;
    const statuses: number[] = [];
    // As a platform does that runs such a function: a request of HTTP in, its response out.
    const platform = createServer(async (incoming, outgoing) => {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
      const headers = Object.entries(incoming.headers).map(([name, value]) => [name, String(value)] as [string, string]);
      const response = await handle(new Request("http://127.0.0.1/", { method: "POST", headers, body: Buffer.concat(chunks) }));
      statuses.push(response.status);
      outgoing.writeHead(response.status).end(Buffer.from(await response.arrayBuffer()));
    }).listen(0, "127.0.0.1");
    t.after(() => platform.close());
    await once(platform, "listening");
    const url = `http://127.0.0.1:${(platform.address() as AddressInfo).port}/`;
    const hooks = await openWebhooks();
    t.after(() => hooks.close());
    const endpoint = await hooks.create({ url, finality: "latest", concurrency: 1 });
    process.env.WEBHOOK_SECRET = endpoint.secrets[0]!.secret;
    t.after(() => delete process.env.WEBHOOK_SECRET);
    await hooks.dispatch();
    await hooks.deliver();
    const pay = (value: bigint) => transfer(account(1), account(2), value);
    await hooks.world.extend([pay(1n)]);
    await hooks.world.extend([pay(10n)]);
    await hooks.told(endpoint.id);
    await hooks.world.reorg(1);
    await hooks.told(endpoint.id);
    const target = { db: hooks.db, app, chainId: CHAIN, endpoint: endpoint.id };
    assert.equal(await replayMessages(target, {}), 1);
    await hooks.told(endpoint.id);
    assert.deepEqual(computed.toSorted(), ["event 1", "event 10", "reverted 10"]);
    assert.deepEqual(statuses, [204, 204, 204, 204], "the fourth is the repetition");
    assert.equal((await fetch(url, { method: "POST", body: "{}" })).status, 400);
  });

  it("has an example that takes each message once and undoes what the chain took back", { timeout: 120_000 }, async () => {
    const hooks = await openWebhooks();
    const endpoint = await hooks.create({ url: "http://127.0.0.1:1/", finality: "latest" });
    const example = run(process.execPath, ["examples/webhook-receiver.ts"], {
      ...process.env,
      WEBHOOK_SECRET: endpoint.secrets[0]!.secret,
      PORT: "0",
    });
    try {
      await example.said(/receiving at http/);
      const url = /http:\S+/.exec(example.stdout())![0];
      await hooks.db.query("update webhooks set url = $1", [url]);
      await hooks.dispatch();
      await hooks.deliver();
      const pay = (value: bigint) => transfer(account(1), account(2), value);
      await hooks.world.extend([pay(1n)]);
      await hooks.world.extend([pay(10n), pay(20n)]);
      await hooks.told(endpoint.id);
      await hooks.world.reorg(1);
      await hooks.world.extend([pay(300n)], { fork: "b" });
      await hooks.told(endpoint.id);
      assert.deepEqual(await (await fetch(url)).json(), { volume: "301", messages: 6 });
      assert.equal((await fetch(url, { method: "POST", body: "{}" })).status, 400);
    } finally {
      await example.end();
      await hooks.close();
    }
  });
});
