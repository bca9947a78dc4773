import { expect } from "chai";
import { Contract } from "ethers";
import { deployToken } from "../../scripts/support/deploy-token.ts";
import { describeFailure, tokenInterface } from "../../scripts/support/failures.ts";
import { InputError } from "../../scripts/support/input-error.ts";
import { type Crowd, openCrowd, type SentTransaction, traffic } from "../../scripts/support/traffic.ts";
import { eventually } from "../support/eventually.ts";
import { type LocalNode, startNode } from "./local-node.ts";

describe("the traffic of the demonstration", function () {
  this.timeout(180_000);
  let node: LocalNode;
  let token: Contract;
  let crowd: Crowd;

  before(async () => {
    node = await startNode();
    const { contracts } = await deployToken(await node.provider.getSigner(0));
    token = new Contract(contracts.SluiceToken.address, tokenInterface, node.provider);
    crowd = await openCrowd({ rpcUrl: node.url, address: contracts.SluiceToken.address, seed: 11 });
  });
  after(async () => {
    crowd?.close();
    await node?.stop();
  });

  const read = (method: string, ...values: unknown[]) => token.getFunction(method).staticCall(...values);

  /** Traffic for as long as `meanwhile` takes, which sees what was sent so far. */
  async function during(meanwhile: (seen: readonly SentTransaction[]) => Promise<unknown>) {
    const seen: SentTransaction[] = [];
    const stop = new AbortController();
    const running = crowd.traffic({ rate: 40, signal: stop.signal, onTransaction: transaction => seen.push(transaction) });
    await meanwhile(seen).finally(() => stop.abort());
    return { report: await running, seen };
  }
  const until = (condition: () => boolean) => eventually(condition, { timeout: 120_000 });

  it("does a bit of everything, and nothing fails", async () => {
    const { report, seen } = await during(seen => until(() => seen.length > 120));
    expect(seen.filter(({ error }) => error)).to.deep.equal([]);
    expect(report.sent).to.equal(seen.length);
    expect(report.kinds).to.include.keys("transfer", "transferWithMemo", "register", "mine", "mint", "approve");
    expect(await read("epoch")).to.equal(BigInt(report.kinds.mine!));
  });

  it("sends a burst at once", async () => {
    const before = await node.provider.getBlockNumber();
    expect(await crowd.burst(200)).to.deep.equal({ sent: 200, failed: 0 });
    expect(await node.provider.getBlockNumber()).to.be.at.least(before + 200);
  });

  it("goes on while paused and afterwards", async () => {
    const { report, seen } = await during(async seen => {
      await until(() => seen.length > 0);
      await crowd.pause();
      expect(await read("paused")).to.equal(true);
      await until(() => seen.some(({ error }) => error));
      await crowd.unpause();
      const before = seen.length;
      await until(() => seen.length > before + 20 && !seen.at(-1)!.error);
    });
    const refused = seen.filter(({ error }) => error);
    expect(refused).to.not.be.empty;
    expect(refused.every(({ error }) => error === "EnforcedPause")).to.equal(true);
    expect(report.failed).to.equal(refused.length);
  });

  it("goes on after the chain was taken back", async () => {
    const snapshot = await node.provider.send("evm_snapshot", []);
    await during(async seen => {
      await until(() => seen.length > 20);
      await node.provider.send("evm_revert", [snapshot]);
      const before = seen.length;
      await until(() => seen.length > before + 20 && seen.slice(-20).every(({ error }) => error === undefined));
    });
  });

  it("makes the same decisions with the same seed", async () => {
    // A seed without transferFrom among the first: whether there is an allowance by then is the node's decision, too.
    const kinds = async () => {
      const snapshot = await node.provider.send("evm_snapshot", []);
      const seen: SentTransaction[] = [];
      const stop = new AbortController();
      await traffic({
        rpcUrl: node.url,
        address: String(token.target),
        seed: 6,
        rate: 20,
        signal: stop.signal,
        onTransaction: transaction => seen.push(transaction) === 20 && stop.abort(),
      });
      await node.provider.send("evm_revert", [snapshot]);
      return seen
        .sort((a, b) => a.number - b.number)
        .slice(0, 15)
        .map(({ kind }) => kind);
    };
    expect(await kinds()).to.deep.equal(await kinds());
  });

  it("tells a burst's failures instead of throwing", async () => {
    await crowd.pause();
    expect(await crowd.burst(10)).to.deep.equal({ sent: 0, failed: 10 });
    await crowd.unpause();
  });

  it("refuses a chain without the development accounts", async () => {
    const first = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    const balance = await node.provider.getBalance(first);
    await node.provider.send("hardhat_setBalance", [first, "0x0"]);
    const refused = await openCrowd({ rpcUrl: node.url, address: String(token.target) }).catch(error => error);
    expect(refused).to.be.instanceOf(InputError);
    await node.provider.send("hardhat_setBalance", [first, `0x${balance.toString(16)}`]);
  });

  it("outlives its node, and says so when it is opened without one", async () => {
    await during(async seen => {
      await until(() => seen.length > 0);
      await node.stop();
      await until(() => seen.at(-1)!.error === "the node does not answer");
    });
    const refused = await openCrowd({ rpcUrl: node.url, address: String(token.target) }).catch(error => error);
    expect(describeFailure(refused)).to.equal("the node does not answer");
  });
});
