import { existsSync } from "node:fs";
import { isIP } from "node:net";
import { join, resolve } from "node:path";
import { SluiceError } from "./errors.ts";
import { parseRedisUrl } from "./redis-url.ts";

/** When a block counts as final: the node's own tag, or a number of confirmations. */
export type Finality = "finalized" | "safe" | number;

/** How far a node's answer is checked before anything of it is used. */
export type Verify = "off" | "bloom" | "receipts";

/** The validated settings of a process. Times are in milliseconds. */
export type Config = Readonly<{
  rpcUrls: readonly string[];
  databaseUrl: string | undefined;
  redisUrl: string | undefined;
  /** The deployment file, or an Ignition deployment folder. */
  deployment: string;
  /** `undefined`: `finalized` on a public chain, 16 confirmations on a development chain. */
  finality: Finality | undefined;
  host: string;
  port: number;
  apiKeys: readonly string[];
  /** Names of hosts that the API answers for besides those of this machine. Empty: any, unless it is bound to loopback. */
  allowedHosts: readonly string[];
  /** Origins whose pages may ask the API: `https://app.example.org`. */
  corsOrigins: readonly string[];
  /** Addresses or ranges of proxies whose X-Forwarded-For is believed. */
  trustedProxies: readonly string[];
  /** Requests per minute of a key, or of an address without one; 0 for any number. */
  rateLimit: number;
  /** Whether GraphQL tells its schema and serves a page to try it out; `undefined`: where only this machine can ask. */
  graphqlExplorer: boolean | undefined;
  dataDir: string;
  logLevel: string;
  verify: Verify;
  pollInterval: number;
  lease: number;
  window: number;
  /** Whether statements that come again and again are prepared, by name, on each connection to Postgres. */
  prepare: boolean;
  maxLag: number;
  /** How long deliveries that are done are kept; undefined: for ever. */
  retention: number | undefined;
  /** Whether webhooks may go to this machine, over http too. For development. */
  webhooksAllowLoopback: boolean;
}>;

type Variable = { expected: string; fallback: string | undefined; parse: (given: string) => unknown };

const WHOLE = /^\d{1,9}$/;
const wholeFrom = (min: number, max: number) => (given: string) => {
  if (!WHOLE.test(given) || Number(given) < min || Number(given) > max) throw new Error();
  return Number(given);
};
const oneOf =
  (...words: string[]) =>
  (given: string) => {
    if (!words.includes(given)) throw new Error();
    return given;
  };
const urlOf =
  (...protocols: string[]) =>
  (given: string) => {
    if (!protocols.includes(new URL(given).protocol)) throw new Error();
    return given;
  };
const UNITS = { m: 60_000, h: 3_600_000, d: 86_400_000 };
const durationOf = (given: string) => {
  const [, count, unit] = /^([1-9]\d{0,4})([mhd])$/.exec(given) ?? [];
  if (!count) throw new Error();
  return Number(count) * UNITS[unit as keyof typeof UNITS];
};
const list = (given: string) =>
  given
    .split(",")
    .map(item => item.trim())
    .filter(Boolean);

