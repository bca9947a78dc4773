import { AbiCoder, type EventFragment, Interface, type InterfaceAbi, ParamType, type Result } from "ethers/abi";
import { cleanText } from "../db.ts";
import { checksumAddress } from "./address.ts";
import type { Hex, Log } from "./types.ts";

/** A decoded argument: integers are bigint, addresses and bytes lower-case hex, a reference type that was indexed its hash. */
export type Value = bigint | boolean | string | Value[] | { [name: string]: Value };
export type Arguments = Record<string, Value>;

/** An event of a contract, compiled once from its ABI. */
export type EventDecoder = {
  name: string;
  topic: Hex;
  /** The arguments of a log. Throws on data that is not this event's. */
  decode(topics: readonly Hex[], data: Hex): Arguments;
  /** The arguments again, from what `JSON.stringify` with decimal strings made of them. */
  revive(json: Record<string, unknown>): Arguments;
  /** That JSON as it is shown: in the order of the declaration, addresses with their checksum. */
  present(json: Record<string, unknown>): Record<string, unknown>;
  /** Every address among the arguments of that JSON, lower case, those inside arrays and structs too. */
  addresses(json: Record<string, unknown>): string[];
};

const WORD = 64;
const coder = AbiCoder.defaultAbiCoder();

/** A decoder for each event of an ABI. An anonymous event has no first topic to be known by and is left out. */
export function compileEvents(abi: InterfaceAbi): EventDecoder[] {
  const fragments: EventFragment[] = [];
  Interface.from(abi).forEachEvent(fragment => void fragments.push(fragment));
  return fragments.filter(fragment => !fragment.anonymous).map(compileEvent);
}

function compileEvent(fragment: EventFragment): EventDecoder {
  const indexed = fragment.inputs.filter(input => input.indexed);
  const plain = fragment.inputs.filter(input => !input.indexed);
  const nameOf = new Map(fragment.inputs.map((input, i) => [input, input.name || `arg${i}`]));
  const names = [...nameOf.values()];
  const [indexedNames, plainNames] = [indexed, plain].map(inputs => inputs.map(input => nameOf.get(input)!)) as [string[], string[]];
  const readTopic = indexed.map(input => wordReader(input) ?? ((topic: string) => `0x${topic}`));
  const readData = plain.map(wordReader);
  const raw = plain.map(withBytesForStrings);
  const isStatic = readData.every(reader => reader !== undefined);
  const isHashed = (input: ParamType) => input.indexed && !wordReader(input);
  const revivers = fragment.inputs.map(input => [nameOf.get(input)!, isHashed(input) ? String : reviver(input)] as const);
  const presenters = fragment.inputs.map(input => [nameOf.get(input)!, isHashed(input) ? String : presenter(input)] as const);

  const finders = fragment.inputs.flatMap(input => {
    const find = isHashed(input) ? undefined : addressFinder(input);
    return find ? [[nameOf.get(input)!, find] as const] : [];
  });

  const decodeData = isStatic
    ? (data: Hex, into: Arguments) => {
        if (data.length < 2 + plain.length * WORD)
          throw new Error(`the data has ${(data.length - 2) / 2} bytes, expected ${plain.length * 32}`);
        for (let i = 0; i < plain.length; i++) into[plainNames[i]!] = readData[i]!(data.slice(2 + i * WORD, 2 + (i + 1) * WORD));
      }
    : (data: Hex, into: Arguments) => {
        const result = coder.decode(raw, data);
        for (let i = 0; i < plain.length; i++) into[plainNames[i]!] = fromEthers(plain[i]!, result[i]);
      };

  return {
    name: fragment.name,
    topic: fragment.topicHash,
    decode(topics, data) {
      if (topics.length !== indexed.length + 1)
        throw new Error(`the log has ${topics.length - 1} indexed arguments, expected ${indexed.length}`);
      const decoded: Arguments = {};
      // The names keep the order of the declaration, whatever is indexed.
      for (const name of names) decoded[name] = "";
      for (let i = 0; i < indexed.length; i++) decoded[indexedNames[i]!] = readTopic[i]!(topics[i + 1]!.slice(2));
      decodeData(data, decoded);
      return decoded;
    },
    revive(json) {
      const revived: Arguments = {};
      for (const [name, revive] of revivers) revived[name] = revive(json[name]);
      return revived;
    },
    present(json) {
      return Object.fromEntries(presenters.map(([name, present]) => [name, present(json[name])]));
    },
    addresses: json => finders.flatMap(([name, find]) => find(json[name])),
  };
}

/** Reads one 32-byte word, in the way of ethers: what lies outside the type's own bits is cut off. */
function wordReader(type: ParamType): ((word: string) => Value) | undefined {
  const [, kind, size] = /^(uint|int|address|bool|bytes)(\d*)$/.exec(type.type) ?? [];
  const digits = Number(size) / 4;
  switch (kind) {
    case "uint":
      return word => BigInt(`0x${word.slice(WORD - digits)}`);
    case "int":
      return word => BigInt.asIntN(digits * 4, BigInt(`0x${word.slice(WORD - digits)}`));
    case "address":
      return word => {
        if (!word.startsWith("000000000000000000000000")) throw new Error("an address of more than 20 bytes");
        return `0x${word.slice(24)}`;
      };
    case "bool":
      return word => /[^0]/.test(word);
    case "bytes":
      return size ? word => `0x${word.slice(0, Number(size) * 2)}` : undefined;
    default:
      return undefined;
  }
}

