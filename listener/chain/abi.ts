/**
 * The TypeScript types of an ABI's events, inferred from the literal ABI that Hardhat writes beside each artifact: event
 * names and argument types are written once, in Solidity.
 */
type Parameter = { readonly name: string; readonly type: string; readonly indexed?: boolean; readonly components?: readonly Parameter[] };
type Event = { readonly type: "event"; readonly name: string; readonly inputs: readonly Parameter[] };

/** A literal ABI, as in `artifacts.d.ts`. */
export type Abi = readonly { readonly type: string }[];

type ScalarOf<T extends string> = T extends `${"uint" | "int"}${string}` ? bigint : T extends "bool" ? boolean : string;

type ValueOf<P extends Parameter, T extends string = P["type"]> = T extends `${infer Item}[${string}]`
  ? ValueOf<P, Item>[]
  : T extends "tuple"
    ? P extends { components: infer C extends readonly Parameter[] }
      ? ArgumentsOf<C>
      : never
    : ScalarOf<T>;

/** What `decode` gives for a parameter: an indexed reference type is only its hash. */
type ArgumentOf<P extends Parameter> = P["indexed"] extends true
  ? P["type"] extends "string" | "bytes" | "tuple" | `${string}]`
    ? string
    : ValueOf<P>
  : ValueOf<P>;

type ArgumentsOf<Inputs extends readonly Parameter[]> = { [P in Inputs[number] as P["name"]]: ArgumentOf<P> };

export type EventNames<A extends Abi> = Extract<A[number], Event>["name"];
export type EventArguments<A extends Abi, Name extends string> = ArgumentsOf<Extract<A[number], Event & { name: Name }>["inputs"]>;
