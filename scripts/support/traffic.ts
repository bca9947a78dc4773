import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import {
  encodeBytes32String,
  FetchRequest,
  HDNodeWallet,
  id,
  type JsonRpcApiProvider,
  JsonRpcProvider,
  Network,
  Signature,
  type TypedDataDomain,
  Wallet,
  WebSocketProvider,
} from "ethers";
import { describeFailure, tokenInterface } from "./failures.ts";
import { InputError } from "./input-error.ts";
import { type Lane, openLane } from "./lane.ts";
import { search, type Work } from "./mining.ts";
import { newSeed, type Random, randomFrom } from "./random.ts";

/** What the traffic does, and how often out of the sum of all. */
const weights = {
  transfer: 34,
  transferWithMemo: 14,
  register: 12,
  mine: 12,
  mint: 10,
  approve: 7,
  transferFrom: 5,
  permit: 4,
  mintBatch: 2,
};

export type TrafficKind = keyof typeof weights;

/**
 * One transaction that was tried, the `number`th of its traffic from 1 on: `hash` when the node took it, `error` when it did
 * not or the contract refused.
 */
export interface SentTransaction {
  number: number;
  kind: TrafficKind;
  hash?: string;
  error?: string;
}

export interface CrowdOptions {
  /** An http or ws URL of a development chain: its accounts are those of the well-known mnemonic. */
  rpcUrl: string;
  /** The token's address. */
  address: string;
  /** The same seed makes the same decisions. By default a new one. */
  seed?: number;
}

export interface PaceOptions {
  /** Transactions per second. */
  rate?: number;
  /** Aborting ends the traffic; what is under way is waited for, up to two seconds. */
  signal?: AbortSignal;
  onTransaction?: (transaction: SentTransaction) => void;
}

export type TrafficOptions = CrowdOptions & PaceOptions;

export interface TrafficReport {
  seed: number;
  sent: number;
  failed: number;
  /** How many of each kind were sent. */
  kinds: Partial<Record<TrafficKind, number>>;
}

/** The people of a demonstration. All that one process sends goes through one crowd, which counts their nonces. */
export interface Crowd {
  seed: number;
  /** Mixed traffic until the signal aborts. One failed transaction, or all of them, does not end it. */
  traffic(options?: PaceOptions): Promise<TrafficReport>;
  /** Sends `count` small transfers as fast as the node takes them. */
  burst(count: number): Promise<{ sent: number; failed: number }>;
  /** Pauses the token; done when mined. Throws if it is paused already or the account may not. */
  pause(): Promise<void>;
  /** Starts the token again; done when mined. */
  unpause(): Promise<void>;
  paused(): Promise<boolean>;
  /** Mints to an account, in the smallest unit; done when mined, as all of these. Gives the transaction's hash. */
  mint(to: string, amount: bigint): Promise<string>;
  /** Transfers from one of the development accounts, the second where none is named. Throws for any other account. */
  transfer(to: string, amount: bigint, from?: string): Promise<string>;
  /** Solves the challenge for the second account. */
  mine(): Promise<string>;
  /** Releases the connection. */
  close(): void;
}

/** Mixed traffic from a crowd of its own, until the signal aborts. */
export async function traffic({ rate, signal, onTransaction, ...options }: TrafficOptions): Promise<TrafficReport> {
  const crowd = await openCrowd(options);
  try {
    return await crowd.traffic({ rate, signal, onTransaction });
  } finally {
    crowd.close();
  }
}

/** EIP-712: what a person signs to be registered by somebody else. */
export const registrationTypes = { Registration: typed("address account, string name, uint256 nonce, uint256 deadline") };

const permitTypes = { Permit: typed("address owner, address spender, uint256 value, uint256 nonce, uint256 deadline") };

function typed(fields: string): { type: string; name: string }[] {
  return fields.split(", ").map(field => {
    const [type, name] = field.split(" ");
    return { type: type!, name: name! };
  });
}

const phrase = "test test test test test test test test test test test junk";
const token = 10n ** 18n;

/**
 * Connects the development accounts to the token.
 *
 * @throws InputError if the accounts have no ether, which means that this is no development chain.
 * @throws What the connection throws, if the node does not answer.
 */
