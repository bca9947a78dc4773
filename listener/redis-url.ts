/** One Redis, the masters of a cluster, or whichever Redis its sentinels call the master. */
export type RedisAddress = {
  kind: "single" | "cluster" | "sentinel";
  hosts: { host: string; port: number }[];
  tls: boolean;
  username: string | undefined;
  password: string | undefined;
  /** Number of the database; a cluster has but one. */
  database: number;
  /** The name of the master, as the sentinels know it. */
  master: string | undefined;
};

const FORM = /^(redis|rediss)(?:\+(cluster|sentinel))?:\/\/(?:([^@/]*)@)?([^/?]+)(?:\/([^?]*))?$/;
const PORTS = { single: 6_379, cluster: 6_379, sentinel: 26_379 };

/**
 * Reads `redis://[user:password@]host[:port][/database]`, `redis+cluster://host:port,host:port` or
 * `redis+sentinel://host:port,host:port/master[/database]`; `rediss` in front means TLS.
 *
 * @throws Error where it is none of these
 */
export function parseRedisUrl(url: string): RedisAddress {
  const match = FORM.exec(url);
  if (!match) throw new Error("not a Redis URL");
  const [, scheme, variant, userinfo, hosts, path = ""] = match;
  const kind = (variant ?? "single") as RedisAddress["kind"];
  const [username, password] = userinfo === undefined ? [] : userinfo.split(":").map(decodeURIComponent);
  const parts = path.split("/").filter(Boolean);
  const master = kind === "sentinel" ? parts.shift() : undefined;
  const [database = "0", ...more] = parts;
  const parsed = hosts!.split(",").map(each => {
    const { hostname, port } = new URL(`redis://${each}`);
    if (!hostname) throw new Error("a host without a name");
    return { host: hostname.replace(/^\[|\]$/g, ""), port: Number(port) || PORTS[kind] };
  });
  const wrong =
    (kind === "single" && parsed.length > 1) ||
    (kind === "sentinel" && !master) ||
    (kind === "cluster" && parts.length > 0) ||
    more.length > 0 ||
    !/^\d{1,4}$/.test(database);
  if (wrong) throw new Error("not a Redis URL");
  return {
    kind,
    hosts: parsed,
    tls: scheme === "rediss",
    username: username || undefined,
    password: password || undefined,
    database: Number(database),
    master,
  };
}
