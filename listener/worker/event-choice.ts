import type { App } from "../app.ts";
import type { Hex } from "../chain/types.ts";
import { SluiceError } from "../errors.ts";

/** Which events a person means: those of these names, or the one with this block hash and log index. */
export type EventChoice = { names: readonly string[] } | { blockHash: Hex; logIndex: number };

const EVENT_ID = /^(\d{1,15})-(0x[0-9a-fA-F]{64})-(\d{1,9})$/;

/**
 * Reads `Token.Transfer`, `Transfer` (of whichever contract has it) or an event's id.
 *
 * @throws SluiceError where the application has no such event, or the id is of another chain
 */
export function chooseEvent(app: App, chainId: number, text: string): EventChoice {
  const [, chain, blockHash, logIndex] = EVENT_ID.exec(text) ?? [];
  if (blockHash) {
    if (Number(chain) !== chainId) throw new SluiceError(`event ${text} is of chain ${chain}; this is chain ${chainId}`);
    return { blockHash: blockHash.toLowerCase(), logIndex: Number(logIndex) };
  }
  const all = [...app.contracts].flatMap(([contract, decoders]) => decoders.map(({ name }) => `${contract}.${name}`));
  const names = all.filter(name => name === text || name.endsWith(`.${text}`));
  if (names.length === 0) {
    throw new SluiceError(`there is no event ${JSON.stringify(text)}`, {
      hint: `give an id ({chainId}-{blockHash}-{logIndex}) or one of ${all.join(", ")}`,
    });
  }
  return { names };
}

/** A condition on the table `events` that takes three parameters from `$first` on, and those parameters. Without a choice it holds. */
export function chosenEvents(choice: EventChoice | undefined, first: number): { condition: string; parameters: unknown[] } {
  const [names, hash, index] = [first, first + 1, first + 2].map(n => `$${n}`);
  const parameters =
    choice === undefined ? [null, null, null] : "names" in choice ? [choice.names, null, null] : [null, choice.blockHash, choice.logIndex];
  return {
    condition: `(${names}::text[] is null or contract || '.' || name = any(${names}))
      and (${hash}::text is null or (block_hash = ${hash} and log_index = ${index}::integer))`,
    parameters,
  };
}
