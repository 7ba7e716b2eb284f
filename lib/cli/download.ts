// copse download, or dl: files of web servers, several at once, into a directory or to standard output.

import { mkdirSync } from "node:fs";
import { all } from "../async/index.ts";
import {
  copy,
  CopseError,
  parseLocation,
  Store,
  type Action,
  type CopyOptions,
  type Location,
  type Progress,
  type Transfer,
} from "../index.ts";
import type { Interruption } from "../signals.ts";
import type { Flags } from "./args.ts";
import { escapeLocation, escapeName, escapeText } from "./escape.ts";
import { inFrame, type Frame } from "./frame.ts";
import { documentJson, toJson } from "./json.ts";
import { print, printBytes } from "./print.ts";
import { status } from "./status.ts";
import { isTerminal, paintFor, type Paint } from "./terminal.ts";
import { showBytes, showCount, showCounted, showDuration } from "./units.ts";

const atOnce = 5;
let batches = 0;

/** One URL, as it may be shown, and what came of it. */
type Download = { readonly url: string } & (
  | { readonly kind: "done"; readonly transfer: Transfer }
  | { readonly kind: "failed"; readonly error: CopseError }
);

type UrlAction = Action & { readonly url: string };

export function runDownload(
  places: readonly string[],
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  return inFrame(flags, interruption, async (frame) => {
    const { urls, target } = wanted(places, flags);
    const { output: _output, parallel, ...rest } = flags;
    const options = frame.copyOptions(rest);
    const locations = await frame.places(...urls);
    if (flags["output"] === "-") return toStandardOutput(frame, locations[0]!, rest, interruption);
    // A file that is to have a name of its own makes what is missing above it itself.
    if (flags["output"] === undefined && options.dryRun !== true) makeDirectory(target);
    frame.log.say(1, `download ${urls.map(escapeLocation).join(" ")} to ${escapeLocation(target)}`);
    const began = performance.now();
    const all = await fetchAll(frame, locations, target, options, Number(parallel ?? atOnce));
    const totals = totalsOf(all, performance.now() - began);
    frame.done(totals);
    if (totals.errors > 0 || !totals.complete) frame.seen = status.trouble;
    if (flags["quiet"] === true) return frame.seen;
    if (flags["jsonl"]) await print([`${toJson({ kind: "summary", ...totals })}\n`]);
    else if (flags["json"]) await print(documentJson(totals, "actions", all.flatMap(actionsOf)));
    else await print(report(all, totals, await paintFor(await isTerminal(1))));
    return frame.seen;
  });
}

/** What is there already, links to directories too, is as good. */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (cause) {
    // As Bun throws it: with a code.
    const errno = (cause as { code?: string }).code;
    const isTaken = errno === "EEXIST" || errno === "ENOTDIR";
    const sentence = isTaken
      ? "it, or what is above it, is no directory: choose another place"
      : "the directory cannot be made: check who may write there";
    throw new CopseError(isTaken ? "EXISTS" : "DENIED", sentence, { location: path, errno, cause });
  }
}

// ── What is asked ──

const isUrl = (text: string): boolean => /^https?:\/\//i.test(text);

function wanted(
  places: readonly string[],
  flags: Flags,
): { urls: readonly string[]; target: string } {
  const last = places.at(-1) ?? "";
  const directory = places.length > 1 && !isUrl(last) ? last : undefined;
  const urls = directory === undefined ? places : places.slice(0, -1);
  const other = urls.find((text) => !isUrl(text));
  if (other !== undefined)
    throw wrong(
      `${escapeLocation(other)} is no http or https URL; only the last may be a directory`,
    );
  const { output } = flags;
  if (typeof output === "string") {
    if (urls.length > 1) throw wrong("--output names one file, and there are several URLs");
    if (directory !== undefined) throw wrong("give a directory or --output, not both");
    return { urls, target: output };
  }
  const names = urls.map((url) => new URL(url).pathname.split("/").at(-1)!);
  const twice = names.find((name, i) => name !== "" && names.indexOf(name) !== i);
  if (twice !== undefined)
    throw wrong(`two URLs have the name ${escapeName(twice)}; fetch them into two directories`);
  return { urls, target: directory ?? "." };
}

function wrong(sentence: string): CopseError {
  return new CopseError("ARGUMENT", sentence);
}

// ── Fetching ──

async function toStandardOutput(
  frame: Frame,
  location: Location,
  flags: Flags,
  { signal }: Interruption,
): Promise<number> {
  for (const name of ["dryRun", "verify", "overwrite", "json", "jsonl"])
    if (flags[name] !== undefined) throw wrong("standard output takes the bytes and nothing else");
  await using store = new Store(location, { signal });
  let bytes = 0;
  for await (const chunk of store.read("")) {
    bytes += chunk.length;
    await printBytes(chunk);
  }
  frame.done({ bytes });
  return frame.seen;
}

