import { network } from "hardhat";
import { freePort } from "./ports.ts";

/** A Hardhat chain of this process, on HTTP and WebSocket at a free port. */
export async function hardhatNode(): Promise<{ url: string; close(): Promise<void> }> {
  const server = await network.createServer({ network: "node", chainType: "l1" }, "127.0.0.1", await freePort());
  const { address, port } = await server.listen();
  return { url: `http://${address}:${port}`, close: () => server.close() };
}
