// compare: symbolic links and hard links, and links that loop (compare.md 1.2 links, 1.5, 2.2, 2.5, 2.6).

import { afterAll, describe, expect, test } from "bun:test";
import { type CompareOptions } from "../lib/index.ts";
import { groundsIn, hard, link, Scratch, type Tree } from "./trees.ts";
import { codeOf, facts, leaveNothingOpen, ways } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);

type Links = NonNullable<CompareOptions["links"]>;

interface Case {
  readonly name: string;
  readonly left: Tree;
  readonly right: Tree;
  readonly says: Readonly<Record<Links, readonly string[]>>;
}

const cases: readonly Case[] = [
  {
    name: "2.2: a dangling link on the left only is only-left, type link, followed or not",
    left: { l: link("nowhere"), a: "1" },
    right: { a: "1" },
    says: { keep: ["only-left link l"], follow: ["only-left link l"], skip: [] },
  },
  {
    name: "2.2: dangling links on both sides are compared by target",
    left: { same: link("nowhere"), l: link("nowhere") },
    right: { same: link("nowhere"), l: link("elsewhere") },
    says: { keep: ["differs target l"], follow: ["differs target l"], skip: [] },
  },
  {
    name: "2.5: links with different targets differ by target where links are kept, by content where they are followed",
    left: { a: "1", b: "1", c: "2", l: link("a"), m: link("a"), same: link("a") },
    right: { a: "1", b: "1", c: "2", l: link("b"), m: link("c"), same: link("a") },
    says: {
      keep: ["differs target l", "differs target m"],
      follow: ["differs content@0 m"],
      skip: [],
    },
  },
  {
    name: "2.5: a target that differs only in how it is written is another target",
    left: { a: "1", l: link("a") },
    right: { a: "1", l: link("./a") },
    says: { keep: ["differs target l"], follow: [], skip: [] },
  },
  {
    name: "2.6: two links to one directory against two real copies are equal when followed",
    left: { "real/x": "1", "real/d/y": "2", one: link("real"), two: link("real") },
    right: {
      "real/x": "1",
      "real/d/y": "2",
      "one/x": "1",
      "one/d/y": "2",
      "two/x": "1",
      "two/d/y": "2",
    },
    says: {
      keep: ["differs type one", "differs type two"],
      follow: [],
      skip: [
        "only-right directory one",
        "only-right directory one/d",
        "only-right file one/d/y",
        "only-right file one/x",
        "only-right directory two",
        "only-right directory two/d",
        "only-right file two/d/y",
        "only-right file two/x",
      ],
    },
  },
  {
    name: "2.6: what is below a followed link is compared, under the link's path",
    left: { "real/x": "1", one: link("real") },
    right: { "real/x": "1", "one/x": "2", "one/z": "3" },
    says: {
      keep: ["differs type one"],
      follow: ["differs content@0 one/x", "only-right file one/z"],
      skip: ["only-right directory one", "only-right file one/x", "only-right file one/z"],
    },
  },
  {
    name: "1.2: a link against what it points to: kept it is another type, followed it is the same",
    left: { a: "1", l: link("a") },
    right: { a: "1", l: "1" },
    says: { keep: ["differs type l"], follow: [], skip: ["only-right file l"] },
  },
  {
    name: "1.5: a directory that is its own ancestor through a link is compared as a link, by target, without an error row",
    left: { "d/up": link(".."), "d/here": link("."), "d/e/top": link("../.."), "d/x": "1" },
    right: { "d/up": link(".."), "d/here": link("."), "d/e/top": link("../.."), "d/x": "1" },
    says: { keep: [], follow: [], skip: [] },
  },
  {
    name: "1.5: loops with different targets differ by target",
    left: { "d/e/l": link("..") },
    right: { "d/e/l": link("../..") },
    says: { keep: ["differs target d/e/l"], follow: ["differs target d/e/l"], skip: [] },
  },
  {
    name: "1.5: a loop against a real directory is another type, and what is in it is not listed",
    left: { "d/l": link("."), "d/x": "1" },
    right: { "d/l/x": "1", "d/x": "1" },
    says: {
      keep: ["differs type d/l"],
      follow: ["differs type d/l"],
      skip: ["only-right directory d/l", "only-right file d/l/x"],
    },
  },
  {
    name: "1.5: links that point at each other dangle",
    left: { a: link("b"), b: link("a") },
    right: { a: link("b"), b: link("a") },
    says: { keep: [], follow: [], skip: [] },
  },
  {
    name: "1.5: two directories that link into each other end",
    left: { "a/to-b": link("../b"), "b/to-a": link("../a"), "a/x": "1" },
    right: { "a/to-b": link("../b"), "b/to-a": link("../a"), "a/x": "2" },
    says: {
      keep: ["differs content@0 a/x"],
      follow: ["differs content@0 a/x", "differs content@0 b/to-a/x"],
      skip: ["differs content@0 a/x"],
    },
  },
  {
    name: "1.5: hard links are files like others: equal content is equal, whatever the number of names",
    left: { a: "same", b: hard("a"), c: hard("a"), d: "x" },
    right: { a: "same", b: "same", c: hard("a"), d: "y" },
    says: {
      keep: ["differs content@0 d"],
      follow: ["differs content@0 d"],
      skip: ["differs content@0 d"],
    },
  },
  {
    name: "1.2: a chain of links is followed to its end",
    left: { end: "1", a: link("b"), b: link("c"), c: link("end") },
    right: { end: "1", a: "1", b: "1", c: "2" },
    says: {
      keep: ["differs type a", "differs type b", "differs type c"],
      follow: ["differs content@0 c"],
      skip: ["only-right file a", "only-right file b", "only-right file c"],
    },
  },
];

