// scan and assess: what fits, where, and what does not. Tests of the acceptance table are named after its rows.

import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, basename, relative } from "node:path";
import {
  assess,
  assessSync,
  scan,
  scanSync,
  type Found,
  type Location,
  type Match,
  type Pattern,
  type ScanOptions,
} from "../lib/index.ts";
import {
  groundsIn,
  isRoot,
  link,
  pipe,
  plantDeep,
  quickFolder,
  run,
  Scratch,
  type Tree,
} from "./trees.ts";
import { codeOf, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);

const paths = (matches: readonly Match[]): string[] => matches.map(({ path }) => path);

/** In each form; the answers agree. */
async function found(
  root: Location,
  patterns: Pattern | readonly Pattern[],
  options: ScanOptions = {},
): Promise<Found<Match>> {
  const blocking = scanSync(root, patterns, options);
  const awaited = await scan(root, patterns, options);
  expect(awaited).toEqual(blocking);
  expect(awaited.complete).toBe(blocking.complete);
  const rows: Match[] = [];
  for await (const row of scan(root, patterns, options)) if (row.kind === "match") rows.push(row);
  expect(paths(rows).toSorted()).toEqual(paths(blocking).toSorted());
  return blocking;
}

const tree: Tree = {
  "a/x.txt": "",
  "a/b/x.txt": "",
  "a/b/y.log": "",
  "a/b/c/": "",
  ".hidden/x.txt": "",
  "z/b/w.log": "",
  "x.txt": "",
};

