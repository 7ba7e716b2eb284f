// list: every entry of a tree, or a file's own; the same rules for links, names, limits and errors as compare.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, lstatSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { CopseError, list, listSync, Store, type Entry, type Options } from "../lib/index.ts";
import { isSanitized, someSeed } from "./patience.ts";
import {
  asTree,
  device,
  groundsIn,
  hard,
  isRoot,
  link,
  pipe,
  plantDeep,
  quickFolder,
  Random,
  randomTree,
  run,
  Scratch,
  type Tree,
} from "./trees.ts";
import { codeOf, leaveNothingOpen, ways } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);

const short = (entries: readonly Entry[]): string[] =>
  entries.map(({ type, path }) => `${type} ${path}`);

const tree: Tree = {
  a: "1",
  "b/c": "22",
  "b/d/e": "333",
  "b/empty/": "",
  ".hidden": "",
  "b-c": "x",
  z: "",
};
const whole = [
  "file .hidden",
  "file a",
  "directory b",
  "file b-c",
  "file b/c",
  "directory b/d",
  "file b/d/e",
  "directory b/empty",
  "file z",
];

for (const ground of [memory, file])
  describe(`list, a tree in ${ground.name}:`, () => {
    let root = "";
    beforeAll(async () => {
      root = await ground.plant(tree);
    });

    test("every entry below the root, sorted by path bytes, the root itself left out", async () => {
      for (const way of ways) {
        const found = await way.list(root);
        expect(short(found)).toEqual(whole);
        expect(found.errors).toEqual([]);
        expect(found.complete).toBe(true);
      }
    });

    test("sizes, times and modes are those of the entries", async () => {
      for (const way of ways) {
        const found = new Map((await way.list(root)).map((entry) => [entry.path, entry]));
        expect(found.get("b/d/e")).toMatchObject({ path: "b/d/e", type: "file", size: 3 });
        expect(found.get("z")).toMatchObject({ size: 0 });
        expect(found.get("b/c")?.mode).toBe(0o644);
        for (const entry of found.values()) {
          expect(entry).not.toHaveProperty("pathBytes");
          expect(entry).not.toHaveProperty("target");
          expect(Math.abs(Date.now() - (entry.mtime?.getTime() ?? 0))).toBeLessThan(600_000);
        }
      }
    });

    test("an empty tree has no entries", async () => {
      const empty = await ground.plant({});
      for (const way of ways) {
        const found = await way.list(empty);
        expect(found).toHaveLength(0);
        expect(found.complete).toBe(true);
      }
    });

    test('a root that is a file is one entry with the path ""', async () => {
      for (const way of ways) {
        const found = await way.list(`${root}/b/d/e`);
        expect(short(found)).toEqual(["file "]);
        expect(found[0]).toMatchObject({ size: 3 });
      }
    });

    test("include and exclude", async () => {
      const table: readonly [Options, readonly string[]][] = [
        [
          { include: ["?"] },
          [
            "file a",
            "directory b",
            "file b/c",
            "directory b/d",
            "file b/d/e",
            "directory b/empty",
            "file z",
          ],
        ],
        [{ include: ["e"] }, ["file b/d/e"]],
        [{ include: ["b/d"] }, ["directory b/d", "file b/d/e"]],
        [{ include: ["/b/*"], exclude: ["d"] }, ["file b/c", "directory b/empty"]],
        [{ exclude: ["b"] }, ["file .hidden", "file a", "file b-c", "file z"]],
        [{ exclude: ["b/"] }, ["file .hidden", "file a", "file b-c", "file z"]],
        [
          { exclude: ["**/c", "z"] },
          [
            "file .hidden",
            "file a",
            "directory b",
            "file b-c",
            "directory b/d",
            "file b/d/e",
            "directory b/empty",
          ],
        ],
        [{ exclude: [".*"] }, whole.slice(1)],
        [{ exclude: ["*"] }, []],
        // sync.md 9: "!" takes back, and the order counts.
        [
          { exclude: ["?", "!a", "!b/"] },
          ["file .hidden", "file a", "directory b", "file b-c", "directory b/empty"],
        ],
        [{ exclude: ["!a", "?"] }, ["file .hidden", "file b-c"]],
        // What is left out is not entered, so nothing below it comes back.
        [{ exclude: ["b/", "!c"] }, ["file .hidden", "file a", "file b-c", "file z"]],
        [
          { include: ["b", "!d", "e"] },
          ["directory b", "file b/c", "file b/d/e", "directory b/empty"],
        ],
        [{ include: ["!b/", "!.*"] }, ["file a", "file b-c", "file z"]],
        [{ include: ["z", "!*", "a"] }, ["file a"]],
        [{ exclude: ["\\!a"] }, whole],
      ];
      for (const way of ways)
        for (const [options, says] of table)
          expect(short(await way.list(root, options))).toEqual([...says]);
    });

    test("the same for every concurrency and priority", async () => {
      for (const way of ways)
        for (const concurrency of [0, 1, 2, 256])
          for (const priority of ["high", "low"] as const)
            expect(short(await way.list(root, { concurrency, priority }))).toEqual(whole);
    });

    test("Store.list lists from the root, or from below with the same paths", async () => {
      await using store = new Store(root);
      expect(short(await store.list())).toEqual(whole);
      expect(short(await store.list("b"))).toEqual(whole.filter((line) => line.includes(" b/")));
      expect(short(await store.list("b/d"))).toEqual(["file b/d/e"]);
      expect(short(await store.list("a"))).toEqual(["file a"]);
      expect(await codeOf(store.list("nothing"))).toBe("NOT_FOUND");
      expect(short(await store.list("b", { exclude: ["d", "empty"] }))).toEqual(["file b/c"]);
    });

    test("limits: a LIMIT row for what is beyond, and the listing is not complete", async () => {
      for (const way of ways) {
        const all = await way.list(root, { limits: { depth: 2, pathLength: 7, entries: 9 } });
        expect(short(all)).toEqual(whole);
        expect(all.complete).toBe(true);
        const long = await way.list(root, { limits: { pathLength: 6 } });
        expect(short(long)).toEqual(whole.filter((line) => !/hidden|empty/.test(line)));
        expect(long.errors).toMatchObject([
          { path: ".hidden", error: { code: "LIMIT" } },
          { path: "b/empty", error: { code: "LIMIT" } },
        ]);
        expect(long.complete).toBe(false);
        const found = await way.list(root, { limits: { depth: 1 } });
        expect(found.complete).toBe(false);
        expect(found.errors).toMatchObject([
          { kind: "error", path: "b/d", error: { code: "LIMIT" } },
          { path: "b/empty" },
        ]);
        expect(short(found)).toContain("directory b/d");
        expect(short(found)).not.toContain("file b/d/e");
        expect(await codeOf(way.list(root, { limits: { entries: 3 } }))).toBe("LIMIT");
      }
    });

    test("errors: a missing root, a bad option, a directory that cannot be listed", async () => {
      for (const way of ways) {
        expect(await codeOf(way.list(`${root}/missing`))).toBe("NOT_FOUND");
        expect(await codeOf(way.list(`${root}/a/below`))).toBe("NOT_FOUND");
        expect(
          await codeOf(Promise.resolve().then(() => way.list(root, { concurrency: -1 }))),
        ).toBe("ARGUMENT");
        const found = await way.list(`fault:list=2:${root}`, { concurrency: 1 });
        expect(found.complete).toBe(false);
        expect(found.errors).toHaveLength(1);
        expect(found.errors[0]).toMatchObject({ kind: "error", error: { code: "IO" } });
        expect(found.errors[0]?.error).toBeInstanceOf(CopseError);
        expect(found.length).toBeLessThan(whole.length + 1);
        expect(await codeOf(way.list(`fault:list=1:${root}`))).toBe("IO");
      }
    });
  });

