import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { mutants } from "./mutants.ts";

// Whether each is caught takes minutes: `npm run mutants`.
for (const { name, file, replace, caughtBy } of mutants) {
  test(`the mutant "${name}" is still one, and so is its test`, () => {
    assert.equal(readFileSync(file, "utf8").split(replace).length, 2, `${file} does not have once what is replaced`);
    assert.ok(readFileSync(caughtBy.file, "utf8").includes(caughtBy.test), `${caughtBy.file} has no test of this name`);
  });
}
