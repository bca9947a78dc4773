import { signal } from "@preact/signals";
import type { Session } from "./answers.ts";
import { ask, needsKey, send } from "./api.ts";

export const session = signal<Session | undefined>(undefined);

let opening: Promise<void> | undefined;

/**
 * Settles when it is known what this browser may do, and a session has been taken where one is offered without a key.
 * Whatever changes something waits for it: a person may press a button before the page has its session. Asks again where
 * the API did not answer before. Never rejects.
 */
export function sessionKnown(): Promise<void> {
  opening ??= openSession().catch(() => {
    opening = undefined;
  });
  return opening;
}

async function openSession(): Promise<void> {
  const current = await ask<Session>("session");
  if (current.offered && current.scope === null) return signIn(undefined);
  session.value = current;
  if (!current.reads) needsKey.value = "missing";
}

/** @throws ApiError where the key is not known */
export async function signIn(key: string | undefined): Promise<void> {
  session.value = await send<Session>("POST", "session", key === undefined ? {} : { key });
  needsKey.value = false;
}
