import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { Db } from "../db.ts";
import type { Log } from "../log.ts";
import type { Access } from "./keys.ts";
import { HttpProblem, problemResponses } from "./problem.ts";
import { routeOf } from "./read.ts";
import type { Scope } from "./scope.ts";

/** What an operation may use, and what was asked for, validated. `by` is whose key it was. */
export type Ordered<Params, Query, Body> = { db: Db; chainId: number; params: Params; query: Query; body: Body; by: Access; log: Log };

type Output<Schema> = Schema extends z.ZodType ? z.output<Schema> : Record<string, never>;

type Definition<Params, Query, Body, Response extends z.ZodType | undefined> = {
  method: "POST" | "PATCH" | "DELETE";
  /** Below `/api/v1/`, such as `webhooks/:id`. */
  path: string;
  /** Under which heading of the documentation it stands. */
  tag: string;
  summary: string;
  description?: string;
  /** What a key must allow. Reading alone never suffices to change something. */
  scope: Exclude<Scope, "read">;
  params?: Params;
  query?: Query;
  body?: Body;
  /** Of the answer. Left out where there is nothing to say: a 204. */
  response?: Response;
  /** Of a good answer; 200 unless told. */
  status?: 200 | 201 | 202;
  /** The answer, or undefined where what is named does not exist: a 404. It may throw `HttpProblem`. Its transactions are its own. */
  handle(
    ordered: Ordered<Output<Params>, Output<Query>, Body extends z.ZodType ? z.output<Body> : undefined>,
  ): Promise<(Response extends z.ZodType ? z.output<Response> : true) | undefined>;
};

/** What changes something, as data: the counterpart of `Read`. */
export type Operation = Definition<z.ZodObject | undefined, z.ZodObject | undefined, z.ZodType | undefined, z.ZodType | undefined>;

/**
 * Checks an operation's handler against its own schemas. Without `response` the handler gives `true`, and the answer is a 204.
 *
 * Objects of the body should be `z.strictObject`, so that a mistyped member is refused rather than ignored.
 */
export function operation<
  Response extends z.ZodType | undefined = undefined,
  Params extends z.ZodObject | undefined = undefined,
  Query extends z.ZodObject | undefined = undefined,
  Body extends z.ZodType | undefined = undefined,
>(definition: Definition<Params, Query, Body, Response>): Operation {
  return definition as unknown as Operation;
}

type Mounted = { db: Db; chainId: number; log: Log };

/** Serves each operation under `/api/v1`, described by the schemas that validate it, to keys with its scope only. Each is logged. */
export function mountOperations(server: FastifyInstance, operations: readonly Operation[], { db, chainId, log }: Mounted): void {
  for (const operation of operations) {
    const { method, path, scope, body, response, status = 200, handle } = operation;
    const { url, schema } = routeOf(operation);
    server.route({
      method,
      url,
      config: { scope },
      schema: {
        ...schema,
        ...(body ? { body } : {}),
        response: {
          ...(response
            ? { [status]: { description: "OK", content: { "application/json": { schema: response } } } }
            : { 204: z.undefined().describe("done; there is nothing to say") }),
          ...problemResponses(400, 401, 403, 404, 409, 413, 415, 429, 500, 503),
        },
      },
      async handler(request, reply) {
        const by = request.access!;
        const ordered = { db, chainId, params: request.params, query: request.query, body: request.body, by, log };
        const answer = await handle(ordered as never);
        if (answer === undefined) throw new HttpProblem(404, `nothing is known of ${request.url.split("?")[0]}`);
        log.info({ operation: `${method} ${path}`, params: request.params, key: by.id, name: by.name }, "done by an API key");
        return response ? reply.code(status).send(answer) : reply.code(204).send();
      },
    });
  }
}
