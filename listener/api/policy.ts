import { createHash } from "node:crypto";

/** What the page of somebody else's script needs that makes its styles as it goes: no hash and no nonce can name those. */
export const STYLES_OF_SCRIPTS = { "style-src": "'self' 'unsafe-inline'" };

/**
 * The content security policy of a page of ours: its own inline scripts and styles by their hashes, and nothing from
 * elsewhere.
 *
 * @param changed directives that the page needs otherwise
 */
export function policyFor(html: string, changed: Record<string, string> = {}): string {
  const hashes = (pattern: RegExp) => [...html.matchAll(pattern)].map(([, text]) => hashOf(text!));
  const scripts = hashes(/<script(?![^>]*\bsrc=)[^>]*>([\s\S]*?)<\/script>/g);
  const styles = [...hashes(/<style[^>]*>([\s\S]*?)<\/style>/g), ...hashes(/<[^>]*\sstyle="([^"&]*)"/g)];
  const directives: Record<string, string> = {
    "default-src": "'none'",
    "script-src": ["'self'", ...new Set(scripts)].join(" "),
    // A hash holds for a style attribute only where `unsafe-hashes` says so.
    "style-src": ["'self'", ...(styles.length > 0 ? ["'unsafe-hashes'"] : []), ...new Set(styles)].join(" "),
    "img-src": "'self' data:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "worker-src": "'self' blob:",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    ...changed,
  };
  return Object.entries(directives)
    .map(directive => directive.join(" "))
    .join("; ");
}

const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
