import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Config } from "../config.ts";
import type { Db } from "../db.ts";
import { hostName, isLocal, isLoopback, isSameOrigin } from "./hosts.ts";
import { type Access, type FixedKey, findKey } from "./keys.ts";
import type { RateLimits } from "./limits.ts";
import { HttpProblem } from "./problem.ts";
import { covers, requireScopes } from "./scope.ts";
import { findSession, SESSION_COOKIE } from "./sessions.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Whose key came with the request; null where it needed none and had none. */
    access: Access | null;
  }
}

export type Guard = {
  db: Db;
  config: Pick<Config, "host"> & Partial<Pick<Config, "allowedHosts">>;
  keys: readonly FixedKey[];
  limits: RateLimits;
};

/** Methods that change nothing. A cookie, which a browser sends by itself, suffices for these only. */
const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * Stands before every route. A route says what it needs in `config.scope`; one that does not say keeps the server from
 * starting. Reads are open to this machine where the server is bound to loopback. Everything else needs a key of that
 * scope: `Authorization: Bearer <key>`, or the cookie of a session that was opened with one.
 */
export function guardAccess(server: FastifyInstance, { db, config, keys, limits }: Guard): void {
  const { host: bound } = config;
  const allowedHosts = new Set(config.allowedHosts ?? []);
  requireScopes(server);
  server.decorateRequest("access", null);
  server.addHook("onRequest", async request => {
    checkHost(request, bound, allowedHosts);
    const needs = request.routeOptions.config.scope ?? "read";
    if (needs === "open") return limits.take(request);
    limits.checkFailures(request);
    const access = await whoAsks(db, keys, request);
    if (access === "unknown") {
      limits.failed(request);
      throw new HttpProblem(401, "this API key is not known here: it is mistyped, revoked or expired", { headers: CHALLENGE });
    }
    request.access = access;
    if (!access && needs === "read" && isLocal(request, bound)) return limits.takeLocal(request);
    limits.take(request);
    if (!access) throw new HttpProblem(401, "this needs the header Authorization: Bearer <API key>", { headers: CHALLENGE });
    if (!covers(access.scope, needs)) {
      throw new HttpProblem(403, `this needs a key with the scope ${needs}; this one has the scope ${access.scope}`);
    }
  });
}

const CHALLENGE = { "www-authenticate": 'Bearer realm="sluice"' };

/**
 * A page of another site can have its own name point to this machine (DNS rebinding). Its requests carry that name.
 */
function checkHost({ headers }: FastifyRequest, bound: string, allowed: ReadonlySet<string>): void {
  const name = hostName(headers.host);
  const known = name !== undefined && (allowed.has(name) || isLoopback(name));
  if (known || (!isLoopback(bound) && allowed.size === 0)) return;
  throw new HttpProblem(421, `this server does not answer for the host ${name ?? "of this request"}; ALLOWED_HOSTS names those it does`);
}

/** The key of the request: none, or an unknown one, or whose it is. */
async function whoAsks(db: Db, keys: readonly FixedKey[], request: FastifyRequest): Promise<Access | null | "unknown"> {
  const { authorization } = request.headers;
  if (authorization !== undefined) {
    const given = /^bearer +([^\s]{1,200})$/i.exec(authorization)?.[1];
    return (given && (await findKey(db, keys, given))) || "unknown";
  }
  const session = SESSION_COOKIE.of(request);
  if (session === undefined) return null;
  const access = await findSession(db, keys, session);
  if (!access) return null;
  if (!SAFE.has(request.method) && !isSameOrigin(request)) {
    throw new HttpProblem(
      403,
      "a session changes something only for this server's own pages; programs send Authorization: Bearer <API key>",
    );
  }
  return access;
}
