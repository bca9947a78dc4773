import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { BlockRef } from "../chain/types.ts";
import type { Db, Tx } from "../db.ts";
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
  /** Milliseconds that an answer holds for everybody who asks the same. Only for what is about longer times than that. */
  holds?: number;
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

const BEGIN = `begin isolation level repeatable read, read only; set local statement_timeout = ${STATEMENT_TIMEOUT}`;

/**
 * One moment of the database: everything `work` reads belongs together, it can write nothing, and it ends in time. Nobody
 * waits for the beginning or the end: with a pool that pipelines, the first statement goes along with the beginning.
 */
export async function snapshot<T>(db: Db, work: (sql: Tx) => Promise<T>): Promise<T> {
  const tx = await db.connect();
  const begun = tx.query(BEGIN);
  begun.catch(() => {});
  try {
    const result = await work(tx);
    await begun;
    return result;
  } finally {
    tx.query("commit").then(
      () => tx.release(),
      error => tx.release(error as Error),
    );
  }
}

/** What Fastify is told of a resource, be it a read or an operation: how it is described, and what validates it. */
export function routeOf({ path, tag, summary, description, params, query }: Omit<Read, "handle" | "response" | "queues" | "holds">) {
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

/** Different questions whose answers are kept at a time. */
const MAX_KEPT = 100;

/** Keeps answers for so many milliseconds. Who asks while one is being made gets that one. A failure is not kept. */
function createAnswers(holds: number) {
  const kept = new Map<string, { answer: Promise<string>; until: number }>();
  return (question: string, make: () => Promise<string>): Promise<string> => {
    const now = performance.now();
    const found = kept.get(question);
    if (found && found.until > now) return found.answer;
    if (kept.size >= MAX_KEPT) kept.clear();
    const answer = make();
    kept.set(question, { answer, until: now + holds });
    answer.catch(() => kept.delete(question));
    return answer;
  };
}

/** Serves each read under `/api/v1`, described by the schemas that validate it. */
export function mountReads(server: FastifyInstance, reads: readonly Read[], { db, chainId }: { db: Db; chainId: number }): void {
  for (const read of reads) {
    const { response, queues, holds, handle } = read;
    const { url, schema } = routeOf(read);
    const answers = holds === undefined ? undefined : createAnswers(holds);
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
      async handler({ params, query, url }, reply) {
        const answer = () =>
          snapshot(db, async sql => {
            const asOf = queues ? await settledUpTo(sql, chainId, queues) : null;
            const found = await handle({ sql, chainId, params: params as never, query: query as never, asOf });
            if (found === undefined) throw new HttpProblem(404, `nothing is known of ${url.split("?")[0]}`);
            return found;
          });
        if (!answers) return answer();
        const text = answers(JSON.stringify([params, query]), async () => JSON.stringify(z.encode(response, await answer())));
        return reply.type("application/json; charset=utf-8").send(await text);
      },
    });
  }
}
