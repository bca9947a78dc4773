import { randomBytes } from "node:crypto";
import type { DeliveryFinality } from "../app.ts";
import { type Db, type Sql, type Tx, transaction } from "../db.ts";
import type { Filter } from "./filter.ts";

/** A secret signs from its creation until `until` (ISO time), or without end. */
export type Secret = { secret: string; createdAt: string; until: string | null };

/** What a person sets. Times are in milliseconds. */
export type EndpointSettings = {
  url: string;
  description: string;
  /** Names such as `Token.Transfer`; none means every event. */
  events: string[];
  filter: Filter;
  /** When an event is told; what a reorg takes afterwards is told by `reverted`. */
  finality: DeliveryFinality;
  /** Messages that have an account in common are delivered one after another. */
  ordered: boolean;
  /** Events in one request at most, and how long an event may wait for others to fill it. */
  batch: number;
  wait: number;
  headers: Record<string, string>;
  timeout: number;
  /** Requests under way at a time. */
  concurrency: number;
};

/** Headers that are ours, or of the connection. */
export const RESERVED_HEADERS =
  /^(webhook-.*|content-type|content-length|user-agent|host|connection|transfer-encoding|expect|upgrade|te|trailer|keep-alive|proxy-.*)$/i;

export type EndpointState = "active" | "paused" | "disabled";

export type Endpoint = EndpointSettings & {
  id: string;
  state: EndpointState;
  /** Why it is disabled. */
  reason: string | null;
  secrets: Secret[];
  createdAt: Date;
  updatedAt: Date;
};

export const DEFAULTS: Omit<EndpointSettings, "url"> = {
  description: "",
  events: [],
  filter: {},
  finality: "finalized",
  ordered: false,
  batch: 1,
  wait: 0,
  headers: {},
  timeout: 15_000,
  concurrency: 8,
};

/** Settings that are columns of their own name. */
const COLUMNS = Object.keys({ url: "", ...DEFAULTS } satisfies Record<keyof EndpointSettings, unknown>) as (keyof EndpointSettings)[];
const JSON_COLUMNS = new Set<string>(["filter", "headers"]);
const toColumn = (name: keyof EndpointSettings, value: unknown) =>
  JSON_COLUMNS.has(name) ? JSON.stringify(value) : name === "finality" ? String(value) : value;

export const ENDPOINT_COLUMNS = `${COLUMNS.map(name => `w.${name}`).join(", ")}, w.id, w.state, w.reason, w.secrets, w.created_at, w.updated_at`;

export type EndpointRow = Omit<Endpoint, "createdAt" | "updatedAt" | "finality"> & { finality: string; created_at: Date; updated_at: Date };

export const toEndpoint = ({ created_at, updated_at, finality, ...row }: EndpointRow): Endpoint => ({
  ...row,
  finality: /^\d+$/.test(finality) ? Number(finality) : (finality as DeliveryFinality),
  createdAt: created_at,
  updatedAt: updated_at,
});

const newSecret = (): Secret => ({
  secret: `whsec_${randomBytes(32).toString("base64")}`,
  createdAt: new Date().toISOString(),
  until: null,
});

/** The secrets that sign at this moment, the newest first. */
export const activeSecrets = ({ secrets }: Pick<Endpoint, "secrets">, now = Date.now()): string[] =>
  secrets.filter(({ until }) => until === null || Date.parse(until) > now).map(({ secret }) => secret);

export async function readEndpoint(sql: Sql, chainId: number, id: string): Promise<Endpoint | undefined> {
  const { rows } = await sql.query<EndpointRow>(`select ${ENDPOINT_COLUMNS} from webhooks w where chain_id = $1 and id = $2`, [
    chainId,
    id,
  ]);
  return rows[0] && toEndpoint(rows[0]);
}

/**
 * Creates an endpoint that is told of what comes from now on, or of everything from block `fromBlock` on: what the journal
 * holds of that first, then what comes, without a gap or a double in between. The secret is in the answer and shown nowhere else.
 */
