import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { eventually } from "./eventually.ts";

export type Running = {
  child: ChildProcess;
  /** What it wrote so far. */
  stdout(): string;
  stderr(): string;
  /** Resolves when it wrote this, to either. */
  said(pattern: RegExp, timeout?: number): Promise<unknown>;
  exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** Ends it with this signal (unless it has ended) and waits. */
  end(signal?: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
};

/** Starts a program of which the caller ends what it started. */
export function run(program: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}, cwd?: string): Running {
  const child = spawn(program, args, { env: environment, cwd, stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout!.on("data", chunk => void (stdout += chunk));
  child.stderr!.on("data", chunk => void (stderr += chunk));
  const exited = once(child, "close").then(([code, signal]) => ({ code, signal }));
  return {
    child,
    stdout: () => stdout,
    stderr: () => stderr,
    said: (pattern, timeout = 60_000) =>
      eventually(() => pattern.test(stdout) || pattern.test(stderr), {
        timeout,
        what: () => `${args.join(" ")} says ${pattern}; it said: ${stdout}${stderr}`,
      }),
    exited,
    async end(signal = "SIGTERM") {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal);
      return exited;
    },
  };
}

/** Runs a command of Sluice: `sluice("listen", environment)`. */
export function sluice(command: string, environment: NodeJS.ProcessEnv): Running {
  const { PATH, HOME } = process.env;
  return run(process.execPath, ["listener/main.ts", ...command.split(" ")], { PATH, HOME, ...environment });
}
