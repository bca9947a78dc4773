import { effect, signal } from "@preact/signals";
import { ask, needsKey, send } from "./api.ts";

/** What this browser may do here. `scope` is null without a session, where reads may be open all the same. */
export type Session = { scope: "read" | "operate" | "admin" | null; name: string | null; reads: boolean; offered: boolean };

export const session = signal<Session | undefined>(undefined);

/** Finds out what this browser may do, and takes a session where one is offered without a key. */
export async function openSession(): Promise<void> {
  const current = await ask<Session>("session").catch(() => undefined);
  if (current?.offered && current.scope === null) return signIn(undefined);
  session.value = current;
  if (current && !current.reads) needsKey.value = "missing";
}

/** @throws ApiError where the key is not known */
export async function signIn(key: string | undefined): Promise<void> {
  session.value = await send<Session>("POST", "session", key === undefined ? {} : { key });
  needsKey.value = false;
}

export async function signOut(): Promise<void> {
  await send("DELETE", "session");
  await openSession();
}

/** Calls `again` when a key has been given, now that more is answered than before. */
export const onSignedIn = (again: () => void): (() => void) => {
  let before = session.peek()?.scope;
  return effect(() => {
    const now = session.value?.scope;
    if (now && now !== before) again();
    before = now;
  });
};
