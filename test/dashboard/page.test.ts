import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import type { Browser } from "playwright-core";
import { visible } from "../../listener/dashboard/core/format.ts";
import { noAnvil } from "../support/anvil.ts";
import { eventually } from "../support/eventually.ts";
import { holder, token } from "../support/token.ts";
import { openWorld, type World } from "../support/world.ts";
import { noBrowser, openBrowser } from "./browser.ts";
import { type Visit, visit } from "./visit.ts";

const KEY = "0123456789abcdef0123456789abcdef0123456789abcdef";
const HOSTILE = [
  "<img src=x onerror=alert(1)>",
  "<script>window.broken = 1</script>",
  `"><svg onload=alert(2)>`,
  "{{constructor.constructor('alert(3)')()}}",
  "javascript:alert(4)",
  "\u202egnp.exe",
];

/** A contract that emits its call data as a log: two topics, then data. */
const ECHO = "0x604036036040600037602035600035604036036000a200";

const NAMES = ["alice", "alan", "ada"];

/**
 * The machine may be busy with something else at a time, but not each time: one of three must be quick. One that is busy all the
 * time is given as much more as a page takes on it that asks nobody for anything.
 */
async function within2s(seen: Visit, work: (attempt: number) => Promise<void>): Promise<void> {
  const took: string[] = [];
  for (let attempt = 0; attempt < 3; attempt++) {
    const slowness = await slownessOf(seen);
    const began = performance.now();
    await work(attempt);
    const ms = Math.round(performance.now() - began);
    if (ms < 2_000 * slowness) return;
    took.push(`${ms} (on a machine that is ${slowness.toFixed(1)} times as slow as one that is not busy)`);
  }
  assert.fail(`it took ${took.join(", ")} ms`);
}

/** What an empty window with some arithmetic takes on two cores that do nothing else (ms). */
const IDLE = 200;

/** How many times as long as on a machine that does nothing else a window of its own takes here to open and to compute; 1 at least. */
async function slownessOf({ page }: Visit): Promise<number> {
  const began = performance.now();
  const idle = await page.context().newPage();
  await idle.evaluate("(() => { let x = 0; for (let i = 0; i < 3e7; i++) x = (x * 31 + i) | 0; return x; })()");
  await idle.close();
  return Math.max(1, (performance.now() - began) / IDLE);
}

