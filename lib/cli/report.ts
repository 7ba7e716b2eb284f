// The report of a comparison for a person: grouped by kind, one line per difference, the summary
// last, where the eye is when the prompt comes back.

import type { Comparison, CopseError, Difference, Entry, Failure } from "../index.ts";
import { describe, type Detail } from "./describe.ts";
import { escapeLocation, escapeName, escapeText } from "./escape.ts";
import { padEnd, shorten, wrap, type Paint } from "./terminal.ts";
import { showBytes, showCount, showCounted, showDuration } from "./units.ts";

export interface ReportStyle {
  readonly paint: Paint;
  /** Columns of the terminal; Infinity elsewhere: nothing is shortened for a file or a pipe. */
  readonly columns: number;
}

interface Line {
  readonly name: string;
  readonly detail: Detail;
}

type OneSided = Extract<Difference, { kind: "only-left" | "only-right" }>;

// Names are padded to the longest of their group, up to here where no terminal sets the width.
const widestColumn = 48;

export function* report(
  left: string,
  right: string,
  comparison: Comparison,
  style: ReportStyle,
): Generator<string> {
  const { paint } = style;
  const rows = groupByKind(comparison.differences);
  const root = `${escapeLocation(left)} ↔ ${escapeLocation(right)}`;
  // The roots have no name in common, even where both are directories.
  const nameOf = (path: string, bytes?: Uint8Array, slash = ""): string =>
    path === "" ? root : escapeName(path, bytes) + slash;

  const changed = rows.differs.map((row) => ({
    name: nameOf(row.path, row.pathBytes, slashOf(row.left, row.right)),
    detail: describe(row),
  }));
  yield* group("~", paint.yellow, `${showCount(changed.length)} changed`, changed, style);

  for (const [side, location, sign, colour] of [
    ["only-left", left, "-", paint.red],
    ["only-right", right, "+", paint.green],
  ] as const) {
    const lines = collapse(rows[side]);
    const title = `${showCount(rows[side].length)} only in ${escapeLocation(location)}`;
    yield* group(sign, colour, title, lines, style);
  }

  const moved = rows.moved.map((row) => ({
    name: escapeName(row.from, row.left.pathBytes),
    detail: { arrow: escapeName(row.path, row.pathBytes) },
  }));
  yield* group(">", paint.cyan, `${showCount(moved.length)} moved`, moved, style);

  const ruled = rows["same-by-rule"].map((row) => ({
    name: nameOf(row.path, row.pathBytes),
    detail: { text: row.rule },
  }));
  yield* group("=", paint.dim, `${showCount(ruled.length)} the same by rule`, ruled, style);

  yield* errors(rows.error, style);
  yield summary(comparison, style);
}

/** `2 changed, 1 only left · 1,234 files, 56 MB compared in 0.12 s`, in two lines where one is too long. */
function summary(comparison: Comparison, { paint, columns }: ReportStyle): string {
  const { files, bytes, milliseconds, differences, errors, equal, complete, sameByRule } =
    comparison;
  const rows = groupByKind(differences);
  const counts = [
    [rows.differs.length, "changed"],
    [rows["only-left"].length, "only left"],
    [rows["only-right"].length, "only right"],
    [rows.moved.length, "moved"],
  ] as const;
  const parts = counts
    .filter(([count]) => count > 0)
    .map(([count, what]) => paint.bold(`${showCount(count)} ${what}`));
  if (errors > 0) parts.push(paint.bold(paint.red(showCounted(errors, "error"))));
  if (equal) parts.push(paint.bold(paint.green("equal")));
  else if (parts.length === 0) parts.push(paint.bold(paint.red("not everything was seen")));
  else if (!complete && errors === 0) parts.push("stopped at the first");
  if (sameByRule > 0) parts.push(`${showCount(sameByRule)} the same by rule`);
  const work = `${showCounted(files, "file")}, ${showBytes(bytes)} compared in ${showDuration(milliseconds)}`;
  const found = parts.join(", ");
  const isLong = Bun.stringWidth(`${found} · ${work}`) > columns;
  return `${found}${isLong ? "\n" : " "}${paint.dim(isLong ? work : `· ${work}`)}\n`;
}

function groupByKind(differences: readonly Difference[]): {
  [K in Difference["kind"]]: Extract<Difference, { kind: K }>[];
} {
  const rows: Record<string, Difference[]> = {
    differs: [],
    "only-left": [],
    "only-right": [],
    moved: [],
    "same-by-rule": [],
    error: [],
  };
  for (const row of differences) rows[row.kind]?.push(row);
  // Each array got the rows of the kind it is named after.
  return rows as ReturnType<typeof groupByKind>;
}

