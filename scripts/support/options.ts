/**
 * What scripts can be told, by name: hardhat.config.ts makes these options of `hardhat run`, because Hardhat refuses any
 * that it does not know. Each script takes some of them (see parameters.ts).
 */
export const scriptOptions = {
  name: "register: the name",
  to: "transfer, mint: who receives",
  amount: "transfer, mint: how many tokens, such as 12.5",
  memo: "transfer: a memo of at most 31 bytes",
  reason: "mint: why, at most 31 bytes",
  set: "pause: on or off",
  count: "mine: how many solutions",
  threads: "mine: how many threads",
  rate: "traffic: transactions per second",
  seed: "traffic: a number; the same seed makes the same decisions",
  for: "traffic: how long, such as 20s",
  as: "which account of the network acts: its number",
  token: "the token's address, instead of the deployment file's",
} as const;

export type ScriptOption = keyof typeof scriptOptions;
