// How long tests may take, and how much they do: under a sanitizer, and where hours are left for them.

import { setDefaultTimeout } from "bun:test";

export const isSanitized = Boolean(process.env["COPSE_SANITIZER"]);

/** Sanitizers make everything some ten times slower. */
export const slowness = isSanitized ? 10 : 1;

/** COPSE_LONG is set where hours are left for the tests: what is short in CI is done at full length. */
export const isLong = Boolean(process.env["COPSE_LONG"]);

/**
 * What each test of the file that calls this may take, without a sanitizer. By itself Bun gives five
 * seconds, which is little for a directory of 100,000 files.
 */
export function patience(milliseconds = 60_000): void {
  setDefaultTimeout(milliseconds * slowness);
}
