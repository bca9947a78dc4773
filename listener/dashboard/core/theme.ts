import { effect, signal } from "@preact/signals";

export const THEMES = ["auto", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

const KEPT_AS = "sluice.theme";

/** `auto` follows the system. */
export const theme = signal<Theme>(stored());

function stored(): Theme {
  const found = localStorage.getItem(KEPT_AS);
  return THEMES.includes(found as Theme) ? (found as Theme) : "auto";
}

export function followTheme(): void {
  effect(() => {
    document.documentElement.dataset.theme = theme.value;
    localStorage.setItem(KEPT_AS, theme.value);
  });
}

export function nextTheme(): void {
  theme.value = THEMES[(THEMES.indexOf(theme.value) + 1) % THEMES.length]!;
}
