import { readDeployment } from "../chain/deployment.ts";
import { checkDeployment, readIdentity } from "../chain/identity.ts";
import { openRpc } from "../chain/rpc.ts";
import { nodeSource } from "../chain/source.ts";
import { app } from "../dapp/routes.ts";
import { planResync, type ResyncPlan, resync as resyncJournal } from "../journal/resync.ts";
import { confirm } from "./confirm.ts";
import { finalityOf, followed } from "./listener.ts";
import { openProcess, withLocalNode } from "./process.ts";

export type ResyncOptions = { from?: number; yes?: boolean; dryRun?: boolean; json?: boolean };

/** Takes the journal and the projections back to a block that the node's chain still has, after asking. */
export async function resync(options: ResyncOptions): Promise<void> {
  await using running = openProcess("resync");
  const { log, signal } = running;
  const config = withLocalNode(running.config);
  const deployment = readDeployment(config.deployment);
  const { db } = await running.openDatabase();
  const rpc = openRpc(config.rpcUrls, { log, signal });
  running.defer(() => rpc.close());
  const identity = await readIdentity(rpc);
  await checkDeployment(rpc, identity, deployment);
  const { filter } = followed(app, deployment);
  const source = nodeSource({ ...config, rpc, filter, finality: finalityOf(config.finality, identity), signal, log });

  const plan = await planResync({ db, app, source, identity }, options.from);
  const needed = plan.halted !== null || plan.from <= (plan.tip?.number ?? -1);
  const asked = !options.dryRun && needed;
  if (asked && !options.yes) {
    if (!options.json) process.stdout.write(describePlan(plan));
    if (!(await confirm("Go on?", "npm run resync -- --yes"))) {
      process.stdout.write("nothing was changed\n");
      return;
    }
  }
  if (asked) await resyncJournal(db, { app, identity }, plan);
  if (options.json) process.stdout.write(`${JSON.stringify({ done: asked, ...plan }, null, 2)}\n`);
  else if (!needed) process.stdout.write("nothing to repair: the node's chain holds every block of the journal\n");
  else if (!asked) process.stdout.write(describePlan(plan));
  else process.stdout.write(`done: listeners go on from block ${plan.from} (if none runs: \`npm run listen\`)\n`);
}

/** What a resync would do, for a person. */
export function describePlan({ from, ancestor, tip, finalized, halted, events, ran }: ResyncPlan): string {
  const lines = [
    halted ? `halted since ${halted.at}: ${halted.reason}` : "the journal is not halted",
    ancestor
      ? `block ${ancestor.number} ${ancestor.hash} is the node's and the journal's, and stays`
      : "the node's chain has nothing of the journal's: it begins anew",
    from > (tip?.number ?? -1)
      ? "nothing is taken back: the node's chain holds the whole journal (again)"
      : `blocks ${from} to ${tip?.number} (final up to ${finalized?.number ?? "none"}) are taken back with ${events} events, and read again`,
  ];
  if (ran > 0) {
    lines.push(
      `for ${ran} of these events a task ran, which cannot be undone: where the event comes again in another block it runs again under`,
      "another key, and where it comes in the same block it runs again under the same key",
    );
  }
  return `${lines.join("\n")}\n`;
}
