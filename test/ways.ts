// The ways to ask the same question. Every case of a table is asked in each of them, and the answers must agree.

import { afterAll, beforeAll, beforeEach, expect } from "bun:test";
import { chmodSync, mkdirSync, readdirSync, readlinkSync } from "node:fs";
import {
  compare,
  compareSync,
  list,
  listSync,
  Runtime,
  type CompareOptions,
  type Comparison,
  type Difference,
  type Entry,
  type Failure,
  type Found,
  type Location,
  type Options,
} from "../lib/index.ts";
import { patience } from "./patience.ts";
import { threads } from "./script.ts";
import { Scratch } from "./trees.ts";

export interface Way {
  readonly name: string;
  compare(left: Location, right: Location, options?: CompareOptions): Promise<Comparison>;
  list(root: Location, options?: Options): Promise<Found<Entry>>;
}

const encoder = new TextEncoder();

function byPath(left: { path: string; pathBytes?: Uint8Array }, right: typeof left): number {
  return Buffer.compare(
    left.pathBytes ?? encoder.encode(left.path),
    right.pathBytes ?? encoder.encode(right.path),
  );
}

export const sync: Way = {
  name: "sync",
  compare: async (left, right, options) => compareSync(left, right, options),
  list: async (root, options) => listSync(root, { ...options, stat: true }),
};

export const awaited: Way = {
  name: "async",
  compare: async (left, right, options) => await compare(left, right, options),
  list: async (root, options) => await list(root, { ...options, stat: true }),
};

/** Row by row; the rows are put back where an awaited whole has them, sorted. */
export const iterated: Way = {
  name: "iterated",
  compare: async (left, right, options) => {
    const task = compare(left, right, options);
    const differences: Difference[] = [];
    for await (const row of task) differences.push(row);
    return { ...(await task), differences: differences.toSorted(byPath) };
  },
  list: async (root, options) => {
    const task = list(root, { ...options, stat: true });
    const entries: Entry[] = [];
    const errors: Failure[] = [];
    for await (const row of task)
      if ("error" in row) errors.push(row);
      else entries.push(row);
    const { complete } = await task;
    return Object.assign(entries.toSorted(byPath), { errors, complete });
  },
};

export const ways: readonly Way[] = [sync, awaited, iterated];

// ── Answers as short sentences ──

/** What the row says: `differs content@5 a/b`, `only-left file a`, `moved a to b`, `error DENIED a`. */
export function fact(row: Difference): string {
  switch (row.kind) {
    case "only-left":
      return `only-left ${row.left.type} ${row.path}`;
    case "only-right":
      return `only-right ${row.right.type} ${row.path}`;
    case "same-by-rule":
      return `same-by-rule ${row.rule} ${row.path}`;
    case "moved":
      return `moved ${row.from} to ${row.path}`;
    case "error":
      return `error ${row.error.code} ${row.path}`;
    case "differs": {
      const where = row.offset === undefined ? "" : `@${row.offset}`;
      return `differs ${row.reason}${where} ${row.path}`;
    }
  }
}

/** All an answer says of differences, after checking that its parts do not contradict each other. */
export function facts(answer: Comparison): string[] {
  const { differences, errors, equal, complete, sameByRule } = answer;
  const failures = differences.filter((row) => row.kind === "error");
  expect(errors).toBe(failures.length);
  expect(sameByRule).toBe(differences.filter((row) => row.kind === "same-by-rule").length);
  // Equal: nothing differs and everything was seen. A row of any other kind is enough for "not
  // equal".
  expect(equal).toBe(differences.length === sameByRule && complete);
  if (failures.length > 0) expect(complete).toBe(false);
  expect(answer.milliseconds).toBeGreaterThanOrEqual(0);
  return differences.map(fact);
}

/** The code with which it fails, of an error without one what it says, or "none". */
export async function codeOf(
  work: PromiseLike<unknown> | (() => PromiseLike<unknown>),
): Promise<string> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    return codeIn(error);
  }
  return "none";
}

/** The same of what waits for nothing. */
export function codeOfSync(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    return codeIn(error);
  }
  return "none";
}

const codeIn = (error: unknown): string =>
  error instanceof Error && "code" in error ? String(error.code) : String(error);

// ── Nothing stays open ──

/**
 * Waits until nothing of a runtime runs any more. The promise of a task that is cancelled waits for its end only a moment:
 * where a machine is busy, what it had begun is taken back after that.
 */
export async function atRest(runtime = Runtime.default): Promise<void> {
  while (runtime.stats.running + runtime.stats.queued > 0) await Bun.sleep(1);
}

/** What this process has open, by name; descriptors without one by their kind. */
function openFiles(): string[] {
  return readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const name = readlinkSync(`/proc/self/fd/${fd}`).replace(/\[\d+\]$/, "");
      // One a worker of the default runtime, there from its first step to its end.
      return name === "anon_inode:[io_uring]" ? [] : [name];
    } catch {
      return []; // the descriptor by which the folder itself was read
    }
  });
}

/** Those of `now` that were not there `before`. */
function added(before: readonly string[], now: readonly string[]): string[] {
  const left = [...before];
  return now.filter((name) => {
    const at = left.indexOf(name);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

/**
 * For a whole test file: nothing is open at its end that was not at its begin, and there are no more threads than the default
 * runtime may have. The runtime closes its wake-up a moment after the last task, and threads of others end a moment after it,
 * so this is looked at until it is right.
 */
export function leaveNothingOpen(): void {
  patience();
  let filesBefore: string[] = [];
  beforeAll(async () => {
    // The runtime, Bun's own loop and what it starts programs with are there from now on.
    Bun.spawnSync(["true"]);
    await Bun.spawn(["true"]).exited;
    await list(import.meta.dir);
    filesBefore = openFiles();
  });
  afterAll(async () => {
    let more = added(filesBefore, openFiles());
    // And one for timers, one for the web.
    const { workers, ioWorkers } = Runtime.default.info;
    const most = workers + ioWorkers + 2;
    for (let looks = 1500; looks > 0 && (more.length > 0 || threads() > most); looks--) {
      await Bun.sleep(10);
      more = added(filesBefore, openFiles());
    }
    expect(more).toEqual([]);
    expect(threads()).toBeLessThanOrEqual(most);
  });
}

/** A scratch that is empty at the begin of every test of the file. */
export function scratchForEach(above?: string): Scratch {
  const scratch = new Scratch(above);
  afterAll(() => scratch[Symbol.dispose]());
  beforeEach(() => {
    scratch[Symbol.dispose]();
    mkdirSync(scratch.path);
    chmodSync(scratch.path, 0o755);
  });
  return scratch;
}
