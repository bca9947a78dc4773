import { expect } from "chai";
import { type BaseContractMethod, Contract, encodeBytes32String, id, parseEther, Wallet, ZeroAddress } from "ethers";
import { network } from "hardhat";
import { deployToken } from "../../scripts/support/deploy-token.ts";
import { tokenInterface } from "../../scripts/support/failures.ts";
import { digestOf, search, searchInThreads, type Work } from "../../scripts/support/mining.ts";
import { demoTerms, type Terms } from "../../scripts/support/terms.ts";
import { registrationTypes } from "../../scripts/support/traffic.ts";

const { ethers, networkHelpers } = await network.create();
const [deployer, alice, bob] = await ethers.getSigners();

type Method =
  | "acceptDefaultAdminTransfer"
  | "balanceOf"
  | "beginDefaultAdminTransfer"
  | "challenge"
  | "defaultAdmin"
  | "digestOf"
  | "hasRole"
  | "mine"
  | "mint"
  | "mintBatch"
  | "nonces"
  | "pause"
  | "register"
  | "registerFor"
  | "sequence"
  | "transferWithMemo";

/** TypeChain has no type for this token: its `target()` clashes with the `target` of every ethers contract. */
type Token = Contract & Record<Method, BaseContractMethod>;

function tokenAt(address: string): Token {
  return new Contract(address, tokenInterface, deployer) as Token;
}

async function deployed(terms: Partial<Terms> = {}): Promise<Token> {
  const { contracts } = await deployToken(deployer!, { terms });
  return tokenAt(contracts.SluiceToken.address);
}

const as = (token: Token, signer: typeof alice) => token.connect(signer!) as Token;

async function workFor(token: Token, beneficiary: string): Promise<Work> {
  const { chainId } = await ethers.provider.getNetwork();
  const [challenge, target] = await Promise.all([token.challenge(), token.getFunction("target")()]);
  return { chainId, token: String(token.target), challenge, beneficiary, target };
}

