import { z } from "zod";
import { firstLiveAbove } from "../api/events.ts";
import { listOf, pageOf } from "../api/page.ts";
import { HttpProblem } from "../api/problem.ts";
import { type Read, read } from "../api/read.ts";
import { address, amount, asOf, block, blockNumber, blockParameter, count, hash, typeNames, wholeOr } from "../api/schemas.ts";
import { type Account, readAccount, readAccounts } from "./projections/accounts.ts";
import { countHolders, readBalance, readBalances } from "./projections/balances.ts";
import { readEpochs, readMiners, readTarget } from "./projections/mining.ts";
import { METRICS, RESOLUTIONS, readSeries, readStatistics } from "./projections/statistics.ts";
import { readAllTransfers, readTransfers } from "./projections/transfers.ts";

const registered = z.object({ block: blockNumber, name: z.string(), granted: amount });
const account = z.object({
  address,
  balance: amount,
  registered: registered.nullable().describe("null where the account never registered"),
});

const transfer = z.object({
  id: z.string().describe("the event's"),
  from: address,
  to: address,
  amount,
  block,
  transactionHash: hash,
  logIndex: z.int(),
});

typeNames.add(transfer, { name: "Transfer" });

const miner = z.object({ address, solutions: count, rewards: amount });

const epoch = z.object({
  epoch: amount.describe("the number of the solution, from 1"),
  beneficiary: address,
  reward: amount,
  digest: hash,
  nonce: amount,
  block: z.object({ number: blockNumber, timestamp: z.int().describe("seconds since 1970") }),
});

const position = z.int().positive();
const accountList = listOf("accounts", account, position);
const transferList = listOf("accounts/transfers", transfer, position);
const allTransferList = listOf("transfers", transfer, position);
const epochList = listOf("mining/epochs", epoch, position);
const MAX_MINERS = 200;
const MAX_POINTS = 2_000;
const MAX_TIME = 9_999_999_999;

const registrationOf = ({ block, name, granted }: Account) => ({ block, name, granted });

