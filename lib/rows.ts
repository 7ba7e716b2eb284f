// Page bytes → typed rows: the only decoder. A page's text is decoded in one go and cut by offsets
// when it is ASCII, which is three times as fast as a decode for each path.

import { CopseError, codeName } from "./errors.ts";
import {
  Conflict,
  Detail,
  Field,
  MODE_KNOWN,
  Reason,
  Row,
  RowKind,
  Skipped,
  Text as Ignored,
  Toward,
  Type,
} from "./native/abi.ts";
import type { Sorted } from "./merge.ts";
import type { Plan, PlanNode } from "./pattern.ts";
import { byPath } from "./sort.ts";
import type {
  Check,
  Action,
  Difference,
  Entry,
  EntryType,
  Failure,
  Location,
  Match,
  Missing,
  Named,
  NearMiss,
  Planned,
  Reason as ReasonName,
  Seen,
} from "./types.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenient = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();
const slash = encoder.encode("/");

const typeNames: readonly EntryType[] = (() => {
  const names: EntryType[] = [];
  names[Type.FILE] = "file";
  names[Type.DIRECTORY] = "directory";
  names[Type.LINK] = "link";
  names[Type.OTHER] = "other";
  return names;
})();

const reasonNames = new Map<number, ReasonName>([
  [Reason.TYPE, "type"],
  [Reason.SIZE, "size"],
  [Reason.CONTENT, "content"],
  [Reason.TARGET, "target"],
  [Reason.MODE, "mode"],
  [Reason.OWNER, "owner"],
  [Reason.MTIME, "mtime"],
  [Reason.XATTR, "xattr"],
]);

interface Text {
  readonly text: string;
  /** Only when they are not UTF-8. */
  readonly bytes?: Uint8Array;
}

function decode(bytes: Uint8Array): Text {
  try {
    return { text: strict.decode(bytes) };
  } catch {
    // The page is given back: the copy is ours.
    return { text: lenient.decode(bytes), bytes: bytes.slice() };
  }
}

type DetailField = readonly [key: number, value: number | Uint8Array];

function* fieldsOf(bytes: Uint8Array): Generator<DetailField, void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 8 <= bytes.length;) {
    const key = view.getUint16(at, true);
    const size = view.getUint32(at + 4, true);
    yield bytes[at + 2] === Field.NUMBER
      ? // Codes are negative, everything else fits 53 bits or is an owner, read by halves.
        [key, view.getInt32(at + 12, true) * 2 ** 32 + view.getUint32(at + 8, true)]
      : [key, bytes.subarray(at + 8, at + 8 + size)];
    at += 8 + size;
  }
}

/** A record of enum copse_detail. */
export class Details {
  readonly #numbers = new Map<number, number>();
  readonly #texts = new Map<number, Uint8Array>();
  /** Of a pack's index: what is said of the file. */
  readonly columns: Record<string, string | number> | undefined;

  constructor(bytes: Uint8Array) {
    let column: string | undefined;
    for (const [key, value] of fieldsOf(bytes)) {
      if (key === Detail.COLUMN) {
        column = decode(value as Uint8Array).text;
      } else if (key === Detail.COLUMN_TEXT || key === Detail.COLUMN_NUMBER) {
        // Own properties only, whatever their names.
        this.columns ??= Object.create(null) as Record<string, string | number>;
        this.columns[column!] = typeof value === "number" ? value : decode(value).text;
      }
      if (typeof value === "number") this.#numbers.set(key, value);
      else this.#texts.set(key, value);
    }
  }

  number(key: number): number | undefined {
    return this.#numbers.get(key);
  }

  text(key: number): string | undefined {
    return this.name(key)?.text;
  }

  /** A text that may be a name: its bytes too, when they are not UTF-8. */
  name(key: number): Text | undefined {
    const bytes = this.#texts.get(key);
    return bytes && decode(bytes);
  }

  hex(key: number): string | undefined {
    return this.#texts.get(key)?.toHex();
  }

