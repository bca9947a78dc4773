import { PassThrough } from "node:stream";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { z } from "zod";
import type { App } from "../app.ts";
import { describe } from "../errors.ts";
import { type Change, type Cursor, CursorAheadError, isBefore, parseCursor, showCursor } from "../journal/changes.ts";
import type { Feed, Follower } from "../journal/feed.ts";
import type { Log } from "../log.ts";
import { event, showEvent } from "./event.ts";
import type { Places } from "./places.ts";
import { HttpProblem, problemResponses } from "./problem.ts";
import { address } from "./schemas.ts";
import { DROPPED, drained, part, STREAM_LIMITS, type StreamLimits } from "./slow-readers.ts";
import type { StatusTicker } from "./status-ticker.ts";

/** Milliseconds after which a reader that lost its stream comes back; at the end of the server each after another time. */
const RETRY = 1_000;
const RETRY_SPREAD = 2_000;

const DESCRIPTION = `Server-sent events, without end:

- \`event\`: a log of ours, in the shape of an item of \`/api/v1/events\`, with its \`cursor\`;
- \`reorg\`: \`{ancestor: {number, hash}, removed: [event ids], at}\`: these events, the newest first, do not count any more;
- \`status\`: the body of \`/api/v1/status\`, when it changes and every 2 s at least. Silence means that the database is away.

The id of a message is its place, \`{last event's position}-{number of reorgs}\`. After a break send it as \`Last-Event-ID\`, as browsers
do by themselves, or as \`from\`: nothing is missed and nothing comes twice, whichever server answers. Without it the stream begins
with what happens next. \`from=0-0\` begins with the first event. 409 says that the place is of a journal that was there before.

A reader that does not take what it is sent within ${STREAM_LIMITS.patience / 1_000} s is dropped, and may come back to where it was.`;

const cursorParameter = z
  .codec(z.string(), z.custom<Cursor>(), {
    decode(text, context) {
      const cursor = parseCursor(text);
      if (cursor) return cursor;
      context.issues.push({ code: "custom", input: text, message: "expected a cursor of the stream, such as 1024-3" });
      return z.NEVER;
    },
    encode: showCursor,
  })
  .meta({ type: "string", pattern: "^[0-9]+-[0-9]+$" });

/** What a reader of the stream may ask for. */
export const streamQuery = z.strictObject({
  event: z.string().max(200).optional().describe("only events of this name, such as Transfer"),
  contract: z.string().max(200).optional().describe("only events of this contract, such as SluiceToken"),
  account: address.optional().describe("only events with this address among their arguments"),
  from: cursorParameter.optional().describe("the place to go on from; the header Last-Event-ID goes before it"),
});

type StreamOptions = { feed: Feed; statuses: StatusTicker; places: Places; app: App; log: Log; limits?: Partial<StreamLimits> | undefined };

/** `/api/v1/stream`: what happens to the journal, as it happens, as server-sent events. */
export function mountStream(server: FastifyInstance, { feed, statuses, places, app, log, limits }: StreamOptions): void {
  const { buffer, patience } = { ...STREAM_LIMITS, ...limits };
  const open = new Set<PassThrough>();
  const show = createTexts(app);

  server.route({
    method: "GET",
    url: "/api/v1/stream",
    exposeHeadRoute: false,
    config: { scope: "read" },
    schema: {
      tags: ["stream"],
      summary: "What happens, as it happens",
      description: DESCRIPTION,
      querystring: streamQuery,
      response: {
        200: { description: "OK", content: { "text/event-stream": { schema: z.string() } } },
        ...problemResponses(400, 401, 403, 409, 429, 500, 503),
      },
    },
    async handler(request, reply) {
      const { from, ...filter } = request.query as z.output<typeof streamQuery>;
      const edge = await feed.edge();
      const start = lastEventId(request) ?? from ?? edge;
      if (isBefore(edge, start)) {
        throw new HttpProblem(409, `${new CursorAheadError(start, edge).message}; begin again without it`);
      }
      const leave = places.take();
      const out = new PassThrough({ highWaterMark: buffer });
      open.add(out);
      // The server closes sockets that are idle for long, and this one may be while the database is away.
      request.raw.socket.setTimeout(0);
      const follower = feed.follow({ from: start, filter });
      const onSlow = () => log.info({ cursor: showCursor(follower.cursor()) }, "a reader of the stream was too slow and was dropped");
      void pump(out, { follower, statuses, show, patience, onSlow })
        .catch(error => log.warn({ reason: describe(error) }, "a stream ended"))
        .finally(() => {
          open.delete(out);
          leave();
        });
      return reply
        .headers({ "content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no", connection: "close" })
        .send(out);
    },
  });

  server.addHook("preClose", async () => {
    for (const out of open) out.end(`retry: ${Math.round(RETRY + Math.random() * RETRY_SPREAD)}\n: the server closes\n\n`);
  });
}

function lastEventId({ headers }: FastifyRequest): Cursor | undefined {
  const given = headers["last-event-id"];
  if (given === undefined || given === "") return undefined;
  const cursor = parseCursor(String(given));
  if (cursor) return cursor;
  const reason = "expected a cursor of the stream, such as 1024-3";
  throw new HttpProblem(400, `Last-Event-ID: ${reason}`, { members: { errors: [{ in: "headers", name: "last-event-id", reason }] } });
}

/** A change as the text of a message. Made once, however many readers it goes to. */
function createTexts(app: App): (change: Change) => string {
  const texts = new WeakMap<Change, string>();
  const make = (change: Change) => {
    const cursor = showCursor(change.cursor);
    const data =
      change.type === "event"
        ? { ...z.encode(event, showEvent(app, change.row, change.finalized)), cursor }
        : { ancestor: change.ancestor, removed: change.removed, at: change.at.toISOString() };
    return `event: ${change.type}\nid: ${cursor}\ndata: ${JSON.stringify(data)}\n\n`;
  };
  return change => {
    const text = texts.get(change) ?? make(change);
    texts.set(change, text);
    return text;
  };
}

type Pump = { follower: Follower; statuses: StatusTicker; show: (change: Change) => string; patience: number; onSlow: () => void };

/** Writes until the reader goes, the server closes, or the reader is too slow. At most the buffer and one message wait for it. */
async function pump(out: PassThrough, { follower, statuses, show, patience, onSlow }: Pump): Promise<void> {
  const said = { cursor: follower.cursor() };
  const isOver = () => out.writableEnded || out.destroyed;
  const write = (text: string) => !isOver() && out.write(text);
  // A message of an id alone is given to nobody, but a browser remembers it: it comes back to here even where nothing of
  // what it wants has happened yet.
  write(`retry: ${RETRY}\nid: ${showCursor(said.cursor)}\n\n`);
  const unsubscribe = statuses.subscribe(text => {
    if (out.writableNeedDrain) return;
    const cursor = follower.cursor();
    const moved = isBefore(said.cursor, cursor) ? `id: ${showCursor(cursor)}\n\n` : "";
    said.cursor = cursor;
    write(`${moved}event: status\ndata: ${text}\n\n`);
  });
  out.once("close", () => void follower.return?.());
  try {
    for await (const changes of follower) {
      for (const change of changes) {
        said.cursor = change.cursor;
        if (write(show(change)) || (await drained(out, patience))) continue;
        if (isOver()) return;
        onSlow();
        return part(out, DROPPED);
      }
      if (isOver()) return;
    }
  } catch (error) {
    if (!(error instanceof CursorAheadError)) throw error;
    part(out, ": the journal was begun anew\n\n");
  } finally {
    unsubscribe();
    part(out);
  }
}
