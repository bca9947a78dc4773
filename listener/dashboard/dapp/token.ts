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
