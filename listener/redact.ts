/** A URL without what must stay secret: userinfo, query and any path segment that looks like a key. */
export function redactUrl(url: string): string {
  // A Redis may have several hosts, which no URL has.
  if (/^rediss?\+/.test(url)) return url.replace(/\/\/[^@/]*@/, "//***@");
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
export const redactUrls = (text: string) =>
  text.replaceAll(/\b(?:https?|wss?|postgres(?:ql)?|rediss?(?:\+\w+)?):\/\/[^\s"'`<>),;]+/gi, redactUrl);

/** A text without what is secret in this URL: a provider may put the key that it refuses into its answer. */
export function hideSecretsOf(url: string): (text: string) => string {
  const { username, password, pathname, searchParams } = new URL(url);
  const secrets = [username, password, ...searchParams.values(), ...(pathname.match(/[\w-]{16,}/g) ?? [])];
  const forms = secrets.flatMap(secret => [secret, decodeURIComponent(secret)]).filter(secret => secret.length >= 6);
  return text => forms.reduce((hidden, secret) => hidden.replaceAll(secret, "***"), redactUrls(text));
}
