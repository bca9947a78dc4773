import {
  type ASTVisitor,
  type FragmentDefinitionNode,
  GraphQLError,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  type ValidationContext,
  valueFromASTUntyped,
} from "graphql";
import { DEFAULT_LIMIT, MAX_LIMIT } from "../page.ts";

/** What one operation may ask for. `cost`: objects that the answer may hold at most. */
export const LIMITS = { depth: 8, aliases: 15, cost: 5_000, tokens: 2_000, batch: 10 };

/** Items that a list without a `limit` is taken to have. */
const SHORT_LIST = 5;

type Size = { depth: number; aliases: number; cost: number };

/** Refuses operations that are too deep, too dear, or rename too much. A fragment is measured once, however often it is used. */
export const limitsRule =
  (variables: Record<string, unknown>) =>
  (context: ValidationContext): ASTVisitor => {
    const fragments = new Map<string, Size>();

    function sizeOf(selections: readonly SelectionNode[]): Size {
      return selections.map(sizeOfOne).reduce(beside, { depth: 0, aliases: 0, cost: 0 });
    }

    function sizeOfOne(node: SelectionNode): Size {
      if (node.kind === Kind.INLINE_FRAGMENT) return sizeOf(node.selectionSet.selections);
      if (node.kind === Kind.FRAGMENT_SPREAD) return sizeOfFragment(node.name.value);
      const aliases = node.alias ? 1 : 0;
      // Introspection has its own rule, and tools ask for it deeper than any data goes.
      if (node.name.value.startsWith("__")) return { depth: 0, aliases, cost: 0 };
      if (!node.selectionSet) return { depth: 1, aliases, cost: 0 };
      const inner = sizeOf(node.selectionSet.selections);
      const limit = node.arguments?.find(({ name }) => name.value === "limit");
      const given = limit ? valueFromASTUntyped(limit.value, variables) : undefined;
      const items = limit ? Math.max(1, typeof given === "number" ? given : MAX_LIMIT) : node.name.value === "items" ? 1 : undefined;
      const times = items ?? (hasItems(node.selectionSet.selections) ? DEFAULT_LIMIT : SHORT_LIST);
      return { depth: inner.depth + 1, aliases: aliases + inner.aliases, cost: 1 + times * inner.cost };
    }

    function hasItems(selections: readonly SelectionNode[]): boolean {
      return selections.some(selection => selection.kind !== Kind.FIELD || selection.name.value === "items");
    }

    function sizeOfFragment(name: string): Size {
      const known = fragments.get(name);
      if (known) return known;
      // One that comes back to itself is refused by a rule of its own.
      fragments.set(name, { depth: 0, aliases: 0, cost: 0 });
      const fragment = context.getFragment(name) as FragmentDefinitionNode | undefined;
      const size = sizeOf(fragment?.selectionSet.selections ?? []);
      fragments.set(name, size);
      return size;
    }

    return {
      OperationDefinition(node: OperationDefinitionNode) {
        const size = sizeOf(node.selectionSet.selections);
        for (const what of ["depth", "aliases", "cost"] as const) {
          if (size[what] <= LIMITS[what]) continue;
          const detail = `the ${what} of this operation is ${size[what]}, allowed are ${LIMITS[what]}; ask for less at a time`;
          context.reportError(new GraphQLError(detail, { nodes: node, extensions: { code: "TOO_MUCH" } }));
        }
      },
    };
  };

const beside = (a: Size, b: Size): Size => ({
  depth: Math.max(a.depth, b.depth),
  aliases: a.aliases + b.aliases,
  cost: a.cost + b.cost,
});