for (const ground of [memory, file])
  describe(`scan, a tree in ${ground.name}:`, () => {
    test("a directory fits with all its files and directories; it may hold more", async () => {
      const root = await ground.plant(tree);
      const table: readonly [Pattern, readonly string[]][] = [
        [{ files: ["x.txt"] }, ["", ".hidden", "a", "a/b"]],
        [{ files: ["x.txt", "*.log"] }, ["a/b"]],
        [{ files: ["*.txt", "x*"] }, ["", ".hidden", "a", "a/b"]], // one file for two globs
        [{ directories: [{ name: "b" }] }, ["a", "z"]],
        [{ directories: [{ name: "b", files: ["*.txt"] }] }, ["a"]],
        [{ directories: [{ directories: [{ name: "c" }] }] }, ["a"]],
        [{ directories: [{ name: "b" }, { name: "?" }] }, ["a", "z"]], // one child for two nodes
        [{ name: "b" }, ["a/b", "z/b"]],
        [{ name: "c" }, ["a/b/c"]], // an empty directory
        [{ name: "c", files: ["*"] }, []],
        [{}, ["", ".hidden", "a", "a/b", "a/b/c", "z", "z/b"]],
        [{ name: null }, ["", ".hidden", "a", "a/b", "a/b/c", "z", "z/b"]],
        [{ name: "", files: ["w.*"] }, ["z/b"]],
        [{ optionalFiles: ["nothing"], files: ["y.log"] }, ["a/b"]],
        [{ name: ".*" }, [".hidden"]],
        [{ name: "{a,z}" }, ["a", "z"]],
        [{ name: "[!az]" }, ["a/b", "a/b/c", "z/b"]],
      ];
      for (const [pattern, wanted] of table)
        expect([JSON.stringify(pattern), paths(await found(root, pattern))]).toEqual([
          JSON.stringify(pattern),
          [...wanted],
        ]);
    });

    test("forbidden names and counts", async () => {
      const root = await ground.plant({
        ...tree,
        "n/1.x": "",
        "n/2.x": "",
        "n/d1/": "",
        "n/d2/": "",
      });
      const table: readonly [Pattern, readonly string[]][] = [
        [{ files: ["x.txt"], forbidden: ["*.log"] }, ["", ".hidden", "a"]],
        [{ files: ["x.txt"], forbidden: ["b"] }, ["", ".hidden", "a/b"]], // a directory is forbidden, too
        [{ files: [{ name: "*.x", count: { min: 2 } }] }, ["n"]],
        [{ files: [{ name: "*.x", count: { min: 3 } }] }, []],
        [{ files: [{ name: "*.x", count: { max: 1 } }] }, []],
        [{ name: "n", files: [{ name: "*.x", count: { min: 1, max: 2 } }] }, ["n"]],
        [{ name: "n", optionalFiles: [{ name: "*.x", count: { max: 1 } }] }, []],
        [{ directories: [{ name: "d*", count: { min: 2 } }] }, ["n"]],
        [{ directories: [{ name: "d*", count: { max: 1 } }] }, []],
        [{ name: "[an]", directories: [{ name: "d*", count: { max: 0 } }] }, ["a"]],
      ];
      for (const [pattern, wanted] of table)
        expect([JSON.stringify(pattern), paths(await found(root, pattern))]).toEqual([
          JSON.stringify(pattern),
          [...wanted],
        ]);
    });

    test("every directory and every pattern in one pass; equal patterns are one", async () => {
      const root = await ground.plant(tree);
      const [one, other] = [{ name: "b" }, { files: ["*.log"] }];
      const matches = await found(root, [other, one, { name: "b" }, one]);
      expect(matches.map(({ path, pattern }) => [path, pattern === one ? 1 : 0])).toEqual([
        ["a/b", 0],
        ["a/b", 1],
        ["z/b", 0],
        ["z/b", 1],
      ]);
      expect(matches[1]!.pattern).toBe(one);
      expect(await found(root, [])).toHaveLength(0);
    });

    test("a location that lists what is below the match", async () => {
      const root = await ground.plant(tree);
      const [match] = await found(root, { name: "b", files: ["w.log"] });
      expect(paths(await found(match!.location, { files: ["w.log"] }))).toEqual([""]);
    });

    test("explain: what was missing, nearest first", async () => {
      const root = await ground.plant({
        "s-1/f": "",
        "s-1/d/x": "",
        "s-1/d/y": "",
        "s-2/f": "",
        "s-2/d/x": "",
        "s-3/d/": "",
        "s-4/f": "",
        "s-4/bad": "",
        "s-4/d/x": "",
        "s-4/d/y": "",
        other: "",
      });
      const pattern: Pattern = {
        name: "s-*",
        files: ["f"],
        forbidden: ["bad"],
        directories: [{ name: "d", files: ["x", "y"] }],
      };
      for (const result of [
        scanSync(root, pattern, { explain: true }),
        await scan(root, pattern, { explain: true }),
      ]) {
        expect(paths(result)).toEqual(["s-1"]);
        expect(
          result.nearMisses.map(({ path, distance, missing }) => ({ path, distance, missing })),
        ).toEqual([
          {
            path: "s-2",
            distance: 1,
            missing: [
              {
                kind: "directory",
                name: "d",
                found: 0,
                min: 1,
                nearest: { name: "d", missing: [{ kind: "file", name: "y", found: 0, min: 1 }] },
              },
            ],
          },
          {
            path: "s-4",
            distance: 1,
            missing: [{ kind: "forbidden", name: "bad", found: 1 }],
          },
          {
            path: "s-3",
            distance: 3,
            missing: [
              { kind: "file", name: "f", found: 0, min: 1 },
              {
                kind: "directory",
                name: "d",
                found: 0,
                min: 1,
                nearest: {
                  name: "d",
                  missing: [
                    { kind: "file", name: "x", found: 0, min: 1 },
                    { kind: "file", name: "y", found: 0, min: 1 },
                  ],
                },
              },
            ],
          },
        ]);
      }
      // A pattern for any name is only missed where a part of it is there.
      const any = scanSync(root, { files: ["f", "nothing"] }, { explain: true });
      expect(any.nearMisses.map(({ path }) => path)).toEqual(["s-1", "s-2", "s-4"]);
      expect(scanSync(root, pattern).nearMisses).toEqual([]);
    });

    test("include, exclude and maxDepth", async () => {
      const root = await ground.plant(tree);
      expect(paths(await found(root, { name: "b" }, { exclude: ["z"] }))).toEqual(["a/b"]);
      expect(paths(await found(root, { files: ["*"] }, { exclude: ["*.txt"] }))).toEqual([
        "a/b",
        "z/b",
      ]);
      expect(paths(await found(root, { files: ["*"] }, { include: ["*.log"] }))).toEqual([
        "a/b",
        "z/b",
      ]);
      expect(paths(await found(root, {}, { maxDepth: 1 }))).toEqual([""]);
    });

    test("assess: the other way round, nearest first", async () => {
      const root = await ground.plant({ "s/d/x": "", "s/f": "", "t/d/x": "", "t/d/opt": "" });
      const subject: Pattern = {
        name: "s",
        files: ["f"],
        directories: [{ name: "d", files: ["x"], optionalFiles: ["opt"] }],
      };
      const near: Pattern = { name: "d", files: ["x"] };
      const asked = async (path: string): Promise<string[]> => {
        const at = `${String(root)}/${path}`;
        const blocking = assessSync(at, [subject, near]);
        const rows = await assess(at, [subject, near]);
        expect(rows).toEqual(blocking);
        expect(rows.complete).toBe(true);
        expect(paths(rows).every((path) => path === "")).toBe(true);
        return rows.map(({ location }) => relative(String(root), String(location)));
      };
      expect(await asked("s/d/x")).toEqual(["s/d", "s"]);
      expect(await asked("s/d/opt")).toEqual(["s"]); // it need not be there
      expect(await asked("s/f")).toEqual(["s"]);
      expect(await asked("t/d/x")).toEqual(["t/d"]);
      expect(await asked("s/d/other")).toEqual([]);
    });
  });

