import { renderGraphiQL } from "@graphql-yoga/render-graphiql";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import {
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  NoSchemaIntrospectionCustomRule,
  parse,
  type ValidationRule,
  validate,
} from "graphql";
import { createYoga, type Plugin } from "graphql-yoga";
import type { App } from "../../app.ts";
import type { Db, Sql, Tx } from "../../db.ts";
import type { Feed } from "../../journal/feed.ts";
import type { Log } from "../../log.ts";
import type { Places } from "../places.ts";
import { policyFor, STYLES_OF_SCRIPTS } from "../policy.ts";
import { toProblem } from "../problem.ts";
import { type Read, snapshot } from "../read.ts";
import { patiently, STREAM_LIMITS, type StreamLimits } from "../slow-readers.ts";
import type { StatusTicker } from "../status-ticker.ts";
import { LIMITS, limitsRule } from "./limits.ts";
import { type Context, createLoader, createSchema } from "./schema.ts";
import { subscriptionFields } from "./subscriptions.ts";

export type GraphqlOptions = {
  app: App;
  reads: readonly Read[];
  db: Db;
  chainId: number;
  feed: Feed;
  statuses: StatusTicker;
  places: Places;
  /** Whether the schema may be asked for, and a page to try it out is served. */
  explorer: boolean;
  log: Log;
  limits?: Partial<StreamLimits> | undefined;
};

type Asked = { params: { variables?: Record<string, unknown> } };

/** `/graphql`: the same reads as under `/api/v1`, many in one request and of one moment, and subscriptions as server-sent events. */
export function mountGraphql(
  server: FastifyInstance,
  { app, reads, db, chainId, feed, statuses, places, explorer, log, limits }: GraphqlOptions,
): void {
  const closing = new AbortController();
  const checked = new WeakMap<DocumentNode, readonly GraphQLError[]>();
  const guards: Plugin<Asked & Context> = {
    onParse: ({ setParseFn }) => setParseFn((source: string) => parse(source, { maxTokens: LIMITS.tokens })),
    // What a document may cost depends on its variables. All else about it is found once: Yoga keeps the document of a text.
    onValidate({ addValidationRule, setValidationFn, context }) {
      if (!explorer) addValidationRule(NoSchemaIntrospectionCustomRule as ValidationRule);
      const limits: ValidationRule = limitsRule(context.params.variables ?? {});
      setValidationFn((schema: GraphQLSchema, document: DocumentNode, rules: ValidationRule[]) => {
        const known = checked.get(document) ?? validate(schema, document, rules);
        checked.set(document, known);
        return [...known, ...validate(schema, document, [limits])];
      });
    },
    // Whatever one operation reads is of one moment, and takes one connection.
    onExecute({ executeFn, setExecuteFn }) {
      setExecuteFn(args =>
        snapshot(db, tx => {
          const sql = db.options.pipeline ? tx : oneByOne(tx);
          return executeFn({ ...args, contextValue: { ...args.contextValue, sql, deliveries: createLoader(sql, chainId) } });
        }),
      );
    },
  };
  const yoga = createYoga<{ request: FastifyRequest; reply: FastifyReply }, Context>({
    schema: createSchema(reads, subscriptionFields({ app, feed, statuses, closing: closing.signal })),
    context: () => ({ sql: db, chainId, deliveries: createLoader(db, chainId) }),
    plugins: [guards],
    parserAndValidationCache: { validationCache: false },
    batching: { limit: LIMITS.batch },
    graphiql: explorer && { title: "Sluice: GraphQL", subscriptionsProtocol: "SSE" },
    renderGraphiQL,
    maskedErrors: { maskError: error => masked(error, log) },
    cors: false,
    multipart: false,
    landingPage: false,
    logging: false,
  });

  server.route({
    method: ["GET", "POST"],
    url: "/graphql",
    config: { scope: "read" },
    exposeHeadRoute: false,
    schema: { hide: true } as object,
    async handler(request, reply) {
      if (request.headers.accept?.includes("text/event-stream")) {
        reply.raw.once("close", places.take());
        // The server closes sockets that are idle for long; a subscription may be.
        request.raw.socket.setTimeout(0);
      }
      const response = await yoga.handleNodeRequestAndResponse(request, reply, { request, reply });
      reply.status(response.status);
      response.headers.forEach((value, name) => void reply.header(name, value));
      const type = response.headers.get("content-type");
      if (type?.startsWith("text/event-stream") && response.body) {
        const onSlow = () => log.info("a subscriber of GraphQL was too slow and was dropped");
        return reply.send(patiently(response.body, { ...STREAM_LIMITS, ...limits }, onSlow));
      }
      // Whole, for a body that is read as a stream costs more than many an answer.
      const body = await response.text();
      if (type?.startsWith("text/html")) reply.header("content-security-policy", policyFor(body, STYLES_OF_SCRIPTS));
      return reply.send(body);
    },
  });
  server.addHook("preClose", async () => closing.abort());
}

/** Fields are resolved side by side, and a connection that does not pipeline takes one statement at a time. */
function oneByOne(tx: Tx): Sql {
  let last: Promise<unknown> = Promise.resolve();
  const query = (text: string, values?: unknown[]) => {
    const result = last.then(() => tx.query(text, values));
    last = result.catch(() => {});
    return result;
  };
  return { query } as Sql;
}

/** What the outside learns of an error: of our own mistakes only that there was one. */
function masked(error: unknown, log: Log): Error {
  const original = error instanceof GraphQLError ? error.originalError : error;
  if (!original || original instanceof GraphQLError) return error as Error;
  const problem = toProblem(original);
  if (problem.status >= 500) log.error({ err: original }, "a GraphQL field failed");
  const { nodes, source, positions, path } = error as GraphQLError;
  return new GraphQLError(problem.message, {
    nodes,
    source,
    positions,
    path,
    extensions: { code: CODES[problem.status] ?? "INTERNAL", status: problem.status },
  });
}

const CODES: Record<number, string> = { 400: "BAD_USER_INPUT", 404: "NOT_FOUND", 503: "UNAVAILABLE" };