/** Every setting on one screen: what it is called outside, what it may hold, what it is when nothing is said. */
const VARIABLES: Record<string, Variable & { key: keyof Config }> = {
  RPC_URL: {
    key: "rpcUrls",
    expected: "one or more http, https, ws or wss URLs, separated by commas",
    fallback: "",
    parse: given => list(given).map(urlOf("http:", "https:", "ws:", "wss:")),
  },
  DATABASE_URL: {
    key: "databaseUrl",
    expected: "postgres://user:password@host:port/database",
    fallback: undefined,
    parse: urlOf("postgres:", "postgresql:"),
  },
  REDIS_URL: {
    key: "redisUrl",
    expected: "redis://host:port, redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/master (rediss for TLS)",
    fallback: undefined,
    parse: given => {
      parseRedisUrl(given);
      return given;
    },
  },
  DEPLOYMENT: { key: "deployment", expected: "the path of the file that scripts/deploy.ts wrote", fallback: "", parse: String },
  FINALITY: {
    key: "finality",
    expected: '"finalized", "safe" or a number of confirmations from 0 to 100000',
    fallback: undefined,
    parse: given => (WHOLE.test(given) ? wholeFrom(0, 100_000)(given) : oneOf("finalized", "safe")(given)),
  },
  HOST: {
    key: "host",
    expected: "a host name or an address",
    fallback: "127.0.0.1",
    parse: given => {
      if (!/^[\w.:-]+$/.test(given)) throw new Error();
      return given;
    },
  },
  PORT: { key: "port", expected: "a port from 0 (any free one) to 65535", fallback: "3000", parse: wholeFrom(0, 65_535) },
  API_KEYS: {
    key: "apiKeys",
    expected: "keys of at least 16 characters, separated by commas",
    fallback: "",
    parse: given => {
      const keys = list(given);
      if (keys.some(key => key.length < 16)) throw new Error();
      return keys;
    },
  },
  ALLOWED_HOSTS: {
    key: "allowedHosts",
    expected: "names of hosts without a port, separated by commas, such as sluice.example.org",
    fallback: "",
    parse: given => {
      const hosts = list(given.toLowerCase());
      if (hosts.some(host => !/^[\w.-]+$/.test(host))) throw new Error();
      return hosts;
    },
  },
  GRAPHQL_EXPLORER: {
    key: "graphqlExplorer",
    expected: '"on" or "off"',
    fallback: undefined,
    parse: given => oneOf("on", "off")(given) === "on",
  },
  CORS_ORIGINS: {
    key: "corsOrigins",
    expected: "origins separated by commas, such as https://app.example.org",
    fallback: "",
    parse: given => {
      const origins = list(given);
      if (origins.some(origin => !/^https?:/.test(origin) || new URL(origin).origin !== origin)) throw new Error();
      return origins;
    },
  },
  TRUSTED_PROXIES: {
    key: "trustedProxies",
    expected: "addresses or ranges separated by commas, such as 10.0.0.0/8",
    fallback: "",
    parse: given => {
      const proxies = list(given);
      if (proxies.some(proxy => !/^[0-9a-fA-F.:]+(\/\d{1,3})?$/.test(proxy) || isIP(proxy.split("/")[0]!) === 0)) throw new Error();
      return proxies;
    },
  },
  RATE_LIMIT: {
    key: "rateLimit",
    expected: "requests a minute, from 0 (any number) to 1000000",
    fallback: "6000",
    parse: wholeFrom(0, 1_000_000),
  },
  DATA_DIR: { key: "dataDir", expected: "the path of a directory", fallback: ".sluice", parse: given => resolve(given) },
  LOG_LEVEL: {
    key: "logLevel",
    expected: "fatal, error, warn, info, debug, trace or silent",
    fallback: "info",
    parse: oneOf("fatal", "error", "warn", "info", "debug", "trace", "silent"),
  },
  VERIFY: { key: "verify", expected: '"off", "bloom" or "receipts"', fallback: "bloom", parse: oneOf("off", "bloom", "receipts") },
  POLL_INTERVAL_MS: { key: "pollInterval", expected: "milliseconds from 10 to 600000", fallback: "1000", parse: wholeFrom(10, 600_000) },
  LEASE_MS: { key: "lease", expected: "milliseconds from 300 to 600000", fallback: "9000", parse: wholeFrom(300, 600_000) },
  WINDOW: { key: "window", expected: "jobs in flight per queue, from 1 to 100000", fallback: "1000", parse: wholeFrom(1, 100_000) },
  PREPARED_STATEMENTS: {
    key: "prepare",
    expected: '"on" or "off"',
    fallback: "on",
    parse: given => oneOf("on", "off")(given) === "on",
  },
  WEBHOOKS_ALLOW_LOOPBACK: {
    key: "webhooksAllowLoopback",
    expected: '"true" or "false"',
    fallback: "false",
    parse: given => oneOf("true", "false")(given) === "true",
  },
  RETENTION: {
    key: "retention",
    expected: "a whole number of minutes, hours or days up to 99999, such as 30m, 12h or 30d, or forever",
    fallback: "forever",
    parse: given => (given === "forever" ? undefined : durationOf(given)),
  },
  MAX_LAG: { key: "maxLag", expected: "blocks from 0 to 1000000", fallback: "10", parse: wholeFrom(0, 1_000_000) },
};

const SECRET = new Set(["API_KEYS", "DATABASE_URL", "REDIS_URL", "RPC_URL"]);

/**
 * Reads and checks every setting.
 *
 * @param environment usually `process.env`; an empty string counts as not given
 * @throws SluiceError that lists every mistake at once: name, what was given (never a secret), what is expected
 */
export function readConfig(environment: Record<string, string | undefined>): Config {
  const mistakes: string[] = [];
  const config: Record<string, unknown> = {};
  for (const [name, { key, expected, fallback, parse }] of Object.entries(VARIABLES)) {
    const given = environment[name]?.trim() || fallback;
    try {
      config[key] = given === undefined ? undefined : parse(given);
    } catch {
      const shown = SECRET.has(name)
        ? list(given ?? "")
            .map(withoutSecrets)
            .join(", ")
        : JSON.stringify(given);
      mistakes.push(`${name}: given ${shown}, expected ${expected}`);
    }
  }
  if (mistakes.length > 0) {
    throw new SluiceError(
      `the configuration has ${mistakes.length === 1 ? "a mistake" : `${mistakes.length} mistakes`}:\n  ${mistakes.join("\n  ")}`,
      {
        hint: "correct the environment or the file .env, then run `npm run doctor`",
      },
    );
  }
  config.deployment ||= join(config.dataDir as string, "deployment.json");
  config.deployment = resolve(config.deployment as string);
  return Object.freeze(config) as Config;
}

/** Of a URL its scheme and host, of anything else only its length: what was mistyped may be a password. */
function withoutSecrets(given: string): string {
  const url = URL.parse(given);
  return url?.host ? `${url.protocol}//${url.host}${url.pathname.length > 1 ? "/…" : ""}` : `(${given.length} characters, not shown)`;
}

/** The environment of this process, with what a file `.env` in the working directory adds to it. */
export function loadEnvironment(): Record<string, string | undefined> {
  if (existsSync(".env")) process.loadEnvFile(".env");
  return process.env;
}
