import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { JsonRpcProvider } from "ethers";
import { type Db, sleep } from "../../listener/db.ts";
import { deployToken } from "../../scripts/support/deploy-token.ts";
import { writeDeployment } from "../../scripts/support/deployment.ts";
import { type LocalNode, startAnvil } from "./anvil.ts";
import { openTestDatabase } from "./database.ts";
import { eventually } from "./eventually.ts";
import { type Running, sluice } from "./processes.ts";
import { type RedisServer, startRedisServer } from "./redis-server.ts";
import { token } from "./token.ts";

export type WorldOptions = {
  /** Whether there is a Redis, or with which settings. */
  redis: boolean | Record<string, string>;
  node?: () => Promise<LocalNode>;
  /** A database of this world's own, where the suite's server must not be touched. */
  database?: () => Promise<{ url: string; db: Db; close(): Promise<void> }>;
};

/** A chain with the token on it, a database, perhaps a Redis, and the processes that a test starts between them. */
export async function openWorld({ redis, node = startAnvil, database = () => openTestDatabase([]) }: WorldOptions) {
  const closing: (() => Promise<unknown>)[] = [];
  const folder = mkdtempSync(join(tmpdir(), "sluice-e2e-"));
  closing.push(async () => rmSync(folder, { recursive: true, force: true }));
  const chain = await node();
  closing.push(() => chain.close());
  const base = await database();
  closing.push(() => base.close());
  let server: RedisServer | undefined;
  if (redis) {
    server = await startRedisServer(redis === true ? {} : redis);
    closing.push(() => server!.remove());
  }
  const file = join(folder, "deployment.json");
  /** With the node's first account, so that a chain which was reset has the contract at the same address. */
  const deploy = async () => {
    const provider = new JsonRpcProvider(chain.url, undefined, { batchMaxCount: 1, cacheTimeout: -1, staticNetwork: true });
    const deployment = await deployToken(await provider.getSigner(0));
    provider.destroy();
    await writeDeployment(file, deployment);
    return deployment;
  };
  const deployment = await deploy();
  const environment: NodeJS.ProcessEnv = {
    RPC_URL: chain.url,
    DATABASE_URL: base.url,
    ...(server ? { REDIS_URL: server.url } : {}),
    DEPLOYMENT: file,
    DATA_DIR: folder,
    FINALITY: "40",
    POLL_INTERVAL_MS: "50",
    LEASE_MS: "1000",
    PORT: "0",
  };
  const { address } = deployment.contracts.SluiceToken;
  const accounts = await chain.rpc<string[]>("eth_accounts");
  const started: Running[] = [];
  const stopping: (() => void)[] = [];
  // Goes on over all traffics: the same transactions after a revert would make the same blocks again.
  let turn = 0;
  const one = async <R>(query: string): Promise<R> => (await base.db.query(query)).rows[0] as R;

  const world = {
    chain,
    /** The token's address. */
    token: address,
    /** The token's address. */
    address,
    redis: server,
    environment,
    folder,
    deploy,
    start(command: string, more: NodeJS.ProcessEnv = {}): Running {
      const process = sluice(command, { ...environment, ...more });
      started.push(process);
      return process;
    },
    /** Sends transactions one after another, `pause` ms apart, until it is told to stop. One that a reorg confused is nobody's fault. */
    traffic(pause = 0) {
      let going = true;
      let sent = 0;
      stopping.push(() => {
        going = false;
      });
      const ended = (async () => {
        for (; going; turn++) {
          const i = turn;
          const from = accounts[i % 5]!;
          const call =
            i % 5 === 0
              ? token.encodeFunctionData("mint", [accounts[(i / 5) % 5]!, 1_000_000, `0x${"00".repeat(32)}`])
              : i < 10
                ? token.encodeFunctionData("register", [`person-${i}`])
                : token.encodeFunctionData("transfer", [accounts[(i * 3 + 1) % 5]!, (i * 7) % 1_000]);
          await chain
            .rpc("eth_sendTransaction", [{ from: i % 5 === 0 ? accounts[0] : from, to: address, data: call, gas: "0x7a120" }])
            .then(() => void (sent += 1))
            .catch(() => {});
          if (pause > 0) await sleep(pause);
        }
      })();
      return {
        sent: () => sent,
        /** Resolves when so many more have been sent. */
        more: (count: number) => {
          const target = sent + count;
          return eventually(() => sent >= target, { timeout: 120_000, what: "traffic" });
        },
        async stop() {
          going = false;
          await ended;
        },
      };
    },
    /** Waits until the journal's tip is the chain's head. */
    async caughtUp(timeout = 60_000): Promise<void> {
      await eventually(
        async () => {
          const { hash } = await chain.rpc<{ hash: string }>("eth_getBlockByNumber", ["latest", false]);
          return (await one<{ tip: string }>("select tip_hash as tip from sluice.checkpoint")).tip === hash;
        },
        { timeout, what: () => `the journal is at the head; the processes said: ${started.map(p => p.stderr().slice(-1_500)).join("\n")}` },
      );
    },
    /** Waits until the journal is at the head and everything is delivered. */
    async settled(timeout = 60_000): Promise<void> {
      // A head below what the journal saw is only suspect, so the chain has to go on.
      await chain.rpc("evm_mine");
      await world.caughtUp(timeout);
      let open: unknown[] = [];
      await eventually(
        async () => {
          open = (
            await base.db.query(
              `select queue, state, count(*)::int as deliveries, min(position)::int as first, max(sends) as sends, max(attempts) as attempts, max(last_error) as error
               from sluice.deliveries where state in ('pending', 'sent') group by 1, 2`,
            )
          ).rows;
          return open.length === 0;
        },
        {
          timeout,
          what: () =>
            `everything is delivered, and not ${JSON.stringify(open)}; the processes said: ${started.map(p => p.stderr().slice(-1_500)).join("\n")}`,
        },
      );
    },
    /** How many events and reorgs the journal has seen, and how many deliveries are dead letters. */
    counts: () =>
      one<{ events: number; reorgs: number; dead: number }>(
        "select events, reorgs, (select count(*) from sluice.deliveries where state = 'dead') as dead from sluice.checkpoint",
      ),
    query: (sql: string) => base.db.query(sql),
    leader: () => one<{ epoch: number; until: Date }>("select epoch, lease_until as until from sluice.checkpoint"),
    /** What `audit` says of it. */
    async audit(): Promise<{ ok: boolean; checked: Record<string, number>; failures: unknown[] }> {
      const audit = world.start("audit --json");
      await audit.exited;
      if (!audit.stdout()) throw new Error(`the audit said: ${audit.stderr()}`);
      return JSON.parse(audit.stdout());
    },
    async close() {
      for (const stop of stopping) stop();
      await Promise.all(started.map(process => process.end("SIGKILL")));
      for (const close of closing.reverse()) await close();
    },
  };
  return world;
}

export type World = Awaited<ReturnType<typeof openWorld>>;
