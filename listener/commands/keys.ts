import type { ReadStream } from "node:tty";
import { describe } from "../errors.ts";

const CTRL_C = "\u0003";

/**
 * Runs an action per key while a person sits at the terminal; does nothing where nobody does. What an action answers, or
 * why it failed, goes to `onSaid`. Ctrl-C stays what it is.
 */
export function listenToKeys(stdin: ReadStream, actions: Record<string, () => Promise<string>>) {
  const listening = stdin.isTTY === true;
  let say = (_: string) => {};
  const onData = (data: Buffer) => {
    const key = data.toString();
    if (key === CTRL_C) process.kill(process.pid, "SIGINT");
    actions[key]?.().then(
      text => say(text),
      error => say(`that did not work: ${describe(error)}`),
    );
  };
  if (listening) stdin.setRawMode(true).resume().on("data", onData);
  return {
    listening,
    onSaid(listener: (text: string) => void) {
      say = listener;
    },
    close() {
      if (listening) stdin.setRawMode(false).pause().off("data", onData);
    },
  };
}
