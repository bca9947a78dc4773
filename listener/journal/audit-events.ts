import { isDeepStrictEqual } from "node:util";
import { argumentsToJson, type ContractAt, createDecoder } from "../chain/events.ts";
import { logRanges } from "../chain/ranges.ts";
import type { BlockRef, ChainSource, Hex, Log } from "../chain/types.ts";
import type { Sql } from "../db.ts";
import type { Findings } from "./audit-findings.ts";
import { EVENT_COLUMNS, type EventRow } from "./events.ts";

type Blocks = { chainId: number; from: number; to: number };

/** I1, I2: walks the node's logs and the journal's live events side by side, in the order of the chain. */
export async function checkEvents(
  sql: Sql,
  source: ChainSource,
  { chainId, from, to, contracts }: Blocks & { contracts: readonly ContractAt[] },
  findings: Findings,
): Promise<void> {
  const decode = createDecoder(contracts);
  for await (const range of logRanges(source, from, to)) {
    const { rows } = await sql.query<EventRow>(
      `select ${EVENT_COLUMNS} from events where chain_id = $1 and block_number between $2 and $3 and live order by block_number, log_index`,
      [chainId, range.from, range.to],
    );
    const place = (number: number, index: number) => `block ${number}, log ${index}`;
    const events = new Map(rows.map(row => [place(row.block_number, row.log_index), row]));
    for (const log of range.logs) {
      const at = place(log.blockNumber, log.logIndex);
      const event = events.get(at);
      events.delete(at);
      if (!event) findings.failed({ invariant: "I1", what: `event of ${at}`, expected: decode(log).name, found: "nothing" });
      else if (!isSame(log, event, decode)) findings.failed({ invariant: "I2", what: `event of ${at}`, expected: log, found: event });
    }
    for (const [at, event] of events) findings.failed({ invariant: "I2", what: `event of ${at}`, expected: "nothing", found: event });
    findings.checked("I1", range.logs.length);
    findings.checked("I2", rows.length);
  }
}

function isSame(log: Log, event: EventRow, decode: ReturnType<typeof createDecoder>): boolean {
  const decoded = decode(log);
  return (
    event.block_hash === log.blockHash &&
    event.transaction_hash === log.transactionHash &&
    event.address === log.address &&
    event.data === log.data &&
    isDeepStrictEqual(event.topics, log.topics) &&
    event.name === decoded.name &&
    (decoded.arguments === undefined ||
      event.error !== null ||
      isDeepStrictEqual(event.arguments, JSON.parse(argumentsToJson(decoded.arguments))))
  );
}

/** I3, I4: the blocks held are contiguous, linked, the node's, and end in the checkpoint; no live event lies beyond it. */
export async function checkBlocks(sql: Sql, source: ChainSource, chainId: number, tip: BlockRef, findings: Findings): Promise<void> {
  const { rows: blocks } = await sql.query<BlockRef & { parent_hash: Hex }>(
    "select number, hash, parent_hash from blocks where chain_id = $1 order by number",
    [chainId],
  );
  const headers = await source.headers(blocks.map(({ number }) => number));
  for (const [i, block] of blocks.entries()) {
    const below = blocks[i - 1];
    if (below && (below.number !== block.number - 1 || below.hash !== block.parent_hash)) {
      findings.failed({ invariant: "I3", what: `parent of block ${block.number}`, expected: block.parent_hash, found: below });
    }
    if (headers[i]?.hash !== block.hash)
      findings.failed({ invariant: "I3", what: `block ${block.number}`, expected: headers[i]?.hash, found: block.hash });
  }
  findings.checked("I3", blocks.length);
  const last = blocks.at(-1);
  if (last?.hash !== tip.hash) findings.failed({ invariant: "I4", what: "the last block held", expected: tip, found: last });
  const { rows: beyond } = await sql.query<{ position: number }>(
    "select position from events where chain_id = $1 and block_number > $2 and live",
    [chainId, tip.number],
  );
  for (const { position } of beyond)
    findings.failed({ invariant: "I4", what: `event ${position}`, expected: "nothing beyond the tip", found: position });
  findings.checked("I4", 1);
}

/**
 * I13: positions are given in the order of the commits, and each event has the epoch of the writer that committed it. They
 * never go down, nor beyond the epoch that writes now: a writer that lost its lease has committed nothing since.
 */
export async function checkEpochs(sql: Sql, { chainId, from, to }: Blocks, findings: Findings): Promise<void> {
  const { rows } = await sql.query<{ position: number; epoch: number; before: number | null; now: number }>(
    `select e.position, e.epoch, e.before, c.epoch as now from (
       select position, epoch, max(epoch) over (order by position rows between unbounded preceding and 1 preceding) as before
       from events where chain_id = $1 and block_number between $2 and $3
     ) e, checkpoint c where c.chain_id = $1 and (e.epoch < e.before or e.epoch > c.epoch) limit 100`,
    [chainId, from, to],
  );
  for (const { position, epoch, before, now } of rows) {
    const expected = `from ${before ?? 0} to ${now}`;
    findings.failed({ invariant: "I13", what: `epoch of the writer of event ${position}`, expected, found: epoch });
  }
  const { rows: counted } = await sql.query<{ n: number }>(
    "select count(*) as n from events where chain_id = $1 and block_number between $2 and $3",
    [chainId, from, to],
  );
  findings.checked("I13", counted[0]!.n);
}
