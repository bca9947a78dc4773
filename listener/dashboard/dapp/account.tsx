import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { useFetched } from "../core/fetched.ts";
import { isAddress, short, visible } from "../core/format.ts";
import { linkTo } from "../core/location.ts";
import { Chart } from "../parts/chart.tsx";
import { More, usePages } from "../parts/more.tsx";
import { Empty, Failure, Panel } from "../parts/panel.tsx";
import { type Column, Table } from "../parts/table.tsx";
import { Tile } from "../parts/tile.tsx";
import { Account as AccountLink, Ago, Transaction } from "../parts/words.tsx";
import { SYMBOL, tokens, tokensAsNumber } from "./token.ts";

type Registered = { block: number; name: string; granted: string };
type Account = { address: string; balance: string; registered: Registered | null };
type History = { points: { timestamp: number; balance: string }[] };
type Transfer = {
  id: string;
  from: string;
  to: string;
  amount: string;
  block: { number: number; timestamp: number };
  transactionHash: string;
};

/** `#/accounts`: who is registered. `#/accounts/ADDRESS`: one account. */
export const AccountPage = ({ rest: [address] }: { rest: string[] }) =>
  address === undefined ? <Accounts /> : <One key={address} address={address} />;

const REGISTERED: Column<Account>[] = [
  { title: "Account", cell: ({ address }) => <AccountLink of={address} /> },
  { title: "Name", cell: ({ registered }) => <bdi class="name-of">{visible(registered?.name ?? "")}</bdi> },
  { title: "Block", class: "number", cell: ({ registered }) => registered?.block },
  { title: "Balance", class: "number", cell: ({ balance }) => `${tokens(balance)} ${SYMBOL}` },
];

function Accounts() {
  const { pages, more } = usePages<Account>("accounts?limit=50", { every: 4_000 });
  return (
    <>
      <h1>Accounts</h1>
      <Panel title="Registered accounts" flush hint="the newest first" actions={<Search />}>
        <Failure error={pages.error} />
        {pages.items.length === 0 && pages.read > 0 ? (
          <Empty command="npx hardhat run scripts/register.ts --network localhost --name alice">Nobody has registered yet.</Empty>
        ) : (
          <Table name="Accounts" columns={REGISTERED} rows={pages.items} keyOf={({ address }) => address} />
        )}
        <More pages={pages} more={more} />
      </Panel>
    </>
  );
}

/** Every address is an account: whoever knows one can look at it. */
function Search() {
  const text = useSignal("");
  const wrong = text.value !== "" && !isAddress(text.value.trim());
  const go = (event: Event) => {
    event.preventDefault();
    if (!wrong && text.value !== "") location.hash = linkTo("accounts", text.value.trim());
  };
  return (
    <form class="search" onSubmit={go}>
      <input
        type="search"
        aria-label="Address to look at"
        aria-invalid={wrong}
        placeholder="0x… an address"
        value={text}
        onInput={event => {
          text.value = event.currentTarget.value;
        }}
      />
      <button type="submit" disabled={wrong || text.value === ""}>
        Look
      </button>
    </form>
  );
}

function One({ address }: { address: string }) {
  const { data, error } = useFetched<Account>(`accounts/${encodeURIComponent(address)}`, { every: 2_000 }).value;
  const history = useFetched<History>(`accounts/${encodeURIComponent(address)}/history`, { every: 4_000 }).value.data;
  const { pages, more } = usePages<Transfer>(`accounts/${encodeURIComponent(address)}/transfers?limit=100`, { every: 4_000 });
  // The API writes the address with its checksum, as it does in the transfers.
  const columns = useMemo(() => transfersOf(data?.address ?? ""), [data?.address]);
  if (!data) return error ? <Failure error={error} /> : <p class="muted">Reading…</p>;
  return (
    <>
      <header class="title">
        <h1>
          <bdi>{data.registered ? visible(data.registered.name) : "Account"}</bdi>
        </h1>
        <code class="muted">{data.address}</code>
      </header>
      <dl class="tiles">
        <Tile name="Balance" value={tokens(data.balance)} unit={SYMBOL} />
        {data.registered ? (
          <>
            <Tile name="Registered in block" value={String(data.registered.block)} />
            <Tile name="Granted" value={tokens(data.registered.granted)} unit={SYMBOL} />
          </>
        ) : (
          <Tile name="Registered" value="no" />
        )}
      </dl>
      {history && history.points.length > 1 && (
        <Panel title="Balance" hint={`over its last ${history.points.length} transfers`}>
          <BalanceChart points={history.points} />
        </Panel>
      )}
      <Panel title="Transfers" flush hint="the newest first">
        <Failure error={pages.error} />
        {pages.items.length === 0 && pages.read > 0 ? (
          <Empty command={`npx hardhat run scripts/transfer.ts --network localhost --to ${address} --amount 5`}>
            This account has neither sent nor received anything.
          </Empty>
        ) : (
          <Table name="Transfers" columns={columns} rows={pages.items} keyOf={({ id }) => id} />
        )}
        <More pages={pages} more={more} />
      </Panel>
    </>
  );
}

const ZERO = `0x${"0".repeat(40)}`;

/** The transfers of an account, as seen from it. */
const transfersOf = (account: string): Column<Transfer>[] => [
  {
    title: "With",
    cell({ id, from, to }) {
      const [out, other] = from === account ? [true, to] : [false, from];
      return (
        <>
          <span class="muted">{out ? "to" : "from"}</span>{" "}
          {other === ZERO ? <a href={linkTo("events", id)}>{out ? "nobody, burned" : "nobody, minted"}</a> : <AccountLink of={other} />}
        </>
      );
    },
  },
  {
    title: "Amount",
    class: "number",
    cell: ({ from, to, amount }) => (
      <span class={from === account ? undefined : "in"}>
        {from === to ? "" : from === account ? "−" : "+"}
        {tokens(amount)}
      </span>
    ),
  },
  { title: "Block", class: "number", cell: ({ id, block }) => <a href={linkTo("events", id)}>{block.number}</a> },
  { title: "Transaction", class: "wide-only", cell: ({ transactionHash }) => <Transaction of={transactionHash} /> },
  { title: "Age", class: "number muted", cell: ({ block }) => <Ago at={block.timestamp * 1_000} /> },
];

function BalanceChart({ points }: { points: readonly { timestamp: number; balance: string }[] }) {
  // The last one of a second counts.
  const { times, values } = useMemo(() => {
    const latest = new Map(points.map(({ timestamp, balance }) => [timestamp, tokensAsNumber(balance)]));
    // It holds until now, or until the last block where that is later.
    const [last, end] = [points.at(-1)!, Math.floor(Date.now() / 1_000)];
    if (end > last.timestamp) latest.set(end, tokensAsNumber(last.balance));
    return { times: [...latest.keys()], values: [...latest.values()] };
  }, [points]);
  return <Chart title="Balance" times={times} series={[{ name: SYMBOL, values }]} format={short} stepped />;
}
