/**
 * What each way to verify costs: blocks a second of a backfill, on an anvil of its own.
 *
 *     node bench/verify-cost.ts [blocks, default 2000] [percent of blocks with one of our events, default 20]
 *
 * The chain is made first and read three times in each mode; the fastest counts. Requests are those of one run.
 */
import { getCreateAddress, Transaction, Wallet } from "ethers";
import { finalLogs } from "../listener/chain/follow.ts";
import { openRpc, type Rpc } from "../listener/chain/rpc.ts";
import { nodeSource } from "../listener/chain/source.ts";
import { createLog } from "../listener/log.ts";
import { startAnvil } from "../test/support/anvil.ts";
import { callsOf, EVENT_TOPIC, emitter, KEY } from "../test/support/eventful-chain.ts";

const [blocks = 2_000, percent = 20] = process.argv.slice(2).map(Number);
const log = createLog("warn");
const node = await startAnvil();

async function fill(): Promise<string> {
  const call = callsOf(node.url);
  const wallet = new Wallet(KEY);
  const chainId = Number(await call("eth_chainId"));
  let nonce = 0;
  const send = async (to: string | null, data: string) => {
    const fees = { maxFeePerGas: 20_000_000_000n, maxPriorityFeePerGas: 1n };
    const signed = await wallet.signTransaction({ chainId, nonce: nonce++, type: 2, gasLimit: 400_000n, ...fees, to, data });
    await call("eth_sendRawTransaction", Transaction.from(signed).serialized);
  };
  await call("evm_setAutomine", false);
  await send(null, emitter(EVENT_TOPIC));
  await call("evm_mine");
  const address = getCreateAddress({ from: wallet.address, nonce: 0 }).toLowerCase();
  for (let block = 2; block <= blocks; block++) {
    // Five transactions, three to nobody, so that blocks have something to prove.
    const ours = (block * percent) % 100 < percent;
    for (let i = 0; i < 5; i++) await send(ours && i < 2 ? address : wallet.address, `0x${"00".repeat(31)}07`);
    await call("evm_mine");
  }
  return address;
}

/** Reads the whole chain once. */
async function read(address: string, verify: "off" | "bloom" | "receipts") {
  const stop = new AbortController();
  const rpc = openRpc([node.url], { log, signal: stop.signal });
  let requests = 0;
  const counted: Rpc = {
    ...rpc,
    call(...given) {
      requests += 1;
      return rpc.call(...given) as never;
    },
  };
  const filter = { addresses: [address], topics: [EVENT_TOPIC] };
  const source = nodeSource({ rpc: counted, filter, finality: 0, verify, pollInterval: 100, signal: stop.signal, log });
  const began = performance.now();
  let logs = 0;
  for await (const range of finalLogs(source, 1, blocks)) logs += range.logs.length;
  const seconds = (performance.now() - began) / 1_000;
  stop.abort();
  rpc.close();
  return { seconds, logs, requests };
}

try {
  const address = await fill();
  console.log(`${blocks} blocks of 5 transactions, ${percent} % of them with 4 of our events`);
  for (const verify of ["off", "bloom", "receipts"] as const) {
    const runs = [await read(address, verify), await read(address, verify), await read(address, verify)];
    const best = runs.reduce((a, b) => (b.seconds < a.seconds ? b : a));
    const rate = Math.round(blocks / best.seconds);
    console.log(
      `${verify.padEnd(9)}${String(rate).padStart(9)} blocks/s${String(best.requests).padStart(8)} requests${String(best.logs).padStart(8)} logs`,
    );
  }
} finally {
  await node.close();
}
