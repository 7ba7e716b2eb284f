// compare: what must be equal besides type and content, when it is asked for (compare.md 1.3, 6.6; issue 3, Must 8).

import { dlopen } from "bun:ffi";
import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, lchownSync, lutimesSync, utimesSync } from "node:fs";
import type { CompareOptions } from "../lib/index.ts";
import { groundsIn, isRoot, link, run, Scratch, type Tree } from "./trees.ts";
import { codeOf, facts, leaveNothingOpen, ways } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { memory } = groundsIn(() => scratch);

type Metadata = NonNullable<CompareOptions["metadata"]>;

const libc = dlopen("libc.so.6", {
  lsetxattr: { args: ["cstring", "cstring", "ptr", "u64", "i32"], returns: "i32" },
}).symbols;

/** False where the file system has no such attributes. */
function setAttribute(path: string, name: string, value: string): boolean {
  const bytes = Buffer.from(`${value} `);
  return (
    libc.lsetxattr(
      Buffer.from(`${path}\0`),
      Buffer.from(`${name}\0`),
      bytes,
      bytes.length - 1,
      0,
    ) === 0
  );
}

const then = new Date("2020-02-02T02:02:02.002Z");
const tree: Tree = { f: "1", "d/g": "2", l: link("f") };
let made = 0;

/** Two equal trees, with equal times. */
function twins(of: Tree = tree): [string, string] {
  made++;
  const roots: [string, string] = [
    scratch.plant(`left-${made}`, of),
    scratch.plant(`right-${made}`, of),
  ];
  for (const root of roots) {
    for (const name of Object.keys(of))
      lutimesSync(`${root}/${name.replace(/\/$/, "")}`, then, then);
    if ("d/g" in of) utimesSync(`${root}/d`, then, then);
    utimesSync(root, then, then);
  }
  return roots;
}

const everything: Metadata = [
  "mode",
  "mtime",
  "owner",
  ...(process.platform === "linux" ? (["xattr"] as const) : []),
];

