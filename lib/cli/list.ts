// copse list: what a tree holds, as columns, as JSON, or as bare paths for another command.

import { list, type Entry, type Failure, type Found, type Task } from "../index.ts";
import type { Interruption } from "../signals.ts";
import type { Flags } from "./args.ts";
import { escapeLocation, escapeName, escapeText } from "./escape.ts";
import { inFrame } from "./frame.ts";
import { documentJson, errorFields, rowToJson, toJson } from "./json.ts";
import { complain, print, printBytes } from "./print.ts";
import { status } from "./status.ts";
import { columnsOf, isTerminal, paintFor, shorten, type Paint } from "./terminal.ts";
import { showBytes, showCounted, showTime } from "./units.ts";

export function runList(
  location: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  return inFrame(flags, interruption, async (frame) => {
    const options = frame.options();
    frame.log.say(1, `listing ${escapeLocation(location)}`);
    const [place] = await frame.places(location);
    // Bare paths in an order of names need no look at the entries.
    const stat = !flags["null"] || flags["sort"] === "size" || flags["sort"] === "time";
    const columns = flags["columns"] === true && stat;
    const task = list(place, { ...options, stat, columns }) as Task<Found<Entry>, Entry | Failure>;

    let entries = 0;
    let errors = 0;
    if (flags["jsonl"]) {
      for await (const rows of task.batches()) {
        for (const row of rows) {
          if (isFailure(row)) errors += 1;
          else entries += 1;
        }
        if (errors > 0) frame.seen = status.trouble;
        await print(rows.map(lineOf));
      }
    }
    const found = await task;
    entries += found.length;
    errors = Math.max(errors, found.errors.length);
    frame.done({ entries, errors, complete: found.complete });
    if (errors > 0 || !found.complete) frame.seen = status.trouble;

    if (flags["jsonl"]) {
      await print([`${toJson({ kind: "summary", complete: found.complete, entries, errors })}\n`]);
    } else if (flags["json"]) {
      const failures = found.errors.map(({ error, ...rest }) => ({
        ...rest,
        error: errorFields(error),
      }));
      await print(documentJson({ complete: found.complete, errors: failures }, "entries", found));
    } else {
      if (flags["null"]) await printPaths(found);
      else await printColumns(location, found, flags);
      for (const { error } of found.errors) complain(escapeText(error.message));
    }
    return frame.seen;
  });
}

/** An entry has no kind of its own in the API; among lines of several kinds it needs one. */
function lineOf(row: Entry | Failure): string {
  const json = rowToJson(row);
  return isFailure(row) ? `${json}\n` : `{"kind":"entry",${json.slice(1)}\n`;
}

function isFailure(row: Entry | Failure): row is Failure {
  return "kind" in row && row.kind === "error";
}

/** Raw bytes, for xargs -0 and its like: the one place where a name is not escaped. */
async function printPaths(entries: readonly Entry[]): Promise<void> {
  const encoder = new TextEncoder();
  const end = new Uint8Array(1);
  const gathered = new Bun.ArrayBufferSink();
  let length = 0;
  gathered.start({ asUint8Array: true });
  for (const { path, pathBytes } of entries) {
    const bytes = pathBytes ?? encoder.encode(path);
    gathered.write(bytes);
    gathered.write(end);
    length += bytes.length + 1;
  }
  if (length > 0) await printBytes(gathered.end() as Uint8Array);
}

async function printColumns(location: string, found: Found<Entry>, flags: Flags): Promise<void> {
  const onTerminal = await isTerminal(1);
  const paint = await paintFor(onTerminal);
  const columns = onTerminal ? columnsOf(1) : Infinity;
  await print(lines(location, found, paint, columns, flags));
  // A count is for people; `copse list x | wc -l` counts entries.
  if (onTerminal) await print([`${paint.dim(count(found))}\n`]);
}

function* lines(
  location: string,
  entries: readonly Entry[],
  paint: Paint,
  columns: number,
  flags: Flags,
): Generator<string> {
  const isLong = flags["long"] === true;
  const show = isLong && flags["human"] !== true ? String : showBytes;
  const sizes = entries.map(({ type, size }) => (type === "file" ? show(size) : "-"));
  const width = sizes.reduce((most, { length }) => Math.max(most, length), 6);
  for (const [i, entry] of entries.entries()) {
    const time = entry.mtime ? showTime(entry.mtime) : "-";
    const kind = isLong ? permissions(entry) : letters[entry.type];
    const head = `${kind}  ${sizes[i]!.padStart(width)}  ${time.padEnd(16)}  `;
    const name = nameOf(entry, location);
    const said = columnsSaid(entry);
    const room = columns - head.length - said.length;
    yield `${paint.dim(head)}${colour(entry, paint)(shorten(name, room))}${paint.dim(said)}\n`;
  }
}

const letters = { file: "file", directory: "dir ", link: "link", other: "spec" } as const;

/** `drwxr-xr-x`, as ls has it. */
function permissions({ type, mode }: Entry): string {
  const first = { file: "-", directory: "d", link: "l", other: "?" }[type];
  if (mode === undefined) return `${first}?????????`;
  const letters = Array.from("rwxrwxrwx", (letter, i) => (mode & (0o400 >> i) ? letter : "-"));
  // Set-user, set-group and sticky stand where the x of their three is.
  for (const [bit, at, letter] of [
    [0o4000, 2, "s"],
    [0o2000, 5, "s"],
    [0o1000, 8, "t"],
  ] as const)
    if (mode & bit) letters[at] = letters[at] === "x" ? letter : letter.toUpperCase();
  return first + letters.join("");
}

function nameOf(entry: Entry, location: string): string {
  const name =
    entry.path === "" ? escapeLocation(location) : escapeName(entry.path, entry.pathBytes);
  if (entry.type === "directory") return `${name}/`;
  if (entry.type === "link" && entry.target !== undefined)
    return `${name} → ${escapeName(entry.target)}`;
  return name;
}

/** `  group_id=org.x version=1.0`, after the name. */
function columnsSaid({ columns }: Entry): string {
  const pairs = Object.entries(columns ?? {});
  return pairs.map(([name, value]) => `  ${escapeText(`${name}=${value}`)}`).join("");
}

function colour({ type, mode }: Entry, paint: Paint): (text: string) => string {
  if (type === "directory") return paint.bold;
  if (type === "link") return paint.cyan;
  if (type === "other") return paint.yellow;
  return mode !== undefined && mode & 0o111 ? paint.green : (text) => text;
}

/** `12 files, 3 directories, 1 link, 45 kB` */
function count(entries: readonly Entry[]): string {
  const of = (wanted: Entry["type"]): number =>
    entries.filter(({ type }) => type === wanted).length;
  const bytes = entries.reduce((sum, { type, size }) => sum + (type === "file" ? size : 0), 0);
  const parts = [
    [of("file"), "file"],
    [of("directory"), "directory"],
    [of("link"), "link"],
    [of("other"), "special file"],
  ] as const;
  const named = parts.filter(([n]) => n > 0).map(([n, noun]) => showCounted(n, noun));
  return named.length === 0 ? "empty" : `${named.join(", ")}, ${showBytes(bytes)}`;
}
