import type { ComponentType } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { path } from "./core/location.ts";
import { application } from "./dapp/application.tsx";
import { DeadLetters } from "./pages/dead-letters.tsx";
import { Events } from "./pages/events.tsx";
import { Overview } from "./pages/overview.tsx";
import { Queues } from "./pages/queues.tsx";
import { Transaction } from "./pages/transaction.tsx";
import { Webhooks } from "./pages/webhooks.tsx";
import { KeyDialog } from "./parts/key-dialog.tsx";
import { Shell } from "./shell.tsx";

/** Every page by the first part of its address; the rest of the address is the page's. */
const PAGES: Record<string, { title: string; Content: ComponentType<{ rest: string[] }> }> = {
  "": { title: "Overview", Content: Overview },
  events: { title: "Events", Content: Events },
  transactions: { title: "Transaction", Content: Transaction },
  queues: { title: "Queues", Content: Queues },
  "dead-letters": { title: "Dead letters", Content: DeadLetters },
  webhooks: { title: "Webhooks", Content: Webhooks },
  ...application.pages,
};

export function Page() {
  const [first = "", ...rest] = path.value;
  const page = Object.hasOwn(PAGES, first) ? PAGES[first] : undefined;
  useTitleAndFocus(page?.title ?? "Nothing here", path.value.join("/"));
  return (
    <>
      <Shell>{page ? <page.Content key={first} rest={rest} /> : <h1>There is no page of this name.</h1>}</Shell>
      <KeyDialog />
    </>
  );
}

/** Says where one is: in the title, and by moving the focus to the content as a load of a page would. */
function useTitleAndFocus(title: string, where: string) {
  const before = useRef(where);
  useEffect(() => {
    document.title = `${title} · Sluice`;
    if (before.current === where) return;
    before.current = where;
    document.getElementById("content")?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [title, where]);
}
