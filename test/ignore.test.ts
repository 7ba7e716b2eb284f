// ignoreFiles: lines by hand, then random trees with random ignore files, whose files git itself
// lists with the same rules.

import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { CopseError, list, listSync, type ListOptions } from "../lib/index.ts";
import { someSeed, within } from "./patience.ts";
import { groundsIn, isRoot, link, Random, run, Scratch, type Tree } from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);

/** Files only, as git lists them. */
function seen(root: string, options: ListOptions = { ignoreFiles: true }): string[] {
  return listSync(root, options)
    .filter(({ type }) => type !== "directory")
    .map(({ path }) => path);
}

describe.each([memory, file])("in $name", (ground) => {
  const cases: readonly [what: string, tree: Tree, rest: readonly string[]][] = [
    ["a name at any depth", { ".gitignore": "x", x: "", "a/x": "", y: "" }, ["y"]],
    [
      "a line with a slash has its place",
      { ".gitignore": "a/x", "a/x": "", "b/a/x": "" },
      ["b/a/x"],
    ],
    ["a leading slash too", { ".gitignore": "/x", x: "", "a/x": "" }, ["a/x"]],
    ["a slash at the end means directories", { ".gitignore": "x/", "x/y": "", "a/x": "" }, ["a/x"]],
    ["! brings back", { ".gitignore": "*.c\n!b.c", "a.c": "", "b.c": "" }, ["b.c"]],
    ["the last line decides", { ".gitignore": "!x\nx", x: "" }, []],
    [
      "nothing comes back from below an ignored directory",
      { ".gitignore": "d\n!d/x", "d/x": "" },
      [],
    ],
    ["but from below its content", { ".gitignore": "d/*\n!d/x", "d/x": "", "d/y": "" }, ["d/x"]],
    [
      "a nearer file wins",
      { ".gitignore": "*.c", "a/.gitignore": "!*.c", "a/x.c": "", "x.c": "" },
      ["a/x.c"],
    ],
    [
      "and is about its own directory",
      { "a/.gitignore": "/x", "a/x": "", x: "", "a/b/x": "" },
      ["a/b/x", "x"],
    ],
    [
      "** at the beginning, in the middle, at the end",
      {
        ".gitignore": "**/q\na/**/z\nr/**",
        "b/q": "",
        "a/z": "",
        "a/1/2/z": "",
        "r/1/2": "",
        z: "",
      },
      ["z"],
    ],
    ["comments and empty lines", { ".gitignore": "# x\n\n\\#y\n", "# x": "", "#y": "" }, ["# x"]],
    [
      "spaces at the end go, unless escaped",
      { ".gitignore": "x  \ny\\ \n", x: "", "y ": "", y: "" },
      ["y"],
    ],
    ["a carriage return goes too", { ".gitignore": "x\r\n", x: "", y: "" }, ["y"]],
    ["a byte order mark", { ".gitignore": "\ufeffx\n", x: "", y: "" }, ["y"]],
    [
      "malformed lines match nothing",
      { ".gitignore": "[a\nb\\\n[[:nope:]]\n", "[a": "", a: "", "b\\": "", n: "" },
      ["[a", "a", "b\\", "n"],
    ],
    ["no braces", { ".gitignore": "{a,b}", a: "", "{a,b}": "" }, ["a"]],
  ];
  test.each(cases)("%s", async (_what, tree, rest) => {
    const root = await ground.plant(tree);
    expect(seen(root).filter((path) => !path.endsWith(".gitignore"))).toEqual([...rest]);
  });

  test("other names, and several in one directory: the later one wins", async () => {
    const root = await ground.plant({
      ".one": "x\n!y",
      ".two": "!x\ny",
      x: "",
      y: "",
      "a/.two": "z",
      "a/z": "",
    });
    expect(seen(root, { ignoreFiles: [".one", ".two"] })).toEqual([".one", ".two", "a/.two", "x"]);
    expect(seen(root, { ignoreFiles: [".two", ".one"] })).toEqual([".one", ".two", "a/.two", "y"]);
    expect(seen(root, { ignoreFiles: [".two"], exclude: ["a"] })).toEqual([".one", ".two", "x"]);
    expect(seen(root, { ignoreFiles: false })).toHaveLength(6);
    expect(seen(root, { ignoreFiles: [] })).toHaveLength(6);
  });

  test("a chain of many nested files", async () => {
    const tree: Record<string, string> = {};
    let at = "";
    for (let level = 0; level < 20; level++) {
      tree[`${at}.gitignore`] = level % 2 ? `f${level}\n!common` : `f${level}\ncommon`;
      for (const name of ["common", `f${level}`, `f${level + 1}`, "f0"]) tree[`${at}${name}`] = "";
      at += "d/";
    }
    const found = seen(await ground.plant(tree));
    for (let level = 0; level < 20; level++) {
      const path = "d/".repeat(level);
      expect(found.includes(`${path}common`)).toBe(level % 2 === 1);
      expect(found.includes(`${path}f${level}`)).toBe(false);
      expect(found.includes(`${path}f${level + 1}`)).toBe(true);
      expect(found.includes(`${path}f0`)).toBe(false);
    }
  });
});

