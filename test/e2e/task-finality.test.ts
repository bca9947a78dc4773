import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { type DeliveryFinality, defineApp } from "../../listener/app.ts";
import { runListener } from "../../listener/commands/listener.ts";
import { contracts, task } from "../../listener/dapp/contracts.ts";
import { JOURNAL_MIGRATIONS } from "../../listener/journal/schema.ts";
import { openBackend } from "../../listener/queues/backend.ts";
import { WEBHOOK_MIGRATIONS } from "../../listener/webhooks/schema.ts";
import { startWorkers } from "../../listener/worker/worker.ts";
import { noAnvil, startAnvil } from "../support/anvil.ts";
import { openTestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { jsonRpcServer } from "../support/json-rpc-server.ts";
import { silent } from "../support/silent.ts";
import { token } from "../support/token.ts";
import { openWorld } from "../support/world.ts";

const closing: (() => Promise<unknown>)[] = [];

/** The node, which does not say that it is one for development: its `safe` and `finalized` are taken at their word then. */
async function inDisguise(url: string) {
  return jsonRpcServer((request, response) => {
    if (request.method === "web3_clientVersion") return { result: "Geth/v1.16.0" };
    if (request.method === "hardhat_metadata") return { error: { code: -32_601, message: "the method does not exist" } };
    const body = JSON.stringify({ jsonrpc: "2.0", id: request.id, method: request.method, params: request.params });
    void fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body })
      .then(answer => answer.text())
      .then(
        text => response.setHeader("content-type", "application/json").end(text),
        () => response.destroy(),
      );
    return undefined;
  });
}

describe("tasks on a node that has safe and final blocks", { skip: noAnvil }, () => {
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  it("those that wait never see what a reorg of the newest block takes, and the one that does not is told to take it back", async () => {
    const base = await openTestDatabase([...JOURNAL_MIGRATIONS, ...WEBHOOK_MIGRATIONS]);
    // Of this anvil the last block but one is safe, and the one before that final.
    const world = await openWorld({
      redis: false,
      node: () => startAnvil(["--slots-in-an-epoch", "1"]),
      database: async () => base,
    });
    closing.push(() => world.close());
    const node = await inDisguise(world.chain.url);
    closing.push(() => node.close());

    const ran = { safe: [] as string[], confirmed: [] as string[], latest: [] as string[] };
    const mail = (name: keyof typeof ran, finality: Exclude<DeliveryFinality, "finalized">) =>
      task({
        name,
        events: ["SluiceToken.Transfer"],
        finality,
        async run(event, { operation }) {
          ran[name].push(`${operation} ${event.id}`);
        },
      });
    const app = defineApp({ contracts, routes: [mail("safe", "safe"), mail("confirmed", 1), mail("latest", "latest")] });
    const deployment = await world.deploy();
    const backend = await openBackend({ redisUrl: undefined, databaseUrl: base.url, log: silent });
    closing.push(() => backend.close());
    const workers = startWorkers({ app, db: base.db, backend, chainId: deployment.chainId, log: silent });
    closing.push(() => workers.close());
    const stop = new AbortController();
    const config = { rpcUrls: [node.url], finality: undefined, verify: "bloom", pollInterval: 20, lease: 1_000, window: 100 } as const;
    const listening = runListener({ app, config, db: base.db, backend, deployment, log: silent, signal: stop.signal });
    closing.push(async () => {
      stop.abort();
      await listening;
    });

    const [from, to] = await world.chain.rpc<[string, string]>("eth_accounts");
    const mint = async () => {
      const data = token.encodeFunctionData("mint", [to, 1_000, `0x${"00".repeat(32)}`]);
      await world.chain.rpc("eth_sendTransaction", [{ from, to: deployment.contracts.SluiceToken.address, data, gas: "0x7a120" }]);
    };
    for (let reorgs = 0; reorgs < 3; reorgs++) {
      const before = ran.latest.length;
      for (let i = 0; i < 3; i++) await mint();
      await eventually(() => ran.latest.length >= before + 3, { what: "the events of the newest blocks" });
      await world.chain.rpc("anvil_reorg", [1, []]);
      await world.chain.rpc("evm_mine");
      await eventually(() => ran.latest.filter(line => line.startsWith("revert")).length > reorgs, { what: "the revert" });
    }
    await mint();
    for (let i = 0; i < 3; i++) await world.chain.rpc("evm_mine");
    await world.caughtUp();
    const { rows } = await base.db.query<{ id: string }>(
      "select chain_id || '-' || block_hash || '-' || log_index as id from events where live and name = 'Transfer' order by id",
    );
    const live = rows.map(({ id }) => id).sort();
    assert.equal(live.length, 3 * 2 + 1);
    for (const name of ["safe", "confirmed"] as const) {
      await eventually(() => ran[name].length >= live.length, { what: `${name}: all of them` });
      assert.deepEqual(
        ran[name].toSorted(),
        live.map(id => `apply ${id}`),
        name,
      );
    }
    const reverted = ran.latest.filter(line => line.startsWith("revert ")).map(line => line.slice(7));
    assert.equal(reverted.length, 3);
    const applied = ran.latest.filter(line => line.startsWith("apply ")).map(line => line.slice(6));
    assert.deepEqual(applied.filter(id => !reverted.includes(id)).sort(), live);
  });
});