describe("the page in a browser", { skip: noBrowser || noAnvil }, () => {
  let world: World;
  let browser: Browser;
  let url: string;
  let accounts: string[];
  let serve: ReturnType<World["start"]>;
  let contract: string;

  before(async () => {
    [world, browser] = await Promise.all([openWorld({ redis: false }), openBrowser()]);
    accounts = await world.chain.rpc<string[]>("eth_accounts");
    contract = world.token;
    serve = world.start("serve", { API_KEYS: KEY });
    await serve.said(/"url":"[^"]+"/);
    url = /"url":"([^"]+)"/.exec(serve.stderr())![1]!;
  });
  after(async () => {
    await browser?.close();
    await world?.close();
  });

  const send = (from: number, method: string, values: unknown[]) =>
    world.chain.rpc<string>("eth_sendTransaction", [
      { from: accounts[from], to: contract, data: token.encodeFunctionData(method, values), gas: "0x7a120" },
    ]);
  const mint = (to: number, amount = 10n ** 18n) => send(0, "mint", [accounts[to], amount, `0x${"00".repeat(32)}`]);
  const rows = (seen: Visit) => seen.page.locator(".live tbody tr");

  const row = (seen: Visit, text: string) => rows(seen).filter({ hasText: text }).first();

  /** Runs on a page that must be left without a complaint. */
  async function on(work: (seen: Visit) => Promise<void>, look?: Parameters<typeof visit>[2], allowed = /$^/): Promise<void> {
    const seen = await visit(browser, url, look);
    try {
      await work(seen);
      assert.deepEqual(
        seen.complaints.filter(complaint => !allowed.test(complaint)),
        [],
      );
    } catch (error) {
      await seen.shot("failed").catch(() => {});
      throw error;
    } finally {
      await seen.close();
    }
  }

  it("says which command is next while nothing follows the chain", () =>
    on(async seen => {
      await seen.page.getByText("npm run listen").waitFor();
      await seen.shot("empty");
      assert.deepEqual(await seen.violations(), []);
    }));

  it("shows the first event within 2 s of being opened, and a new one within 2 s of its block", async () => {
    world.start("listen");
    world.start("work");
    await mint(1);
    await world.settled();
    await on(async seen => {
      await within2s(seen, async () => {
        await seen.page.reload({ waitUntil: "commit" });
        await rows(seen).first().waitFor();
      });
      await within2s(seen, async attempt => {
        await send(attempt + 1, "register", [NAMES[attempt]!]);
        await row(seen, NAMES[attempt]!).waitFor();
      });
    });
  });

  it("marks the rows that a reorg takes back", () =>
    on(async seen => {
      await send(4, "register", ["bob"]);
      const row = rows(seen).filter({ hasText: "bob" });
      await row.waitFor();
      await world.chain.rpc("anvil_reorg", [1, []]);
      await world.chain.rpc("evm_mine");
      await row.filter({ hasText: "taken back" }).waitFor();
      await seen.page.getByText(/Reorg: back to block \d+/).waitFor();
      await seen.shot("reorg");
      // What is opened afterwards says the same.
      await seen.page.reload();
      await rows(seen).filter({ hasText: "bob" }).filter({ hasText: "taken back" }).waitFor();
    }));

  it("stands still while it is paused, and counts what waits", () =>
    on(async seen => {
      await rows(seen).first().waitFor();
      await seen.page.getByRole("button", { name: "Pause" }).click();
      await send(5, "register", ["carol"]);
      await seen.page.getByText(/paused, \d+ new lines? waiting/).waitFor();
      await seen.page.getByText(/paused, [1-9]/).waitFor();
      assert.equal(await rows(seen).filter({ hasText: "carol" }).count(), 0);
      await seen.page.getByRole("button", { name: "Resume" }).click();
      await row(seen, "carol").waitFor();
    }));

  it("filters the feed by text and by kind", () =>
    on(async seen => {
      await row(seen, "carol").waitFor();
      await seen.page.getByLabel("Filter the feed by text").fill("CAROL");
      await eventually(async () => (await rows(seen).count()) === 1);
      await seen.page.getByLabel("Filter the feed by text").fill("nothing like this");
      await seen.page.getByText("No line matches the filter").waitFor();
      await seen.page.getByLabel("Filter the feed by text").fill("");
      await seen.page.getByLabel("Show one kind of event").selectOption("Minted");
      await eventually(async () => {
        const names = await seen.page.locator(".live .event-name").allTextContents();
        return names.length > 0 && names.every(name => name === "Minted");
      });
    }));

  it("shows that the token is paused", () =>
    on(async seen => {
      const tile = seen.page.locator(".tile", { hasText: "Token" });
      await tile.getByText("running").waitFor();
      await send(0, "pause", []);
      await tile.getByText("paused").waitFor();
      await send(0, "unpause", []);
      await tile.getByText("running").waitFor();
    }));

  it("takes hostile strings of the chain for text, wherever they show", async () => {
    // The token allows no such name, so its place is taken by code that says whatever it is told to.
    const code = await world.chain.rpc("eth_getCode", [contract, "latest"]);
    await world.chain.rpc("anvil_setCode", [contract, ECHO]);
    for (const [i, name] of HOSTILE.entries()) {
      const { topics, data } = token.encodeEventLog("Registered", [holder(50 + i), name, 0n, 0n]);
      const log = `${topics.join("").replaceAll("0x", "")}${data.slice(2)}`;
      const sent = await world.chain.rpc("eth_sendTransaction", [{ from: accounts[0], to: contract, data: `0x${log}`, gas: "0x7a120" }]);
      await eventually(() => world.chain.rpc("eth_getTransactionReceipt", [sent]));
    }
    await world.chain.rpc("anvil_setCode", [contract, code]);
    await world.settled();
    await on(async seen => {
      for (const name of HOSTILE) await row(seen, visible(name)).waitFor();
      const event = await rows(seen).filter({ hasText: HOSTILE[0]! }).locator(".event-name").getAttribute("href");
      for (const hash of [event!, "#/accounts", `#/accounts/${holder(50)}`, "#/events", `#/${encodeURIComponent(HOSTILE[0]!)}`]) {
        await seen.to(hash);
        assert.equal(await seen.page.evaluate("window.broken"), undefined);
        assert.equal(await seen.page.locator("main img, main script, main svg[onload]").count(), 0);
      }
      await seen.to(`#/accounts/${holder(50)}`);
      assert.equal(await seen.page.locator("h1").textContent(), HOSTILE[0]);
    });
  });

  it("has a dead letter retried, once it was given a key", () =>
    on(
      async seen => {
        // As a worker leaves it that has tried often enough.
        await send(6, "register", ["dora"]);
        await world.settled();
        await world.query(
          `update sluice.deliveries set state = 'dead', attempts = 20, last_error = '<b>the disk is full</b>'
           where queue = 'accounts' and position = (select max(position) from sluice.deliveries where queue = 'accounts')`,
        );
        await world.query("delete from sluice.accounts where name = 'dora'");
        await seen.to("#/dead-letters");
        await seen.page.getByText("<b>the disk is full</b>").waitFor();
        await seen.page.getByRole("link", { name: "Dead letters 1" }).waitFor();
        await seen.shot("dead-letter");
        assert.deepEqual(await seen.violations(), []);
        await seen.page.getByRole("button", { name: /^Retry number/ }).click();

        const dialog = seen.page.getByRole("dialog");
        await dialog.getByLabel("API key").fill("not the key");
        await dialog.getByRole("button", { name: "Continue" }).click();
        await dialog.getByText("not known").waitFor();
        assert.deepEqual(await seen.violations(), []);
        await dialog.getByLabel("API key").fill(KEY);
        await dialog.getByRole("button", { name: "Continue" }).click();
        await dialog.waitFor({ state: "hidden" });

        await seen.page.getByRole("button", { name: /^Retry number/ }).click();
        await seen.page.getByText("1 dead letter sent again").waitFor();
        await seen.page.getByText("Nothing was given up").waitFor();
        await seen.page.locator(".badge").waitFor({ state: "detached" });
        await seen.to("#/accounts");
        await seen.page.getByText("dora").waitFor();
      },
      {},
      // The browser tells the console of every answer that is no success, and these two were asked for.
      /401/,
    ));

  it("tells an event's way from the transaction to what it changed", () =>
    on(async seen => {
      await row(seen, "carol").locator(".event-name").click();
      await seen.page.getByRole("heading", { name: "SluiceToken.Registered" }).waitFor();
      await seen.page.locator(".stages li", { hasText: "accounts" }).locator(".pill.good").waitFor();
      await seen.page.locator(".effects li", { hasText: "accounts" }).locator(".pill.good").waitFor();
      await seen.page.locator(".shows a").first().click();
      await seen.page.getByRole("heading", { name: "carol" }).waitFor();
      await seen.page.goBack();
      await seen.page.locator(".facts a").first().click();
      await seen.page.getByRole("heading", { name: "Transaction" }).first().waitFor();
      await seen.page.getByRole("link", { name: "Registered" }).waitFor();
    }));

  it("can be walked with the keyboard, and says where the focus is", () =>
    on(async seen => {
      await rows(seen).first().waitFor();
      const { keyboard } = seen.page;
      const focused = () => seen.page.evaluate<string>("document.activeElement.textContent.trim()");
      await keyboard.press("Tab");
      assert.equal(await focused(), "Skip to the content");
      await keyboard.press("Enter");
      assert.equal(await seen.page.evaluate("document.activeElement.id"), "content");
      await keyboard.press("Shift+Tab");
      const reached = new Set<string>();
      await seen.page.reload();
      await rows(seen).first().waitFor();
      for (let i = 0; i < 30; i++) {
        await keyboard.press("Tab");
        reached.add(await focused());
        const ring = await seen.page.evaluate<string>("getComputedStyle(document.activeElement).outlineStyle");
        const radio = await seen.page.evaluate<boolean>("document.activeElement.type === 'radio'");
        assert.ok(ring !== "none" || radio, `no ring around ${await focused()}`);
        if ((await focused()) === "Registered") break;
      }
      for (const name of ["Overview", "Queues", "Dead letters", "API", "Pause"]) assert.ok(reached.has(name), `${name} was not reached`);
      await keyboard.press("Enter");
      await seen.page.getByRole("heading", { level: 1, name: /SluiceToken\./ }).waitFor();
      assert.equal(await seen.page.evaluate("document.activeElement.id"), "content");
    }));

  it("can be used by everybody and on a phone: axe finds nothing, nothing is wider than the window", async () => {
    const { rows: some } = (await world.query(
      "select block_hash, log_index, transaction_hash from sluice.events where name = 'Registered' limit 1",
    )) as { rows: { block_hash: string; log_index: number; transaction_hash: string }[] };
    const event = `#/events/31337-${some[0]!.block_hash}-${some[0]!.log_index}`;
    const places = { overview: "#/", events: "#/events", event, accounts: "#/accounts", account: `#/accounts/${accounts[1]}` };
    const more = { transaction: `#/transactions/${some[0]!.transaction_hash}`, queues: "#/queues", "dead-letters": "#/dead-letters" };
    const all = { ...places, ...more, webhooks: "#/webhooks", nowhere: "#/nowhere" };
    const looks = [{ width: 1440 }, { width: 1440, scheme: "dark" }, { width: 400 }] as const;
    for (const look of looks) {
      await on(async seen => {
        for (const [name, hash] of Object.entries(all)) {
          await seen.to(hash);
          await seen.shot(`${name}-${look.width}-${"scheme" in look ? look.scheme : "light"}`, { whole: true });
          assert.equal(await seen.overflow(), 0, `${name} at ${look.width} px`);
          if (look.width > 400) assert.deepEqual(await seen.violations(), [], `${name} ${JSON.stringify(look)}`);
        }
      }, look);
    }
  });

  it("opens a stream again that was refused, and misses nothing", () =>
    on(
      async seen => {
        let refused = 0;
        await seen.page.route("**/api/v1/stream*", route =>
          refused++ < 2 ? route.fulfill({ status: refused === 1 ? 409 : 503, body: "{}" }) : route.continue(),
        );
        await seen.page.reload();
        await send(7, "register", ["frank"]);
        await row(seen, "frank").waitFor();
        assert.ok(refused > 2);
      },
      {},
      /409|503/,
    ));

  it("says that it is stale after 5 s of silence, and stops saying so when it hears again", () =>
    on(async seen => {
      await rows(seen).first().waitFor();
      serve.child.kill("SIGSTOP");
      try {
        await seen.page.getByRole("alert").filter({ hasText: "Stale" }).waitFor();
        await seen.shot("stale");
      } finally {
        serve.child.kill("SIGCONT");
      }
      await seen.page.getByRole("alert").filter({ hasText: "Stale" }).waitFor({ state: "detached" });
    }, {}));
});
