import type { TestEvent } from "node:test/reporters";

/** A reporter for node's test runner that says nothing but the counts: one JSON object a line, the whole run's last. */
export default async function* countReporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    if (event.type === "test:summary" && event.data.file === undefined) yield `${JSON.stringify(event.data.counts)}\n`;
  }
}
