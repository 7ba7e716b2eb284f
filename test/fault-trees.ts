// The trees of the fault sweep: small, and one of everything that makes the core take another path.

import {
  chmodSync,
  closeSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { link, pipe, plantOnDisk, run, type Scratch, type Tree } from "./trees.ts";

const LARGE_BYTES = 17 * 2 ** 20; // above 16 MiB a pair is cut into blocks
const BLOCK_BYTES = 300 * 1024; // above 256 KiB one read is not enough

/** A file of holes with a little data at its begin, in its middle and at its end. */
function plantLarge(path: string, end: string): void {
  const fd = openSync(path, "w");
  try {
    writeSync(fd, "begin", 0);
    writeSync(fd, "middle", LARGE_BYTES / 2);
    ftruncateSync(fd, LARGE_BYTES);
    writeSync(fd, end, LARGE_BYTES - end.length);
  } finally {
    closeSync(fd);
  }
}

const common: Tree = {
  empty: "",
  "empty-directory/": "",
  a: "some content",
  block: new Uint8Array(BLOCK_BYTES).fill(7),
  "sub/deeper/leaf": "leaf",
  "sub/deeper/x1": "excluded",
  "sub/file": "in sub",
  "to-a": link("a"),
  "to-sub": link("sub"),
  dangling: link("nowhere"),
  pipe,
  // "*.x" is to be found only by who cannot read this.
  ".copseignore": "*.x\n!kept.x\n",
  "ignored.x": "",
  "sub/kept.x": "",
};

const changedBlock = new Uint8Array(BLOCK_BYTES).fill(7);
changedBlock[BLOCK_BYTES - 1] = 8;

const onlyRight: Tree = {
  ...common,
  a: "same content", // another byte
  block: changedBlock, // the last one
  "to-a": link("block"),
  "sub/moved": "moved content, once on each side",
  "right/alone": "only here",
  changing: link("a"), // a file over there
};

const onlyLeft: Tree = {
  ...common,
  "moved-from": "moved content, once on each side",
  "left-directory/alone": "only there",
  changing: "a file here",
};

/** Equal times and modes, so that metadata differs only where a test says so. */
export function settle(root: string): void {
  run("find", root, "-exec", "touch", "-h", "-d", "2001-02-03T04:05:06Z", "{}", "+");
}

export interface FaultTrees {
  readonly left: string;
  /** Differs from `left` in every way there is. */
  readonly right: string;
  /** Equals `left`. */
  readonly twin: string;
  readonly small: string;
  readonly smallTwin: string;
  /** So many entries that their rows take more than two pages. */
  readonly many: string;
  readonly writable: string;
}

export function faultTrees(scratch: Scratch): FaultTrees {
  const root = (name: string, tree: Tree): string => scratch.plant(name, tree);
  const left = root("left", onlyLeft);
  const twin = root("twin", onlyLeft);
  const right = root("right", onlyRight);
  plantLarge(join(left, "large"), "end");
  plantLarge(join(twin, "large"), "end");
  plantLarge(join(right, "large"), "enD");
  for (const tree of [left, twin]) chmodSync(join(tree, "sub/file"), 0o600);
  for (const tree of [left, twin, right]) settle(tree);
  utimesSync(join(right, "sub/deeper/leaf"), 1, 1);
  // A long name takes more of a page: three pages with few calls.
  const names = Array.from({ length: 700 }, (_, i) => `${"long".repeat(50)}-${i}`);
  mkdirSync(scratch.at("writable"));
  const small = { one: "1", "two/three": "3" };
  const made: Tree = Object.fromEntries(names.map((name) => [name, ""]));
  plantOnDisk(scratch.at("many"), { ...small, ...made });
  return {
    left,
    right,
    twin,
    small: root("small", small),
    smallTwin: root("small-twin", small),
    many: scratch.at("many"),
    writable: scratch.at("writable"),
  };
}
