import { createBullBoard } from "@bull-board/api";
import { BullMQAdapter } from "@bull-board/api/bullMQAdapter";
import { FastifyAdapter } from "@bull-board/fastify";
import type { FastifyInstance } from "fastify";
import type { App } from "../app.ts";
import { describe } from "../errors.ts";
import type { Log } from "../log.ts";
import type { QueueBackend } from "../queues/backend.ts";
import { policyFor } from "./policy.ts";
import { declareScope } from "./scope.ts";

const PATH = "/queues";

type Board = { app: App; chainId: number; log: Log; backend: Promise<QueueBackend> };

/**
 * bull-board at `/queues`: the jobs in BullMQ, on either backend. It may be looked at with the scope `read`, and what
 * changes something needs `operate`. A job is a hint: whatever is done to it there, the rows in `deliveries` stay the truth.
 *
 * The page is there at once; its queues are when the backend is, which may be away.
 */
export async function mountBoard(server: FastifyInstance, { app, chainId, log, backend }: Board): Promise<void> {
  const adapter = new FastifyAdapter();
  adapter.setBasePath(PATH);
  const options = { uiConfig: { boardTitle: "Sluice: queues", hideRedisDetails: true, showLangSelector: false } as object };
  const { addQueue } = createBullBoard({ queues: [], serverAdapter: adapter, options });
  backend.then(
    opened => {
      for (const { queue } of app.routes) addQueue(new BullMQAdapter(opened.openQueue(chainId, queue), { displayName: queue } as object));
    },
    error => log.warn({ reason: describe(error) }, "bull-board has no queues to show"),
  );
  const { errorHandler } = server;
  await server.register(
    async board => {
      declareScope(board, method => (method === "GET" || method === "HEAD" ? "read" : "operate"));
      // The board answers errors with their stack, the guard's refusals among them.
      board.addHook("onRoute", route => void (route.errorHandler = errorHandler));
      board.addHook("onSend", async (_, reply, payload) => {
        if (typeof payload !== "string" || !String(reply.getHeader("content-type")).startsWith("text/html")) return payload;
        reply.header("content-security-policy", policyFor(payload, { "base-uri": "'self'" }));
        return payload.replace(/<link href="https:[^>]*>/g, "");
      });
      await board.register(adapter.registerPlugin());
    },
    { prefix: PATH },
  );
}
