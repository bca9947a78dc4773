import type { Server } from "node:http";
import type { Socket } from "node:net";
import { HttpProblem } from "./problem.ts";

/** What a client may send and how long it may take, in bytes and milliseconds. Node looks for the slow ones every second. */
export const LIMITS = {
  body: 64 * 1024,
  depth: 32,
  headers: 16 * 1024,
  headersWithin: 5_000,
  requestWithin: 10_000,
  keepAlive: 10_000,
  idle: 30_000,
  parameter: 200,
  perAddress: 1_000,
};

/**
 * Lets each address hold so many connections at a time: whoever opens more is cut off, and nobody else notices. A proxy
 * is one address; it has limits of its own.
 */
export function limitConnections(server: Server, perAddress = LIMITS.perAddress): void {
  const open = new Map<string, number>();
  server.on("connection", (socket: Socket) => {
    const address = socket.remoteAddress ?? "";
    const now = (open.get(address) ?? 0) + 1;
    if (now > perAddress) return void socket.destroy();
    open.set(address, now);
    socket.once("close", () => {
      const left = open.get(address)! - 1;
      if (left > 0) open.set(address, left);
      else open.delete(address);
    });
  });
}

/** @throws HttpProblem 400 where a body nests deeper than anything of ours does: what walks it would pay for that */
export function checkDepth(body: unknown): void {
  let level: unknown[] = [body];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > LIMITS.depth) throw new HttpProblem(400, `the body nests deeper than ${LIMITS.depth} levels`);
    level = level.flatMap(value => (typeof value === "object" && value !== null ? Object.values(value) : []));
  }
}
