/**
 * Takes the README's two pictures anew, of `npm start` with its traffic after a while of it:
 *
 *     node test/dashboard/pictures.ts [seconds of traffic, 150 unless told]
 */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sleep } from "../../listener/db.ts";
import { sluice } from "../support/processes.ts";
import { openBrowser } from "./browser.ts";
import { visit } from "./visit.ts";

const IMAGES = join("docs", "images");
const WIDTH = 1280;
const traffic = Number(process.argv[2] ?? 150);

await using stack = new AsyncDisposableStack();
const folder = mkdtempSync(join(tmpdir(), "sluice-pictures-"));
chmodSync(folder, 0o755);
stack.defer(() => rmSync(folder, { recursive: true, force: true }));
const start = sluice("start", { DATA_DIR: folder, DEPLOYMENT: join(folder, "deployment.json"), PORT: "0" });
stack.defer(async () => void (await start.end()));
await start.said(/http\S+\/docs/, 120_000);
const url = /(http\S+)\/docs/.exec(start.stdout())![1]!;
const browser = await openBrowser();
stack.defer(() => browser.close());
await sleep(traffic * 1_000);

const light = await visit(browser, url, { width: WIDTH, height: 960 });
await light.page.locator(".live tbody tr").nth(10).waitFor();
await light.page.getByRole("button", { name: "Reorg", exact: true }).click();
await light.page.locator("output.outcome", { hasText: "were replaced" }).waitFor();
await light.page.locator(".live tbody tr", { hasText: "taken back" }).nth(1).waitFor();
// What came since stands above it: the feed is scrolled to the reorg, the page is not.
await light.page.evaluate("document.querySelector('.live tr.reorg').scrollIntoView({ block: 'center' }); scrollTo(0, 0)");
await light.page.screenshot({ path: join(IMAGES, "dashboard.png") });

// An event whose way has come to its end.
const { items } = (await (await fetch(`${url}/api/v1/events?name=Registered&status=finalized&limit=1`)).json()) as {
  items: { id: string }[];
};
const dark = await visit(browser, url, { width: WIDTH, height: 1_100, scheme: "dark" });
await dark.to(`#/events/${encodeURIComponent(items[0]!.id)}`);
await dark.page.locator(".effects .pill.good").first().waitFor();
await dark.page.screenshot({ path: join(IMAGES, "event.png") });
