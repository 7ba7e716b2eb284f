// copse scan and copse assess: directories that fit patterns, one per line, as JSON, or with what the
// others lack.

import {
  assess,
  CopseError,
  loadPattern,
  scan,
  type Failure,
  type Location,
  type Match,
  type Missing,
  type NearMiss,
  type Pattern,
  type ScanOptions,
} from "../index.ts";
import type { Flags } from "./args.ts";
import { escapeLocation, escapeName, escapeText } from "./escape.ts";
import { inFrame } from "./frame.ts";
import type { Interruption } from "../signals.ts";
import { errorFields, toJson } from "./json.ts";
import { complain, print, printBytes } from "./print.ts";
import { status } from "./status.ts";
import { showCounted } from "./units.ts";

/** Patterns, and the file that each came from. */
export async function patternsFrom(flags: Flags): Promise<Map<Pattern, string>> {
  const files = flags["pattern"];
  if (!Array.isArray(files) || files.length === 0)
    throw new CopseError("ARGUMENT", "name a pattern: -p FILE (JSON, YAML or TOML), repeatable");
  const patterns = new Map<Pattern, string>();
  for (const file of files as string[]) patterns.set(await loadPattern(file), file);
  return patterns;
}

interface Answer {
  readonly matches: readonly Match[];
  readonly nearMisses: readonly NearMiss[];
  readonly errors: readonly Failure[];
  readonly complete: boolean;
}

export async function runScan(
  root: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  return run(root, flags, interruption, (place, patterns, options) =>
    scan(place, patterns, options),
  );
}

export async function runAssess(
  file: string,
  flags: Flags,
  interruption: Interruption,
): Promise<number> {
  return run(file, flags, interruption, (place, patterns, options) =>
    assess(place, patterns, options),
  );
}

async function run(
  root: string,
  flags: Flags,
  interruption: Interruption,
  start: (
    place: Location,
    patterns: readonly Pattern[],
    options: ScanOptions,
  ) => ReturnType<typeof scan> | ReturnType<typeof assess>,
): Promise<number> {
  return inFrame(flags, interruption, async (frame) => {
    frame.seen = status.different; // none found
    const names = await patternsFrom(flags);
    const options: ScanOptions = frame.options(withoutPattern(flags));
    const [place] = await frame.places(root);
    const task = start(place, [...names.keys()], options);
    const shape = (row: Match | NearMiss | Failure) => jsonOf(row, root, names);
    let counted = 0;
    if (flags["jsonl"]) {
      for await (const rows of task.batches()) {
        for (const { kind } of rows) {
          if (kind === "error") frame.seen = status.trouble;
          counted += Number(kind === "match");
        }
        await print(rows.map((row) => `${toJson(shape(row))}\n`));
      }
    }
    const found = await task;
    const nearMisses = "nearMisses" in found ? found.nearMisses : [];
    const answer: Answer = {
      matches: found,
      nearMisses,
      errors: found.errors,
      complete: found.complete,
    };
    counted += found.length;
    if (frame.seen !== status.trouble && counted > 0) frame.seen = status.equal;
    if (found.errors.length > 0 || !found.complete) frame.seen = status.trouble;
    frame.done({ matches: counted, complete: found.complete });
    if (flags["jsonl"])
      await print([`${toJson({ kind: "summary", complete: found.complete, matches: counted })}\n`]);
    else if (flags["json"]) await print(document(answer, flags["explain"] === true, shape));
    else if (flags["null"]) await printBytes(raw(root, found));
    else await print(lines(root, answer, names));
    if (!flags["json"] && !flags["jsonl"])
      for (const { error } of found.errors) complain(escapeText(error.message));
    return frame.seen;
  });
}

export function withoutPattern({ pattern: _, ...flags }: Flags): Flags {
  return flags;
}

/** Root and path as one, as the person wrote the root. */
function joined(root: string, { path, location }: Match): string {
  if (path === "") return typeof location === "string" ? location : root;
  return `${root.replace(/(?<=.)\/+$/, "").replace(/^\/$/, "")}/${path}`;
}

function jsonOf(
  row: Match | NearMiss | Failure,
  root: string,
  names: ReadonlyMap<Pattern, string>,
): Record<string, unknown> {
  if (row.kind === "error") return { ...row, error: errorFields(row.error) };
  const { pattern, kind, ...rest } = row;
  const where = "location" in rest && typeof rest.location === "string" && rest.path === "";
  const { location, ...plain } = { location: undefined, ...rest };
  return { kind, ...plain, pattern: names.get(pattern), root: where ? location : root };
}

function* document(
  { matches, nearMisses, errors, complete }: Answer,
  explains: boolean,
  shape: (row: Match | NearMiss | Failure) => Record<string, unknown>,
): Generator<string> {
  const array = function* (
    name: string,
    rows: readonly (Match | NearMiss | Failure)[],
  ): Generator<string> {
    yield `"${name}":[`;
    for (const [i, row] of rows.entries()) {
      const { kind: _, ...fields } = shape(row);
      yield `${i > 0 ? "," : ""}\n${toJson(fields)}`;
    }
    yield rows.length > 0 ? "\n]" : "]";
  };
  yield "{";
  yield* array("matches", matches);
  if (explains) {
    yield ",";
    yield* array("nearMisses", nearMisses);
  }
  yield ",";
  yield* array("errors", errors);
  yield `,"complete":${complete}}\n`;
}

function raw(root: string, matches: readonly Match[]): Uint8Array {
  const encoder = new TextEncoder();
  const prefix = (match: Match): Uint8Array =>
    encoder.encode(joined(root, { ...match, path: "x" }).slice(0, -1));
  return Buffer.concat(
    matches.flatMap((match) => [
      match.pathBytes
        ? Buffer.concat([prefix(match), match.pathBytes])
        : encoder.encode(joined(root, match)),
      new Uint8Array(1),
    ]),
  );
}

function* lines(
  root: string,
  { matches, nearMisses }: Answer,
  names: ReadonlyMap<Pattern, string>,
): Generator<string> {
  for (const match of matches) yield `${shown(root, match)}\n`;
  for (const { path, pattern, distance, missing } of nearMisses) {
    const name = path === "" ? escapeLocation(root) : `${escapeLocation(root)}/${escapeName(path)}`;
    const file = escapeName(names.get(pattern) ?? "");
    yield `\nnearly: ${name}  (${file}, ${showCounted(distance, "piece")} missing)\n`;
    yield* reasons(missing, "  ");
  }
}

function shown(root: string, match: Match): string {
  const { path, pathBytes } = match;
  if (!pathBytes) return escapeLocation(joined(root, match));
  return `${escapeLocation(root.replace(/\/+$/, ""))}/${escapeName(path, pathBytes)}`;
}

function* reasons(missing: readonly Missing[], indent: string): Generator<string> {
  for (const one of missing) {
    const name = escapeName(one.name);
    if (one.kind === "forbidden") {
      yield `${indent}${name} must not be there, and is (${one.found})\n`;
      continue;
    }
    const noun = one.kind === "file" ? "file" : "directory";
    const { found, min, max } = one;
    if (max !== undefined && found > max)
      yield `${indent}${found} of ${noun} ${name}, at most ${max} may be\n`;
    else if (found === 0 && min <= 1) yield `${indent}no ${noun} ${name}\n`;
    else yield `${indent}${found} of ${noun} ${name}, at least ${min} must be\n`;
    if (one.kind !== "directory" || !one.nearest) continue;
    yield `${indent}  nearest: ${escapeName(one.nearest.name)}\n`;
    yield* reasons(one.nearest.missing, `${indent}    `);
  }
}