/** What this application shows: each of its projections through a resource of the API. */
export const reads: readonly Read[] = [
  read({
    path: "accounts",
    tag: "accounts",
    summary: "Registered accounts, the newest first",
    query: z.strictObject(accountList.query),
    response: accountList.response,
    async handle({ sql, chainId, query }) {
      const rows = await readAccounts(sql, chainId, { limit: query.limit + 1, before: query.cursor });
      const { items, nextCursor } = pageOf(rows, query.limit, row => row.position);
      const balances = await readBalances(
        sql,
        chainId,
        items.map(item => item.address),
      );
      return {
        items: items.map(item => ({
          address: item.address,
          balance: balances.get(item.address) ?? 0n,
          registered: registrationOf(item),
        })),
        nextCursor,
      };
    },
  }),
  read({
    path: "accounts/:address",
    tag: "accounts",
    summary: "An account: balance and registration",
    description: "Every address is an account: one that nothing is known of holds 0.",
    params: z.object({ address }),
    response: account.extend({ asOf }),
    queues: ["accounts", "balances"],
    async handle({ sql, chainId, params, asOf }) {
      const found = await readAccount(sql, chainId, params.address);
      const balance = await readBalance(sql, chainId, params.address);
      return { address: params.address, balance, registered: found ? registrationOf(found) : null, asOf };
    },
  }),
  read({
    path: "accounts/:address/transfers",
    tag: "accounts",
    summary: "An account's transfers, mints and burns, in and out, the newest first",
    params: z.object({ address }),
    query: z.strictObject(transferList.query),
    response: transferList.response,
    async handle({ sql, chainId, params, query }) {
      const rows = await readTransfers(sql, chainId, params.address, { limit: query.limit + 1, before: query.cursor });
      return pageOf(rows, query.limit, row => row.position);
    },
  }),
  read({
    path: "accounts/:address/history",
    tag: "accounts",
    summary: "An account's balance over its newest transfers, the oldest first",
    description: "Counted back from the balance of now.",
    params: z.object({ address }),
    query: z.strictObject({ limit: wholeOr(200, 1, MAX_POINTS, "how many transfers at most") }),
    response: z.object({ address, points: z.array(block.extend({ balance: amount.describe("after this transfer") })), asOf }),
    queues: ["balances", "transfers"],
    async handle({ sql, chainId, params, query, asOf }) {
      const newest = await readTransfers(sql, chainId, params.address, { limit: query.limit, before: undefined });
      let balance = await readBalance(sql, chainId, params.address);
      const points = newest.map(transfer => {
        const point = { ...transfer.block, balance };
        if (transfer.to === params.address) balance -= transfer.amount;
        if (transfer.from === params.address) balance += transfer.amount;
        return point;
      });
      return { address: params.address, points: points.reverse(), asOf };
    },
  }),
  read({
    path: "transfers",
    tag: "transfers",
    summary: "Transfers, mints and burns of all accounts, the newest first",
    description: "A mint comes from the zero address and a burn goes to it.",
    query: z.strictObject({
      ...allTransferList.query,
      from: address.optional().describe("only what this account sent"),
      to: address.optional().describe("only what this account got"),
      fromBlock: blockParameter.optional(),
      toBlock: blockParameter.optional(),
    }),
    response: allTransferList.response,
    async handle({ sql, chainId, query: { limit, cursor, from, to, fromBlock, toBlock } }) {
      if (fromBlock !== undefined && toBlock !== undefined && fromBlock > toBlock) {
        throw new HttpProblem(400, `fromBlock ${fromBlock} is above toBlock ${toBlock}`);
      }
      const first = fromBlock === undefined ? undefined : await firstLiveAbove(sql, chainId, fromBlock - 1);
      if (fromBlock !== undefined && first === undefined) return { items: [], nextCursor: null };
      const end = toBlock === undefined ? undefined : await firstLiveAbove(sql, chainId, toBlock);
      const ends = [cursor, end].filter(position => position !== undefined);
      const positions = { from: first, before: ends.length > 0 ? Math.min(...ends) : undefined };
      const rows = await readAllTransfers(sql, chainId, { from, to, blocks: { from: fromBlock, to: toBlock }, positions }, limit + 1);
      return pageOf(rows, limit, row => row.position);
    },
  }),
  read({
    path: "mining",
    tag: "mining",
    summary: "The target that holds, and who mined the most",
    query: z.strictObject({ limit: wholeOr(50, 1, MAX_MINERS, "how many miners at most") }),
    response: z.object({
      target: z
        .object({ epoch: amount, target: amount })
        .nullable()
        .describe("a digest at or below it is a solution; null before the first"),
      miners: z.array(miner),
      asOf,
    }),
    queues: ["mining"],
    async handle({ sql, chainId, query, asOf }) {
      return { target: (await readTarget(sql, chainId)) ?? null, miners: await readMiners(sql, chainId, query.limit), asOf };
    },
  }),
  read({
    path: "mining/epochs",
    tag: "mining",
    summary: "Solutions that were paid, the newest first",
    query: z.strictObject(epochList.query),
    response: epochList.response,
    async handle({ sql, chainId, query }) {
      const rows = await readEpochs(sql, chainId, { limit: query.limit + 1, before: query.cursor });
      return pageOf(rows, query.limit, row => row.position);
    },
  }),
  read({
    path: "statistics",
    tag: "statistics",
    summary: "Totals, and whether the token is paused",
    response: z.object({
      supply: amount,
      holders: count,
      registered: count,
      transfers: count,
      volume: amount,
      granted: amount,
      minted: amount,
      mined: amount,
      solutions: count,
      memos: count,
      paused: z.boolean(),
      asOf,
    }),
    queues: ["statistics", "balances"],
    async handle({ sql, chainId, asOf }) {
      const totals = await readStatistics(sql, chainId);
      const { registered, transfers, solutions, memos } = totals;
      return {
        ...totals,
        registered: Number(registered),
        transfers: Number(transfers),
        solutions: Number(solutions),
        memos: Number(memos),
        holders: await countHolders(sql, chainId),
        asOf,
      };
    },
  }),
  read({
    path: "statistics/series",
    tag: "statistics",
    summary: "A metric per minute, hour or day, oldest first",
    description: "The newest points of the range. A minute, hour or day in which nothing happened is left out.",
    query: z.strictObject({
      metric: z.enum(METRICS),
      resolution: z.enum(RESOLUTIONS),
      from: wholeOr(0, 0, MAX_TIME, "seconds since 1970"),
      to: wholeOr(MAX_TIME, 0, MAX_TIME, "seconds since 1970"),
      limit: wholeOr(200, 1, MAX_POINTS, "how many points at most"),
    }),
    response: z.object({
      metric: z.enum(METRICS),
      resolution: z.enum(RESOLUTIONS),
      points: z.array(z.object({ time: z.int().describe("its start, in seconds since 1970"), value: amount })),
    }),
    async handle({ sql, chainId, query }) {
      return { metric: query.metric, resolution: query.resolution, points: await readSeries(sql, chainId, query) };
    },
  }),
];
