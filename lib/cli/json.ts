// Rows as JSON: the field names of the API, times as ISO 8601, bytes as hex digits.

import type { Action, Block, Check, CopseError, Difference, Entry, Failure } from "../index.ts";
import { escapeJson } from "./escape.ts";

type Row = Action | Block | Check | Difference | Entry | Failure;

/** One value as one line of JSON text. */
export function toJson(value: unknown): string {
  return escapeJson(JSON.stringify(value, readable));
}

/** One row as one line of JSON text. Nearly all rows need no replacer, which is far quicker. */
export function rowToJson(row: Row): string {
  return isPlain(row) ? escapeJson(JSON.stringify(row)) : toJson(row);
}

/** A document as pieces: the head's fields, then one array with a row per line. */
export function* documentJson(
  head: Record<string, unknown>,
  arrayName: string,
  rows: Iterable<Row>,
): Generator<string> {
  yield toJson(head).replace(/\}$/, head && Object.keys(head).length > 0 ? "," : "");
  yield `"${arrayName}":[`;
  let isFirst = true;
  for (const row of rows) {
    yield `${isFirst ? "" : ","}\n${rowToJson(row)}`;
    isFirst = false;
  }
  yield isFirst ? "]}\n" : "\n]}\n";
}

/** What a caller may switch on, and the sentence. */
export function errorFields(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { code: "INTERNAL", message: String(error) };
  // Fields that are absent on other errors are left out by JSON.stringify.
  const { code, message, location, path, status, errno, retryable } = error as Partial<CopseError>;
  return { code: code ?? "INTERNAL", message, location, path, status, errno, retryable };
}

/** Whether it has neither bytes nor an error inside. */
function isPlain(row: Row): boolean {
  if (row.pathBytes || ("kind" in row && row.kind === "error")) return false;
  if ("of" in row) return !row.of.pathBytes;
  if (!("kind" in row)) return isPlainEntry(row);
  if (row.kind === "conflict") return !row.asBytes;
  return (
    !("left" in row && !isPlainEntry(row.left)) && !("right" in row && !isPlainEntry(row.right))
  );
}

function isPlainEntry(entry: Entry): boolean {
  return !entry.pathBytes && !entry.targetBytes;
}

function readable(_key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return value.toHex();
  return value instanceof Error ? errorFields(value) : value;
}
