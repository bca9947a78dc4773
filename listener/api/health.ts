import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { type Db, isDbOutage } from "../db.ts";
import { readStatus, type Status } from "../journal/status.ts";
import { HttpProblem, problemResponses } from "./problem.ts";

/** Milliseconds that the database has for its answer before it counts as away. */
const PATIENCE = 2_000;

/** `/healthz`: the process runs. `/readyz`: what is read here is fresh, or 503 with every reason why not. */
export function mountHealth(server: FastifyInstance, { db, chainId, maxLag }: { db: Db; chainId: number; maxLag: number }): void {
  server.get(
    "/healthz",
    {
      config: { scope: "open" },
      schema: {
        tags: ["health"],
        summary: "The process runs",
        response: { 200: { description: "OK", content: { "application/json": { schema: z.object({ alive: z.literal(true) }) } } } },
      },
    },
    async () => ({ alive: true }),
  );
  server.get(
    "/readyz",
    {
      config: { scope: "open" },
      schema: {
        tags: ["health"],
        summary: "Answers are fresh",
        description:
          "503 with `reasons` while the database is away, the journal is halted, no listener leads, or the tip is too far behind the head.",
        response: {
          200: { description: "OK", content: { "application/json": { schema: z.object({ ready: z.literal(true), lag: z.int() }) } } },
          ...problemResponses(503),
        },
      },
    },
    async () => {
      const status = await statusOrReason(db, chainId);
      const reasons = typeof status === "string" ? [status] : reasonsAgainst(status, maxLag);
      if (reasons.length > 0) throw new HttpProblem(503, `not ready: ${reasons.join("; ")}`, { members: { ready: false, reasons } });
      return { ready: true, lag: (status as Status).lag };
    },
  );
}

/** Milliseconds without an answer from the node after which what is read here counts as old. */
const NODE_PATIENCE = 30_000;

function reasonsAgainst({ tip, leader, halted, lag, headAt, head, finalized }: Status, maxLag: number): string[] {
  const reasons: string[] = [];
  if (halted) reasons.push(`halted since ${halted.at}: ${halted.reason}; run \`npm run resync\``);
  else if (leader === null) reasons.push("no listener leads");
  if (tip === null) reasons.push("nothing of this chain is in the journal yet");
  if (head !== null && finalized && head < finalized.number - maxLag)
    reasons.push(`the node's head ${head} is below block ${finalized.number}, which was final: it is behind, or its chain was set back`);
  const silence = headAt === null ? 0 : Date.now() - Date.parse(headAt);
  if (silence > NODE_PATIENCE) reasons.push(`the node has not answered for ${Math.round(silence / 1_000)} s`);
  if (lag !== null && lag > maxLag) reasons.push(`the tip is ${lag} blocks behind the head, allowed are ${maxLag}`);
  return reasons;
}

async function statusOrReason(db: Db, chainId: number): Promise<Status | string> {
  const away = "the database does not answer";
  const patience = Promise.withResolvers<string>();
  const timer = setTimeout(() => patience.resolve(away), PATIENCE);
  const status = readStatus(db, chainId).catch(error => {
    if (isDbOutage(error)) return away;
    throw error;
  });
  // Whatever it says after that nobody waits for.
  status.catch(() => {});
  return Promise.race([status, patience.promise]).finally(() => clearTimeout(timer));
}
