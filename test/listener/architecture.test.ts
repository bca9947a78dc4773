import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, it } from "node:test";
import { type Import, importsOf, wrongImports } from "../support/imports.ts";

/** Every import between files of the repository that listener/ makes. */
function importsOfListener(): Import[] {
  return globSync("listener/**/*.{ts,tsx}").flatMap(from =>
    importsOf(readFileSync(from, "utf8"))
      .filter(({ specifier }) => specifier.startsWith("."))
      .map(({ specifier, typeOnly }) => ({ from, to: join(dirname(from), specifier), typeOnly })),
  );
}

describe("architecture", () => {
  it("lets data move one way: no room imports one that comes after it", () => {
    const imports = importsOfListener();
    assert.ok(imports.length > 50, "the imports were not found");
    assert.deepEqual(wrongImports(imports), []);
  });

  it("has no barrel and no cupboard for everything", () => {
    const names = globSync("listener/**/*", { exclude: ["listener/dashboard/dist/**"] });
    assert.deepEqual(
      names.filter(name => /(?:^|\/)(?:index|utils?|helpers?|common)(?:\.ts)?$/.test(name)),
      [],
    );
  });

  const wrong: Import[] = [
    { from: "listener/chain/rpc.ts", to: "listener/journal/journal.ts" },
    { from: "listener/journal/journal.ts", to: "listener/queues/relay.ts" },
    { from: "listener/queues/relay.ts", to: "listener/worker/worker.ts" },
    { from: "listener/journal/journal.ts", to: "listener/dapp/routes.ts" },
    { from: "listener/worker/worker.ts", to: "listener/dapp/routes.ts", typeOnly: true },
    { from: "listener/api/server.ts", to: "listener/dapp/projections/balances.ts" },
    { from: "listener/dapp/routes.ts", to: "listener/queues/relay.ts" },
    { from: "listener/dapp/routes.ts", to: "listener/chain/rpc.ts" },
    { from: "listener/worker/worker.ts", to: "listener/embedded/postgres.ts" },
    { from: "listener/dashboard/core/answers.ts", to: "listener/api/status.ts" },
    { from: "listener/dashboard/core/answers.ts", to: "listener/journal/status.ts", typeOnly: true },
    { from: "listener/errors.ts", to: "listener/db.ts" },
    { from: "listener/commands/start.ts", to: "listener/main.ts" },
    { from: "listener/cupboard/things.ts", to: "listener/db.ts" },
    { from: "listener/db.ts", to: "test/support/database.ts" },
  ];
  for (const one of wrong) {
    it(`would not let ${one.from} import ${one.to}`, () => assert.equal(wrongImports([one]).length, 1));
  }

  it("sees imports in every form", () => {
    const text = `
      import a from "./a.ts";
      import type { B } from "./b.ts";
      import {
        c,
      } from "./c.ts";
      export { d } from "./d.ts";
      import "./e.ts";
      const f = await import("./f.ts");
    `;
    assert.deepEqual(importsOf(text), [
      { specifier: "./a.ts", typeOnly: false },
      { specifier: "./b.ts", typeOnly: true },
      { specifier: "./c.ts", typeOnly: false },
      { specifier: "./d.ts", typeOnly: false },
      { specifier: "./e.ts", typeOnly: false },
      { specifier: "./f.ts", typeOnly: false },
    ]);
  });
});
