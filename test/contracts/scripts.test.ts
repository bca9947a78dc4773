import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { Contract, parseEther } from "ethers";
import { readDeployment } from "../../scripts/support/deployment.ts";
import { tokenInterface } from "../../scripts/support/failures.ts";
import { type Ended, type LocalNode, startNode } from "./local-node.ts";

const accounts = [
  "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
  "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
  "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
];

describe("the scripts, as a person runs them", function () {
  this.timeout(300_000);
  const ignitionId = `test-${process.pid}`;
  let node: LocalNode;

  before(async () => {
    node = await startNode();
  });
  after(async () => {
    await node?.stop();
    await rm(join(import.meta.dirname, "../../ignition/deployments", ignitionId), { recursive: true, force: true });
  });

  async function token(): Promise<Contract> {
    const { contracts } = await readDeployment(join(node.data, "deployment.json"));
    return new Contract(contracts.SluiceToken.address, tokenInterface, node.provider);
  }

  function expectDone({ code, output, errors }: Ended, ...texts: string[]): void {
    expect(code, errors).to.equal(0);
    for (const text of texts) expect(output).to.include(text);
  }

  /** One line that names what is wrong, and no stack trace. */
  function expectRefused({ code, errors }: Ended, ...texts: string[]): void {
    expect(code).to.equal(1);
    expect(errors.trim().split("\n"), errors).to.have.length(1);
    for (const text of texts) expect(errors).to.include(text);
  }

  it("says what to do where nothing is deployed yet", async () => {
    expectRefused(await node.script("pause"), "no deployment there", "npx hardhat run scripts/deploy.ts");
  });

  it("deploys and writes the file that the listener reads", async () => {
    expectDone(await node.script("deploy"), "SluiceToken at 0x", "written to");
    const deployment = JSON.parse(await readFile(join(node.data, "deployment.json"), "utf8"));
    expect(deployment.chainId).to.equal(31337);
    const { address, block } = deployment.contracts.SluiceToken;
    expect(await node.provider.getCode(address, block)).to.not.equal("0x");
    expect(await node.provider.getCode(address, block - 1)).to.equal("0x");
  });

  it("deploys with Ignition and writes the same file", async () => {
    const before = await readFile(join(node.data, "deployment.json"), "utf8");
    const options = ["ignition", "deploy", "ignition/modules/SluiceToken.ts", "--network", "localhost", "--deployment-id", ignitionId];
    expectDone(await node.hardhat(...options), "successfully deployed");
    const deployment = await readDeployment(join(node.data, "deployment.json"));
    expect(JSON.stringify(deployment)).to.not.equal(JSON.stringify(JSON.parse(before)));
    const { address, block } = deployment.contracts.SluiceToken;
    expect(await node.provider.getCode(address, block)).to.not.equal("0x");
    expect(await node.provider.getCode(address, block - 1)).to.equal("0x");
    expect(await (await token()).getFunction("mintLimit").staticCall(accounts[0])).to.be.above(0n);
  });

  it("registers an account once", async () => {
    expectDone(await node.script("register", "--name", "alice", "--as", "1"), "is registered as alice", "Registered");
    expect(await (await token()).getFunction("nameOf").staticCall(accounts[1])).to.equal("alice");
    expectRefused(await node.script("register", "--name", "alice", "--as", "1"), "AlreadyRegistered");
  });

  it("mints for who may, and names the role to who may not", async () => {
    expectDone(await node.script("mint", "--to", accounts[2]!, "--amount", "12.5", "--reason", "payroll"), "minted 12.5", "Minted");
    expect(await (await token()).getFunction("balanceOf").staticCall(accounts[2])).to.equal(parseEther("12.5"));
    expectRefused(await node.script("mint", "--to", accounts[2]!, "--amount", "1", "--as", "2"), "MINTER_ROLE");
  });

  it("transfers, with and without a memo", async () => {
    expectDone(await node.script("transfer", "--to", accounts[1]!, "--amount=2", "--as", "2"), "transferred 2.0");
    const memo = await node.script("transfer", "--to", accounts[1]!, "--amount", "1", "--memo", "invoice-42", "--as", "2");
    expectDone(memo, "TransferWithMemo");
    expect(await (await token()).getFunction("balanceOf").staticCall(accounts[2])).to.equal(parseEther("9.5"));
  });

  it("pauses and starts again", async () => {
    expectDone(await node.script("pause"), "is paused", "Paused");
    expectRefused(await node.script("transfer", "--to", accounts[1]!, "--amount", "1", "--as", "2"), "EnforcedPause");
    expectDone(await node.script("pause", "--set", "off"), "is running again", "Unpaused");
  });

  it("mines in worker threads", async () => {
    const before = await (await token()).getFunction("balanceOf").staticCall(accounts[2]);
    expectDone(await node.script("mine", "--count", "2", "--threads", "2", "--as", "2"), "2 threads", "mined 50.0", "Mined");
    expect((await (await token()).getFunction("balanceOf").staticCall(accounts[2])) - before).to.equal(parseEther("100"));
  });

  it("drives traffic for a time and tells its seed", async () => {
    const before = await (await token()).getFunction("sequence").staticCall();
    expectDone(await node.script("traffic", "--rate", "30", "--for", "2s", "--seed", "7"), "with seed 7", "seed 7: sent", "failed 0");
    expect((await (await token()).getFunction("sequence").staticCall()) - before).to.be.above(0n);
  });

  const refusals: [string, string[], string[]][] = [
    ["register", [], ["--name: missing", "a-z, 0-9", "--name alice"]],
    ["register", ["--name", "Bob"], ['--name: given "Bob"', "a-z, 0-9"]],
    ["transfer", ["--to", "0x1234", "--amount", "1"], ['--to: given "0x1234"', "40 hexadecimal digits"]],
    ["transfer", ["--to", accounts[1]!, "--amount", "-1"], ['--amount: given "-1"', "above 0"]],
    ["mint", ["--to", accounts[1]!, "--amount", "1", "--memo", "x"], ["--memo: not for this script"]],
    ["pause", ["--set", "maybe"], ['--set: given "maybe"', "on or off"]],
    ["traffic", ["--for", "soon"], ['--for: given "soon"', "20s"]],
    ["pause", ["--token", accounts[1]!], ["no contract at"]],
  ];
  for (const [script, options, texts] of refusals) {
    it(`refuses ${script} ${options.join(" ") || "without parameters"} in one line`, async () => {
      expectRefused(await node.script(script, ...options), ...texts);
    });
  }

  it("says in one line that the node is down", async () => {
    const down = await startNode();
    await down.stop();
    expectRefused(await down.script("pause", "--token", accounts[1]!), "does not answer");
  });
});
