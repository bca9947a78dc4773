import { getAddress, isAddress, parseUnits } from "ethers";
import { InputError } from "./input-error.ts";
import { type ScriptOption, scriptOptions } from "./options.ts";

/** One thing that a script can be told. */
export interface Parameter<T> {
  /** What is expected, as it ends a sentence. */
  expected: string;
  example: string;
  /** The value, or undefined if the text is not of the expected form. */
  parse(text: string): T | undefined;
}

/** What a script can be told, and what of it may be left out. */
export type ParameterSet = Partial<Record<ScriptOption, Parameter<unknown> & { optional?: boolean }>>;

type Values<S extends ParameterSet> = {
  [K in keyof S]: S[K] extends Parameter<infer T> ? (S[K] extends { optional: true } ? T | undefined : T) : never;
};

/**
 * Reads what a script is told: `--name value` on the command line.
 *
 * @param script The script's name, for the example in a message.
 * @throws InputError on what is missing, of another form, or not for this script.
 */
export function readParameters<S extends ParameterSet>(script: string, parameters: S, argv: string[] = process.argv): Values<S> {
  const example = exampleOf(script, parameters);
  const given = givenOptions(argv);
  for (const option of given.keys()) {
    if (!(option in parameters)) throw new InputError(`--${option}: not for this script; it takes ${named(parameters)} (${example})`);
  }

  const values: Record<string, unknown> = {};
  for (const [name, parameter] of Object.entries(parameters)) {
    const text = given.get(name);
    if (text === undefined) {
      if (parameter.optional) continue;
      throw new InputError(`--${name}: missing; expected ${parameter.expected} (${example})`);
    }
    values[name] = parameter.parse(text);
    if (values[name] === undefined) throw new InputError(`--${name}: given "${text}"; expected ${parameter.expected} (${example})`);
  }
  return values as Values<S>;
}

/** Hardhat has checked by now that each option is known, has a value and comes once. */
function givenOptions(argv: string[]): Map<string, string> {
  const given = new Map<string, string>();
  for (const [index, argument] of argv.entries()) {
    const [, name, value] = /^--([a-z]+)(?:=(.*))?$/s.exec(argument) ?? [];
    if (name && name in scriptOptions) given.set(name, value ?? argv[index + 1] ?? "");
  }
  return given;
}

function named(parameters: ParameterSet): string {
  return Object.keys(parameters)
    .map(name => `--${name}`)
    .join(", ");
}

function exampleOf(script: string, parameters: ParameterSet): string {
  const told = Object.entries(parameters)
    .filter(([, parameter]) => !parameter.optional)
    .map(([name, parameter]) => ` --${name} ${parameter.example}`);
  return `npx hardhat run scripts/${script}.ts --network localhost${told.join("")}`;
}

/** The same parameter, but it may be left out. */
export function optional<T>(parameter: Parameter<T>): Parameter<T> & { optional: true } {
  return { ...parameter, optional: true };
}

export const address: Parameter<string> = {
  expected: "an address: 0x and 40 hexadecimal digits (with a right checksum where it mixes cases)",
  example: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
  parse: text => (isAddress(text) && text.startsWith("0x") ? getAddress(text) : undefined),
};

export const amount: Parameter<bigint> = {
  expected: "an amount of tokens above 0 with at most 18 decimals",
  example: "12.5",
  parse: text => {
    if (!/^\d{1,40}(\.\d{1,18})?$/.test(text)) return undefined;
    return parseUnits(text, 18) || undefined;
  },
};

export const personName: Parameter<string> = {
  expected: "1 to 32 characters of a-z, 0-9, - and _",
  example: "alice",
  parse: text => (/^[a-z0-9_-]{1,32}$/.test(text) ? text : undefined),
};

export const shortText: Parameter<string> = {
  expected: "a text of at most 31 bytes",
  example: "invoice-42",
  parse: text => (text && Buffer.byteLength(text) <= 31 ? text : undefined),
};

/** Which account of the network acts: its number in the list of accounts. */
export const account: Parameter<number> = {
  expected: "the number of an account of the network, 0 to 19",
  example: "1",
  parse: text => (/^1?\d$/.test(text) ? Number(text) : undefined),
};

export const rate: Parameter<number> = {
  expected: "transactions per second, above 0 and at most 1000",
  example: "5",
  parse: text => (/^\d+(\.\d+)?$/.test(text) && Number(text) > 0 && Number(text) <= 1000 ? Number(text) : undefined),
};

/** In seconds. */
export const duration: Parameter<number> = {
  expected: "a time such as 20s, 5m or 1h",
  example: "20s",
  parse: text => {
    const [, count, unit] = /^(\d{1,6})([smh])$/.exec(text) ?? [];
    return count && Number(count) > 0 ? Number(count) * { s: 1, m: 60, h: 3600 }[unit as "s" | "m" | "h"] : undefined;
  },
};

/** A whole number from `least` to `most`. */
export function count(least: number, most: number, example = least): Parameter<number> {
  return {
    expected: `a whole number from ${least} to ${most}`,
    example: String(example),
    parse: text => (/^\d{1,15}$/.test(text) && Number(text) >= least && Number(text) <= most ? Number(text) : undefined),
  };
}

/** One of some words. */
export function oneOf<const W extends string>(...words: W[]): Parameter<W> {
  return { expected: words.join(" or "), example: words[0]!, parse: text => words.find(word => word === text) };
}