export async function openCrowd(options: CrowdOptions): Promise<Crowd> {
  const { rpcUrl, address, seed = newSeed() } = options;
  const provider = await connect(rpcUrl);
  try {
    const chainId = BigInt(await provider.send("eth_chainId", []));
    const root = HDNodeWallet.fromPhrase(phrase, "", "m/44'/60'/0'/0");
    const lanes = Array.from({ length: 20 }, (_, index) => openLane(root.deriveChild(index), provider, chainId));
    if ((await provider.getBalance(lanes[0]!.address)) === 0n) {
      throw new InputError(
        `${rpcUrl}: chain ${chainId} is no development chain; expected one whose account ${lanes[0]!.address} has ether`,
      );
    }
    return crowdOf({ provider, chainId, address, seed, lanes });
  } catch (error) {
    provider.destroy();
    throw error;
  }
}

/** A provider that knows its chain from the start: one that has to find out retries for ever, without a word to its caller. */
async function connect(url: string): Promise<JsonRpcApiProvider> {
  // Batching would hold every call back for 10 ms. Nothing may be cached either: a burst reads within one block.
  const settings = { batchMaxCount: 1, cacheTimeout: -1, pollingInterval: 100 };
  if (url.startsWith("ws")) return new WebSocketProvider(url, undefined, settings);
  const request = new FetchRequest(url);
  // A node that is there answers, however much it has to mine before.
  request.timeout = 30_000;
  request.body = { jsonrpc: "2.0", id: 1, method: "eth_chainId", params: [] };
  const chainId = BigInt((await request.send()).bodyJson.result);
  return new JsonRpcProvider(url, undefined, { ...settings, staticNetwork: Network.from(chainId) });
}

interface Scene {
  provider: JsonRpcApiProvider;
  chainId: bigint;
  address: string;
  seed: number;
  /** The development accounts. The first one deployed the token: it mints and pauses, and pays for others. */
  lanes: Lane[];
}

function crowdOf(scene: Scene): Crowd {
  const { provider, address, seed, lanes } = scene;
  const random = randomFrom(seed);
  const acts = actsOf(scene);
  const deployer = lanes[0]!;

  async function mined(what: string, sent: Promise<string>): Promise<string> {
    const hash = await sent;
    const receipt = await provider.waitForTransaction(hash, 1, 30_000);
    if (receipt?.status !== 1) throw new Error(`${what} failed in transaction ${hash}`);
    return hash;
  }

  const call = (lane: Lane, method: string, ...values: unknown[]) =>
    mined(method, lane.send({ to: address, data: tokenInterface.encodeFunctionData(method, values) }));

  function personAt(account: string | undefined): Lane {
    const person = account === undefined ? lanes[1] : lanes.find(lane => lane.address.toLowerCase() === account.toLowerCase());
    if (!person) throw new InputError(`${account} is none of the ${lanes.length} development accounts, such as ${lanes[1]!.address}`);
    return person;
  }

  return {
    seed,
    traffic: options => pace(scene, random, acts, options),
    burst: count => burst(scene, acts, count),
    pause: async () => void (await call(deployer, "pause")),
    unpause: async () => void (await call(deployer, "unpause")),
    paused: () => acts.read<boolean>("paused"),
    mint: (to, amount) => call(deployer, "mint", to, amount, encodeBytes32String("demo")),
    transfer: async (to, amount, from) => call(personAt(from), "transfer", to, amount),
    mine: () => mined("mine", acts.mine(lanes[1]!)),
    close: () => provider.destroy(),
  };
}

/** Everything that chance decides about one transaction; drawn at once, so that a seed's decisions do not depend on timing. */
interface Draw {
  kind: TrafficKind;
  from: Lane;
  to: Lane;
  /** Of the sender's balance, in thousandths. */
  share: bigint;
  number: number;
}

function draw({ lanes }: Scene, random: Random, number: number): Draw {
  let left = random.below(Object.values(weights).reduce((sum, weight) => sum + weight));
  const kind = (Object.keys(weights) as TrafficKind[]).find(each => (left -= weights[each]) < 0)!;
  const people = lanes.slice(1);
  return { kind, from: random.pick(people), to: random.pick(people), share: BigInt(1 + random.below(50)), number };
}