/**
 * The type with its strings as bytes. Solidity lets a string hold any bytes, so whoever may emit one could make a log that
 * ethers refuses to decode; what is not UTF-8 becomes U+FFFD instead, and the raw data is kept beside.
 */
function withBytesForStrings(type: ParamType): ParamType {
  type Json = { type: string; name: string; components?: Json[] };
  const replace = ({ name, type, components }: Json): Json => ({
    name,
    type: type.replace(/^string/, "bytes"),
    ...(components ? { components: components.map(replace) } : {}),
  });
  return ParamType.from(replace(JSON.parse(type.format("json"))));
}

/** ethers' values as ours, with `type` as it was declared. */
function fromEthers(type: ParamType, value: unknown): Value {
  if (type.arrayChildren) return Array.from(value as Result, item => fromEthers(type.arrayChildren!, item));
  if (type.components) {
    const result = value as Result;
    return Object.fromEntries(type.components.map((component, i) => [component.name || `arg${i}`, fromEthers(component, result[i])]));
  }
  if (type.type === "address") return (value as string).toLowerCase();
  if (type.type === "string") return cleanText(Buffer.from((value as string).slice(2), "hex").toString("utf8"));
  return value as Value;
}

function reviver(type: ParamType): (json: unknown) => Value {
  if (type.arrayChildren) {
    const revive = reviver(type.arrayChildren);
    return json => (json as unknown[]).map(revive);
  }
  if (type.components) {
    const parts = type.components.map((component, i) => [component.name || `arg${i}`, reviver(component)] as const);
    return json => Object.fromEntries(parts.map(([name, revive]) => [name, revive((json as Record<string, unknown>)[name])]));
  }
  return /^u?int/.test(type.type) ? json => BigInt(json as string) : json => json as Value;
}

function presenter(type: ParamType): (json: unknown) => unknown {
  if (type.arrayChildren) {
    const present = presenter(type.arrayChildren);
    return json => (json as unknown[]).map(present);
  }
  if (type.components) {
    const parts = type.components.map((component, i) => [component.name || `arg${i}`, presenter(component)] as const);
    return json => Object.fromEntries(parts.map(([name, present]) => [name, present((json as Record<string, unknown>)[name])]));
  }
  return type.type === "address" ? json => checksumAddress(json as string) : json => json;
}

/** What finds the addresses in a value of this type, or undefined where it can hold none. */
function addressFinder(type: ParamType): ((json: unknown) => string[]) | undefined {
  if (type.arrayChildren) {
    const find = addressFinder(type.arrayChildren);
    return find && (json => (json as unknown[]).flatMap(find));
  }
  if (type.components) {
    const parts = type.components.flatMap((component, i) => {
      const find = addressFinder(component);
      return find ? [[component.name || `arg${i}`, find] as const] : [];
    });
    return parts.length > 0 ? json => parts.flatMap(([name, find]) => find((json as Record<string, unknown>)[name])) : undefined;
  }
  return type.type === "address" ? json => [json as string] : undefined;
}

/** JSON of decoded arguments, with integers as decimal strings. */
export function argumentsToJson(value: Value): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "bigint") return `"${value}"`;
  if (typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return `[${value.map(argumentsToJson).join(",")}]`;
  let members = "";
  for (const name in value) members += `${members && ","}${JSON.stringify(name)}:${argumentsToJson(value[name]!)}`;
  return `{${members}}`;
}

/** What became of a log: an event of ours with its arguments, or the reason why it cannot be one. */
export type Decoded = { contract: string; name: string; arguments: Arguments | undefined; error: string | undefined };

/** The contracts that are followed: name, ABI, address. */
export type ContractAt = { name: string; decoders: readonly EventDecoder[]; address: Hex };

/** Finds a log's contract by its address and its event by its first topic. Never throws: what cannot be decoded says why. */
export function createDecoder(contracts: readonly ContractAt[]): (log: Log) => Decoded {
  const byAddress = new Map(
    contracts.map(({ name, decoders, address }) => [address.toLowerCase(), { name, byTopic: new Map(decoders.map(d => [d.topic, d])) }]),
  );
  return log => {
    const contract = byAddress.get(log.address);
    const event = contract?.byTopic.get(log.topics[0] ?? "");
    if (!contract || !event)
      return { contract: contract?.name ?? "", name: "", arguments: undefined, error: "no event of ours has this topic" };
    try {
      return { contract: contract.name, name: event.name, arguments: event.decode(log.topics, log.data), error: undefined };
    } catch (error) {
      return {
        contract: contract.name,
        name: event.name,
        arguments: undefined,
        error: cleanText((error as Error).message).slice(0, 1_000),
      };
    }
  };
}
