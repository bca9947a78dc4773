import type { FastifyInstance } from "fastify";
import type { z } from "zod";
import type { BlockRef } from "../chain/types.ts";
import { type Db, type Tx, transaction } from "../db.ts";
import { settledUpTo } from "../journal/settled.ts";
import { HttpProblem, problemResponses } from "./problem.ts";

/** What a read may use: one moment of the database, read only, and what was asked for, validated. */
export type Asked<Params, Query> = {
  sql: Tx;
  chainId: number;
  params: Params;
  query: Query;
  /** Where the read names `queues`: the block that their work is complete up to, of the same moment. Otherwise null. */
  asOf: BlockRef | null;
};

type Output<Schema> = Schema extends z.ZodType ? z.output<Schema> : Record<string, never>;

type Definition<Params, Query, Response extends z.ZodType> = {
  /** Below `/api/v1/`, such as `accounts/:address`. */
  path: string;
  /** Under which heading of the documentation it stands. */
  tag: string;
  summary: string;
  description?: string;
  params?: Params;
  query?: Query;
  response: Response;
  /** The queues whose work the answer shows. */
  queues?: readonly string[];
  /** The answer, or undefined where there is none: a 404. It may throw `HttpProblem`. */
  handle(asked: Asked<Output<Params>, Output<Query>>): Promise<z.output<Response> | undefined>;
};

/** A resource of the API as data: an application declares its own beside its projections, the core has some too. */
export type Read = Definition<z.ZodObject | undefined, z.ZodObject | undefined, z.ZodType>;

/** Checks a read's handler against its own schemas. */
export function read<Response extends z.ZodType, Params extends z.ZodObject | undefined, Query extends z.ZodObject | undefined>(
  definition: Definition<Params, Query, Response>,
): Read {
  return definition as unknown as Read;
}

/** Milliseconds that one statement of a read may take. */
const STATEMENT_TIMEOUT = 10_000;

/** One moment of the database: everything `work` reads belongs together, it can write nothing, and it ends in time. */
export function snapshot<T>(db: Db, work: (sql: Tx) => Promise<T>): Promise<T> {
  return transaction(
    db,
    async tx => {
      await tx.query(`set local statement_timeout = ${STATEMENT_TIMEOUT}`);
      return work(tx);
    },
    "repeatable read, read only",
  );
}

/** What Fastify is told of a resource, be it a read or an operation: how it is described, and what validates it. */
export function routeOf({ path, tag, summary, description, params, query }: Omit<Read, "handle" | "response" | "queues">) {
  return {
    url: `/api/v1/${path}`,
    schema: {
      tags: [tag],
      summary,
      ...(description ? { description } : {}),
      ...(params ? { params } : {}),
      ...(query ? { querystring: query } : {}),
    },
  };
}

/** Serves each read under `/api/v1`, described by the schemas that validate it. */
export function mountReads(server: FastifyInstance, reads: readonly Read[], { db, chainId }: { db: Db; chainId: number }): void {
  for (const read of reads) {
    const { response, queues, handle } = read;
    const { url, schema } = routeOf(read);
    server.route({
      method: "GET",
      url,
      config: { scope: "read" },
      schema: {
        ...schema,
        response: {
          200: { description: "OK", content: { "application/json": { schema: response } } },
          ...problemResponses(400, 401, 403, 404, 429, 500, 503),
        },
      },
      async handler(request) {
        const answer = await snapshot(db, async sql => {
          const asOf = queues ? await settledUpTo(sql, chainId, queues) : null;
          return handle({ sql, chainId, params: request.params as never, query: request.query as never, asOf });
        });
        if (answer === undefined) throw new HttpProblem(404, `nothing is known of ${request.url.split("?")[0]}`);
        return answer;
      },
    });
  }
}
