import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Browser, Page } from "playwright-core";
import { openReceiver, type Receiver } from "../listener/webhooks/receiver.ts";
import { rpcOf } from "../support/anvil.ts";
import { openTestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";

import { type Running, sluice } from "../support/processes.ts";
import { token } from "../support/token.ts";
import { noBrowser, openBrowser } from "./browser.ts";
import { type Visit, visit } from "./visit.ts";

/** What the page can do under `npm start`, whose key it has without asking, and the pages beside it that are not ours. */
describe("the page of a development chain", { skip: noBrowser }, () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-operate-"));
  let database: Awaited<ReturnType<typeof openTestDatabase>>;
  let browser: Browser;
  let receiver: Receiver;
  let start: Running;
  let url: string;

  before(async () => {
    [database, browser, receiver] = await Promise.all([openTestDatabase([]), openBrowser(), openReceiver()]);
    start = sluice("start --no-traffic", {
      DATABASE_URL: database.url,
      DATA_DIR: folder,
      DEPLOYMENT: join(folder, "deployment.json"),
      PORT: "0",
      WEBHOOKS_ALLOW_LOOPBACK: "true",
    });
    await start.said(/http\S+\/docs/, 120_000);
    url = /(http\S+)\/docs/.exec(start.stdout())![1]!;
    const chain = rpcOf(/embedded Hardhat chain at (http\S+?)[,\s]/.exec(start.stdout())![1]!);
    const contract = /SluiceToken at (0x\w{40})/.exec(start.stdout())![1]!;
    const accounts = await chain<string[]>("eth_accounts");
    const call = (from: number, method: string, values: unknown[]) =>
      chain("eth_sendTransaction", [
        { from: accounts[from], to: contract, data: token.encodeFunctionData(method, values), gas: "0x7a120" },
      ]);
    await call(2, "register", ["erin"]);
    await call(0, "mint", [accounts[1], 10n ** 21n, `0x${"00".repeat(32)}`]);
  });
  after(async () => {
    await browser?.close();
    await start?.end("SIGKILL");
    await receiver?.close();
    await database?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function on(work: (seen: Visit) => Promise<void>, look?: Parameters<typeof visit>[2], at = ""): Promise<void> {
    const seen = await visit(browser, `${url}${at}`, look);
    try {
      await work(seen);
      assert.deepEqual(seen.complaints, []);
    } catch (error) {
      await seen.shot("failed").catch(() => {});
      throw error;
    } finally {
      await seen.close();
    }
  }

  const press = (page: Page, name: string) => page.locator(".demo, .new-endpoint").getByRole("button", { name, exact: true }).click();
  const say = (page: Page, text: string | RegExp, timeout = 30_000) =>
    page.locator("output.outcome", { hasText: text }).waitFor({ timeout });

  it("says where the jobs are", () =>
    on(async ({ page }) => {
      await page.locator(".status-bar div", { hasText: "Queues" }).getByText("Postgres").waitFor();
    }));

  it("mints, transfers, mines, pauses, bursts and reorgs", () =>
    on(async ({ page }) => {
      const events = (name: string) => page.locator(".live tbody tr .event-name", { hasText: name });
      await page.getByLabel("Account that receives").filter({ hasText: "erin" }).waitFor();
      for (const [name, said, event] of [
        ["Mint", /^Minted in 0x/, "Minted"],
        ["Transfer", /^Transferred in 0x/, "Transfer"],
        ["Mine", /^Mined in 0x/, "Mined"],
      ] as const) {
        await events("Minted").first().waitFor();
        const before = await events(event).count();
        await press(page, name);
        await say(page, said);
        await events(event).nth(before).waitFor();
      }

      const tile = page.locator(".tile", { hasText: "Token" });
      await press(page, "Pause");
      await say(page, "The token is paused");
      await tile.getByText("paused").waitFor();
      await press(page, "Unpause");
      await say(page, "The token runs again");
      await tile.getByText("running").waitFor();

      await press(page, "Burst");
      // A busy machine has 200 transactions to sign and to mine.
      await say(page, "200 transfers sent", 240_000);
      const transfers = () => database.db.query("select from sluice.events where name = 'Transfer'");
      await eventually(async () => (await transfers()).rowCount! > 200, { timeout: 120_000 });
      await press(page, "Reorg");
      await say(page, "The last 3 blocks were replaced");
      await page
        .getByText(/Reorg: back to block \d+/)
        .first()
        .waitFor();
    }));

  it("waits for its session with what is pressed before it is there", () =>
    on(async seen => {
      const { page } = seen;
      await page.locator(".demo").waitFor();
      // The session is taken away, and none is given until the button has been pressed.
      const pressed = Promise.withResolvers<void>();
      await page.route("**/api/v1/session", async route => {
        await pressed.promise;
        await route.continue();
      });
      await page.context().clearCookies();
      await page.reload();
      await seen.to("#/webhooks");
      await page.getByLabel("URL").fill("http://127.0.0.1:9/early");
      await press(page, "Create");
      await page.getByRole("button", { name: "Create" }).and(page.locator(":disabled")).waitFor();
      pressed.resolve();
      await say(page, "Created");
    }));

  it("creates a webhook, tests it, rotates its secret, pauses it and replays", () =>
    on(async seen => {
      const { page } = seen;
      await seen.to("#/webhooks");
      await page.getByLabel("URL").fill(receiver.url);
      await page.getByLabel("When").selectOption("latest");
      await press(page, "Create");
      await say(page, "Created");
      const secret = page.locator(".secret code");
      const first = await secret.textContent();
      assert.match(first!, /^whsec_/);
      await page.getByRole("link", { name: receiver.url }).click();

      await page.getByRole("heading", { name: "Endpoint", level: 1, exact: true }).waitFor();
      await press(page, "Send test");
      await say(page, "on its way");
      const answer = page.locator(".letters li").first();
      await answer.getByText("200").waitFor();
      await answer.getByText("thanks").waitFor();
      // What was answered may have been an event of the test before.
      await eventually(() => receiver.received.some(({ payload }) => payload.type === "test"));
      await seen.to("#/webhooks");
      const row = page.locator("tbody tr", { hasText: receiver.url });
      await row.getByText("active").waitFor();
      await row.getByText("200").waitFor();
      await row
        .locator("[data-label=Delivered]")
        .getByText(/^[1-9]/)
        .waitFor();

      await row.getByRole("link").click();
      await press(page, "Rotate secret");
      await say(page, "The old secret signs beside the new one");
      assert.match((await secret.textContent())!, /^whsec_/);
      assert.notEqual(await secret.textContent(), first);

      await press(page, "Pause");
      await say(page, "Paused");
      await page.locator("header.title .pill", { hasText: "paused" }).waitFor();
      await page.getByLabel("Replay from block").fill("0");
      await press(page, "Replay");
      await say(page, /[1-9]\d* messages? will be sent again/);
      const before = receiver.received.length;
      await press(page, "Resume");
      await say(page, "It goes on");
      await page.locator("header.title .pill", { hasText: "active" }).waitFor();
      await eventually(() => receiver.received.length > before);
      assert.deepEqual(await seen.violations(), []);
      await page.emulateMedia({ colorScheme: "dark" });
      assert.deepEqual(await seen.violations(), [], "dark");
      await seen.shot("endpoint-1280-dark", { whole: true });

      // The trace of an event that was told says so.
      const [told] = receiver.received.filter(({ payload }) => payload.type !== "test");
      await seen.to(`#/events/${encodeURIComponent(told!.events[0]!.id)}`);
      const line = page.locator(".stages li", { hasText: receiver.url }).first();
      await line.getByText("delivered", { exact: true }).first().waitFor();
      await line.getByText("answered 200").waitFor();
      assert.deepEqual(await seen.violations(), []);
    }));

  for (const [at, sign] of [
    ["/queues", "accounts"],
    ["/graphql", "Sluice: GraphQL"],
    ["/docs", "Status"],
  ] as const) {
    it(`opens ${at} without a complaint of the browser`, () =>
      on(
        async ({ page, loaded }) => {
          if (at === "/graphql") await page.locator(".graphiql-container .graphiql-query-editor").first().waitFor();
          else await page.getByText(sign).first().waitFor();
          if (at === "/queues") {
            await page.getByRole("link", { name: sign }).first().click();
            await page.waitForURL(/\/queues\/queue\//);
          }
          await loaded();
        },
        {},
        at,
      ));
  }
});
