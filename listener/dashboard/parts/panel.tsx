import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

/** A titled box of the page; a region that a screen reader can jump to. */
export function Panel(props: {
  title: string;
  hint?: ComponentChildren;
  actions?: ComponentChildren;
  children: ComponentChildren;
  flush?: boolean;
}) {
  const id = useId();
  return (
    <section class={`panel ${props.flush ? "flush" : ""}`} aria-labelledby={id}>
      <header class="panel-head">
        <h2 id={id}>{props.title}</h2>
        {props.hint !== undefined && <span class="hint">{props.hint}</span>}
        {props.actions !== undefined && <div class="actions">{props.actions}</div>}
      </header>
      <div class="panel-body">{props.children}</div>
    </section>
  );
}

/** Nothing to show, and what would change that. */
export function Empty({ children, command }: { children: ComponentChildren; command?: string }) {
  return (
    <div class="empty">
      <p>{children}</p>
      {command !== undefined && <code class="command">{command}</code>}
    </div>
  );
}

/** That something did not work, said aloud. */
export function Failure({ error }: { error: Error | undefined }) {
  if (!error) return null;
  return (
    <p class="failure" role="alert">
      {error.message}
    </p>
  );
}

/** What may be wider or higher than its place. It takes the focus, so that the arrow keys scroll it. */
export function Scroll({ name, class: more = "", children }: { name: string; class?: string; children: ComponentChildren }) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for a form
    // biome-ignore lint/a11y/noNoninteractiveTabindex: without it the keyboard could not scroll it
    <div class={`scroll ${more}`} role="group" aria-label={name} tabIndex={0}>
      {children}
    </div>
  );
}
