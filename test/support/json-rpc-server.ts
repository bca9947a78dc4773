import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type RpcRequest = { id: number; method: string; params: unknown[] };
type Answer = { result?: unknown; error?: { code: number; message: string; data?: unknown } };
/** What the node does with a request: an answer, or anything at all with the raw response. */
export type Rule = (request: RpcRequest, response: ServerResponse) => Answer | undefined;

/** A tiny JSON-RPC node on HTTP, whose behaviour can be changed at any time. */
export async function jsonRpcServer(rule: Rule, port = 0) {
  const requests: RpcRequest[] = [];
  let current = rule;
  const answer = async (incoming: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const request = JSON.parse(Buffer.concat(chunks).toString()) as RpcRequest;
    requests.push(request);
    const given = current(request, response);
    if (given) response.setHeader("content-type", "application/json").end(JSON.stringify({ jsonrpc: "2.0", id: request.id, ...given }));
  };
  const server = createServer((incoming, response) => void answer(incoming, response).catch(() => response.destroy()));
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const { port: bound } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    requests,
    behave(next: Rule) {
      current = next;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
