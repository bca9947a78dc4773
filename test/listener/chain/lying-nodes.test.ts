import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { finalLogs } from "../../../listener/chain/follow.ts";
import { openRpc, type Rpc } from "../../../listener/chain/rpc.ts";
import { nodeSource } from "../../../listener/chain/source.ts";
import type { ChainSource, Log } from "../../../listener/chain/types.ts";
import { checkBlock } from "../../../listener/chain/verify.ts";
import type { Verify } from "../../../listener/config.ts";
import { BadAnswerError, UnverifiableError } from "../../../listener/errors.ts";
import { noAnvil, startAnvil } from "../../support/anvil.ts";
import { EVENT_TOPIC, eventfulChain, type RpcBlock, type RpcLog, type RpcReceipt, toBeHexNumber } from "../../support/eventful-chain.ts";
import { jsonRpcServer, type RpcRequest } from "../../support/json-rpc-server.ts";
import { silent } from "../../support/silent.ts";

/** What a node answers, changed before it is sent. */
type Lie = (answer: unknown, request: RpcRequest) => unknown;
const WORD = `0x${"5e".repeat(32)}`;
const truth: Lie = answer => answer;

/** The answers of an honest node, held for all those that lie about them. */
async function recordChain() {
  const node = await startAnvil();
  const { call, address, head } = await eventfulChain(node.url);
  const blocks: { plain: RpcBlock; full: RpcBlock; receipts: RpcReceipt[]; logs: RpcLog[] }[] = [];
  for (let number = 0; number <= head; number++) {
    const at = toBeHexNumber(number);
    blocks.push({
      plain: await call<RpcBlock>("eth_getBlockByNumber", at, false),
      full: await call<RpcBlock>("eth_getBlockByNumber", at, true),
      receipts: await call<RpcReceipt[]>("eth_getBlockReceipts", at),
      logs: await call<RpcLog[]>("eth_getLogs", { fromBlock: at, toBlock: at }),
    });
  }
  await node.close();
  // What comes from a blob transaction's block on is left out: anvil's root of it is of its own making.
  const length = blocks.findIndex(({ full }) => full.transactions.some(({ type }) => type === "0x3"));
  return { address, blocks: blocks.slice(0, length) };
}

type Chain = Awaited<ReturnType<typeof recordChain>>;

function answerOf({ blocks, address }: Chain, { method, params }: RpcRequest): unknown {
  const [first, full] = params as [never, boolean];
  const byHash = (hash: string) => blocks.find(({ plain }) => plain.hash === hash);
  const shown = (block: Chain["blocks"][number] | undefined) => (block ? (full ? block.full : block.plain) : null);
  if (method === "eth_getBlockByNumber") return shown(blocks[first === "latest" ? blocks.length - 1 : Number(first)]);
  if (method === "eth_getBlockByHash") return shown(byHash(first));
  if (method === "eth_getBlockReceipts") return byHash(first)?.receipts ?? null;
  const { blockHash, fromBlock, toBlock } = first as Record<string, string>;
  const of = blockHash ? [byHash(blockHash)!] : blocks.slice(Number(fromBlock), Number(toBlock) + 1);
  return of.flatMap(({ logs }) => logs).filter(log => log.address === address && log.topics[0] === EVENT_TOPIC);
}

