import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import type { Rpc } from "../../../listener/chain/rpc.ts";
import { SluiceError } from "../../../listener/errors.ts";
import { enterChain } from "../../../listener/journal/chains.ts";
import { acquireLease } from "../../../listener/journal/lease.ts";
import { hashOf } from "../../support/scripted-chain.ts";
import { addressOf, appOf, CHAIN, chainOf, openDatabases, silent } from "./journal-fixture.ts";

const open = await openDatabases();
const app = appOf({ One: ["A"] }, []);
const identity = { chainId: CHAIN, genesis: hashOf("a0"), instance: "first", development: true };
const deploymentAt = (digit: number) => ({ chainId: CHAIN, contracts: { One: { address: addressOf(digit), block: 1 } } });

test("keeps nobody from writing while it waits for a node that is away", async () => {
  const db = await open(app);
  const { rpc } = chainOf({}, { length: 3, final: 2 });
  await enterChain(db, rpc, identity, deploymentAt(1));
  await db.query("insert into blocks (chain_id, number, hash, parent_hash, timestamp) values ($1, 1, $2, $3, 1)", [
    CHAIN,
    hashOf("a1"),
    hashOf("a0"),
  ]);
  let answer = () => {};
  let asked = () => {};
  const isAsked = new Promise<void>(resolve => {
    asked = resolve;
  });
  const away: Rpc = {
    ...rpc,
    async call<T>(method: string, parameters: readonly unknown[]) {
      asked();
      await new Promise<void>(resolve => {
        answer = resolve;
      });
      return rpc.call<T>(method, parameters);
    },
  };
  const entering = enterChain(db, away, { ...identity, instance: "second" }, deploymentAt(1));
  await isAsked;
  const tx = await db.connect();
  await tx.query("set lock_timeout = 1000");
  await tx.query("update checkpoint set updated_at = now()").finally(() => {
    tx.release(true);
    answer();
  });
  await entering;
  const { rows } = await db.query("select instance from checkpoint");
  assert.equal(rows[0].instance, "second");
});

test("refuses a contract that was deployed anew under the name of another", async () => {
  const db = await open(app);
  const { rpc } = chainOf({}, { length: 3, final: 2 });
  await enterChain(db, rpc, identity, deploymentAt(1));
  await assert.rejects(enterChain(db, rpc, identity, deploymentAt(2)), SluiceError);
  const { rows } = await db.query("select address from contracts");
  assert.deepEqual(rows, [{ address: addressOf(1) }]);
  await enterChain(db, rpc, identity, deploymentAt(1));
});

test("keeps the lease through a commit that takes longer than it", { timeout: 60_000 }, async () => {
  const db = await open(app);
  await enterChain(db, chainOf({}, { length: 3, final: 2 }).rpc, identity, deploymentAt(1));
  const stop = new AbortController();
  const lease = await acquireLease({ db, chainId: CHAIN, writer: "one", duration: 300, log: silent, signal: stop.signal });
  const tx = await db.connect();
  await tx.query("begin");
  await tx.query("update checkpoint set events = events where epoch = $1", [lease.epoch]);
  await tx.query("select pg_sleep(0.6)");
  await tx.query("commit");
  tx.release();
  const renewed = async () =>
    (await db.query<{ held: boolean }>("select lease_until > clock_timestamp() as held from checkpoint")).rows[0]!.held;
  while (!lease.lost.aborted && !(await renewed())) await wait(10);
  assert.equal(lease.lost.aborted, false);
  await lease.release();
  stop.abort();
});
