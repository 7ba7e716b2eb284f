// copse copy, sync, pack and unpack: what was done as a report, as JSON, or as nothing but the exit status.

import {
  copy,
  pack,
  Runtime,
  sync,
  unpack,
  type PackOptions,
  type Action,
  type SyncOptions,
  type Transfer,
} from "../index.ts";
import type { Flags } from "./args.ts";
import { escapeLocation, escapeName, escapeText } from "./escape.ts";
import { fail } from "./failure.ts";
import type { Interruption } from "../index.ts";
import { documentJson, rowToJson, toJson } from "./json.ts";
import { pairs, startLog } from "./log.ts";
import { optionsFrom } from "./options.ts";
import { placesFrom } from "./place.ts";
import { print } from "./print.ts";
import { startProgress } from "./progress.ts";
import { status } from "./status.ts";
import { isTerminal, paintFor, type Paint } from "./terminal.ts";
import { showBytes, showCount, showCounted, showDuration } from "./units.ts";

const verbs = { copy, sync, pack, unpack };

export async function runCopy(
  verb: keyof typeof verbs,
  from: string,
  to: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  const log = startLog(flags["verbose"]);
  const quiet = flags["quiet"] === true;
  const isSilent = quiet || (flags["jsonl"] === true && (await isTerminal(1)));
  const progress = isSilent ? undefined : await startProgress();
  interruption.onHurry = progress?.end;
  let seen: number = status.equal;
  try {
    const { archive, ...rest } = flags;
    const options: SyncOptions & PackOptions = optionsFrom(rest, interruption, log);
    if (archive === true) options.preserve = ["mode", "mtime", "owner", "xattr"];
    if (progress) options.onProgress = progress.update;
    const shown = [from, to].map(escapeLocation);
    log.say(1, `${verb} ${shown.join(" to ")}`);
    const [source = from, target = to] = await placesFrom([from, to], flags);
    const task = verbs[verb](source, target, options);

    if (flags["jsonl"]) {
      for await (const rows of task.batches()) {
        if (rows.some(({ kind }) => kind === "error")) seen = status.trouble;
        await print(rows.map((row) => `${rowToJson(row)}\n`));
      }
    }
    const transfer = await task;
    progress?.end();
    if (transfer.errors > 0 || !transfer.complete) seen = status.trouble;
    const totals = totalsOf(transfer);
    log.say(1, pairs(totals));
    if (log.level >= 2) log.say(2, pairs((options.runtime ?? Runtime.default).info));
    if (log.level >= 3) log.say(3, pairs((options.runtime ?? Runtime.default).stats));
    if (quiet) return seen;
    if (flags["jsonl"]) await print([`${toJson({ kind: "summary", ...totals })}\n`]);
    else if (flags["json"]) await print(documentJson(totals, "actions", transfer.actions));
    else {
      const paint = await paintFor(await isTerminal(1));
      const isAll = options.dryRun === true || log.level > 0;
      await print(report(transfer, { isAll, isPlan: options.dryRun === true, paint }));
    }
    return seen;
  } catch (error) {
    progress?.end();
    return fail(error, flags, interruption, seen);
  }
}

/** All but the rows, in the order of the documentation. */
function totalsOf({ actions: _, ...totals }: Transfer): Omit<Transfer, "actions"> {
  return { ...totals, milliseconds: Math.round(totals.milliseconds * 1000) / 1000 };
}

interface ReportStyle {
  /** A line for every action; else only for what a person has to know of. */
  readonly isAll: boolean;
  readonly isPlan: boolean;
  readonly paint: Paint;
}

function* report(transfer: Transfer, { isAll, isPlan, paint }: ReportStyle): Generator<string> {
  for (const action of transfer.actions) {
    const line = lineOf(action, paint);
    if (isAll || action.kind === "error") yield `${line}\n`;
  }
  const counts = [
    [transfer.copied, "copied"],
    [transfer.created, transfer.created === 1 ? "directory made" : "directories made"],
    [transfer.updated, "updated"],
    [transfer.renamed, "renamed"],
    [transfer.deleted, "deleted"],
    [transfer.skipped, "skipped"],
    [transfer.kept, "not deleted"],
    [transfer.retries, "retries"],
  ] as const;
  const parts = counts
    .filter(([count]) => count > 0)
    .map(([count, what]) => paint.bold(`${showCount(count)} ${what}`));
  if (transfer.errors > 0) parts.push(paint.bold(paint.red(showCounted(transfer.errors, "error"))));
  if (parts.length === 0) parts.push(paint.bold(paint.green("nothing to do")));
  const rate =
    transfer.milliseconds > 0
      ? Math.round((transfer.transferred * 1000) / transfer.milliseconds)
      : 0;
  const work = isPlan
    ? `${showBytes(transfer.transferred)} to copy, nothing was changed`
    : `${showBytes(transfer.transferred)} in ${showDuration(transfer.milliseconds)}, ${showBytes(rate)}/s`;
  yield `${parts.join(", ")} ${paint.dim(`· ${work}`)}\n`;
}

function lineOf(action: Action, paint: Paint): string {
  const name = escapeName(action.path, action.pathBytes);
  switch (action.kind) {
    case "copied":
      return `${paint.green("+")} ${name}  ${paint.dim(showBytes(action.size))}`;
    case "created":
      return `${paint.green("+")} ${name}/`;
    case "updated":
      return `${paint.yellow("~")} ${name}`;
    case "renamed":
      return `${paint.cyan(">")} ${escapeName(action.from)} ${paint.dim("→")} ${name}`;
    case "skipped":
      return `${paint.dim(`= ${name}  ${action.reason}`)}`;
    case "deleted":
      return `${paint.red("-")} ${name}${action.type === "directory" ? "/" : ""}`;
    case "error":
      return `${paint.magenta("!")} ${escapeText(action.error.message)}  ${paint.dim(action.error.code)}`;
  }
}
