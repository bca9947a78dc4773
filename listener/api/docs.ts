import fastifySwagger from "@fastify/swagger";
import Fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { createJsonSchemaTransform } from "fastify-type-provider-zod";
import { policyFor, STYLES_OF_SCRIPTS } from "./policy.ts";
import { declareScope, type Needs } from "./scope.ts";

const DESCRIPTION = `Contract events in, BullMQ jobs out. Amounts are decimal strings in the smallest unit, addresses have their checksum.

Lists take \`limit\` and \`cursor\`: pass on \`nextCursor\` until it is null. Errors are problem details (RFC 9457).

Reads are open where the server is bound to this machine alone; otherwise they need an API key, as whatever changes something does
everywhere. A key has a scope: \`read\`, \`operate\` or \`admin\`, each with those before it. Browsers exchange it for a session.`;

/** Collects the routes that are added after it into an OpenAPI document: `/docs/openapi.json`. */
export async function describeRoutes(server: FastifyInstance): Promise<void> {
  await server.register(fastifySwagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Sluice", version: "1", description: DESCRIPTION },
      components: {
        securitySchemes: {
          apiKey: { type: "http", scheme: "bearer", description: "made with `npm run keys -- create`, or one of API_KEYS" },
          session: { type: "apiKey", in: "cookie", name: "sluice_session", description: "of POST /api/v1/session" },
        },
      },
    },
    transform: describeRoute,
  });
}

const toJsonSchema = createJsonSchemaTransform({ zodToJsonConfig: { override: describePlainly } });

/** A route with what the guard asks of it: what is described and what is enforced come from one word. */
const describeRoute: typeof toJsonSchema = input => {
  const { schema, url } = toJsonSchema(input);
  const { scope = "read" } = (input.route.config ?? {}) as { scope?: Needs };
  return { schema: { ...schema, security: SECURITY[scope] }, url };
};

/** By scope. In place of OAuth's scopes OpenAPI 3.1 lets the other schemes list the roles that are needed. */
const needing = (role: string): Record<string, string[]>[] => [{ apiKey: [role] }, { session: [role] }];
const SECURITY: Record<Needs, Record<string, string[]>[]> = {
  open: [],
  read: [{}, ...needing("read")],
  operate: needing("operate"),
  admin: needing("admin"),
};

type Described = { zodSchema: { _zod: { def: { type: string; defaultValue?: unknown } } }; jsonSchema: Record<string, unknown> };

/** What zod says of a schema, without what is not so to the outside. */
function describePlainly({ zodSchema, jsonSchema }: Described): void {
  const { type, defaultValue } = zodSchema._zod.def;
  // Fields may be added to an answer, so no client may be told to refuse them.
  if (type === "object" && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
  if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
  if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
  if (type === "default") jsonSchema.default = defaultValue;
  // A codec is described by what it is in JSON; the limits of what it stands for inside are not the text's.
  if (type === "pipe" && jsonSchema.type === "string") {
    for (const key of Object.keys(jsonSchema)) if (!TEXT_KEYWORDS.has(key)) delete jsonSchema[key];
  }
}

const TEXT_KEYWORDS = new Set(["type", "pattern", "format", "description"]);

const PAGE = "/docs/";
const SCRIPT = "/docs/js/scalar.js";
const DOCUMENT = { json: "/docs/openapi.json", yaml: "/docs/openapi.yaml" };

/**
 * The page at `/docs` and the document that it shows. Its script is ours, its fonts are the system's, and its policy lets
 * nothing of others in. The page is loaded when it is first asked for: its script alone has more bytes than all else here.
 */
export async function serveDocs(server: FastifyInstance): Promise<void> {
  let page: Promise<Page> | undefined;
  await server.register(async docs => {
    declareScope(docs, "read");
    const hidden = { schema: { hide: true } as object };
    docs.get("/docs", hidden, (_, reply) => reply.redirect(PAGE, 301));
    docs.get(PAGE, hidden, async (_, reply) => {
      const { html } = await (page ??= loadPage());
      return reply.type("text/html; charset=utf-8").header("content-security-policy", policyFor(html, STYLES_OF_SCRIPTS)).send(html);
    });
    docs.get(SCRIPT, hidden, async (_, reply) => {
      const { script } = await (page ??= loadPage());
      return reply.type("application/javascript; charset=utf-8").send(script);
    });
    // Public, as every such document: tools on other origins read it.
    const publish = (reply: FastifyReply, type: string) => reply.type(type).header("access-control-allow-origin", "*");
    docs.get(DOCUMENT.json, hidden, (_, reply) => publish(reply, "application/json").send(server.swagger()));
    docs.get(DOCUMENT.yaml, hidden, (_, reply) => publish(reply, "application/yaml").send(server.swagger({ yaml: true })));
  });
}

type Page = { html: string; script: Buffer };

/** What Scalar's plugin answers. It is asked once, by a server that nobody else can reach. */
async function loadPage(): Promise<Page> {
  const { default: scalar } = await import("@scalar/fastify-api-reference");
  const server = Fastify();
  await server.register(scalar, {
    routePrefix: "/docs",
    logLevel: "silent",
    configuration: {
      url: "./openapi.json",
      pageTitle: "Sluice: API",
      withDefaultFonts: false,
      telemetry: false,
      hideClientButton: true,
      showDeveloperTools: "never",
      mcp: { disabled: true },
      agent: { disabled: true },
    },
  });
  const [html, script] = await Promise.all([server.inject(PAGE), server.inject(SCRIPT)]);
  return { html: html.body, script: script.rawPayload };
}