describe("list, on disk:", () => {
  test("links are kept, followed or skipped; a root is followed", async () => {
    const root = scratch.plant("links", {
      "d/x": "1",
      l: link("d"),
      f: link("d/x"),
      none: link("nowhere"),
      "d/up": link(".."),
    });
    scratch.plant("to-links", { l: link("../links") });
    for (const way of ways) {
      const kept = await way.list(root);
      expect(short(kept)).toEqual([
        "directory d",
        "link d/up",
        "file d/x",
        "link f",
        "link l",
        "link none",
      ]);
      expect(kept.find((entry) => entry.path === "l")).toMatchObject({ target: "d", size: 1 });
      expect(kept.find((entry) => entry.path === "none")).toMatchObject({
        target: "nowhere",
        size: 7,
      });
      expect(short(await way.list(root, { links: "skip" }))).toEqual(["directory d", "file d/x"]);
      const followed = await way.list(root, { links: "follow" });
      // `d/up` comes back to the root and stays a link; so it does below `l`.
      expect(short(followed)).toEqual([
        "directory d",
        "link d/up",
        "file d/x",
        "file f",
        "directory l",
        "link l/up",
        "file l/x",
        "link none",
      ]);
      expect(followed.find((entry) => entry.path === "f")).toMatchObject({ size: 1 });
      expect(short(await way.list(scratch.at("to-links", "l")))).toEqual(short(kept));
      expect(short(await way.list(`${root}/none`))).toEqual(["link "]);
    }
  });

  test("special files are entries of type other, and a root that is one is UNSUPPORTED", async () => {
    const root = scratch.plant("special", {
      p: pipe,
      h: "1",
      i: hard("h"),
      ...(isRoot ? { n: device(1, 3) } : {}),
    });
    for (const way of ways) {
      expect(short(await way.list(root))).toEqual([
        "file h",
        "file i",
        ...(isRoot ? ["other n"] : []),
        "other p",
      ]);
      expect(await codeOf(way.list(`${root}/p`))).toBe("UNSUPPORTED");
      expect(await codeOf(way.list("/dev/null"))).toBe("UNSUPPORTED");
    }
  });

  test("what lstat says: size, mode, and mtime to the millisecond, odd times too", async () => {
    const root = scratch.plant("stats", { a: "12345", "d/b": Buffer.alloc(70_000), l: link("a") });
    chmodSync(`${root}/a`, 0o4711);
    for (let i = 0; i < 40; i++) {
      writeFileSync(`${root}/t${i}`, "");
      // Whole milliseconds: none may become the one before by a rounding error.
      utimesSync(`${root}/t${i}`, new Date(0), new Date(1_700_000_000_000 + i * 1_234_567));
    }
    for (const [name, seconds] of [
      ["old", "@-86400.25"],
      ["far", "@4294967296.5"],
      ["epoch", "@0"],
    ] as const)
      run("touch", "-d", seconds, `${root}/${name}`);
    for (const way of ways)
      for (const entry of await way.list(root)) {
        const stat = lstatSync(`${root}/${entry.path}`, { bigint: true });
        expect([entry.path, entry.size]).toEqual([entry.path, Number(stat.size)]);
        expect(entry.mode).toBe(Number(stat.mode) & 0o7777);
        expect([entry.path, entry.mtime?.getTime()]).toEqual([
          entry.path,
          Number(floored(stat.mtimeNs)),
        ]);
      }
  });

  function floored(nanoseconds: bigint): bigint {
    const milliseconds = nanoseconds / 1_000_000n;
    return nanoseconds < 0n && nanoseconds % 1_000_000n !== 0n ? milliseconds - 1n : milliseconds;
  }

  test("names that are not UTF-8 come with their bytes, targets with replacement characters", async () => {
    mkdirSync(scratch.at("raw"));
    writeFileSync(scratch.bytes("raw/\xff\xfe"), "1");
    mkdirSync(scratch.bytes("raw/d\xe9"));
    writeFileSync(scratch.bytes("raw/d\xe9/ok"), "1");
    symlinkSync(Buffer.from("to\xff", "latin1"), scratch.at("raw", "l"));
    for (const way of ways) {
      const found = await way.list(scratch.at("raw"));
      expect(
        found.map(({ path, pathBytes }) => [
          path,
          pathBytes && Buffer.from(pathBytes).toString("latin1"),
        ]),
      ).toEqual([
        ["d\ufffd", "d\xe9"],
        ["d\ufffd/ok", "d\xe9/ok"],
        ["l", undefined],
        ["\ufffd\ufffd", "\xff\xfe"],
      ]);
      expect(found[2]).toMatchObject({ target: "to\ufffd" });
    }
  });

  test("depth and PATH_MAX bound nothing", async () => {
    using scratch = new Scratch(quickFolder(600));
    plantDeep(scratch.at("deep"), "directory-with-a-name", 600, { leaf: "1" });
    for (const way of ways) {
      const found = await way.list(scratch.at("deep"));
      expect(found).toHaveLength(601);
      expect(found.at(-1)?.path).toBe(`${"directory-with-a-name/".repeat(600)}leaf`);
    }
  });

  test("file: URLs and objects with a url are locations too", async () => {
    const root = scratch.plant("with space and ü%", { a: "1" });
    for (const way of ways)
      expect(short(await way.list(pathToFileURL(root).href))).toEqual(["file a"]);
    expect(short(listSync(pathToFileURL(root), { stat: true }))).toEqual(["file a"]);
    expect(short(await list({ url: pathToFileURL(root) }, { stat: true }))).toEqual(["file a"]);
  });

  test("agrees with find -printf on random trees", async () => {
    const seed = someSeed();
    const random = new Random(seed);
    const letters: Readonly<Record<string, string>> = { f: "file", d: "directory", l: "link" };
    for (let i = isSanitized ? 10 : 60; i > 0; i--) {
      const root = scratch.plant(`random-${i}`, asTree(randomTree(random)));
      const lines = run("find", root, "-mindepth", "1", "-printf", "%y %s %m %P%l\\n");
      const theirs = lines.split("\n").filter((line) => line !== "");
      for (const way of ways) {
        const ours = (await way.list(root)).map(
          ({ type, size, mode, path, target }) =>
            `${Object.keys(letters).find((letter) => letters[letter] === type)} ${size} ${(mode ?? 0).toString(8)} ${path}${target ?? ""}`,
        );
        expect({ seed, lines: ours.toSorted() }).toEqual({ seed, lines: theirs.toSorted() });
      }
      run("rm", "-rf", root);
    }
  });

  test("agrees with find on a directory of the system", async () => {
    const root = "/usr/include";
    const lines = run("find", root, "-mindepth", "1", "-printf", "%P\\n")
      .split("\n")
      .filter((line) => line !== "");
    if (lines.length === 0) return;
    const sorted = lines.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const way of ways)
      expect((await way.list(root)).map((entry) => entry.path)).toEqual(sorted);
  });
});