describe("the token, from TypeScript", () => {
  it("says in which block it is, and gives the deployer the roles of the demonstration", async () => {
    const { chainId, contracts } = await deployToken(deployer!);
    const { address, block } = contracts.SluiceToken;
    const token = tokenAt(address);
    expect(chainId).to.equal(31337);
    expect(await ethers.provider.getCode(address, block)).to.not.equal("0x");
    expect(await ethers.provider.getCode(address, block - 1)).to.equal("0x");
    for (const role of ["MINTER_ROLE", "PAUSER_ROLE", "UNPAUSER_ROLE"]) {
      expect(await token.hasRole(id(role), deployer!.address)).to.equal(true);
    }
  });

  it("gives no role where none is asked for, and administers by whom it is told", async () => {
    const { contracts } = await deployToken(deployer!, { roles: false, terms: { admin: alice!.address } });
    const token = tokenAt(contracts.SluiceToken.address);
    expect(await token.defaultAdmin()).to.equal(alice!.address);
    await expect(token.pause()).to.be.revertedWithCustomError(token, "AccessControlUnauthorizedAccount");
  });

  it("registers a person who has no ether, on a signature", async () => {
    const token = await deployed();
    const person = Wallet.createRandom();
    const { chainId } = await ethers.provider.getNetwork();
    const deadline = (await networkHelpers.time.latest()) + 3_600;
    const domain = { name: "Sluice", version: "1", chainId, verifyingContract: String(token.target) };
    const values = { account: person.address, name: "newcomer", nonce: await token.nonces(person.address), deadline };
    const signature = await person.signTypedData(domain, registrationTypes, values);

    await expect(as(token, bob).registerFor(person.address, "newcomer", deadline, signature))
      .to.emit(token, "Registered")
      .withArgs(person.address, "newcomer", demoTerms.grants.amount, 3);
    expect(await token.balanceOf(person.address)).to.equal(demoTerms.grants.amount);
    await expect(as(token, bob).registerFor(person.address, "newcomer", deadline, signature)).to.be.revertedWithCustomError(
      token,
      "InvalidRegistrationSignature",
    );
  });

  it("pays for a payment by its memo", async () => {
    const token = await deployed();
    await token.mint(alice!.address, parseEther("5"), encodeBytes32String("payroll"));
    const memo = encodeBytes32String("invoice-42");
    await expect(as(token, alice).transferWithMemo(bob!.address, parseEther("2"), memo))
      .to.emit(token, "TransferWithMemo")
      .withArgs(alice!.address, bob!.address, parseEther("2"), memo, 4);
    expect(await token.balanceOf(bob!.address)).to.equal(parseEther("2"));
  });

  it("mines with the digest that TypeScript computes", async () => {
    const token = await deployed();
    const work = await workFor(token, alice!.address);
    expect(digestOf(work, 42n)).to.equal(await token.digestOf(alice!.address, 42n));

    // Chance alone makes some nonces good for both; a copied nonce is shown to be useless by one that is not.
    let solution = search(work, 0n, 1_000_000)!;
    while (BigInt(digestOf({ ...work, beneficiary: bob!.address }, solution.nonce)) <= work.target) {
      solution = search(work, solution.nonce + 1n, 1_000_000)!;
    }
    expect(solution.digest).to.equal(digestOf(work, solution.nonce));
    await expect(as(token, bob).mine(bob!.address, solution.nonce)).to.be.revertedWithCustomError(token, "InsufficientWork");
    await expect(as(token, bob).mine(alice!.address, solution.nonce))
      .to.emit(token, "Mined")
      .withArgs(alice!.address, 1, demoTerms.mining.reward, work.challenge, solution.digest, solution.nonce, 3);
  });

  it("mines in threads, with progress, until it is told to stop", async () => {
    const token = await deployed();
    const work = await workFor(token, alice!.address);
    const solution = (await searchInThreads(work, { threads: 2 }))!;
    await token.mine(alice!.address, solution.nonce);
    expect(await token.balanceOf(alice!.address)).to.equal(demoTerms.mining.reward);

    const stop = new AbortController();
    const progress: number[] = [];
    const impossible = searchInThreads(
      { ...work, target: 1n },
      { threads: 1, signal: stop.signal, onProgress: tried => progress.push(tried) && stop.abort() },
    );
    expect(await impossible).to.equal(undefined);
    expect(progress[0]).to.equal(20_000);
  });

  it("adapts its difficulty to the speed of mining", async () => {
    const token = await deployed({ mining: { ...demoTerms.mining, retargetInterval: 2n } });
    const before = await token.getFunction("target").staticCall();
    for (let solutions = 0; solutions < 2; solutions++) {
      const work = await workFor(token, alice!.address);
      await token.mine(alice!.address, search(work, 0n, 1_000_000)!.nonce);
    }
    expect(await token.getFunction("target").staticCall()).to.be.below(before);
  });

  it("changes its administrator in two steps with a delay", async () => {
    const token = await deployed();
    await token.beginDefaultAdminTransfer(alice!.address);
    await expect(as(token, alice).acceptDefaultAdminTransfer()).to.be.revertedWithCustomError(
      token,
      "AccessControlEnforcedDefaultAdminDelay",
    );
    await networkHelpers.time.increase(61);
    await as(token, alice).acceptDefaultAdminTransfer();
    expect(await token.defaultAdmin()).to.equal(alice!.address);
  });

  it("numbers its own events without a gap", async () => {
    const token = await deployed();
    await as(token, alice).register("alice");
    await token.mintBatch([alice!.address, bob!.address], [1n, 2n], encodeBytes32String("airdrop"));
    await as(token, alice).transferWithMemo(bob!.address, 1n, encodeBytes32String("memo"));
    await token.mine(bob!.address, search(await workFor(token, bob!.address), 0n, 1_000_000)!.nonce);

    const logs = await ethers.provider.getLogs({ address: String(token.target), fromBlock: 0 });
    const numbers = logs.flatMap(log => {
      const parsed = tokenInterface.parseLog(log)!;
      return parsed.fragment.inputs.at(-1)?.name === "sequence" ? [Number(parsed.args.sequence)] : [];
    });
    expect(numbers).to.deep.equal(numbers.map((_, index) => index + 1));
    expect(await token.sequence()).to.equal(numbers.length);
  });

  it("cannot be deployed without an administrator", async () => {
    const factory = await ethers.getContractFactory("SluiceToken", deployer);
    await expect(factory.deploy({ ...demoTerms, admin: ZeroAddress })).to.be.revertedWithCustomError(
      factory,
      "AccessControlInvalidDefaultAdmin",
    );
  });
});
