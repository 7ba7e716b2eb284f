// copse compare: the answer as a report, as JSON, or as nothing but the exit status.

import {
  compare,
  parseLocation,
  type CompareOptions,
  type Comparison,
  type Difference,
} from "../index.ts";
import type { Interruption } from "../signals.ts";
import type { Flags } from "./args.ts";
import { escapeLocation } from "./escape.ts";
import { inFrame } from "./frame.ts";
import { documentJson, rowToJson, toJson } from "./json.ts";
import { inFull, isDirectory } from "./place.ts";
import { print } from "./print.ts";
import { report } from "./report.ts";
import { status } from "./status.ts";
import { columnsOf, isTerminal, paintFor } from "./terminal.ts";

export function runCompare(
  left: string,
  right: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  return inFrame(flags, interruption, async (frame) => {
    const options: CompareOptions = frame.options();
    if (flags["quiet"] === true) options.stopAtFirst = true;
    const shown = [left, right].map(escapeLocation);
    frame.log.say(1, `comparing ${shown.join(" with ")} by ${options.by ?? "content"}`);
    const places = await frame.places(besides(left, right, flags), besides(right, left, flags));
    const task = compare(...places, options);

    if (flags["jsonl"]) {
      for await (const rows of task.batches()) {
        for (const row of rows) frame.seen = Math.max(frame.seen, statusOf(row));
        await print(rows.map((row) => `${rowToJson(row)}\n`));
      }
    }
    const comparison = await task;
    frame.done(totals(comparison));
    frame.seen = Math.max(frame.seen, answer(comparison, frame.seen));
    if (flags["quiet"] === true) return frame.seen;
    if (flags["jsonl"]) await print([`${toJson({ kind: "summary", ...totals(comparison) })}\n`]);
    else if (flags["json"]) {
      await print(documentJson(totals(comparison), "differences", comparison.differences));
    } else await printReport(left, right, comparison);
    return frame.seen;
  });
}

/** A bare archive is opened where the other side is a directory; flags about archives mean it, too. */
function besides(text: string, other: string, flags: Flags): string {
  const full = inFull(text, flags);
  if (full === text) return text; // nothing to look at, most of the time
  const { scheme, path } = parseLocation(other);
  return scheme === "file" && isDirectory(path) ? full : text;
}

async function printReport(left: string, right: string, comparison: Comparison): Promise<void> {
  const onTerminal = await isTerminal(1);
  const paint = await paintFor(onTerminal);
  const columns = onTerminal ? columnsOf(1) : Infinity;
  await print(report(left, right, comparison, { paint, columns }));
}

/** All but the rows, in the order of the documentation. */
function totals(comparison: Comparison): Omit<Comparison, "differences"> {
  const { equal, complete, sameByRule, files, bytes, errors } = comparison;
  const milliseconds = Math.round(comparison.milliseconds * 1000) / 1000;
  return { equal, complete, sameByRule, files, bytes, errors, milliseconds };
}

function statusOf(row: Difference): number {
  if (row.kind === "same-by-rule") return status.equal;
  return row.kind === "error" ? status.trouble : status.different;
}

/** Trouble wins over different. Neither rows nor "equal" means that something stayed unseen. */
function answer(comparison: Comparison, seen: number): number {
  const { equal, errors, differences, sameByRule } = comparison;
  if (errors > 0) return status.trouble;
  if (equal) return status.equal;
  return differences.length > sameByRule || seen === status.different
    ? status.different
    : status.trouble;
}
