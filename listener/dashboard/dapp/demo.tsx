import { useSignal } from "@preact/signals";
import { useAction } from "../core/action.ts";
import { send } from "../core/api.ts";
import { useFetched } from "../core/fetched.ts";
import { abbreviate, plural, visible } from "../core/format.ts";
import { session } from "../core/session.ts";
import { Outcome } from "../parts/outcome.tsx";
import { Panel } from "../parts/panel.tsx";
import { SYMBOL, smallestUnits } from "./token.ts";

type Sent = { transactionHash: string };
type Person = { address: string; registered: { name: string } | null };
type Deed = { path: string; body: Record<string, unknown>; tell: (answer: never) => string };

const BURST = 200;
const DEPTH = 3;

/** What a person can do to the development chain of `npm start`. Nothing anywhere else. */
export function Demo({ paused }: { paused: boolean | undefined }) {
  const people =
    useFetched<{ items: Person[] }>(session.value?.offered ? "accounts?limit=12" : undefined, { every: 10_000 }).value.data?.items ?? [];
  const to = useSignal("");
  const amount = useSignal("5");
  const act = useAction(async ({ path, body, tell }: Deed) => tell((await send("POST", `demo/${path}`, body)) as never));
  if (!session.value?.offered) return null;

  const units = smallestUnits(amount.value);
  const chosen = to.value || people[0]?.address;
  const transfer = { to: chosen, amount: String(units) };
  const told = (what: string) => (answer: Sent) => `${what} in ${abbreviate(answer.transactionHash)}.`;
  const button = (text: string, deed: Deed, disabled = false) => (
    <button type="button" disabled={act.value.busy || disabled} onClick={() => act.run(deed)}>
      {text}
    </button>
  );
  return (
    <Panel title="Development chain" hint={<Outcome of={act} />}>
      <div class="demo">
        <select
          aria-label="Account that receives"
          value={chosen ?? ""}
          onChange={event => {
            to.value = event.currentTarget.value;
          }}
        >
          {people.length === 0 && <option value="">nobody has registered yet</option>}
          {people.map(({ address, registered }) => (
            <option key={address} value={address}>
              {registered ? visible(registered.name) : abbreviate(address)}
            </option>
          ))}
        </select>
        <span class="amount">
          <input
            inputMode="decimal"
            aria-label={`Amount in ${SYMBOL}`}
            aria-invalid={units === undefined}
            value={amount}
            onInput={event => {
              amount.value = event.currentTarget.value.trim();
            }}
          />
          <span class="muted">{SYMBOL}</span>
        </span>
        {button("Mint", { path: "mint", body: transfer, tell: told("Minted") }, !chosen || units === undefined)}
        {button("Transfer", { path: "transfer", body: transfer, tell: told("Transferred") }, !chosen || units === undefined)}
        <i class="gap" />
        {button("Mine", { path: "mine", body: {}, tell: told("Mined") })}
        {paused
          ? button("Unpause", { path: "unpause", body: {}, tell: () => "The token runs again." })
          : button("Pause", { path: "pause", body: {}, tell: () => "The token is paused: nothing moves." })}
        {button("Burst", {
          path: "burst",
          body: { count: BURST },
          tell: ({ sent }: { sent: number }) => `${plural(sent, "transfer")} sent.`,
        })}
        {button("Reorg", { path: "reorg", body: { depth: DEPTH }, tell: () => `The last ${DEPTH} blocks were replaced.` })}
      </div>
    </Panel>
  );
}
