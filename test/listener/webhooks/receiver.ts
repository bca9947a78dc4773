import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { EventPayload } from "../../../listener/journal/event-payload.ts";
import type { WebhookPayload } from "../../../listener/webhooks/payload.ts";

export type Received = {
  at: number;
  id: string;
  headers: IncomingHttpHeaders;
  text: string;
  payload: WebhookPayload;
  events: EventPayload[];
};

/** What a receiver does with a request after it was read; it answers 200 unless told. */
export type Answer = (response: ServerResponse, received: Received, request: IncomingMessage) => unknown;

/** A real HTTP server on loopback that keeps what it got. */
export async function openReceiver({ answer, port = 0 }: { answer?: Answer; port?: number } = {}) {
  const received: Received[] = [];
  const state = { answer, connections: 0 };
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const payload = JSON.parse(text) as WebhookPayload;
    const one = {
      at: Date.now(),
      id: String(request.headers["webhook-id"]),
      headers: request.headers,
      text,
      payload,
      events: [payload.data].flat(),
    };
    received.push(one);
    if (state.answer) await state.answer(response, one, request);
    else response.end("thanks");
  });
  server.on("connection", () => void (state.connections += 1));
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const own = (server.address() as AddressInfo).port;
  return {
    url: `http://127.0.0.1:${own}/hook`,
    port: own,
    received,
    connections: () => state.connections,
    /** Messages as text, in the order in which they came: `event 3`, by the amount of the transfers. */
    seen: () => received.map(({ payload, events }) => [payload.operation, ...events.map(event => event.arguments.value)].join(" ")),
    become(next: Answer | undefined) {
      state.answer = next;
    },
    async close() {
      server.closeAllConnections();
      if (server.listening) await new Promise(resolve => server.close(resolve));
    },
  };
}

export type Receiver = Awaited<ReturnType<typeof openReceiver>>;
