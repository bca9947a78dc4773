import type { ServerResponse } from "node:http";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
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
  const { patience } = { ...STREAM_LIMITS, ...limits };
  const open = new Set<ServerResponse>();
  const frames = createFrames(app);

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
      const out = begin(reply);
      open.add(out);
      // The server closes sockets that are idle for long, and this one may be while the database is away.
      request.raw.socket.setTimeout(0);
      const follower = feed.follow({ from: start, filter });
      const onSlow = () => log.info({ cursor: showCursor(follower.cursor()) }, "a reader of the stream was too slow and was dropped");
      void pump(out, { follower, statuses, frames, patience, onSlow })
        .catch(error => log.warn({ reason: describe(error) }, "a stream ended"))
        .finally(() => {
          open.delete(out);
          leave();
        });
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

/**
 * Takes the answer out of Fastify's hands, with the headers that it has by now. What is written goes to the socket as it is:
 * the answer ends with the connection, and without chunks a message is one piece of memory for all its readers.
 */
function begin(reply: FastifyReply): ServerResponse {
  reply.headers({ "content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no", connection: "close" }).hijack();
  const out = reply.raw;
  out.useChunkedEncodingByDefault = false;
  out.writeHead(200, reply.getHeaders() as Record<string, string>);
  return out;
}

type Frames = { change(change: Change): Buffer; status(text: string, cursor: string | undefined): Buffer };

/** The bytes of messages. Each is made once, however many readers it goes to. */
function createFrames(app: App): Frames {
  const changes = new WeakMap<Change, Buffer>();
  const make = (change: Change) => {
    const cursor = showCursor(change.cursor);
    const data =
      change.type === "event"
        ? { ...z.encode(event, showEvent(app, change.row, change.finalized)), cursor }
        : { ancestor: change.ancestor, removed: change.removed, at: change.at.toISOString() };
    return Buffer.from(`event: ${change.type}\nid: ${cursor}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  let latest = { text: "", byCursor: new Map<string | undefined, Buffer>() };
  return {
    change(change) {
      const frame = changes.get(change) ?? make(change);
      changes.set(change, frame);
      return frame;
    },
    status(text, cursor) {
      if (text !== latest.text) latest = { text, byCursor: new Map() };
      const id = cursor === undefined ? "" : `id: ${cursor}\n\n`;
      const frame = latest.byCursor.get(cursor) ?? Buffer.from(`${id}event: status\ndata: ${text}\n\n`);
      latest.byCursor.set(cursor, frame);
      return frame;
    },
  };
}

type Pump = { follower: Follower; statuses: StatusTicker; frames: Frames; patience: number; onSlow: () => void };

/** Writes until the reader goes, the server closes, or the reader is too slow. At most the socket's buffer and one message wait for it. */
async function pump(out: ServerResponse, { follower, statuses, frames, patience, onSlow }: Pump): Promise<void> {
  const said = { cursor: follower.cursor() };
  const isOver = () => out.writableEnded || out.destroyed;
  const write = (frame: Buffer | string) => !isOver() && out.write(frame);
  // A message of an id alone is given to nobody, but a browser remembers it: it comes back to here even where nothing of
  // what it wants has happened yet.
  write(`retry: ${RETRY}\nid: ${showCursor(said.cursor)}\n\n`);
  const unsubscribe = statuses.subscribe(text => {
    if (out.writableNeedDrain) return;
    const cursor = follower.cursor();
    const moved = isBefore(said.cursor, cursor) ? showCursor(cursor) : undefined;
    said.cursor = cursor;
    write(frames.status(text, moved));
  });
  out.once("close", () => void follower.return?.());
  try {
    for await (const changes of follower) {
      for (const change of changes) {
        said.cursor = change.cursor;
        if (write(frames.change(change)) || (await drained(out, patience))) continue;
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