test("row 15: assess takes whatever has a path in it, and says where by the same kind", async () => {
  const inside: Pattern = { name: "d", files: ["x"] };
  const outside: Pattern = { directories: [inside] };
  const root = scratch.plant("assessed", { "s/d/x": "", "s/d/y": "" });
  const archive = scratch.at("assessed.tar");
  expect(Bun.spawnSync(["tar", "cf", archive, "-C", root, "s"]).exitCode).toBe(0);
  const places = async (file: Location): Promise<Location[]> => {
    const rows = await assess(file, [inside, outside]);
    expect(assessSync(file, [inside, outside])).toEqual(rows);
    for (const { location, pattern } of rows)
      expect(paths(await scan(location, pattern))).toContain("");
    return rows.map(({ location }) => location);
  };
  const url = (path: string) => ({ url: Bun.pathToFileURL(join(root, path)) });
  expect(await places(url("s/d/x"))).toEqual([
    { url: join(root, "s/d") },
    { url: join(root, "s") },
  ]);
  expect(await places(`archive:${archive}#s/d/x`)).toEqual([
    `archive:${archive}#s/d`,
    `archive:${archive}#s`,
  ]);
  expect(await places({ archive, path: "s/d/x" })).toEqual([
    { archive, path: "s/d" },
    { archive, path: "s" },
  ]);
  expect(await places(`archive:${archive}`)).toEqual([]); // nothing in it is named
  for (const location of [{ files: {} }, { manifest: "x" }])
    expect(() => assess(location, inside)).toThrow();
});

