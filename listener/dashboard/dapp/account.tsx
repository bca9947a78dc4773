import { useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { useFetched } from "../core/fetched.ts";
import { isAddress, short, visible } from "../core/format.ts";
import { linkTo } from "../core/location.ts";
import { Chart } from "../parts/chart.tsx";
import { More, usePages } from "../parts/more.tsx";
import { Empty, Failure, Panel, Scroll } from "../parts/panel.tsx";
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
          <Scroll name="Accounts" class="tall">
            <table>
              <thead>
                <tr>
                  <th scope="col">Account</th>
                  <th scope="col">Name</th>
                  <th scope="col" class="number">
                    Block
                  </th>
                  <th scope="col" class="number">
                    Balance
                  </th>
                </tr>
              </thead>
              <tbody>
                {pages.items.map(({ address, balance, registered }) => (
                  <tr key={address}>
                    <td>
                      <AccountLink of={address} />
                    </td>
                    <td>
                      <bdi class="name-of">{visible(registered?.name ?? "")}</bdi>
                    </td>
                    <td class="number">{registered?.block}</td>
                    <td class="number">
                      {tokens(balance)} {SYMBOL}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scroll>
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
          <Transfers of={data.address} items={pages.items} />
        )}
        <More pages={pages} more={more} />
      </Panel>
    </>
  );
}

const ZERO = `0x${"0".repeat(40)}`;

function Transfers({ of, items }: { of: string; items: readonly Transfer[] }) {
  return (
    <Scroll name="Transfers" class="tall">
      <table>
        <thead>
          <tr>
            <th scope="col">With</th>
            <th scope="col" class="number">
              Amount
            </th>
            <th scope="col" class="number">
              Block
            </th>
            <th scope="col" class="wide-only">
              Transaction
            </th>
            <th scope="col" class="number">
              Age
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map(({ id, from, to, amount, block, transactionHash }) => {
            const [out, other] = from === of ? [true, to] : [false, from];
            return (
              <tr key={id}>
                <td>
                  <span class="muted">{out ? "to" : "from"}</span>{" "}
                  {other === ZERO ? (
                    <a href={linkTo("events", id)}>{out ? "nobody, burned" : "nobody, minted"}</a>
                  ) : (
                    <AccountLink of={other} />
                  )}
                </td>
                <td class={`number ${out ? "" : "in"}`}>
                  {from === to ? "" : out ? "−" : "+"}
                  {tokens(amount)}
                </td>
                <td class="number">
                  <a href={linkTo("events", id)}>{block.number}</a>
                </td>
                <td class="wide-only">
                  <Transaction of={transactionHash} />
                </td>
                <td class="number muted">
                  <Ago at={block.timestamp * 1_000} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Scroll>
  );
}

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
