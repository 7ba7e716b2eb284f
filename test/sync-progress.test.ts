// What whoever watches a copy is told: how much there will be, as soon as it is known.

import { describe, expect, test } from "bun:test";
import { apply, copy, Runtime, sync, type Progress } from "../lib/index.ts";
import { patience } from "./patience.ts";
import { leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();
patience(60_000);

const scratch = scratchForEach();

/** Files of one size each, in several directories. */
function tree(count: number, size: number, letter = "x"): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`d${i % 7}/f${i}`, letter.repeat(size)]),
  );
}

describe("a tree that is copied", () => {
  test("has its total when everything is decided, and counts files that are there", async () => {
    const from = scratch.plant("from", { ...tree(150, 20_000), "d0/empty": "" });
    const seen: Progress[] = [];
    using runtime = new Runtime({ workers: 1, ioWorkers: 8 });
    const task = copy(from, scratch.at("to"), {
      runtime,
      bandwidth: 2 << 20, // both sides: three seconds
      onProgress: (now) => seen.push(now),
    });
    await task;
    expect(task.progress).toEqual({ files: 151, bytes: 3_000_000, totalBytes: 3_000_000 });
    const known = seen.filter(({ totalBytes }) => totalBytes !== undefined);
    expect(known.length).toBeGreaterThan(2);
    for (const { totalBytes, files, bytes } of known) {
      expect(totalBytes).toBe(3_000_000);
      // Those that are under way may be counted already, of one side.
      expect(Math.abs(bytes - files * 20_000)).toBeLessThanOrEqual(9 * 20_000);
    }
    // Known once, it stays so.
    expect(seen.slice(seen.indexOf(known[0]!))).toEqual(known);
  });

  test("waits with copying while it is decided, and says what is known so far", async () => {
    // Which directory comes first is nobody's affair: each has a new file.
    const added = Array.from({ length: 7 }, (_, i) => [`d${i}/new`, "n".repeat(5000)]);
    const from = scratch.plant("from", { ...tree(20, 10), ...Object.fromEntries(added) });
    const to = scratch.plant("to", tree(20, 10));
    const seen: Progress[] = [];
    // Each look at a content takes a while.
    const task = copy(`fault:delay=200:${from}`, to, {
      by: "content",
      concurrency: 2,
      onProgress: (now) => seen.push(now),
    });
    expect(await task).toMatchObject({ copied: 7, errors: 0 });
    const growing = seen.filter(({ plannedBytes }) => plannedBytes !== undefined);
    expect(growing.length).toBeGreaterThan(2);
    for (const { totalBytes } of growing) expect(totalBytes).toBeUndefined();
    // What was found waited while others were looked at.
    const found = growing.filter(({ plannedBytes }) => plannedBytes! >= 5000);
    expect(found[0]).toMatchObject({ bytes: 0 });
    expect(Math.max(...found.map(({ plannedBytes }) => plannedBytes!))).toBeGreaterThan(5000);
    expect(task.progress).toMatchObject({ files: 27, bytes: 35_000 });
    expect(task.progress.plannedBytes).toBeUndefined();
  });

  test("has a total without what failed", async () => {
    const from = scratch.plant("from", tree(30, 1000));
    scratch.plant("to", {});
    const seen: Progress[] = [];
    const task = copy(from, `fault:writer=4,code=DENIED:${scratch.at("to")}`, {
      bandwidth: 64 << 10,
      onProgress: (now) => seen.push(now),
    });
    expect(await task).toMatchObject({ copied: 29, errors: 1 });
    expect(task.progress).toMatchObject({ bytes: 29_000, totalBytes: 29_000 });
  });

  test("counts what is hashed to find moves, and not what is renamed", async () => {
    const from = scratch.plant("from", { "there/a": "a".repeat(40_000), "there/b": "new" });
    const to = scratch.plant("to", { "here/a": "a".repeat(40_000) });
    const task = sync(from, to, { by: "content", moves: true, onProgress: () => {} });
    expect(await task).toMatchObject({ renamed: 1, copied: 1, deleted: 1 });
    expect(task.progress.bytes).toBe(40_003); // of what is hashed one side counts
    expect([undefined, 40_003]).toContain(task.progress.totalBytes);
  });

  test("as an applied plan and both ways it is known from the beginning", async () => {
    const from = scratch.plant("from", tree(60, 10_000));
    const to = scratch.at("to");
    const plan = await sync(from, to, { dryRun: true });
    const seen: Progress[] = [];
    const options = { bandwidth: 1 << 19, onProgress: (now: Progress) => seen.push(now) };
    await apply(plan, options);
    expect(seen.length).toBeGreaterThan(2);
    for (const { totalBytes } of seen) expect(totalBytes).toBe(600_000);
    seen.length = 0;
    scratch.plant("to", tree(20, 5000, "changed"));
    const task = sync(from, to, {
      ...options,
      twoWay: { state: scratch.at("both.state") },
    });
    const { transferred } = await task;
    const last = seen.at(-1)!;
    expect(last.totalBytes! - transferred).toBe(0);
    expect(new Set(seen.map(({ totalBytes }) => totalBytes)).size).toBeLessThanOrEqual(2);
  });
});
