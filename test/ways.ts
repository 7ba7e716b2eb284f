// The ways to ask the same question. Every case of a table is asked in each of them, and the answers must agree.

import { afterAll, beforeAll, expect } from "bun:test";
import { readdirSync } from "node:fs";
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

/** For test files that do much: the default of a bare `bun test` is five seconds. */
export const patience = process.env["COPSE_SANITIZER"] === undefined ? 60_000 : 300_000;

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
  list: async (root, options) => listSync(root, options),
};

export const awaited: Way = {
  name: "async",
  compare: async (left, right, options) => await compare(left, right, options),
  list: async (root, options) => await list(root, options),
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
    const task = list(root, options);
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
  const { differences, errors, equal, complete } = answer;
  const failures = differences.filter((row) => row.kind === "error");
  expect(errors).toBe(failures.length);
  // Equal: nothing differs and everything was seen. A row of any kind is enough for "not equal".
  expect(equal).toBe(differences.length === 0 && complete);
  if (failures.length > 0) expect(complete).toBe(false);
  expect(answer.milliseconds).toBeGreaterThanOrEqual(0);
  return differences.map(fact);
}

/** The code with which a promise is rejected. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : String(error);
  }
  return "no error";
}

// ── Nothing stays open ──

const openFiles = (): number => readdirSync("/proc/self/fd").length;
const threads = (): number => readdirSync("/proc/self/task").length;

/**
 * For a whole test file: as many descriptors at its end as at its begin, and no more threads than the default runtime may
 * have. The runtime closes its wake-up a moment after the last task, so the count is looked at until it is right.
 */
export function leaveNothingOpen(): void {
  let filesBefore = 0;
  let threadsBefore = 0;
  const settled = async (most: number, looks: number): Promise<number> => {
    let fewest = openFiles();
    for (let left = looks; left > 0 && fewest > most; left--) {
      await Bun.sleep(10);
      fewest = Math.min(fewest, openFiles());
    }
    return fewest;
  };
  beforeAll(async () => {
    await list(import.meta.dir); // the runtime and Bun's own loop are there from now on
    filesBefore = await settled(0, 10);
    threadsBefore = threads();
  });
  afterAll(async () => {
    expect(await settled(filesBefore, 300)).toBeLessThanOrEqual(filesBefore);
    const { workers, ioWorkers } = Runtime.default.info;
    expect(threads()).toBeLessThanOrEqual(threadsBefore + workers + ioWorkers);
  });
}
