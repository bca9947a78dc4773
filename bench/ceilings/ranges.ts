import { request } from "undici";

const { RPC_URL, BENCH_TOKEN, BENCH_START, BENCH_LAST } = process.env;

export type RawLog = { blockNumber: string; logIndex: string; topics: string[]; data: string; transactionHash: string };

/** Blocks of a request, so that an answer holds about 5,000 logs; requests in flight. */
const [SPAN, IN_FLIGHT] = [10, 3];

/** The token's logs, answer by answer, in order. */
export async function* ranges(): AsyncGenerator<RawLog[]> {
  const last = Number(BENCH_LAST);
  let next = Number(BENCH_START);
  const answers: Promise<RawLog[]>[] = [];
  while (next <= last || answers.length > 0) {
    while (next <= last && answers.length < IN_FLIGHT) {
      answers.push(getLogs(next, Math.min(last, next + SPAN - 1)));
      next += SPAN;
    }
    yield await answers.shift()!;
  }
}

async function getLogs(from: number, to: number): Promise<RawLog[]> {
  const hex = (number: number) => `0x${number.toString(16)}`;
  const params = [{ fromBlock: hex(from), toBlock: hex(to), address: BENCH_TOKEN }];
  const { body } = await request(RPC_URL!, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_getLogs", params }),
  });
  return JSON.parse(await body.text()).result;
}
