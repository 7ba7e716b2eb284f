// compare, the basics: compare.md 1.1 (functions), 1.3 (results), 1.4 (errors) and the first rows of 1.5 (behaviour).
// What is about options, names, links, special files, access, change, size, moves and metadata has a file of its own.

import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { relative } from "node:path";
import { pathToFileURL } from "node:url";
import { compare, CopseError, Store, type Comparison, type CompareOptions } from "../lib/index.ts";
import { groundsIn, link, pipe, Scratch, type Tree } from "./trees.ts";
import { codeOf, facts, leaveNothingOpen, ways } from "./ways.ts";

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
  readonly files?: number;
  readonly bytes?: number;
}

const chunk = 4096;
const long = Buffer.alloc(10 * chunk, "copse");
const with1 = (at: number, from: Uint8Array = long): Uint8Array => {
  const copy = Buffer.from(from);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
};

const cases: readonly Case[] = [
  { name: "1.1: two empty trees are equal", left: {}, right: {}, says: [], files: 0, bytes: 0 },
  {
    name: "1.1: equal trees are equal, and files and bytes are counted once",
    left: { a: "one", "b/c": "two22", "b/d/e": "" },
    right: { a: "one", "b/c": "two22", "b/d/e": "" },
    says: [],
    files: 3,
    bytes: 8,
  },
  {
    name: "1.1: rows of the awaited whole come sorted by path bytes",
    left: {
      "a/x": "1",
      "a-b": "1",
      "a.b": "1",
      a0: "1",
      é: "1",
      "\u{1f333}": "1",
      "\uff5e": "1",
      B: "1",
    },
    right: {},
    says: [
      "only-left file B",
      "only-left directory a",
      "only-left file a-b",
      "only-left file a.b",
      "only-left file a/x",
      "only-left file a0",
      "only-left file é",
      "only-left file \uff5e",
      "only-left file \u{1f333}",
    ],
  },
  {
    name: "1.3: every kind of difference has its row, and each path has one",
    left: { same: "s", gone: "g", size: "12", content: "abc", "dir/under": "u", type: "t" },
    right: { same: "s", come: "c", size: "123", content: "abd", "type/below": "not listed" },
    says: [
      "only-right file come",
      "differs content@2 content",
      "only-left directory dir",
      "only-left file dir/under",
      "only-left file gone",
      "differs size size",
      "differs type type",
    ],
  },
  {
    name: "1.3: what is below a one-sided directory has rows of its own",
    left: { "a/b/c/d": "1", "a/b/e/": "", "a/f": "2" },
    right: {},
    says: [
      "only-left directory a",
      "only-left directory a/b",
      "only-left directory a/b/c",
      "only-left file a/b/c/d",
      "only-left directory a/b/e",
      "only-left file a/f",
    ],
    files: 2,
  },
  {
    name: "2.10: a file x against a directory x is one row of reason type, and what is below is not listed",
    left: { x: "file", y: "1" },
    right: { "x/y": "1", "x/z/w": "2", y: "1" },
    says: ["differs type x"],
  },
  {
    name: "2.4: an empty directory on the left only is only-left, type directory",
    left: { "empty/": "", "both/": "" },
    right: { "both/": "" },
    says: ["only-left directory empty"],
  },
  ...[
    ["0 bytes", Buffer.alloc(0)],
    ["1 byte", Buffer.from("x")],
    ["an exact multiple of the chunk", long],
    ["one byte more than a chunk", long.subarray(0, chunk + 1)],
    ["one byte less than a chunk", long.subarray(0, chunk - 1)],
    ["many chunks and a rest", long.subarray(0, 9 * chunk + 7)],
    ["exactly the engine's first read", Buffer.alloc(256 * 1024, "x")],
    ["one byte more than the engine's first read", Buffer.alloc(256 * 1024 + 1, "x")],
    ["a megabyte", Buffer.alloc(1 << 20, "copse")],
  ].map(([what, content]): Case => ({
    name: `1.5: equal files of ${String(what)} are equal`,
    left: { f: content as Uint8Array },
    right: { f: content as Uint8Array },
    options: { chunkSize: chunk },
    says: [],
    files: 1,
    bytes: (content as Uint8Array).length,
  })),
  ...[
    ["first", 0],
    ["middle", long.length / 2],
    ["last", long.length - 1],
    ["last of the first chunk", chunk - 1],
    ["first of the second chunk", chunk],
  ].map(([what, at]): Case => ({
    name: `1.5: files that differ in the ${what} byte differ, with its offset`,
    left: { f: long },
    right: { f: with1(Number(at)) },
    options: { chunkSize: chunk },
    says: [`differs content@${at} f`],
  })),
  {
    name: "1.5: files whose size differs by 1 differ, either way round",
    left: { longer: long, shorter: long.subarray(1) },
    right: { longer: long.subarray(1), shorter: long },
    says: ["differs size longer", "differs size shorter"],
  },
  {
    name: "1.5: a file against an empty one differs, either way round",
    left: { full: "x", empty: "" },
    right: { full: "", empty: "x" },
    says: ["differs size empty", "differs size full"],
  },
  {
    name: "1.5: files that end beside the engine's read size and differ only there are told apart",
    left: { a: Buffer.alloc(256 * 1024, 1), b: Buffer.alloc(384 * 1024, 1) },
    right: {
      a: with1(256 * 1024 - 1, Buffer.alloc(256 * 1024, 1)),
      b: with1(256 * 1024, Buffer.alloc(384 * 1024, 1)),
    },
    says: [`differs content@${256 * 1024 - 1} a`, `differs content@${256 * 1024} b`],
  },
];

