import cors from "@fastify/cors";
import helmet from "@fastify/helmet";
import type { FastifyInstance } from "fastify";
import type { Config } from "../config.ts";

/** For an answer that is no page. One that is a page says what it needs itself. */
const NOTHING = { defaultSrc: ["'none'"], baseUri: ["'none'"], formAction: ["'none'"], frameAncestors: ["'none'"] };

/** What a browser on another origin may send and see. No cookies: a program there has a key of its own. */
const CORS = {
  credentials: false,
  methods: ["GET", "HEAD", "POST", "PATCH", "DELETE"],
  allowedHeaders: ["authorization", "content-type", "last-event-id"],
  exposedHeaders: ["retry-after", "www-authenticate"],
  maxAge: 600,
};

/** Security headers for everything, and CORS for the origins of the configuration: none unless told. */
export async function sendHeaders(server: FastifyInstance, { corsOrigins = [] }: Partial<Pick<Config, "corsOrigins">>): Promise<void> {
  await server.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: NOTHING },
    referrerPolicy: { policy: "no-referrer" },
    xFrameOptions: { action: "deny" },
    // Where CORS lets another origin in, this must not shut it out again.
    crossOriginResourcePolicy: { policy: corsOrigins.length > 0 ? "cross-origin" : "same-origin" },
  });
  server.addHook("onRequest", async (_, reply) => void reply.header("cache-control", "no-store"));
  if (corsOrigins.length === 0) return;
  // The plugin answers a preflight, which carries no key, before the guard sees it.
  server.addHook("onRoute", route => {
    if (route.method === "OPTIONS" && route.url === "*") route.config = { ...route.config, scope: "open" };
  });
  await server.register(cors, { ...CORS, origin: [...corsOrigins] });
}
