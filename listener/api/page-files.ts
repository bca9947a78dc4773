import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fastifyStatic from "@fastify/static";
import type { FastifyInstance } from "fastify";
import { declareScope } from "./scope.ts";

/** What `npm run build` makes of listener/dashboard. */
const BUILT = fileURLToPath(new URL("../dashboard/dist/", import.meta.url));

/** Nothing but our own files and our own API: no inline script, no inline style, no other server. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const FOR_GOOD = "public, max-age=31536000, immutable";

/**
 * The dashboard at `/`, where it is built. Its files carry their content's hash in their names and may be kept for good;
 * the page that names them is asked for each time. They hold no data: the page asks the API for that, with a key where one
 * is needed.
 */
export async function servePage(server: FastifyInstance, { folder = BUILT }: { folder?: string } = {}): Promise<void> {
  await server.register(async page => {
    declareScope(page, "open");
    await servePageFiles(page, folder);
  });
}

async function servePageFiles(page: FastifyInstance, folder: string): Promise<void> {
  const assets = join(folder, "assets");
  if (!existsSync(join(folder, "index.html")) || !existsSync(assets)) {
    page.get("/", { schema: { hide: true } as object }, (_, reply) =>
      reply.code(503).type("text/plain").send("The dashboard is not built: run `npm run build`, then start this again. The API: /docs\n"),
    );
    return;
  }
  await page.register(fastifyStatic, {
    root: assets,
    prefix: "/assets/",
    preCompressed: true,
    cacheControl: false,
    index: false,
    setHeaders: (reply, file) => void reply.header("cache-control", file.startsWith(assets) ? FOR_GOOD : "no-cache"),
  });
  page.get("/", { schema: { hide: true } as object }, (_, reply) =>
    reply.header("content-security-policy", POLICY).sendFile("index.html", folder, { cacheControl: false }),
  );
}
