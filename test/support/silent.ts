import { createLog } from "../../listener/log.ts";

/** A log for tests that do not look at it. `SLUICE_TEST_LOG=debug` shows it on standard error. */
export const silent = createLog(process.env.SLUICE_TEST_LOG ?? "silent");
