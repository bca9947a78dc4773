import type { AuditFailure } from "../app.ts";

/**
 * What an audit found. `checked` counts, per invariant, how many things were compared, in blocks `from` to `to`, inclusive.
 * `auditedTo` is how far everything, effects included, was found right: null where something is wrong or nothing is done yet.
 */
export type AuditReport = {
  ok: boolean;
  chainId: number;
  from: number;
  to: number;
  auditedTo: number | null;
  checked: Record<string, number>;
  failures: { invariant: string; what: string; expected: string; found: string }[];
};

/** A table of differences is cut here: the first ones tell the story. */
export const MAX_FAILURES = 100;

/** Where the checks write down what they compared and what differs. */
export type Findings = {
  checked(invariant: string, count: number): void;
  failed(failure: AuditFailure): void;
  failures(): number;
  report(range: Pick<AuditReport, "chainId" | "from" | "to" | "auditedTo">): AuditReport;
};

export function createFindings(): Findings {
  const checked: Record<string, number> = {};
  const failures: AuditReport["failures"] = [];
  let failed = 0;
  const show = (value: unknown) =>
    typeof value === "string" ? value : (JSON.stringify(value, (_, v) => (typeof v === "bigint" ? v.toString() : v)) ?? "nothing");
  return {
    checked(invariant, count) {
      checked[invariant] = (checked[invariant] ?? 0) + count;
    },
    failed({ invariant, what, expected, found }) {
      failed += 1;
      if (failures.length < MAX_FAILURES) failures.push({ invariant, what, expected: show(expected), found: show(found) });
    },
    failures: () => failed,
    report: ({ auditedTo, ...range }) => ({ ok: failed === 0, ...range, auditedTo: failed === 0 ? auditedTo : null, checked, failures }),
  };
}
