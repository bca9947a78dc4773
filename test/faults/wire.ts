/** Where a transaction begins and ends on the wire of Postgres (protocol 3), as the listener's and the workers' client writes it. */

const LETTER_AND_LENGTH = 5;

/** The statement that is a whole transaction of the journal, when it is prepared and later: see listener/journal/live.ts. */
const PREPARES_WHOLE = /^[^\0]*\0with held as/;
const RUNS_WHOLE = "\0record-live\0";

/** The client asks for the end of a transaction: a simple query `commit`, of ours or of BullMQ's, or a statement that is all of one. */
export const asksToCommit = (piece: Buffer): boolean =>
  piece.length >= LETTER_AND_LENGTH &&
  (piece[0] === 0x51
    ? /^commit\b/i.test(piece.toString("latin1", LETTER_AND_LENGTH, LETTER_AND_LENGTH + 7))
    : (piece[0] === 0x50 && PREPARES_WHOLE.test(piece.toString("latin1", LETTER_AND_LENGTH, LETTER_AND_LENGTH + 60))) ||
      (piece[0] === 0x42 && piece.toString("latin1", LETTER_AND_LENGTH, LETTER_AND_LENGTH + RUNS_WHOLE.length) === RUNS_WHOLE));

/** The client begins a transaction. */
export const begins = (piece: Buffer): boolean =>
  piece.length >= LETTER_AND_LENGTH &&
  piece[0] === 0x51 &&
  /^begin\b/i.test(piece.toString("latin1", LETTER_AND_LENGTH, LETTER_AND_LENGTH + 6));

/**
 * The server says that something is committed: a transaction, or a statement that was one by itself, which is `UPDATE n`
 * and the state `idle` after it.
 */
export function committed(piece: Buffer): boolean {
  const text = piece.toString("latin1");
  return text.endsWith("Z\0\0\0\x05I") && /C\0\0\0.(?:COMMIT|UPDATE \d+|INSERT \d+ \d+|DELETE \d+)\0/s.test(text);
}

/** The server did something of a transaction that is still open: rows are locked, and nothing is committed. */
export function holdsLocks(piece: Buffer): boolean {
  const text = piece.toString("latin1");
  return text.endsWith("Z\0\0\0\x05T") && /C\0\0\0.(?:UPDATE|INSERT|DELETE) /s.test(text);
}

/** Whatever comes: for Redis, where every command is a transaction by itself. */
export const anything = (): boolean => true;
