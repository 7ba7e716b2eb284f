// What a row says beside its name, in a few words.

import type { Difference, Entry } from "../index.ts";
import { escapeName } from "./escape.ts";
import { showBytes, showTime } from "./units.ts";

/** A remark, or the other name of a moved file. */
export type Detail = { readonly text: string } | { readonly arrow: string };

type Described = Extract<Difference, { kind: "differs" | "only-left" | "only-right" }>;

export function describe(row: Described): Detail {
  if (row.kind === "differs") return { text: reason(row) };
  return { text: remark(row.kind === "only-left" ? row.left : row.right) };
}

/** Size of a file, target of a link; a directory says it with its slash. */
export function remark(entry: Entry): string {
  switch (entry.type) {
    case "file":
      return showBytes(entry.size);
    case "link":
      return entry.target === undefined ? "link" : `link → ${escapeName(entry.target)}`;
    case "directory":
      return "directory";
    case "other":
      return "special file";
  }
}

function reason(row: Extract<Difference, { kind: "differs" }>): string {
  const { reason, left, right, offset, line } = row;
  switch (reason) {
    case "type":
      // A pipe and a socket are both "other": the API does not tell more.
      if (left.type === right.type) return "special files of different kinds";
      return `${typeName(left)} → ${typeName(right)}`;
    case "size":
      return `size, ${twoSizes(left.size, right.size)}`;
    case "content":
      if (line !== undefined) return `content, line ${line}`;
      return offset === undefined ? "content" : `content, offset ${offset}`;
    case "target":
      return `link, ${escapeName(left.target ?? "?")} → ${escapeName(right.target ?? "?")}`;
    case "mode":
      return `mode, ${showMode(left.mode)} → ${showMode(right.mode)}`;
    case "mtime":
      return twoTimes(left.mtime, right.mtime);
    case "owner":
      return "owner";
    case "xattr":
      return "extended attributes";
  }
}

/** Sizes that look alike when rounded are given to the byte. */
function twoSizes(left: number, right: number): string {
  const [one, other] = [showBytes(left), showBytes(right)];
  return one === other ? `${left} → ${right} B` : `${one} → ${other}`;
}

/** Times as short as shows their difference, the second without the day it shares with the first. */
function twoTimes(left: Date | undefined, right: Date | undefined): string {
  if (!left || !right) return "mtime";
  for (const unit of ["minute", "second", "millisecond"] as const) {
    const [one, other] = [showTime(left, unit), showTime(right, unit)];
    if (one === other) continue;
    const day = one.slice(0, 11);
    return `mtime, ${one} → ${other.startsWith(day) ? other.slice(11) : other}`;
  }
  return "mtime, within one millisecond";
}

function typeName({ type }: Entry): string {
  return type === "other" ? "special file" : type;
}

function showMode(mode: number | undefined): string {
  return mode === undefined ? "unknown" : (mode & 0o7777).toString(8).padStart(4, "0");
}
