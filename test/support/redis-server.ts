import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { freePort } from "./ports.ts";

/** The program `redis-server` of this machine, or undefined. */
export function findRedisServer(): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"];
  return folders.map(folder => join(folder, "redis-server")).find(file => existsSync(file));
}

const POLICY = "/usr/sbin/policy-rc.d";

/**
 * Installs Debian's Redis where this process may: as root on a machine with apt. The package would start a service;
 * a policy that forbids it stands there for as long as the installation takes.
 *
 * @returns why there is none afterwards, or undefined when there is one
 */
export function installRedisServer(): string | undefined {
  const apt = ["/usr/bin/apt-get", "/bin/apt-get"].find(file => existsSync(file));
  if (!apt) return "redis-server is not installed, and this is no Debian to install it on";
  if (process.getuid?.() !== 0) return "redis-server is not installed, and only root may install it (apt-get install redis-server)";
  const forbids = !existsSync(POLICY);
  if (forbids) writeFileSync(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    for (const step of [
      ["update", "-qq"],
      ["install", "-y", "-qq", "--no-install-recommends", "redis-server"],
    ]) {
      const { status, stdout, stderr } = spawnSync(apt, step, {
        encoding: "utf8",
        timeout: 180_000,
        env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
      });
      if (status !== 0) return `apt-get ${step[0]} failed: ${`${stdout}${stderr}`.trim().split("\n").slice(-3).join(" ")}`;
    }
  } finally {
    if (forbids) rmSync(POLICY, { force: true });
  }
  return findRedisServer() ? undefined : "apt-get installed redis-server, but it is nowhere to be found";
}

export type RedisServer = {
  url: string;
  port: number;
  /** Where its data is. */
  dir: string;
  /** Ends it in order; with `SIGKILL` as a crash would. The data stays until `remove`. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Starts it again on the same port and data. */
  start(): Promise<void>;
  /** Stops it and deletes its data. */
  remove(): Promise<void>;
};

/** Starts a Redis of our own: a free port on loopback unless one is given, a directory of its own, and only these settings. */
export async function startRedisServer(settings: Record<string, string> = {}): Promise<RedisServer> {
  const program = findRedisServer();
  if (!program) throw new Error("redis-server is not installed");
  const port = settings.port ? Number(settings.port) : await freePort();
  const dir = mkdtempSync(join(tmpdir(), "sluice-redis-"));
  const all = {
    port: String(port),
    bind: "127.0.0.1",
    dir,
    save: "",
    appendonly: "no",
    "maxmemory-policy": "noeviction",
    ...settings,
  };
  const args = Object.entries(all).flatMap(([name, value]) => [`--${name}`, value]);
  let child: ChildProcess | undefined;

  const server: RedisServer = {
    url: `redis://127.0.0.1:${port}`,
    port,
    dir,
    async start() {
      child = spawn(program, args, { stdio: "ignore" });
      const started = child;
      const deadline = Date.now() + 10_000;
      while (!(await answersPing(port))) {
        if (started.exitCode !== null || Date.now() > deadline) throw new Error(`redis-server does not start on port ${port}`);
        await new Promise(resolve => setTimeout(resolve, 20));
      }
    },
    async stop(signal = "SIGTERM") {
      const running = child;
      child = undefined;
      if (!running || running.exitCode !== null || running.signalCode !== null) return;
      const exited = once(running, "exit");
      running.kill(signal);
      await exited;
    },
    async remove() {
      await server.stop("SIGKILL");
      rmSync(dir, { recursive: true, force: true });
    },
  };
  await server.start();
  return server;
}

function answersPing(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, "127.0.0.1");
    const settle = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => settle(false));
    socket.on("error", () => settle(false));
    socket.on("connect", () => socket.write("PING\r\n"));
    socket.on("data", data => settle(data.toString().startsWith("+PONG")));
  });
}