describe("compare.md 1.3 and 6.6, metadata:", () => {
  test("nothing is compared that was not asked for, and equal metadata is equal", async () => {
    const [left, right] = twins();
    for (const way of ways) {
      expect(facts(await way.compare(left, right, { metadata: everything }))).toEqual([]);
      expect(facts(await way.compare(left, right, { metadata: everything, by: "hash" }))).toEqual(
        [],
      );
      expect(facts(await way.compare(left, right, { metadata: [] }))).toEqual([]);
    }
  });

  test("mode: permission bits of files and directories, also of the roots", async () => {
    const [left, right] = twins();
    chmodSync(`${right}/f`, 0o600);
    chmodSync(`${right}/d`, 0o700);
    chmodSync(`${right}/d/g`, 0o4644);
    chmodSync(right, 0o711);
    for (const way of ways) {
      expect(facts(await way.compare(left, right))).toEqual([]);
      const answer = await way.compare(left, right, { metadata: ["mode"] });
      expect(facts(answer)).toEqual([
        "differs mode ",
        "differs mode d",
        "differs mode d/g",
        "differs mode f",
      ]);
      expect(answer.differences[2]).toMatchObject({
        left: { mode: 0o644 },
        right: { mode: 0o4644 },
      });
      for (const metadata of [["mtime"], ["owner"], ["xattr"]] as const)
        expect(facts(await way.compare(left, right, { metadata }))).toEqual([]);
    }
  });

  test("mtime: to the nanosecond, of files, directories and links, before 1970 and after 2106", async () => {
    const [left, right] = twins({ ...tree, old: "1", far: "1", exact: "1" });
    for (const root of [left, right]) {
      run("touch", "-d", root === left ? "@-1000000000" : "@-999999999", `${root}/old`);
      run("touch", "-d", root === left ? "@5000000000" : "@5000000001", `${root}/far`);
      run("touch", "-d", root === left ? "@5.123456789" : "@5.123456788", `${root}/exact`);
    }
    lutimesSync(`${right}/l`, then, new Date(0));
    utimesSync(`${right}/d`, then, new Date(0));
    utimesSync(left, then, then);
    utimesSync(right, then, then);
    for (const way of ways) {
      expect(facts(await way.compare(left, right))).toEqual([]);
      const answer = await way.compare(left, right, { metadata: ["mtime"] });
      expect(facts(answer)).toEqual([
        "differs mtime d",
        "differs mtime exact",
        "differs mtime far",
        "differs mtime l",
        "differs mtime old",
      ]);
      expect(answer.differences[4]).toMatchObject({
        left: { mtime: new Date(-1_000_000_000_000) },
        right: { mtime: new Date(-999_999_999_000) },
      });
      expect(answer.differences[2]).toMatchObject({ left: { mtime: new Date(5_000_000_000_000) } });
    }
  });

  const cannotOwn = !isRoot;
  if (cannotOwn) console.log("skipped: owners, because only root can give files away");
  test.skipIf(cannotOwn)("owner: user and group of files, directories and links", async () => {
    const [left, right] = twins();
    lchownSync(`${right}/f`, 12_345, 0);
    lchownSync(`${right}/d`, 0, 12_345);
    lchownSync(`${right}/l`, 12_345, 54_321);
    for (const way of ways) {
      expect(facts(await way.compare(left, right))).toEqual([]);
      expect(facts(await way.compare(left, right, { metadata: ["owner"] }))).toEqual([
        "differs owner d",
        "differs owner f",
        "differs owner l",
      ]);
    }
  });

  const cannotAttribute = !setAttribute(scratch.plant("attributes", {}), "user.copse", "1");
  if (cannotAttribute)
    console.log("skipped: extended attributes, because this file system keeps none");
  test.skipIf(cannotAttribute)(
    "xattr: names and values, in whatever order they were set",
    async () => {
      const [left, right] = twins({
        ...tree,
        same: "1",
        order: "1",
        value: "1",
        empty: "1",
        extra: "1",
        many: "1",
      });
      const set = (
        root: string,
        name: string,
        attributes: Readonly<Record<string, string>>,
      ): void => {
        for (const [key, value] of Object.entries(attributes))
          expect(setAttribute(`${root}/${name}`, `user.${key}`, value)).toBe(true);
      };
      for (const root of [left, right]) {
        set(root, "same", { one: "1", two: "2" });
        set(root, "order", root === left ? { a: "1", b: "2", c: "3" } : { c: "3", b: "2", a: "1" });
        set(root, "value", { one: root === left ? "1" : "2" });
        set(root, "empty", { one: root === left ? "" : "x" });
        set(
          root,
          "many",
          Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`name-${i}`, `${i}`])),
        );
      }
      set(left, "extra", { one: "1" });
      set(right, "d", { one: "1" });
      // A name and a value that would be the same bytes if they were only put one behind the other.
      set(left, "f", { ab: "c" });
      set(right, "f", { a: "bc" });
      for (const way of ways) {
        expect(facts(await way.compare(left, right))).toEqual([]);
        expect(facts(await way.compare(left, right, { metadata: ["xattr"] }))).toEqual([
          "differs xattr d",
          "differs xattr empty",
          "differs xattr extra",
          "differs xattr f",
          "differs xattr value",
        ]);
      }
    },
  );

  test("the first reason in the order type, size, content, target, mode, owner, mtime, xattr is the row's", async () => {
    const [left, right] = twins({
      type: "1",
      size: "1",
      content: "1",
      target: link("a"),
      mode: "1",
      owner: "1",
      mtime: "1",
    });
    const [, changed] = twins({
      "type/": "",
      size: "22",
      content: "2",
      target: link("b"),
      mode: "1",
      owner: "1",
      mtime: "1",
    });
    for (const name of ["type", "size", "content", "mode"])
      chmodSync(`${changed}/${name}`, 0o755 - 0o100);
    if (isRoot)
      for (const name of ["type", "size", "content", "target", "mode", "owner"])
        lchownSync(`${changed}/${name}`, 4, 4);
    for (const name of ["type", "size", "content", "target", "mode", "owner", "mtime"]) {
      lutimesSync(`${changed}/${name}`, then, new Date(1));
      if (name !== "target") setAttribute(`${changed}/${name}`, "user.copse", "1");
    }
    for (const root of [right, changed]) utimesSync(root, then, then);
    for (const way of ways)
      expect(
        facts(await way.compare(left, changed, { metadata: ["xattr", "mtime", "owner", "mode"] })),
      ).toEqual([
        "differs content@0 content",
        "differs mode mode",
        "differs mtime mtime",
        isRoot ? "differs owner owner" : "differs mtime owner",
        "differs size size",
        "differs target target",
        "differs type type",
      ]);
  });

  test("large pairs and hashed pairs have their metadata compared too", async () => {
    const [left, right] = twins({
      big: Buffer.alloc(20 << 20, 1),
      middle: Buffer.alloc(400_000, 1),
      f: "1",
    });
    for (const name of ["big", "middle", "f"]) chmodSync(`${right}/${name}`, 0o600);
    const says = ["differs mode big", "differs mode f", "differs mode middle"];
    for (const way of ways)
      for (const by of ["content", "hash", "stat"] as const)
        expect(facts(await way.compare(left, right, { metadata: ["mode"], by }))).toEqual(says);
  });

  test("two names of one file have one metadata; two roots of one directory too", async () => {
    const [left] = twins();
    for (const way of ways)
      expect(facts(await way.compare(left, left, { metadata: everything }))).toEqual([]);
  });

  test("a pair of files as roots has its metadata compared", async () => {
    const [left, right] = twins();
    chmodSync(`${right}/f`, 0o600);
    for (const way of ways) {
      expect(facts(await way.compare(`${left}/f`, `${right}/f`))).toEqual([]);
      expect(facts(await way.compare(`${left}/f`, `${right}/f`, { metadata: ["mode"] }))).toEqual([
        "differs mode ",
      ]);
    }
  });

  test("metadata that a location cannot tell is UNSUPPORTED, naming it", async () => {
    const [left] = twins();
    const inMemory = await memory.plant({ f: "1" });
    for (const way of ways)
      for (const name of ["owner", "xattr"] as const)
        for (const [l, r] of [
          [left, inMemory],
          [inMemory, left],
          [inMemory, inMemory],
        ] as const) {
          expect(await codeOf(way.compare(l, r, { metadata: ["mode", name] }))).toBe("UNSUPPORTED");
          const error = await way
            .compare(l, r, { metadata: [name] })
            .catch((error: unknown) => error);
          expect(String(error)).toContain(name);
        }
  });

  test("a tree in memory knows mode and mtime", async () => {
    const [l, r] = [await memory.plant({ f: "1" }), await memory.plant({ f: "1" })];
    for (const way of ways) {
      expect(facts(await way.compare(l, r, { metadata: ["mode"] }))).toEqual([]);
      for (const row of (await way.compare(l, r, { metadata: ["mtime"] })).differences)
        expect(row).toMatchObject({ kind: "differs", reason: "mtime" });
    }
  });
});
