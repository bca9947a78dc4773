#!/usr/bin/env node
import { enableCompileCache, flushCompileCache } from "node:module";
import { join } from "node:path";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { describe, SluiceError } from "./errors.ts";
import { redactUrls } from "./redact.ts";

/**
 * Compiled code is kept beside the packages, which `npm ci` empties: a process that comes back, after a crash or in a rolling
 * restart, is there in two thirds of the time. Where nothing can be written there, nothing is kept.
 */
enableCompileCache(join(import.meta.dirname, "../node_modules/.cache/sluice"));
/** Milliseconds after which it is written without waiting for the end, which a process that is killed never sees. */
const FLUSH_AFTER = 5_000;
setTimeout(flushCompileCache, FLUSH_AFTER).unref();

const whole = (given: string) => {
  if (!/^[1-9]\d{0,5}$/.test(given)) throw new InvalidArgumentError("expected a whole number from 1 on, such as 8");
  return Number(given);
};
const duration = (given: string) => {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(given);
  if (!match) throw new InvalidArgumentError("expected a time such as 20s, 500ms or 5m");
  return Number(match[1]) * { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[match[2] as "ms"];
};
const number = (given: string) => {
  if (!/^\d{1,15}$/.test(given)) throw new InvalidArgumentError("expected a whole number");
  return Number(given);
};
const words = (given: string) => given.split(",").map(word => word.trim());

const program = new Command("sluice")
  .description("Contract events in, BullMQ jobs out: exactly once in effect, through reorgs, crashes and bad nodes.")
  .enablePositionalOptions()
  .showHelpAfterError("(run with --help for what it takes)")
  .addHelpText("after", "\nSettings come from the environment or a file .env; see the README.");

// Each command loads only what it needs: `--help` works in a checkout that is not built yet.
program
  .command("start")
  .description("everything in one process: chain and database if none are given, deployment, listener, workers, API, demo traffic")
  .option("--no-traffic", "send no transactions")
  .option("--for <time>", "run that long, stop the traffic, drain, audit, report and exit", duration)
  .option("--json", "with --for: print one JSON object and nothing else on standard output")
  .action(async options => {
    // The routes import the contracts' ABIs, so the build comes before whatever imports the routes.
    await (await import("./embedded/build.ts")).buildContracts();
    await (await import("./commands/start.ts")).start(options);
  });
program
  .command("listen")
  .description("follow the chain, write the journal, relay deliveries; run several for high availability")
  .option("--audit-every <time>", "audit what came since the last audit, this long after it, such as 1m", duration)
  .action(async options => (await import("./commands/listen.ts")).listen(options));
program
  .command("work")
  .description("run workers; run as many as you like")
  .option("--queues <names>", "only these queues, separated by commas", words)
  .option("--concurrency <n>", "deliveries at a time per queue", whole)
  .action(async options => (await import("./commands/work.ts")).work(options));
program
  .command("serve")
  .description("serve dashboard and API")
  .action(async () => (await import("./commands/serve.ts")).serve());
program
  .command("status")
  .description("head, tip, finalized, lag, leader, queues, dead letters, nodes")
  .option("--json", "print JSON")
  .action(async options => (await import("./commands/status.ts")).status(options));
program
  .command("audit")
  .description("compare journal and projections with the chain; exit 1 where they differ")
  .option("--since [block]", "only what came from this block on, or, without one, since the last audit", number)
  .option("--json", "print JSON")
  .action(async options => (await import("./commands/audit.ts")).audit(options));
const deadLetters = program
  .command("dead-letters")
  .description("list what was given up, with the reason; `dead-letters retry` tries again")
  .option("--queue <name>", "only those of this queue")
  .option("--event <event>", "only those that cover an event of this name, or with this id")
  .option("--limit <n>", "as many at most", whole, 50)
  .option("--json", "print JSON: the whole reason with its stack, and the raw log of what could not be decoded")
  .action(async options => (await import("./commands/dead-letters.ts")).deadLetters(options));
deadLetters
  .command("retry")
  .description("put dead letters back into their queues, with all attempts before them; only what is live is applied")
  .option("--queue <name>", "those of this queue")
  .option("--position <n>", "the one at this place of the queue", number)
  .option("--event <event>", "those that cover an event of this name, or with this id")
  .option("--all", "all of them")
  .option("--dry-run", "only say which")
  .option("--json", "print JSON")
  .action(async options => (await import("./commands/dead-letters.ts")).retry(options));
program
  .command("replay")
  .description("run events again through a queue: a projection takes back and applies, a task runs once more under the same key")
  .requiredOption("--queue <names>", "through these queues, separated by commas, or `all`", words)
  .option("--from-block <n>", "only events of this block and later ones", number)
  .option("--to-block <n>", "only events of this block and earlier ones", number)
  .option("--event <event>", "only events of this name, or the one with this id")
  .option("--dry-run", "only say how many")
  .option("--json", "print JSON")
  .addHelpText("after", "\nWhat is still under way is left alone, and so are dead letters: see `dead-letters retry`.")
  .action(async options => (await import("./commands/replay.ts")).replay(options));
program
  .command("rebuild")
  .description("wipe one projection and run it again from the journal, without the chain, while the rest runs")
  .argument("<projection>", "its name, such as balances")
  .option("--dry-run", "only say what would be removed and applied")
  .option("--json", "print JSON")
  .action(async (projection, options) => (await import("./commands/rebuild.ts")).rebuild(projection, options));
program
  .command("resync")
  .description("repair a halted journal: take back what the chain no longer has, final or not, and read it again")
  .option("--from <block>", "take back from this block on, where that is earlier than the first one that differs", number)
  .option("--dry-run", "only say what would be taken back")
  .option("--yes", "do not ask")
  .option("--json", "print JSON")
  .addHelpText("after", "\nA listener that is halted goes on by itself afterwards; one that writes must be stopped first.")
  .action(async options => (await import("./commands/resync.ts")).resync(options));
const keys = program.command("keys").description("API keys: create, list, revoke");
keys
  .command("create")
  .description("make a key and print it; it is shown this once")
  .requiredOption("--scope <scope>", "read, operate or admin")
  .requiredOption("--name <name>", "what it is for")
  .option("--json", "print JSON")
  .action(async options => (await import("./commands/api-keys.ts")).create(options));
keys
  .command("list")
  .description("every key that there is or was")
  .option("--json", "print JSON")
  .action(async options => (await import("./commands/api-keys.ts")).list(options));
keys
  .command("revoke")
  .description("end a key: a running API refuses it at once")
  .argument("<id>", "of `keys list`")
  .option("--json", "print JSON")
  .action(async (id, options) => (await import("./commands/api-keys.ts")).revoke(id, options));
program
  .command("doctor")
  .description("check the machine and the configuration, and say what to do")
  .option("--json", "print JSON")
  .action(async options => (await import("./commands/doctor.ts")).doctor(options));
program
  .command("reset")
  .description("empty the local data, after asking")
  .option("--yes", "do not ask")
  .action(async options => (await import("./commands/reset.ts")).reset(options));

program.exitOverride();
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode;
  } else {
    process.stderr.write(`${redactUrls(explain(error))}\n`);
    process.exitCode = 1;
  }
}
// Everything is closed by now. What still holds the process, such as a connection that waits for a Redis that is away, must not.
setTimeout(() => process.exit(), 500).unref();

/** What a person reads of an error: the message, what to do; a stack only where it is a fault of ours. */
function explain(error: unknown): string {
  // What fails while a failure is being cleaned up is a consequence: the first one is what a person needs to read.
  if (error instanceof SuppressedError) return explain(error.suppressed);
  if (error instanceof SluiceError) {
    const cause = error.cause === undefined ? "" : ` (${describe(error.cause)})`;
    return `sluice: ${error.message}${cause}${error.hint ? `\n  → ${error.hint}` : ""}`;
  }
  const notBuilt =
    error instanceof Error && (error as NodeJS.ErrnoException).code === "ERR_MODULE_NOT_FOUND" && /artifacts/.test(error.message);
  if (notBuilt) return "sluice: the contracts are not built\n  → run `npm run build`";
  return `sluice: ${error instanceof Error ? error.stack : String(error)}`;
}
