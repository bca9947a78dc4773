/**
 * What a fault came to. `lost`, `doubled` and `wrong` are numbers of events, effects and statements that differ from what
 * the chain itself says at the end; `settledSeconds` is the longest time from a fault's end to everything being delivered.
 */
export type FaultRow = {
  fault: string;
  times: number;
  lost: number;
  doubled: number;
  wrong: number;
  settledSeconds: number;
  note?: string;
};

/** `times`: how often the fault happens. `seed`: decides where and when. `log`: says how far it is, for a person. */
export type FaultOptions = { times: number; seed: number; log: (line: string) => void };
export type FaultRun = (options: FaultOptions) => Promise<FaultRow>;

/** The longest time in which everything has to be right again (s). */
export const SETTLED_WITHIN = 10;

export const holds = ({ lost, doubled, wrong, settledSeconds }: FaultRow): boolean =>
  lost === 0 && doubled === 0 && wrong === 0 && settledSeconds <= SETTLED_WITHIN;

/** A row that broke down, and why. */
export const broken = (fault: string, times: number, note: string): FaultRow => ({
  fault,
  times,
  lost: 0,
  doubled: 0,
  wrong: 1,
  settledSeconds: 0,
  note,
});

/** Several rows of one fault as one. */
export function together(rows: readonly FaultRow[]): FaultRow {
  const sum = (of: (row: FaultRow) => number) => rows.reduce((total, row) => total + of(row), 0);
  return {
    fault: rows[0]!.fault,
    times: sum(row => row.times),
    lost: sum(row => row.lost),
    doubled: sum(row => row.doubled),
    wrong: sum(row => row.wrong),
    settledSeconds: Math.max(...rows.map(row => row.settledSeconds)),
  };
}
