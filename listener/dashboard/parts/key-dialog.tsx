import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { useAction } from "../core/action.ts";
import { needsKey } from "../core/api.ts";
import { signIn } from "../core/session.ts";
import { Outcome } from "./outcome.tsx";

/** Asks for an API key when something was refused for the want of one. The key becomes a cookie that scripts cannot read. */
export function KeyDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const key = useSignal("");
  const open = useAction(async () => {
    await signIn(key.value.trim());
    key.value = "";
    return "";
  });
  const why = needsKey.value;
  useEffect(() => {
    if (why && !dialog.current!.open) dialog.current!.showModal();
    if (!why) dialog.current!.close();
  }, [why]);
  const close = () => {
    needsKey.value = false;
  };
  return (
    <dialog ref={dialog} aria-labelledby="key-title" onClose={close}>
      <form
        onSubmit={event => {
          event.preventDefault();
          open.run();
        }}
      >
        <h2 id="key-title">This needs an API key</h2>
        <p class="muted">{why === "refused" ? "The key of this session does not allow it." : "One is made with"}</p>
        {why !== "refused" && <code class="command">npm run keys -- create</code>}
        <label>
          API key
          <input
            type="password"
            autoComplete="off"
            required
            value={key}
            onInput={event => {
              key.value = event.currentTarget.value;
            }}
          />
        </label>
        <Outcome of={open} />
        <div class="buttons">
          <button type="button" onClick={close}>
            Not now
          </button>
          <button type="submit" class="primary" disabled={open.value.busy}>
            Continue
          </button>
        </div>
      </form>
    </dialog>
  );
}
