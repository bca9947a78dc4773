import type { ComponentChildren, ComponentType } from "preact";
import type { EventView } from "../core/answers.ts";
import { abbreviate } from "../core/format.ts";
import { linkTo } from "../core/location.ts";
import { AccountPage } from "./account.tsx";
import { TokenOverview } from "./tiles.tsx";
import { SYMBOL, shortText, tokens } from "./token.ts";

/**
 * What this application adds to the page. The rest of the page knows any contract; a team with contracts of its own
 * replaces this folder.
 */
type Application = {
  /** The top of the overview, with the core's own tiles among its own. */
  Overview: ComponentType<{ children: ComponentChildren }>;
  /** Pages of its own, by the first part of their address. */
  pages: Record<string, { title: string; Content: ComponentType<{ rest: string[] }> }>;
  /** How an argument of an event is written, where this application knows better than hex and decimals. */
  write(event: EventView, argument: string, value: unknown): ComponentChildren | undefined;
  /** Where what an event changed is to be seen. */
  changed(event: EventView): { name: string; href: string }[];
};

const AMOUNTS = new Set(["value", "amount", "reward", "grant", "limit"]);
const SHORT_TEXTS = new Set(["memo", "reason"]);
const ACCOUNTS = ["account", "from", "to", "beneficiary", "owner"];
const ZERO = `0x${"0".repeat(40)}`;

export const application: Application = {
  Overview: TokenOverview,
  pages: { accounts: { title: "Accounts", Content: AccountPage } },
  write(_, argument, value) {
    if (typeof value !== "string") return undefined;
    if (AMOUNTS.has(argument) && /^\d+$/.test(value)) {
      return (
        <span class="value" title={`${value} of the smallest unit`}>
          {tokens(value)} {SYMBOL}
        </span>
      );
    }
    const text = SHORT_TEXTS.has(argument) ? shortText(value) : undefined;
    return text === undefined ? undefined : <bdi class="value" title={value}>{`“${text}”`}</bdi>;
  },
  changed(event) {
    const found = ACCOUNTS.map(name => event.arguments?.[name]).filter(
      (value): value is string => typeof value === "string" && value !== ZERO,
    );
    return [...new Set(found)].map(address => ({ name: abbreviate(address), href: linkTo("accounts", address) }));
  },
};
