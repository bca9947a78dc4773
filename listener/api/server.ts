import type { Socket } from "node:net";
import Fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { serializerCompiler, validatorCompiler } from "fastify-type-provider-zod";
import { z } from "zod";
import type { App } from "../app.ts";
import type { Config } from "../config.ts";
import type { Db } from "../db.ts";
import { SluiceError } from "../errors.ts";
import { openFeed } from "../journal/feed.ts";
import type { Log } from "../log.ts";
import { type BackendKind, backendKind, type QueueBackend } from "../queues/backend.ts";
import { guardAccess } from "./access.ts";
import { activityRead } from "./activity.ts";
import { blockRead, blocksRead } from "./blocks.ts";
import { mountBoard } from "./board.ts";
import { checkDepth, LIMITS, limitConnections } from "./connections.ts";
import { deadLettersRead } from "./dead-letters.ts";
import { deliveriesRead } from "./deliveries.ts";
import { describeRoutes, serveDocs } from "./docs.ts";
import { eventTraceRead } from "./event-trace.ts";
import { eventsRead } from "./events.ts";
import { mountGraphql } from "./graphql/mount.ts";
import { sendHeaders } from "./headers.ts";
import { mountHealth } from "./health.ts";
import { isLoopback } from "./hosts.ts";
import { digestOf, type FixedKey, hasKeys } from "./keys.ts";
import { createRateLimits } from "./limits.ts";
import { mountMetrics } from "./metrics.ts";
import { mountOperations, type Operation } from "./operation.ts";
import { servePage } from "./page-files.ts";
import { createPlaces } from "./places.ts";
import { answerProblems, PROBLEM_TYPE, problemOf } from "./problem.ts";
import { queuesRead } from "./queues.ts";
import { mountReads, type Read } from "./read.ts";
import { repairs } from "./repairs.ts";
import { endWhatIsRevoked } from "./revocation.ts";
import { mountSessions } from "./sessions.ts";
import type { StreamLimits } from "./slow-readers.ts";
import { readWholeStatus, status, statusRead } from "./status.ts";
import { createStatusTicker } from "./status-ticker.ts";
import { mountStream } from "./stream.ts";
import { transactionRead } from "./transactions.ts";
import { webhookOperations, webhookReads } from "./webhooks.ts";

export type ApiOptions = {
  app: App;
  /** The application's own resources; the core's are there in any case. */
  reads: readonly Read[];
  /** Of BullMQ, for the page at `/queues`, which is not there without it. It may come later than the rest. */
  backend?: Promise<QueueBackend>;
  /** What changes something. Needs an API key, on loopback too. */
  operations?: readonly Operation[];
  db: Db;
  chainId: number;
  config: Pick<Config, "host" | "port" | "apiKeys" | "maxLag"> &
    Partial<
      Pick<
        Config,
        "allowedHosts" | "corsOrigins" | "graphqlExplorer" | "rateLimit" | "redisUrl" | "trustedProxies" | "webhooksAllowLoopback"
      >
    >;
  /** Of `start`: the key of this run, whose sessions pages of this server on this machine get without typing it. */
  localKey?: string;
  log: Log;
  /** Streams and subscriptions that may be open at one time. */
  streams?: number;
  streamLimits?: Partial<StreamLimits>;
};

const STREAMS = 1_000;
/** Milliseconds that requests under way have when the server closes. */
const GRACE = 1_000;

/**
 * The API without its socket: `inject` asks it directly.
 *
 * @throws SluiceError when it would be open to others without an API key
 */
