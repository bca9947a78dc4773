/**
 * Mines: searches in worker threads for a nonce that solves the token's challenge, and submits it.
 *
 *     npx hardhat run scripts/mine.ts --network localhost --count 3 --threads 2 --as 1
 */
import { availableParallelism } from "node:os";
import { formatUnits } from "ethers";
import { describeFailure } from "./support/failures.ts";
import { type Solution, searchInThreads, type Work } from "./support/mining.ts";
import { count, optional, readParameters } from "./support/parameters.ts";
import { common, type Opened, openToken, report, run } from "./support/script.ts";

await run("mine", async () => {
  const given = readParameters("mine", { count: optional(count(1, 1_000)), threads: optional(count(1, 64, 2)), ...common });
  const threads = given.threads ?? availableParallelism();
  const opened = await openToken(given);
  for (let solved = 0; solved < (given.count ?? 1); ) {
    const reward: bigint = await opened.token.getFunction("reward").staticCall();
    if (reward === 0n) throw new Error("there is nothing left to mine");
    const work = await readWork(opened);
    const solution = await searchWhileCurrent(opened, work, threads);
    if (!solution || !(await submit(opened, solution, reward))) continue;
    solved++;
  }
});

async function readWork({ token, sender, address, ethers }: Opened): Promise<Work> {
  const { chainId } = await ethers.provider.getNetwork();
  const [challenge, target] = await Promise.all([token.getFunction("challenge").staticCall(), token.getFunction("target").staticCall()]);
  return { chainId, token: address, challenge, beneficiary: sender, target };
}

/** Undefined if somebody else solved the challenge meanwhile. */
async function searchWhileCurrent(opened: Opened, work: Work, threads: number): Promise<Solution | undefined> {
  const overtaken = new AbortController();
  const watch = setInterval(async () => {
    const challenge = await opened.token
      .getFunction("challenge")
      .staticCall()
      .catch(() => work.challenge);
    if (challenge !== work.challenge) overtaken.abort();
  }, 500);
  const started = performance.now();
  const expected = Number(2n ** 256n / (work.target + 1n));
  console.log(`challenge ${work.challenge.slice(0, 10)}…, about ${expected} digests, ${threads} threads`);
  try {
    const solution = await searchInThreads(work, {
      threads,
      signal: overtaken.signal,
      onProgress: tried => showProgress(tried, expected, (performance.now() - started) / 1000),
    });
    if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
    if (!solution) console.log("somebody else was faster; starting again");
    return solution;
  } finally {
    clearInterval(watch);
  }
}

function showProgress(tried: number, expected: number, seconds: number): void {
  const line = `${tried} digests, ${Math.round(tried / seconds)}/s, ${Math.round((tried / expected) * 100)} % of the expected work`;
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${line}` : `${line}\n`);
}

/** False if the challenge changed on the way. */
async function submit({ token, sender, send }: Opened, { nonce, digest }: Solution, reward: bigint): Promise<boolean> {
  try {
    const done = await send("mine", sender, nonce);
    console.log(`${sender} mined ${formatUnits(reward)} with nonce ${nonce}`);
    report(done);
    return true;
  } catch (error) {
    if ((await token.getFunction("digestOf").staticCall(sender, nonce)) === digest) throw error;
    console.log(`too late (${describeFailure(error)}); starting again`);
    return false;
  }
}
