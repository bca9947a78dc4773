import { once } from "node:events";
import { createServer } from "node:net";

/**
 * Ports that no system hands out by itself (Linux does so from 32768 on): nobody else gets one between here and its use. Each
 * process has some of its own, which it takes in turn.
 */
const FIRST = 10_000;
const PER_PROCESS = 100;
const SHARES = 60;

let taken = 0;

/** A port of loopback on which nobody listens. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < PER_PROCESS; tries++) {
    const port = FIRST + (process.pid % SHARES) * PER_PROCESS + (taken++ % PER_PROCESS);
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await once(server, "listening").then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
  throw new Error("every port of this process is taken");
}
