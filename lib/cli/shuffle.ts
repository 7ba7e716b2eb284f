// copse shuffle: copies what belongs to the matches of a scan.

import { scan, shuffle, type Action, type ShuffleOptions } from "../index.ts";
import type { Flags } from "./args.ts";
import { escapeLocation, escapeName, escapeText } from "./escape.ts";
import { fail } from "./failure.ts";
import type { Interruption } from "../signals.ts";
import { errorFields, toJson } from "./json.ts";
import { startLog } from "./log.ts";
import { optionsFrom } from "./options.ts";
import { placesFrom } from "./place.ts";
import { complain, print } from "./print.ts";
import { patternsFrom, withoutPattern } from "./scan.ts";
import { status } from "./status.ts";
import { showBytes, showCounted } from "./units.ts";

export async function runShuffle(
  root: string,
  to: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  try {
    const names = await patternsFrom(flags);
    const { overwrite, dryRun, onConflict, structured, ...rest } = withoutPattern(flags);
    const options = optionsFrom(rest, interruption, startLog(flags["verbose"]));
    const [place = root] = await placesFrom([root], flags);
    const matches = await scan(place, [...names.keys()], options);
    const { include: _, exclude: __, ...copying } = options;
    const done = await shuffle(matches, to, {
      ...copying,
      ...(overwrite === true && { overwrite: "different" }),
      ...(dryRun === true && { dryRun: true }),
      ...(structured === true && { structured: true }),
      // commands.ts has its values.
      ...(onConflict !== undefined && {
        onConflict: onConflict as NonNullable<ShuffleOptions["onConflict"]>,
      }),
    });
    const failures = [...matches.errors, ...done.actions.filter(({ kind }) => kind === "error")];
    const isDone = failures.length === 0 && matches.complete && done.complete;
    if (flags["json"]) {
      const rows = done.actions.map((row) =>
        row.kind === "error" ? { ...row, error: errorFields(row.error) } : row,
      );
      await print([`${toJson({ ...done, matches: matches.length, actions: rows })}\n`]);
    } else if (flags["quiet"] !== true) {
      await print(done.actions.flatMap((row) => (row.kind === "error" ? [] : [lineOf(row)])));
      const verb = dryRun === true ? "Would copy" : "Copied";
      const totals = `${showCounted(done.copied, "file")}, ${showBytes(done.transferred)}`;
      await print([
        `${verb} ${totals} of ${showMatches(matches.length)} to ${escapeLocation(to)}\n`,
      ]);
      for (const row of failures)
        if (row.kind === "error")
          complain(`${escapeName(row.path)}: ${escapeText(inFlags(row.error.message))}`);
    }
    if (!isDone) return status.trouble;
    return matches.length > 0 ? status.equal : status.different;
  } catch (error) {
    return fail(error, flags, interruption);
  }
}

/** The library names its options; the person gives flags. */
function inFlags(message: string): string {
  return message
    .replace('say onConflict: "suffix", "skip" or "keep-structure"', "--on-conflict says what then")
    .replace('say overwrite: "different" to merge into it', "--overwrite merges into it");
}

function lineOf({ kind, path }: Action): string {
  return `${kind.padEnd(8)}  ${escapeName(path)}\n`;
}

function showMatches(count: number): string {
  return count === 1 ? "1 match" : `${count} matches`;
}
