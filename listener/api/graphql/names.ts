import { SluiceError } from "../../errors.ts";
import type { Read } from "../read.ts";

export const capitalised = (name: string) => name.charAt(0).toUpperCase() + name.slice(1);

/** `mining/epochs` is miningEpochs, `accounts/:address` is account, and `accounts/:address/transfers` is accountTransfers. */
export function fieldName(path: string): string {
  const segments = path.split("/");
  const words = segments.flatMap((segment, i) => {
    if (segment.startsWith(":")) return [];
    const isOne = segments[i + 1]?.startsWith(":");
    return (isOne ? segment.replace(/s$/, "") : segment).split(/[^A-Za-z0-9]+/).filter(Boolean);
  });
  return words.map((word, i) => (i === 0 ? word : capitalised(word))).join("");
}

/**
 * The reads by the fields that they are.
 *
 * @throws SluiceError where two would have one name
 */
export function readsByField(reads: readonly Read[]): Map<string, Read> {
  const fields = new Map<string, Read>();
  for (const read of reads) {
    const name = fieldName(read.path);
    if (fields.has(name)) throw new SluiceError(`two reads would be the GraphQL field ${name}: ${read.path} is one of them`);
    fields.set(name, read);
  }
  return fields;
}
