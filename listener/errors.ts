import { redactUrls } from "./redact.ts";

/**
 * The error that Sluice throws on purpose. `hint` says what to do about it and is printed beneath the message;
 * `retryable` tells the caller whether waiting and trying again can help.
 */
export class SluiceError extends Error {
  readonly hint: string | undefined;
  readonly retryable: boolean;

  constructor(message: string, options: { hint?: string; cause?: unknown; retryable?: boolean } = {}) {
    super(message, { cause: options.cause });
    this.name = new.target.name;
    this.hint = options.hint;
    this.retryable = options.retryable ?? false;
  }
}

/** Another process took the lease or moved the tip: this writer must commit nothing more. */
export class LeaseLostError extends SluiceError {
  constructor(epoch: number) {
    super(`lost the lease of epoch ${epoch}: another listener writes now`, { retryable: true });
  }
}

/** The node stands on another chain than the checkpoint. */
export class WrongChainError extends SluiceError {}

/** The node stands on another chain than the one that the journal was written for: it was reset, or it is another one. */
export class ChainReplacedError extends WrongChainError {
  /** The oldest block that the journal holds and the node does not, where that is known. */
  readonly block: number | undefined;

  constructor(message: string, options: { hint: string; block?: number }) {
    super(message, options);
    this.block = options.block;
  }
}

/** The chain replaced a block that it had called final. */
export class ReorgPastFinalityError extends SluiceError {
  /** The number of that block. */
  readonly block: number;

  constructor(message: string, block: number) {
    super(message);
    this.block = block;
  }
}

/** A node's answer contradicts itself or the header it claims to belong to; nothing of it may be used. `node`: who gave it. */
export class BadAnswerError extends SluiceError {
  readonly node: string | undefined;

  constructor(message: string, options: { node?: string; cause?: unknown } = {}) {
    super(message, { retryable: true, cause: options.cause });
    this.node = options.node;
  }
}

/** A node's answer is not of the kind that was asked for, so that nothing can be read from it: nonsense rather than a lie. */
export class MalformedAnswerError extends BadAnswerError {}

/** This chain's blocks cannot be proven: it hashes them in ways of its own, or its nodes do not give what is needed for it. */
export class UnverifiableError extends SluiceError {
  constructor(message: string, cause?: unknown) {
    super(`cannot prove the logs of this chain: ${message}`, { hint: "set VERIFY=bloom, which needs no proof", cause });
  }
}

/** The message of anything that was thrown, on one line, with the causes behind it, and without the secrets of URLs. */
export function describe(error: unknown): string {
  const parts: string[] = [];
  for (let e = error; e !== undefined && e !== null && parts.length < 5; e = e instanceof Error ? e.cause : undefined) {
    const text = e instanceof AggregateError && !e.message ? e.errors.map(describe).join("; ") : e instanceof Error ? e.message : String(e);
    if (text && !parts.includes(text)) parts.push(text);
  }
  return redactUrls(parts.join(": ").replaceAll(/\s*\n\s*/g, " "));
}
