import { pipeline } from "node:stream/promises";
import { from as copyFrom } from "pg-copy-streams";
import { argumentsToJson } from "../chain/events.ts";
import type { Log } from "../chain/types.ts";
import type { Tx } from "../db.ts";
import { type ReadEvent, WRITTEN_COLUMNS, type Writing } from "./events.ts";
import { runsOf } from "./runs.ts";

/** Rows in COPY's text format with room for their positions, and where each begins. */
export type Rows = { bytes: Buffer; starts: Uint32Array };

/** Digits of a position, zeros in front: enough for all numbers that are exact. */
const DIGITS = 16;
const ROOM = "0".repeat(DIGITS);
const ZERO = 48;
/** Bytes of a transfer's row, roughly, for the first allocation. */
const USUAL = 640;
/** What is sent to Postgres at a time. */
const PACKET = 128 * 1024;

/**
 * Writes the rows of these logs, to which `add` is called in their order. They lie outside of V8's heap: as strings, which live
 * until Postgres has them, they cost more to be moved about by its collector than to be written.
 */
export function startRows(logs: readonly Log[], { chainId, epoch, seenAt }: Writing): { add(event: ReadEvent): void; end(): Rows } {
  const runs = runsOf(logs);
  const starts = new Uint32Array(logs.length);
  const tail = `${seenAt.toISOString()}\t${epoch}\n`;
  let bytes = Buffer.allocUnsafeSlow(Math.max(1, logs.length) * USUAL);
  let [at, i] = [0, 0];
  // Both are mostly those of the row before.
  let before: Log | undefined;
  let place = "";
  const meanings = new Map<string, string>();
  const meaningOf = (address: string, contract: string, name: string) => {
    const key = `${address}${contract}.${name}`;
    let meaning = meanings.get(key);
    if (meaning === undefined) {
      meaning = `\t${address}\t${escapeCopy(contract)}\t${escapeCopy(name)}\t`;
      meanings.set(key, meaning);
    }
    return meaning;
  };
  return {
    add({ log, decoded }) {
      const { blockNumber, blockHash, blockTimestamp, transactionHash, transactionIndex, logIndex, address, topics, data } = log;
      if (transactionHash !== before?.transactionHash || blockHash !== before.blockHash)
        place = `${ROOM}\t${chainId}\t${blockNumber}\t${blockHash}\t${blockTimestamp}\t${transactionHash}\t${transactionIndex}\t`;
      before = log;
      const json = decoded.arguments ? escapeCopy(argumentsToJson(decoded.arguments)) : NULL;
      const [ofBlock, ofTransaction, ofName] = runs.map(lengths => lengths[i] || NULL);
      const row = `${place}${logIndex}${meaningOf(address, decoded.contract, decoded.name)}${json}\t{${topics.join()}}\t${data}\t${escapeCopy(decoded.error)}\t${ofBlock}\t${ofTransaction}\t${ofName}\t${tail}`;
      // A UTF-16 unit is three bytes at most.
      if (bytes.length - at < row.length * 3) {
        const larger = Buffer.allocUnsafeSlow(Math.max(bytes.length * 2, at + row.length * 3));
        bytes.copy(larger, 0, 0, at);
        bytes = larger;
      }
      starts[i++] = at;
      at += bytes.write(row, at);
    },
    end: () => ({ bytes: bytes.subarray(0, at), starts }),
  };
}

/** Stores rows, the first of them at this position, by COPY, which costs Postgres and us a quarter less than an insert of arrays. */
export async function copyRows(tx: Tx, { bytes, starts }: Rows, first: number): Promise<void> {
  if (starts.length === 0) return;
  for (const [i, start] of starts.entries()) {
    for (let left = first + i, digit = start + DIGITS - 1; left > 0; digit--) {
      bytes[digit] = ZERO + (left % 10);
      left = Math.floor(left / 10);
    }
  }
  const copy = tx.query(copyFrom(`copy events (${WRITTEN_COLUMNS}) from stdin`));
  await pipeline(function* () {
    for (let at = 0; at < bytes.length; at += PACKET) yield bytes.subarray(at, at + PACKET);
  }, copy);
}

const NULL = "\\N";
const SPECIAL = /[\\\t\n\r]/g;
const ESCAPES: Record<string, string> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" };

function escapeCopy(text: string | undefined): string {
  if (text === undefined) return NULL;
  return text.search(SPECIAL) < 0 ? text : text.replace(SPECIAL, found => ESCAPES[found]!);
}
