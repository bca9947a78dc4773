import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import type { Page } from "../core/answers.ts";
import { ask } from "../core/api.ts";

type Pages<Item> = { items: readonly Item[]; next: string | null; read: number; busy: boolean; error?: Error };

const BEFORE = { items: [], next: null, read: 0, busy: true } as const;

/** A list of the API, page by page: the first at once and again every `every` milliseconds, the others when asked for. */
export function usePages<Item>(path: string, { every }: { every?: number } = {}) {
  const pages = useSignal<Pages<Item>>(BEFORE);
  const at = (cursor: string) => `${path}${path.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(cursor)}`;
  const first = async () => {
    try {
      const { items, nextCursor } = await ask<Page<Item>>(path);
      pages.value = { items, next: nextCursor, read: 1, busy: false };
    } catch (error) {
      pages.value = { ...pages.value, error: error as Error, busy: false };
    }
  };
  const more = async () => {
    const { items: before, next, read } = pages.value;
    if (next === null) return;
    pages.value = { ...pages.value, busy: true };
    try {
      const { items, nextCursor } = await ask<Page<Item>>(at(next));
      pages.value = { items: [...before, ...items], next: nextCursor, read: read + 1, busy: false };
    } catch (error) {
      pages.value = { ...pages.value, error: error as Error, busy: false };
    }
  };
  useEffect(() => {
    pages.value = BEFORE;
    void first();
    if (every === undefined) return;
    // Whoever has read on shall not lose their place.
    const timer = setInterval(() => document.visibilityState === "visible" && pages.value.read <= 1 && void first(), every);
    return () => clearInterval(timer);
  }, [path, every]);
  return { pages: pages.value, more: () => void more(), again: () => void first() };
}

export function More({
  pages,
  more,
  children = "Show more",
}: {
  pages: { next: string | null; busy: boolean };
  more(): void;
  children?: ComponentChildren;
}) {
  if (pages.next === null) return null;
  return (
    <p class="more">
      <button type="button" disabled={pages.busy} onClick={more}>
        {children}
      </button>
    </p>
  );
}
