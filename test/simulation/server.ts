import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { accountFor, binariesFor } from "../../listener/embedded/postgres-account.ts";
import { initialise, startServer, stopServer, USER } from "../../listener/embedded/postgres-server.ts";

/** Nobody kills this server, and nothing of it is kept; each statement is planned for tables of one size. */
const SETTINGS = {
  fsync: "off",
  full_page_writes: "off",
  synchronous_commit: "off",
  autovacuum: "off",
  plan_cache_mode: "force_generic_plan",
  max_connections: "50",
  shared_buffers: "64MB",
  max_wal_size: "256MB",
  track_activities: "off",
  track_counts: "off",
  update_process_title: "off",
};

/** Bytes that a server and its log take at most. */
const ROOM = 1_500_000_000;
const MEMORY = "/dev/shm";

/** A Postgres for simulations alone, reached by a socket: every step waits for it, and for nothing else. */
export async function openSimulationServer(): Promise<{ url: string; close(): Promise<void> }> {
  const hasRoom = existsSync(MEMORY) && statfsSync(MEMORY).bavail * statfsSync(MEMORY).bsize > ROOM;
  const home = mkdtempSync(join(hasRoom ? MEMORY : tmpdir(), "sluice-simulation-"));
  const directory = join(home, "data");
  const account = accountFor(undefined);
  const settings = { ...SETTINGS, unix_socket_directories: directory };
  const cluster = { directory, account, binaries: await binariesFor(account), log: join(home, "log"), settings };
  const password = join(home, "password");
  mkdirSync(directory, { mode: 0o700 });
  writeFileSync(password, "simulation\n");
  for (const path of [home, directory, password]) if (account.uid !== undefined) chownSync(path, account.uid, account.gid!);
  await initialise(cluster, password);
  const { port } = await startServer(cluster, undefined);
  return {
    url: `postgresql://${USER}:simulation@localhost:${port}/postgres?host=${encodeURIComponent(directory)}`,
    async close() {
      await stopServer(cluster);
      rmSync(home, { recursive: true, force: true });
    },
  };
}
