import type { App } from "../app.ts";
import type { EventRow } from "../journal/events.ts";

/**
 * Which events are wanted; all of what is given must hold. `account`: lower-case hex, an address anywhere among the
 * arguments. `arguments`: by name, each as it is stored (integers as decimal strings, addresses lower case), or any of several.
 * `minimumAmount`: a decimal string; of the first of the arguments `amount`, `value` and `reward` that an event has.
 */
export type Filter = {
  contract?: string;
  account?: string;
  arguments?: Record<string, string | boolean | (string | boolean)[]>;
  minimumAmount?: string;
};

const AMOUNTS = ["amount", "value", "reward"];

/** Whether an endpoint wants an event. An event that could not be decoded is wanted by nobody. */
export function createMatcher(app: App, { events, filter }: { events: readonly string[]; filter: Filter }): (row: EventRow) => boolean {
  const names = new Set(events);
  const wanted = Object.entries(filter.arguments ?? {}).map(([name, value]) => [name, new Set([value].flat().map(normal))] as const);
  const minimum = filter.minimumAmount === undefined ? undefined : BigInt(filter.minimumAmount);
  return ({ contract, name, arguments: given }) => {
    if (given === null) return false;
    if (names.size > 0 && !names.has(`${contract}.${name}`)) return false;
    if (filter.contract !== undefined && filter.contract !== contract) return false;
    for (const [argument, values] of wanted) if (!(argument in given) || !values.has(normal(given[argument]))) return false;
    if (minimum !== undefined && !(amountOf(given) >= minimum)) return false;
    return filter.account === undefined || accountsOf(app, contract, name, given).includes(filter.account);
  };
}

/** The addresses among an event's arguments, in lower case. */
export const accountsOf = (app: App, contract: string, name: string, given: Record<string, unknown>): string[] =>
  app.decoderOf(contract, name)?.addresses(given) ?? [];

const normal = (value: unknown) => (/^0x/i.test(String(value)) ? String(value).toLowerCase() : String(value));

/** -1 where the event has none: less than any amount. */
function amountOf(given: Record<string, unknown>): bigint {
  const text = AMOUNTS.map(name => given[name]).find(value => typeof value === "string" && /^-?\d+$/.test(value));
  return text === undefined ? -1n : BigInt(text as string);
}
