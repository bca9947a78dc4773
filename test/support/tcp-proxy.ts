import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { sleep } from "../../listener/db.ts";

/** `request` goes to the server, `reply` comes from it. */
export type Direction = "request" | "reply";
/** What becomes of a piece of the stream: it goes on, or it is dropped and the connection reset. */
export type Fate = "pass" | "cut";

type Ambush = { direction: Direction; matches: (piece: Buffer) => boolean; act: () => Fate; fired: () => void };

export type TcpProxy = {
  port: number;
  /** The same URL, through this proxy. */
  through(url: string): string;
  /** Connections that are open now. */
  links(): number;
  /** Milliseconds that every piece waits before it goes on, in both directions. */
  delay(ms: number): void;
  /** Nothing goes on and nothing is refused, as in a network that drops everything. Ends with `false`. */
  blackhole(on: boolean): void;
  /** Resets every connection that is open now. */
  reset(): void;
  /** Whether a new connection is reset at once. */
  refuse(on: boolean): void;
  /**
   * Lies in wait for the next piece that matches and acts while it is held here: an `act` that kills the client kills it
   * after it sent the request and before the server has it, or after the server answered and before the client knows.
   * Resolves when that has happened; `cancel` ends the waiting.
   */
  ambush(direction: Direction, matches: (piece: Buffer) => boolean, act: () => Fate): { fired: Promise<void>; cancel(): void };
  close(): Promise<void>;
};

/** A proxy on a free port of loopback, before the server at `target`, a URL with a port. It keeps order and passes back pressure on. */
export async function openTcpProxy(target: string): Promise<TcpProxy> {
  const { hostname, port: targetPort } = new URL(target);
  const links = new Set<readonly [Socket, Socket]>();
  let ambushes: Ambush[] = [];
  let delayed = 0;
  let refusing = false;
  let passage = Promise.withResolvers<void>();
  passage.resolve();

  function fateOf(direction: Direction, piece: Buffer): Fate {
    const ambush = ambushes.find(it => it.direction === direction && it.matches(piece));
    if (!ambush) return "pass";
    ambushes = ambushes.filter(it => it !== ambush);
    const fate = ambush.act();
    ambush.fired();
    return fate;
  }

  async function carry(direction: Direction, from: Socket, to: Socket, cut: () => void): Promise<void> {
    for await (const piece of from as AsyncIterable<Buffer>) {
      if (delayed > 0) await sleep(delayed);
      await passage.promise;
      if (fateOf(direction, piece) === "cut") return cut();
      if (to.destroyed) return;
      if (!to.write(piece)) await Promise.race([once(to, "drain"), once(to, "close")]);
    }
    await passage.promise;
    to.end();
  }

  const server = createServer({ allowHalfOpen: true, noDelay: true }, client => {
    if (refusing) return void client.on("error", () => {}).resetAndDestroy();
    const upstream = connect({ host: hostname, port: Number(targetPort), noDelay: true, allowHalfOpen: true });
    const link = [client, upstream] as const;
    links.add(link);
    const cut = () => {
      for (const socket of link) breakOff(socket);
    };
    for (const socket of link) {
      // What breaks on one side breaks on the other; the reason is of no interest here.
      socket.on("error", cut);
      socket.on("close", () => void links.delete(link));
    }
    carry("request", client, upstream, cut).catch(cut);
    carry("reply", upstream, client, cut).catch(cut);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const reset = () => {
    for (const link of links) for (const socket of link) breakOff(socket);
  };

  return {
    port,
    through(url) {
      const changed = new URL(url);
      changed.host = `127.0.0.1:${port}`;
      return changed.href;
    },
    links: () => links.size,
    delay(ms) {
      delayed = ms;
    },
    blackhole(on) {
      if (!on) return passage.resolve();
      passage.resolve();
      passage = Promise.withResolvers();
    },
    reset,
    refuse(on) {
      refusing = on;
    },
    ambush(direction, matches, act) {
      const { promise: fired, resolve } = Promise.withResolvers<void>();
      const ambush = { direction, matches, act, fired: resolve };
      ambushes.push(ambush);
      return {
        fired,
        cancel() {
          ambushes = ambushes.filter(it => it !== ambush);
        },
      };
    },
    async close() {
      passage.resolve();
      reset();
      server.close();
      await once(server, "close");
    },
  };
}

/** With a reset, unless the socket is being ended: Node 24 never closes one that is reset then, and spins for ever when its process ends. */
function breakOff(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}
