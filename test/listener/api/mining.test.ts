import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { getAddress } from "ethers";
import type { FastifyInstance } from "fastify";
import { account, apiOf, ask, askAll, createWorld, emit, hashOf, openTestDb, type World } from "./support.ts";

const [ada, bea] = [account(1), account(2)];

describe("mining through the API", () => {
  let database: Awaited<ReturnType<typeof openTestDb>>;
  let world: World;
  let api: FastifyInstance;
  let sequence = 0n;
  const mined = (who: string, epoch: bigint, reward: bigint) =>
    emit("Mined", who, epoch, reward, hashOf("c"), hashOf(`digest ${epoch}`), epoch, ++sequence);
  const retargeted = (epoch: bigint, target: bigint) => emit("Retargeted", epoch, target, ++sequence);

  before(async () => {
    database = await openTestDb();
    world = await createWorld(database.db);
    api = await apiOf(database.db);
  });
  after(async () => {
    await api?.close();
    await database?.close();
  });

  it("is empty before the first event", async () => {
    assert.deepEqual(await ask(api, "mining"), { target: null, miners: [], asOf: null });
    assert.deepEqual(await ask(api, "mining/epochs"), { items: [], nextCursor: null });
  });

  it("shows the target that holds, and the miners by what they earned", async () => {
    await world.extend([retargeted(0n, 2n ** 250n), mined(ada, 1n, 50n), mined(bea, 2n, 50n)]);
    await world.extend([mined(bea, 3n, 25n), retargeted(3n, 2n ** 249n)]);
    await world.work();
    const { target, miners, asOf } = await ask(api, "mining");
    assert.deepEqual(target, { epoch: "3", target: String(2n ** 249n) });
    assert.deepEqual(miners, [
      { address: getAddress(bea), solutions: 2, rewards: "75" },
      { address: getAddress(ada), solutions: 1, rewards: "50" },
    ]);
    assert.deepEqual(asOf, world.tip() && { number: 2, hash: world.tip().hash });
    const epochs = await askAll(api, "mining/epochs", 1);
    assert.deepEqual(
      epochs.map(({ epoch, reward, digest }: { epoch: string; reward: string; digest: string }) => [epoch, reward, digest]),
      [
        ["3", "25", hashOf("digest 3")],
        ["2", "50", hashOf("digest 2")],
        ["1", "50", hashOf("digest 1")],
      ],
    );
  });

  it("takes solution, reward and target back when their block is reorged out", async () => {
    await world.reorg(1);
    await world.work();
    const { target, miners } = await ask(api, "mining");
    assert.deepEqual(target, { epoch: "0", target: String(2n ** 250n) });
    assert.deepEqual(
      miners.map(({ rewards }: { rewards: string }) => rewards),
      ["50", "50"],
    );
  });
});
