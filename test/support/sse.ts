import assert from "node:assert/strict";
import { eventually } from "./eventually.ts";

/** A message of a stream of server-sent events, its data read as JSON. `id`: what a client would come back with. */
// biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of the JSON
export type Message = { event: string; id: string; data: any };

/** The messages in a text of whole lines, and the id that holds after it. A comment, or an id alone, is no message. */
export function parseMessages(text: string, lastId = ""): { messages: Message[]; lastId: string; rest: string } {
  const messages: Message[] = [];
  const blocks = text.split("\n\n");
  const rest = blocks.pop()!;
  for (const block of blocks) {
    const fields = new Map(block.split("\n").map(line => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
    lastId = fields.get("id") ?? lastId;
    if (fields.has("data")) messages.push({ event: fields.get("event") ?? "message", id: lastId, data: JSON.parse(fields.get("data")!) });
  }
  return { messages, lastId, rest };
}

/** Reads a stream until `close`, as a browser's EventSource would, but never comes back by itself. */
export async function openStream(url: string, headers: Record<string, string> = {}) {
  const leaving = new AbortController();
  const response = await fetch(url, { headers, signal: leaving.signal });
  assert.equal(response.status, 200, await (response.status === 200 ? "" : response.text()));
  const stream = { messages: [] as Message[], lastId: "", text: "", ended: false };
  const read = async () => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of response.body!) {
      const text = decoder.decode(chunk, { stream: true });
      stream.text += text;
      const parsed = parseMessages(rest + text, stream.lastId);
      rest = parsed.rest;
      stream.lastId = parsed.lastId;
      stream.messages.push(...parsed.messages);
    }
  };
  const reading = read()
    .catch(() => {})
    .finally(() => {
      stream.ended = true;
    });
  /** Events and reorgs, without the statuses. */
  const changes = () => stream.messages.filter(({ event }) => event !== "status");
  return {
    response,
    stream,
    changes,
    /** Waits until there are so many events and reorgs. */
    async took(count: number): Promise<Message[]> {
      await eventually(() => changes().length >= count, { timeout: 60_000, what: () => `${changes().length} of ${count} changes` });
      return changes();
    },
    async close(): Promise<void> {
      leaving.abort();
      await reading;
    },
  };
}
