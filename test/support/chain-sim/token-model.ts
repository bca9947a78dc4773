import { hexlify, ZeroAddress, zeroPadValue } from "ethers";
import type { Random } from "../../../scripts/support/random.ts";
import { holder, token } from "../token.ts";

/** What the token's contract would hold: the truth that balances and statistics are compared with. */
export type TokenState = {
  balances: Map<string, bigint>;
  supply: bigint;
  sequence: bigint;
  registered: Set<string>;
  paused: boolean;
  epoch: bigint;
};

export type Emitted = { topics: readonly string[]; data: string };

export const emptyToken = (): TokenState => ({
  balances: new Map(),
  supply: 0n,
  sequence: 0n,
  registered: new Set(),
  paused: false,
  epoch: 0n,
});
const copy = (state: TokenState): TokenState => ({
  ...state,
  balances: new Map(state.balances),
  registered: new Set(state.registered),
});

const ACCOUNTS = 10;
const NAMES = ["Ada", "O'Neill", "名前", "a\u202eb", "<b>x</b>", "\0", "💥", ""];

/** `transactions` of the token, as their logs, and the state that they lead to. */
export function act(before: TokenState, random: Random, transactions: number): { transactions: Emitted[][]; after: TokenState } {
  const state = copy(before);
  const done: Emitted[][] = [];
  for (let i = 0; i < transactions; i++) done.push(transact(state, random));
  return { transactions: done, after: state };
}

const wordOf = (value: unknown) => (typeof value === "bigint" ? value.toString(16) : String(value).slice(2)).padStart(64, "0");

/** What ethers makes of it too, where it takes many times as long: every value of all events but one is a single word. */
function emitted(name: string, values: unknown[]): Emitted {
  const { inputs, topicHash } = token.getEvent(name)!;
  if (inputs.some(({ type }) => type === "string")) return token.encodeEventLog(name, values) as Emitted;
  const words = (indexed: boolean) => values.filter((_, i) => inputs[i]!.indexed === indexed).map(wordOf);
  return { topics: [topicHash, ...words(true).map(word => `0x${word}`)], data: `0x${words(false).join("")}` };
}

function transact(state: TokenState, random: Random): Emitted[] {
  const logs: Emitted[] = [];
  const emit = (name: string, values: unknown[]) => void logs.push(emitted(name, values));
  const next = () => ++state.sequence;
  const move = (from: string, to: string, value: bigint) => {
    if (from === ZeroAddress) state.supply += value;
    else state.balances.set(from, (state.balances.get(from) ?? 0n) - value);
    if (to === ZeroAddress) state.supply -= value;
    else state.balances.set(to, (state.balances.get(to) ?? 0n) + value);
    emit("Transfer", [from, to, value]);
  };
  const anyone = () => holder(1 + random.below(ACCOUNTS)).toLowerCase();
  const word = () => zeroPadValue(hexlify(Uint8Array.from({ length: 8 }, () => random.below(256))), 32);
  const amount = () => (random.below(20) === 0 ? 0n : BigInt(1 + random.below(1_000_000)) * 10n ** BigInt(random.below(20)));

  const actions: Record<string, () => void> = {
    mint: () => {
      const [to, value] = [anyone(), amount()];
      move(ZeroAddress, to, value);
      emit("Minted", [anyone(), to, value, word(), next()]);
    },
    transfer: () => {
      const rich = [...state.balances].filter(([, balance]) => balance > 0n);
      if (rich.length === 0) return actions.mint!();
      const [from, balance] = random.pick(rich);
      const value = random.below(4) === 0 ? balance : (balance * BigInt(random.below(1_000))) / 1_000n;
      const to = random.below(12) === 0 ? ZeroAddress : anyone();
      move(from, to, value);
      if (random.below(3) === 0) emit("TransferWithMemo", [from, to, value, word(), next()]);
    },
    register: () => {
      const account = anyone();
      if (state.registered.has(account)) return actions.transfer!();
      state.registered.add(account);
      move(ZeroAddress, account, 100n);
      emit("Registered", [account, random.pick(NAMES), 100n, next()]);
    },
    mine: () => {
      const miner = anyone();
      state.epoch += 1n;
      move(ZeroAddress, miner, 50n);
      emit("Mined", [miner, state.epoch, 50n, word(), word(), BigInt(random.below(1e9)), next()]);
      if (random.below(3) === 0) emit("Retargeted", [state.epoch, 2n ** BigInt(200 + random.below(56)) - 1n, next()]);
    },
    pause: () => {
      state.paused = true;
      emit("Paused", [anyone()]);
    },
  };
  if (state.paused) {
    // Nothing moves while paused: I17.
    if (random.below(3) > 0) emit("MintLimitChanged", [anyone(), anyone(), amount(), next()]);
    else {
      state.paused = false;
      emit("Unpaused", [anyone()]);
    }
  } else {
    const kinds = ["mint", "transfer", "transfer", "transfer", "transfer", "register", "mine"];
    actions[random.below(60) === 0 ? "pause" : random.pick(kinds)]!();
  }
  return logs;
}
