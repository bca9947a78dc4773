import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { checkDeployment, checkSameChain, readIdentity } from "../../../listener/chain/identity.ts";
import type { Db } from "../../../listener/db.ts";
import { WrongChainError } from "../../../listener/errors.ts";
import { enterChain } from "../../../listener/journal/chains.ts";
import { openTestDatabase } from "../../support/database.ts";
import { stubRpc } from "../../support/stub-rpc.ts";

const GENESIS = `0x${"11".repeat(32)}`;
const OLDEST = { number: 5, hash: `0x${"55".repeat(32)}` };
const deployment = { chainId: 31337, contracts: { Token: { address: `0x${"AA".repeat(20)}`, block: 3 } } };
const node = (more: Record<string, unknown> = {}) =>
  stubRpc({
    eth_chainId: "0x7a69",
    eth_getBlockByNumber: { hash: GENESIS },
    hardhat_metadata: { instanceId: "one" },
    web3_clientVersion: "HardhatNetwork/3",
    eth_getCode: "0x60",
    eth_getBlockByHash: null,
    ...more,
  });

describe("identity", () => {
  it("knows a Hardhat chain by its instance", async () => {
    assert.deepEqual(await readIdentity(node()), { chainId: 31337, genesis: GENESIS, instance: "one", development: true });
  });

  it("knows anvil for a development chain, and geth for none", async () => {
    const without = (client: string) =>
      stubRpc({ eth_chainId: "0x1", eth_getBlockByNumber: { hash: GENESIS }, web3_clientVersion: client });
    assert.equal((await readIdentity(without("anvil/v1.0"))).development, true);
    assert.deepEqual(await readIdentity(without("Geth/v1.14")), { chainId: 1, genesis: GENESIS, instance: undefined, development: false });
  });

  const now = { chainId: 31337, genesis: GENESIS, instance: "two", development: true };

  it("accepts the same run of a chain without asking anything", async () => {
    const rpc = node();
    await checkSameChain(rpc, now, { genesis: GENESIS, instance: "two", oldest: OLDEST });
    assert.deepEqual(rpc.calls, []);
  });

  it("recognises a local chain that was restarted and is empty", async () => {
    await assert.rejects(checkSameChain(node(), now, { genesis: GENESIS, instance: "one", oldest: OLDEST }), WrongChainError);
  });

  it("accepts a local chain that was restarted and replayed to the same blocks", async () => {
    await checkSameChain(node({ eth_getBlockByHash: { number: "0x5" } }), now, { genesis: GENESIS, instance: "one", oldest: OLDEST });
  });

  it("accepts a restarted chain of which we hold nothing yet", async () => {
    await checkSameChain(node(), now, { genesis: GENESIS, instance: "one", oldest: undefined });
  });

  it("refuses another genesis block, and says how to start over", async () => {
    await assert.rejects(
      checkSameChain(node(), { ...now, genesis: "0x22" }, { genesis: GENESIS, instance: "two", oldest: undefined }),
      (error: WrongChainError) => error instanceof WrongChainError && /reset/.test(error.hint ?? ""),
    );
  });

  it("refuses a deployment of another chain, and one without code", async () => {
    await assert.rejects(checkDeployment(node(), now, { ...deployment, chainId: 1 }), WrongChainError);
    await assert.rejects(checkDeployment(node({ eth_getCode: "0x" }), now, deployment), WrongChainError);
    await checkDeployment(node(), now, deployment);
  });

  describe("of the journal", () => {
    const dump = async (db: Db) => ({
      checkpoint: (await db.query("select * from checkpoint")).rows[0],
      contracts: (await db.query("select chain_id, address, name, start_block from contracts order by address")).rows,
    });
    const identity = { chainId: 31337, genesis: GENESIS, instance: "one", development: true };

    it("is entered once, from the first block of a contract", async () => {
      await using base = await openTestDatabase();
      await enterChain(base.db, node(), identity, deployment);
      await enterChain(base.db, node(), identity, deployment);
      const { checkpoint, contracts } = await dump(base.db);
      assert.equal(checkpoint.start_block, 3);
      assert.equal(checkpoint.tip_number, null);
      assert.deepEqual(contracts, [{ chain_id: 31337, address: `0x${"aa".repeat(20)}`, name: "Token", start_block: 3 }]);
    });

    it("changes nothing when another chain is offered", async () => {
      await using base = await openTestDatabase();
      await enterChain(base.db, node(), identity, deployment);
      const before = await dump(base.db);
      await assert.rejects(enterChain(base.db, node(), { ...identity, genesis: "0x99", instance: "nine" }, deployment), WrongChainError);
      assert.deepEqual(await dump(base.db), before);
    });

    it("changes nothing when a restarted local chain lacks our blocks", async () => {
      await using base = await openTestDatabase();
      await enterChain(base.db, node(), identity, deployment);
      await base.db.query("insert into blocks values (31337, 5, $1, '0x', 0)", [OLDEST.hash]);
      const before = await dump(base.db);
      await assert.rejects(enterChain(base.db, node(), { ...identity, instance: "two" }, deployment), WrongChainError);
      assert.deepEqual(await dump(base.db), before);
      await enterChain(base.db, node({ eth_getBlockByHash: { number: "0x5" } }), { ...identity, instance: "two" }, deployment);
      assert.equal((await dump(base.db)).checkpoint.instance, "two");
    });

    it("takes a further contract, ahead of the journal or behind it, and begins where the earliest does", async () => {
      await using base = await openTestDatabase();
      await enterChain(base.db, node(), identity, deployment);
      await base.db.query("update checkpoint set tip_number = 10, tip_hash = '0x10'");
      const other = (digits: string, block: number) => ({ address: `0x${digits.repeat(20)}`, block });
      await enterChain(base.db, node(), identity, { ...deployment, contracts: { ...deployment.contracts, Ahead: other("BB", 11) } });
      assert.equal((await dump(base.db)).checkpoint.start_block, 3);
      await enterChain(base.db, node(), identity, { ...deployment, contracts: { ...deployment.contracts, Behind: other("CC", 2) } });
      const { checkpoint, contracts } = await dump(base.db);
      assert.equal(checkpoint.start_block, 2);
      assert.deepEqual(
        contracts.map(({ name, start_block }) => `${name} ${start_block}`),
        ["Token 3", "Ahead 11", "Behind 2"],
      );
    });
  });
});
