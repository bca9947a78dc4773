import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { Contract, JsonRpcProvider } from "ethers";
import pg from "pg";
import { freePort } from "../support/ports.ts";
import { openStream } from "../support/sse.ts";

const root = join(import.meta.dirname, "../..");
const project = mkdtempSync(join(tmpdir(), "sluice-another-"));
const children: ReturnType<typeof spawn>[] = [];
after(async () => {
  for (const child of children.reverse()) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill("SIGTERM");
      await once(child, "exit");
    }
  }
  rmSync(project, { recursive: true, force: true });
});

test("a second contract with its projection is added by following docs/another-contract.md", { timeout: 300_000 }, async () => {
  for (const name of ["contracts", "ignition", "listener", "scripts", "setup", "hardhat.config.ts", "package.json", "tsconfig.json"]) {
    cpSync(join(root, name), join(project, name), {
      recursive: true,
      filter: path => !path.includes("ignition/deployments") && !path.endsWith(".t.sol"),
    });
  }
  symlinkSync(join(root, "node_modules"), join(project, "node_modules"));

  // The journal is well past the second contract's deployment when it is told of it: its past must be read too.
  const port = await freePort();
  const api = await freePort();
  const environment = {
    ...process.env,
    PORT: String(api),
    RPC_URL: `http://127.0.0.1:${port}`,
    DATA_DIR: join(project, ".sluice"),
    DATABASE_URL: "",
    REDIS_URL: "",
    POLL_INTERVAL_MS: "50",
    FINALITY: "2",
    HARDHAT_IGNITION_CONFIRM_DEPLOYMENT: "true",
  };
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd: project, env: environment, stdio: ["ignore", "pipe", "pipe"] });
  const hardhat = (...args: string[]) => run("hardhat", ...args);
  const start = (command: string, ...args: string[]) => {
    const child = spawn(command, args, { cwd: project, env: environment, stdio: "ignore" });
    children.push(child);
    return child;
  };
  hardhat("build", "--quiet", "--no-tests");
  start("hardhat", "node", "--hostname", "127.0.0.1", "--port", String(port));
  const provider = new JsonRpcProvider(environment.RPC_URL, 31_337, { staticNetwork: true, batchMaxCount: 1, pollingInterval: 50 });
  after(() => provider.destroy());
  await eventually(() => provider.send("eth_chainId", []));
  hardhat("run", "--no-compile", "scripts/deploy.ts", "--network", "localhost");
  hardhat(
    "run",
    "--no-compile",
    "scripts/mint.ts",
    "--network",
    "localhost",
    "--to",
    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "--amount",
    "5",
  );

  const firstListener = start("node", "listener/main.ts", "listen");
  const query = await connect();
  await eventually(
    async () => (await query<{ n: string }>("select count(*) as n from events where name = 'Minted'"))[0]?.n === "1" || fail(),
  );
  firstListener.kill("SIGTERM");
  await once(firstListener, "exit");

  const written = applyPage(readFileSync(join(root, "docs/another-contract.md"), "utf8"));
  assert.ok(
    written.every(file => /^(contracts|listener\/dapp|ignition\/modules)\//.test(file)),
    `only these rooms are touched: ${written}`,
  );
  hardhat("build", "--quiet", "--no-tests");
  run("tsc", "--noEmit");
  hardhat("ignition", "deploy", "ignition/modules/Guestbook.ts", "--network", "localhost");
  const { contracts } = JSON.parse(readFileSync(join(environment.DATA_DIR, "deployment.json"), "utf8"));
  assert.deepEqual(Object.keys(contracts).sort(), ["Guestbook", "SluiceToken"]);
  const guestbook = new Contract(contracts.Guestbook.address, ["function sign(string)"], await provider.getSigner(0));
  for (const text of ["first", "second", "<script>", "nul \0 and \u202e"]) await (await guestbook.getFunction("sign")(text)).wait();

  start("node", "listener/main.ts", "listen");
  start("node", "listener/main.ts", "work");
  await eventually(async () => {
    const entries = await query<{ number: string; text: string }>("select number, text from guestbook order by number");
    assert.deepEqual(
      entries.map(({ number, text }) => `${number} ${text}`),
      ["1 first", "2 second", "3 <script>", "4 nul \ufffd and \u202e"],
    );
  });

  // What was declared in the dapp room alone is in REST, in GraphQL and, as events, in the stream.
  start("node", "listener/main.ts", "serve");
  const url = `http://127.0.0.1:${api}`;
  const shown = await eventually(async () => (await fetch(`${url}/api/v1/guestbook`)).json());
  assert.deepEqual(
    shown.items.map(({ number, text }: { number: string; text: string }) => `${number} ${text}`),
    ["4 nul \ufffd and \u202e", "3 <script>", "2 second", "1 first"],
  );
  const asked = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ query: "{ guestbook { items { author number text } } }" }),
  });
  assert.deepEqual(await asked.json(), { data: { guestbook: shown } });
  const stream = await openStream(`${url}/api/v1/stream?from=0-0&contract=Guestbook`);
  const signed = await stream.took(4);
  assert.deepEqual(
    signed.map(({ data }) => `${data.name} ${data.arguments.number}`),
    ["Signed 1", "Signed 2", "Signed 3", "Signed 4"],
  );
  await stream.close();

  const audit = JSON.parse(run("node", "listener/main.ts", "audit", "--json").toString());
  assert.deepEqual(audit.failures, []);
  assert.equal(audit.ok, true);

  async function connect() {
    await eventually(() => readFileSync(join(environment.DATA_DIR, "postgres/port")));
    return async <Row>(sql: string): Promise<Row[]> => {
      const client = new pg.Client({
        host: "127.0.0.1",
        port: Number(readFileSync(join(environment.DATA_DIR, "postgres/port"), "utf8")),
        user: "sluice",
        password: readFileSync(join(environment.DATA_DIR, "postgres/password"), "utf8").trim(),
        database: "postgres",
        options: "-c search_path=sluice",
      });
      await client.connect();
      try {
        return (await client.query(sql)).rows as Row[];
      } finally {
        await client.end();
      }
    };
  }
});

/** Writes the page's files and applies its changes; a change must find its place exactly once. Gives the files' names. */
function applyPage(page: string): string[] {
  const files: string[] = [];
  let file = "";
  let changes = false;
  for (const [, name, change, language, code] of page.matchAll(/^`([\w./-]+)`( \(change\))?:$|^```(\w+)\n([\s\S]*?)^```$/gm)) {
    if (name) {
      file = name;
      changes = change !== undefined;
      continue;
    }
    // Other blocks of the page are examples and commands.
    if (!file || changes !== (language === "diff")) continue;
    const path = join(project, file);
    if (language === "diff") {
      const lines = code!.trimEnd().split("\n");
      const side = (other: string) =>
        lines
          .filter(line => !line.startsWith(other))
          .map(line => `${line.slice(1)}\n`)
          .join("");
      const text = readFileSync(path, "utf8");
      assert.equal(text.split(side("+")).length, 2, `the change to ${file} finds its place once`);
      writeFileSync(path, text.replace(side("+"), side("-")));
    } else {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, code!);
    }
    if (!files.includes(file)) files.push(file);
    if (language !== "diff") file = "";
  }
  return files;
}

async function eventually<T>(attempt: () => T | Promise<T>, timeout = 60_000): Promise<T> {
  for (const until = Date.now() + timeout; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if (Date.now() > until) throw error;
      await new Promise(resolve => setTimeout(resolve, 100));
    }
  }
}

const fail = (): never => assert.fail("not yet");
