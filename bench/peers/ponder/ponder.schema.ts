import { index, onchainTable } from "ponder";

export const transfer = onchainTable(
  "transfer",
  t => ({
    id: t.text().primaryKey(),
    from: t.hex().notNull(),
    to: t.hex().notNull(),
    amount: t.bigint().notNull(),
    block: t.bigint().notNull(),
    timestamp: t.bigint().notNull(),
    transactionHash: t.hex().notNull(),
    logIndex: t.integer().notNull(),
  }),
  table => ({ from: index().on(table.from), to: index().on(table.to) }),
);

export const account = onchainTable("account", t => ({ address: t.hex().primaryKey(), balance: t.bigint().notNull() }));
