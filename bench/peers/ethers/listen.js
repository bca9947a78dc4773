/** What people write: the past by `queryFilter`, then `contract.on`, and `queue.add` for each event. */
const { Contract, JsonRpcProvider } = require("ethers");
const { Queue } = require("bullmq");

const { RPC_URL, BENCH_TOKEN, BENCH_START, BENCH_REDIS_URL } = process.env;
const abi = ["event Transfer(address indexed from, address indexed to, uint256 value)"];
const { hostname, port } = new URL(BENCH_REDIS_URL);

async function main() {
  const provider = new JsonRpcProvider(RPC_URL);
  const contract = new Contract(BENCH_TOKEN, abi, provider);
  const queue = new Queue("transfers", { connection: { host: hostname, port: Number(port) } });
  const add = event =>
    queue.add("transfer", {
      id: `${event.blockHash}-${event.index}`,
      from: event.args.from,
      to: event.args.to,
      amount: event.args.value.toString(),
      block: event.blockNumber,
      transactionHash: event.transactionHash,
      logIndex: event.index,
    });
  const last = await provider.getBlockNumber();
  // More blocks at a time, and ethers copies the answer for longer than it reads it.
  for (let from = Number(BENCH_START); from <= last; from += 10) {
    const events = await contract.queryFilter("Transfer", from, Math.min(last, from + 9));
    await Promise.all(events.map(add));
  }
  contract.on("Transfer", (...values) => add(values.at(-1).log));
}

main();