async function pace(scene: Scene, random: Random, acts: Acts, options: PaceOptions = {}): Promise<TrafficReport> {
  const { rate = 5, signal, onTransaction } = options;
  const report: TrafficReport = { seed: scene.seed, sent: 0, failed: 0, kinds: {} };
  const underWay = new Set<Promise<void>>();

  async function perform(drawn: Draw): Promise<void> {
    try {
      const { kind, hash } = await acts.perform(drawn);
      report.sent++;
      report.kinds[kind] = (report.kinds[kind] ?? 0) + 1;
      onTransaction?.({ number: drawn.number, kind, hash });
    } catch (error) {
      report.failed++;
      onTransaction?.({ number: drawn.number, kind: drawn.kind, error: describeFailure(error) });
    }
  }

  let due = performance.now();
  for (let number = 1; !signal?.aborted; number++) {
    const act = perform(draw(scene, random, number)).finally(() => underWay.delete(act));
    underWay.add(act);
    // A node that is slower than the rate sets the pace; what was missed meanwhile is not made up for.
    if (underWay.size >= 64) await Promise.race([...underWay, aborted(signal)]);
    due = Math.max(due + 1000 / rate, performance.now() - 1000);
    await sleep(Math.max(0, due - performance.now()), undefined, { signal }).catch(() => undefined);
  }
  await Promise.race([Promise.all(underWay), sleep(2_000, undefined, { ref: false })]);
  return report;
}

function aborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise(resolve => signal?.addEventListener("abort", () => resolve(), { once: true }));
}

async function burst({ lanes, address }: Scene, acts: Acts, count: number): Promise<{ sent: number; failed: number }> {
  const people = lanes.slice(1);
  const amount = token / 1_000n;
  const balances = await Promise.all(people.map(each => acts.read<bigint>("balanceOf", each.address)));
  let rich = people.filter((_, index) => balances[index]! >= amount * BigInt(count));
  if (rich.length === 0) {
    rich = people;
    await acts.fund(people, amount * BigInt(count));
  }
  const transfers = Array.from({ length: count }, (_, index) => {
    const to = people[(index + 1) % people.length]!.address;
    return rich[index % rich.length]!.send({ to: address, data: tokenInterface.encodeFunctionData("transfer", [to, amount]) });
  });
  const settled = await Promise.allSettled(transfers);
  const sent = settled.filter(({ status }) => status === "fulfilled").length;
  return { sent, failed: count - sent };
}

interface Acts {
  /** Does what was drawn, or where that is impossible (nothing to send, nobody left to register) the nearest thing. */
  perform(drawn: Draw): Promise<{ kind: TrafficKind; hash: string }>;
  fund(people: Lane[], amount: bigint): Promise<string>;
  mine(miner: Lane): Promise<string>;
  read<T>(method: string, ...values: unknown[]): Promise<T>;
}

