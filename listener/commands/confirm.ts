import { createInterface } from "node:readline/promises";
import { SluiceError } from "../errors.ts";

/** Asks a person who sits at the terminal. `anyway` is the command that does not ask, said where nobody is there. */
export async function confirm(question: string, anyway: string): Promise<boolean> {
  if (!process.stdin.isTTY) throw new SluiceError("nobody is there to ask", { hint: `say so beforehand: \`${anyway}\`` });
  const ask = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await ask.question(`${question} [y/N] `)).trim());
  } finally {
    ask.close();
  }
}
