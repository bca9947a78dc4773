import type { App, Projection, Route } from "../../listener/app.ts";
import type { Tx } from "../../listener/db.ts";
import { type Added, meterApp } from "./meter.ts";

type Hook = (operation: "apply" | "revert", events: readonly Added[], tx: Tx) => unknown;

/**
 * An entry per event and a total per account; an event without an amount counts as 1. It tolerates nothing: an event that is applied twice, or reverted where it
 * was not applied, is an error.
 */
export function entries(before?: Hook): Projection<Added> {
  async function total(tx: Tx, events: readonly Added[], sign: bigint): Promise<void> {
    const changes = new Map<string, bigint>();
    for (const { arguments: given } of events) changes.set(given.who, (changes.get(given.who) ?? 0n) + (given.amount ?? 1n) * sign);
    for (const [who, change] of [...changes].sort()) {
      await tx.query(
        "insert into totals as t values ($1, $2, $3) on conflict (chain_id, who) do update set total = t.total + excluded.total",
        [events[0]!.chainId, who, change],
      );
      await tx.query("delete from totals where chain_id = $1 and who = $2 and total = 0", [events[0]!.chainId, who]);
    }
  }
  return {
    name: "entries",
    tables: ["entries", "totals"],
    migrations: [
      `create table entries (chain_id bigint, position bigint, amount numeric(78,0) not null, primary key (chain_id, position));
       create table totals (chain_id bigint, who text, total numeric(78,0) not null, primary key (chain_id, who));`,
    ],
    async apply(tx, events) {
      await before?.("apply", events, tx);
      for (const { chainId, position, arguments: given } of events)
        await tx.query("insert into entries values ($1, $2, $3)", [chainId, position, given.amount ?? 1n]);
      await total(tx, events, 1n);
    },
    async revert(tx, events) {
      await before?.("revert", events, tx);
      const { rowCount } = await tx.query("delete from entries where chain_id = $1 and position = any($2)", [
        events[0]!.chainId,
        events.map(({ position }) => position),
      ]);
      if (rowCount !== events.length) throw new Error(`reverted ${events.length} events, of which ${rowCount} were applied`);
      await total(tx, events, -1n);
    },
  };
}

/** Entries of two events, fed through a queue each. */
export function entriesApp(before?: Hook, ...others: Route[]): App {
  const projection = entries(before);
  return meterApp(
    { queue: "added", events: ["Meter.Added"], projection, batch: 3 },
    { queue: "named", events: ["Meter.Named"], projection },
    ...others,
  );
}
