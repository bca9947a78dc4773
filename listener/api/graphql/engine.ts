import { renderGraphiQL } from "@graphql-yoga/render-graphiql";
import type { FastifyReply, FastifyRequest } from "fastify";
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
import type { Sql, Tx } from "../../db.ts";
import type { Log } from "../../log.ts";
import { toProblem } from "../problem.ts";
import { snapshot } from "../read.ts";
import { LIMITS, limitsRule } from "./limits.ts";
import type { GraphqlOptions } from "./mount.ts";
import { type Context, createLoader, createSchema } from "./schema.ts";
import { subscriptionFields } from "./subscriptions.ts";

type Asked = { params: { variables?: Record<string, unknown> } };

/** What answers at `/graphql`. Subscriptions end when `closing` aborts. */
export function createEngine({ app, reads, db, chainId, feed, statuses, explorer, log }: GraphqlOptions, closing: AbortSignal) {
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
  return createYoga<{ request: FastifyRequest; reply: FastifyReply }, Context>({
    schema: createSchema(reads, subscriptionFields({ app, feed, statuses, closing })),
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
