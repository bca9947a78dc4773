import type { FastifyInstance, RouteOptions } from "fastify";
import { z } from "zod";
import { SluiceError } from "../errors.ts";

/** What a key allows, the least first; each includes those before it. */
export const SCOPES = ["read", "operate", "admin"] as const;
export type Scope = (typeof SCOPES)[number];
export const scope = z.enum(SCOPES);

/** What a route asks for. `open` asks for nothing: its answers say nothing of the data. */
export type Needs = Scope | "open";

export const covers = (has: Scope, needs: Scope): boolean => SCOPES.indexOf(has) >= SCOPES.indexOf(needs);

declare module "fastify" {
  interface FastifyInstance {
    /** Every route of this server, and what it asks for. */
    declared: { method: string; url: string; scope: Needs }[];
  }
  interface FastifyContextConfig {
    /** Every route declares what it asks for; the server does not start with one that does not. */
    scope?: Needs;
  }
}

/** Declares the scope of routes that a plugin adds to this context, which cannot do so themselves. */
export function declareScope(server: FastifyInstance, scopeOf: Needs | ((method: string) => Needs)): void {
  server.addHook("onRoute", route => {
    const methods = [route.method].flat();
    const needs = typeof scopeOf === "string" ? [scopeOf] : [...new Set(methods.map(scopeOf))];
    if (needs.length > 1) throw new SluiceError(`${methods.join(", ")} ${route.url} would need ${needs.join(" and ")}: declare them apart`);
    route.config = { ...route.config, scope: route.config?.scope ?? needs[0]! };
  });
}

/**
 * Lets the server start only where every route has declared a scope.
 *
 * @throws SluiceError at `ready` that names those without
 */
export function requireScopes(server: FastifyInstance): void {
  const routes: RouteOptions[] = [];
  server.decorate("declared", []);
  server.addHook("onRoute", route => void routes.push(route));
  server.addHook("onReady", async () => {
    const declared = routes.flatMap(({ method, url, config }) => [method].flat().map(method => ({ method, url, scope: config?.scope })));
    const bare = declared.filter(({ scope }) => !scope).map(({ method, url }) => `${method} ${url}`);
    if (bare.length > 0) throw new SluiceError(`routes without a scope: ${bare.join(", ")}`, { hint: "give each `config: { scope }`" });
    server.declared.push(...(declared as FastifyInstance["declared"]));
  });
}
