import { ponder } from "ponder:registry";
import { account, transfer } from "ponder:schema";
import { zeroAddress } from "viem";

ponder.on("Token:Transfer", async ({ event, context }) => {
  const { from, to, value } = event.args;
  await context.db.insert(transfer).values({
    id: event.id,
    from,
    to,
    amount: value,
    block: event.block.number,
    timestamp: event.block.timestamp,
    transactionHash: event.transaction.hash,
    logIndex: event.log.logIndex,
  });
  const change = (address: `0x${string}`, by: bigint) =>
    context.db
      .insert(account)
      .values({ address, balance: by })
      .onConflictDoUpdate(row => ({ balance: row.balance + by }));
  if (from !== zeroAddress) await change(from, -value);
  if (to !== zeroAddress) await change(to, value);
});
