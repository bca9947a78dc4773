import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo } from "preact/hooks";
import type { Page } from "../core/answers.ts";
import { ask } from "../core/api.ts";

type Pages<Item> = { items: readonly Item[]; next: string | null; read: number; busy: boolean; error?: Error };

const BEFORE = { items: [], next: null, read: 0, busy: true } as const;

/**
 * A list of the API, page by page: the first at once and again every `every` milliseconds, the others when asked for. An
 * answer that something newer has been asked after is not shown.
 */
export function usePages<Item>(path: string, { every }: { every?: number } = {}) {
  const list = useMemo(() => {
    const pages = signal<Pages<Item>>(BEFORE);
    let asked = 0;
    const take = async (from: string, after: readonly Item[], read: number) => {
      const mine = ++asked;
      let next: Pages<Item>;
      try {
        const { items, nextCursor } = await ask<Page<Item>>(from);
        next = { items: [...after, ...items], next: nextCursor, read: read + 1, busy: false };
      } catch (error) {
        next = { ...pages.value, error: error as Error, busy: false };
      }
      if (mine === asked) pages.value = next;
    };
    const first = () => take(path, [], 0);
    const more = () => {
      const { items, next, read } = pages.value;
      if (next === null) return;
      pages.value = { ...pages.value, busy: true };
      return take(`${path}${path.includes("?") ? "&" : "?"}cursor=${encodeURIComponent(next)}`, items, read);
    };
    return { pages, first, more };
  }, [path]);
  useEffect(() => {
    void list.first();
    if (every === undefined) return;
    // Whoever has read on, or is about to, shall not lose their place.
    const undisturbed = () => list.pages.value.read <= 1 && !list.pages.value.busy;
    const timer = setInterval(() => document.visibilityState === "visible" && undisturbed() && void list.first(), every);
    return () => clearInterval(timer);
  }, [list, every]);
  return { pages: list.pages.value, more: () => void list.more(), again: () => void list.first() };
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
