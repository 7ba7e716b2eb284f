// How long tests may take, and how much they do: under a sanitizer, and where hours are left for them.

import { setDefaultTimeout } from "bun:test";

export const isSanitized = Boolean(process.env["COPSE_SANITIZER"]);

/** Sanitizers make everything some ten times slower. */
export const slowness = isSanitized ? 10 : 1;

/** COPSE_LONG is set where hours are left for the tests: what is short in CI is done at full length. */
export const isLong = Boolean(process.env["COPSE_LONG"]);

/**
 * What a test may take that needs so many milliseconds at most on a machine of ours that is busy: a
 * slower one that has other things to do as well must not make a failure of it. A limit is there for
 * what hangs.
 */
export const within = (milliseconds: number): number => milliseconds * (isSanitized ? 15 : 4);

/**
 * What each test of the file that calls this may take, without a sanitizer. By itself Bun gives five
 * seconds, which is little for a directory of 100,000 files.
 */
export function patience(milliseconds = 60_000): void {
  setDefaultTimeout(within(milliseconds));
}

/**
 * Where random tests begin. COPSE_SEED says it; else each run tries something new, but not in CI, where
 * a failure has to be about what was changed.
 */
export function someSeed(below = 1_000_000): number {
  const given = process.env["COPSE_SEED"];
  if (given !== undefined) return Number(given);
  return process.env["CI"] ? 20_261_127 % below : Date.now() % below;
}
