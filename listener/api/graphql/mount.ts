import type { FastifyInstance } from "fastify";
import type { App } from "../../app.ts";
import type { Db } from "../../db.ts";
import type { Feed } from "../../journal/feed.ts";
import type { Log } from "../../log.ts";
import type { Places } from "../places.ts";
import { policyFor, STYLES_OF_SCRIPTS } from "../policy.ts";
import type { Read } from "../read.ts";
import { patiently, STREAM_LIMITS, type StreamLimits } from "../slow-readers.ts";
import type { StatusTicker } from "../status-ticker.ts";
import { readsByField } from "./names.ts";

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

type Engine = ReturnType<typeof import("./engine.ts").createEngine>;

/**
 * `/graphql`: the same reads as under `/api/v1`, many in one request and of one moment, and subscriptions as server-sent events.
 * What answers is loaded when it is first asked, for that is a quarter of what a server would load to start.
 *
 * @throws SluiceError where two reads would be one field
 */
export function mountGraphql(server: FastifyInstance, options: GraphqlOptions): void {
  const { reads, places, log, limits } = options;
  readsByField(reads);
  const closing = new AbortController();
  let engine: Promise<Engine> | undefined;
  const open = async () => (await import("./engine.ts")).createEngine(options, closing.signal);

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
      engine ??= open();
      const response = await (await engine).handleNodeRequestAndResponse(request, reply, { request, reply });
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
