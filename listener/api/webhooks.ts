import { z } from "zod";
import type { App } from "../app.ts";
import type { Sql } from "../db.ts";
import type { Guard } from "../webhooks/address-guard.ts";
import {
  activeSecrets,
  changeEndpoint,
  createEndpoint,
  deleteEndpoint,
  type EndpointState,
  rotateSecret,
  setState,
} from "../webhooks/endpoints.ts";
import { readAttempts, readEndpoints, readMessages } from "../webhooks/read.ts";
import { replayMessages, retryDead, sendTest } from "../webhooks/replay.ts";
import { type Operation, operation } from "./operation.ts";
import { listOf, pageOf } from "./page.ts";
import { HttpProblem } from "./problem.ts";
import { type Read, read } from "./read.ts";
import { blockNumber, whole } from "./schemas.ts";
import { attempt, endpoint, fromBlock, message, settings, showEndpoint } from "./webhook-schemas.ts";

const tag = "webhooks";
const params = z.object({ id: z.string().regex(/^wh_[0-9a-f]{24}$/, "expected the id of a webhook") });
const secret = z.string().describe("whsec_…: it signs, and is shown here and nowhere again");

const MAX_ENDPOINTS = 1_000;
const DAY = 86_400_000;

const show = async (sql: Sql, chainId: number, id: string) => {
  const [found] = await readEndpoints(sql, chainId, id);
  return found && showEndpoint(found);
};

const messages = listOf("webhook-messages", message, z.int());

export const attemptOfMessage = attempt.extend({
  number: z.int(),
  sequence: z.int().describe("of the message"),
  attempt: z.int().describe("which one of this message"),
  answer: z.string().nullable().describe("the first KB of it"),
});
const attempts = listOf("webhook-attempts", attemptOfMessage, z.int());

/** Endpoints, what they are told, and every attempt at it. */
export const webhookReads = (): Read[] => [
  read({
    path: "webhooks",
    tag,
    summary: "Every webhook endpoint, the newest first",
    response: z.object({ items: z.array(endpoint) }),
    handle: async ({ sql, chainId }) => ({ items: (await readEndpoints(sql, chainId)).map(showEndpoint) }),
  }),
  read({
    path: "webhooks/:id",
    tag,
    summary: "One endpoint",
    params,
    response: endpoint,
    handle: ({ sql, chainId, params: { id } }) => show(sql, chainId, id),
  }),
  read({
    path: "webhooks/:id/messages",
    tag,
    summary: "What an endpoint is told, the newest first",
    params,
    query: z.strictObject({ ...messages.query, state: z.enum(["pending", "done", "dead"]).optional() }),
    response: messages.response,
    async handle({ sql, chainId, params: { id }, query: { limit, cursor, state } }) {
      if (!(await show(sql, chainId, id))) return undefined;
      const rows = await readMessages(sql, chainId, id, { before: cursor ?? Number.MAX_SAFE_INTEGER, limit: limit + 1, state });
      return pageOf(rows, limit, row => row.sequence);
    },
  }),
  read({
    path: "webhooks/:id/attempts",
    tag,
    summary: "Attempts to deliver, with what was answered, the newest first",
    description: "They are kept for seven days, and the last 10,000 of an endpoint.",
    params,
    query: z.strictObject({ ...attempts.query, sequence: whole(1, Number.MAX_SAFE_INTEGER).optional().describe("of one message") }),
    response: attempts.response,
    async handle({ sql, chainId, params: { id }, query: { limit, cursor, sequence } }) {
      if (!(await show(sql, chainId, id))) return undefined;
      const rows = await readAttempts(sql, chainId, id, { before: cursor ?? Number.MAX_SAFE_INTEGER, limit: limit + 1, sequence });
      return pageOf(rows, limit, row => row.number);
    },
  }),
];

