import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";

const root = join(import.meta.dirname, "../..");
const snapshot = (name: string): Record<string, string> => JSON.parse(readFileSync(join(root, "snapshots", `${name}.json`), "utf8"));

describe("docs/contracts.md", () => {
  it("tells the gas that the snapshot holds", () => {
    const page = readFileSync(join(root, "docs/contracts.md"), "utf8");
    const rows = [...page.matchAll(/^\| ([a-zA-Z0-9, ]+?) \| ([\d,]+) \|\s*([\d,]*)\s*\|/gm)].map(([, call, ours, plain]) => ({
      call,
      ours,
      plain,
    }));
    const number = (text: string | undefined) => (text ? Number(text).toLocaleString("en-US") : "");
    const [ours, plain] = [snapshot("SluiceToken"), snapshot("ERC20")];
    const expected = Object.keys(ours).map(call => ({ call, ours: number(ours[call]), plain: number(plain[call]) }));
    expect(rows).to.have.deep.members(expected);
  });
});
