import { readDeployment } from "../chain/deployment.ts";
import { app } from "../dapp/routes.ts";
import { chooseEvent } from "../worker/event-choice.ts";
import { type Replayed, replay as replayQueue, whyNotReplayed } from "../worker/replay.ts";
import { openProcess } from "./process.ts";
import { checkQueues } from "./queue-names.ts";

export type ReplayOptions = {
  /** Names of queues, or `all` alone. */
  queue: string[];
  fromBlock?: number;
  toBlock?: number;
  event?: string;
  dryRun?: boolean;
  json?: boolean;
};

/** Runs events again through queues, and says how many. */
export async function replay(options: ReplayOptions): Promise<void> {
  const all = options.queue.length === 1 && options.queue[0] === "all";
  if (!all) checkQueues(app, options.queue);
  await using running = openProcess("replay");
  const { chainId } = readDeployment(running.config.deployment);
  const { db } = await running.openDatabase();
  const event = options.event === undefined ? undefined : chooseEvent(app, chainId, options.event);
  const routes = app.routes.filter(({ queue }) => all || options.queue.includes(queue));
  const refused = all ? routes.flatMap(route => whyNotReplayed(route) ?? []) : [];
  const replayed: Replayed[] = [];
  for (const route of routes) {
    if (all && whyNotReplayed(route)) continue;
    const settings = { db, app, chainId, dryRun: options.dryRun === true };
    replayed.push(await replayQueue(settings, route, { fromBlock: options.fromBlock, toBlock: options.toBlock, event }));
  }
  if (options.json) process.stdout.write(`${JSON.stringify({ dryRun: options.dryRun === true, queues: replayed, refused }, null, 2)}\n`);
  else process.stdout.write(describeReplay(replayed, refused, options.dryRun === true));
}

/** What a replay did, or would do, for a person. */
export function describeReplay(replayed: readonly Replayed[], refused: readonly string[], dryRun: boolean): string {
  const lines = replayed.map(({ queue, events, deliveries, open, dead, undelivered }) => {
    const left = [
      open && `${open} still under way`,
      dead && `${dead} dead: use \`dead-letters retry\``,
      undelivered && `${undelivered} not delivered yet`,
    ].filter(Boolean);
    const what = `${events} events ${dryRun ? "would run" : "run"} again in ${deliveries} deliveries`;
    return `${queue}: ${what}${left.length > 0 ? `; left alone: ${left.join(", ")}` : ""}`;
  });
  return `${[...lines, ...refused.map(why => `left out: ${why}`)].join("\n")}\n`;
}
