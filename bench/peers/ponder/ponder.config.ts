import { createConfig } from "ponder";
import { parseAbi } from "viem";

/** As fast as Ponder can be told to be: its limiter starts at 20 requests a second and is raised here to its own maximum. */
export default createConfig({
  database: { kind: "postgres", connectionString: process.env.DATABASE_URL },
  chains: { bench: { id: 31337, rpc: process.env.RPC_URL, disableCache: true, maxRequestsPerSecond: 500, pollingInterval: 100 } },
  contracts: {
    Token: {
      chain: "bench",
      abi: parseAbi(["event Transfer(address indexed from, address indexed to, uint256 value)"]),
      address: process.env.BENCH_TOKEN as `0x${string}`,
      startBlock: Number(process.env.BENCH_START),
    },
  },
});
