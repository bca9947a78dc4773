import { randomBytes } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import type { Db, Sql } from "../db.ts";
import { isLocal, isSameOrigin } from "./hosts.ts";
import { type Access, digestOf, type FixedKey, findFixed, findKey } from "./keys.ts";
import type { RateLimits } from "./limits.ts";
import { HttpProblem, problemResponses } from "./problem.ts";
import { scope } from "./scope.ts";

/** Seconds that a session lasts. */
const LIFE = 12 * 60 * 60;

const NAME = "sluice_session";

/** Not for scripts, not for other sites, and over TLS only where the page came over TLS. */
export const SESSION_COOKIE = {
  of: ({ headers }: FastifyRequest): string | undefined =>
    new RegExp(`(?:^|;\\s*)${NAME}=([\\w-]{43})(?:;|$)`).exec(headers.cookie ?? "")?.[1],
  set(request: FastifyRequest, reply: FastifyReply, value: string, seconds: number): void {
    const secure = request.headers.origin?.startsWith("https:") ? "; Secure" : "";
    reply.header("set-cookie", `${NAME}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Strict${secure}`);
  },
};

/** Whose session this is; undefined where it has ended, or its key has been revoked. */
export async function findSession(sql: Sql, fixed: readonly FixedKey[], session: string): Promise<Access | undefined> {
  const { rows } = await sql.query<{ key_digest: Buffer } & Access>(
    `select s.key_digest, k.id, k.name, k.scope, k.digest from api_sessions s
     left join api_keys k on k.digest = s.key_digest and k.revoked_at is null
     where s.digest = $1 and s.expires_at > now()`,
    [digestOf(session)],
  );
  if (!rows[0]) return undefined;
  const { key_digest, ...key } = rows[0];
  return key.id ? key : findFixed(fixed, key_digest);
}

async function openSession(db: Db, keyDigest: Buffer): Promise<string> {
  const session = randomBytes(32).toString("base64url");
  await db.query("delete from api_sessions where expires_at < now()");
  await db.query("insert into api_sessions (digest, key_digest, expires_at) values ($1, $2, now() + $3 * interval '1 second')", [
    digestOf(session),
    keyDigest,
    LIFE,
  ]);
  return session;
}

/** What a session is to the outside. */
export const shown = z.object({
  scope: scope.nullable().describe("what this browser may do; null without a session, where reads may be open all the same"),
  name: z.string().nullable().describe("of the key that the session was opened with"),
  reads: z.boolean().describe("whether reads are answered as things stand"),
  offered: z.boolean().describe("whether a session is given without a key, as `start` does for development"),
});

type Sessions = {
  db: Db;
  host: string;
  keys: readonly FixedKey[];
  limits: RateLimits;
  /** The key whose sessions are given to pages of this server on this machine that have none: of `start`. */
  localKey: FixedKey | undefined;
};

/**
 * `/api/v1/session`: for browsers, whose EventSource and links cannot send a header. A key is posted once and a cookie
 * comes back that scripts cannot read and other sites cannot use.
 */
export function mountSessions(server: FastifyInstance, { db, host, keys, limits, localKey }: Sessions): void {
  const url = "/api/v1/session";
  const config = { scope: "open" as const };
  const response = { 200: { description: "OK", content: { "application/json": { schema: shown } } } };
  const offeredTo = (request: FastifyRequest) => localKey !== undefined && isLocal(request, host);
  const show = (request: FastifyRequest, access: Access | undefined) => ({
    scope: access?.scope ?? null,
    name: access?.name ?? null,
    reads: access !== undefined || isLocal(request, host),
    offered: offeredTo(request),
  });
  const current = async (request: FastifyRequest) => {
    const session = SESSION_COOKIE.of(request);
    return session === undefined ? undefined : findSession(db, keys, session);
  };

  server.get(
    url,
    {
      config,
      schema: { tags: ["session"], summary: "What this browser may do", response: { ...response, ...problemResponses(429, 503) } },
    },
    async request => show(request, await current(request)),
  );

  server.post(
    url,
    {
      config,
      schema: {
        tags: ["session"],
        summary: "Open a session with an API key",
        description: "Answers with a cookie. Without `key` only where `start` runs, to a page of its own on the same machine.",

        body: z.strictObject({ key: z.string().max(200).optional() }),
        response: { ...response, ...problemResponses(400, 401, 403, 413, 415, 429, 503) },
      },
    },
    async (request, reply) => {
      // A page of another site must not open a session here, not even one that it has a key for.
      if (!isSameOrigin(request)) throw new HttpProblem(403, "a session is for this server's own pages: Origin and Host differ");
      const { key } = request.body as { key?: string };
      limits.checkFailures(request);
      const access = key === undefined ? offeredTo(request) && findFixed([localKey!], localKey!.digest) : await findKey(db, keys, key);
      if (!access) {
        limits.failed(request);
        throw new HttpProblem(401, key === undefined ? "this needs an API key" : "this API key is not known here");
      }
      SESSION_COOKIE.set(request, reply, await openSession(db, access.digest), LIFE);
      return show(request, access);
    },
  );

  server.delete(
    url,
    {
      config,
      schema: {
        tags: ["session"],
        summary: "End the session",
        response: { 204: z.undefined().describe("ended"), ...problemResponses(403, 429, 503) },
      },
    },
    async (request, reply) => {
      if (!isSameOrigin(request)) throw new HttpProblem(403, "a session is for this server's own pages: Origin and Host differ");
      const session = SESSION_COOKIE.of(request);
      if (session !== undefined) await db.query("delete from api_sessions where digest = $1", [digestOf(session)]);
      SESSION_COOKIE.set(request, reply, "", 0);
      return reply.code(204).send();
    },
  );
}