const mirror: Readonly<Record<string, string>> = {
  "only-left": "only-right",
  "only-right": "only-left",
};
const swapped = (says: readonly string[]): string[] =>
  says.map((fact) => fact.replace(/^only-(left|right)/, (kind) => mirror[kind] ?? kind));

for (const ground of [memory, file])
  describe(`compare.md, trees in ${ground.name}:`, () => {
    for (const { name, left, right, options, says, files, bytes } of cases)
      test(name, async () => {
        const [l, r] = [await ground.plant(left), await ground.plant(right)];
        for (const way of ways) {
          const answer = await way.compare(l, r, options);
          expect(facts(answer)).toEqual([...says]);
          if (files !== undefined) expect(answer.files).toBe(files);
          if (bytes !== undefined) expect(answer.bytes).toBe(bytes);
          // 1.1: swapping the sides swaps only-left and only-right and changes nothing else.
          expect(facts(await way.compare(r, l, options))).toEqual(swapped(says));
          // 1.1: the answer is the same for every concurrency.
          for (const concurrency of [1, 2, 8])
            expect(facts(await way.compare(l, r, { ...options, concurrency }))).toEqual([...says]);
        }
      });
  });

describe("compare.md, both grounds at once:", () => {
  test("1.1: every kind of location works on either side", async () => {
    const tree: Tree = { a: "1", "b/c": Buffer.alloc(300_000, "x"), d: "left" };
    const other: Tree = { ...tree, d: "fite", e: "new" };
    const says = ["differs content@0 d", "only-right file e"];
    for (const way of ways)
      for (const [left, right] of [
        [file, memory],
        [memory, file],
      ] as const) {
        const [l, r] = [await left.plant(tree), await right.plant(other)];
        expect(facts(await way.compare(l, await right.plant(tree)))).toEqual([]);
        expect(facts(await way.compare(l, r))).toEqual(says);
      }
  });

  test('1.1: a file is a tree with one entry, path ""', async () => {
    for (const ground of [file, memory]) {
      const root = await ground.plant({ a: "same", b: "same", c: "sane", d: "longer" });
      for (const way of ways) {
        expect(facts(await way.compare(`${root}/a`, `${root}/b`))).toEqual([]);
        const answer = await way.compare(`${root}/a`, `${root}/c`);
        expect(facts(answer)).toEqual(["differs content@2 "]);
        expect(answer.files).toBe(1);
        expect(facts(await way.compare(`${root}/a`, `${root}/d`))).toEqual(["differs size "]);
      }
    }
  });

  test('1.4: a directory against a file is a type difference at path ""', async () => {
    for (const ground of [file, memory]) {
      const root = await ground.plant({ "d/x": "1", f: "2" });
      for (const way of ways) {
        const answer = await way.compare(`${root}/d`, `${root}/f`);
        expect(facts(answer)).toEqual(["differs type "]);
        expect(answer.differences).toMatchObject([
          { left: { path: "", type: "directory" }, right: { path: "", type: "file", size: 1 } },
        ]);
        expect(facts(await way.compare(`${root}/f`, `${root}/d`))).toEqual(["differs type "]);
      }
    }
  });

  test("1.3: rows carry what is known of each side", async () => {
    const left = scratch.plant("known-left", { f: "12345", "only/": "", l: link("there") });
    const right = scratch.plant("known-right", { f: "123456", l: link("elsewhere") });
    chmodSync(`${left}/f`, 0o640);
    chmodSync(`${left}/only`, 0o750);
    for (const way of ways) {
      const { differences } = await way.compare(left, right);
      expect(differences).toMatchObject([
        {
          kind: "differs",
          path: "f",
          reason: "size",
          left: { path: "f", type: "file", size: 5, mode: 0o640, mtime: expect.any(Date) },
          right: { path: "f", type: "file", size: 6 },
        },
        {
          kind: "differs",
          path: "l",
          reason: "target",
          left: { path: "l", type: "link", target: "there", size: 5 },
          right: { path: "l", type: "link", target: "elsewhere", size: 9 },
        },
        { kind: "only-left", path: "only", left: { path: "only", type: "directory", mode: 0o750 } },
      ]);
      expect(differences[0]).not.toHaveProperty("offset");
      expect(differences[2]).not.toHaveProperty("right");
    }
  });
});

