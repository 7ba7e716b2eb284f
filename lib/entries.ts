// Files that a caller gives one after the other, as the bytes that are pushed: for each a record and
// its content in pieces, each with its length before it, and an empty piece at its end (copse.h).

import { chunksOf } from "./body.ts";
import { argumentError, CopseError, showValue } from "./errors.ts";
import { isUnsafe } from "./location.ts";
import { Given } from "./native/abi.ts";
import { Record } from "./native/record.ts";
import { checkFields, checkRepo, whole } from "./check.ts";
import type { PackEntry } from "./types.ts";

// Pushed in one piece with its record; what is larger is not copied together.
const TOGETHER_BYTES = 64 * 1024;
// Of one piece.
const PIECE_BYTES = 1 << 20;

/** Whether it is a sequence of entries and no location. */
export function isEntries(from: unknown): from is AsyncIterable<PackEntry> | Iterable<PackEntry> {
  return (
    typeof from === "object" &&
    from !== null &&
    (Symbol.asyncIterator in from || Symbol.iterator in from)
  );
}

function pathOf(path: unknown): string {
  if (typeof path !== "string" || path === "" || path.includes("\0"))
    throw argumentError("entry.path", `must be a path without NUL, not ${showValue(path)}`);
  if (isUnsafe(path))
    throw new CopseError(
      "UNSAFE_PATH",
      'a path in a pack is relative, without empty, "." or ".." parts',
      { path },
    );
  return path;
}

/** The record of one file. */
function headOf(entry: PackEntry): Uint8Array {
  checkFields("entry", entry, ["path", "data", "pkgType", "repo", "mode", "mtime"]);
  const { path, pkgType, repo, mode, mtime } = entry;
  const record = new Record().text(Given.PATH, pathOf(path));
  if (mode !== undefined) record.number(Given.MODE, whole("entry.mode", mode, 0, 0o7777));
  if (mtime !== undefined) {
    if (!(mtime instanceof Date) || Number.isNaN(mtime.getTime()))
      throw argumentError("entry.mtime", `must be a Date, not ${showValue(mtime)}`);
    record.integer(Given.MTIME, BigInt(mtime.getTime()) * 1_000_000n);
  }
  if (pkgType !== undefined) record.number(Given.TYPE, whole("entry.pkgType", pkgType, 0, 127));
  if (repo !== undefined) record.text(Given.REPO, checkRepo("entry.repo", repo));
  return record.end();
}

/** Pieces with their lengths, in one array. */
function framed(...pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + 4 + piece.length, 0));
  const view = new DataView(all.buffer);
  let at = 0;
  for (const piece of pieces) {
    view.setUint32(at, piece.length, true);
    all.set(piece, at + 4);
    at += 4 + piece.length;
  }
  return all;
}

const END = framed(new Uint8Array(0));

function* piecesOf(chunk: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
    const piece = chunk.subarray(at, at + PIECE_BYTES);
    const length = new Uint8Array(4);
    new DataView(length.buffer).setUint32(0, piece.length, true);
    yield length;
    yield piece;
  }
}

/** What stands before the content, and the content as it comes. */
function startOf(entry: PackEntry): { head: Uint8Array; body: ReturnType<typeof chunksOf> } {
  return { head: headOf(entry), body: chunksOf("entry.data", entry.data) };
}

function* oneFile(head: Uint8Array, body: Iterable<Uint8Array>): Generator<Uint8Array> {
  const [first = END.subarray(0, 0), ...more] = body;
  if (more.length === 0 && first.length <= TOGETHER_BYTES) {
    yield first.length > 0 ? framed(head, first, END.subarray(0, 0)) : framed(head, first);
    return;
  }
  yield framed(head);
  for (const chunk of [first, ...more]) yield* piecesOf(chunk);
  yield END;
}

/** What is pushed of entries that are there. */
export function* framesNow(entries: Iterable<PackEntry>): Generator<Uint8Array> {
  for (const entry of entries) {
    const { head, body } = startOf(entry);
    if (!(Symbol.iterator in body))
      throw argumentError("entry.data", "must be a text or bytes where nothing is waited for");
    yield* oneFile(head, body);
  }
}

/** The same of entries that come, or whose content comes. */
export async function* framesOf(
  entries: AsyncIterable<PackEntry> | Iterable<PackEntry>,
): AsyncGenerator<Uint8Array> {
  for await (const entry of entries) {
    const { head, body } = startOf(entry);
    if (Symbol.iterator in body) {
      yield* oneFile(head, body);
      continue;
    }
    yield framed(head);
    for await (const chunk of body) yield* piecesOf(chunk);
    yield END;
  }
}