describe("an ignore file", () => {
  test("that is a link or a directory says nothing", () => {
    const root = scratch.plant("linked", {
      real: "x",
      ".gitignore": link("real"),
      x: "",
      "a/.gitignore/": "",
      "a/x": "",
    });
    expect(seen(root)).toEqual([".gitignore", "a/x", "real", "x"]);
  });

  test("that is too large is an error, and everything is seen", async () => {
    const root = scratch.plant("large", { ".gitignore": "x\n".repeat(600_000), x: "" });
    const found = await list(root, { ignoreFiles: true });
    expect(found.map(({ path }) => path)).toEqual([".gitignore", "x"]);
    expect(found.complete).toBe(false);
    expect(found.errors.map(({ path, error }) => [path, error.code])).toEqual([
      [".gitignore", "LIMIT"],
    ]);
  });

  test.skipIf(isRoot)("that cannot be read is an error, and everything is seen", async () => {
    const root = scratch.plant("closed", { ".gitignore": "x", x: "" });
    chmodSync(join(root, ".gitignore"), 0);
    const found = await list(root, { ignoreFiles: true });
    expect(found.map(({ path }) => path)).toEqual([".gitignore", "x"]);
    expect(found.errors.map(({ path, error }) => [path, error.code])).toEqual([
      [".gitignore", "DENIED"],
    ]);
  });

  test("must have a name", () => {
    for (const names of [[""], ["a/b"], ["a\0"], "x", 1])
      try {
        // @ts-expect-error no names
        listSync(scratch.path, { ignoreFiles: names });
        throw new Error(`took ${JSON.stringify(names)}`);
      } catch (error) {
        expect(error instanceof CopseError && error.code).toBe("ARGUMENT");
      }
  });
});

const rounds = Number(process.env["COPSE_IGNORE_ROUNDS"] ?? 60);

test(
  "random trees hold what git would add",
  () => {
    const seed = someSeed();
    const random = new Random(seed);
    const letters = ["a", "b", "c", "ab", "ba", "é"];
    const parts = [
      "a",
      "b",
      "c",
      "*",
      "?",
      "**",
      "[ab]",
      "[!a]",
      "[[:alpha:]]",
      "a*",
      "*b",
      "\\a",
      "é",
      "??",
      "[b-",
    ];
    const pick = <T>(of: readonly T[]): T => of[random.below(of.length)]!;
    const line = (): string => {
      let text = Array.from(
        { length: 1 + random.below(3) },
        () => pick(parts) + (random.below(4) ? "" : pick(parts)),
      ).join("/");
      if (random.below(4) === 0) text = `/${text}`;
      if (random.below(4) === 0) text += "/";
      if (random.below(3) === 0) text = `!${text}`;
      return text + (random.below(12) ? "" : pick(["  ", "\r", " x", "\t", "#"]));
    };
    let files = 0;
    let kept = 0;
    for (let round = 0; round < rounds; round++) {
      const tree: Record<string, string> = {};
      const grow = (at: string, depth: number): void => {
        if (random.below(depth === 0 ? 1 : 3) === 0)
          tree[`${at}.gitignore`] = Array.from({ length: 1 + random.below(5) }, line).join("\n");
        for (const name of letters) {
          const what = random.below(4);
          if (what === 0 && depth < 3) grow(`${at}${name}/`, depth + 1);
          else if (what < 3) tree[`${at}${name}`] = "";
        }
      };
      grow("", 0);
      const root = scratch.plant(`git${round}`, tree);
      run("git", "-C", root, "-c", "init.defaultBranch=main", "init", "-q");
      const theirs = run(
        "git",
        "-C",
        root,
        "-c",
        "core.excludesFile=/dev/null",
        "ls-files",
        "-o",
        "-z",
        "--exclude-per-directory=.gitignore",
      );
      const expected = theirs.split("\0").filter(Boolean).toSorted();
      const ours = seen(root, { ignoreFiles: true, exclude: ["/.git"] }).toSorted();
      if (!Bun.deepEquals(ours, expected)) {
        console.log(`COPSE_SEED=${seed}, round ${round}`, tree);
        expect(ours).toEqual(expected);
      }
      files += Object.keys(tree).length;
      kept += ours.length;
      run("rm", "-rf", root);
    }
    expect(files).toBeGreaterThan(rounds * 4);
    expect(kept).toBeLessThan(files);
    if (process.env["COPSE_IGNORE_ROUNDS"])
      console.log(`${rounds} trees, ${files} files, ${kept} kept by git and by us`);
  },
  within(30_000 + rounds * 500),
);
