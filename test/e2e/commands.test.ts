import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, it } from "node:test";
import { noAnvil, startAnvil } from "../support/anvil.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/ports.ts";
import { sluice } from "../support/processes.ts";
import { openWorld, type World } from "../support/world.ts";

/** What takes 5 s at most, on a machine that does other things too (ms). */
const STOPS_WITHIN = 20_000;

describe("commands", () => {
  let world: World | undefined;
  afterEach(async () => {
    await world?.close();
    world = undefined;
  });

  it("start runs for a while, prints one JSON object and nothing else, and stops resumable", async t => {
    const folder = mkdtempSync(join(tmpdir(), "sluice-start-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const environment = { DATA_DIR: folder, PORT: "0" };
    const first = sluice("start --for 10s --json", environment);
    const { code } = await first.exited;
    const report = JSON.parse(first.stdout());
    assert.equal(code, 0, first.stderr());
    assert.equal(report.audit.ok, true);
    assert.ok(report.events.Transfer > 0);

    const second = sluice("start", environment);
    await second.said(/resumed at block [1-9]/);
    await second.said(/http\S+\/docs/);
    const asked = performance.now();
    const end = await second.end("SIGINT");
    assert.ok(performance.now() - asked < STOPS_WITHIN, `it took ${performance.now() - asked} ms to stop`);
    assert.equal(end.signal, null, "it had to be killed");
    assert.equal(end.code, 0, second.stderr());
  });

  it("listen waits for a node that is not there, says which, and goes on when it is", { skip: noAnvil }, async () => {
    world = await openWorld({ redis: false });
    const port = await freePort();
    const listen = world.start("listen", { RPC_URL: `http://127.0.0.1:${port}` });
    await listen.said(new RegExp(`127.0.0.1:${port}`));
    // Another way to the same chain.
    const { createServer, connect } = await import("node:net");
    const target = Number(new URL(world.chain.url).port);
    const proxy = createServer(socket => {
      const there = connect(target, "127.0.0.1");
      socket.pipe(there).pipe(socket);
      for (const end of [socket, there]) end.on("error", () => {}).on("close", () => [socket, there].forEach(it => void it.destroy()));
    }).listen(port, "127.0.0.1");
    await eventually(async () => Number((await world!.counts()).events) > 0, { timeout: 60_000 });
    assert.equal(listen.stderr().split("ECONNREFUSED").length - 1 <= 4, true, "it floods the log");
    await listen.end("SIGINT");
    proxy.close();
  });

  it("listen refuses another chain, and changes nothing", { skip: noAnvil }, async () => {
    world = await openWorld({ redis: false });
    const listen = world.start("listen");
    await eventually(async () => Number((await world!.counts()).events) > 0, { timeout: 60_000 });
    await listen.end("SIGINT");
    const before = await world!.counts();
    const other = await startAnvil(["--chain-id", "31338"]);
    const refused = world.start("listen", { RPC_URL: other.url });
    const { code } = await refused.exited;
    await other.close();
    assert.equal(code, 1);
    assert.match(refused.stderr(), /31338/);
    assert.deepEqual(await world!.counts(), before);
  });

  for (const command of ["listen", "work", "serve"]) {
    it(`${command} stops soon after Ctrl-C`, { skip: noAnvil }, async () => {
      world = await openWorld({ redis: false });
      const running = world.start(command);
      await running.said(/"msg":/);
      const asked = performance.now();
      const { signal } = await running.end("SIGINT");
      assert.equal(signal, null);
      assert.ok(performance.now() - asked < STOPS_WITHIN);
    });
  }

  it("every mistake of the configuration is said at once, with an exit code of 1", async () => {
    const listen = sluice("listen", { PORT: "x", FINALITY: "y", RPC_URL: "z" });
    assert.equal((await listen.exited).code, 1);
    for (const name of ["PORT", "FINALITY", "RPC_URL"]) assert.match(listen.stderr(), new RegExp(`${name}: given`));
  });
});
