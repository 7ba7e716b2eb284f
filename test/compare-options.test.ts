// compare: what every local option of compare.md 1.2 does.

import { afterAll, describe, expect, test } from "bun:test";
import { utimesSync } from "node:fs";
import { compare, compareSync, Runtime, type CompareOptions } from "../lib/index.ts";
import { groundsIn, link, Scratch, type Tree } from "./trees.ts";
import { facts, leaveNothingOpen, ways } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);
const grounds = [memory, file];

const mega = 1 << 20;

function changedAt(at: number, size: number): Uint8Array {
  const bytes = Buffer.alloc(size, 3);
  bytes[at] = 4;
  return bytes;
}

describe("compare.md 1.2:", () => {
  test("chunkSize never changes an answer", async () => {
    const content = Buffer.alloc(700_001, "chunks");
    const left: Tree = { same: content, empty: "", small: "abc", late: content };
    const late = Buffer.from(content);
    late[699_999] = 0;
    const right: Tree = { same: content, empty: "", small: "abd", late };
    const says = ["differs content@699999 late", "differs content@2 small"];
    for (const ground of grounds) {
      const [l, r] = [await ground.plant(left), await ground.plant(right)];
      for (const way of ways)
        for (const chunkSize of [4095, 4096, 65_536, 131_072, 262_144, 700_001, mega, 2 ** 30])
          expect(facts(await way.compare(l, r, { chunkSize }))).toEqual(says);
    }
    const [l, r] = [
      await memory.plant({ a: "12345", b: "12345" }),
      await memory.plant({ a: "12345", b: "12346" }),
    ];
    for (const chunkSize of [1, 2, 3, 4, 5, 6])
      expect(facts(compareSync(l, r, { chunkSize }))).toEqual(["differs content@4 b"]);
  });

  test("sizeCheck: unequal sizes are a difference without reading; without it the reason is content, with an offset", async () => {
    const long = Buffer.alloc(600_000, 5);
    const left: Tree = { head: long, early: changedAt(300_000, 600_000), short: "ab", none: "" };
    const right: Tree = {
      head: long.subarray(0, 500_000),
      early: Buffer.alloc(400_000, 3),
      short: "abc",
      none: "x",
    };
    const sizes = [
      "differs size early",
      "differs size head",
      "differs size none",
      "differs size short",
    ];
    const contents = [
      "differs content@300000 early",
      "differs content@500000 head",
      "differs content@0 none",
      "differs content@2 short",
    ];
    for (const ground of grounds) {
      const [l, r] = [await ground.plant(left), await ground.plant(right)];
      for (const way of ways) {
        expect(facts(await way.compare(l, r))).toEqual(sizes);
        for (const chunkSize of [2 ** 18, 1000]) {
          expect(facts(await way.compare(l, r, { sizeCheck: false, chunkSize }))).toEqual(contents);
          expect(facts(await way.compare(r, l, { sizeCheck: false, chunkSize }))).toEqual(contents);
        }
      }
    }
  });

  test("sample never changes an answer; with stopAtFirst it finds a late difference without reading everything", async () => {
    const size = 3 * mega;
    for (const ground of grounds) {
      const l = await ground.plant({ f: Buffer.alloc(size, 3) });
      for (const at of [0, 5, size / 4, size / 2, (size * 3) / 4, size - 1, (size * 0.37) | 0]) {
        const r = await ground.plant({ f: changedAt(at, size) });
        for (const way of ways)
          for (const sample of [true, false]) {
            expect(facts(await way.compare(l, r, { sample }))).toEqual([`differs content@${at} f`]);
            const first = await way.compare(l, r, { sample, stopAtFirst: true });
            expect(first).toMatchObject({
              equal: false,
              differences: [{ kind: "differs", reason: "content", path: "f" }],
            });
            const [row] = first.differences;
            if (row?.kind === "differs" && row.offset !== undefined) expect(row.offset).toBe(at);
            if (sample && at === size - 1) expect(first.bytes).toBeLessThan(mega);
          }
      }
      const same = await ground.plant({ f: Buffer.alloc(size, 3) });
      for (const way of ways) {
        const answer = await way.compare(l, same, { stopAtFirst: true });
        expect(answer).toMatchObject({ equal: true, complete: true, differences: [] });
      }
    }
  });

  test("stopAtFirst gives exactly one difference and says that it is not complete", async () => {
    const many: Record<string, string> = {};
    for (let i = 0; i < 300; i++) many[`d${i % 10}/f${i}`] = `${i}`;
    const none = await file.plant({});
    for (const ground of grounds) {
      const l = await ground.plant(many);
      const r = await ground.plant(
        Object.fromEntries(Object.entries(many).map(([path, text]) => [path, `${text}!`])),
      );
      const empty = await ground.plant({});
      for (const way of ways)
        for (const [left, right] of [
          [l, r],
          [l, empty],
          [empty, r],
          [l, none],
        ] as const)
          for (const more of [
            {},
            { concurrency: 1 },
            { by: "hash" },
            { moves: true },
          ] satisfies CompareOptions[]) {
            const answer = await way.compare(left, right, { stopAtFirst: true, ...more });
            expect(facts(answer)).toHaveLength(1);
            expect(answer).toMatchObject({ equal: false, complete: false, errors: 0 });
          }
    }
  });

  test("stopAtFirst that stops in the midst of other files leaves no error rows behind", async () => {
    // Files that take several reads are being read when another job finds the difference.
    const left: Record<string, Uint8Array> = {};
    for (let i = 0; i < 20; i++) left[`f${i}`] = Buffer.alloc(3 * mega, 3);
    const right = { ...left, f10: changedAt(2 * mega, 3 * mega) };
    const [l, r] = [await file.plant(left), await file.plant(right)];
    for (let round = 0; round < 10; round++) {
      const answer = await compare(l, r, { stopAtFirst: true, sample: false });
      expect(facts(answer)).toEqual([expect.stringContaining("differs content")]);
    }
  });

  test("by: hash says the same as by: content, and fills in the digests", async () => {
    const left: Tree = {
      same: "s",
      empty: "",
      a: "abc",
      size: "1",
      "d/deep": Buffer.alloc(300_000, 1),
      big: Buffer.alloc(17 * mega, 1),
    };
    const right: Tree = {
      same: "s",
      empty: "",
      a: "abd",
      size: "12",
      "d/deep": Buffer.alloc(300_000, 1),
      big: changedAt(9 * mega, 17 * mega),
    };
    for (const ground of grounds) {
      const [l, r] = [await ground.plant(left), await ground.plant(right)];
      for (const way of ways) {
        expect(await way.compare(l, await ground.plant(left), { by: "hash" })).toMatchObject({
          equal: true,
          complete: true,
          files: 6,
        });
        const answer = await way.compare(l, r, { by: "hash" });
        facts(answer);
        expect(answer.differences).toMatchObject([
          { kind: "differs", path: "a", reason: "content" },
          { kind: "differs", path: "big", reason: "content" },
          { kind: "differs", path: "size" },
        ]);
        const [row] = answer.differences;
        if (row?.kind !== "differs") throw new Error("no row");
        // BLAKE3 of "abc", from its authors' test vectors and b3sum.
        expect(row.left.hash).toBe(
          "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
        );
        expect(row.right.hash).toMatch(/^[0-9a-f]{64}$/);
        expect(row.right.hash).not.toBe(row.left.hash);
      }
    }
  });

  test("by: hash counts bytes as by: content does, one side", async () => {
    const tree: Tree = { a: "12345", b: Buffer.alloc(300_000, 1) };
    const [l, r] = [await memory.plant(tree), await memory.plant(tree)];
    for (const way of ways)
      for (const by of ["content", "hash"] as const)
        expect(await way.compare(l, r, { by })).toMatchObject({
          equal: true,
          bytes: 300_005,
          files: 2,
        });
  });

  test("2.22: by: hash is not slower than by: content: what is equal is read as there, in blocks", async () => {
    const tree: Tree = { big: Buffer.alloc(40 * mega, 1), small: "1" };
    const [l, r] = [scratch.plant("hash-left", tree), scratch.plant("hash-right", tree)];
    const stepsOf = async (options: CompareOptions): Promise<number> => {
      await using runtime = new Runtime();
      expect((await compare(l, r, { ...options, runtime })).equal).toBe(true);
      return runtime.stats.steps;
    };
    // A worker that hashes a large file does it in one step; five blocks are five and more.
    const steps = await stepsOf({ by: "content" });
    expect(steps).toBeGreaterThan(5);
    expect(Math.abs((await stepsOf({ by: "hash" })) - steps)).toBeLessThanOrEqual(2);
  });

  test("by: hash counts the bytes of what differs once, though it is looked at twice", async () => {
    for (const ground of grounds) {
      const l = await ground.plant({ a: "abc", b: Buffer.alloc(300_000, 1) });
      const r = await ground.plant({ a: "abd", b: changedAt(250_000, 300_000) });
      for (const way of ways) {
        const answer = await way.compare(l, r, { by: "hash" });
        expect(answer).toMatchObject({ bytes: 300_003, files: 2 });
        expect(answer.differences.map((row) => "left" in row && row.left.hash?.length)).toEqual([
          64, 64,
        ]);
      }
    }
  });

  test("by: stat reads nothing: size first, then mtime", async () => {
    const tree: Tree = { same: "12345", size: "12", old: "1", content: "abc", l: link("t") };
    const left = scratch.plant("stat-left", tree);
    const right = scratch.plant("stat-right", {
      ...tree,
      size: "123",
      content: "abd",
      l: link("u"),
    });
    const then = new Date("2001-02-03T04:05:06.789Z");
    for (const root of [left, right])
      for (const name of ["same", "size", "content", "old"])
        utimesSync(`${root}/${name}`, then, then);
    utimesSync(`${right}/old`, then, new Date("2001-02-03T04:05:06.790Z"));
    for (const way of ways) {
      // What is the same size and time is taken for equal, and never opened.
      const answer = await way.compare(
        `fault:open=1,sticky:${left}`,
        `fault:open=1,sticky:${right}`,
        { by: "stat" },
      );
      expect(facts(answer)).toEqual(["differs target l", "differs mtime old", "differs size size"]);
      expect(answer).toMatchObject({ bytes: 0, files: 4, errors: 0 });
    }
  });

  test("include and exclude are applied before anything is read or entered", async () => {
    const left: Tree = {
      "src/a.ts": "1",
      "src/a.js": "1",
      "src/deep/b.ts": "1",
      "node_modules/p/i.ts": "1",
      "build/out.ts": "1",
      "x.ts": "1",
    };
    const right: Tree = {
      "src/a.ts": "2",
      "src/a.js": "2",
      "src/deep/b.ts": "2",
      "node_modules/p/i.ts": "2",
      "build/out.ts": "2",
      "x.ts": "2",
    };
    const differs = (...paths: string[]): string[] =>
      paths.map((path) => `differs content@0 ${path}`);
    const table: readonly [CompareOptions, readonly string[]][] = [
      [
        { include: ["*.ts"] },
        differs("build/out.ts", "node_modules/p/i.ts", "src/a.ts", "src/deep/b.ts", "x.ts"),
      ],
      [
        { include: ["*.ts"], exclude: ["node_modules", "build"] },
        differs("src/a.ts", "src/deep/b.ts", "x.ts"),
      ],
      [{ include: ["src/**"] }, differs("src/a.js", "src/a.ts", "src/deep/b.ts")],
      [{ include: ["src"] }, differs("src/a.js", "src/a.ts", "src/deep/b.ts")],
      [{ include: ["src"], exclude: ["src/deep/"] }, differs("src/a.js", "src/a.ts")],
      [{ include: ["src/*"] }, differs("src/a.js", "src/a.ts", "src/deep/b.ts")],
      [{ include: ["src/*.ts"] }, differs("src/a.ts")],
      [{ include: ["/x.ts"] }, differs("x.ts")],
      [{ include: ["**/deep/*"] }, differs("src/deep/b.ts")],
      [{ exclude: ["*.ts"] }, differs("src/a.js")],
      [{ exclude: ["*.{ts,js}"] }, []],
      [{ exclude: ["src", "**/p"] }, differs("build/out.ts", "x.ts")],
      [{ include: ["*.rs"] }, []],
      [{ exclude: ["**"] }, []],
      [{ include: ["*.ts"], exclude: ["*.ts"] }, []],
      [
        { exclude: [] },
        differs(
          "build/out.ts",
          "node_modules/p/i.ts",
          "src/a.js",
          "src/a.ts",
          "src/deep/b.ts",
          "x.ts",
        ),
      ],
    ];
    for (const ground of grounds) {
      const [l, r] = [await ground.plant(left), await ground.plant(right)];
      for (const way of ways)
        for (const [options, says] of table)
          expect(facts(await way.compare(l, r, options))).toEqual([...says]);
    }
    // Excluded directories are not entered: the only directory below the root would fail.
    const [l, r] = [await file.plant({ "skipped/a": "1", b: "1" }), await file.plant({ b: "1" })];
    for (const way of ways)
      expect(
        facts(await way.compare(`fault:enter=1,sticky:${l}`, r, { exclude: ["skipped"] })),
      ).toEqual([]);
  });

  test("a one-sided directory that no include names gets no row, but is entered", async () => {
    const l = await file.plant({ "a/b/c.ts": "1", "a/b/c.js": "1", "a/empty/": "" });
    const r = await file.plant({});
    for (const way of ways)
      for (const emptyDirectories of [true, false]) {
        expect(facts(await way.compare(l, r, { include: ["*.ts"], emptyDirectories }))).toEqual([
          "only-left file a/b/c.ts",
        ]);
        expect(facts(await way.compare(l, r, { include: ["b"], emptyDirectories }))).toEqual([
          "only-left directory a/b",
          "only-left file a/b/c.js",
          "only-left file a/b/c.ts",
        ]);
      }
  });

  test("a rule that holds for one side of a pair only hides that side only", async () => {
    const [l, r] = [
      await file.plant({ "x/a.ts": "1", "x/b.js": "1" }),
      await file.plant({ x: "file" }),
    ];
    const table: readonly [CompareOptions, readonly string[]][] = [
      [{}, ["differs type x"]],
      // The directory is no part of its tree, the file is.
      [{ exclude: ["x/"] }, ["only-right file x"]],
      // The file is none, and what is in the directory is.
      [{ include: ["*.ts"] }, ["only-left file x/a.ts"]],
      [
        { include: ["x/"] },
        ["only-left directory x", "only-left file x/a.ts", "only-left file x/b.js"],
      ],
      [{ include: ["x"] }, ["differs type x"]],
      [{ exclude: ["x"] }, []],
      [{ include: ["*.rs"] }, []],
    ];
    const mirrored: Readonly<Record<string, string>> = { left: "right", right: "left" };
    for (const way of ways)
      for (const [options, says] of table) {
        expect(facts(await way.compare(l, r, options))).toEqual([...says]);
        expect(facts(await way.compare(r, l, options))).toEqual(
          says.map((fact) => fact.replace(/left|right/, (side) => mirrored[side] ?? side)),
        );
      }
  });

  test("emptyDirectories: false leaves out one-sided directories that hold nothing", async () => {
    const left: Tree = { "empty/": "", "full/a": "1", "full/empty/": "", "both/": "" };
    const right: Tree = { "both/under/": "" };
    for (const ground of grounds) {
      const [l, r] = [await ground.plant(left), await ground.plant(right)];
      for (const way of ways) {
        expect(facts(await way.compare(l, r, { emptyDirectories: false }))).toEqual([
          "only-left directory full",
          "only-left file full/a",
        ]);
        expect(facts(await way.compare(l, r, { emptyDirectories: true }))).toEqual([
          "only-right directory both/under",
          "only-left directory empty",
          "only-left directory full",
          "only-left file full/a",
          "only-left directory full/empty",
        ]);
      }
    }
  });

  test("concurrency from 0 to 256 gives the same rows", async () => {
    const left: Record<string, string> = {};
    for (let i = 0; i < 500; i++) left[`d${i % 7}/e${i % 5}/f${i}`] = "x".repeat(i);
    const right = Object.fromEntries(
      Object.entries(left).map(([path, text], i) => [
        i % 11 === 0 ? `${path}.new` : path,
        i % 13 === 0 ? `${text}y` : text,
      ]),
    );
    const [l, r] = [await file.plant(left), await file.plant(right)];
    const says = facts(compareSync(l, r));
    expect(says.length).toBeGreaterThan(100);
    for (const way of ways)
      for (const concurrency of [0, 1, 2, 3, 8, 64, 256])
        expect(facts(await way.compare(l, r, { concurrency }))).toEqual(says);
  });

  test("priority and onProgress change nothing of the answer", async () => {
    const tree: Tree = { a: "1", "b/c": "2" };
    const [l, r] = [await memory.plant(tree), await memory.plant({ ...tree, a: "2" })];
    for (const way of ways)
      for (const priority of ["high", "normal", "low"] as const)
        expect(facts(await way.compare(l, r, { priority, onProgress: () => {} }))).toEqual([
          "differs content@0 a",
        ]);
  });
});
