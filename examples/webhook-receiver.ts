/**
 * A receiver of Sluice's webhooks: it verifies, takes each message once, and undoes what the chain took back.
 *
 *     WEBHOOK_SECRET=whsec_… PORT=8080 node examples/webhook-receiver.ts
 *
 * GET / shows the volume that it has counted. State is in memory here; in yours, the id of the message and its effect belong
 * into one transaction of a database.
 */
import { createServer, type IncomingMessage } from "node:http";
import { verifyWebhook } from "../listener/webhooks/verify.ts";

type Event = { id: string; name: string; arguments: Record<string, string> };
type Message = { type: string; operation: "event" | "reverted" | "test"; data: Event | Event[] };

const secrets = (process.env.WEBHOOK_SECRET ?? "").split(",").filter(Boolean);
if (secrets.length === 0)
  throw new Error("set WEBHOOK_SECRET to the secret that creating the endpoint gave (two, with a comma, while it is rotated)");

/** Ids of messages that were taken. A message may come twice, and always under the same id. */
const taken = new Set<string>();
let volume = 0n;

function apply({ operation, data }: Message): void {
  for (const event of [data].flat()) {
    if (event.name !== "Transfer") continue;
    const amount = BigInt(event.arguments.value!);
    volume += operation === "reverted" ? -amount : amount;
  }
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const server = createServer(async (request, response) => {
  if (request.method !== "POST") return void response.end(JSON.stringify({ volume: String(volume), messages: taken.size }));
  let message: Message;
  try {
    message = verifyWebhook<Message>(await bodyOf(request), request.headers, secrets);
  } catch (error) {
    return void response.writeHead(400).end((error as Error).message);
  }
  const id = String(request.headers["webhook-id"]);
  if (!taken.has(id)) {
    taken.add(id);
    apply(message);
  }
  // Any 2xx says: it is mine now. Whatever else, or no answer in time, and it comes again.
  response.writeHead(204).end();
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  const { port } = server.address() as { port: number };
  console.log(`receiving at http://127.0.0.1:${port}/`);
});