/** The API has a row for every entry below a directory that one side lacks. A person wants to know
 *  about the directory, once. Rows come sorted, so a directory stands before what is below it. */
function collapse(rows: readonly OneSided[]): Line[] {
  interface Whole {
    readonly row: OneSided;
    entries: number;
    bytes: number;
  }
  const wholes: Whole[] = [];
  const topOf = new Map<string, Whole>();
  for (const row of rows) {
    const entry = entryOf(row);
    const above = topOf.get(row.path.slice(0, Math.max(0, row.path.lastIndexOf("/"))));
    const whole = above ?? { row, entries: 0, bytes: 0 };
    if (above) {
      above.entries += 1;
      above.bytes += entry.type === "file" ? entry.size : 0;
    } else wholes.push(whole);
    if (entry.type === "directory") topOf.set(row.path, whole);
  }
  return wholes.map(({ row, entries, bytes }) => {
    const entry = entryOf(row);
    const name = escapeName(row.path, row.pathBytes) + slashOf(entry);
    if (entry.type !== "directory") return { name, detail: describe(row) };
    // Not "empty": what was in it may have been moved, or left out by a filter.
    if (entries === 0) return { name, detail: { text: "directory" } };
    const size = bytes > 0 ? `, ${showBytes(bytes)}` : "";
    return { name, detail: { text: `${showCounted(entries, "entry")}${size}` } };
  });
}

function entryOf(row: OneSided): Entry {
  return row.kind === "only-left" ? row.left : row.right;
}

function slashOf(...entries: Entry[]): string {
  return entries.every(({ type }) => type === "directory") ? "/" : "";
}

function* group(
  sign: string,
  colour: (text: string) => string,
  title: string,
  lines: readonly Line[],
  { paint, columns }: ReportStyle,
): Generator<string> {
  if (lines.length === 0) return;
  yield `${paint.bold(shorten(title, columns))}\n`;
  let widest = 0;
  for (const { name } of lines) widest = Math.max(widest, Bun.stringWidth(name));
  widest = Math.min(widest, widestColumn);
  for (const { name, detail } of lines) {
    yield `  ${colour(sign)} ${fitted(name, detail, widest, columns - 4, paint)}\n`;
  }
  yield "\n";
}

/** Name and detail in at most `room` columns. */
function fitted(name: string, detail: Detail, widest: number, room: number, paint: Paint): string {
  if ("arrow" in detail) {
    const [from, to] = share(name, detail.arrow, room - 3);
    return `${from} ${paint.dim("→")} ${to}`;
  }
  // The name matters more than a long detail, such as two link targets.
  const text = shorten(
    detail.text,
    Math.max(Math.floor(room / 2), room - 2 - Bun.stringWidth(name)),
  );
  const space = room - 2 - Bun.stringWidth(text);
  return `${padEnd(shorten(name, space), Math.min(widest, space))}  ${paint.dim(text)}`;
}

/** Two texts side by side: the shorter one keeps its length if half the room is enough for it. */
function share(one: string, other: string, room: number): [string, string] {
  const half = Math.floor(room / 2);
  const [oneWidth, otherWidth] = [Bun.stringWidth(one), Bun.stringWidth(other)];
  if (oneWidth <= half) return [one, shorten(other, room - oneWidth)];
  if (otherWidth <= half) return [shorten(one, room - otherWidth), other];
  return [shorten(one, room - half), shorten(other, half)];
}

/** Entries that failed alike stand together, with what happened and the next move said once. */
function* errors(rows: readonly Failure[], { paint, columns }: ReportStyle): Generator<string> {
  if (rows.length === 0) return;
  yield `${paint.bold(`${showCount(rows.length)} could not be compared`)}\n`;
  const room = columns - 4;
  for (const [sentence, failures] of Map.groupBy(rows, ({ error }) => sentenceOf(error))) {
    for (const { path, pathBytes, error } of failures) {
      // Either side, or both, can fail at one path.
      const place = error.location === undefined ? [] : [escapeName(error.location)];
      const name = [...place, ...(path === "" ? [] : [escapeName(path, pathBytes)])].join(" › ");
      yield `  ${paint.magenta("!")} ${fitted(name, { text: error.code }, 0, room, paint)}\n`;
    }
    for (const line of wrap(escapeText(sentence), room)) yield `    ${paint.dim(line)}\n`;
  }
  yield "\n";
}

/** The message without the place it begins with, which stands in the line above. */
function sentenceOf({ message, location, path }: CopseError): string {
  const place = `${[location, path].filter((part) => part).join(" › ")}: `;
  return message.startsWith(place) ? message.slice(place.length) : message;
}
