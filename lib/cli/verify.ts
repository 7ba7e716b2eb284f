// copse verify: whether everything in a pack or archive is as it was written.

import { Runtime, verify, type Check, type Interruption, type Verification } from "../index.ts";
import type { Flags } from "./args.ts";
import { escapeLocation, escapeName, escapeText } from "./escape.ts";
import { fail } from "./failure.ts";
import { documentJson, rowToJson, toJson } from "./json.ts";
import { pairs, startLog } from "./log.ts";
import { optionsFrom } from "./options.ts";
import { placesFrom } from "./place.ts";
import { print } from "./print.ts";
import { startProgress } from "./progress.ts";
import { status } from "./status.ts";
import { showBytes, showCounted, showDuration } from "./units.ts";

export async function runVerify(
  location: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  const log = startLog(flags["verbose"]);
  const quiet = flags["quiet"] === true;
  const progress = quiet || flags["jsonl"] === true ? undefined : await startProgress();
  interruption.onHurry = progress?.end;
  let seen: number = status.equal;
  try {
    const options = optionsFrom(flags, interruption, log);
    if (progress) options.onProgress = progress.update;
    log.say(1, `verifying ${escapeLocation(location)}`);
    const [place = location] = await placesFrom([location], flags);
    const task = verify(place, options);
    let corrupt = 0;
    if (flags["jsonl"]) {
      for await (const rows of task.batches()) {
        for (const row of rows) {
          corrupt += Number(row.kind === "corrupt");
          seen = Math.max(seen, statusOf(row));
        }
        await print(rows.map((row) => `${rowToJson(row)}\n`));
      }
    }
    const found = await task;
    progress?.end();
    for (const row of found.checks) {
      corrupt += Number(row.kind === "corrupt");
      seen = Math.max(seen, statusOf(row));
    }
    if (!found.ok) seen = Math.max(seen, status.different);
    // Damage is the answer that was asked for, whatever else could not be read.
    if (corrupt > 0) seen = status.different;
    if (log.level >= 2) log.say(2, pairs((options.runtime ?? Runtime.default).info));
    if (quiet) return seen;
    const { checks, ...totals } = found;
    if (flags["jsonl"]) await print([`${toJson({ kind: "summary", ...totals, corrupt })}\n`]);
    else if (flags["json"]) await print(documentJson({ ...totals, corrupt }, "checks", checks));
    else await print(lines(found, corrupt));
    return seen;
  } catch (error) {
    progress?.end();
    const code = await fail(error, flags, interruption, seen);
    const isDamage = error instanceof Error && "code" in error && error.code === "CORRUPT";
    return isDamage && code === status.trouble ? status.different : code;
  }
}

function statusOf({ kind }: Check): number {
  if (kind === "intact") return status.equal;
  return kind === "corrupt" ? status.different : status.trouble;
}

function* lines(found: Verification, corrupt: number): Generator<string> {
  for (const row of found.checks) {
    const name = escapeName(row.path, row.pathBytes);
    if (row.kind === "error") yield `! ${name}  ${escapeText(row.error.message)}\n`;
    if (row.kind !== "corrupt") continue;
    const chunk = row.chunk === undefined ? "" : `chunk ${row.chunk}, `;
    yield `x ${name}  ${chunk}${escapeText(row.reason)}\n`;
  }
  const verdict = found.ok ? "intact" : `${showCounted(corrupt, "file")} damaged`;
  const errors = found.errors > 0 ? ` · ${showCounted(found.errors, "error")}` : "";
  yield `${verdict}${errors} · ${showCounted(found.files, "file")}, ${showBytes(found.bytes)} read in ${showDuration(found.milliseconds)}\n`;
}