describe("compare.md, links:", () => {
  for (const { name, left, right, says } of cases)
    test(name, async () => {
      const [l, r] = [await file.plant(left), await file.plant(right)];
      for (const way of ways) {
        expect(facts(await way.compare(l, r))).toEqual([...says.keep]);
        for (const links of ["keep", "follow", "skip"] as const)
          for (const options of [{}, { concurrency: 1 }, { metadata: ["mode"] as const }])
            expect([links, ...facts(await way.compare(l, r, { links, ...options }))]).toEqual([
              links,
              ...says[links],
            ]);
      }
    });

  test("1.2: a root given by the caller is always followed", async () => {
    const root = scratch.plant("roots", {
      "d/x": "1",
      "e/x": "2",
      f: "1",
      ld: link("d"),
      le: link("e"),
      lf: link("f"),
      lld: link("ld"),
    });
    for (const way of ways)
      for (const links of ["keep", "follow", "skip"] as const) {
        expect(facts(await way.compare(`${root}/ld`, `${root}/d`, { links }))).toEqual([]);
        expect(facts(await way.compare(`${root}/lld`, `${root}/e`, { links }))).toEqual([
          "differs content@0 x",
        ]);
        expect(facts(await way.compare(`${root}/lf`, `${root}/f`, { links }))).toEqual([]);
        expect(facts(await way.compare(`${root}/lf`, `${root}/e/x`, { links }))).toEqual([
          "differs content@0 ",
        ]);
        expect(facts(await way.compare(`${root}/lf`, `${root}/ld`, { links }))).toEqual([
          "differs type ",
        ]);
      }
  });

  test("1.2: a root that is a dangling link is compared as a link", async () => {
    const root = scratch.plant("dangling-roots", {
      l: link("nowhere"),
      m: link("nowhere"),
      n: link("elsewhere"),
      loop: link("loop"),
      f: "1",
    });
    for (const way of ways) {
      expect(facts(await way.compare(`${root}/l`, `${root}/m`))).toEqual([]);
      expect(facts(await way.compare(`${root}/l`, `${root}/n`))).toEqual(["differs target "]);
      expect(facts(await way.compare(`${root}/l`, `${root}/f`))).toEqual(["differs type "]);
      expect(facts(await way.compare(`${root}/loop`, `${root}/f`))).toEqual(["differs type "]);
      expect(await codeOf(way.compare(`${root}/l/below`, `${root}/f`))).toBe("NOT_FOUND");
    }
  });

  test("1.2: followed links to files: size, content and offset are those of the file", async () => {
    const big = Buffer.alloc(20 << 20, 1);
    const changed = Buffer.from(big);
    changed[17_000_000] = 2;
    const l = scratch.plant("follow-left", {
      "store/big": big,
      "t/l": link("../store/big"),
      "t/s": link("../store/big"),
    });
    const r = scratch.plant("follow-right", {
      "store/big": changed,
      "store/short": "1",
      "t/l": link("../store/big"),
      "t/s": link("../store/short"),
    });
    for (const way of ways) {
      const answer = await way.compare(`${l}/t`, `${r}/t`, { links: "follow" });
      expect(facts(answer)).toEqual(["differs content@17000000 l", "differs size s"]);
      expect(answer.differences).toMatchObject([
        { left: { type: "file", size: big.length } },
        { left: { type: "file" }, right: { type: "file", size: 1 } },
      ]);
      expect(
        facts(await way.compare(`${l}/t`, `${r}/t`, { links: "follow", by: "hash" })),
      ).toHaveLength(2);
    }
  });

  test("1.2: a followed link may leave the tree of a local location", async () => {
    const outside = scratch.plant("outside", { "d/x": "1", "d/y": "2" });
    const l = scratch.plant("leave-left", { l: link(`${outside}/d`) });
    const r = scratch.plant("leave-right", { "l/x": "1", "l/y": "3" });
    for (const way of ways)
      expect(facts(await way.compare(l, r, { links: "follow" }))).toEqual([
        "differs content@0 l/y",
      ]);
  });

  test("1.1: a tree with links against the same tree in memory: links are types of their own", async () => {
    const l = await file.plant({ a: "1", l: link("a") });
    const r = await memory.plant({ a: "1", l: "1" });
    for (const way of ways) {
      expect(facts(await way.compare(l, r))).toEqual(["differs type l"]);
      expect(facts(await way.compare(l, r, { links: "follow" }))).toEqual([]);
      expect(facts(await way.compare(l, r, { links: "skip" }))).toEqual(["only-right file l"]);
    }
  });
});
