import { z } from "zod";
import type { App } from "../app.ts";
import { transaction } from "../db.ts";
import { SluiceError } from "../errors.ts";
import { listDeadLetters, retryDeadLetters } from "../worker/dead-letters.ts";
import { chooseEvent } from "../worker/event-choice.ts";
import { replay, whyNotReplayed } from "../worker/replay.ts";
import { deadLetterOf, showDeadLetter } from "./dead-letters.ts";
import { operation } from "./operation.ts";
import { MAX_LIMIT } from "./page.ts";
import { HttpProblem } from "./problem.ts";
import { blockNumber, count } from "./schemas.ts";

const event = z.string().max(200).describe("an event's name, such as Transfer or Token.Transfer, or its id");
const dryRun = z.boolean().default(false).describe("only say what would be done");

/** What the commands `dead-letters retry` and `replay` do, for programs and for the page. */
export const repairs = (app: App) => [retryOperation(app), replayOperation(app)];

const retryOperation = (app: App) =>
  operation({
    method: "POST",
    path: "dead-letters/retry",
    tag: "dead letters",
    summary: "Put dead letters back into their queues",
    description: "They have all their attempts before them again. Only what is live by then is applied, so a retry may come late.",
    scope: "operate",
    body: z.strictObject({
      queue: z.string().max(100).optional().describe("those of this queue"),
      position: z.int().min(1).optional().describe("the one at this place of the queue"),
      event: event.optional(),
      all: z.literal(true).optional().describe("all of them"),
      dryRun,
    }),
    response: z.object({
      dryRun: z.boolean(),
      count,
      items: z.array(deadLetterOf).describe(`the first ${MAX_LIMIT}, as they were before`),
    }),
    async handle({ db, chainId, body }) {
      const { queue, position, all } = body;
      if (!all && queue === undefined && body.event === undefined) {
        throw new HttpProblem(400, "which dead letters? Say queue (with position for one), event, or all: true");
      }
      if (position !== undefined && queue === undefined) throw new HttpProblem(400, "position: it is one of a queue, so say queue too");
      if (queue !== undefined) routesOf(app, [queue]);
      const choice = {
        queue,
        position,
        event: body.event === undefined ? undefined : chosen(() => chooseEvent(app, chainId, body.event!)),
      };
      const letters = body.dryRun
        ? await listDeadLetters(db, chainId, choice)
        : await transaction(db, tx => retryDeadLetters(tx, chainId, choice));
      return { dryRun: body.dryRun, count: letters.length, items: letters.slice(0, MAX_LIMIT).map(showDeadLetter) };
    },
  });

const replayOperation = (app: App) =>
  operation({
    method: "POST",
    path: "replay",
    tag: "queues",
    summary: "Run events again through queues",
    description:
      "A projection takes each event back and applies it again in one transaction; a task runs once more, under the same key. What is under way, dead or not delivered yet is left alone, and counted.",
    scope: "operate",
    body: z.strictObject({
      queues: z
        .union([z.literal("all"), z.array(z.string().max(100)).min(1).max(100)])
        .describe("names of queues, or all of those that can be replayed"),
      fromBlock: blockNumber.optional(),
      toBlock: blockNumber.optional(),
      event: event.optional(),
      dryRun,
    }),
    response: z.object({
      dryRun: z.boolean(),
      queues: z.array(
        z.object({
          queue: z.string(),
          events: count.describe("that run again"),
          deliveries: count.describe("made for them"),
          open: count.describe("left alone: still under way"),
          dead: count.describe("left alone: dead letters, which are retried instead"),
          undelivered: count.describe("left alone: not delivered yet"),
        }),
      ),
      refused: z.array(z.string()).describe("why a queue was left out of all"),
    }),
    async handle({ db, chainId, body }) {
      const { queues, fromBlock, toBlock, dryRun } = body;
      if (fromBlock !== undefined && toBlock !== undefined && fromBlock > toBlock) {
        throw new HttpProblem(400, `fromBlock ${fromBlock} is above toBlock ${toBlock}`);
      }
      const routes = queues === "all" ? app.routes : routesOf(app, queues);
      const choice = body.event === undefined ? undefined : chosen(() => chooseEvent(app, chainId, body.event!));
      const refused = routes.flatMap(route => whyNotReplayed(route) ?? []);
      if (queues !== "all" && refused.length > 0) throw new HttpProblem(409, `${refused.join("; ")}: rebuild it instead`);
      const replayed = [];
      for (const route of routes.filter(route => !whyNotReplayed(route))) {
        replayed.push(await replay({ db, app, chainId, dryRun }, route, { fromBlock, toBlock, event: choice }));
      }
      return { dryRun, queues: replayed, refused };
    },
  });

function routesOf(app: App, queues: readonly string[]) {
  const unknown = queues.filter(name => !app.routes.some(({ queue }) => queue === name));
  if (unknown.length > 0) {
    throw new HttpProblem(
      400,
      `there is no queue ${unknown.join(", ")}; the queues are ${app.routes.map(({ queue }) => queue).join(", ")}`,
    );
  }
  return app.routes.filter(({ queue }) => queues.includes(queue));
}

/** What the caller named: that it does not exist is the caller's mistake. */
function chosen<T>(choose: () => T): T {
  try {
    return choose();
  } catch (error) {
    if (!(error instanceof SluiceError)) throw error;
    throw new HttpProblem(400, `event: ${error.message}${error.hint ? `; ${error.hint}` : ""}`);
  }
}
