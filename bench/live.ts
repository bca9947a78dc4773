/**
 * How long an event takes: from the block's appearance (the node's announcement of it to us) to the commit of its
 * applied effect in Postgres, on a chain with a block every 100 ms that holds 50 transfers.
 *
 *     npm run bench:live                          (-- --seconds 30 --blocks-every 100 --events 50 --on redis,postgres)
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { WebSocket } from "undici";
import { sleep } from "../listener/db.ts";
import { eventually } from "../test/support/eventually.ts";
import { run } from "../test/support/processes.ts";
import { makeChain, PEOPLE } from "./chain.ts";
import { openServers } from "./setting.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "30" },
    "blocks-every": { type: "string", default: "100" },
    events: { type: "string", default: "50" },
    on: { type: "string", default: "redis,postgres" },
  },
});
const [seconds, every, events] = [Number(values.seconds), Number(values["blocks-every"]), Number(values.events)];

await using stack = new AsyncDisposableStack();
const servers = await openServers({ commitTimes: true });
stack.defer(() => servers.close());
const chain = await makeChain(PEOPLE);
stack.defer(() => chain.close());

/** When each block was announced, in milliseconds since 1970, which is what Postgres of the same machine goes by. */
const appeared = new Map<number, number>();
const heads = new WebSocket(chain.webSocketUrl);
heads.onopen = () => heads.send(JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_subscribe", params: ["newHeads"] }));
heads.onmessage = ({ data }) => {
  const number = JSON.parse(String(data)).params?.result?.number;
  if (number) appeared.set(Number(number), performance.timeOrigin + performance.now());
};
stack.defer(() => heads.close());

for (const backend of values.on.split(",")) {
  const redis = backend === "redis";
  const setting = await servers.setting(chain);
  const environment = {
    ...setting.environment,
    // Calls by HTTP: anvil holds the second of two answers on one WebSocket back until the first is acknowledged, up to 40 ms.
    RPC_URL: `${chain.url},${chain.webSocketUrl}`,
    ...(redis ? { REDIS_URL: setting.redisUrl } : {}),
  };
  const processes = ["listen", "work"].map(role => run(process.execPath, ["bench/ours/run.ts", role, "batched"], environment));
  const settled = async () => {
    const { rows } = await setting.db.query(
      "select tip_number = $1 and not exists (select from sluice.deliveries where state <> 'done') as yes from sluice.checkpoint",
      [Number(await chain.node.rpc("eth_blockNumber"))],
    );
    return rows[0]?.yes;
  };
  await eventually(settled, { timeout: 60_000 });

  const first = Number(await chain.node.rpc("eth_blockNumber")) + 1;
  for (let next = performance.now(), end = next + seconds * 1_000; next < end; next += every) {
    await chain.transfer(events);
    await sleep(Math.max(0, next - performance.now()));
    await chain.node.rpc("evm_mine");
  }
  await eventually(settled, { timeout: 60_000 });

  const { rows } = await setting.db.query<{ block: string; at: string }>(
    `select e.block_number as block, max(extract(epoch from pg_xact_commit_timestamp(d.xmin))) * 1000 as at
     from sluice.deliveries d join sluice.events e on e.position = d.last_event where e.block_number >= $1 group by 1`,
    [first],
  );
  const waits = rows.map(({ block, at }) => Number(at) - appeared.get(Number(block))!).sort((a, b) => a - b);
  const percentile = (p: number) => waits[Math.min(waits.length - 1, Math.floor(waits.length * p))]!.toFixed(1);
  console.log(
    `BullMQ on ${redis ? "Redis" : "Postgres"}: ${waits.length} blocks of ${events} events, one every ${every} ms: block to applied p50 ${percentile(0.5)} ms, p95 ${percentile(0.95)} ms, p99 ${percentile(0.99)} ms, longest ${percentile(1)} ms`,
  );
  await Promise.all(processes.map(({ end }) => end()));
  await setting.end();
}
