// copse copy, sync, pack, unpack and repair: what was done as a report, as JSON, or as nothing but the exit status.

import {
  apply,
  copy,
  CopseError,
  pack,
  repair,
  rowsOf,
  sync,
  unpack,
  type ApplyOptions,
  type PackOptions,
  type Action,
  type Plan,
  type SyncOptions,
  type Task,
  type Transfer,
  type TwoWayOptions,
} from "../index.ts";
import type { Interruption } from "../signals.ts";
import type { Flags } from "./args.ts";
import { escapeLocation, escapeName, escapeText } from "./escape.ts";
import { inFrame, type Frame } from "./frame.ts";
import { documentJson, rowToJson, toJson } from "./json.ts";
import { outputStream, packOptionsFrom } from "./pack.ts";
import { encryptionFrom, inFull } from "./place.ts";
import { placesOfPlan, planIn } from "./plan.ts";
import { complainAll, print, readerLeft } from "./print.ts";
import { status } from "./status.ts";
import { isTerminal, paintFor, type Paint } from "./terminal.ts";
import { showBytes, showCount, showCounted, showDuration } from "./units.ts";

const verbs = { copy, sync, pack, unpack, repair };

export function runCopy(
  verb: keyof typeof verbs | "apply",
  from: string,
  to: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  return inFrame(flags, interruption, async (frame) => {
    const { sign, signPasswordFile, plugin, ...known } = flags;
    const options = verb === "apply" ? applyOptions(frame, known) : transferOptions(frame, known);
    if (verb === "pack")
      Object.assign(options, await packOptionsFrom({ sign, signPasswordFile, plugin }));
    // The pack itself goes to standard output.
    const isPoured = verb === "pack" && to === "-";
    const tell = isPoured ? complainAll : print;
    const isOutput = verb === "copy" && to === "-";
    if (isOutput && (flags["json"] || flags["jsonl"]))
      throw new CopseError("ARGUMENT", "standard output takes the bytes: leave --json out");
    const isAll = options.dryRun === true || frame.log.level > 0;
    // A million rows that nobody sees are not told.
    if (!isAll && flags["json"] !== true && flags["jsonl"] !== true) options.actions = "trouble";
    const { task } = await begin(verb, from, to, options, frame);

    if (flags["jsonl"]) {
      for await (const rows of task.batches()) {
        if (rows.some(({ kind }) => kind === "error")) frame.seen = status.trouble;
        await tell(rows.map((row) => `${rowToJson(row)}\n`));
      }
    }
    const transfer = await task;
    if (transfer.errors > 0 || !transfer.complete) frame.seen = status.trouble;
    if (verb === "repair" && frame.seen !== status.trouble && transfer.recovered?.numbered)
      frame.seen = status.different;
    const totals = totalsOf(transfer);
    frame.done(totals);
    if (isOutput && !options.dryRun) return sent(transfer, frame.seen);
    if (flags["quiet"] === true) return frame.seen;
    if (flags["jsonl"]) await tell([`${toJson({ kind: "summary", ...totals })}\n`]);
    else if (flags["json"]) await tell(documentJson(totals, "actions", printedRows(transfer)));
    else {
      const paint = await paintFor(await isTerminal(isPoured ? 2 : 1));
      await tell(report(transfer, { isAll, isPlan: options.dryRun === true, paint }));
    }
    return frame.seen;
  });
}

const COLLECT_ROWS = 32_768;

/** Rows that are made, printed and let go of: left alone, the collector lets them grow to what is held. */
function* printedRows(transfer: Transfer): Generator<Action> {
  const rows = rowsOf(transfer);
  let told = 0;
  for (const row of rows) {
    yield row;
    if (!Array.isArray(rows) && ++told % COLLECT_ROWS === 0) Bun.gc(true);
  }
}

const isTrouble = ({ kind }: Action): boolean => kind === "error" || kind === "conflict";

/** What the flags say of a transfer. Each verb has its own flags, and checks what it is given. */
export function transferOptions(frame: Frame, flags: Flags): SyncOptions & PackOptions {
  const { archive, encrypt, twoWay, conflict, state, ...rest } = flags;
  const options = frame.copyOptions(rest) as SyncOptions & PackOptions;
  if (encrypt === true) (options as SyncOptions).encrypt = encryptionFrom(flags);
  if (archive === true) {
    options.preserve = ["mode", "mtime", "owner", "xattr"];
    if (twoWay !== true) options.hardLinks ??= true;
  }
  if (twoWay === true) options.twoWay = bothWays(conflict, state);
  else if (conflict !== undefined || state !== undefined)
    throw new CopseError("ARGUMENT", "--conflict and --state are about --two-way");
  return options;
}