describe("lying nodes", { skip: noAnvil }, () => {
  let chain: Chain;
  let last = 0;
  before(async () => {
    chain = await recordChain();
    last = chain.blocks.length - 1;
  });
  const servers: Awaited<ReturnType<typeof jsonRpcServer>>[] = [];
  after(() => Promise.all(servers.map(server => server.close())));
  const serve = async (lie: Lie) => {
    const server = await jsonRpcServer(request => ({ result: lie(structuredClone(answerOf(chain, request)), request) }));
    servers.push(server);
    return server;
  };

  /** What a follower would commit: everything by ranges, or block by block as at the head. */
  const readers = {
    "by range": async (source: ChainSource) => {
      const logs: Log[] = [];
      for await (const range of finalLogs(source, 0, last)) logs.push(...range.logs);
      return logs;
    },
    "block by block": async (source: ChainSource) => {
      const headers = await source.headers(chain.blocks.map((_, number) => number));
      return (await Promise.all(headers.map(header => source.logsOf(header!)))).flat();
    },
  };
  type How = keyof typeof readers;
  const open = (urls: string[], verify: Verify): { rpc: Rpc; source: ChainSource; close(): void } => {
    const stop = new AbortController();
    const { signal } = stop;
    const rpc = openRpc(urls, { log: silent, signal });
    const filter = { addresses: [chain.address], topics: [EVENT_TOPIC] };
    const source = nodeSource({ rpc, filter, finality: 2, verify, pollInterval: 5, signal, log: silent });
    const close = () => {
      stop.abort();
      rpc.close();
    };
    return { rpc, source, close };
  };
  const honest = () =>
    chain.blocks.flatMap(({ logs }) => logs).filter(log => log.address === chain.address && log.topics[0] === EVENT_TOPIC);
  const places = (logs: readonly (Log | RpcLog)[]) =>
    logs.map(log => [Number(log.blockNumber), Number(log.logIndex), log.transactionHash, log.topics.join(), log.data].join(" "));

  for (const verify of ["off", "bloom", "receipts"] as const) {
    for (const how of Object.keys(readers) as How[]) {
      it(`reads ${how} what an honest node has, with verify: ${verify}`, async () => {
        const { source, rpc, close } = open([(await serve(truth)).url], verify);
        assert.deepEqual(places(await readers[how](source)), places(honest()));
        assert.deepEqual(
          rpc.nodes().map(({ state }) => state),
          ["ok"],
        );
        close();
      });
    }
  }

  type Change = { drop?: true; change?: (log: RpcLog) => RpcLog; add?: true; swap?: true };
  const changes: Record<string, Change> = {
    drop: { drop: true },
    add: { add: true },
    swap: { swap: true },
    "alter the data of": { change: log => ({ ...log, data: `${log.data.slice(0, -1)}${log.data.endsWith("0") ? 1 : 0}` }) },
    "alter a topic of": { change: log => ({ ...log, topics: [log.topics[0]!, ...log.topics.slice(1).map(() => WORD)] }) },
    "add a topic to": { change: log => ({ ...log, topics: [...log.topics, WORD] }) },
    "alter the transaction of": { change: log => ({ ...log, transactionHash: WORD }) },
    "alter the place of": { change: log => ({ ...log, logIndex: toBeHexNumber(Number(log.logIndex) + 1_000) }) },
    "alter the time of": { change: log => ({ ...log, blockTimestamp: "0x1" }) },
  };
  /** The list with one of its logs changed; as it was where the change makes none. */
  const altered = (logs: RpcLog[], isIt: (log: RpcLog) => boolean, { drop, add, change, swap }: Change): RpcLog[] => {
    const at = logs.findIndex(isIt);
    const one = logs[at];
    if (!one) return logs;
    if (drop) return logs.toSpliced(at, 1);
    if (add) return logs.toSpliced(at, 0, { ...one, logIndex: toBeHexNumber(Number(one.logIndex) + 5_000), data: WORD });
    if (change) return logs.with(at, change(one));
    const next = logs[at + 1];
    if (!swap || !next) return logs;
    return logs.with(at, { ...one, data: next.data, topics: next.topics }).with(at + 1, { ...next, data: one.data, topics: one.topics });
  };

  /** Of what comes by chance, some is known to be told by a bloom: there must be something to see. */
  const SURELY: [number, string, "eth_getLogs", How][] = [
    [0, "add a topic to", "eth_getLogs", "by range"],
    [1, "add a topic to", "eth_getLogs", "block by block"],
  ];

  it("catches every single change of any log with receipts, and with blooms whenever a bloom can tell", async t => {
    const seed = Number(process.env.SLUICE_SEED ?? Math.floor(Math.random() * 2 ** 31));
    t.diagnostic(`seed ${seed} (SLUICE_SEED)`);
    const expected = places(honest());
    const server = await serve(truth);
    const counts = { made: 0, receipts: 0, bloom: 0, bloomCould: 0 };
    await fc.assert(
      fc.asyncProperty(
        fc.nat(honest().length - 1),
        fc.constantFrom(...Object.keys(changes)),
        fc.constantFrom("eth_getLogs", "eth_getBlockReceipts"),
        fc.constantFrom(...(Object.keys(readers) as How[])),
        async (index, name, where, how) => {
          const victim = honest()[index]!;
          const isIt = (log: RpcLog) => log.blockNumber === victim.blockNumber && log.logIndex === victim.logIndex;
          const apply = (logs: RpcLog[]) => altered(logs, isIt, changes[name]!);
          let made = false;
          server.behave(request => {
            const answer = structuredClone(answerOf(chain, request)) as (RpcLog & RpcReceipt)[];
            if (request.method !== where) return { result: answer };
            const lie = where === "eth_getLogs" ? apply(answer) : answer.map(receipt => ({ ...receipt, logs: apply(receipt.logs) }));
            made ||= JSON.stringify(lie) !== JSON.stringify(answer);
            return { result: lie };
          });
          for (const verify of ["receipts", "bloom"] as const) {
            made = false;
            const { source, rpc, close } = open([server.url], verify);
            const result = await readers[how](source).catch(error => error as Error);
            const states = rpc.nodes().map(({ state }) => state);
            close();
            if (result instanceof Error) {
              assert.ok(result instanceof BadAnswerError, String(result));
              assert.equal(result.node, `${server.url}/`);
              assert.deepEqual(states, ["lying"]);
            }
            if (!made) continue;
            const caught = result instanceof Error;
            if (verify === "receipts") {
              counts.made += 1;
              counts.receipts += Number(caught);
              // Where a log stands is not read from the receipts, and cannot be lied about in them.
              if (!caught) assert.ok(where === "eth_getBlockReceipts" && /transaction|place|time/.test(name), name);
              if (!caught) assert.deepEqual(places(result), expected);
            } else if (where === "eth_getLogs") {
              const { plain, logs } = chain.blocks[Number(victim.blockNumber)]!;
              const could = bloomCanTell(plain, apply(logs.filter(log => log.address === chain.address)), how);
              counts.bloomCould += Number(could);
              counts.bloom += Number(caught);
              assert.ok(caught || !could, `${name} ${how}`);
            }
          }
        },
      ),
      { seed, numRuns: 40, examples: SURELY },
    );
    t.diagnostic(JSON.stringify(counts));
    assert.ok(counts.receipts > 10 && counts.bloomCould > 1, JSON.stringify(counts));
  });

  /** Whether the block's header contradicts these logs. An empty list may be true of any bloom: it is doubted, not refuted. */
  function bloomCanTell(block: RpcBlock, logs: RpcLog[], how: How): boolean {
    const header = {
      number: Number(block.number),
      hash: block.hash,
      parentHash: block.parentHash,
      timestamp: Number(block.timestamp),
      logsBloom: String(block.logsBloom),
    };
    if (how === "by range" && logs.length === 0) return false;
    const given = logs.map(log => ({
      ...log,
      blockNumber: header.number,
      logIndex: Number(log.logIndex),
      transactionIndex: 0,
      blockHash: String(log.blockHash),
      blockTimestamp: log.blockTimestamp === undefined ? undefined : Number(log.blockTimestamp),
    })) as Log[];
    try {
      checkBlock(header, given, { addresses: [chain.address], topics: [EVENT_TOPIC] });
      return false;
    } catch {
      return true;
    }
  }

  const hideIn =
    (where: string): Lie =>
    (answer, { method }) =>
      method === where && Array.isArray(answer) ? answer.slice(1) : answer;
  const emptyBloom = `0x${"00".repeat(256)}`;
  const lies: [string, Lie, Verify][] = [
    ["hides the first log of every answer", hideIn("eth_getLogs"), "receipts"],
    ["hides receipts", hideIn("eth_getBlockReceipts"), "receipts"],
    [
      "empties the blooms",
      (answer, { method }) => (/getBlockBy/.test(method) ? { ...(answer as object), logsBloom: emptyBloom } : answer),
      "receipts",
    ],
    [
      "gives every block the fields of another kind of chain, and another number of gas",
      (answer, { method }) => (/getBlockBy/.test(method) ? { ...(answer as object), l1BlockNumber: "0x1", gasUsed: "0x7" } : answer),
      "receipts",
    ],
    [
      "skips a block",
      (answer, { method, params }) =>
        method === "eth_getBlockByNumber" && params[0] === "0x4" ? answerOf(chain, { id: 1, method, params: ["0x5", false] }) : answer,
      "bloom",
    ],
    [
      "invents a topic",
      (answer, { method }) =>
        method === "eth_getLogs" ? (answer as RpcLog[]).map(log => ({ ...log, topics: [...log.topics.slice(0, 1), WORD] })) : answer,
      "bloom",
    ],
  ];
  for (const [what, lie, verify] of lies) {
    it(`goes to an honest node from one that ${what}`, { timeout: 120_000 }, async () => {
      const [liar, other] = [await serve(lie), await serve(truth)];
      for (const how of Object.keys(readers) as How[]) {
        const { source, rpc, close } = open([liar.url, other.url], verify);
        let logs: Log[] | undefined;
        for (let tries = 0; !logs && tries < 3; tries++) {
          logs = await readers[how](source).catch(error => {
            assert.ok(error instanceof BadAnswerError, String(error));
            return undefined;
          });
          if (!logs) await source.changed();
        }
        assert.deepEqual(places(logs!), places(honest()));
        const [first, second] = rpc.nodes();
        if (first!.state !== "lying") assert.ok(what === "skips a block" && how === "by range", how);
        assert.equal(second!.state, "ok");
        close();
      }
    });
  }

  for (const how of Object.keys(readers) as How[]) {
    it(`asks another node where a bloom promises what an answer lacks, ${how}, and knows the first for a liar by it`, async () => {
      const [liar, other] = [await serve((answer, { method }) => (method === "eth_getLogs" ? [] : answer)), await serve(truth)];
      const { source, rpc, close } = open([liar.url, other.url], "bloom");
      assert.deepEqual(places(await readers[how](source)), places(honest()));
      assert.deepEqual(
        rpc.nodes().map(({ state }) => state),
        ["lying", "ok"],
      );
      assert.match(rpc.nodes()[0]!.lastError!, /hid the logs of block \d+/);
      close();
    });
  }

  it("takes a node that does not know a block for behind where another knows it, and for no liar", async () => {
    const [behind, other] = [
      await serve((answer, { method, params }) => (method === "eth_getBlockByNumber" && params[0] === "0x5" ? null : answer)),
      await serve(truth),
    ];
    const { source, rpc, close } = open([behind.url, other.url], "bloom");
    assert.equal((await source.headerByNumber(5))?.hash, chain.blocks[5]!.plain.hash);
    assert.deepEqual(
      rpc.nodes().map(({ state }) => state),
      ["behind", "ok"],
    );
    close();
  });

  it("has no block where no node knows it, and blames nobody", async () => {
    const { source, rpc, close } = open([(await serve(truth)).url, (await serve(truth)).url], "bloom");
    assert.equal(await source.headerByNumber(5_000), undefined);
    assert.deepEqual(
      rpc.nodes().map(({ state }) => state),
      ["ok", "ok"],
    );
    close();
  });

  it("stops at a chain that hashes its headers in another way, and says what to do", async () => {
    const strange: Lie = (answer, { method }) =>
      /getBlockBy/.test(method) ? { ...(answer as object), l1BlockNumber: "0x1", gasUsed: "0x7" } : answer;
    const { source, close } = open([(await serve(strange)).url, (await serve(strange)).url], "receipts");
    await assert.rejects(source.head(), (error: UnverifiableError) => {
      assert.ok(error instanceof UnverifiableError);
      assert.match(error.hint!, /VERIFY=bloom/);
      return true;
    });
    close();
  });
});
