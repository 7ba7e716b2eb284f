// compare: files that only changed their place (issue 3, Must 9; compare.md 6.2).

import { afterAll, describe, expect, test } from "bun:test";
import type { CompareOptions } from "../lib/index.ts";
import { groundsIn, hard, link, pipe, Scratch, type Tree } from "./trees.ts";
import { facts, leaveNothingOpen, ways } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);

interface Case {
  readonly name: string;
  readonly left: Tree;
  readonly right: Tree;
  readonly options?: CompareOptions;
  readonly says: readonly string[];
  readonly onlyOnDisk?: boolean;
}

const big = Buffer.alloc(300_000, "moved");
const bigger = Buffer.alloc(20 << 20, "moved");
const nearly = Buffer.from(big);
nearly[299_999] = 0;

const cases: readonly Case[] = [
  {
    name: "an only-left and an only-right file of the same content are one row",
    left: { a: "content" },
    right: { b: "content" },
    says: ["moved a to b"],
  },
  {
    name: "across directories, which stay one-sided themselves",
    left: { "old/deep/name": "content", kept: "1" },
    right: { "new/name": "content", kept: "1" },
    says: [
      "only-right directory new",
      "moved old/deep/name to new/name",
      "only-left directory old",
      "only-left directory old/deep",
    ],
  },
  {
    name: "the same size with other content is no move",
    left: { a: "12345" },
    right: { b: "12346" },
    says: ["only-left file a", "only-right file b"],
  },
  {
    name: "content that differs late is no move",
    left: { a: big },
    right: { b: nearly },
    says: ["only-left file a", "only-right file b"],
  },
  {
    name: "large files move too",
    left: { a: bigger, b: big },
    right: { "d/a": bigger, c: big },
    says: ["moved b to c", "only-right directory d", "moved a to d/a"],
  },
  {
    name: "content that is there twice on one side is unclear, and stays as it is",
    left: { a: "twice", b: "twice", c: "once" },
    right: { x: "twice", y: "once" },
    says: ["only-left file a", "only-left file b", "only-right file x", "moved c to y"],
  },
  {
    name: "content that is there twice on both sides stays as it is",
    left: { a: "twice", b: "twice" },
    right: { x: "twice", y: "twice" },
    says: ["only-left file a", "only-left file b", "only-right file x", "only-right file y"],
  },
  {
    name: "a file that is on both sides is no candidate, whatever its content",
    left: { same: "content", a: "content" },
    right: { same: "content", b: "content", c: "other" },
    says: ["moved a to b", "only-right file c"],
  },
  {
    name: "an empty file that is alone on each side is a move like any other",
    left: { a: "" },
    right: { b: "" },
    says: ["moved a to b"],
  },
  {
    name: "a file that differs in its place is a difference, not a move",
    left: { a: "1", b: "2" },
    right: { a: "2", c: "1" },
    says: ["differs content@0 a", "only-left file b", "only-right file c"],
  },
  { name: "nothing one-sided, nothing to do", left: { a: "1" }, right: { a: "1" }, says: [] },
  {
    name: "one-sided on one side only",
    left: { a: "1", b: "1" },
    right: { a: "1" },
    says: ["only-left file b"],
  },
  {
    name: "include and exclude bound what can move",
    left: { "a.ts": "content", "b.js": "other" },
    right: { "c.ts": "content", "d.js": "other" },
    options: { include: ["*.ts"] },
    says: ["moved a.ts to c.ts"],
  },
  {
    name: "links, pipes and directories do not move",
    left: { l: link("x"), p: pipe, "d/": "", f: "content" },
    right: { m: link("x"), q: pipe, "e/": "", g: "content" },
    says: [
      "only-left directory d",
      "only-right directory e",
      "moved f to g",
      "only-left link l",
      "only-right link m",
      "only-left other p",
      "only-right other q",
    ],
    onlyOnDisk: true,
  },
  {
    name: "two names of one file are there twice",
    left: { a: "content", b: hard("a") },
    right: { c: "content" },
    says: ["only-left file a", "only-left file b", "only-right file c"],
    onlyOnDisk: true,
  },
  {
    name: "a file that became a directory is a type difference, and what is in the directory is no candidate",
    left: { x: "content" },
    right: { "x/y": "content" },
    says: ["differs type x"],
  },
];

describe("compare.md 6.2, moves:", () => {
  for (const { name, left, right, options, says, onlyOnDisk } of cases)
    test(name, async () => {
      for (const ground of onlyOnDisk ? [file] : [memory, file]) {
        const [l, r] = [await ground.plant(left), await ground.plant(right)];
        for (const way of ways)
          for (const more of [{}, { concurrency: 1 }, { by: "hash" } as const]) {
            if (more.by === "hash" && says.some((fact) => fact.startsWith("differs content@")))
              continue;
            const answer = await way.compare(l, r, { ...options, ...more, moves: true });
            expect(facts(answer)).toEqual([...says]);
            expect(answer.complete).toBe(true);
          }
      }
    });

  test("a move has both entries: from on the left, path on the right", async () => {
    const [l, r] = [await file.plant({ "d/a": "content" }), await file.plant({ "d/b": "content" })];
    for (const way of ways) {
      const answer = await way.compare(l, r, { moves: true });
      expect(answer.differences).toMatchObject([
        {
          kind: "moved",
          path: "d/b",
          from: "d/a",
          left: { path: "d/a", type: "file", size: 7, mode: 0o644, mtime: expect.any(Date) },
          right: { path: "d/b", type: "file", size: 7, mode: 0o644, mtime: expect.any(Date) },
        },
      ]);
      expect(answer.files).toBe(2);
    }
  });

  test("only candidates whose size is on both sides are read", async () => {
    const l = await file.plant({ a: "1", b: "22", c: "4444" });
    const r = await file.plant({ d: "333", e: "55555", f: "4444" });
    for (const way of ways) {
      const answer = await way.compare(`fault:open=2:${l}`, `fault:open=2:${r}`, { moves: true });
      expect(facts(answer)).toEqual([
        "only-left file a",
        "only-left file b",
        "only-right file d",
        "only-right file e",
        "moved c to f",
      ]);
    }
  });

  test("many moves at once, each to its own place", async () => {
    const left: Record<string, string> = {};
    const right: Record<string, string> = {};
    for (let i = 0; i < 2000; i++) {
      left[`before/${i % 13}/${i}`] = `content ${i}`;
      right[`after/${i % 7}/${i}`] = `content ${i}`;
    }
    const [l, r] = [await file.plant(left), await file.plant(right)];
    for (const way of ways) {
      const { differences, complete } = await way.compare(l, r, { moves: true });
      const moves = differences.flatMap((row) =>
        row.kind === "moved" ? [`${row.from} ${row.path}`] : [],
      );
      expect(moves.toSorted()).toEqual(
        Array.from(
          { length: 2000 },
          (_, i) => `before/${i % 13}/${i} after/${i % 7}/${i}`,
        ).toSorted(),
      );
      expect(differences).toHaveLength(2000 + 14 + 8);
      expect(complete).toBe(true);
    }
  });
});