function applyOptions(frame: Frame, { state, ...rest }: Flags): SyncOptions & PackOptions {
  const options = transferOptions(frame, rest);
  return state === undefined ? options : Object.assign(options, { state: String(state) });
}

const inArchives = ["strip", "formats", "password"];

/** What the plan's places need and no plan holds. */
async function withKeys(
  plan: Plan,
  options: SyncOptions,
  compress: SyncOptions["compress"],
  frame: Frame,
): Promise<[Plan, ApplyOptions]> {
  const texts = placesOfPlan(plan);
  // What is wrong with the plan says apply.
  if (texts.length !== 2) return [plan, options as ApplyOptions];
  const places = await frame.places(...texts);
  const said: ApplyOptions = {};
  for (const [i, name] of (["from", "to"] as const).entries()) {
    const place = places[i]!;
    const holds = (name: string): boolean => typeof place === "object" && name in place;
    if (typeof place !== "object" || !["crypt", ...inArchives].some(holds)) continue;
    const isWritten = name === "to" && compress !== undefined;
    said[name] = isWritten ? { ...place, compress } : place;
  }
  if (compress !== undefined && !said.to)
    throw new CopseError("ARGUMENT", "--compress: the plan's destination is not crypt:LOCATION");
  return [plan, { ...(options as ApplyOptions), ...said }];
}

/** What is said of it is checked by the library. */
function bothWays(conflict: unknown, state: unknown): TwoWayOptions {
  return {
    ...(conflict === undefined ? {} : { conflict: conflict as TwoWayOptions["conflict"] & string }),
    ...(state === undefined ? {} : { state: String(state) }),
  };
}

/** What went to standard output has no report there; what went wrong is thrown. */
function sent({ actions }: Transfer, seen: number): number {
  const failed = actions.find((action) => action.kind === "error");
  if (!failed) return seen;
  if (readerLeft(failed.error)) return status.equal;
  throw failed.error;
}

/** In an object: a promise of a task would wait for its end. */
async function begin(
  verb: keyof typeof verbs | "apply",
  from: string,
  to: string,
  options: SyncOptions & PackOptions,
  frame: Frame,
): Promise<{ task: Task<Transfer, Action> }> {
  if (verb === "apply") {
    frame.log.say(1, `apply ${escapeLocation(from)}`);
    const { compress, ...rest } = options;
    return { task: apply(...(await withKeys(planIn(from), rest, compress, frame))) };
  }
  frame.log.say(1, `${verb} ${[from, to].map(escapeLocation).join(" to ")}`);
  if (verb === "pack" && to === "-")
    return { task: pack(...(await frame.places(from)), await outputStream(), options) };
  if (verb !== "copy" && [from, to].includes("-"))
    throw new CopseError("ARGUMENT", `- is a stream, which ${verb} cannot take; a name is ./-`);
  const opened = verb === "unpack" ? inFull(from, frame.flags) : from;
  const [source, target] = await frame.places(opened, to);
  const isCopy = verb === "copy";
  return {
    task: verbs[verb](
      isCopy && from === "-" ? { fd: 0 } : source,
      isCopy && to === "-" ? { fd: 1 } : target,
      options,
    ),
  };
}

/** All but the rows, in the order of the documentation. */
export function totalsOf(transfer: Transfer): Omit<Transfer, "actions"> {
  const rounded = (ms: number): number => Math.round(ms * 1000) / 1000;
  // Not by `...`, which would ask for the rows.
  const names = Object.keys(transfer).filter((name) => name !== "actions") as (keyof Transfer)[];
  const totals = Object.fromEntries(names.map((name) => [name, transfer[name]])) as Omit<
    Transfer,
    "actions"
  >;
  const { copy, moves, delete: deleting } = totals.phases;
  return {
    ...totals,
    milliseconds: rounded(totals.milliseconds),
    phases: { copy: rounded(copy), moves: rounded(moves), delete: rounded(deleting) },
  };
}

interface ReportStyle {
  /** A line for every action; else only for what a person has to know of. */
  readonly isAll: boolean;
  readonly isPlan: boolean;
  readonly paint: Paint;
}

