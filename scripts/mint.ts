/**
 * Mints tokens. The account needs the minter role, which the one that deployed has.
 *
 *     npx hardhat run scripts/mint.ts --network localhost --to 0x70997970C51812dc3A010C7d01b50e0d17dc79C8 --amount 1000 --reason payroll
 */
import { encodeBytes32String, formatUnits } from "ethers";
import { address, amount, optional, readParameters, shortText } from "./support/parameters.ts";
import { common, openToken, report, run } from "./support/script.ts";

await run("mint", async () => {
  const given = readParameters("mint", { to: address, amount, reason: optional(shortText), ...common });
  const { sender, send } = await openToken(given);
  const done = await send("mint", given.to, given.amount, encodeBytes32String(given.reason ?? "manual"));
  console.log(`${sender} minted ${formatUnits(given.amount)} to ${given.to}`);
  report(done);
});
