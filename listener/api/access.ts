import { createHash, timingSafeEqual } from "node:crypto";
import { isIP } from "node:net";
import type { FastifyInstance } from "fastify";
import { SluiceError } from "../errors.ts";
import { PAGE_PATHS } from "./page-files.ts";
import { HttpProblem } from "./problem.ts";

/** What a load balancer or an orchestrator asks without a key, and the page that asks for one; they say nothing of the data. */
const OPEN_PATHS = new Set<string>(["/healthz", "/readyz", ...PAGE_PATHS]);

const digest = (text: string) => createHash("sha256").update(text).digest();

/** Whether only this machine can reach a server that is bound to `host`. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "").toLowerCase();
  if (bare === "localhost" || bare === "::1") return true;
  const v4 = bare.replace(/^::ffff:/, "");
  return isIP(v4) === 4 && v4.startsWith("127.");
}

/**
 * Reads are open where only this machine can ask. Everywhere else each request needs `Authorization: Bearer <key>`.
 *
 * @throws SluiceError when the server could be reached from outside and there is no key
 */
export function guardAccess(server: FastifyInstance, { host, apiKeys }: { host: string; apiKeys: readonly string[] }): void {
  if (isLoopback(host)) return;
  if (apiKeys.length === 0) {
    throw new SluiceError(`HOST is ${host}, which others can reach, and there are no API_KEYS`, {
      hint: "set API_KEYS to one or more keys (`openssl rand -hex 32` makes one), or HOST to 127.0.0.1",
    });
  }
  const keys = apiKeys.map(digest);
  server.addHook("onRequest", async request => {
    if (OPEN_PATHS.has(request.routeOptions.url ?? "")) return;
    const [, given] = /^bearer +([^\s]+)$/i.exec(request.headers.authorization ?? "") ?? [];
    // Every key is compared, and digests are of one length: the time taken tells nothing.
    const matches = given !== undefined && keys.map(key => timingSafeEqual(key, digest(given))).includes(true);
    if (!matches) {
      const detail = given === undefined ? "this needs the header Authorization: Bearer <API key>" : "this API key is not known here";
      throw new HttpProblem(401, detail, { headers: { "www-authenticate": 'Bearer realm="sluice"' } });
    }
  });
}
