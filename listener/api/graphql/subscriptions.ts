import { type GraphQLFieldConfig, type GraphQLFieldConfigMap, GraphQLNonNull, type GraphQLObjectType, GraphQLUnionType } from "graphql";
import { z } from "zod";
import type { App } from "../../app.ts";
import { type Change, showCursor } from "../../journal/changes.ts";
import type { Feed, Follower } from "../../journal/feed.ts";
import { event, showEvent } from "../event.ts";
import { blockRef, time } from "../schemas.ts";
import { status } from "../status.ts";
import type { StatusTicker } from "../status-ticker.ts";
import { streamQuery } from "../stream.ts";
import { capitalised } from "./names.ts";
import { type Context, check } from "./schema.ts";
import type { Types } from "./types.ts";

const cursor = z.string().describe("its place; give the last one as `from` to go on after a break");
const eventChange = z.object({ cursor, event });
const reorgChange = z.object({
  cursor,
  ancestor: blockRef.nullable(),
  removed: z.array(z.string()).describe("ids of the events that do not count any more, the newest first"),
  at: time,
});

type Given = Record<string, unknown>;

/** `changes` and `status`: what `/api/v1/stream` sends, from the same feed. */
export const subscriptionFields =
  ({ app, feed, statuses, closing }: { app: App; feed: Feed; statuses: StatusTicker; closing: AbortSignal }) =>
  (types: Types): GraphQLFieldConfigMap<unknown, Context> => {
    const object = (schema: z.ZodType, name: string) => (types.outputOf(schema, name) as GraphQLNonNull<GraphQLObjectType>).ofType;
    const [eventType, reorgType] = [object(eventChange, "EventChange"), object(reorgChange, "ReorgChange")];
    const change = new GraphQLUnionType({
      name: "Change",
      types: [eventType, reorgType],
      resolveType: value => ("event" in (value as object) ? eventType.name : reorgType.name),
    });
    const changes: GraphQLFieldConfig<unknown, Context, Given> = {
      type: new GraphQLNonNull(change),
      description: "Events and reorgs in one order, from the live edge on or from a cursor on; nothing is missed and nothing comes twice.",
      args: Object.fromEntries(
        Object.entries(streamQuery.shape).map(([key, part]) => [
          key,
          { type: types.inputOf(part, `Changes${capitalised(key)}`), description: part.description },
        ]),
      ),
      async subscribe(_, given) {
        const { from, ...filter } = check(streamQuery, Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null)));
        return each(feed.follow({ from: from ?? (await feed.edge()), filter }), change => show(app, change));
      },
      resolve: value => value,
    };
    return {
      changes,
      status: {
        type: types.outputOf(status, "Status") as GraphQLNonNull<GraphQLObjectType>,
        description: "The status, when it changes and every 2 s at least.",
        subscribe: () => latestOf(statuses, closing),
        resolve: value => value,
      },
    };
  };

function show(app: App, change: Change): unknown {
  const cursor = showCursor(change.cursor);
  return change.type === "event"
    ? { cursor, event: z.encode(event, showEvent(app, change.row, change.finalized)) }
    : z.encode(reorgChange, { ...change, cursor });
}

/** Each change by itself. Not a generator: one that waits hears nothing of its `return`. */
function each<T>(follower: Follower, show: (change: Change) => T): AsyncIterableIterator<T> {
  let waiting: Change[] = [];
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      if (waiting.length === 0) {
        const { value, done } = await follower.next();
        if (done) return { value: undefined, done };
        waiting = value;
      }
      const [first, ...rest] = waiting;
      waiting = rest;
      return { value: show(first!), done: false };
    },
    async return() {
      await follower.return?.();
      return { value: undefined, done: true };
    },
  };
}

/** The newest status each time; those that came while nobody asked are left out. */
function latestOf(statuses: StatusTicker, closing: AbortSignal): AsyncIterableIterator<unknown> {
  let latest: string | undefined;
  let wake = () => {};
  const leaving = new AbortController();
  const signal = AbortSignal.any([leaving.signal, closing]);
  const unsubscribe = statuses.subscribe(text => {
    latest = text;
    wake();
  });
  signal.addEventListener("abort", () => {
    unsubscribe();
    wake();
  });
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    async next() {
      while (latest === undefined && !signal.aborted) await new Promise<void>(resolve => (wake = resolve));
      if (signal.aborted) return { value: undefined, done: true };
      const value: unknown = JSON.parse(latest!);
      latest = undefined;
      return { value, done: false };
    },
    async return() {
      leaving.abort();
      return { value: undefined, done: true };
    },
  };
}
