import DataLoader from "dataloader";
import {
  GraphQLError,
  type GraphQLFieldConfig,
  type GraphQLFieldConfigArgumentMap,
  type GraphQLFieldConfigMap,
  GraphQLList,
  GraphQLNonNull,
  GraphQLObjectType,
  GraphQLSchema,
} from "graphql";
import { z } from "zod";
import type { Sql, Tx } from "../../db.ts";
import { settledUpTo } from "../../journal/settled.ts";
import { type Delivery, deliveriesOf, delivery } from "../deliveries.ts";
import type { Read } from "../read.ts";
import { capitalised, readsByField } from "./names.ts";
import { createTypes, type Types } from "./types.ts";

/** What resolvers share within one operation. `sql` is one moment of the database, or the pool where an operation has no end. */
export type Context = { sql: Sql; chainId: number; deliveries: DataLoader<number, Delivery[]> };

type Field = GraphQLFieldConfig<unknown, Context, Record<string, unknown>>;

/** One look-up for the deliveries of all events of an answer. */
export const createLoader = (sql: Sql, chainId: number) =>
  new DataLoader<number, Delivery[]>(async positions => {
    const found = await deliveriesOf(sql, chainId, positions);
    return positions.map(position => found.get(position) ?? []);
  });

/**
 * A schema with a field for each read: what REST answers at `accounts/:address/transfers` is `accountTransfers(address: …)`.
 * Arguments and answers are checked by the same schemas as there, and cursors are the same.
 *
 * @param subscriptions fields of the type Subscription
 * @throws SluiceError where two reads would have one name
 */
export function createSchema(
  reads: readonly Read[],
  subscriptions: (types: Types) => GraphQLFieldConfigMap<unknown, Context>,
): GraphQLSchema {
  const types = createTypes<Context>({ Event: types => ({ deliveries: deliveriesField(types) }) });
  const fields = Object.fromEntries([...readsByField(reads)].map(([name, read]) => [name, fieldOf(read, name, types)]));
  return new GraphQLSchema({
    query: new GraphQLObjectType({ name: "Query", fields }),
    subscription: new GraphQLObjectType({ name: "Subscription", fields: subscriptions(types) }),
  });
}

function fieldOf(read: Read, name: string, types: Types): Field {
  const { path, summary, description, params = z.object({}), query = z.object({}), response, queues, handle } = read;
  const shape = { ...params.shape, ...query.shape } as Record<string, z.ZodType>;
  const args: GraphQLFieldConfigArgumentMap = Object.fromEntries(
    Object.entries(shape).map(([key, part]) => [
      key,
      { type: types.inputOf(part, `${capitalised(name)}${capitalised(key)}`), description: part.description },
    ]),
  );
  const type = types.outputOf(response, capitalised(name));
  return {
    // What there is nothing of is null, where REST answers 404.
    type: type instanceof GraphQLNonNull ? type.ofType : type,
    description: [summary, description].filter(Boolean).join(". "),
    args,
    async resolve(_, given, { sql, chainId }) {
      const asked = textsOf(given);
      const pick = (part: z.ZodObject) => check(part, Object.fromEntries(Object.keys(part.shape).map(key => [key, asked[key]])));
      const asOf = queues ? await settledUpTo(sql, chainId, queues) : null;
      const answer = await handle({ sql: sql as Tx, chainId, params: pick(params) as never, query: pick(query) as never, asOf });
      return answer === undefined ? null : z.encode(response, answer);
    },
    extensions: { path },
  };
}

/** Arguments as they stand in a URL, for that is what the schemas of parameters take. What is null is not given. */
const textsOf = (given: Record<string, unknown>) =>
  Object.fromEntries(
    Object.entries(given).flatMap(([key, value]) => (value === null || value === undefined ? [] : [[key, String(value)]])),
  );

/** @throws GraphQLError that names every argument which cannot be accepted */
export function check<Schema extends z.ZodType>(schema: Schema, given: unknown): z.output<Schema> {
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const reasons = result.error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
  throw new GraphQLError(reasons.join("; "), { extensions: { code: "BAD_USER_INPUT" } });
}

const deliveriesField = (types: Types): GraphQLFieldConfig<{ position: number }, Context> => ({
  type: new GraphQLNonNull(new GraphQLList(types.outputOf(delivery, "Delivery"))),
  description: "what became of it, in the order in which it was made",
  resolve: async ({ position }, _, { deliveries }) => (await deliveries.load(position)).map(one => z.encode(delivery, one)),
});