/** Everything that changes an endpoint. It takes effect within a second, in every process. */
export function webhookOperations(app: App, guard: Guard): Operation[] {
  const { url, ...rest } = settings(app, guard);
  const become = (verb: string, state: EndpointState, summary: string) =>
    operation({
      method: "POST",
      path: `webhooks/:id/${verb}`,
      tag,
      summary,
      scope: "operate",
      params,
      response: endpoint,
      async handle({ db, chainId, params: { id } }) {
        await setState(db, chainId, id, state);
        return show(db, chainId, id);
      },
    });
  return [
    operation({
      method: "POST",
      path: "webhooks",
      tag,
      summary: "Create an endpoint",
      scope: "operate",
      body: z.strictObject({ url, ...z.object(rest).partial().shape, fromBlock: fromBlock.optional() }),
      response: endpoint.extend({ secret }),
      status: 201,
      async handle({ db, chainId, body: { fromBlock, ...given } }) {
        const { rows } = await db.query<{ count: number }>("select count(*) from webhooks where chain_id = $1", [chainId]);
        if (rows[0]!.count >= MAX_ENDPOINTS) throw new HttpProblem(409, `there are ${MAX_ENDPOINTS} endpoints already`);
        const created = await createEndpoint(db, chainId, given as never, fromBlock);
        return { ...(await show(db, chainId, created.id))!, secret: activeSecrets(created)[0]! };
      },
    }),
    operation({
      method: "PATCH",
      path: "webhooks/:id",
      tag,
      summary: "Change what is given of an endpoint",
      scope: "operate",
      params,
      body: z.strictObject(z.object({ url, ...rest }).partial().shape),
      response: endpoint,
      async handle({ db, chainId, params: { id }, body }) {
        await changeEndpoint(db, chainId, id, body as never);
        return show(db, chainId, id);
      },
    }),
    operation({
      method: "DELETE",
      path: "webhooks/:id",
      tag,
      summary: "Delete an endpoint with everything that is known of it",
      scope: "operate",
      params,
      handle: async ({ db, chainId, params: { id } }) => (await deleteEndpoint(db, chainId, id)) || undefined,
    }),
    become("pause", "paused", "Plan and send nothing until it is resumed; nothing is missed"),
    become("resume", "active", "Go on after a pause, or after it was disabled, with everything that waits"),
    operation({
      method: "POST",
      path: "webhooks/:id/rotate",
      tag,
      summary: "Add a secret; the one before it signs beside it for a while",
      scope: "operate",
      params,
      body: z
        .strictObject({
          overlap: z
            .int()
            .min(0)
            .max(30 * DAY)
            .default(DAY)
            .describe("milliseconds that the old one still signs"),
        })
        .default({ overlap: DAY }),
      response: endpoint.extend({ secret }),
      async handle({ db, chainId, params: { id }, body: { overlap } }) {
        const rotated = await rotateSecret(db, chainId, id, overlap);
        return rotated && { ...(await show(db, chainId, id))!, secret: activeSecrets(rotated)[0]! };
      },
    }),
    operation({
      method: "POST",
      path: "webhooks/:id/test",
      tag,
      summary: "Send a message of type test",
      scope: "operate",
      params,
      response: z.object({ sequence: z.int(), id: z.string() }),
      status: 202,
      handle: ({ db, chainId, params: { id } }) => sendTest(db, chainId, id),
    }),
    operation({
      method: "POST",
      path: "webhooks/:id/replay",
      tag,
      summary: "Tell again: dead letters, one event, or those of a range of blocks",
      description: "The ids stay the same, so a receiver that drops repetitions drops these too.",
      scope: "operate",
      params,
      body: z
        .strictObject({
          dead: z.literal(true).describe("its dead letters, instead of events"),
          sequence: z.int().min(1).describe("with dead: this one alone"),
          event: z.string().max(200).describe("events of this name, such as Token.Transfer"),
          id: z.string().max(200).describe("the event with this id"),
          fromBlock: blockNumber,
          toBlock: blockNumber,
        })
        .partial()
        .refine(body => Object.keys(body).length > 0, { error: "say what: dead, id, event, fromBlock or toBlock" }),
      response: z.object({ messages: z.int() }),
      status: 202,
      async handle({ db, chainId, params: { id }, body: { dead, sequence, ...choice } }) {
        if (!(await show(db, chainId, id))) return undefined;
        if (dead) return { messages: await retryDead(db, chainId, id, sequence) };
        const count = await replayMessages({ db, app, chainId, endpoint: id }, choice as never);
        return count === undefined ? undefined : { messages: count };
      },
    }),
  ];
}
