import { type ApiKey, createKey, listKeys, revokeKey } from "../api/keys.ts";
import { SCOPES, type Scope } from "../api/scope.ts";
import { SluiceError } from "../errors.ts";
import { openProcess } from "./process.ts";
import { printable } from "./terminal.ts";

const MAX_NAME = 100;

/** Makes an API key and prints it, which is the only time that it is seen. */
export async function create({ scope, name, json }: { scope: string; name: string; json?: boolean }): Promise<void> {
  if (!SCOPES.includes(scope as Scope)) {
    throw new SluiceError(`there is no scope ${JSON.stringify(scope)}`, {
      hint: "read only reads, operate also retries, replays and manages webhooks, admin may do everything",
    });
  }
  if (name.trim() === "" || name.length > MAX_NAME) throw new SluiceError(`a name has 1 to ${MAX_NAME} characters`);
  await using running = openProcess("keys");
  const { db } = await running.openDatabase();
  const made = await createKey(db, { name: name.trim(), scope: scope as Scope });
  if (json) return void process.stdout.write(`${JSON.stringify(made, null, 2)}\n`);
  process.stdout.write(`${made.key}\n`);
  process.stderr.write(`key ${made.id} with the scope ${made.scope}; it is not stored and cannot be shown again\n`);
}

/** Lists every key that there is or was, without what would let anybody in. */
export async function list({ json }: { json?: boolean }): Promise<void> {
  await using running = openProcess("keys");
  const { db } = await running.openDatabase();
  const keys = await listKeys(db);
  process.stdout.write(json ? `${JSON.stringify(keys, null, 2)}\n` : describeKeys(keys));
}

/** Ends a key: a running API refuses it from the next request on, and closes what it had open. */
export async function revoke(id: string, { json }: { json?: boolean }): Promise<void> {
  await using running = openProcess("keys");
  const { db } = await running.openDatabase();
  const revoked = await revokeKey(db, id);
  if (!revoked)
    throw new SluiceError(`there is no key ${JSON.stringify(id)} to revoke`, { hint: "`npm run keys -- list` shows those there are" });
  process.stdout.write(json ? `${JSON.stringify(revoked, null, 2)}\n` : `revoked ${revoked.id} (${printable(revoked.name)})\n`);
}

/** A line per key, the newest first. */
export function describeKeys(keys: readonly ApiKey[]): string {
  if (keys.length === 0) return "no keys; make one with `npm run keys -- create --scope read --name <name>`\n";
  return keys
    .map(({ id, scope, name, createdAt, revokedAt }) => {
      const state = revokedAt ? `revoked ${revokedAt.toISOString()}` : `since ${createdAt.toISOString()}`;
      return `${id}  ${scope.padEnd(7)}  ${state}  ${printable(name)}\n`;
    })
    .join("");
}
