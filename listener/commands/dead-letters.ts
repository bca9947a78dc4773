import { readDeployment } from "../chain/deployment.ts";
import { app } from "../dapp/routes.ts";
import type { Db } from "../db.ts";
import { transaction } from "../db.ts";
import { SluiceError } from "../errors.ts";
import { type DeadLetter, type DeadLetterChoice, listDeadLetters, retryDeadLetters } from "../worker/dead-letters.ts";
import { chooseEvent } from "../worker/event-choice.ts";
import { openProcess } from "./process.ts";
import { checkQueues } from "./queue-names.ts";
import { printable } from "./terminal.ts";

type Options = { queue?: string; event?: string; json?: boolean };

/** Lists what was given up, with the reason. */
export async function deadLetters(options: Options & { limit: number }): Promise<void> {
  await using running = openProcess("dead-letters");
  const { db, chainId } = await open(running);
  const letters = await listDeadLetters(db, chainId, { ...choose(chainId, options), limit: options.limit });
  process.stdout.write(options.json ? `${JSON.stringify(letters, null, 2)}\n` : describeLetters(letters, "no dead letters"));
}

/** Puts dead letters back into their queues, and says which. */
export async function retry(options: Options & { position?: number; all?: boolean; dryRun?: boolean }): Promise<void> {
  if (!options.all && options.queue === undefined && options.event === undefined) {
    throw new SluiceError("which dead letters?", { hint: "say --queue (with --position for one), --event, or --all" });
  }
  if (options.position !== undefined && options.queue === undefined) throw new SluiceError("a position is one of a queue: say --queue too");
  await using running = openProcess("dead-letters");
  const { db, chainId } = await open(running);
  const choice = { ...choose(chainId, options), position: options.position };
  const letters = options.dryRun
    ? await listDeadLetters(db, chainId, choice)
    : await transaction(db, tx => retryDeadLetters(tx, chainId, choice));
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ dryRun: options.dryRun === true, retried: letters }, null, 2)}\n`);
    return;
  }
  const done = options.dryRun ? "would be tried again" : "tried again";
  process.stdout.write(`${describeLetters(letters, "no such dead letter")}${letters.length} ${done}\n`);
}

async function open(running: ReturnType<typeof openProcess>): Promise<{ db: Db; chainId: number }> {
  const { chainId } = readDeployment(running.config.deployment);
  const { db } = await running.openDatabase();
  return { db, chainId };
}

function choose(chainId: number, { queue, event }: Options): DeadLetterChoice {
  if (queue !== undefined) checkQueues(app, [queue]);
  return { queue, event: event === undefined ? undefined : chooseEvent(app, chainId, event) };
}

/** Dead letters for a person: two lines for each, and one per event. */
export function describeLetters(letters: readonly DeadLetter[], none: string, now = new Date()): string {
  if (letters.length === 0) return `${none}\n`;
  const lines = letters.flatMap(({ queue, position, operation, events, attempts, reason, at }) => [
    `${queue} ${position}  ${operation}  ${attempts} attempts, ${age(now.getTime() - at.getTime())} ago`,
    `  ${printable(reason)}`,
    ...events.map(({ id, name, live }) => `  ${name}  ${id}${live ? "" : "  (orphaned: a retry applies nothing)"}`),
  ]);
  return `${lines.join("\n")}\n`;
}

/** A time in its largest whole unit: `3 h`. */
function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1_000));
  for (const [unit, length] of [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
  ] as const) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return `${seconds} s`;
}