describe("compare.md, the same place twice:", () => {
  const same = (answer: Comparison): void => {
    expect(facts(answer)).toEqual([]);
    expect(answer).toMatchObject({ equal: true, complete: true, files: 2, bytes: 0 });
  };

  test("1.5: the same real path on both sides is equal and not read: itself, by link, by slash, by relative form, by URL", async () => {
    const root = scratch.plant("twice", { "d/a": "1", "d/b/c": "2" });
    const other = scratch.plant("twice-links", { l: link(`${root}/d`) });
    const forms = [
      `${root}/d`,
      `${root}/d/`,
      `${root}/d/./b/..`,
      `${other}/l`,
      relative(process.cwd(), `${root}/d`),
      pathToFileURL(`${root}/d`),
      pathToFileURL(`${root}/d`).href,
      { url: pathToFileURL(`${root}/d`) },
    ];
    for (const way of ways)
      for (const form of forms) {
        same(await way.compare(`${root}/d`, form));
        same(await way.compare(form, `${root}/d`));
      }
  });

  test("1.5: a file against itself, its hard link and a link to it is equal and not read", async () => {
    const root = scratch.plant("itself", {
      a: Buffer.alloc(500_000, 1),
      h: { kind: "hard", target: "a" },
      l: link("a"),
    });
    for (const way of ways)
      for (const other of ["a", "h", "l"]) {
        const answer = await way.compare(`${root}/a`, `${root}/${other}`);
        expect(facts(answer)).toEqual([]);
        expect(answer).toMatchObject({ equal: true, complete: true, files: 1, bytes: 0 });
      }
  });

  test("1.5: the same device and inode for a pair in two trees is equal", async () => {
    const big = Buffer.alloc(3 << 20, 7);
    const left = scratch.plant("pair-left", { big, small: "s" });
    const right = scratch.plant("pair-right", {
      big: { kind: "hard", target: "../pair-left/big" },
      small: { kind: "hard", target: "../pair-left/small" },
    });
    for (const way of ways) {
      const answer = await way.compare(left, right);
      expect(facts(answer)).toEqual([]);
      // A large file is not read to its end; for a small one looking is dearer than reading.
      expect(answer.bytes).toBeLessThan(1 << 20);
    }
  });

  test("1.5: a tree in memory against itself is equal and not read", async () => {
    const location = await memory.plant({ "d/a": "1", "d/b/c": "2" });
    for (const way of ways) same(await way.compare(location, location));
  });
});

