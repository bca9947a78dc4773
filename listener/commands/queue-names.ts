import type { App } from "../app.ts";
import { SluiceError } from "../errors.ts";

/** @throws SluiceError that names those queues which the application does not have */
export function checkQueues(app: App, queues: readonly string[]): void {
  const unknown = queues.filter(queue => !app.routes.some(route => route.queue === queue));
  if (unknown.length === 0) return;
  throw new SluiceError(`there is no queue ${unknown.join(", ")}`, {
    hint: `the queues are ${app.routes.map(route => route.queue).join(", ")}`,
  });
}

/** @throws SluiceError that names those queues whose jobs are carried to workers elsewhere */
export function checkOurs(app: App, queues: readonly string[]): void {
  const carried = app.routes.filter(({ queue, carry }) => carry && queues.includes(queue)).map(({ queue }) => queue);
  if (carried.length === 0) return;
  throw new SluiceError(`the jobs of ${carried.join(", ")} are for workers elsewhere`, {
    hint: "docs/workers-in-other-languages.md shows how to write them; leave the name out here",
  });
}
