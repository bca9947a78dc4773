import { mkdirSync } from "node:fs";
import { join } from "node:path";
import axe, { type AxeResults } from "axe-core";
import type { Browser, Page, Request } from "playwright-core";
import { eventually } from "../support/eventually.ts";

const SHOTS = join("test-output", "screenshots");

export type Look = { width?: number; height?: number; scheme?: "light" | "dark" };
export type Visit = {
  page: Page;
  /** What the browser complained of: errors of the console, of scripts, and dialogs that somebody opened. */
  complaints: string[];
  /** Goes to a page of the page, such as `#/queues`. */
  to(hash: string): Promise<void>;
  /** Keeps what is to be seen as test-output/screenshots/NAME.png. */
  shot(name: string, options?: { whole?: boolean }): Promise<void>;
  /** The rules of axe-core that this page breaks, with where. */
  violations(): Promise<string[]>;
  /** Waits until every request of the page was answered; not for a page with a stream. */
  loaded(): Promise<unknown>;
  /** By how many pixels the page is wider than the window. */
  overflow(): Promise<number>;
  close(): Promise<void>;
};

/** Opens the dashboard in a window of its own. */
export async function visit(browser: Browser, url: string, { width = 1280, height = 860, scheme = "light" }: Look = {}): Promise<Visit> {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, reducedMotion: "reduce" });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const complaints: string[] = [];
  page.on("console", message => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", error => complaints.push(error.message));
  const asked = new Set<Request>();
  page.on("request", request => void asked.add(request));
  for (const end of ["requestfinished", "requestfailed"] as const) page.on(end as "requestfinished", request => void asked.delete(request));
  page.on("dialog", dialog => {
    complaints.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await page.goto(url);
  return {
    page,
    complaints,
    async to(hash) {
      await page.goto(`${url}/${hash}`);
      await page.locator("main h1").first().waitFor({ state: "attached" });
      await page.locator("main .muted", { hasText: "Reading…" }).waitFor({ state: "detached" });
    },
    async shot(name, { whole = false } = {}) {
      mkdirSync(SHOTS, { recursive: true });
      await page.screenshot({ path: join(SHOTS, `${name}.png`), fullPage: whole });
    },
    async violations() {
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate<AxeResults>("axe.run({ resultTypes: ['violations'] })");
      return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary}`));
    },
    async loaded() {
      await page.waitForLoadState();
      await eventually(() => asked.size === 0, { timeout: 60_000, what: () => [...asked].map(request => request.url()) });
    },
    overflow: () => page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"),
    close: () => context.close(),
  };
}
