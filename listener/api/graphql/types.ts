import {
  GraphQLBoolean,
  GraphQLEnumType,
  type GraphQLFieldConfigMap,
  GraphQLFloat,
  type GraphQLInputType,
  GraphQLInt,
  GraphQLList,
  GraphQLNonNull,
  type GraphQLNullableType,
  GraphQLObjectType,
  type GraphQLOutputType,
  GraphQLScalarType,
  GraphQLString,
} from "graphql";
import type { z } from "zod";
import { SluiceError } from "../../errors.ts";
import { typeNames } from "../schemas.ts";
import { capitalised } from "./names.ts";

/** What is added to the type that a schema with this name becomes, such as a field that needs a look-up of its own. */
export type Additions<Context> = Record<string, (types: Types) => GraphQLFieldConfigMap<never, Context>>;

export type Types = {
  /** The type of a part of an answer. */
  outputOf(schema: z.ZodType, name: string): GraphQLOutputType;
  /** The type of an argument. One with a default need not be given; the schema itself fills it in. */
  inputOf(schema: z.ZodType, name: string): GraphQLInputType;
};

const NAME = /^[A-Za-z]\w*$/;
const MAX_INT = 2 ** 31 - 1;

const safeInt = new GraphQLScalarType({
  name: "SafeInt",
  description: "a whole number up to 2^53 - 1",
  parseValue(value) {
    if (!Number.isSafeInteger(value)) throw new TypeError("expected a whole number");
    return value;
  },
});
const json = new GraphQLScalarType({ name: "JSON", description: "any JSON" });

type Schema = {
  _zod: { def: Record<string, unknown> & { type: string } };
  meta(): Record<string, unknown> | undefined;
  description?: string;
};
type Output = GraphQLNullableType & GraphQLOutputType;

/**
 * GraphQL types out of the zod schemas that describe and check the JSON of REST. A schema is one type wherever it is used. Its
 * name is the one it was given in `typeNames`, or else where it was met first.
 */
export function createTypes<Context>(additions: Additions<Context> = {}): Types {
  const objects = new Map<Schema, GraphQLObjectType>();
  const leaves = new Map<string, GraphQLScalarType | GraphQLEnumType>();
  const taken = new Set<string>();

  /** An optional part of an answer may be null as well. */
  function outputOf(schema: z.ZodType, name: string): GraphQLOutputType {
    const { inner, nullable } = unwrap(schema);
    const type = nullableOutputOf(inner, name);
    return nullable ? type : new GraphQLNonNull(type);
  }

  function nullableOutputOf(schema: Schema, name: string): Output {
    const { def } = schema._zod;
    if (def.type === "array") return new GraphQLList(outputOf(def.element as z.ZodType, name.replace(/s$/, "")));
    if (def.type === "object") return objectOf(schema, name);
    return leafOf(schema, name);
  }

  function objectOf(schema: Schema, found: string): GraphQLObjectType {
    const known = objects.get(schema);
    if (known) return known;
    const name = typeNames.get(schema as unknown as z.ZodType)?.name ?? found;
    if (taken.has(name)) {
      throw new SluiceError(`GraphQL would have two types ${name}`, { hint: "give one of the two schemas a name of its own in typeNames" });
    }
    taken.add(name);
    const shape = schema._zod.def.shape as Record<string, z.ZodType>;
    const type = new GraphQLObjectType({
      name,
      fields: () => ({
        ...Object.fromEntries(
          Object.entries(shape).map(([key, part]) => [
            key,
            { type: outputOf(part, `${name}${capitalised(key)}`), description: part.description },
          ]),
        ),
        ...(additions[name]?.(types) as GraphQLFieldConfigMap<unknown, unknown>),
      }),
    });
    objects.set(schema, type);
    return type;
  }

  function leafOf(schema: Schema, name: string): GraphQLScalarType | GraphQLEnumType {
    const { def } = schema._zod;
    const named = typeNames.get(schema as unknown as z.ZodType)?.name;
    const { type = def.type, description, maximum } = (schema.meta() ?? {}) as { type?: string; description?: string; maximum?: number };
    if (named) return keep(named, () => new GraphQLScalarType({ name: named, description }));
    if (def.type === "enum") return enumOf(def.entries as Record<string, string>, name);
    if (type === "string") return GraphQLString;
    if (type === "boolean") return GraphQLBoolean;
    if (type === "integer") return maximum !== undefined && maximum <= MAX_INT ? GraphQLInt : safeInt;
    if (type === "number") return (schema as unknown as z.ZodNumber).isInt ? safeInt : GraphQLFloat;
    return json;
  }

  /** Values that GraphQL cannot name, such as 15m, stay text, which the schema checks. The same values are the same type. */
  function enumOf(entries: Record<string, string>, name: string): GraphQLScalarType | GraphQLEnumType {
    const values = Object.values(entries);
    if (!values.every(value => NAME.test(value) && !["true", "false", "null"].includes(value))) return GraphQLString;
    return keep(`enum ${values.join(" ")}`, () => {
      taken.add(name);
      return new GraphQLEnumType({ name, values: Object.fromEntries(values.map(value => [value, {}])) });
    });
  }

  function keep<T extends GraphQLScalarType | GraphQLEnumType>(key: string, make: () => T): T {
    const type = leaves.get(key) ?? make();
    leaves.set(key, type);
    return type as T;
  }

  const types: Types = {
    outputOf,
    inputOf(schema: z.ZodType, name: string): GraphQLInputType {
      const { inner, nullable } = unwrap(schema);
      const type = leafOf(inner, name);
      return nullable ? type : new GraphQLNonNull(type);
    },
  };
  return types;
}

/** Goes through `nullable`, `optional` and `default` to what they are about. A change of the description is no new schema. */
function unwrap(schema: z.ZodType): { inner: Schema; nullable: boolean } {
  let inner = schema as unknown as Schema & { _zod: { parent?: Schema } };
  let nullable = false;
  for (;;) {
    const { def } = inner._zod;
    if (def.type === "null" || def.type === "unknown") return { inner, nullable: true };
    if (def.type === "nullable" || def.type === "optional" || def.type === "default") {
      nullable = true;
      inner = def.innerType as typeof inner;
    } else if (def.type === "object" && inner._zod.parent?._zod.def === def) {
      inner = inner._zod.parent as typeof inner;
    } else {
      return { inner, nullable };
    }
  }
}