function actsOf({ provider, chainId, address, seed, lanes }: Scene): Acts {
  const deployer = lanes[0]!;
  const domain: TypedDataDomain = { name: "Sluice", version: "1", chainId, verifyingContract: address };
  const allowances: { owner: Lane; spender: Lane }[] = [];
  const turns = new Map<Lane, Promise<unknown>>();
  let newcomers = 0;
  let mining: Promise<unknown> = Promise.resolve();

  const call = (lane: Lane, method: string, ...values: unknown[]) =>
    lane.send({ to: address, data: tokenInterface.encodeFunctionData(method, values) });

  /** What reads a person's state and then sends does both before the next such act: on a slow node they would meet half-way. */
  function inTurn<T>(person: Lane, act: () => Promise<T>): Promise<T> {
    const done = (turns.get(person) ?? Promise.resolve()).then(act);
    turns.set(
      person,
      done.catch(() => undefined),
    );
    return done;
  }

  async function read<T>(method: string, ...values: unknown[]): Promise<T> {
    const data = tokenInterface.encodeFunctionData(method, values);
    const answer: string = await provider.send("eth_call", [{ to: address, data }, "latest"]);
    return tokenInterface.decodeFunctionResult(method, answer)[0];
  }

  /** What somebody can spend; somebody who has nothing is given something, which is then the transaction that is sent. */
  async function spend(drawn: Draw, act: (amount: bigint) => Promise<string>) {
    const balance = await read<bigint>("balanceOf", drawn.from.address);
    if (balance === 0n) return { kind: "mint" as const, hash: await acts.mint({ ...drawn, to: drawn.from }) };
    return { kind: drawn.kind, hash: await act((balance * drawn.share) / 1_000n || 1n) };
  }

  /** The chain's clock, which deadlines are compared with. */
  async function inAnHour(): Promise<bigint> {
    const { timestamp } = await provider.send("eth_getBlockByNumber", ["latest", false]);
    return BigInt(timestamp) + 3_600n;
  }

  const acts = {
    mint: ({ to, number }: Draw) =>
      call(deployer, "mint", to.address, BigInt(10 + (number % 90)) * token, encodeBytes32String(`payroll-${number}`)),

    mintBatch: ({ number }: Draw) => {
      const recipients = lanes.slice(1, 6).map(each => each.address);
      const amounts = recipients.map((_, index) => BigInt(index + 1) * token);
      return call(deployer, "mintBatch", recipients, amounts, encodeBytes32String(`airdrop-${number}`));
    },

    async register({ from, number }: Draw) {
      if (!(await read<boolean>("isRegistered", from.address))) return call(from, "register", `person-${number}`);
      // Everybody here may be registered, so somebody new comes, who has no ether: the deployer pays.
      const newcomer = new Wallet(id(`sluice ${seed} ${newcomers++}`));
      const name = `newcomer-${newcomers}`;
      const [nonce, deadline] = await Promise.all([read<bigint>("nonces", newcomer.address), inAnHour()]);
      const values = { account: newcomer.address, name, nonce, deadline };
      const signature = await newcomer.signTypedData(domain, registrationTypes, values);
      return call(deployer, "registerFor", newcomer.address, name, deadline, signature);
    },

    mine: ({ from }: Draw) => mine(from),

    async permit({ from, to, share }: Draw) {
      const [nonce, deadline] = await Promise.all([read<bigint>("nonces", from.address), inAnHour()]);
      const values = { owner: from.address, spender: to.address, value: share * token, nonce, deadline };
      const { v, r, s } = Signature.from(await from.wallet.signTypedData(domain, permitTypes, values));
      const hash = await call(to, "permit", from.address, to.address, values.value, deadline, v, r, s);
      remember({ owner: from, spender: to });
      return hash;
    },
  };

  function remember(allowance: (typeof allowances)[number]): void {
    allowances.push(allowance);
    if (allowances.length > 100) allowances.shift();
  }

  /** One after another: two at a time would solve the same challenge, and one of them in vain. */
  function mine(miner: Lane): Promise<string> {
    const mined = mining.then(() => solve(miner));
    mining = mined.catch(() => undefined);
    return mined;
  }

  async function solve(miner: Lane): Promise<string> {
    const [challenge, target] = await Promise.all([read<string>("challenge"), read<bigint>("target")]);
    const work: Work = { chainId, token: address, challenge, beneficiary: miner.address, target };
    for (let start = 0n; ; start += 256n) {
      const solution = search(work, start, 256);
      if (solution) return call(miner, "mine", miner.address, solution.nonce);
      await setImmediate();
    }
  }

  async function approve({ from, to, share }: Draw): Promise<string> {
    const hash = await call(from, "approve", to.address, share * token);
    remember({ owner: from, spender: to });
    return hash;
  }

  async function transferFrom(drawn: Draw): Promise<{ kind: TrafficKind; hash: string }> {
    const allowed = allowances.shift();
    if (!allowed) return { kind: "approve", hash: await approve(drawn) };
    const { owner, spender } = allowed;
    return inTurn(owner, async () => {
      const [allowance, balance] = await Promise.all([
        read<bigint>("allowance", owner.address, spender.address),
        read<bigint>("balanceOf", owner.address),
      ]);
      const amount = allowance < balance ? allowance : balance;
      return { kind: "transferFrom", hash: await call(spender, "transferFrom", owner.address, drawn.to.address, amount) };
    });
  }

  return {
    read,
    mine,
    fund: (people, amount) =>
      call(
        deployer,
        "mintBatch",
        people.map(each => each.address),
        people.map(() => amount),
        encodeBytes32String("burst"),
      ),
    perform(drawn) {
      const { kind, from, to, number } = drawn;
      switch (kind) {
        case "transfer":
          return inTurn(from, () => spend(drawn, amount => call(from, "transfer", to.address, amount)));
        case "transferWithMemo": {
          const memo = encodeBytes32String(`invoice-${number}`);
          return inTurn(from, () => spend(drawn, amount => call(from, "transferWithMemo", to.address, amount, memo)));
        }
        case "transferFrom":
          return transferFrom(drawn);
        case "approve":
          return inTurn(from, async () => ({ kind, hash: await approve(drawn) }));
        default:
          return inTurn(from, async () => ({ kind, hash: await acts[kind](drawn) }));
      }
    },
  };
}
