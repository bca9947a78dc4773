import { createHash } from "node:crypto";
import type { ClientBase } from "pg";

const names = new Map<string, string>();
function nameOf(text: string): string {
  let name = names.get(text);
  if (!name) names.set(text, (name = createHash("sha1").update(text).digest("base64url")));
  return name;
}

const isSelect = (text: string) => text.startsWith("select ") && !text.includes(";");

/**
 * Makes this connection prepare each statement once, where it means the same the next time: by a name for each search path, for
 * under another one Postgres plans it anew; and not while it tells of a table that a temporary one hides.
 */
export function nameStatements(client: ClientBase): void {
  const query = client.query.bind(client) as (...given: unknown[]) => unknown;
  const hidden = new Set<string>();
  let path = "";
  client.query = ((...given: unknown[]) => {
    const [text, values, ...rest] = given;
    if (typeof text !== "string" || typeof values === "function") return query(...given);
    const [, hides] = /^create temporary table (\w+)/.exec(text) ?? [];
    const [, shows] = /^drop table pg_temp\.(\w+)/.exec(text) ?? [];
    if (hides) hidden.add(hides);
    if (shows) hidden.delete(shows);
    path = /set local search_path[^;]*/.exec(text)?.[0] ?? path;
    if (text === "commit" || text === "rollback") {
      hidden.clear();
      path = "";
    }
    const once = !(Array.isArray(values) || isSelect(text)) || [...hidden].some(table => text.includes(table));
    return once ? query(...given) : query({ name: nameOf(path + text), text, values: values ?? [] }, ...rest);
  }) as typeof client.query;
}
