/** A URL without what must stay secret: userinfo, query and any path segment that looks like a key. */
export function redactUrl(url: string): string {
  try {
    const parsed = new URL(url);
    if (parsed.username || parsed.password) {
      parsed.username = "***";
      parsed.password = "";
    }
    if (parsed.search) parsed.search = "?***";
    if (!parsed.protocol.startsWith("postgres")) parsed.pathname = parsed.pathname.replaceAll(/[\w-]{16,}/g, "***");
    return parsed.toString();
  } catch {
    return "(not a URL)";
  }
}

/** A text whose URLs are without their secrets: libraries put the URL that they asked into their errors. */
export const redactUrls = (text: string) => text.replaceAll(/\b(?:https?|wss?|postgres(?:ql)?|rediss?):\/\/[^\s"'`<>),;]+/gi, redactUrl);
