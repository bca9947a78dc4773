import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { Migration, Sql } from "../db.ts";
import type { Scope } from "./scope.ts";

export const KEY_MIGRATIONS: readonly Migration[] = [
  {
    name: "keys-1",
    sql: `
      -- digest: SHA-256 of the whole key. Who reads this table cannot call the API with what is in it.
      create table api_keys (
        id text primary key,
        name text not null,
        scope text not null check (scope in ('read', 'operate', 'admin')),
        digest bytea not null,
        created_at timestamptz not null default now(),
        revoked_at timestamptz
      );

      -- Sessions of browsers, which cannot send a header with every request. key_digest: of the key that opened it, and
      -- without which it is worth nothing; that one may stand in API_KEYS rather than above.
      create table api_sessions (
        digest bytea primary key,
        key_digest bytea not null,
        expires_at timestamptz not null
      );
    `,
  },
];

/** A key as the outside may see it. */
export type ApiKey = { id: string; name: string; scope: Scope; createdAt: Date; revokedAt: Date | null };

/** A key of the configuration rather than of the database, by its digest. */
export type FixedKey = { name: string; scope: Scope; digest: Buffer };

/** Who asks: `id` names the key in logs and limits, and tells nothing of the key itself. */
export type Access = { id: string; name: string; scope: Scope; digest: Buffer };

const COLUMNS = `id, name, scope, created_at as "createdAt", revoked_at as "revokedAt"`;
const KEY = /^sluice_([0-9a-f]{12})_[\w-]{43}$/;

export const digestOf = (text: string): Buffer => createHash("sha256").update(text).digest();

/**
 * Makes a key of 256 random bits. Its text is given here and nowhere again: the database holds a digest.
 *
 * @returns the key's row, and its text: `sluice_{id}_{secret}`
 */
export async function createKey(sql: Sql, { name, scope }: { name: string; scope: Scope }): Promise<ApiKey & { key: string }> {
  const id = randomBytes(6).toString("hex");
  const key = `sluice_${id}_${randomBytes(32).toString("base64url")}`;
  const { rows } = await sql.query<ApiKey>(`insert into api_keys (id, name, scope, digest) values ($1, $2, $3, $4) returning ${COLUMNS}`, [
    id,
    name,
    scope,
    digestOf(key),
  ]);
  return { ...rows[0]!, key };
}

/** Every key that there is or was, the newest first. */
export async function listKeys(sql: Sql): Promise<ApiKey[]> {
  return (await sql.query<ApiKey>(`select ${COLUMNS} from api_keys order by created_at desc, id`)).rows;
}

/** Whether any key of the database would let somebody in. */
export async function hasKeys(sql: Sql): Promise<boolean> {
  return (await sql.query("select from api_keys where revoked_at is null limit 1")).rows.length > 0;
}

/** Ends a key from its next request on. @returns it, or undefined where there is no such key or it had been revoked */
export async function revokeKey(sql: Sql, id: string): Promise<ApiKey | undefined> {
  const { rows } = await sql.query<ApiKey>(
    `update api_keys set revoked_at = now() where id = $1 and revoked_at is null returning ${COLUMNS}`,
    [id],
  );
  return rows[0];
}

/** Whose key this is; undefined where it is unknown or revoked. */
export async function findKey(sql: Sql, fixed: readonly FixedKey[], key: string): Promise<Access | undefined> {
  const digest = digestOf(key);
  const found = findFixed(fixed, digest);
  if (found) return found;
  const id = KEY.exec(key)?.[1];
  if (!id) return undefined;
  const { rows } = await sql.query<Omit<Access, "id">>("select name, scope, digest from api_keys where id = $1 and revoked_at is null", [
    id,
  ]);
  return rows[0] && timingSafeEqual(rows[0].digest, digest) ? { id, ...rows[0] } : undefined;
}

/** Every key is compared, and digests are of one length: the time taken tells nothing. */
export function findFixed(fixed: readonly FixedKey[], digest: Buffer): Access | undefined {
  const found = fixed.filter(key => timingSafeEqual(key.digest, digest))[0];
  return found && { id: `fixed-${digest.toString("hex", 0, 6)}`, ...found };
}
