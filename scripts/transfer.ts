/**
 * Transfers tokens, with a memo if one is given.
 *
 *     npx hardhat run scripts/transfer.ts --network localhost --to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --amount 12.5 --memo invoice-42
 */
import { encodeBytes32String, formatUnits } from "ethers";
import { address, amount, optional, readParameters, shortText } from "./support/parameters.ts";
import { common, openToken, report, run } from "./support/script.ts";

await run("transfer", async () => {
  const given = readParameters("transfer", { to: address, amount, memo: optional(shortText), ...common });
  const { sender, send } = await openToken(given);
  const done = given.memo
    ? await send("transferWithMemo", given.to, given.amount, encodeBytes32String(given.memo))
    : await send("transfer", given.to, given.amount);
  console.log(`${sender} transferred ${formatUnits(given.amount)} to ${given.to}`);
  report(done);
});
