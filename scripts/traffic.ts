/**
 * Drives mixed traffic against the token on a development chain, until stopped or for a time.
 *
 *     npx hardhat run scripts/traffic.ts --network localhost --rate 10 --for 30s --seed 7
 */
import { network } from "hardhat";
import { InputError } from "./support/input-error.ts";
import { count, duration, optional, rate, readParameters } from "./support/parameters.ts";
import { common, openToken, run } from "./support/script.ts";
import { openCrowd } from "./support/traffic.ts";

await run("traffic", async () => {
  const { token } = common;
  const parameters = { rate: optional(rate), seed: optional(count(0, 2 ** 32 - 1, 7)), for: optional(duration), token };
  const given = readParameters("traffic", parameters);
  const { networkConfig } = await network.create();
  if (networkConfig.type !== "http") throw new InputError("traffic needs a running node; expected --network localhost");
  const { address } = await openToken(given);

  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  process.once("SIGTERM", () => stop.abort());
  if (given.for) setTimeout(() => stop.abort(), given.for * 1000);

  const crowd = await openCrowd({ rpcUrl: await networkConfig.url.getUrl(), address, seed: given.seed });
  console.log(`traffic to ${address} with seed ${crowd.seed}, ${given.rate ?? 5} transactions a second; Ctrl-C ends it`);
  const report = await crowd.traffic({
    rate: given.rate,
    signal: stop.signal,
    onTransaction: ({ kind, hash, error }) => console.log(`${kind.padEnd(16)} ${hash ?? `failed: ${error}`}`),
  });
  crowd.close();
  const kinds = Object.entries(report.kinds).map(([kind, times]) => `${kind} ${times}`);
  console.log(`seed ${report.seed}: sent ${report.sent}, failed ${report.failed} (${kinds.join(", ")})`);
});
