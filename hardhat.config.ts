import { createRequire } from "node:module";
import toolbox from "@nomicfoundation/hardhat-toolbox-mocha-ethers";
import { defineConfig } from "hardhat/config";

// The compiler comes from npm: a build needs no network, and every machine builds with the same bytes.
const compiler = createRequire(import.meta.url).resolve("solc/soljson.js");

export default defineConfig({
  plugins: [toolbox],
  solidity: {
    version: "0.8.34",
    path: compiler,
    settings: { evmVersion: "cancun", optimizer: { enabled: true, runs: 200 } },
  },
  networks: {
    localhost: { type: "http", chainType: "l1", url: process.env.RPC_URL?.split(",")[0] ?? "http://127.0.0.1:8545" },
  },
});
