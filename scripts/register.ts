/**
 * Registers an account of the network under a name.
 *
 *     npx hardhat run scripts/register.ts --network localhost --name alice --as 1
 */
import { personName, readParameters } from "./support/parameters.ts";
import { common, openToken, report, run } from "./support/script.ts";

await run("register", async () => {
  const given = readParameters("register", { name: personName, ...common });
  const { sender, send } = await openToken(given);
  const done = await send("register", given.name);
  console.log(`${sender} is registered as ${given.name}`);
  report(done);
});
