import type { Log } from "../chain/types.ts";

/**
 * Events that were stored one after another and share their block, their transaction or their name are a run. The first row of
 * one says how many rows it has, the others say null there: so an index by hash or name has an entry for each run, not for each
 * event. Those of a name are read from the view `named_events`, in their order by `run, position`. A row that was stored alone is a run of one, which is the columns' default.
 */
export const RUN_COLUMNS = "of_block, of_transaction, of_name";

/** A run is read as a whole by whoever looks for one event of it. */
export const MAX_RUN = 64;

/** The three columns for each of these logs, which are stored in this order; 0 for null. */
export function runsOf(logs: readonly Log[]): [ofBlock: Uint8Array, ofTransaction: Uint8Array, ofName: Uint8Array] {
  const count = (isSame: (log: Log, before: Log) => boolean): Uint8Array => {
    const lengths = new Uint8Array(logs.length);
    let first = 0;
    for (let i = 0; i < logs.length; i++) {
      if (i === 0 || lengths[first] === MAX_RUN || !isSame(logs[i]!, logs[i - 1]!)) first = i;
      lengths[first]! += 1;
    }
    return lengths;
  };
  return [
    count((log, before) => log.blockHash === before.blockHash),
    count((log, before) => log.transactionHash === before.transactionHash && log.blockHash === before.blockHash),
    count((log, before) => log.address === before.address && log.topics[0] === before.topics[0]),
  ];
}

/** SQL: the events `e` of the run `r`. The offset keeps the planner, who cannot know how few they are, from beginning with them. */
const members = (chain: string, column: string) =>
  `select e.* from events e where e.chain_id = ${chain} and e.position >= r.position and e.position < r.position + r.${column} offset 0`;

/** SQL, to select from: the events of a transaction. */
export const eventsOfTransaction = (chain: string, hash: string) =>
  `(select e.* from (
      select position, of_transaction from events where chain_id = ${chain} and transaction_hash = ${hash} and of_transaction is not null
    ) r cross join lateral (${members(chain, "of_transaction")}) e)`;

/** SQL, to select from: the live event with this id, or none. The run that begins nearest before it is mostly its own. */
export const liveEventOf = (chain: string, blockHash: string, logIndex: string) =>
  `(select e.* from (
      select position, of_block from events where chain_id = ${chain} and block_hash = ${blockHash} and log_index <= ${logIndex}
        and live and of_block is not null order by log_index desc
    ) r cross join lateral (${members(chain, "of_block")}) e
     where e.log_index = ${logIndex} and e.live limit 1)`;
