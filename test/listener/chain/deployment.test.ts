import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { readDeployment } from "../../../listener/chain/deployment.ts";
import { SluiceError } from "../../../listener/errors.ts";

const address = "0x5FbDB2315678afecb367f032d93F642f64180aa3";

describe("deployment", () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-deployment-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  let files = 0;
  const file = (content: unknown) => {
    const path = join(folder, `${files++}.json`);
    writeFileSync(path, typeof content === "string" ? content : JSON.stringify(content));
    return path;
  };
  const ignition = (name: string, addresses: unknown, journal: unknown[] = []) => {
    const path = join(folder, "ignition", name);
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "deployed_addresses.json"), JSON.stringify(addresses));
    writeFileSync(join(path, "journal.jsonl"), journal.map(line => JSON.stringify(line)).join("\n"));
    return path;
  };

  it("reads the file that the deployment script writes", () => {
    const path = file({ chainId: 31337, contracts: { SluiceToken: { address: address.toLowerCase(), block: 7 } } });
    assert.deepEqual(readDeployment(path), { chainId: 31337, contracts: { SluiceToken: { address, block: 7 } } });
  });

  const journal = [
    { type: "DEPLOYMENT_INITIALIZE", chainId: 31337 },
    { type: "TRANSACTION_CONFIRM", futureId: "Token#SluiceToken", receipt: { blockNumber: 12, contractAddress: address } },
    { type: "TRANSACTION_CONFIRM", futureId: "Token#grant", receipt: { blockNumber: 14 } },
  ];

  it("reads an Ignition folder, with the block from its journal", () => {
    const path = ignition("chain-11155111", { "Token#SluiceToken": address }, journal);
    assert.deepEqual(readDeployment(path), { chainId: 11155111, contracts: { SluiceToken: { address, block: 12 } } });
    assert.deepEqual(readDeployment(`${path}/`).chainId, 11155111);
  });

  it("starts from the first block where an Ignition journal does not name the block", () => {
    assert.equal(readDeployment(ignition("chain-5", { "Token#SluiceToken": address })).contracts.SluiceToken!.block, 0);
  });

  it("takes the local Ignition deployment where there is no file", () => {
    ignition("chain-31337", { "Token#SluiceToken": address }, journal);
    assert.equal(readDeployment(join(folder, "nothing"), join(folder, "ignition")).chainId, 31337);
  });

  const bad: [string, () => string][] = [
    ["that is not there", () => join(folder, "nothing")],
    ["that is no JSON", () => file("{")],
    ["that is empty", () => file("")],
    ["without contracts", () => file({ chainId: 1, contracts: {} })],
    ["without a chain id", () => file({ contracts: { A: { address, block: 1 } } })],
    ["with a chain id of 0", () => file({ chainId: 0, contracts: { A: { address, block: 1 } } })],
    ["with an address that is none", () => file({ chainId: 1, contracts: { A: { address: "0x1234", block: 1 } } })],
    ["with a wrong checksum", () => file({ chainId: 1, contracts: { A: { address: address.replace("FbDB", "fbdb"), block: 1 } } })],
    ["with a negative block", () => file({ chainId: 1, contracts: { A: { address, block: -1 } } })],
    ["with a block that is no number", () => file({ chainId: 1, contracts: { A: { address, block: "latest" } } })],
    ["that is a list", () => file([])],
    ["in an Ignition folder of no chain", () => ignition("local", { "Token#SluiceToken": address })],
    ["in an Ignition folder without addresses", () => join(folder, "ignition")],
  ];
  for (const [what, path] of bad) {
    it(`refuses a deployment ${what}, and says how to make one`, () => {
      assert.throws(
        () => readDeployment(path(), join(folder, "no-ignition")),
        (error: SluiceError) => {
          assert.ok(error instanceof SluiceError, String(error));
          assert.match(error.hint ?? "", /deploy/);
          return true;
        },
      );
    });
  }

  it("names every problem of a file at once", () => {
    const path = file({ chainId: -1, contracts: { A: { address: "0x", block: 1.5 } } });
    assert.throws(() => readDeployment(path), /chainId[\s\S]*contracts\.A\.address[\s\S]*contracts\.A\.block/);
  });
});
