import { z } from "zod";
import { checksumAddress, parseAddress } from "../chain/address.ts";

/**
 * The building blocks of what goes in and out. Each validates and describes itself in one place. Handlers see what the
 * database holds (lower-case addresses, bigint, Date); the outside sees JSON (checksummed addresses, decimal strings).
 */

/** What a schema is called where types have names, as in GraphQL. One that is not here is called after where it stands. */
export const typeNames = z.registry<{ name: string }>();

const issue = (context: { issues: unknown[] }, input: string, message: string): never => {
  context.issues.push({ code: "custom", input, message });
  return z.NEVER;
};

const FULL_HASH = /^0x[0-9a-fA-F]{64}$/;

/** An account or a contract. In: any case that is not a wrong checksum. Out: checksummed. */
export const address = z
  .codec(z.string(), z.string(), {
    decode(text, context) {
      try {
        return parseAddress(text);
      } catch (error) {
        return issue(context, text, (error as Error).message);
      }
    },
    encode: checksumAddress,
  })
  .meta({ type: "string", pattern: "^0x[0-9a-fA-F]{40}$", description: "20 bytes, with the checksum of EIP-55" });

/** A block's or a transaction's hash. */
export const hash = z
  .codec(z.string(), z.string(), {
    decode: (text, context) =>
      FULL_HASH.test(text) ? text.toLowerCase() : issue(context, text, "expected a hash: 0x and 64 hexadecimal digits"),
    encode: text => text,
  })
  .meta({ type: "string", pattern: "^0x[0-9a-f]{64}$", description: "32 bytes in lower-case hex" });

/** An amount in the token's smallest unit: up to 78 digits, more than a JSON number can hold. */
export const amount = z
  .codec(z.string(), z.bigint(), { decode: BigInt, encode: String })
  .meta({ type: "string", pattern: "^-?[0-9]+$", description: "in the smallest unit, as a decimal string" });

export const time = z
  .codec(z.string(), z.date(), { decode: text => new Date(text), encode: date => date.toISOString() })
  .meta({ type: "string", format: "date-time" });

typeNames.add(address, { name: "Address" }).add(hash, { name: "Hash" }).add(amount, { name: "Amount" }).add(time, { name: "DateTime" });

export const count = z.int().nonnegative();
export const blockNumber = z.int().nonnegative();
export const blockRef = z.object({ number: blockNumber, hash });
export const block = blockRef.extend({ timestamp: z.int().describe("seconds since 1970") });

typeNames.add(blockRef, { name: "BlockRef" }).add(block, { name: "BlockPlace" });

/** The block that an answer is complete up to. Null while nothing has been worked in yet. */
export const asOf = blockRef
  .nullable()
  .describe("everything up to this block is in the answer; what is later may be in part; null while nothing is worked in yet");

/** When an event is delivered; a number is one of confirmations. */
export const deliveryFinality = z.union([z.enum(["finalized", "safe", "latest"]), z.int()]);

/** A whole number in a query or a path. */
export function whole(min: number, max: number) {
  const message = `expected a whole number from ${min} to ${max}`;
  return z
    .codec(z.string(), z.number(), {
      decode(text, context) {
        const number = Number(text);
        return /^\d{1,16}$/.test(text) && number >= min && number <= max ? number : issue(context, text, message);
      },
      encode: String,
    })
    .meta({ type: "integer", minimum: min, maximum: max });
}

/** The same with a value for when it is not given. */
export const wholeOr = (fallback: number, min: number, max: number, description: string) =>
  whole(min, max).default(fallback).describe(description);

export const blockParameter = whole(0, Number.MAX_SAFE_INTEGER);
