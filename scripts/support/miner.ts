/** A worker thread of searchInThreads: tries ranges of nonces until it has a solution or is terminated. */
import { parentPort, workerData } from "node:worker_threads";
import { type MinerMessage, type MinerTask, search } from "./mining.ts";

const task: MinerTask = workerData;
for (let start = task.start; ; start += BigInt(task.tries)) {
  const solution = search(task, start, task.tries);
  const message: MinerMessage = solution ? { solution } : { tried: task.tries };
  parentPort!.postMessage(message);
  if (solution) break;
}
