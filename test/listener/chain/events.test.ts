import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { AbiCoder, Interface, type ParamType, type Result, zeroPadValue } from "ethers";
import fc from "fast-check";
import { argumentsToJson, compileEvents, createDecoder, type Value } from "../../../listener/chain/events.ts";
import type { Log } from "../../../listener/chain/types.ts";

const sizes = fc.integer({ min: 1, max: 32 }).map(bytes => bytes * 8);
const hex = (bytes: number) => fc.uint8Array({ minLength: bytes, maxLength: bytes }).map(all => `0x${Buffer.from(all).toString("hex")}`);

/** A Solidity type with a value of it. */
type Typed = { type: string; value: unknown };
const scalar: fc.Arbitrary<Typed> = fc.oneof(
  sizes.chain(bits => fc.bigInt({ min: 0n, max: 2n ** BigInt(bits) - 1n }).map(value => ({ type: `uint${bits}`, value }))),
  sizes.chain(bits =>
    fc.bigInt({ min: -(2n ** BigInt(bits - 1)), max: 2n ** BigInt(bits - 1) - 1n }).map(value => ({ type: `int${bits}`, value })),
  ),
  fc.boolean().map(value => ({ type: "bool", value })),
  hex(20).map(value => ({ type: "address", value })),
  fc.integer({ min: 1, max: 32 }).chain(bytes => hex(bytes).map(value => ({ type: `bytes${bytes}`, value }))),
);
const dynamic: fc.Arbitrary<Typed> = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 70 }).map(value => ({ type: "string", value })),
  fc.uint8Array({ maxLength: 70 }).map(value => ({ type: "bytes", value: `0x${Buffer.from(value).toString("hex")}` })),
);
const flat = fc.oneof(scalar, dynamic);
const nested: fc.Arbitrary<Typed> = fc.oneof(
  { weight: 5, arbitrary: flat },
  {
    weight: 1,
    arbitrary: fc
      .tuple(flat, fc.integer({ min: 0, max: 4 }))
      .map(([{ type, value }, n]) => ({ type: `${type}[]`, value: Array(n).fill(value) })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(flat, fc.integer({ min: 1, max: 4 }))
      .map(([{ type, value }, n]) => ({ type: `${type}[${n}]`, value: Array(n).fill(value) })),
  },
  {
    weight: 1,
    arbitrary: fc
      .array(flat, { minLength: 1, maxLength: 3 })
      .map(parts => ({ type: `tuple(${parts.map(({ type }, i) => `${type} f${i}`).join(", ")})`, value: parts.map(({ value }) => value) })),
  },
);
/** An event: what is indexed is of a scalar type, as far as its value can be read back, or a string of which there is the hash. */
const event = fc.record({
  plain: fc.array(nested, { maxLength: 5 }),
  indexed: fc.array(fc.oneof({ weight: 4, arbitrary: scalar }, { weight: 1, arbitrary: dynamic }), { maxLength: 3 }),
  mixed: fc.boolean(),
});

/** ethers' value in our terms, written apart from the code under test. */
function expected(type: ParamType, value: unknown): Value {
  if (type.baseType === "array") return [...(value as Result)].map(item => expected(type.arrayChildren!, item));
  if (type.baseType === "tuple")
    return Object.fromEntries(type.components!.map((part, i) => [part.name, expected(part, (value as Result)[i])]));
  if (type.type === "address") return String(value).toLowerCase();
  if (type.type === "string") return (value as string).replaceAll("\0", "\uFFFD");
  return value as Value;
}

const logOf = (topics: readonly string[], data: string): Log => ({
  blockNumber: 1,
  blockHash: "0x",
  blockTimestamp: 1,
  transactionHash: "0x",
  transactionIndex: 0,
  logIndex: 0,
  address: `0x${"aa".repeat(20)}`,
  topics: [...topics],
  data,
});

describe("events", () => {
  it("decodes any event just as ethers does, and revives it from JSON", () => {
    fc.assert(
      fc.property(event, ({ plain, indexed, mixed }) => {
        const inputs = [
          ...indexed.map(({ type }, i) => `${type} indexed i${i}`),
          ...plain.map(({ type }, i) => (mixed && i === 0 ? type : `${type} p${i}`)),
        ];
        const abi = [`event Happened(${inputs.join(", ")})`];
        const ethersInterface = new Interface(abi);
        const fragment = ethersInterface.getEvent("Happened")!;
        const { topics, data } = ethersInterface.encodeEventLog(
          fragment,
          [...indexed, ...plain].map(({ value }) => value),
        );
        const [decoder] = compileEvents(abi);
        const decoded = decoder!.decode(topics, data);
        const reference = ethersInterface.decodeEventLog(fragment, data, topics);
        const wanted = Object.fromEntries(
          fragment.inputs.map((input, i) => {
            const hashed = input.indexed && (input.type === "string" || input.type === "bytes");
            return [input.name || `arg${i}`, hashed ? (reference[i] as { hash: string }).hash : expected(input, reference[i])];
          }),
        );
        assert.deepEqual(decoded, wanted);
        assert.deepEqual(Object.keys(decoded), Object.keys(wanted));
        assert.deepEqual(decoder!.revive(JSON.parse(argumentsToJson(decoded)) as Record<string, unknown>), decoded);
      }),
      { numRuns: 1_000 },
    );
  });

  it("never throws, whatever stands in a log of ours", () => {
    const abi = ["event Happened(address indexed who, uint256 amount, string text, uint8[] list)"];
    const decode = createDecoder([{ name: "Token", decoders: compileEvents(abi), address: `0x${"aa".repeat(20)}` }]);
    const { topic } = compileEvents(abi)[0]!;
    fc.assert(
      fc.property(fc.array(hex(32), { maxLength: 3 }), fc.uint8Array({ maxLength: 400 }), (more, bytes) => {
        const decoded = decode(logOf([topic, ...more], `0x${Buffer.from(bytes).toString("hex")}`));
        assert.notEqual(decoded.arguments === undefined, decoded.error === undefined);
      }),
      { numRuns: 1_000 },
    );
  });

  const abi = ["event Named(address indexed who, string name)", "event Paid(address indexed from, address indexed to, uint256 value)"];
  const decoders = compileEvents(abi);
  const decode = createDecoder([{ name: "Token", decoders, address: `0x${"aa".repeat(20)}` }]);
  const who = zeroPadValue(`0x${"11".repeat(20)}`, 32);
  const named = decoders.find(({ name }) => name === "Named")!.topic;
  const paid = decoders.find(({ name }) => name === "Paid")!.topic;
  const coded = (type: string, value: unknown) => AbiCoder.defaultAbiCoder().encode([type], [value]);

  it("says why truncated data is no event", () => {
    const decoded = decode(logOf([paid, who, who], "0x00"));
    assert.equal(decoded.name, "Paid");
    assert.equal(decoded.arguments, undefined);
    assert.match(decoded.error!, /1 bytes, expected 32/);
  });

  it("says why a string that is cut off is no event", () =>
    assert.ok(decode(logOf([named, who], coded("string", "name").slice(0, 100))).error));

  it("decodes a string that is not UTF-8, with U+FFFD where it is not", () => {
    const decoded = decode(logOf([named, who], coded("bytes", "0x61ff80fe62")));
    assert.equal(decoded.error, undefined);
    assert.match(Object.values(decoded.arguments!).join(" "), /a\ufffd+b/);
  });

  it("says why a log with too few topics is no event", () =>
    assert.match(decode(logOf([paid, who], coded("uint256", 1))).error!, /1 indexed/));

  it("says why an address with bits beyond its 20 bytes is no event", () => {
    assert.match(decode(logOf([paid, `0x01${who.slice(4)}`, who], coded("uint256", 1))).error!, /address/);
  });

  it("does not know another contract's log, nor another event", () => {
    assert.ok(decode({ ...logOf([paid, who, who], coded("uint256", 1)), address: `0x${"bb".repeat(20)}` }).error);
    assert.ok(decode(logOf([`0x${"00".repeat(32)}`], "0x")).error);
    assert.ok(decode(logOf([], "0x")).error);
  });

  it("keeps 64 KB, right-to-left marks and HTML as they are, and replaces NUL", () => {
    const text = `${"x".repeat(65_536)}\u202e<script>\0`;
    const decoded = decode(logOf([named, who], coded("string", text)));
    assert.equal((decoded.arguments as { name: string }).name, text.replace("\0", "\uFFFD"));
  });

  it("leaves an anonymous event out: it has no topic to be known by", () => {
    assert.deepEqual(
      compileEvents([
        { type: "event", name: "A", anonymous: true, inputs: [{ name: "a", type: "uint256" }] },
        { type: "event", name: "B", inputs: [{ name: "b", type: "uint256" }] },
      ]).map(({ name }) => name),
      ["B"],
    );
  });

  it("reads the whole range of an uint256 and an int256", () => {
    const [decoder] = compileEvents(["event Both(uint256 a, int256 b)"]);
    for (const [a, b] of [
      [0n, -1n],
      [1n, 2n ** 255n - 1n],
      [2n ** 256n - 1n, -(2n ** 255n)],
    ]) {
      const data = AbiCoder.defaultAbiCoder().encode(["uint256", "int256"], [a, b]);
      assert.deepEqual(decoder!.decode([decoder!.topic], data), { a, b });
    }
  });
});