export async function createApi(options: ApiOptions): Promise<FastifyInstance> {
  const { app, reads, operations = [], db, chainId, config, log, streamLimits } = options;
  const server = Fastify({
    logger: false,
    trustProxy: config.trustedProxies?.length ? [...config.trustedProxies] : false,
    bodyLimit: LIMITS.body,
    connectionTimeout: LIMITS.idle,
    requestTimeout: LIMITS.requestWithin,
    http: { maxHeaderSize: LIMITS.headers, headersTimeout: LIMITS.headersWithin, connectionsCheckingInterval: 1_000 },
    keepAliveTimeout: LIMITS.keepAlive,
    routerOptions: { maxParamLength: LIMITS.parameter },
    return503OnClosing: false,
    // Given here, they spare the loading of those that Fastify would take. Its types know no others than those.
    schemaController: { compilersFactory: { buildValidator: () => validatorCompiler, buildSerializer: () => serializerCompiler } as never },
    clientErrorHandler: answerUnreadable,
    frameworkErrors: (error, _, reply) => void (reply as FastifyReply).code(400).type(PROBLEM_TYPE).send(problemOf(400, error.message)),
  });
  answerProblems(server, log);
  const limits = createRateLimits(config.rateLimit ?? 0);
  const keys = fixedKeys(options);
  if (!isLoopback(config.host) && keys.length === 0 && !(await hasKeys(db))) throw openToOthers(config.host);
  limitConnections(server.server);
  await sendHeaders(server, config);
  guardAccess(server, { db, config, keys, limits });
  endWhatIsRevoked(server, db);
  server.addHook("preValidation", async ({ body }) => checkDepth(body));

  await describeRoutes(server);
  mountHealth(server, { db, chainId, maxLag: config.maxLag });
  mountMetrics(server, { db, app, chainId });
  const queueBackend = backendKind(config.redisUrl);
  const core = coreReads(app, queueBackend);
  mountReads(server, [...core, ...reads], { db, chainId });
  const changes = [...repairs(app), ...webhookOperations(app, { allowLoopback: config.webhooksAllowLoopback ?? false }), ...operations];
  mountOperations(server, changes, { db, chainId, log });
  mountSessions(server, { db, host: config.host, keys, limits, localKey: keys.find(({ name }) => name === LOCAL) });
  const feed = openFeed({ db, app, chainId, log });
  const statuses = createStatusTicker(async () => JSON.stringify(z.encode(status, await readWholeStatus(app, queueBackend, db, chainId))));
  const places = createPlaces(options.streams ?? STREAMS);
  mountStream(server, { feed, statuses, places, app, log, limits: streamLimits });
  const explorer = config.graphqlExplorer ?? isLoopback(config.host);
  mountGraphql(server, { app, reads: [...core, ...reads], db, chainId, feed, statuses, places, explorer, log, limits: streamLimits });
  server.addHook("preClose", () => feed.close());
  if (options.backend) await mountBoard(server, { app, chainId, log, backend: options.backend });
  await serveDocs(server);
  await servePage(server);
  return server;
}

/** What every application's API shows. */
const coreReads = (app: App, queueBackend: BackendKind): Read[] => [
  statusRead(app, queueBackend),
  activityRead(app),
  eventsRead(app),
  eventTraceRead(app),
  transactionRead(app),
  blocksRead(),
  blockRead(app),
  queuesRead(app),
  deliveriesRead(),
  deadLettersRead(),
  ...webhookReads(),
];

const openToOthers = (host: string) =>
  new SluiceError(`HOST is ${host}, which others can reach, and there is no API key`, {
    hint: "make one with `npm run keys -- create --scope read --name <name>` or set API_KEYS, or set HOST to 127.0.0.1",
  });

const LOCAL = "start";

/** The keys that no table holds. Those of API_KEYS may do everything: whoever sets them runs this server. */
function fixedKeys({ config, localKey }: ApiOptions): FixedKey[] {
  const keys = config.apiKeys.map((key, n): FixedKey => ({ name: `API_KEYS[${n}]`, scope: "admin", digest: digestOf(key) }));
  return localKey === undefined ? keys : [...keys, { name: LOCAL, scope: "admin", digest: digestOf(localKey) }];
}

/** A server that answers. `close` lets requests under way finish, for a short while. */
export type RunningApi = { url: string; close(): Promise<void> };

/** @throws SluiceError when the port is taken or the address is not of this machine */
export async function listenApi(options: ApiOptions): Promise<RunningApi> {
  const { host, port } = options.config;
  const server = await createApi(options);
  try {
    await server.listen({ host, port });
  } catch (error) {
    await server.close();
    throw explainListen(error, host, port);
  }
  const address = server.server.address() as { port: number };
  let closing: Promise<void> | undefined;
  const close = async () => {
    const timer = setTimeout(() => server.server.closeAllConnections(), GRACE);
    await server.close().finally(() => clearTimeout(timer));
  };
  return { url: `http://${reachable(host)}:${address.port}`, close: () => (closing ??= close()) };
}

/** A host that one can type into a browser: that of a server bound to every address is this machine. */
function reachable(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}

function explainListen(error: unknown, host: string, port: number): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EADDRINUSE") {
    return new SluiceError(`port ${port} of ${host} is taken by another process`, {
      hint: `stop that process, or set PORT to another port; 0 takes any free one`,
      cause: error,
    });
  }
  if (code === "EACCES") {
    return new SluiceError(`port ${port} may not be opened by this user`, { hint: "set PORT to one above 1023", cause: error });
  }
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return new SluiceError(`HOST ${host} is not an address of this machine`, {
      hint: "set HOST to 127.0.0.1 for this machine alone, or to 0.0.0.0 with API_KEYS for others",
      cause: error,
    });
  }
  return error;
}

/** Bytes that are no HTTP, or too much of it, never become a request: they are answered on the socket. */
function answerUnreadable(error: { code?: string }, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) return void socket.destroy();
  const status = error.code === "HPE_HEADER_OVERFLOW" ? 431 : error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? 408 : 400;
  const details = { 400: "this is not HTTP", 408: "the request took too long to arrive", 431: "the headers are too large" } as const;
  const body = JSON.stringify(problemOf(status, details[status]));
  const head = [`HTTP/1.1 ${status} ${problemOf(status, "").title}`, `Content-Type: ${PROBLEM_TYPE}`, `Content-Length: ${body.length}`];
  socket.end(`${[...head, "Connection: close"].join("\r\n")}\r\n\r\n${body}`);
}