describe("scan, on disk:", () => {
  test("row 11: the root's name is that of what it leads to", async () => {
    const root = scratch.plant("named", { f: "" });
    symlinkSync("named", scratch.at("alias"));
    const pattern = { name: "named" };
    expect(paths(await found(`${root}/`, pattern))).toEqual([""]);
    expect(paths(await found(scratch.at("alias"), pattern))).toEqual([""]);
    expect(paths(await found(relative(process.cwd(), root), pattern))).toEqual([""]);
    expect(
      paths(
        await found(
          ".",
          { name: basename(process.cwd()), files: ["package.json"] },
          { exclude: ["*/"] },
        ),
      ),
    ).toEqual([""]);
    // The root's parent never appears.
    expect(paths(await found(root, { name: basename(scratch.path) }))).toEqual([]);
  });

  test("row 12, links: kept, followed, skipped; a loop ends and gives no duplicates", async () => {
    const root = scratch.plant("links", {
      "d/f": "",
      "d/loop": link("."),
      "d/up": link(".."),
      e: link("d"),
      "k/l": link("../d/f"),
      "k/dangling": link("nowhere"),
      "k/dir": link("../d"),
      p: pipe,
    });
    expect(paths(await found(root, { files: ["l"] }))).toEqual(["k"]);
    expect(paths(await found(root, { files: ["dangling"] }))).toEqual([]);
    expect(paths(await found(root, { files: ["dir"] }))).toEqual([]);
    expect(paths(await found(root, { directories: [{ name: "dir" }] }))).toEqual([]);
    expect(paths(await found(root, { files: ["p"] }))).toEqual([]);
    expect(paths(await found(root, { files: ["f"] }))).toEqual(["d"]);
    expect(paths(await found(root, { files: ["f"] }, { links: "follow" }))).toEqual([
      "d",
      "e",
      "k/dir",
    ]);
    expect(paths(await found(root, { files: ["l"] }, { links: "skip" }))).toEqual([]);
  });

  test("row 13: a missing root, a file as root, a bad option", async () => {
    expect(await codeOf(scan(scratch.at("missing"), {}))).toBe("NOT_FOUND");
    expect(await codeOf(scan(import.meta.path, {}))).toBe("ARGUMENT");
    expect(() => scan(".", {}, { nonsense: 1 } as ScanOptions)).toThrow(/no field/);
    expect(() => scan(".", null as unknown as Pattern)).toThrow(/must be a pattern/);
    expect(() => scan(".", { count: { min: 1 } })).toThrow(/pattern\.count/);
  });

  test.skipIf(isRoot)(
    "row 13: a directory that may not be listed is an error row, and the rest is there",
    async () => {
      const root = scratch.plant("denied", { "a/f": "", "closed/f": "" });
      chmodSync(`${root}/closed`, 0);
      const result = scanSync(root, { files: ["f"] });
      expect(paths(result)).toEqual(["a"]);
      expect(result.errors.map(({ path, error }) => [path, error.code])).toEqual([
        ["closed", "DENIED"],
      ]);
      expect(result.complete).toBe(false);
      // What is in it might be one too many.
      expect(paths(scanSync(root, { directories: [{ files: ["f"], count: { max: 2 } }] }))).toEqual(
        [],
      );
      chmodSync(`${root}/closed`, 0o755);
    },
  );

  test("row 14: a second scan sees what changed in between", () => {
    const root = scratch.plant("changing", { "a/f": "" });
    expect(paths(scanSync(root, { files: ["f"] }))).toEqual(["a"]);
    mkdirSync(`${root}/b`);
    writeFileSync(`${root}/b/f`, "");
    rmSync(`${root}/a/f`);
    expect(paths(scanSync(root, { files: ["f"] }))).toEqual(["b"]);
  });

  test("row 10: a character is one, whatever its bytes; a name that is not UTF-8 keeps its own", async () => {
    const root = scratch.plant("names", { "é/f": "", "日本/f": "" });
    expect(paths(await found(root, { name: "?" }))).toEqual(["é"]);
    expect(paths(await found(root, { name: "[é日]*" }))).toEqual(["é", "日本"]);
    run("sh", "-c", 'mkdir "$1/$(printf "bad\\377")"', "sh", root);
    const [bad] = await found(root, { name: "bad?" });
    expect(bad?.path).toBe("bad\ufffd");
    expect(bad?.pathBytes).toEqual(Buffer.from("bad\xff", "latin1"));
  });

  test("row 9: an unclosed [ stands for itself", async () => {
    const root = scratch.plant("brackets", { "x[/f": "" });
    expect(paths(await found(root, { name: "x[" }))).toEqual(["x["]);
  });

  test("patterns of 100 levels, and of more than 64 globs and directories", async () => {
    const root = scratch.at("deep-pattern");
    plantDeep(root, "d", 120, { "leaf/f": "" });
    let deep: Pattern = { name: "leaf", files: ["f"] };
    for (let i = 0; i < 100; i++) deep = { name: "d", directories: [deep] };
    expect(paths(await found(root, deep))).toEqual([Array(21).fill("d").join("/")]);
    const names = Array.from({ length: 150 }, (_, i) => `n${i}`);
    const many = scratch.plant(
      "many",
      Object.fromEntries(
        names.flatMap((n) => [
          [`${n}/f-${n}`, ""],
          [`f-${n}`, ""],
        ]),
      ),
    );
    const wide: Pattern = {
      files: names.map((n) => `f-${n}`),
      directories: names.map((n) => ({ name: n, files: [`f-${n}`] })),
    };
    expect(paths(await found(many, wide))).toEqual([""]);
    rmSync(`${many}/n149/f-n149`);
    expect(paths(await found(many, wide))).toEqual([]);
    expect(scanSync(many, wide, { explain: true }).nearMisses[0]).toMatchObject({
      path: "",
      distance: 1,
    });
  });

  test("1500 nested directories, beyond PATH_MAX: complete", () => {
    using quick = new Scratch(quickFolder(1500));
    const root = quick.at("deep");
    plantDeep(root, "deep", 1500, { f: "" });
    const result = scanSync(root, [{ name: "deep" }, { files: ["f"] }]);
    expect(result).toHaveLength(1502); // the root has the name, too
    expect(result.complete).toBe(true);
  });

  test("the same order 20 times, with 1 to 16 steps at once", async () => {
    const root = scratch.plant(
      "ordered",
      Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`d${i % 30}/e${i}/f`, ""])),
    );
    const wanted = paths(scanSync(root, { files: ["f"] }));
    expect(wanted).toHaveLength(300);
    for (let i = 0; i < 20; i++)
      expect(paths(await scan(root, { files: ["f"] }, { concurrency: (i % 16) + 1 }))).toEqual(
        wanted,
      );
  });

  test("leaving after the first row, aborting, and 50 at once", async () => {
    using quick = new Scratch(quickFolder(2000));
    const root = quick.plant(
      "stopped",
      Object.fromEntries(Array.from({ length: 2000 }, (_, i) => [`d${i}/`, ""])),
    );
    for await (const row of scan(root, {})) {
      expect(row.kind).toBe("match");
      break;
    }
    const controller = new AbortController();
    const aborted = scan(root, {}, { signal: controller.signal });
    controller.abort(new Error("enough"));
    expect(await codeOf(aborted)).toBe("Error: enough");
    const all = await Promise.all(Array.from({ length: 50 }, () => scan(root, {})));
    for (const one of all) expect(one).toHaveLength(2001);
  });

  test('limits: what lies too deep is an error row, and no "at most" is said above it', () => {
    const root = scratch.plant("limited", { "a/b/c/f": "", "a/f": "" });
    const result = scanSync(
      root,
      [{ files: ["f"] }, { directories: [{ name: "b", count: { max: 3 } }] }],
      { limits: { depth: 1 } },
    );
    expect(paths(result)).toEqual(["a"]);
    expect(result.errors.map(({ error }) => error.code)).toEqual(["LIMIT"]);
  });
});
