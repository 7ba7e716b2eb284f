// The page cache, per file: nothing here needs rights over the whole system. Inodes and names stay
// cached, so "cold" is a mild cold; the results say so.

import { dlopen } from "bun:ffi";
import { closeSync, fdatasyncSync, lstatSync, openSync, readdirSync, readSync } from "node:fs";
import { join } from "node:path";

const dontNeed = 4;
const chunk = new Uint8Array(128 << 10);

let advise: ((...fdFromBytesAdvice: number[]) => number) | undefined;

/** Can this system forget a file's pages? */
export const canEvict = process.platform === "linux";

/** Writes back and forgets every page of every file at or below these paths. */
export function evict(paths: readonly string[]): void {
  if (!canEvict) return;
  advise ??= dlopen("libc.so.6", {
    posix_fadvise: { args: ["int", "i64", "i64", "int"], returns: "int" },
  }).symbols.posix_fadvise;
  eachFile(paths, (fd) => {
    // A page that is not on the disk yet cannot be forgotten.
    fdatasyncSync(fd);
    const code = advise!(fd, 0, 0, dontNeed);
    if (code !== 0) throw new Error(`posix_fadvise answered ${code}`);
  });
}

/** Reads every file once, so that its pages come from readahead, as they would in a second run. */
export function warm(paths: readonly string[]): void {
  eachFile(paths, (fd) => {
    while (readSync(fd, chunk, 0, chunk.length, null) > 0);
  });
}

function eachFile(paths: readonly string[], act: (fd: number) => void): void {
  const pending = [...paths];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (lstatSync(path).isDirectory()) {
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        const at = join(path, entry.name);
        if (entry.isDirectory()) pending.push(at);
        else if (entry.isFile()) openFor(at, act);
      }
    } else openFor(path, act);
  }
}

function openFor(path: string, act: (fd: number) => void): void {
  const fd = openSync(path, "r");
  try {
    act(fd);
  } finally {
    closeSync(fd);
  }
}
