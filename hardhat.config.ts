import { createRequire } from "node:module";
import toolbox from "@nomicfoundation/hardhat-toolbox-mocha-ethers";
import { defineConfig, overrideTask } from "hardhat/config";
import { ArgumentType } from "hardhat/types/arguments";
import type { SolidityTestProfileUserConfig } from "hardhat/types/test";
import { scriptOptions } from "./scripts/support/options.ts";

// The compiler comes from npm: a build needs no network, and every machine builds with the same bytes.
const compiler = createRequire(import.meta.url).resolve("solc/soljson.js");

const solidity = { version: "0.8.34", path: compiler, settings: { evmVersion: "cancun", optimizer: { enabled: true, runs: 200 } } };

// `npm run test:contracts:deep` asks for the larger one; anything smaller than "ci" is for a developer's own quick loop.
const solidityTests = {
  quick: { fuzz: { runs: 256 }, invariant: { runs: 16, depth: 64 } },
  ci: { fuzz: { runs: 10_000 }, invariant: { runs: 256, depth: 256 } },
  // One transaction per call, as on a chain: what is read first is cold again, and the price includes calldata and the base.
  gas: { isolate: true },
  deep: { fuzz: { runs: 100_000 }, invariant: { runs: 1_000, depth: 500 } },
};
const profile = process.env.SOLIDITY_TESTS ?? "ci";
if (!(profile in solidityTests)) {
  throw new Error(`SOLIDITY_TESTS is "${profile}"; expected one of ${Object.keys(solidityTests).join(", ")}`);
}
const { fuzz, invariant, isolate }: SolidityTestProfileUserConfig = solidityTests[profile as keyof typeof solidityTests];

// Blocks mined within a second share its timestamp; without this a busy local chain runs ahead of the clock.
const localChain = { type: "edr-simulated", chainType: "l1", allowBlocksWithSameTimestamp: true } as const;

// RPC_URL may list several nodes, of which some may be WebSockets: Hardhat speaks HTTP to one.
const nodeUrl = process.env.RPC_URL?.split(",").find(url => url.startsWith("http")) ?? "http://127.0.0.1:8545";

// Hardhat refuses options that it does not know. These reach the script by `process.argv`: see scripts/support/parameters.ts.
const scriptsWithOptions = overrideTask("run");
for (const [name, description] of Object.entries(scriptOptions)) {
  scriptsWithOptions.addOption({ name, description, type: ArgumentType.STRING_WITHOUT_DEFAULT, defaultValue: undefined });
}

export default defineConfig({
  plugins: [toolbox],
  paths: { tests: { mocha: "test/contracts" } },
  // Ignition builds with "production", which by default compiles each file alone: the same code, a dozen seconds later.
  solidity: { profiles: { default: solidity, production: { ...solidity, isolated: false } } },
  networks: {
    default: localChain,
    node: localChain,
    localhost: { type: "http", chainType: "l1", url: nodeUrl },
  },
  test: {
    solidity: {
      isolate,
      fuzz: { ...fuzz, seed: process.env.FUZZ_SEED },
      // A handler that reverts would quietly do nothing: its calls are made to succeed, or to expect the revert.
      invariant: { ...invariant, failOnRevert: true },
    },
  },
  tasks: [
    scriptsWithOptions
      .setAction(async () => ({ default: ({ script, noCompile }, _hre, runSuper) => runSuper({ script, noCompile }) }))
      .build(),
    overrideTask(["ignition", "deploy"])
      .setAction(() => import("./scripts/support/record-ignition.ts"))
      .build(),
  ],
});
