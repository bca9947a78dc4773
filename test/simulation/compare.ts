import type { Db } from "../../listener/db.ts";
import type { RawLog } from "../support/chain-sim/block.ts";
import type { SimChain } from "../support/chain-sim/chain.ts";
import { TOKEN_BLOCK } from "../support/chain-sim/chain.ts";
import { token } from "../support/token.ts";

/** How a journal differs from the chain. `first` tells of the first difference. */
export type Difference = { lost: number; doubled: number; wrong: number; first: string | undefined };

const ours = new Set<string>();
token.forEachEvent(event => void ours.add(event.topicHash));

type Row = {
  block_hash: string;
  block_number: number;
  block_timestamp: number;
  log_index: number;
  transaction_hash: string;
  topics: string[];
  data: string;
};

/** Holds the live events against the chain's own logs: by block hash and index, and every byte of them. */
export async function compareEvents(db: Db, chainId: number, chain: SimChain): Promise<Difference> {
  const { rows } = await db.query<Row>(
    `select block_hash, block_number, block_timestamp, log_index, transaction_hash, topics, data from events
     where chain_id = $1 and live order by position`,
    [chainId],
  );
  const difference: Difference = { lost: 0, doubled: 0, wrong: 0, first: undefined };
  const found = (kind: "lost" | "doubled" | "wrong", what: string) => {
    difference[kind] += 1;
    difference.first ??= `${kind}: ${what}`;
  };
  const expected = new Map<string, RawLog>(
    chain
      .logs(TOKEN_BLOCK)
      .flatMap(log => (ours.has(log.topics[0] ?? "") ? [[`${log.blockHash} ${Number(log.logIndex)}`, log] as const] : [])),
  );
  const seen = new Set<string>();
  for (const row of rows) {
    const at = `${row.block_hash} ${row.log_index}`;
    const log = expected.get(at);
    if (seen.has(at)) found("doubled", `log ${row.log_index} of block ${row.block_number}`);
    else if (!log) found("wrong", `log ${row.log_index} of block ${row.block_number} ${row.block_hash} is not on the chain`);
    else {
      const timestamp = Number(chain.block(log.blockHash)!.header.timestamp);
      const same =
        row.data === log.data &&
        row.topics.join() === log.topics.join() &&
        row.transaction_hash === log.transactionHash &&
        row.block_number === Number(log.blockNumber) &&
        row.block_timestamp === timestamp;
      if (!same)
        found(
          "wrong",
          `log ${row.log_index} of block ${row.block_number}: ${JSON.stringify(row)} is not ${JSON.stringify({ ...log, timestamp })}`,
        );
    }
    seen.add(at);
  }
  for (const [at, log] of expected) if (!seen.has(at)) found("lost", `log ${Number(log.logIndex)} of block ${Number(log.blockNumber)}`);
  return difference;
}
