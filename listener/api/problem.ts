import { STATUS_CODES } from "node:http";
import type { FastifyInstance, FastifyReply } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { z } from "zod";
import { isDbOutage } from "../db.ts";
import { describe } from "../errors.ts";
import { createThrottle, type Log } from "../log.ts";

/** RFC 9457 problem details, what every error looks like. */
export const problem = z.looseObject({
  type: z.string().describe("about:blank: the status says all there is to say"),
  title: z.string(),
  status: z.int(),
  detail: z.string().optional(),
  errors: z
    .array(z.object({ in: z.string(), name: z.string(), reason: z.string() }))
    .optional()
    .describe("each parameter that cannot be accepted, and why"),
});
export type Problem = z.infer<typeof problem>;

export const PROBLEM_TYPE = "application/problem+json";

/** An answer that is an error. `members` are added to the problem; nothing internal may be among them. */
export class HttpProblem extends Error {
  readonly status: number;
  readonly members: Record<string, unknown>;
  readonly headers: Record<string, string>;

  constructor(status: number, detail: string, options: { members?: Record<string, unknown>; headers?: Record<string, string> } = {}) {
    super(detail);
    this.name = "HttpProblem";
    this.status = status;
    this.members = options.members ?? {};
    this.headers = options.headers ?? {};
  }
}

/** The responses that a route has besides its good one, for its schema. */
export function problemResponses(...statuses: number[]) {
  return Object.fromEntries(
    statuses.map(status => [status, { description: STATUS_CODES[status]!, content: { [PROBLEM_TYPE]: { schema: problem } } }]),
  );
}

export const problemOf = (status: number, detail: string, members: Record<string, unknown> = {}): Problem => ({
  type: "about:blank",
  title: STATUS_CODES[status] ?? "Error",
  status,
  detail,
  ...members,
});

const QUERY_CANCELED = "57014";
const READ_ONLY = "25006";
const REPORT_EVERY = 30_000;

/** Answers every error with a problem. What is our fault is logged, and the outside learns nothing of it. */
export function answerProblems(server: FastifyInstance, log: Log): void {
  const reportOutage = createThrottle(REPORT_EVERY, reason => log.warn({ reason }, "the API cannot reach the database"));

  const send = (reply: FastifyReply, found: HttpProblem) =>
    reply
      .code(found.status)
      .headers(found.headers)
      .type(PROBLEM_TYPE)
      .send(problemOf(found.status, found.message, found.members));

  server.setNotFoundHandler((request, reply) =>
    send(reply, new HttpProblem(404, `there is nothing at ${request.method} ${pathOf(request.url)}`)),
  );
  server.setErrorHandler((error, request, reply) => {
    const found = toProblem(error);
    if (isAway(error)) reportOutage(describe(error));
    else if (found.status >= 500 && !(error instanceof HttpProblem))
      log.error({ err: error, path: pathOf(request.url) }, "a request failed");
    return send(reply, found);
  });
}

/** Elsewhere a read-only server is one that fails over; here every transaction is read only, and a write is our mistake. */
export const isAway = (error: unknown) => (error as { code?: string }).code !== READ_ONLY && isDbOutage(error);

const pathOf = (url: string) => url.split("?")[0]!.slice(0, 200);

/** What an error is to the outside: nothing internal is in it. */
export function toProblem(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (hasZodFastifySchemaValidationErrors(error)) {
    const context = (error as { validationContext?: string }).validationContext;
    const place = context === "querystring" ? "query" : context === "params" ? "path" : (context ?? "request");
    const errors = error.validation.flatMap(({ instancePath, message, params }) =>
      Array.isArray(params.keys)
        ? params.keys.map(key => ({ in: place, name: String(key), reason: "there is no such parameter" }))
        : [{ in: place, name: instancePath.slice(1), reason: message ?? "not valid" }],
    );
    const detail = errors.map(({ name, reason }) => `${name}: ${reason}`).join("; ");
    return new HttpProblem(400, detail, { members: { errors } });
  }
  if ((error as { code?: string }).code === QUERY_CANCELED) {
    return new HttpProblem(503, "the database took too long over this; ask for less, such as a smaller range");
  }
  if (isAway(error)) return new HttpProblem(503, "the database does not answer", { headers: { "retry-after": "2" } });
  const status = (error as { statusCode?: number }).statusCode ?? 500;
  if (status >= 400 && status < 500) return new HttpProblem(status, (error as Error).message);
  return new HttpProblem(500, "something went wrong here; the log of the server says what");
}
