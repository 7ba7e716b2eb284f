// globSet: a table by hand, random globs against Bun.Glob, and what the set does besides.

import { describe, expect, test } from "bun:test";
import { globSet, type GlobSetOptions } from "copse";
import { codeOfSync } from "./ways.ts";

describe("what a set answers", () => {
  const set = globSet(["**/*.ts", "**/*.c", "test/**", "*"]);

  test("is which globs match, for one path or many", () => {
    expect(set.length).toBe(4);
    expect(set.match("test/glob.ts")).toEqual([0, 2]);
    expect(set.match("glob.c")).toEqual([1, 3]);
    expect(set.match("docs/x.md")).toEqual([]);
    expect(set.match(["a.ts", "test/x", ""])).toEqual([[0, 3], [2], [3]]);
    expect(set.match([])).toEqual([]);
  });

  test("is whether any or all do", () => {
    expect(set.test("a")).toBe(true);
    expect(set.test("docs/a")).toBe(false);
    expect(set.test(["a", "docs/a"])).toEqual([true, false]);
    const both = globSet(["a*", "*b"]);
    expect(both.all("ab")).toBe(true);
    expect(both.all("a")).toBe(false);
    expect(both.all(["ab", "b", "aab"])).toEqual([true, false, true]);
  });

  test("of no globs is no, and every one of them matches", () => {
    const empty = globSet([]);
    expect(empty.length).toBe(0);
    expect(empty.match("a")).toEqual([]);
    expect(empty.test("a")).toBe(false);
    expect(empty.all(["a", "b"])).toEqual([true, true]);
  });

  test("is the same for more globs than a word has bits, and more paths than a call takes", () => {
    const patterns = Array.from({ length: 150 }, (_, i) => `*${i}`);
    const many = globSet(patterns);
    const names = Array.from({ length: 9001 }, (_, i) => `n${i}`);
    const lists = many.match(names);
    expect(lists.length).toBe(9001);
    const flags = many.test(names);
    for (const [i, name] of names.entries()) {
      const expected = patterns.flatMap((glob, k) => (name.endsWith(glob.slice(1)) ? [k] : []));
      if (!Bun.deepEquals(lists[i], expected)) expect(lists[i]).toEqual(expected);
      if (flags[i] !== expected.length > 0) expect(flags[i]).toBe(expected.length > 0);
    }
  });

  test("is the same for short, long and non-ASCII paths of one call as for each alone", () => {
    const some = globSet(["**/*a*", "*é*", "日*", "x/**", "*🌲", "?"]);
    const pieces = ["a", "é", "日本", "🌲", "x/", "", "z".repeat(41), "b".repeat(40), "\ud800"];
    const paths = Array.from(
      { length: 9000 },
      (_, i) => `${pieces[(i * 7) % (i < 4100 ? 2 : 9)]}${pieces[(i >> 3) % 9]}${i % 10}`,
    );
    for (const asked of [paths, paths.toReversed()]) {
      const lists = some.match(asked);
      const expected = asked.map((path) => some.match(path));
      expect(Bun.deepEquals(lists, expected)).toBe(true);
      expect(
        Bun.deepEquals(
          some.test(asked),
          expected.map((list) => list.length > 0),
        ),
      ).toBe(true);
    }
    expect(some.match([])).toEqual([]);
  });

  test("takes linear time where a backtracking matcher takes for ever", () => {
    const text = "a".repeat(100_000);
    expect(globSet(["*a*a*a*a*a*a*a*a*b", "**/**/a*a*a*b"]).match(text)).toEqual([]);
  });
});

// globset's documentation, and what copse adds to it (design: names).
const names: readonly [glob: string, text: string, fits: boolean, options?: GlobSetOptions][] = [
  ["?", "é", true],
  ["?", "😀", true],
  ["?", "ab", false],
  ["*", "", true],
  ["*.jpg", ".jpg", true],
  ["*", "a/b", true], // globset: literal_separator is off
  ["{a,b}", "b", true],
  ["{a,{b,c}d}", "cd", true],
  ["{,x}y", "y", true],
  ["[ab]", "a", true],
  ["[!ab]", "c", true],
  ["[^ab]", "a", false],
  ["[a-c]x", "bx", true],
  ["[]a]", "]", true],
  ["[a-]", "-", true],
  ["[!-a]", "-", false],
  ["\\*", "*", true],
  ["\\*", "a", false],
  ["[*]", "*", true],
  ["***", "abc", true],
  ["x[", "x[", true],
  ["x\\", "x\\", true],
  ["README", "readme", false],
  ["README*", "readme.MD", true, { nocase: true }],
  ["[A-C]", "b", true, { nocase: true }],
  ["ÄÖ*", "äöü", true, { nocase: true }],
  ["Жук", "жУК", true, { nocase: true }],
  ["*", ".a", false, { dot: false }],
  [".*", ".a", true, { dot: false }],
  ["?a", ".a", false, { dot: false }],
  ["[.]a", ".a", false, { dot: false }],
];

