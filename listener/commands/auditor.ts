import { sleep } from "../db.ts";
import { describe } from "../errors.ts";
import { createOutage } from "../log.ts";
import { type RunAuditOptions, runAudit } from "./audit.ts";

/**
 * Audits what came since the last audit, again and again until the signal aborts: the next one begins `every` ms after the
 * last one ended. What differs is an error in the log each time it is found anew, and the count of it is in the checkpoint.
 */
export async function keepAuditing({ every, ...options }: RunAuditOptions & { every: number }): Promise<void> {
  const { log, signal } = options;
  const outage = createOutage(log, "the audit cannot be done");
  let known = "";
  for (;;) {
    await sleep(every, signal);
    if (signal.aborted) return;
    const began = performance.now();
    try {
      const { ok, failures, from, to, auditedTo } = await runAudit({ ...options, since: true });
      outage.ends();
      const milliseconds = Math.round(performance.now() - began);
      const found = JSON.stringify(failures);
      if (ok) log.debug({ from, to, auditedTo, milliseconds }, "audited");
      else if (found !== known) log.error({ from, to, failures: failures.slice(0, 5) }, `the audit found ${failures.length} differences`);
      if (ok && known) log.info({ from, to, auditedTo }, "the audit finds nothing wrong any more");
      known = ok ? "" : found;
    } catch (error) {
      if (signal.aborted) return;
      outage.begins(describe(error));
    }
  }
}