async function fetchAll(
  frame: Frame,
  locations: readonly Location[],
  target: string,
  options: CopyOptions,
  parallel: number,
): Promise<Download[]> {
  const { onProgress } = options;
  const progress = locations.map((): Progress => ({ files: 0, bytes: 0 }));
  const shown = locations.map((location) => parseLocation(location).shown);
  const batch = ++batches;

  const one = async (at: number, signal: AbortSignal): Promise<Download> => {
    const url = shown[at]!;
    const own: CopyOptions = { ...options, batch, signal };
    if (onProgress) {
      own.onProgress = (now) => {
        progress[at] = now;
        onProgress(sumOf(progress));
      };
    }
    try {
      const task = copy(locations[at]!, target, own);
      if (frame.flags["jsonl"])
        for await (const rows of task.batches())
          await print(rows.map((row) => `${toJson({ url, ...row })}\n`));
      return { url, kind: "done", transfer: await task };
    } catch (error) {
      // One that is not there is no reason not to fetch the others; an interruption is.
      if (!(error instanceof CopseError) || signal.aborted) throw error;
      if (error.code === "ARGUMENT") throw error;
      const failed: Download = { url, kind: "failed", error };
      if (frame.flags["jsonl"]) await print(actionsOf(failed).map((row) => `${toJson(row)}\n`));
      return failed;
    }
  };
  const { signal } = options;
  return all(
    locations.map((_, at) => (signal) => one(at, signal)),
    { concurrency: Math.max(1, parallel), ...(signal && { signal }) },
  );
}

function actionsOf(one: Download): UrlAction[] {
  const { url } = one;
  if (one.kind === "failed") return [{ url, kind: "error", path: "", error: one.error }];
  return one.transfer.actions.map((action) => ({ url, ...action }));
}

function sumOf(all: readonly Progress[]): Progress {
  let files = 0;
  let bytes = 0;
  let totalBytes: number | undefined = 0;
  for (const one of all) {
    files += one.files;
    bytes += one.bytes;
    totalBytes =
      one.totalBytes === undefined || totalBytes === undefined
        ? undefined
        : totalBytes + one.totalBytes;
  }
  return totalBytes === undefined ? { files, bytes } : { files, bytes, totalBytes };
}

// ── What is said ──

type Totals = Record<
  "urls" | "copied" | "skipped" | "transferred" | "resumed" | "retries",
  number
> & {
  errors: number;
  complete: boolean;
  milliseconds: number;
};

function totalsOf(all: readonly Download[], milliseconds: number): Totals {
  const totals: Totals = {
    complete: true,
    urls: all.length,
    copied: 0,
    skipped: 0,
    errors: 0,
    transferred: 0,
    resumed: 0,
    retries: 0,
    milliseconds: Math.round(milliseconds * 1000) / 1000,
  };
  for (const one of all) {
    if (one.kind === "failed") {
      totals.errors++;
      totals.complete = false;
      continue;
    }
    const { transfer } = one;
    totals.complete &&= transfer.complete;
    for (const name of [
      "copied",
      "skipped",
      "errors",
      "transferred",
      "resumed",
      "retries",
    ] as const)
      totals[name] += transfer[name];
  }
  return totals;
}

function* report(all: readonly Download[], totals: Totals, paint: Paint): Generator<string> {
  for (const action of all.flatMap(actionsOf)) {
    if (action.kind === "copied") {
      const name = escapeName(action.name ?? action.path, action.pathBytes);
      yield `${paint.green("+")} ${name}  ${paint.dim(showBytes(action.size))}\n`;
    } else if (action.kind === "error") {
      yield `${paint.magenta("!")} ${escapeText(action.error.message)}  ${paint.dim(action.error.code)}\n`;
    } else if (action.kind === "skipped") {
      yield `${paint.dim(`= ${escapeText(action.url)}  ${action.reason}`)}\n`;
    }
  }
  const parts: string[] = [];
  if (totals.copied > 0) parts.push(paint.bold(`${showCount(totals.copied)} fetched`));
  if (totals.skipped > 0) parts.push(paint.bold(`${showCount(totals.skipped)} there already`));
  if (totals.errors > 0) parts.push(paint.bold(paint.red(showCounted(totals.errors, "error"))));
  const came = totals.transferred - totals.resumed;
  const rate = totals.milliseconds > 0 ? Math.round((came * 1000) / totals.milliseconds) : 0;
  const resumed = totals.resumed > 0 ? `, ${showBytes(totals.resumed)} were there` : "";
  const work = `${showBytes(came)} in ${showDuration(totals.milliseconds)}, ${showBytes(rate)}/s${resumed}`;
  yield `${parts.join(", ") || "nothing to do"} ${paint.dim(`· ${work}`)}\n`;
}
