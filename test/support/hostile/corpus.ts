import { AbiCoder, concat, hexlify, toBeHex, zeroPadValue } from "ethers";
import fc from "fast-check";
import type { Emitted } from "../chain-sim/token-model.ts";
import { token } from "../token.ts";

/** A log that a contract could emit, or a broken one that could never be ours. `decodes`: it is one of our events. */
export type Hostile = Emitted & { what: string; decodes: boolean };

const coder = AbiCoder.defaultAbiCoder();
const MAX = 2n ** 256n - 1n;

/** Bytes that stand where text is expected. */
const TEXTS: readonly Uint8Array[] = [
  "",
  "\0",
  "a\0b",
  "\ud7ff\ue000\uffff",
  "\u202e\u2066evil\u2069",
  "\ufeffbom",
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "\"'`;--/*",
  "'); drop table events; --",
  '{"__proto__":{"a":1}}',
  "__proto__",
  "\\u0000\\N\t\r\n",
  "%00%s%n#{x}{{x}}",
  "👩‍👩‍👧‍👦".repeat(20),
  "e\u0301".repeat(100),
  "x".repeat(65_536),
  "\u202e".repeat(20_000),
].map(text => Buffer.from(text));
const BYTES: readonly Uint8Array[] = [[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80], [0x61, 0x00, 0xff, 0xfe]].map(
  bytes => Uint8Array.from(bytes),
);

const text = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...TEXTS, ...BYTES) },
  { weight: 2, arbitrary: fc.uint8Array({ maxLength: 300 }) },
  { weight: 2, arbitrary: fc.string({ unit: "binary", maxLength: 100 }).map(given => Buffer.from(given)) },
);
const number = fc.oneof(
  fc.constantFrom(0n, 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n, 2n ** 128n, 2n ** 255n, MAX - 1n, MAX),
  fc.bigInt({ min: 0n, max: MAX }),
);
const address = fc.uint8Array({ minLength: 20, maxLength: 20 }).map(bytes => hexlify(bytes));
const word = (value: string) => zeroPadValue(value, 32);
const topicOf = (name: string) => token.getEvent(name)!.topicHash;

const registered = fc.tuple(address, text, number).map(
  ([account, name, sequence]): Hostile => ({
    what: "a name of any bytes",
    decodes: true,
    topics: [topicOf("Registered"), word(account)],
    // A string and bytes have the same encoding.
    data: coder.encode(["bytes", "uint256", "uint256"], [name, 1n, sequence]),
  }),
);
/** Approvals of numbers of any size. */
export const hostileNumbers = fc.tuple(address, address, number).map(
  ([owner, spender, value]): Hostile => ({
    what: "a number of any size",
    decodes: true,
    ...(token.encodeEventLog("Approval", [owner, spender, value]) as Emitted),
  }),
);
const truncated = fc.tuple(registered, fc.nat()).map(
  ([log, at]): Hostile => ({
    ...log,
    what: "data that is cut off",
    decodes: false,
    data: log.data.slice(0, 2 + 2 * (at % 95)),
  }),
);
const pointing = fc
  .tuple(
    registered,
    number.filter(offset => offset > 2n ** 32n),
  )
  .map(
    ([log, offset]): Hostile => ({
      ...log,
      what: "a string that lies elsewhere",
      decodes: false,
      data: concat([toBeHex(offset, 32), `0x${log.data.slice(66)}`]),
    }),
  );
const crowded = fc.tuple(hostileNumbers, fc.boolean()).map(
  ([log, more]): Hostile => ({
    ...log,
    what: "too few or too many topics",
    decodes: false,
    topics: more ? [...log.topics, topicOf("Transfer")] : log.topics.slice(0, 2),
  }),
);
const dirty = hostileNumbers.map(
  (log): Hostile => ({
    ...log,
    what: "an address of more than 20 bytes",
    decodes: false,
    topics: [log.topics[0]!, toBeHex(MAX, 32), log.topics[2]!],
  }),
);

/** Logs of our contract with whatever may be in them. */
export const hostileLogs = fc.oneof(
  { weight: 5, arbitrary: registered },
  { weight: 3, arbitrary: hostileNumbers },
  { weight: 1, arbitrary: truncated },
  { weight: 1, arbitrary: pointing },
  { weight: 1, arbitrary: crowded },
  { weight: 1, arbitrary: dirty },
);

const RESOURCES = [
  "status",
  "accounts",
  "events",
  "blocks",
  "statistics",
  "statistics/series",
  "queues",
  "dead-letters",
  "mining",
  "transfers",
  "",
];
const NAMES = [
  "limit",
  "cursor",
  "from",
  "to",
  "metric",
  "resolution",
  "event",
  "name",
  "contract",
  "address",
  "fromBlock",
  "live",
  "__proto__",
  "x",
];
const VALUES = [
  "",
  "0",
  "-1",
  "1e9",
  "NaN",
  "9".repeat(400),
  "0x",
  "null",
  "[]",
  "{}",
  "a,b",
  "' or 1=1 --",
  "\0",
  "%",
  "../../etc/passwd",
  "\u202e",
  "😀",
];
const value = fc.oneof(
  fc.constantFrom(...VALUES),
  fc.string({ unit: "binary", maxLength: 60 }).map(given => given.toWellFormed()),
);

/** Paths and questions below /api/v1 that nobody should ask. */
export const hostileRequests = fc
  .tuple(fc.constantFrom(...RESOURCES), fc.option(value), fc.array(fc.tuple(fc.constantFrom(...NAMES), value), { maxLength: 4 }))
  .map(([resource, part, query]) => {
    const path = part === null ? resource : `${resource}/${encodeURIComponent(part)}`;
    return `/api/v1/${path}?${query.map(([name, given]) => `${encodeURIComponent(name)}=${encodeURIComponent(given)}`).join("&")}`;
  });

const VARIABLES = [
  "RPC_URL",
  "DATABASE_URL",
  "REDIS_URL",
  "FINALITY",
  "HOST",
  "PORT",
  "API_KEYS",
  "LOG_LEVEL",
  "VERIFY",
  "LEASE_MS",
  "WINDOW",
];
/** Environments that are no configuration. */
export const hostileEnvironments = fc.dictionary(fc.constantFrom(...VARIABLES), value, { minKeys: 1 });
