/**
 * Readers of the stream, in a process of their own so that nobody's clock waits for them: `node bench/api-readers.ts URL COUNT`, started
 * by `api-load.ts`. Says `open` once all of them are, and answers any message with what they saw.
 *
 * All count the messages that they got. Every tenth also looks whether the places of its events only ever go up.
 */
import { get } from "node:http";
import { eventually } from "../test/support/eventually.ts";

export type Seen = { readers: number; eventsPerReader: { least: number; most: number }; outOfOrder: number; brokenOff: number };

const EVERY = 10;
const EVENT = Buffer.from("event: event\nid: ");

const [url, count] = [process.argv[2]!, Number(process.argv[3])];
const readers = Array.from({ length: count }, (_, i) => openReader(i % EVERY === 0));
await eventually(() => readers.every(reader => reader.isOpen()), { timeout: 30_000 });
process.on("message", () => process.send!(seen()));
process.on("disconnect", () => process.exit());
process.send!("open");

function seen(): Seen {
  const counts = readers.map(reader => reader.events());
  return {
    readers: count,
    eventsPerReader: { least: Math.min(...counts), most: Math.max(...counts) },
    outOfOrder: readers.filter(reader => !reader.inOrder()).length,
    brokenOff: readers.filter(reader => !reader.isOpen()).length,
  };
}

function openReader(checks: boolean) {
  let [events, last, ordered, open] = [0, -1, true, false];
  let rest: Buffer = Buffer.alloc(0);
  const request = get(`${url}/api/v1/stream`, response => {
    open = response.statusCode === 200;
    response.on("data", (chunk: Buffer) => {
      const bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
      const end = bytes.lastIndexOf("\n\n") + 2;
      for (let at = bytes.indexOf(EVENT); at >= 0 && at < end; at = bytes.indexOf(EVENT, at + EVENT.length)) {
        events += 1;
        if (!checks) continue;
        const from = at + EVENT.length;
        const position = Number(bytes.toString("latin1", from, bytes.indexOf("-", from)));
        ordered &&= position > last;
        last = position;
      }
      rest = bytes.subarray(end);
    });
    response.on("close", () => (open = false));
    response.on("error", () => {});
  });
  request.on("error", () => (open = false));
  return { events: () => events, inOrder: () => ordered, isOpen: () => open };
}
