import { computed, signal } from "@preact/signals";

/** Where we are: `#/events/31337-0x…-0` is ["events", "31337-0x…-0"]. The part after the hash never reaches the server. */
const hash = signal(location.hash);
addEventListener("hashchange", () => {
  hash.value = location.hash;
});

export const path = computed<string[]>(() =>
  hash.value
    .replace(/^#\/?/, "")
    .split("/")
    .filter(Boolean)
    .map(part => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    }),
);

export const linkTo = (...parts: string[]): string => `#/${parts.map(encodeURIComponent).join("/")}`;
