// Pattern: what a directory must hold, as the user writes it, as a file holds it, and as the core
// gets it.

import { argumentError, CopseError, showValue } from "./errors.ts";
import { Key, Node } from "./native/abi.ts";
import type { Record } from "./native/record.ts";
import type { Count, FilePattern, Pattern } from "./types.ts";

const NODES_MAX = 4096;
const PIECES_MAX = 65_536;
const LEVELS_MAX = 256;

type Fields = globalThis.Record<string, unknown>;

// ── The builder ──

/**
 * A pattern that is made step by step. It is a `Pattern` itself; each step gives a new one and
 * leaves the old as it is.
 */
export class PatternBuilder implements Pattern {
  readonly name?: string | null;
  readonly files?: readonly (string | FilePattern)[];
  readonly directories?: readonly Pattern[];
  readonly optionalFiles?: readonly (string | FilePattern)[];
  readonly optionalDirectories?: readonly Pattern[];
  readonly forbidden?: readonly string[];
  readonly count?: Count;

  constructor(fields: Pattern = {}) {
    Object.assign(this, fields);
  }

  #with(fields: Pattern): PatternBuilder {
    return new PatternBuilder({ ...this, ...fields });
  }

  withName(name: string | null): PatternBuilder {
    return this.#with({ name });
  }

  withFiles(...globs: readonly (string | FilePattern)[]): PatternBuilder {
    return this.#with({ files: [...(this.files ?? []), ...globs] });
  }

  withOptionalFiles(...globs: readonly (string | FilePattern)[]): PatternBuilder {
    return this.#with({ optionalFiles: [...(this.optionalFiles ?? []), ...globs] });
  }

  withDirectories(...patterns: readonly Pattern[]): PatternBuilder {
    return this.#with({ directories: [...(this.directories ?? []), ...patterns] });
  }

  withOptionalDirectories(...patterns: readonly Pattern[]): PatternBuilder {
    return this.#with({ optionalDirectories: [...(this.optionalDirectories ?? []), ...patterns] });
  }

  /** No file and no directory may have such a name. */
  withForbidden(...globs: readonly string[]): PatternBuilder {
    return this.#with({ forbidden: [...(this.forbidden ?? []), ...globs] });
  }

  /** How many directories of this kind the one above must hold. */
  withCount(count: Count): PatternBuilder {
    return this.#with({ count });
  }

  /** Required and optional file globs, each once, in order. */
  get allFiles(): readonly (string | FilePattern)[] {
    return distinct([...(this.files ?? []), ...(this.optionalFiles ?? [])]);
  }

  /** Required and optional directories, each once, in order. */
  get allDirectories(): readonly Pattern[] {
    return distinct([...(this.directories ?? []), ...(this.optionalDirectories ?? [])]);
  }
}

function distinct<T>(values: readonly T[]): T[] {
  const seen = new Set<string>();
  return values.filter((value) => seen.size < seen.add(canonical(value)).size);
}

/**
 * Begins a pattern: `pattern("sub-*").withFiles("*.json").withDirectories(pattern("anat"))`.
 * Without a name any directory has it.
 */
export function pattern(name?: string): PatternBuilder {
  return new PatternBuilder(name === undefined ? {} : { name });
}

/** Whether two patterns ask for the same. The order of what they hold counts. */
export function samePattern(left: Pattern, right: Pattern): boolean {
  return canonical(checkPattern(left)) === canonical(checkPattern(right));
}