/** Lines for a person. */
export function* report(
  transfer: Transfer,
  { isAll, isPlan, paint }: ReportStyle,
): Generator<string> {
  for (const action of printedRows(transfer)) {
    const line = lineOf(action, paint);
    if (isAll || isTrouble(action)) yield `${line}\n`;
  }
  const counts = [
    [transfer.copied, "copied"],
    [transfer.created, transfer.created === 1 ? "directory made" : "directories made"],
    [transfer.updated, "updated"],
    [transfer.renamed, "renamed"],
    [transfer.linked, "linked"],
    [transfer.deleted, "deleted"],
    [transfer.skipped, "skipped"],
    [transfer.kept, "not deleted"],
    [transfer.verified, "verified"],
    [transfer.twoWay?.conflicts ?? 0, transfer.twoWay?.conflicts === 1 ? "conflict" : "conflicts"],
    [transfer.retries, "retries"],
  ] as const;
  const parts = counts
    .filter(([count]) => count > 0)
    .map(([count, what]) => paint.bold(`${showCount(count)} ${what}`));
  if (transfer.errors > 0) parts.push(paint.bold(paint.red(showCounted(transfer.errors, "error"))));
  if (parts.length === 0) parts.push(paint.bold(paint.green("nothing to do")));
  const kept = [
    [transfer.saved, "saved"],
    [transfer.resumed, "resumed"],
  ] as const;
  const more = kept.filter(([bytes]) => bytes > 0).map(([n, what]) => `, ${showBytes(n)} ${what}`);
  const work = isPlan
    ? `${showBytes(transfer.transferred)} to copy, nothing was changed`
    : `${showBytes(transfer.transferred)} in ${showDuration(transfer.milliseconds)}, ${showBytes(transfer.rate)}/s${more.join("")}`;
  yield `${parts.join(", ")} ${paint.dim(`· ${work}`)}\n`;
  const { report: pack, recovered } = transfer;
  if (recovered)
    yield `the index was lost: ${recovered.numbered > 0 ? `${showCounted(recovered.numbered, "file")} without a name in ${escapeName(recovered.folder)}` : "all names were found"}${recovered.kindsLost ? ", package types and repos are lost" : ""}\n`;
  if (pack && !isPlan) {
    const share = pack.ratio < 1 ? `, ${(pack.ratio * 100).toFixed(1)} %` : "";
    const old = pack.reused > 0 ? `, ${showBytes(pack.reused)} taken from the old pack` : "";
    yield `${showBytes(pack.bytesIn)} in ${showCounted(pack.files, "file")} became ${showBytes(pack.bytesOut)}${share}${old}\n`;
  }
}

function lineOf(action: Action, paint: Paint): string {
  const side = "to" in action && action.to ? `  ${paint.dim(`→ ${action.to}`)}` : "";
  return `${whatOf(action, paint)}${side}`;
}

function whatOf(action: Action, paint: Paint): string {
  const name = escapeName(action.path, action.pathBytes) || "."; // the place itself
  switch (action.kind) {
    case "copied":
      return `${paint.green("+")} ${name}  ${paint.dim(showBytes(action.size))}`;
    case "created":
      return `${paint.green("+")} ${name}/`;
    case "updated":
      return `${paint.yellow("~")} ${name}`;
    case "renamed":
      return `${paint.cyan(">")} ${escapeName(action.from, action.fromBytes)} ${paint.dim("→")} ${name}`;
    case "linked":
      return `${paint.green("+")} ${name}  ${paint.dim(`= ${escapeName(action.from, action.fromBytes)}`)}`;
    case "skipped":
      return `${paint.dim(`= ${name}  ${action.reason}`)}`;
    case "deleted":
      return `${paint.red("-")} ${name}${action.type === "directory" ? "/" : ""}`;
    case "conflict":
      return `${paint.magenta("≠")} ${name}  ${paint.dim(keptOf(action))}`;
    case "error":
      return `${paint.magenta("!")} ${escapeText(action.error.message)}  ${paint.dim(action.error.code)}`;
  }
}

function keptOf(conflict: Extract<Action, { kind: "conflict" }>): string {
  const { kept, as, asBytes, left, right } = conflict;
  if (as !== undefined) return `both kept, the other one as ${escapeName(as, asBytes)}`;
  const isDeleted = !left || !right;
  return isDeleted ? `changed on the ${kept}, deleted on the other side` : `the ${kept} one kept`;
}
