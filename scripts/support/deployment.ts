import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/** What the listener needs to know of a deployment: which chain, where, and from which block on there can be events. */
export interface Deployment {
  chainId: number;
  contracts: { SluiceToken: Place } & Record<string, Place>;
}

/** An address, and the block that holds the deployment. */
interface Place {
  address: string;
  block: number;
}

/** The deployment file that all programs of this project agree on. */
export function deploymentFile(environment: NodeJS.ProcessEnv = process.env): string {
  return environment.DEPLOYMENT || join(environment.DATA_DIR || ".sluice", "deployment.json");
}

/** Writes the file as a whole or not at all: a reader never sees half of it. */
export async function writeDeployment(file: string, deployment: { chainId: number; contracts: Record<string, Place> }): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(deployment, null, 2)}\n`);
  await rename(draft, file);
}

/** Reads the file. Throws what `readFile` and `JSON.parse` throw; the shape is the writer's. */
export async function readDeployment(file: string): Promise<Deployment> {
  return JSON.parse(await readFile(file, "utf8")) as Deployment;
}