/** Text that is equal for equal patterns: fields in one order, and none that says nothing. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
    const entries = Object.entries(inner).filter(
      ([name, field]) =>
        !(Array.isArray(field) && field.length === 0) && !(name === "name" && field === "*"),
    );
    return Object.fromEntries(entries.toSorted(([one], [other]) => (one < other ? -1 : 1)));
  });
}

// ── Checking ──

const names = {
  name: "name",
  directory_name: "name",
  files: "files",
  directories: "directories",
  optionalFiles: "optionalFiles",
  optional_files: "optionalFiles",
  optionalDirectories: "optionalDirectories",
  optional_directories: "optionalDirectories",
  forbidden: "forbidden",
  count: "count",
} as const satisfies globalThis.Record<string, keyof Pattern>;
const pathveinOnly = ["directory_name", "optional_files", "optional_directories"];

function wrong(at: string, problem: string): CopseError {
  return argumentError(at, problem);
}

function listOf(at: string, value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw wrong(at, `must be an array, not ${showValue(value)}`);
}

function globOf(at: string, value: unknown): string {
  if (typeof value !== "string") throw wrong(at, `must be a glob, not ${showValue(value)}`);
  if (value === "") throw wrong(at, "must not be empty");
  if (/[/\0]/.test(value))
    throw wrong(at, `is matched against one name, so ${showValue(value)} can never fit`);
  return value;
}

function countOf(at: string, value: unknown): Count {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong(at, `must be an object with min and max, not ${showValue(value)}`);
  const count: { min?: number; max?: number } = {};
  for (const [name, number] of Object.entries(value)) {
    if (name !== "min" && name !== "max") throw wrong(at, `has no field ${showValue(name)}`);
    if (number === undefined) continue;
    if (!Number.isInteger(number) || number < 0 || number > 2 ** 31)
      throw wrong(`${at}.${name}`, `must be a whole number from 0, not ${showValue(number)}`);
    count[name] = number;
  }
  if (count.min !== undefined && count.max !== undefined && count.min > count.max)
    throw wrong(at, `asks for at least ${count.min} and at most ${count.max}`);
  return count;
}

function fileOf(at: string, value: unknown): string | FilePattern {
  if (typeof value !== "object" || value === null) return globOf(at, value);
  const { name, count, ...rest } = value as Fields; // its fields are looked at one by one
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw wrong(at, `has no field ${showValue(unknown)}`);
  const glob = globOf(`${at}.name`, name);
  return count === undefined ? glob : { name: glob, count: countOf(`${at}.count`, count) };
}

/** The pattern itself, checked and with our names; `path` says where it stands. */
function read(
  value: unknown,
  path: string,
  above: readonly unknown[],
  seen: { pieces: number },
): Pattern {
  const at = path || "pattern";
  // What is shared is looked at wherever it stands, so this bounds what sharing can multiply to.
  if (++seen.pieces > PIECES_MAX)
    throw wrong(at, `is one of more than ${PIECES_MAX} globs and directories`);
  if (above.length >= LEVELS_MAX) throw wrong(at, `is nested deeper than ${LEVELS_MAX} levels`);
  if (typeof value === "string") {
    try {
      // Whatever it turns out to be is looked at below.
      value = JSON.parse(value) as unknown;
    } catch (cause) {
      throw new CopseError("ARGUMENT", `${at} is no JSON: ${(cause as Error).message}`, { cause });
    }
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw wrong(at, `must be an object, not ${showValue(value)}`);
  if (above.includes(value)) throw wrong(at, "contains itself");
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  // The old form ignores what it does not know; ours would rather hear of a slip of the pen.
  const isOld = fields.some(
    ([name, field]) =>
      pathveinOnly.includes(name) ||
      (name === "directories" && Array.isArray(field) && typeof field[0] === "string"),
  );
  const out: { -readonly [name in keyof Pattern]: Pattern[name] } = {};
  const below = [...above, value];
  const listed = (here: string, field: unknown): readonly unknown[] => {
    const list = listOf(here, field);
    seen.pieces += list.length;
    return list;
  };
  for (const [given, field] of fields) {
    if (!Object.hasOwn(names, given)) {
      if (isOld || given === "$schema") continue;
      throw wrong(at, `has no field ${showValue(given)}`);
    }
    const name = names[given as keyof typeof names]; // hasOwn said so
    const here = path ? `${path}.${given}` : given;
    if (Object.hasOwn(out, name))
      throw wrong(here, `is given twice, as ${name} and in the old form`);
    switch (name) {
      case "name":
        out.name = field === null || field === "" ? (field as null | "") : globOf(here, field);
        break;
      case "files":
      case "optionalFiles":
        out[name] = listed(here, field).map((one, i) => fileOf(`${here}[${i}]`, one));
        break;
      case "directories":
      case "optionalDirectories":
        out[name] = listed(here, field).map((one, i) => read(one, `${here}[${i}]`, below, seen));
        break;
      case "forbidden":
        out.forbidden = listed(here, field).map((one, i) => globOf(`${here}[${i}]`, one));
        break;
      case "count":
        out.count = countOf(here, field);
        break;
    }
  }
  return out;
}

/**
 * A pattern from an object or from JSON text: with our field names or pathvein's
 * (`directory_name`, `optional_files`, `optional_directories`), directories as objects or as JSON
 * strings. `ARGUMENT` names the field and the reason.
 */
export function parsePattern(from: string | object): Pattern {
  return read(from, "", [], { pieces: 0 });
}

function checkPattern(value: Pattern): Pattern {
  return read(value, "", [], { pieces: 0 });
}

// ── The old form ──

function pythonString(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * The text that pathvein's `to_json` writes for it, byte for byte: directories are JSON strings,
 * encoded once more on each level. `ARGUMENT` for what pathvein has no words for.
 */
export function toPathveinJSON(given: Pattern): string {
  return oldText(checkPattern(given), "pattern");
}

function oldText({ name, count, forbidden, ...lists }: Pattern, at: string): string {
  if (count) throw argumentError(`${at}.count`, "cannot be said in pathvein's form");
  if (forbidden?.length)
    throw argumentError(`${at}.forbidden`, "cannot be said in pathvein's form");
  const files = (list: Pattern["files"], field: string): string =>
    (list ?? [])
      .map((file) => {
        if (typeof file === "string") return pythonString(file);
        throw argumentError(`${at}.${field}`, "cannot say a count in pathvein's form");
      })
      .join(", ");
  const children = (list: Pattern["directories"], field: string): string =>
    (list ?? []).map((one, i) => pythonString(oldText(one, `${at}.${field}[${i}]`))).join(", ");
  const shown = name === undefined ? "*" : name;
  return (
    `{"directory_name": ${shown === null ? "null" : pythonString(shown)}, ` +
    `"files": [${files(lists.files, "files")}], ` +
    `"directories": [${children(lists.directories, "directories")}], ` +
    `"optional_files": [${files(lists.optionalFiles, "optionalFiles")}], ` +
    `"optional_directories": [${children(lists.optionalDirectories, "optionalDirectories")}]}`
  );
}

// ── Files ──

const parsers: globalThis.Record<string, (text: string) => unknown> = {
  json: (text) => JSON.parse(text),
  yaml: (text) => Bun.YAML.parse(text),
  yml: (text) => Bun.YAML.parse(text),
  toml: (text) => Bun.TOML.parse(text),
};

/**
 * A pattern from a file: JSON, YAML or TOML, by its ending. `NOT_FOUND` when there is none,
 * `ARGUMENT` with the file, the field and the reason when it holds something else.
 */
export async function loadPattern(file: string): Promise<Pattern> {
  let text: string;
  try {
    text = await Bun.file(file).text();
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const details = { location: file, errno: code, cause };
    if (code === "ENOENT")
      throw new CopseError("NOT_FOUND", "there is no such pattern file", details);
    if (code === "EACCES")
      throw new CopseError("DENIED", "the pattern file may not be read", details);
    throw new CopseError("IO", `the pattern file cannot be read: ${message}`, details);
  }
  const ending = /\.([^./]+)$/.exec(file)?.[1]?.toLowerCase() ?? "json";
  const parse = Object.hasOwn(parsers, ending) ? parsers[ending]! : parsers["json"]!;
  try {
    const value = parse(text);
    if (typeof value === "string") throw new Error("pattern must be an object, not text");
    return parsePattern(value as object); // whatever it is, parsePattern looks at it
  } catch (cause) {
    throw new CopseError("ARGUMENT", (cause as Error).message, { location: file, cause });
  }
}

// ── For the core ──

/** One piece of a node, in the order in which the core has it. */
interface NamedPiece {
  readonly name: string;
  readonly min: number;
  readonly max: number | undefined;
}

/** A node as the core has it, and what its numbers mean. */
export interface PlanNode {
  readonly name: string | undefined;
  readonly files: readonly NamedPiece[];
  readonly forbidden: readonly string[];
  readonly directories: readonly (NamedPiece & { readonly node: number })[];
}

/** Patterns as the core takes them. */
export interface Plan {
  readonly nodes: readonly PlanNode[];
  /** For each pattern number, its node and the object that the caller passed. */
  readonly roots: readonly { readonly node: number; readonly pattern: Pattern }[];
}

/**
 * `optional`: with the pieces that never decide whether a directory fits, for who asks what belongs
 * to it. Equal patterns are one.
 */
export function planOf(patterns: Pattern | readonly Pattern[], optional: boolean): Plan {
  const given: readonly unknown[] = Array.isArray(patterns) ? patterns : [patterns];
  const nodes: PlanNode[] = [];
  const total = { pieces: 0 };
  const known = new Map<string, number>();

  const bounds = (count: Count | undefined, least: number) => ({
    min: count?.min ?? (count?.max === 0 ? 0 : least),
    max: count?.max,
  });
  const file = (one: string | FilePattern, least: number): NamedPiece =>
    typeof one === "string"
      ? { name: one, min: least, max: undefined }
      : { name: one.name, ...bounds(one.count, least) };
  const decides = ({ min, max }: NamedPiece): boolean => optional || min > 0 || max !== undefined;

  const add = (value: Pattern): number => {
    const files = [
      ...(value.files ?? []).map((one) => file(one, 1)),
      ...(value.optionalFiles ?? []).map((one) => file(one, 0)),
    ].filter(decides);
    const child = (one: Pattern, least: number): (NamedPiece & { node: number }) | undefined => {
      const piece = { name: one.name || "*", ...bounds(one.count, least) };
      return decides(piece) ? { ...piece, node: add(one) } : undefined;
    };
    const directories = [
      ...(value.directories ?? []).map((one) => child(one, 1)),
      ...(value.optionalDirectories ?? []).map((one) => child(one, 0)),
    ].filter((one) => one !== undefined);
    const node: PlanNode = {
      name: value.name || undefined,
      files,
      forbidden: value.forbidden ?? [],
      directories,
    };
    const key = JSON.stringify(node);
    const same = known.get(key);
    if (same !== undefined) return same;
    if (nodes.length >= NODES_MAX)
      throw argumentError("patterns", `have more than ${NODES_MAX} directories in all`);
    known.set(key, nodes.push(node) - 1);
    return nodes.length - 1;
  };

  const roots: { node: number; pattern: Pattern }[] = [];
  const seen = new Set<string>();
  for (const [i, one] of given.entries()) {
    const at = Array.isArray(patterns) ? `patterns[${i}]` : "pattern";
    if (typeof one !== "object" || one === null || Array.isArray(one))
      throw argumentError(at, `must be a pattern, not ${showValue(one)}`);
    const checked = read(one, at, [], total);
    if (checked.count)
      throw argumentError(
        `${at}.count`,
        "says how many of these the directory above must hold; a pattern that is looked for has none above it",
      );
    const key = canonical(checked);
    if (seen.size === seen.add(key).size) continue;
    roots.push({ node: add(checked), pattern: one as Pattern }); // read() has looked at it
  }
  return { nodes, roots };
}

/** The plan's fields of a request. */
export function putPlan(record: Record, { nodes, roots }: Plan): void {
  for (const { name, files, forbidden, directories } of nodes)
    record.record(Key.NODE, (inner) => {
      if (name !== undefined) inner.text(Node.NAME, name);
      const bounds = ({ min, max }: NamedPiece): void => {
        if (min !== 1) inner.number(Node.MIN, min);
        if (max !== undefined) inner.number(Node.MAX, max);
      };
      for (const piece of files) bounds((inner.text(Node.FILE, piece.name), piece));
      for (const glob of forbidden) inner.text(Node.FORBIDDEN, glob);
      for (const piece of directories) bounds((inner.number(Node.DIRECTORY, piece.node), piece));
    });
  for (const { node } of roots) record.number(Key.PATTERN, node);
}
