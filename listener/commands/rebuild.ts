import { readDeployment } from "../chain/deployment.ts";
import { app } from "../dapp/routes.ts";
import { planRebuild, type Rebuilt, rebuild as rebuildProjection } from "../worker/rebuild.ts";
import { openProcess } from "./process.ts";

/** Wipes a projection and has the workers apply the journal's events to it anew. */
export async function rebuild(projection: string, options: { dryRun?: boolean; json?: boolean }): Promise<void> {
  await using running = openProcess("rebuild");
  const { chainId } = readDeployment(running.config.deployment);
  const { db } = await running.openDatabase();
  const dryRun = options.dryRun === true;
  const rebuilt = await (dryRun ? planRebuild : rebuildProjection)({ db, app, chainId }, projection);
  process.stdout.write(options.json ? `${JSON.stringify({ dryRun, ...rebuilt }, null, 2)}\n` : describeRebuild(rebuilt, dryRun));
}

/** What a rebuild did, or would do, for a person. */
export function describeRebuild({ tables, queues }: Rebuilt, dryRun: boolean): string {
  const would = dryRun ? "would be " : "";
  return [
    ...Object.entries(tables).map(([table, rows]) => `table ${table}: ${rows} rows ${would}removed`),
    ...Object.entries(queues).map(
      ([queue, n]) => `queue ${queue}: ${n.removed} deliveries ${would}removed, ${n.events} events ${would}applied anew`,
    ),
    ...(dryRun ? [] : ["the workers apply them now: `npm run status` shows how far they are"]),
  ]
    .map(line => `${line}\n`)
    .join("");
}
