import { closeSync, existsSync, fdatasyncSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { SluiceError } from "../errors.ts";

/** What makes two chains the same one: the first line of a record. `genesisTime` is in seconds. */
export type Header = { version: 1; identity: string; genesisTime: number; genesisHash: string };

/** A transaction: its signed bytes, or the call of an impersonated sender, who has no signature. */
export type RecordedTransaction = string | { impersonate: Record<string, unknown> };

/**
 * One thing that happened to the chain, in order.
 *
 * - a block: its time (seconds), its transactions, its hash;
 * - a run of blocks mined by one `hardhat_mine` (`count`, seconds between them in `interval`): `time` is the first one's,
 *   `hash` the last one's;
 * - a call that changes the state or the next block without a transaction, such as `hardhat_setBalance`.
 */
export type Entry =
  | { time: number; hash: string; transactions: RecordedTransaction[]; count?: number; interval?: number }
  | { method: string; params: unknown[] };

/** An open record. A position is the length of the file in bytes, and `truncate` goes back to one. */
export type ChainRecord = {
  position(): number;
  append(entry: Entry): void;
  truncate(position: number): void;
  flush(): void;
  close(): void;
};

/** A record as it was read: `positions[0]` lies behind the header, `positions[i + 1]` behind `entries[i]`. */
export type ReadRecord = { header: Header; entries: Entry[]; positions: number[] };

/** Reads a record: undefined if there is none. A last line that was torn by a kill counts as not written. */
export function readRecord(file: string): ReadRecord | undefined {
  if (!existsSync(file)) return undefined;
  const bytes = readFileSync(file);
  const end = bytes.lastIndexOf("\n") + 1;
  if (end === 0) return undefined;
  const entries: Entry[] = [];
  const positions: number[] = [];
  let header: Header | undefined;
  for (let from = 0; from < end; from = positions.at(-1)!) {
    const to = bytes.indexOf("\n", from);
    const line = parse(file, bytes.toString("utf8", from, to), positions.length + 1);
    if (header) entries.push(line as Entry);
    else header = line as Header;
    positions.push(to + 1);
  }
  if (header?.version !== 1) throw unreadable(file, 1);
  return { header, entries, positions };
}

/** Opens a record to go on at `length`, or writes a new one with `header`. */
export function openRecord(file: string, start: { length: number } | { header: Header }): ChainRecord {
  mkdirSync(dirname(file), { recursive: true });
  const descriptor = openSync(file, "a+");
  let length = "length" in start ? start.length : 0;
  let unflushed = false;
  ftruncateSync(descriptor, length);
  if ("header" in start) write(start.header);

  function write(line: object): void {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written);
    length += bytes.length;
    unflushed = true;
  }

  return {
    position: () => length,
    append: write,
    truncate(position) {
      ftruncateSync(descriptor, position);
      length = position;
      unflushed = true;
    },
    flush() {
      if (unflushed) fdatasyncSync(descriptor);
      unflushed = false;
    },
    close() {
      this.flush();
      closeSync(descriptor);
    },
  };
}

function parse(file: string, line: string, at: number): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw unreadable(file, at, cause);
  }
}

function unreadable(file: string, line: number, cause?: unknown): SluiceError {
  return new SluiceError(`the record of the local chain cannot be read (${file}, line ${line})`, {
    hint: "`npm run reset` starts a new chain",
    cause,
  });
}