describe("compare.md 1.4, errors:", () => {
  test("a root that is missing: NOT_FOUND, on either side and on both", async () => {
    const here = scratch.plant("here", { a: "1" });
    const inMemory = await memory.plant({ a: "1" });
    for (const way of ways)
      for (const [left, right] of [
        [scratch.at("missing"), here],
        [here, scratch.at("missing")],
        [scratch.at("missing"), scratch.at("missing")],
        [inMemory, "memory:never-made"],
        [`${here}/a/below-a-file`, here],
      ] as const)
        expect(await codeOf(way.compare(left, right))).toBe("NOT_FOUND");
  });

  test("the error names the location, the errno and what to do", async () => {
    const here = scratch.plant("named", {});
    const missing = scratch.at("no-such-tree");
    for (const way of ways) {
      const error = await way.compare(here, missing).catch((error: unknown) => error);
      expect(error).toBeInstanceOf(CopseError);
      expect(error).toMatchObject({ code: "NOT_FOUND", location: missing, errno: "ENOENT" });
      expect((error as CopseError).message).toContain("no-such-tree");
    }
  });

  test("a root that is a special file: UNSUPPORTED, and it is not opened", async () => {
    const root = scratch.plant("special-root", { p: pipe, "d/a": "1" });
    const server = Bun.listen({ unix: scratch.at("special-root", "s"), socket: { data() {} } });
    for (const way of ways)
      for (const special of [`${root}/p`, `${root}/s`, "/dev/null"]) {
        expect(await codeOf(way.compare(special, `${root}/d`))).toBe("UNSUPPORTED");
        expect(await codeOf(way.compare(`${root}/d`, special))).toBe("UNSUPPORTED");
        expect(await codeOf(way.compare(special, special))).toBe("UNSUPPORTED");
      }
    server.stop();
  });

  test("a bad argument: ARGUMENT; a scheme that is not built: UNSUPPORTED naming it", async () => {
    const here = scratch.plant("arguments", {});
    for (const way of ways) {
      const rejected = async (left: string, right: string): Promise<string> =>
        await codeOf(Promise.resolve().then(() => way.compare(left, right)));
      expect(await rejected("", here)).toBe("ARGUMENT");
      expect(await rejected(here, "")).toBe("ARGUMENT");
      expect(await rejected(`${here}\0`, here)).toBe("ARGUMENT");
      expect(await rejected("s3://bucket/a", here)).toBe("UNSUPPORTED");
      const error = await Promise.resolve()
        .then(() => way.compare("s3://bucket/key", here))
        .catch((error: unknown) => error);
      expect(String(error)).toContain("s3");
    }
  });

  test("a time limit that is over: TIMEOUT; a signal: its own reason", async () => {
    const tree: Tree = { f: Buffer.alloc(600_000, 1), g: Buffer.alloc(600_000, 1) };
    const slow = `fault:delay=60000:${await file.plant(tree)}`;
    const right = await file.plant(tree);
    for (const way of ways)
      expect(await codeOf(way.compare(slow, right, { timeout: 30 }))).toBe("TIMEOUT");
    const controller = new AbortController();
    const task = compare(slow, right, { signal: controller.signal });
    const reason = new Error("enough");
    controller.abort(reason);
    expect(
      await task.then(
        () => "settled",
        (error: unknown) => error,
      ),
    ).toBe(reason);
  });

  test("1.3: an error never becomes equal, and the first does not hide the rest", async () => {
    const tree: Tree = { a: "1", b: "2", c: "3", d: "4" };
    const left = await file.plant(tree);
    const right = await file.plant({ ...tree, d: "5" });
    for (const way of ways) {
      // Each side's open calls fail from the first on: every file has an error row, and nothing is called equal.
      const answer = await way.compare(`fault:open=1,sticky:${left}`, right);
      expect(facts(answer)).toEqual(["error IO a", "error IO b", "error IO c", "error IO d"]);
      expect(answer).toMatchObject({ equal: false, complete: false, errors: 4 });
      const one = await way.compare(`fault:open=1:${left}`, right, { concurrency: 1 });
      expect(one).toMatchObject({ equal: false, complete: false, errors: 1 });
      expect(facts(one)).toContain("differs content@0 d");
    }
  });

  test("1.3: two sides that fail are two rows, told apart by error.location", async () => {
    const left = await file.plant({ a: "1", b: "2" });
    const right = await file.plant({ a: "1", b: "2" });
    for (const way of ways) {
      const answer = await way.compare(
        `fault:open=1:${left}`,
        `fault:open=1,code=DENIED:${right}`,
        { concurrency: 1 },
      );
      expect(facts(answer).toSorted()).toEqual(["error DENIED a", "error IO a"]);
      const places = answer.differences.map((row) =>
        row.kind === "error" ? row.error.location : "",
      );
      expect(places.toSorted()).toEqual([
        `fault:open=1,code=DENIED:${right}`,
        `fault:open=1:${left}`,
      ]);
      for (const row of answer.differences)
        if (row.kind === "error") expect(row.error.path).toBe("a");
    }
  });
});

describe("compare.md 1.5, two tasks:", () => {
  test("many compares at once give their own answers", async () => {
    const trees = await Promise.all(
      Array.from({ length: 20 }, (_, i) => file.plant({ same: "s", [`own-${i}`]: `${i}` })),
    );
    const first = trees[0] ?? "";
    const answers = await Promise.all(trees.map(async (tree) => facts(await compare(first, tree))));
    for (const [i, says] of answers.entries())
      expect(says).toEqual(i === 0 ? [] : ["only-left file own-0", `only-right file own-${i}`]);
  });

  test("a tree that is written between two compares is seen as it is then", async () => {
    const [left, right] = [await memory.plant({ a: "1" }), await memory.plant({ a: "1" })];
    await using store = new Store(right);
    for (const way of ways) {
      await store.write("a", "1");
      expect(facts(await way.compare(left, right))).toEqual([]);
      await store.write("a", "2");
      expect(facts(await way.compare(left, right))).toEqual(["differs content@0 a"]);
    }
  });
});
