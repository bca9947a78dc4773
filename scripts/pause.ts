/**
 * Pauses the token, or starts it again.
 *
 *     npx hardhat run scripts/pause.ts --network localhost
 *     npx hardhat run scripts/pause.ts --network localhost --set off
 */
import { oneOf, optional, readParameters } from "./support/parameters.ts";
import { common, openToken, report, run } from "./support/script.ts";

await run("pause", async () => {
  const given = readParameters("pause", { set: optional(oneOf("on", "off")), ...common });
  const { address, send } = await openToken(given);
  const done = await send(given.set === "off" ? "unpause" : "pause");
  console.log(`${address} is ${given.set === "off" ? "running again" : "paused"}`);
  report(done);
});
