// The order of a whole: by the bytes of the paths, at once or with turns for the event loop.

import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compare, compareSync, Store, Runtime } from "../lib/index.ts";
import { byName, byNumber, byPath } from "../lib/sort.ts";

interface Row {
  path: string;
  pathBytes?: Uint8Array;
}

function shuffled<T>(rows: T[]): T[] {
  let seed = 7;
  for (let i = rows.length - 1; i > 0; i--) {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    const j = seed % (i + 1);
    [rows[i], rows[j]] = [rows[j]!, rows[i]!];
  }
  return rows;
}

const bytesOf = ({ path, pathBytes }: Row): Uint8Array => pathBytes ?? Buffer.from(path);

test.each([
  ["plain", (i: number): Row => ({ path: `directory-${i % 97}/file-${i}` })],
  [
    "beyond UTF-16's order",
    (i: number): Row => ({ path: `${i % 3 ? "\u{1f600}" : "\uffee"}${i}` }),
  ],
  [
    "not UTF-8",
    (i: number): Row =>
      i % 500 ? { path: `f${i}` } : { path: `\ufffd${i}`, pathBytes: Buffer.from([0xff, i % 251]) },
  ],
])("60,000 paths, %s, sorted in slices as at once", async (_, make) => {
  const rows = shuffled(Array.from({ length: 60_000 }, (_, i) => make(i)));
  const given = [...rows];
  let turns = 0;
  const sorting = byPath.inSlices(rows);
  expect(sorting).toBeInstanceOf(Promise);
  let isSorted = false;
  const count = (): void => {
    turns++;
    if (!isSorted) setImmediate(count);
  };
  setImmediate(count);
  const sorted = await sorting;
  isSorted = true;
  expect(turns).toBeGreaterThan(4);
  expect(rows.every((row, i) => row === given[i])).toBe(true); // left as they were
  expect(sorted.length).toBe(rows.length);
  for (let i = 1; i < sorted.length; i++)
    if (Buffer.compare(bytesOf(sorted[i - 1]!), bytesOf(sorted[i]!)) > 0)
      throw new Error(`${sorted[i - 1]!.path} stands before ${sorted[i]!.path}`);
  const atOnce = byPath.now([...rows]);
  expect(atOnce.every((row, i) => row === sorted[i])).toBe(true);
});

const nameOf = (row: Row): Buffer => {
  const bytes = Buffer.from(bytesOf(row));
  return bytes.subarray(bytes.lastIndexOf("/") + 1);
};

test.each([
  ["name", byName, (left: Row, right: Row) => Buffer.compare(nameOf(left), nameOf(right))],
  [
    "number",
    byNumber((left: Row, right: Row) => right.path.length - left.path.length),
    (left: Row, right: Row) => right.path.length - left.path.length,
  ],
])("60,000 rows by %s, then by path, in slices as at once", async (_, order, by) => {
  const rows = shuffled(
    Array.from({ length: 60_000 }, (_, i): Row => {
      const path = `directory-${i % 97}/${i % 2 ? "\u{1f600}" : "\uffee"}${i % 1009}`;
      if (i % 500) return { path };
      return { path: `d/\ufffd${i}`, pathBytes: Buffer.from([0x64, 0x2f, 0xff, i % 251]) };
    }),
  );
  let turns = 0;
  let isSorted = false;
  const count = (): void => {
    turns++;
    if (!isSorted) setImmediate(count);
  };
  const sorting = order.inSlices([...rows]);
  expect(sorting).toBeInstanceOf(Promise);
  setImmediate(count);
  const sorted = await sorting;
  isSorted = true;
  expect(turns).toBeGreaterThan(4);
  expect(new Set(sorted)).toEqual(new Set(rows));
  for (let i = 1; i < sorted.length; i++) {
    const [before, after] = [sorted[i - 1]!, sorted[i]!];
    const order = by(before, after) || Buffer.compare(bytesOf(before), bytesOf(after));
    if (order > 0) throw new Error(`${before.path} stands before ${after.path}`);
  }
  const atOnce = order.now([...rows]);
  expect(atOnce.every((row, i) => bytesOf(row).toString() === bytesOf(sorted[i]!).toString())).toBe(
    true,
  );
});

test("few are sorted at once", () => {
  expect(byPath.inSlices([{ path: "b" }, { path: "a" }])).toEqual([{ path: "a" }, { path: "b" }]);
});

test("a comparison with more differences than a slice is the same awaited and blocking", async () => {
  const base = mkdtempSync(join(tmpdir(), "copse-order-"));
  try {
    for (let i = 0; i < 1500; i++) mkdirSync(join(base, "left", `d${i}`), { recursive: true });
    mkdirSync(join(base, "right"));
    const places = [join(base, "left"), join(base, "right")] as const;
    const whole = await compare(...places);
    const { differences } = compareSync(...places);
    expect(whole.differences.length).toBe(1500);
    expect(whole.differences).toEqual(differences);
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
});

test("a task cancelled while its rows are sorted rejects, and one that is iterated then has them", async () => {
  await using runtime = new Runtime();
  const store = new Store("memory:order", { runtime });
  await Promise.all(Array.from({ length: 4000 }, (_, i) => store.write(`f${i}`, "")));
  const makeTask = () => compare("memory:order", "memory:none", { runtime });
  const other = new Store("memory:none", { runtime });
  await other.write("x", "");
  const cancelled = makeTask();
  // Sorting begins in the turn in which the counters say that the task is over.
  while (runtime.stats.running + runtime.stats.queued > 0 || runtime.stats.started === 0)
    await new Promise((resolve) => setImmediate(resolve));
  cancelled.cancel(new Error("enough"));
  const outcome = await cancelled.then(
    ({ differences }) => differences.length,
    (error: unknown) => (error instanceof Error ? error.message : ""),
  );
  // It may have been over already; never is it half.
  expect(["enough", 4001]).toContain(outcome);
  const iterated = makeTask();
  await Bun.sleep(30);
  let seen = 0;
  if (iterated.state !== "done") for await (const _ of iterated) seen++;
  else seen = (await iterated).differences.length;
  expect(seen).toBe(4001);
});
