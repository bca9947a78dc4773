/** The rooms of listener/, and which of them each may import. A room may always import itself. */
const FOUNDATION = ["redact", "errors", "redis-url", "config", "log", "db", "silence"];
const ALLOWED: Record<string, readonly string[]> = {
  redact: [],
  errors: ["redact"],
  "redis-url": [],
  config: ["errors", "redis-url"],
  log: ["errors", "config"],
  db: ["errors", "config", "log"],
  silence: ["config", "log", "db"],
  chain: FOUNDATION,
  app: [...FOUNDATION, "chain"],
  journal: [...FOUNDATION, "chain", "app"],
  queues: [...FOUNDATION, "chain", "app", "journal"],
  webhooks: [...FOUNDATION, "chain", "app", "journal", "queues"],
  worker: [...FOUNDATION, "chain", "app", "journal", "queues", "webhooks"],
  api: [...FOUNDATION, "chain", "app", "journal", "queues", "webhooks", "worker"],
  // The page runs in a browser and knows only what the API answers, by its types.
  dashboard: ["api"],
  embedded: FOUNDATION,
  dapp: ["app", "db", "chain", "errors", "api"],
  commands: [...FOUNDATION, "chain", "app", "journal", "queues", "webhooks", "worker", "api", "embedded", "dapp"],
  main: ["commands", "errors", "embedded", "redact"],
};

/** `listener/chain/rpc.ts` is of the room `chain`, `listener/db.ts` of the room `db`. */
function roomOf(file: string): string | undefined {
  return /^listener\/(?:([^/]+)\/.+|([^/]+)\.ts)$/.exec(file)?.slice(1).find(Boolean);
}

export type Import = { from: string; to: string; typeOnly?: boolean };

/**
 * What is wrong with these imports between files of the repository (paths from its root), one line for each. Pure.
 *
 * A file without a room of its own in the table is wrong too: a new room has to find its place.
 */
export function wrongImports(imports: readonly Import[]): string[] {
  return imports.flatMap(({ from, to, typeOnly }) => {
    const [source, target] = [roomOf(from), roomOf(to)];
    const line = (reason: string) => [`${from} imports ${to}: ${reason}`];
    if (!source) return [];
    const allowed = ALLOWED[source];
    if (!allowed) return line(`the room ${source} is not in the table of rooms`);
    if (!target) {
      if (!to.startsWith("test/")) return [];
      return line("nothing may lean on the tests");
    }
    if (source === target || allowed.includes(target)) {
      // The application is handed to the core as data, and knows of the chain only what its events are made of.
      if (source === "dapp" && target === "chain" && !typeOnly) return line("an application takes only types from the chain");
      if (source === "dashboard" && target === "api" && !typeOnly) return line("the page takes only types from the API");
      return [];
    }
    return line(`${source} may import ${allowed.join(", ") || "nothing"}`);
  });
}

const STATEMENT = /^\s*(?:import|export)\s+(type\s)?(?:[^'";]*?\sfrom\s+)?"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/gm;

/** The relative imports of a source text: what is written after `from`, and in `import(…)`. */
export function importsOf(text: string): { specifier: string; typeOnly: boolean }[] {
  return [...text.matchAll(STATEMENT)].map(([, type, fixed, dynamic]) => ({
    specifier: (fixed ?? dynamic)!,
    typeOnly: type !== undefined,
  }));
}
