/**
 * What providers say when they refuse eth_getLogs, told apart in one place. Messages collected from providers' answers;
 * the tests hold the table against each of them.
 */
export type RangeRefusal =
  | { kind: "cap stated"; cap: number }
  | { kind: "range suggested"; from: number; to: number }
  | { kind: "too dense" }
  | { kind: "too many addresses or topics" }
  | { kind: "rate limited" }
  | { kind: "node behind" }
  | { kind: "unknown" };

type Rule = { pattern: RegExp; refusal: (match: RegExpMatchArray) => RangeRefusal };

const number = (text: string) => {
  const digits = text.replaceAll(/[,_']/g, "");
  return /k$/i.test(digits) ? Number.parseFloat(digits) * 1_000 : Number.parseInt(digits, 10);
};
const cap = (match: RegExpMatchArray): RangeRefusal => ({ kind: "cap stated", cap: number(match[1]!) });
const N = String.raw`(\d[\d,_']*k?)`;

/** The first rule that matches decides: what names a range or a cap comes before what only complains. */
const RULES: Rule[] = [
  {
    pattern: /\[\s*(0x[0-9a-f]+|\d+)\s*,\s*(0x[0-9a-f]+|\d+)\s*\]/i,
    refusal: ([, a, b]) => ({ kind: "range suggested", from: Math.min(Number(a), Number(b)), to: Math.max(Number(a), Number(b)) }),
  },
  { pattern: /retry with the range (\d+)-(\d+)/i, refusal: ([, a, b]) => ({ kind: "range suggested", from: Number(a), to: Number(b) }) },
  {
    pattern: /filters\. the current limit|addresses or topics|too many (addresses|topics)/i,
    refusal: () => ({ kind: "too many addresses or topics" }),
  },
  // Before the next one: this limit is of blocks, not of requests.
  { pattern: /block range limit exceeded/i, refusal: () => ({ kind: "too dense" }) },
  {
    pattern:
      /\b429\b|too many requests|rate limit|request limit|limit exceeded$|monthly capacity|under too much load|compute units per second|throughput|requests per second/i,
    refusal: () => ({ kind: "rate limited" }),
  },
  {
    pattern:
      /beyond current head|unknown block|header not found|block not found|no backend is currently healthy|missing trie node|after last accepted block/i,
    refusal: () => ({ kind: "node behind" }),
  },
  { pattern: new RegExp(`up to a ${N} block range`, "i"), refusal: cap },
  { pattern: new RegExp(String.raw`block range too large \(\d+\), maximum allowed is ${N}`, "i"), refusal: cap },
  { pattern: new RegExp(String.raw`range \d+ exceeds limit of ${N}`, "i"), refusal: cap },
  { pattern: new RegExp(`limited to a ${N} block`, "i"), refusal: cap },
  { pattern: new RegExp(`blocks distance: ${N}`, "i"), refusal: cap },
  { pattern: new RegExp(`max(?:imum)?(?: block)? range:? ${N}`, "i"), refusal: cap },
  { pattern: new RegExp(`ranges? over ${N} blocks`, "i"), refusal: cap },
  { pattern: new RegExp(`requested blocks is ${N}`, "i"), refusal: cap },
  { pattern: new RegExp(`maximum is set to ${N}`, "i"), refusal: cap },
  { pattern: new RegExp(`at most ${N} blocks`, "i"), refusal: cap },
  { pattern: new RegExp(`max block range ${N}`, "i"), refusal: cap },
  { pattern: new RegExp(`max is ${N} blocks`, "i"), refusal: cap },
  {
    pattern:
      /response (size|too large)|backend response too large|returned more than|exceeds? (the )?(limit|max results)|max results|logs matched|query timeout|timed? ?out|too large|too wide|body exceeds/i,
    refusal: () => ({ kind: "too dense" }),
  },
];

/** Says what a provider meant. Anything unheard of is `unknown`: the range is halved, down to a single block. */
export function classifyRefusal(message: string): RangeRefusal {
  for (const { pattern, refusal } of RULES) {
    const match = message.match(pattern);
    if (match) return refusal(match);
  }
  return { kind: "unknown" };
}
