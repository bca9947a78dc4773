import { isIP } from "node:net";
import type { FastifyRequest } from "fastify";

/** Whether only this machine can reach a server that is bound to `host`. */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, "").toLowerCase();
  if (bare === "localhost" || bare.endsWith(".localhost") || bare === "::1") return true;
  const v4 = bare.replace(/^::ffff:/, "");
  return isIP(v4) === 4 && v4.startsWith("127.");
}

/** The name in a Host header, without its port, in lower case; undefined where it is no host at all. */
export function hostName(header: string | undefined): string | undefined {
  if (!header || !/^[\w.:[\]-]+$/.test(header)) return undefined;
  return URL.parse(`http://${header}`)?.hostname;
}

const FORWARDED = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"];

/**
 * Whether a person or a program of this machine asks, and no page of another site through a name that it had rebound to
 * us, nor a proxy on behalf of somebody else. True only on a server that is bound to loopback.
 */
export function isLocal({ headers }: FastifyRequest, bound: string): boolean {
  return isLoopback(bound) && isLoopback(hostName(headers.host) ?? "") && !FORWARDED.some(name => headers[name] !== undefined);
}

/** Whether the request says that a page of this very server sent it. A browser sends Origin with whatever changes something. */
export function isSameOrigin({ headers }: FastifyRequest): boolean {
  const origin = URL.parse(headers.origin ?? "");
  return origin !== null && origin.host === headers.host?.toLowerCase();
}
