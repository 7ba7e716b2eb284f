import { parseLocation } from "./location.ts";
import { Done } from "./native/abi.ts";
import { decodeRows } from "./rows.ts";
import { byPath } from "./sort.ts";
import { checkOptions } from "./check.ts";
import { compareRequest } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { NativeTask, runSync, type Ending, type Verb } from "./task.ts";
import type { CompareOptions, Comparison, Difference, Location, Task } from "./types.ts";

interface Seen {
  rows: number;
  sameByRule: number;
}

function comparison(differences: Difference[], ending: Ending, seen: Seen): Comparison {
  const complete = ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0;
  return {
    equal: complete && seen.rows === seen.sameByRule,
    complete,
    sameByRule: seen.sameByRule,
    files: ending.files,
    bytes: ending.bytes,
    errors: ending.errors,
    milliseconds: ending.milliseconds,
    differences,
  };
}

function verbOf(request: Uint8Array): Verb<Comparison, Difference> {
  // An iterated task's rows went to the reader, and still count.
  const seen: Seen = { rows: 0, sameByRule: 0 };
  return {
    request,
    decode(buffer, rows, heapAt) {
      // A compare task has no ENTRY rows.
      const differences = decodeRows(buffer, rows, heapAt) as Difference[];
      seen.rows += rows;
      for (const { kind } of differences) seen.sameByRule += Number(kind === "same-by-rule");
      return differences;
    },
    order: byPath,
    whole: (parts, ending) => comparison(parts, ending, seen),
  };
}

/**
 * What differs between two trees or files, where, and why.
 *
 * ```ts
 * const { equal, differences } = await compare("left", "right", { exclude: ["node_modules"] });
 * for await (const row of compare("left", "right")) console.log(row.kind, row.path);
 * ```
 *
 * Rejects with `NOT_FOUND`, `DENIED` or `UNSUPPORTED` when a root cannot be opened, `ARGUMENT`
 * before any work for a bad location or option, `TIMEOUT`, or the signal's reason. What concerns
 * one entry is an `error` row.
 */
export function compare(
  left: Location,
  right: Location,
  options: CompareOptions = {},
): Task<Comparison, Difference> {
  checkOptions(options);
  const request = compareRequest(parseLocation(left), parseLocation(right), options, false);
  return new NativeTask(engineOf(options.runtime), verbOf(request), options);
}

/** `compare`, on this thread until the answer is there. */
export function compareSync(
  left: Location,
  right: Location,
  options: CompareOptions = {},
): Comparison {
  checkOptions(options);
  const request = compareRequest(parseLocation(left), parseLocation(right), options, true);
  return runSync(engineOf(options.runtime), verbOf(request), options);
}
