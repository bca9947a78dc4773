import { z } from "zod";
import { describeFailure } from "../../scripts/support/failures.ts";
import type { Crowd } from "../../scripts/support/traffic.ts";
import { type Operation, operation } from "../api/operation.ts";
import { HttpProblem } from "../api/problem.ts";
import { address, amount, count } from "../api/schemas.ts";

/** What the page's buttons do to a development chain. Only `start` declares these, and only there; anywhere else they are a 404. */
export type Demo = {
  crowd: Crowd;
  /** Replaces the chain's last blocks; left out where the chain cannot be told to. */
  reorg?: (depth: number) => Promise<unknown>;
};

const sent = z.object({ transactionHash: z.string() });
const done = z.object({ done: z.literal(true) });
const MAX_BURST = 1_000;
const MAX_DEPTH = 12;

/** An operation under `/api/v1/demo`. What the chain or the contract refuses is a 409 with the reason. */
function demo<Body extends z.ZodType, Response extends z.ZodType>(
  name: string,
  summary: string,
  { body, response, act }: { body: Body; response: Response; act: (body: z.output<Body>) => Promise<z.output<Response>> },
): Operation {
  return operation({
    method: "POST",
    path: `demo/${name}`,
    tag: "demo",
    summary,
    scope: "operate",
    body,
    response,
    handle: async ({ body }) =>
      act(body as z.output<Body>).catch(error => {
        throw new HttpProblem(409, `the chain refuses: ${describeFailure(error)}`);
      }) as never,
  });
}

const nothing = z.strictObject({});
const transaction = (hash: string) => ({ transactionHash: hash });

export function demoOperations({ crowd, reorg }: Demo): Operation[] {
  const operations = [
    demo("mint", "Mint to an account", {
      body: z.strictObject({ to: address, amount }),
      response: sent,
      act: async ({ to, amount }) => transaction(await crowd.mint(to, amount)),
    }),
    demo("transfer", "Transfer from a development account", {
      body: z.strictObject({ from: address.optional(), to: address, amount }),
      response: sent,
      act: async ({ from, to, amount }) => transaction(await crowd.transfer(to, amount, from)),
    }),
    demo("mine", "Solve the challenge and mine the reward", {
      body: nothing,
      response: sent,
      act: async () => transaction(await crowd.mine()),
    }),
    demo("pause", "Pause the token", { body: nothing, response: done, act: () => crowd.pause().then(() => ({ done: true as const })) }),
    demo("unpause", "Start the token again", {
      body: nothing,
      response: done,
      act: () => crowd.unpause().then(() => ({ done: true as const })),
    }),
    demo("burst", "Send many small transfers at once", {
      body: z.strictObject({ count: z.int().min(1).max(MAX_BURST).default(200) }),
      response: z.object({ sent: count, failed: count }),
      act: ({ count }) => crowd.burst(count),
    }),
  ];
  if (!reorg) return operations;
  const replace = demo("reorg", "Replace the chain's last blocks", {
    body: z.strictObject({ depth: z.int().min(1).max(MAX_DEPTH).default(3) }),
    response: done,
    act: ({ depth }) => reorg(depth).then(() => ({ done: true as const })),
  });
  return [...operations, replace];
}