  /** The error the record tells of. */
  error(path?: string): CopseError {
    const code = codeName(this.number(Detail.CODE) ?? 0);
    const below = this.text(Detail.PATH) ?? path;
    return new CopseError(code, this.text(Detail.SENTENCE) ?? "it failed", {
      location: this.text(Detail.LOCATION),
      path: below === "" ? undefined : below,
      status: this.number(Detail.STATUS),
      errno: this.text(Detail.ERRNO_NAME),
    });
  }
}

const beyondAscii = /[^\0-\x7f]/;

const DIGIT = "0".charCodeAt(0);

/** One page while it is decoded. */
export class Page {
  readonly #bytes: Uint8Array;
  readonly view: DataView;
  readonly #heapAt: number;
  /** A character for each byte, so that offsets in bytes are offsets in the string. */
  readonly #heap: string;
  readonly #isAscii: boolean;

  /** `isWhole` false: few rows are looked at, and each text is decoded by itself. */
  constructor(buffer: ArrayBuffer, heapAt: number, isWhole = true) {
    this.#bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.#heapAt = isWhole ? heapAt : Infinity;
    const hasText = isWhole && heapAt < buffer.byteLength;
    this.#heap = hasText ? Buffer.from(buffer, heapAt).toString("latin1") : "";
    this.#isAscii = !beyondAscii.test(this.#heap);
  }

