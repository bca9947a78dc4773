import diagnostics from "node:diagnostics_channel";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import type { HookContext, NetworkHooks } from "hardhat/types/hooks";
import type { NetworkConnection } from "hardhat/types/network";
import { SluiceError } from "../errors.ts";
import { ensureBinding } from "./build.ts";
import type { Request } from "./chain-replay.ts";

type OnRequest = NetworkHooks["onRequest"];
type JsonRpcRequest = Parameters<OnRequest>[2];
type JsonRpcResponse = Awaited<ReturnType<OnRequest>>;

/** Stands before every call, from this process or over the network; `call` makes it. */
export type Intercept = (method: string, params: unknown[], call: () => Promise<JsonRpcResponse>) => Promise<JsonRpcResponse>;

/** A Hardhat chain in this process. Nobody outside reaches it before `listen`. */
export type Network = {
  request: Request;
  /** From now on every call passes through it. */
  intercept(through: Intercept): void;
  /** Answers the port. */
  listen(): Promise<number>;
  close(): Promise<void>;
};

/**
 * Makes a chain (id 31337, Hardhat's twenty accounts) whose first block has `genesisTime`, in seconds.
 * Throws SluiceError if `port` is taken.
 *
 * Blocks may share a second: a burst would otherwise run ahead of the clock by a second a block, and statistics per
 * minute with it. Transactions keep the order in which they came, so that a replay can repeat a block's.
 */
export async function createNetwork(options: { genesisTime: number; port: number }): Promise<Network> {
  const release = await holdPort(options.port);
  ensureBinding();
  const { default: hre } = await import("hardhat");
  let connection: NetworkConnection<string> | undefined;
  let through: Intercept | undefined;

  const handlers: Partial<NetworkHooks> = {
    async newConnection<T extends string>(context: HookContext, next: (context: HookContext) => Promise<NetworkConnection<T>>) {
      const made = await next(context);
      connection ??= made as NetworkConnection<string>;
      return made;
    },
    async onRequest(context, of, request, next) {
      const call = (): Promise<JsonRpcResponse> => next(context, of, request);
      if (through === undefined || of.id !== connection?.id) return call();
      return through(request.method, paramsOf(request), call);
    },
  };
  hre.hooks.registerHandlers("network", handlers);
  const server = await hre.network.createServer(
    {
      network: "node",
      chainType: "l1",
      override: {
        chainId: 31337,
        initialDate: new Date(options.genesisTime * 1000),
        allowBlocksWithSameTimestamp: true,
        loggingEnabled: false,
        mining: { auto: false, interval: 0, mempool: { order: "fifo" } },
      },
    },
    "127.0.0.1",
    options.port,
  );
  const { provider } = connection!;
  let untrack = (): void => {};

  return {
    request: async <T>(method: string, params: unknown[] = []) => (await provider.request({ method, params })) as T,
    intercept(next) {
      through = next;
    },
    async listen() {
      await release();
      const { port } = await server.listen();
      untrack = trackSockets(port);
      return port;
    },
    async close() {
      const closed = server.close().catch(() => {}); // Not listening yet.
      untrack();
      await closed;
      await release();
      hre.hooks.unregisterHandlers("network", handlers);
      await connection?.close();
    },
  };
}

function paramsOf({ params }: JsonRpcRequest): unknown[] {
  return Array.isArray(params) ? params : [];
}

/** The server would wait for its WebSocket clients to leave, for ever: answers how to cut every connection to `port`. */
function trackSockets(port: number): () => void {
  const sockets = new Set<Socket>();
  const onSocket = (message: unknown): void => {
    const { socket } = message as { socket: Socket };
    if (socket.localPort !== port) return;
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  };
  diagnostics.subscribe("net.server.socket", onSocket);
  return () => {
    diagnostics.unsubscribe("net.server.socket", onSocket);
    for (const socket of sockets) socket.destroy();
  };
}

/** Hardhat's server has no answer to a taken port, the process would end: so nobody gets it until `release`, just before it listens. */
async function holdPort(port: number): Promise<() => Promise<void>> {
  if (port === 0) return async () => {};
  const holder = createServer(socket => socket.destroy());
  holder.listen(port, "127.0.0.1");
  try {
    await once(holder, "listening");
  } catch (error) {
    const cause = error as Error;
    throw new SluiceError(`the local chain cannot listen on 127.0.0.1:${port}: ${cause.message}`, {
      hint: "stop what listens there (another chain?), give another port, or set RPC_URL to that chain",
      cause,
    });
  }
  let released: Promise<void> | undefined;
  return () => (released ??= new Promise<void>(resolve => void holder.close(() => resolve())));
}