const paths: typeof names = [
  ["*", "a/b", false],
  ["?", "/", false],
  ["a/*", "a/b", true],
  ["a/*", "a/b/c", false],
  ["**", "a/b/c", true],
  ["**/c", "c", true],
  ["**/c", "a/b/c", true],
  ["**/c", "a/bc", false],
  ["a/**", "a/b/c", true],
  ["a/**", "a", false],
  ["a/**/c", "a/c", true],
  ["a/**/c", "a/x/y/c", true],
  ["a**c", "a/c", false],
  ["{src,test}/**/*.{c,h}", "test/native/x.h", true],
  ["[!a]", "/", false],
  ["**", "a/.b", false, { dot: false }],
  ["**/.b", "a/.b", true, { dot: false }],
  ["**/*.JPG", "x/y.jpg", true, { nocase: true }],
];

describe("globs mean", () => {
  for (const [kind, table] of [
    ["name", names],
    ["path", paths],
  ] as const)
    for (const [glob, text, fits, options] of table)
      test(`${kind}: ${glob} ${fits ? "fits" : "does not fit"} ${JSON.stringify(text)}${options ? ` ${JSON.stringify(options)}` : ""}`, () => {
        expect(globSet([glob], { kind, ...options }).test(text)).toBe(fits);
      });
});

test("random globs are what Bun.Glob says", () => {
  let seed = 12;
  const pick = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % below;
  };
  // Where Bun.Glob means something else by design: sets that may hold a '/', a leading '!', empty parts.
  const parts = ["a", "b", "é", ".", "?", "*", "[ab]", "[b-c]", "{a,b}", "{b,ab}", "a*", "*b"];
  // Two stars in a row inside a name make a `**` after it mean something else there.
  const name = (): string =>
    Array.from({ length: 1 + pick(3) }, () => parts[pick(12)])
      .join("")
      .replace(/\*+/g, "*");
  const glob = (): string =>
    Array.from({ length: 1 + pick(3) }, () => (pick(4) === 0 ? "**" : name())).join("/");
  const letters = ["a", "b", "é", "ab", "."];
  const path = (): string =>
    Array.from({ length: 1 + pick(3) }, () =>
      Array.from({ length: 1 + pick(3) }, () => letters[pick(5)]).join(""),
    ).join("/");
  let asked = 0;
  let fitted = 0;
  for (let round = 0; round < 300; round++) {
    const patterns = Array.from({ length: 20 }, glob);
    const texts = Array.from({ length: 30 }, path);
    const lists = globSet(patterns).match(texts);
    for (const [k, pattern] of patterns.entries()) {
      const theirs = new Bun.Glob(pattern);
      for (const [i, text] of texts.entries()) {
        const ours = lists[i]!.includes(k);
        if (ours !== theirs.match(text)) throw new Error(`'${pattern}' on '${text}': ${ours}`);
        asked++;
        fitted += Number(ours);
      }
    }
  }
  expect(asked).toBe(180_000);
  expect(fitted).toBeGreaterThan(5000);
});

describe("a set", () => {
  test("says what is wrong with a glob", () => {
    expect(() => globSet(["a", "[b"])).toThrow("'[b' has a set that is not closed");
    expect(codeOfSync(() => globSet(["{a"]))).toBe("ARGUMENT");
    expect(codeOfSync(() => globSet(["{a"], { kind: "name" }))).toBe("ARGUMENT");
    expect(codeOfSync(() => globSet(["[z-a]"], { kind: "name" }))).toBe("ARGUMENT");
    expect(codeOfSync(() => globSet(["a".repeat(5000)]))).toBe("ARGUMENT");
    expect(codeOfSync(() => globSet(["a\0b"]))).toBe("ARGUMENT");
    expect(codeOfSync(() => globSet([""]))).toBe("ARGUMENT");
  });

  test("takes nothing but what it knows", () => {
    // @ts-expect-error not an array
    expect(codeOfSync(() => globSet("*.c"))).toBe("ARGUMENT");
    // @ts-expect-error not a kind
    expect(codeOfSync(() => globSet(["a"], { kind: "regexp" }))).toBe("ARGUMENT");
    // @ts-expect-error not a flag
    expect(codeOfSync(() => globSet(["a"], { nocase: 1 }))).toBe("ARGUMENT");
    // @ts-expect-error not an option
    expect(codeOfSync(() => globSet(["a"], { deep: true }))).toBe("ARGUMENT");
    const set = globSet(["a"]);
    // @ts-expect-error not a path
    expect(codeOfSync(() => set.test(1))).toBe("ARGUMENT");
    // @ts-expect-error not paths
    expect(codeOfSync(() => set.match(["a", 1]))).toBe("ARGUMENT");
    expect(codeOfSync(() => set.match("a\0b"))).toBe("ARGUMENT");
    expect(codeOfSync(() => set.test(["a", "b\0"]))).toBe("ARGUMENT");
    expect(codeOfSync(() => set.test("\0"))).toBe("ARGUMENT");
  });

  test("is over when it is disposed", () => {
    const set = globSet(["a"]);
    set[Symbol.dispose]();
    set[Symbol.dispose]();
    expect(codeOfSync(() => set.test("a"))).toBe("CLOSED");
  });

  test("gives lists that nobody can change", () => {
    expect(Object.isFrozen(globSet(["a"]).match("a"))).toBe(true);
    expect(Object.isFrozen(globSet(["a"]).match("b"))).toBe(true);
  });
});