  text(at: number, length: number): Text {
    if (this.#heapAt === Infinity) return decode(this.#bytes.subarray(at, at + length));
    const begin = at - this.#heapAt;
    const text = this.#heap.slice(begin, begin + length);
    // Details with numbers and hashes are not ASCII; most names beside them are.
    if (this.#isAscii || !beyondAscii.test(text)) return { text };
    return decode(this.#bytes.subarray(at, at + length));
  }

  path(row: number): Text {
    const { view } = this;
    return this.text(
      view.getUint32(row + Row.path_at, true),
      view.getUint32(row + Row.path_len, true),
    );
  }

  /**
   * The entries of a NAMES row's text, when it is ASCII: cut out of the page's string, because a
   * list of a hundred thousand names is decoded in a third of the time it takes to split each row.
   */
  cutNames(at: number, end: number, above: string, into: ListRow[]): boolean {
    if (!this.#isAscii && beyondAscii.test(this.#heap.slice(at - this.#heapAt, end - this.#heapAt)))
      return false;
    const bytes = this.#bytes;
    for (let begin = at; begin < end;) {
      let stop = begin + 1;
      while (bytes[stop] !== 0) stop++; // each name has its NUL
      const name = this.#heap.slice(begin + 1 - this.#heapAt, stop - this.#heapAt);
      into.push({ path: above + name, type: typeNames[bytes[begin]! - DIGIT] ?? "other" });
      begin = stop + 1;
    }
    return true;
  }

  bytes(at: number, length: number): Uint8Array {
    return this.#bytes.subarray(at, at + length);
  }

  details(row: number): Details | undefined {
    const length = this.view.getUint32(row + Row.text_len, true);
    if (length === 0) return undefined;
    const at = this.view.getUint32(row + Row.text_at, true);
    return new Details(this.#bytes.subarray(at, at + length));
  }
}

function unsigned(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
}

// All ones: nobody knows. Nor does a number know what is above 2^53, as sparse files in memory may be:
// it would be another one.
export function known(view: DataView, at: number): number | undefined {
  const value = unsigned(view, at);
  return value <= Number.MAX_SAFE_INTEGER ? value : undefined;
}

// Nanoseconds to milliseconds, rounded down. A double has no room for the nanoseconds of our time,
// so the halves are divided one by one: each step stays below 2^53.
function time(view: DataView, at: number): Date | undefined {
  if (!hasTime(view, at)) return undefined;
  const high = view.getInt32(at + 4, true);
  const low = view.getUint32(at, true);
  const whole = Math.floor(high / 1e6);
  const rest = high - whole * 1e6;
  return new Date(whole * 2 ** 32 + Math.floor((rest * 2 ** 32 + low) / 1e6));
}

type Side = "left" | "right";

function entryOf(
  page: Page,
  row: number,
  side: Side,
  path: Text,
  details: Details | undefined,
  mode: number | undefined,
): Entry {
  const { view } = page;
  const left = side === "left";
  const types = view.getUint8(row + Row.type);
  const entry: Entry = {
    path: path.text,
    type: typeNames[left ? types & 15 : types >> 4] ?? "other",
    size: known(view, row + (left ? Row.left_size : Row.right_size)) ?? 0,
  };
  if (path.bytes) entry.pathBytes = path.bytes;
  const mtime = time(view, row + (left ? Row.left_mtime_ns : Row.right_mtime_ns));
  if (mtime) entry.mtime = mtime;
  if (mode !== undefined) entry.mode = mode;
  if (!details) return entry;
  const target = details.name(left ? Detail.LEFT_TARGET : Detail.RIGHT_TARGET);
  if (target) entry.target = target.text;
  if (target?.bytes) entry.targetBytes = target.bytes;
  const hash = details.hex(left ? Detail.LEFT_HASH : Detail.RIGHT_HASH);
  if (hash !== undefined) entry.hash = hash;
  if (details.columns) entry.columns = details.columns;
  return entry;
}

function oneSidedMode(view: DataView, row: number): number | undefined {
  const extra = view.getUint32(row + Row.extra, true);
  return extra & MODE_KNOWN ? extra & 0o7777 : undefined;
}

export function withBytes<T extends { path: string; pathBytes?: Uint8Array }>(
  row: T,
  path: Text,
): T {
  if (path.bytes) row.pathBytes = path.bytes;
  return row;
}

/** What a sync task counted; its last row, which nobody but sync.ts sees. */
export interface SyncCounts {
  readonly kind: "summary";
  readonly path: string;
  readonly counts: Details;
}

/** A row of any kind; the verb knows which kinds it can get. */
export type AnyRow = Difference | Entry | Action | SyncCounts;

// The least number of all: nobody knows.
function hasTime(view: DataView, at: number): boolean {
  return view.getInt32(at + 4, true) !== -0x80000000 || view.getUint32(at, true) !== 0;
}

/** What a dry run saw: rows of others have no times. */
function putSeen<T extends Planned>(action: T, view: DataView, row: number): T {
  // Rows of a run that is not dry are many, and nothing is made that is not kept.
  const source = hasTime(view, row + Row.left_mtime_ns) ? seenOf(view, row, "left") : undefined;
  if (source) action.source = source;
  const target = seenOf(view, row, "right");
  if (target) action.target = target;
  return action;
}

function actionOf(page: Page, row: number, path: Text, details: Details | undefined): Action {
  const { view } = page;
  const action = planned(page, row, path, details);
  if (action.kind === "skipped" || action.kind === "error" || action.kind === "conflict")
    return action;
  const toward = view.getUint32(row + Row.extra, true);
  if (toward === Toward.RIGHT) action.to = "right";
  if (toward === Toward.LEFT) action.to = "left";
  return putSeen(action, view, row);
}

function seenOf(view: DataView, row: number, side: Side): Seen | undefined {
  const [sizeAt, timeAt] =
    side === "left" ? [Row.left_size, Row.left_mtime_ns] : [Row.right_size, Row.right_mtime_ns];
  const types = view.getUint8(row + Row.type);
  const type = side === "left" ? types & 15 : types >> 4;
  if (type === 0) return undefined;
  const seen: Seen = { type: typeNames[type] ?? "other", size: known(view, row + sizeAt) ?? 0 };
  if (hasTime(view, row + timeAt)) seen.mtime = String(view.getBigInt64(row + timeAt, true));
  return seen;
}

function conflictOf(page: Page, row: number, path: Text, details: Details | undefined): Action {
  const { view } = page;
  const what = view.getUint16(row + Row.reason, true);
  const action: Extract<Action, { kind: "conflict" }> = {
    kind: "conflict",
    path: path.text,
    kept: what === Conflict.LEFT ? "left" : what === Conflict.RIGHT ? "right" : "both",
  };
  const [left, right] = [seenOf(view, row, "left"), seenOf(view, row, "right")];
  if (left) action.left = left;
  if (right) action.right = right;
  const as = details?.name(Detail.AS);
  if (as) action.as = as.text;
  if (as?.bytes) action.asBytes = as.bytes;
  return withBytes(action, path);
}

function planned(page: Page, row: number, path: Text, details: Details | undefined): Action {
  const { view } = page;
  const type = typeNames[view.getUint8(row + Row.type) & 15] ?? "other";
  switch (view.getUint8(row + Row.kind)) {
    case RowKind.COPIED: {
      const size = known(view, row + Row.left_size) ?? 0;
      const copied: Extract<Action, { kind: "copied" }> = {
        kind: "copied",
        path: path.text,
        type,
        size,
      };
      const name = details?.text(Detail.NAME);
      if (name !== undefined) copied.name = name;
      return withBytes(copied, path);
    }
    case RowKind.CREATED:
      return withBytes({ kind: "created", path: path.text }, path);
    case RowKind.UPDATED:
      return withBytes({ kind: "updated", path: path.text, type }, path);
    case RowKind.RENAMED:
    case RowKind.LINKED: {
      const from = details?.name(Detail.FROM);
      const kind = view.getUint8(row + Row.kind) === RowKind.LINKED ? "linked" : "renamed";
      const action: Extract<Action, { kind: "linked" | "renamed" }> = {
        kind,
        path: path.text,
        from: from?.text ?? "",
      };
      if (from?.bytes) action.fromBytes = from.bytes;
      return withBytes(action, path);
    }
    case RowKind.DELETED:
      return withBytes({ kind: "deleted", path: path.text, type }, path);
    default: {
      const isSpecial = view.getUint16(row + Row.reason, true) === Skipped.SPECIAL;
      return withBytes(
        { kind: "skipped", path: path.text, reason: isSpecial ? "special" : "exists" },
        path,
      );
    }
  }
}

function ruleOf(bits: number): string {
  const names = [
    ["eol", Ignored.EOL],
    ["space", Ignored.SPACE],
    ["blankLines", Ignored.BLANK_LINES],
  ] as const;
  return names.flatMap(([name, bit]) => (bits & bit ? [name] : [])).join("+");
}

/** A row of any kind but those that only one verb has. */
export function rowOf(page: Page, row: number): AnyRow {
  const { view } = page;
  const path = page.path(row);
  const details = page.details(row);
  const kind = view.getUint8(row + Row.kind);
  switch (kind) {
    case RowKind.ENTRY:
      return entryOf(page, row, "left", path, details, oneSidedMode(view, row));
    case RowKind.ONLY_LEFT:
      return withBytes(
        {
          kind: "only-left",
          path: path.text,
          left: entryOf(page, row, "left", path, details, oneSidedMode(view, row)),
        },
        path,
      );
    case RowKind.ONLY_RIGHT:
      return withBytes(
        {
          kind: "only-right",
          path: path.text,
          right: entryOf(page, row, "right", path, details, oneSidedMode(view, row)),
        },
        path,
      );
    case RowKind.DIFFERS:
    case RowKind.SAME_BY_RULE:
    case RowKind.MOVED: {
      const from = details?.name(Detail.FROM);
      const left = entryOf(
        page,
        row,
        "left",
        from ?? path,
        details,
        details?.number(Detail.LEFT_MODE),
      );
      const right = entryOf(page, row, "right", path, details, details?.number(Detail.RIGHT_MODE));
      if (kind === RowKind.MOVED)
        return withBytes(
          { kind: "moved", path: path.text, from: from?.text ?? "", left, right },
          path,
        );
      const why = view.getUint16(row + Row.reason, true);
      if (kind === RowKind.SAME_BY_RULE)
        return withBytes(
          { kind: "same-by-rule", path: path.text, rule: ruleOf(why), left, right },
          path,
        );
      const reason = reasonNames.get(why) ?? "content";
      const offset = known(view, row + Row.extra);
      const differs: Difference = { kind: "differs", path: path.text, reason, left, right };
      if (offset !== undefined) differs.offset = offset;
      const line = details?.number(Detail.LINE);
      if (line !== undefined) differs.line = line;
      return withBytes(differs, path);
    }
    case RowKind.COPIED:
    case RowKind.CREATED:
    case RowKind.UPDATED:
    case RowKind.RENAMED:
    case RowKind.SKIPPED:
    case RowKind.DELETED:
    case RowKind.LINKED:
      return actionOf(page, row, path, details);
    case RowKind.CONFLICT:
      return conflictOf(page, row, path, details);
    case RowKind.SUMMARY:
      return { kind: "summary", path: "", counts: details ?? new Details(new Uint8Array()) };
    default: {
      const failure: Failure = {
        kind: "error",
        path: path.text,
        error: (details ?? new Details(new Uint8Array())).error(path.text),
      };
      return withBytes(failure, path);
    }
  }
}

/** Whether one of a page's rows is of that kind. */
export function hasRow(buffer: ArrayBuffer, rows: number, kind: number): boolean {
  const bytes = new Uint8Array(buffer);
  for (let i = rows - 1; i >= 0; i--) if (bytes[i * Row.size + Row.kind] === kind) return true;
  return false;
}

/** A copy of a page of rows, whose text follows them at once. */
export function withoutGap(page: ArrayBuffer, rows: number, heapAt: number): ArrayBuffer {
  const head = rows * Row.size;
  const gap = heapAt - head;
  const bytes = new Uint8Array(page.byteLength - gap);
  bytes.set(new Uint8Array(page, 0, head));
  bytes.set(new Uint8Array(page, heapAt), head);
  const view = new DataView(bytes.buffer);
  for (let row = 0; row < head; row += Row.size)
    for (const field of [row + Row.path_at, row + Row.text_at]) {
      const at = view.getUint32(field, true);
      if (at >= heapAt) view.setUint32(field, at - gap, true);
    }
  return bytes.buffer;
}

/** The rows of a page by the bytes of their paths, each made when it is asked for. */
export function sortedRows(buffer: ArrayBuffer, rows: number, heapAt: number): Sorted<AnyRow> {
  const page = new Page(buffer, heapAt, false);
  const { view } = page;
  const bytes = Buffer.from(buffer);
  const begin = (row: number): number => view.getUint32(row * Row.size + Row.path_at, true);
  const end = (row: number): number =>
    begin(row) + view.getUint32(row * Row.size + Row.path_len, true);
  const rowAt = (row: number): AnyRow => rowOf(page, row * Row.size);
  const compare = (left: number, right: number): number =>
    bytes.compare(bytes, begin(right), end(right), begin(left), end(left)) ||
    byPath.compare(rowAt(left), rowAt(right)) || // what is told twice of one path
    left - right;
  const order = Uint32Array.from({ length: rows }, (_, row) => row).sort(compare);
  return {
    length: rows,
    at: (index) => (index < rows ? rowAt(order[index]!) : undefined),
  };
}

/** All rows of a page. `buffer` is lent: nothing of it is kept. */
export function decodeRows(buffer: ArrayBuffer, rows: number, heapAt: number): AnyRow[] {
  const page = new Page(buffer, heapAt);
  return Array.from({ length: rows }, (_, i) => rowOf(page, i * Row.size));
}

/** What a list task says: entries, or only their names and types, and errors. */
export type ListRow = Entry | Named | Failure;

/** Rows that came one after the other out of one directory, in the order of their names. */
export interface Run {
  readonly directory: string;
  /** Of the first one in the page. */
  readonly at: number;
  readonly count: number;
}

/** The entries of a NAMES row: a digit for the type, the name and a NUL each. */
function putNames(page: Page, row: number, into: ListRow[], runs: Run[] | undefined): void {
  const { view } = page;
  const at = view.getUint32(row + Row.text_at, true);
  const length = view.getUint32(row + Row.text_len, true) - 1; // without the last NUL
  const directory = page.path(row);
  const before = into.length;
  const above = directory.text === "" ? "" : `${directory.text}/`;
  if (directory.bytes || !page.cutNames(at, at + length + 1, above, into)) {
    const names = directory.bytes ? directory : page.text(at, length);
    if (names.bytes) {
      putBytes(directory, page.bytes(at, length), into);
      return;
    }
    for (const name of names.text.split("\0"))
      into.push({
        path: above + name.slice(1),
        type: typeNames[name.charCodeAt(0) - DIGIT] ?? "other",
      });
  }
  runs?.push({ directory: directory.text, at: before, count: into.length - before });
}

/** The same, where some name is not UTF-8. */
function putBytes(directory: Text, bytes: Uint8Array, into: ListRow[]): void {
  const above = directory.bytes ?? encoder.encode(directory.text);
  for (let at = 0; at < bytes.length;) {
    const stop = bytes.indexOf(0, at);
    const end = stop < 0 ? bytes.length : stop;
    const name = bytes.subarray(at + 1, end);
    const path = above.length === 0 ? decode(name) : decode(Buffer.concat([above, slash, name]));
    into.push(withBytes({ path: path.text, type: typeNames[bytes[at]! - DIGIT] ?? "other" }, path));
    at = end + 1;
  }
}

/**
 * All rows of a page of a list task. `buffer` is lent: nothing of it is kept. `runs` gets those
 * whose order is known.
 */
export function decodeList(
  buffer: ArrayBuffer,
  rows: number,
  heapAt: number,
  runs?: Run[],
): ListRow[] {
  const page = new Page(buffer, heapAt);
  const found: ListRow[] = [];
  for (let i = 0; i < rows; i++) {
    const row = i * Row.size;
    if (page.view.getUint8(row + Row.kind) === RowKind.NAMES) putNames(page, row, found, runs);
    else found.push(rowOf(page, row) as ListRow); // it has ENTRY and ERROR rows besides
  }
  return found;
}

/** What a look task says: an answer for each path, in their order. */
export class Answers {
  readonly #pages: { readonly page: Page; readonly rows: number }[] = [];

  /** `buffer` is theirs from now on. */
  add(buffer: ArrayBuffer, rows: number, heapAt: number): void {
    this.#pages.push({ page: new Page(buffer, heapAt), rows });
  }

  /** null: there is nothing. Throws the error where that is the answer. */
  entry(at: number, path: string): Entry | null {
    return this.#read(at, path, entryAt);
  }

  /** Whether there is something. Throws as `entry`. */
  has(at: number, path: string): boolean {
    return this.#read(at, path, isThere);
  }

  #read<T>(at: number, path: string, read: (page: Page, row: number, path: string) => T): T {
    let index = at;
    for (const { page, rows } of this.#pages) {
      if (index < rows) return read(page, index * Row.size, path);
      index -= rows;
    }
    throw new CopseError("INTERNAL", "there is no answer: please report it", { path });
  }
}

function isThere(page: Page, row: number): boolean {
  const { view } = page;
  if (view.getUint8(row + Row.kind) === RowKind.ERROR) throw (rowOf(page, row) as Failure).error; // so its kind says
  return view.getUint8(row + Row.type) !== Type.NONE;
}

function entryAt(page: Page, row: number, path: string): Entry | null {
  if (!isThere(page, row)) return null;
  const mode = oneSidedMode(page.view, row);
  return entryOf(page, row, "left", { text: path }, page.details(row), mode);
}

/** The pieces of a near miss, up to the end of the text or of a nested one. */
function missingOf(fields: Iterator<DetailField, void>, plan: Plan, node: PlanNode): Missing[] {
  const missing: Missing[] = [];
  let child: PlanNode | undefined;
  for (let next = fields.next(); !next.done; next = fields.next()) {
    const [key, value] = next.value;
    if (key === Detail.NEAREST_END) break;
    const last = missing.at(-1);
    if (key === Detail.FOUND && last) last.found = Number(value);
    if (key === Detail.NEAREST && child && last?.kind === "directory" && typeof value !== "number")
      last.nearest = { name: decode(value).text, missing: missingOf(fields, plan, child) };
    if (key !== Detail.MISSING) continue;
    const [kind, at] = [Number(value) & 255, Math.floor(Number(value) / 256)];
    if (kind === 3) {
      missing.push({ kind: "forbidden", name: node.forbidden[at] ?? "", found: 0 });
      continue;
    }
    const directory = kind === 2 ? node.directories[at] : undefined;
    child = directory && plan.nodes[directory.node];
    const piece = directory ?? node.files[at];
    if (!piece) continue;
    const { name, min, max } = piece;
    missing.push({
      kind: directory ? "directory" : "file",
      name,
      found: 0,
      min,
      ...(max === undefined ? {} : { max }),
    });
  }
  return missing;
}

/** All rows of a page of a scan task. `buffer` is lent: nothing of it is kept. */
export function decodeScan(
  buffer: ArrayBuffer,
  rows: number,
  heapAt: number,
  plan: Plan,
  locate: (path: string) => Location,
): (Match | NearMiss | Failure)[] {
  const page = new Page(buffer, heapAt);
  const { view } = page;
  return Array.from({ length: rows }, (_, i) => {
    const row = i * Row.size;
    const kind = view.getUint8(row + Row.kind);
    if (kind === RowKind.ERROR) return rowOf(page, row) as Failure; // so its kind says
    const path = page.path(row);
    const { node, pattern } = plan.roots[unsigned(view, row + Row.extra)]!;
    if (kind === RowKind.MATCH)
      return withBytes(
        { kind: "match", path: path.text, pattern, location: locate(path.text) },
        path,
      );
    const text = page.bytes(
      view.getUint32(row + Row.text_at, true),
      view.getUint32(row + Row.text_len, true),
    );
    return withBytes(
      {
        kind: "near-miss",
        path: path.text,
        pattern,
        distance: unsigned(view, row + Row.left_size),
        missing: missingOf(fieldsOf(text), plan, plan.nodes[node]!),
      },
      path,
    );
  });
}

/** What a snapshot task counted. */
export interface Counted {
  readonly kind: "counted";
  readonly entries: number;
  readonly bytes: number;
}

/** All rows of a page of a snapshot task. `buffer` is lent: nothing of it is kept. */
export function decodeSnapshot(
  buffer: ArrayBuffer,
  rows: number,
  heapAt: number,
): (Failure | Counted)[] {
  const page = new Page(buffer, heapAt);
  const { view } = page;
  return Array.from({ length: rows }, (_, i) => {
    const row = i * Row.size;
    if (view.getUint8(row + Row.kind) !== RowKind.SNAPSHOT) return rowOf(page, row) as Failure; // there are no others
    return {
      kind: "counted",
      entries: known(view, row + Row.left_size) ?? 0,
      bytes: known(view, row + Row.right_size) ?? 0,
    };
  });
}

/** All rows of a page of a verify task. `buffer` is lent: nothing of it is kept. */
export function decodeChecks(buffer: ArrayBuffer, rows: number, heapAt: number): Check[] {
  const page = new Page(buffer, heapAt);
  return Array.from({ length: rows }, (_, i) => checkOf(page, i * Row.size));
}

function checkOf(page: Page, row: number): Check {
  const { view } = page;
  const kind = view.getUint8(row + Row.kind);
  if (kind !== RowKind.INTACT && kind !== RowKind.CORRUPT) return rowOf(page, row) as Failure; // there are no others
  const path = page.path(row);
  const size = known(view, row + Row.left_size) ?? 0;
  if (kind === RowKind.INTACT)
    return withBytes<Extract<Check, { kind: "intact" }>>(
      { kind: "intact", path: path.text, size },
      path,
    );
  const details = page.details(row);
  const reason = details?.text(Detail.SENTENCE) ?? "damaged";
  const check: Extract<Check, { kind: "corrupt" }> = {
    kind: "corrupt",
    path: path.text,
    size,
    reason,
  };
  const chunk = details?.number(Detail.CHUNK);
  if (chunk !== undefined) check.chunk = chunk;
  return withBytes(check, path);
}