export async function createEndpoint(
  db: Db,
  chainId: number,
  settings: Partial<EndpointSettings> & { url: string },
  fromBlock?: number,
): Promise<Endpoint> {
  const id = `wh_${randomBytes(12).toString("hex")}`;
  const full = { ...DEFAULTS, ...settings };
  return transaction(db, async tx => {
    const values = COLUMNS.map(name => toColumn(name, full[name]));
    await tx.query(
      `insert into webhooks (chain_id, id, secrets, ${COLUMNS.join(", ")}) values ($1, $2, $3, ${COLUMNS.map((_, i) => `$${i + 4}`).join(", ")})`,
      [chainId, id, JSON.stringify([newSecret()]), ...values],
    );
    // One statement, so one moment: the edge of the journal. An event that is there already and not final yet counts as past.
    await tx.query(
      `insert into webhook_cursors (chain_id, endpoint, position, reorgs, from_block)
       select $1, $2, case when $3::bigint is null then coalesce(max(events), 0) else 0 end, coalesce(max(reorgs), 0), coalesce($3::bigint, 0)
       from checkpoint where chain_id = $1`,
      [chainId, id, fromBlock ?? null],
    );
    await tx.query("insert into webhook_turns (chain_id, endpoint) values ($1, $2)", [chainId, id]);
    return (await readEndpoint(tx, chainId, id))!;
  });
}

/** Changes what is given and leaves the rest. What is planned already stays as it is, but goes to the new URL. */
export async function changeEndpoint(
  sql: Sql,
  chainId: number,
  id: string,
  changes: Partial<EndpointSettings>,
): Promise<Endpoint | undefined> {
  const names = COLUMNS.filter(name => changes[name] !== undefined);
  const set = ["updated_at = now()", ...names.map((name, i) => `${name} = $${i + 3}`)].join(", ");
  const values = names.map(name => toColumn(name, changes[name]));
  return changed(sql, `set ${set}`, [chainId, id, ...values]);
}

/** Pauses (nothing is planned or sent, and nothing is missed), disables, or sets going again with a closed breaker. */
export async function setState(
  db: Db,
  chainId: number,
  id: string,
  state: EndpointState,
  reason: string | null = null,
): Promise<Endpoint | undefined> {
  return transaction(db, async tx => {
    const endpoint = await changed(tx, "set state = $3, reason = $4, updated_at = now()", [chainId, id, state, reason]);
    if (endpoint && state === "active") await closeBreaker(tx, chainId, id);
    return endpoint;
  });
}

async function closeBreaker(tx: Tx, chainId: number, id: string): Promise<void> {
  await tx.query("update webhook_turns set failures = 0, probes = 0, probe_at = null where chain_id = $1 and endpoint = $2", [chainId, id]);
  await tx.query(
    "update webhook_messages set next_at = now() where chain_id = $1 and endpoint = $2 and state = 'pending' and next_at > now()",
    [chainId, id],
  );
}

/**
 * Adds a secret. The one before it signs beside it for `overlap` milliseconds, so that a receiver can change in its own
 * time; older ones end now.
 */
export async function rotateSecret(db: Db, chainId: number, id: string, overlap: number): Promise<Endpoint | undefined> {
  return transaction(db, async tx => {
    const { rows } = await tx.query<{ secrets: Secret[] }>("select secrets from webhooks where chain_id = $1 and id = $2 for update", [
      chainId,
      id,
    ]);
    const before = rows[0]?.secrets[0];
    if (!before) return undefined;
    const secrets = [newSecret(), { ...before, until: new Date(Date.now() + overlap).toISOString() }];
    return changed(tx, "set secrets = $3, updated_at = now()", [chainId, id, JSON.stringify(secrets)]);
  });
}

/** Deletes an endpoint with everything that is known of it; false where there is none. */
export async function deleteEndpoint(db: Db, chainId: number, id: string): Promise<boolean> {
  return transaction(db, async tx => {
    const { rowCount } = await tx.query("delete from webhooks where chain_id = $1 and id = $2", [chainId, id]);
    await tx.query("delete from webhook_messages where chain_id = $1 and endpoint = $2", [chainId, id]);
    await tx.query("delete from webhook_attempts where chain_id = $1 and endpoint = $2", [chainId, id]);
    return rowCount === 1;
  });
}

async function changed(sql: Sql, set: string, values: unknown[]): Promise<Endpoint | undefined> {
  const { rows } = await sql.query<EndpointRow>(
    `update webhooks w ${set} where chain_id = $1 and id = $2 returning ${ENDPOINT_COLUMNS}`,
    values,
  );
  return rows[0] && toEndpoint(rows[0]);
}
