// copse compare: the answer as a report, as JSON, or as nothing but the exit status.

import {
  compare,
  Runtime,
  type CompareOptions,
  type Comparison,
  type Difference,
} from "../index.ts";
import type { Flags } from "./args.ts";
import { escapeLocation } from "./escape.ts";
import { fail } from "./failure.ts";
import type { Interruption } from "../index.ts";
import { documentJson, rowToJson, toJson } from "./json.ts";
import { pairs, startLog, type Log } from "./log.ts";
import { optionsFrom } from "./options.ts";
import { placesFrom } from "./place.ts";
import { print } from "./print.ts";
import { startProgress } from "./progress.ts";
import { report } from "./report.ts";
import { status } from "./status.ts";
import { columnsOf, isTerminal, paintFor } from "./terminal.ts";

export async function runCompare(
  left: string,
  right: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  const log = startLog(flags["verbose"]);
  const quiet = flags["quiet"] === true;
  // Rows on the same terminal would fight with the line of progress.
  const isSilent = quiet || (flags["jsonl"] === true && (await isTerminal(1)));
  const progress = isSilent ? undefined : await startProgress();
  interruption.onHurry = progress?.end;
  let seen: number = status.equal;
  try {
    const options: CompareOptions = optionsFrom(flags, interruption, log);
    if (quiet) options.stopAtFirst = true;
    if (progress) options.onProgress = progress.update;
    const shown = [left, right].map(escapeLocation);
    log.say(1, `comparing ${shown.join(" with ")} by ${options.by ?? "content"}`);
    const [from = left, to = right] = await placesFrom([left, right], flags);
    const task = compare(from, to, options);

    if (flags["jsonl"]) {
      for await (const rows of task.batches()) {
        for (const row of rows) seen = Math.max(seen, statusOf(row));
        await print(rows.map((row) => `${rowToJson(row)}\n`));
      }
    }
    const comparison = await task;
    progress?.end();
    tell(log, comparison, options);
    seen = Math.max(seen, answer(comparison, seen));
    if (quiet) return seen;
    if (flags["jsonl"]) await print([`${toJson({ kind: "summary", ...totals(comparison) })}\n`]);
    else if (flags["json"]) {
      await print(documentJson(totals(comparison), "differences", comparison.differences));
    } else await printReport(left, right, comparison);
    return seen;
  } catch (error) {
    progress?.end();
    return fail(error, flags, interruption, seen);
  }
}

async function printReport(left: string, right: string, comparison: Comparison): Promise<void> {
  const onTerminal = await isTerminal(1);
  const paint = await paintFor(onTerminal);
  const columns = onTerminal ? columnsOf(1) : Infinity;
  await print(report(left, right, comparison, { paint, columns }));
}

/** All but the rows, in the order of the documentation. */
function totals(comparison: Comparison): Omit<Comparison, "differences"> {
  const { equal, complete, files, bytes, errors } = comparison;
  const milliseconds = Math.round(comparison.milliseconds * 1000) / 1000;
  return { equal, complete, files, bytes, errors, milliseconds };
}

function statusOf(row: Difference): number {
  return row.kind === "error" ? status.trouble : status.different;
}

/** Trouble wins over different. Neither rows nor "equal" means that something stayed unseen. */
function answer({ equal, errors, differences }: Comparison, seen: number): number {
  if (errors > 0) return status.trouble;
  if (equal) return status.equal;
  return differences.length > 0 || seen === status.different ? status.different : status.trouble;
}

function tell(log: Log, comparison: Comparison, { runtime }: CompareOptions): void {
  log.say(1, pairs(totals(comparison)));
  // Asking has a price, if a small one.
  if (log.level >= 2) log.say(2, pairs((runtime ?? Runtime.default).info));
  if (log.level >= 3) log.say(3, pairs((runtime ?? Runtime.default).stats));
}
