import { lookup as dnsLookup, type LookupAddress } from "node:dns";
import ipaddr from "ipaddr.js";
import { SluiceError } from "../errors.ts";

/** Where requests must not go: to whatever stands inside, seen from the machine that sends them. */
export class ForbiddenAddressError extends SluiceError {}

/** Answers with every address of a name. Tests give one that changes its mind. */
export type Resolve = (name: string, callback: (error: Error | null, addresses: LookupAddress[]) => void) => void;

export type Guard = {
  /** Loopback may be reached, over http too: in development, by an explicit setting. */
  allowLoopback: boolean;
  resolve?: Resolve;
};

/** Unicast by its number, yet answered by the machine's own host (Azure). */
const NOT_PUBLIC = new Set(["168.63.129.16"]);

/** @throws ForbiddenAddressError where this IP address is not a public one. In any notation; one inside another is taken out. */
export function checkAddress(address: string, { allowLoopback }: Guard): void {
  const plain = address.replace(/^\[|\]$/g, "").replace(/%.*$/, "");
  const refused = (what: string) =>
    new ForbiddenAddressError(`${plain} is ${what}`, { hint: "give an address that is reachable from the internet" });
  if (!ipaddr.isValid(plain)) throw refused("no IP address");
  const found = ipaddr.process(plain);
  const range = found.range();
  if (range === "loopback" && allowLoopback) return;
  if (range !== "unicast") throw refused(`not a public address (${range})`);
  // Of IPv6 only 2000::/3 is given out: what else counts as unicast is not for the internet.
  if (found.kind() === "ipv6" && (found.toByteArray()[0]! & 0xe0) !== 0x20) throw refused("not a public address");
  if (NOT_PUBLIC.has(found.toString())) throw refused("not a public address");
}

const isLiteral = (host: string) => host.startsWith("[") || ipaddr.isValid(host);

/**
 * The URL, where an endpoint may have it: https (http to loopback in development), without user and password, and where its
 * host is an IP address, a public one. A name is checked each time that it is looked up: see `guardedLookup`.
 *
 * @throws ForbiddenAddressError, or SluiceError where it is no URL
 */
export function checkUrl(text: string, guard: Guard): URL {
  const url = URL.parse(text);
  if (!url) throw new SluiceError(`${JSON.stringify(text.slice(0, 200))} is not a URL`, { hint: "such as https://example.com/hooks" });
  const host = url.hostname.replace(/\.$/, "");
  const local = /(^|\.)localhost$/.test(host);
  if (url.username || url.password) throw new ForbiddenAddressError("a URL must not hold a user or a password", { hint: "use headers" });
  // The parser has turned every notation of an IPv4 address (decimal, octal, hex, short, full width) into the usual one.
  if (isLiteral(host)) checkAddress(host, guard);
  else if (local && !guard.allowLoopback) throw new ForbiddenAddressError(`${host} is this machine`);
  const loopback = local || (isLiteral(host) && ipaddr.process(host.replace(/^\[|\]$/g, "")).range() === "loopback");
  if (url.protocol !== "https:" && !(url.protocol === "http:" && loopback && guard.allowLoopback)) {
    throw new ForbiddenAddressError(`${url.protocol}// is not accepted`, { hint: "use https" });
  }
  return url;
}

type Callback = (error: Error | null, address?: string | LookupAddress[], family?: number) => void;

/**
 * A `lookup` for sockets that refuses a name with any address that is not public. The socket connects to what was checked
 * here, so there is no moment in which a name could change its mind in between.
 */
export function guardedLookup(guard: Guard) {
  const resolve: Resolve = guard.resolve ?? ((name, callback) => dnsLookup(name, { all: true, verbatim: true }, callback));
  return (name: string, options: { all?: boolean; family?: number | string }, callback: Callback): void => {
    resolve(name, (error, addresses) => {
      if (error) return callback(error);
      try {
        if (addresses.length === 0) throw new SluiceError(`${name} has no address`);
        for (const { address } of addresses) checkAddress(address, guard);
      } catch (refused) {
        return callback(refused as Error);
      }
      if (options.all) return callback(null, addresses);
      callback(null, addresses[0]!.address, addresses[0]!.family);
    });
  };
}
