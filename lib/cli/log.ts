// What -v, -vv and -vvv say on standard error: level 1 is what was decided and how long it took, 2 is
// what it runs on, 3 is everything counted on the way.

import { escapeText } from "./escape.ts";
import { writeError } from "./print.ts";

export interface Log {
  readonly level: number;
  say(level: 1 | 2 | 3, text: string): void;
}

export function startLog(verbose: unknown): Log {
  const level = typeof verbose === "number" ? verbose : 0;
  return {
    level,
    say(least, text) {
      // Since the process began, start-up included.
      const now = performance.now().toFixed(1).padStart(8);
      if (level >= least) writeError(`copse ${now} ms  ${escapeText(text)}\n`);
    },
  };
}

/** `backend threads, cores 2`: a flat object for people. */
export function pairs(fields: object): string {
  return Object.entries(fields)
    .filter(([, value]) => ["string", "number", "boolean"].includes(typeof value))
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}
