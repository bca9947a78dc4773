/** How amounts of this token are written: 18 decimals, at most four shown. */
const DECIMALS = 18;
const SHOWN = 4;

export const SYMBOL = "SLC";

/** `1,234.5678` out of the smallest unit. The rest is cut, not rounded: nobody has more than is shown. */
export function tokens(amount: string | bigint): string {
  const value = BigInt(amount);
  const digits = String(value < 0n ? -value : value).padStart(DECIMALS + 1, "0");
  const units = BigInt(digits.slice(0, -DECIMALS)).toLocaleString("en-GB");
  const rest = digits.slice(-DECIMALS).slice(0, SHOWN).replace(/0+$/, "");
  return `${value < 0n ? "−" : ""}${units}${rest ? `.${rest}` : ""}`;
}

/** The same as a number, for charts. */
export const tokensAsNumber = (amount: string | bigint): number => Number(amount) / 10 ** DECIMALS;

/** The text in a `bytes32`, such as a memo; undefined where it holds none that can be shown. */
export function shortText(bytes32: string): string | undefined {
  const hex = bytes32.replace(/^0x/, "").replace(/(?:00)+$/, "");
  const bytes = Uint8Array.from(hex.match(/../g) ?? [], byte => Number.parseInt(byte, 16));
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return text !== "" && !/\p{Cc}/u.test(text) ? text : undefined;
  } catch {
    return undefined;
  }
}

/** What a person typed, such as `12.5`, in the smallest unit; undefined where it is no amount. */
export function smallestUnits(text: string): bigint | undefined {
  const [, units, rest = ""] = /^(\d{1,40})(?:\.(\d{1,18}))?$/.exec(text) ?? [];
  return units === undefined ? undefined : BigInt(units + rest.padEnd(DECIMALS, "0"));
}
