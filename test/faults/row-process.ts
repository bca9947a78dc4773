/** One row, in a process of its own: `run.ts` starts it with the row's name, how often and the seed, and is told of lines and of the result. */
import { constants, setPriority } from "node:os";
import { broken, type FaultRow } from "./row.ts";
import { rows } from "./rows.ts";
import { closeSites } from "./site.ts";

export type Told = { line: string } | { row: FaultRow };

const [name, times, seed] = process.argv.slice(2) as [string, string, string];
const { virtual, load } = rows.find(row => row.name === name)!;
// Whoever waits beside it for something real goes first.
if (virtual) setPriority(constants.priority.PRIORITY_BELOW_NORMAL);

let ending = false;
const end = () => {
  if (!ending) void closeSites().finally(() => process.exit(130));
  ending = true;
};
// Not once: `timeout` and a terminal tell a whole group, and then the parent tells it again.
for (const told of ["SIGINT", "SIGTERM", "disconnect"]) process.on(told, end);

const tell = (told: Told) => new Promise(resolve => process.send!(told, resolve));
await tell({ row: await attempt() });
process.exit();

/** A row that breaks down is one that does not hold. */
async function attempt(): Promise<FaultRow> {
  try {
    return await (await load())({ times: Number(times), seed: Number(seed), log: line => void tell({ line }) });
  } catch (error) {
    return broken(name, Number(times), error instanceof Error ? (error.stack ?? error.message) : String(error));
  }
}
