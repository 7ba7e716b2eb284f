// copy and sync over local trees and memory: what is done, what is refused, and what is left alone.

import { dlopen } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import {
  apply,
  compare,
  copy,
  copySync,
  pack,
  Store,
  sync,
  syncSync,
  type Action,
  type CopyOptions,
  type SyncOptions,
} from "../lib/index.ts";
import { said, shape } from "./synced.ts";
import { hard, isRoot, link, pipe, Random, run, type Tree } from "./trees.ts";
import { codeOf, leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();

const scratch = scratchForEach();

const libc = dlopen("libc.so.6", {
  lsetxattr: { args: ["cstring", "cstring", "ptr", "u64", "i32"], returns: "i32" },
});

function setAttribute(path: string, name: string, value: string): boolean {
  const bytes = Buffer.from(value);
  return (
    libc.symbols.lsetxattr(
      Buffer.from(`${path}\0`),
      Buffer.from(`${name}\0`),
      bytes,
      bytes.length,
      0,
    ) === 0
  );
}

const tree: Tree = {
  "a.txt": "alpha",
  "d/b.txt": "beta",
  "d/e/c.txt": "gamma",
  "empty/": "",
  l: link("d/b.txt"),
  "d/out": link("/etc/hostname"),
};

describe("copy", () => {
  test("a tree into a place that is not there, and the directories above it", async () => {
    const from = scratch.plant("from", tree);
    const to = scratch.at("x", "y", "to");
    const result = await copy(from, to);
    expect(shape(to)).toEqual(shape(from));
    expect(result).toMatchObject({ copied: 5, created: 3, errors: 0, complete: true });
    expect(said(await copy(from, to))).toEqual([]);
    expect((await compare(from, to, { metadata: ["mode", "mtime"] })).equal).toBe(true);
  });

  test("the Sync form, the iterated and the awaited do the same", async () => {
    const from = scratch.plant("from", tree);
    const rows: Action[] = [];
    for await (const row of copy(from, scratch.at("one"))) rows.push(row);
    const awaited = await copy(from, scratch.at("two"));
    const waited = copySync(from, scratch.at("three"));
    expect(said(waited)).toEqual(said(awaited));
    expect(rows.map(({ kind, path }) => `${kind} ${path}`).toSorted()).toEqual(
      said(awaited).toSorted(),
    );
    for (const name of ["one", "two", "three"])
      expect(shape(scratch.at(name))).toEqual(shape(from));
  });

  test("a file to a new name, into a directory, and over another file", async () => {
    const from = scratch.plant("from", { f: "new" });
    const file = join(from, "f");
    expect(said(await copy(file, scratch.at("g")))).toEqual(["copied "]);
    expect(readFileSync(scratch.at("g"), "utf8")).toBe("new");
    mkdirSync(scratch.at("into"));
    await copy(file, scratch.at("into"));
    expect(shape(scratch.at("into"))).toEqual({ f: "new" });
    writeFileSync(scratch.at("g"), "old and longer");
    await copy(file, scratch.at("g"));
    expect(readFileSync(scratch.at("g"), "utf8")).toBe("new");
    expect((await copy(file, scratch.at("g"))).skipped).toBe(1);
    await copy(file, scratch.at("deep", "down", "h"));
    expect(readFileSync(scratch.at("deep", "down", "h"), "utf8")).toBe("new");
  });

  test("never deletes, and never replaces a directory or what a directory would replace", async () => {
    const from = scratch.plant("from", { x: "file", "y/z": "below", w: "fine" });
    const to = scratch.plant("to", { "x/kept": "kept", y: "a file", only: "right" });
    const result = await copy(from, to);
    expect(said(result)).toEqual(["copied w", "error x EXISTS", "error y EXISTS"]);
    expect(result.complete).toBe(false);
    expect(shape(to)).toEqual({ x: "/", "x/kept": "kept", y: "a file", only: "right", w: "fine" });
  });

  test("a directory onto a file is EXISTS; a missing source is NOT_FOUND and makes nothing", async () => {
    const from = scratch.plant("from", tree);
    writeFileSync(scratch.at("file"), "x");
    expect(await codeOf(copy(from, scratch.at("file")))).toBe("EXISTS");
    expect(await codeOf(copy(scratch.at("nowhere"), scratch.at("to")))).toBe("NOT_FOUND");
    expect(existsSync(scratch.at("to"))).toBe(false);
  });

  test("between files and memory and back", async () => {
    const from = scratch.plant("from", {
      "a.txt": "alpha",
      "d/b.bin": new Uint8Array(700_000).fill(7),
    });
    const there = await copy(from, "memory:sync-there");
    expect(there).toMatchObject({ copied: 2, created: 1, errors: 0 });
    expect(said(await copy(from, "memory:sync-there"))).toEqual([]);
    await copy("memory:sync-there", scratch.at("back"));
    expect((await compare(from, scratch.at("back"), { metadata: ["mtime"] })).equal).toBe(true);
    expect(await new Store("memory:sync-there").stat("d/b.bin")).toMatchObject({ size: 700_000 });
    const links = scratch.plant("links", { l: link("x"), f: "f" });
    expect(said(await copy(links, "memory:sync-links"))).toEqual([
      "copied f",
      "error l UNSUPPORTED",
    ]);
  });

  test("modes, times to the nanosecond and link times are kept; special bits only when asked for", async () => {
    const from = scratch.plant("from", tree);
    chmodSync(join(from, "a.txt"), 0o4751);
    chmodSync(join(from, "d"), 0o700);
    run(
      "touch",
      "-h",
      "-d",
      "2001-02-03T04:05:06.123456789Z",
      join(from, "a.txt"),
      join(from, "l"),
      join(from, "d"),
    );
    await copy(from, scratch.at("to"));
    const facts = (root: string): string =>
      run("find", root, "-mindepth", "1", "-printf", "%P %y %m %T@\n")
        .split("\n")
        .toSorted()
        .join("\n");
    expect(facts(scratch.at("to"))).toBe(facts(from).replace("4751", "751"));
    expect(said(await copy(from, scratch.at("to")))).toEqual([]);
    await copy(from, scratch.at("to"), { specialBits: true });
    expect(facts(scratch.at("to"))).toBe(facts(from));
  });

  test("preserve: nothing gives what new files get; xattr keeps attributes and takes others away", async () => {
    const from = scratch.plant("from", { f: "f" });
    utimesSync(join(from, "f"), 1000, 1000);
    await copy(from, scratch.at("plain"), { preserve: [] });
    expect(statSync(scratch.at("plain", "f")).mtimeMs).toBeGreaterThan(1_000_000_000_000);
    if (!setAttribute(join(from, "f"), "user.copse", "kept")) return; // a file system without
    const options = { preserve: ["mode", "mtime", "xattr"] } as const;
    await copy(from, scratch.at("to"), options);
    expect((await compare(from, scratch.at("to"), { metadata: ["xattr"] })).equal).toBe(true);
    setAttribute(scratch.at("to", "f"), "user.other", "x");
    expect((await compare(from, scratch.at("to"), { metadata: ["xattr"] })).equal).toBe(false);
    expect(said(await copy(from, scratch.at("to"), options))).toEqual(["updated f"]);
    expect((await compare(from, scratch.at("to"), { metadata: ["xattr"] })).equal).toBe(true);
  });

  test("pipes are skipped and said so", async () => {
    const from = scratch.plant("from", { p: pipe, f: "f" });
    const { actions } = await copy(from, scratch.at("to"));
    expect(actions).toMatchObject([
      { kind: "copied", path: "f" },
      { kind: "skipped", path: "p", reason: "special" },
    ]);
    expect(shape(scratch.at("to"))).toEqual({ f: "f" });
  });

  test("sparse files stay sparse", async () => {
    const from = scratch.plant("from", {});
    run(
      "sh",
      "-c",
      'truncate -s 64M "$1"; printf end | dd of="$1" bs=1 seek=40000000 conv=notrunc 2>/dev/null',
      "sh",
      join(from, "holes"),
    );
    await copy(from, scratch.at("to"));
    expect((await compare(from, scratch.at("to"))).equal).toBe(true);
    expect(statSync(scratch.at("to", "holes")).size).toBe(64 * 1024 * 1024);
    expect(statSync(scratch.at("to", "holes")).blocks * 512).toBeLessThan(1024 * 1024);
  });

  test("holes that both have are not read to decide by content", async () => {
    // What would take hours: a TiB each, with a byte somewhere in the midst.
    const from = scratch.plant("from", { same: "", other: "", zeros: "", end: "" });
    const to = scratch.plant("to", { same: "", other: "", zeros: "", end: "" });
    const size = 2 ** 40;
    const put = (root: string, name: string, bytes: Uint8Array, at: number): void => {
      const file = openSync(join(root, name), "r+");
      writeSync(file, bytes, 0, bytes.length, at);
      closeSync(file);
    };
    const one = new Uint8Array([1]);
    for (const root of [from, to]) {
      for (const name of ["same", "other", "zeros"]) truncateSync(join(root, name), size);
      truncateSync(join(root, "end"), 2 ** 20);
      put(root, "same", one, 5e11 + 123);
      put(root, "same", one, size - 1);
    }
    put(from, "other", one, 7e11 + 1);
    // Zeros that one has written are those of the other's hole.
    put(to, "zeros", new Uint8Array(3 << 20), 3e11 + 5);
    put(from, "end", one, 2 ** 20 - 1);
    for (const name of ["same", "other", "zeros", "end"]) utimesSync(join(from, name), 1000, 1000);
    const rows = said(await sync(from, to, { by: "content", dryRun: true }));
    expect(rows.filter((row) => row !== "updated ")).toEqual([
      "copied end",
      "copied other",
      "updated same",
      "updated zeros",
    ]);
  });

  test("more than 4 GiB: what lies beyond is right", async () => {
    const size = 2 ** 32 + 4097;
    const from = scratch.plant("huge", { f: "first" });
    truncateSync(join(from, "f"), size);
    const beyond = "beyond";
    const source = openSync(join(from, "f"), "r+");
    writeSync(source, beyond, size - beyond.length);
    closeSync(source);
    const to = scratch.at("huge-copy");
    const options = { delta: false, fsync: false } as const;
    expect(await copy(from, to, options)).toMatchObject({ copied: 1, errors: 0 });
    expect(statSync(join(to, "f")).size).toBe(size);
    expect(await copy(from, to, options)).toMatchObject({ copied: 0, updated: 0, skipped: 1 });
    const copied = openSync(join(to, "f"), "r");
    const read = Buffer.alloc(beyond.length);
    readSync(copied, read, 0, read.length, size - read.length);
    closeSync(copied);
    expect(read.toString()).toBe(beyond);
  });

  test("sizes around the buffers", async () => {
    const sizes = [0, 1, 262_143, 262_144, 262_145, 1_048_575, 1_048_576, 1_048_577, 5_000_000];
    const random = new Uint8Array(5_000_000).map((_, i) => (i * 2654435761) >>> 13);
    const from = scratch.plant(
      "from",
      Object.fromEntries(sizes.map((size) => [`f${size}`, random.slice(0, size)])),
    );
    expect((await copy(from, scratch.at("to"), { verify: true })).errors).toBe(0);
    expect((await compare(from, scratch.at("to"))).equal).toBe(true);
  });

  test("dryRun says the same and changes nothing", async () => {
    const from = scratch.plant("from", tree);
    const to = scratch.plant("to", { "a.txt": "older", "d/gone": "x", extra: "e" });
    const before = shape(to);
    const plan = await sync(from, to, { dryRun: true });
    expect(shape(to)).toEqual(before);
    expect(said(await sync(from, to))).toEqual(said(plan));
    expect(said(await copy(from, scratch.at("nowhere", "yet"), { dryRun: true }))).toHaveLength(8);
    expect(existsSync(scratch.at("nowhere"))).toBe(false);
  });

  test("names of 255 bytes, odd names and names that are not UTF-8", async () => {
    const from = scratch.plant("from", {
      ["n".repeat(255)]: "long",
      "a\nb": "newline",
      "-rf": "dash",
      " ": "space",
    });
    writeFileSync(Buffer.concat([Buffer.from(`${from}/`), Buffer.from([0xff, 0xfe])]), "bytes");
    const { errors, copied } = await copy(from, scratch.at("to"));
    expect({ errors, copied }).toEqual({ errors: 0, copied: 5 });
    expect((await compare(from, scratch.at("to"))).equal).toBe(true);
  });
});

describe("deciding", () => {
  const plantPair = (options: {
    left: string;
    right: string;
    newer?: "left" | "right";
  }): [string, string] => {
    const from = scratch.plant("from", { f: options.left });
    const to = scratch.plant("to", { f: options.right });
    utimesSync(join(from, "f"), 2000, options.newer === "left" ? 3000 : 2000);
    utimesSync(join(to, "f"), 2000, options.newer === "right" ? 3000 : 2000);
    return [from, to];
  };
  const cases: readonly [string, Parameters<typeof plantPair>[0], SyncOptions, string[]][] = [
    ["stat: same size and time is the same", { left: "aaa", right: "bbb" }, {}, []],
    ["stat: another time", { left: "aaa", right: "bbb", newer: "right" }, {}, ["copied f"]],
    [
      "content sees a byte under an unchanged time",
      { left: "aaa", right: "bbb" },
      { by: "content" },
      ["copied f"],
    ],
    ["hash does", { left: "aaa", right: "bbb" }, { by: "hash" }, ["copied f"]],
    [
      "content: only the time differs",
      { left: "aaa", right: "aaa", newer: "left" },
      { by: "content" },
      ["updated f"],
    ],
    [
      "newer: the right one is newer",
      { left: "aaa", right: "bb", newer: "right" },
      { overwrite: "newer" },
      ["skipped f"],
    ],
    [
      "newer: the left one is newer",
      { left: "aaa", right: "bb", newer: "left" },
      { overwrite: "newer" },
      ["copied f"],
    ],
    ["never", { left: "aaa", right: "bb", newer: "left" }, { overwrite: "never" }, ["skipped f"]],
  ];
  for (const [name, pair, options, expected] of cases)
    test(name, async () => {
      const [from, to] = plantPair(pair);
      expect(said(await copy(from, to, options))).toEqual(expected);
      const copies = expected[0] === "copied f";
      expect(readFileSync(join(to, "f"), "utf8")).toBe(copies ? pair.left : pair.right);
      if (expected[0] !== "skipped f") expect(said(await copy(from, to, options))).toEqual([]);
    });

  test("a link in the destination is replaced, not written through", async () => {
    const from = scratch.plant("from", { f: "new", "d/x": "in d" });
    const outside = scratch.plant("outside", { secret: "old" });
    const to = scratch.plant("to", { f: link("../outside/secret"), d: link("../outside") });
    expect(said(await sync(from, to))).toEqual(["created d", "copied d/x", "copied f"]);
    expect(shape(outside)).toEqual({ secret: "old" });
    expect(lstatSync(join(to, "f")).isFile()).toBe(true);
    expect(lstatSync(join(to, "d")).isDirectory()).toBe(true);
  });
});

describe("deleting", () => {
  test("what only the destination has goes, deepest first", async () => {
    const from = scratch.plant("from", { keep: "k" });
    const to = scratch.plant("to", { keep: "k", "x/y/z": "1", "x/l": link("/etc"), f: "f" });
    const result = await sync(from, to, { by: "content" });
    expect(said(result).filter((line) => line.startsWith("deleted"))).toEqual([
      "deleted f",
      "deleted x",
      "deleted x/l",
      "deleted x/y",
      "deleted x/y/z",
    ]);
    expect(result.deleted).toBe(5);
    expect(shape(to)).toEqual({ keep: "k" });
    expect(existsSync("/etc/hostname") || existsSync("/etc/passwd")).toBe(true);
  });

  test("delete: false keeps; a file takes the place of a directory and the reverse", async () => {
    const from = scratch.plant("from", { a: "file", "b/c": "below" });
    const to = scratch.plant("to", { "a/x/y": "tree", b: "file", more: "m" });
    expect(said(await sync(from, to, { delete: false }))).toEqual([
      "error a EXISTS",
      "error b EXISTS",
    ]);
    await sync(from, to);
    expect(shape(to)).toEqual({ a: "file", b: "/", "b/c": "below" });
  });

  test("what the filters leave out is protected, and the directories above it", async () => {
    const from = scratch.plant("from", { a: "a" });
    const to = scratch.plant("to", { "old/keep.log": "log", "old/x": "x", "y.log": "log" });
    const result = await sync(from, to, { exclude: ["*.log"] });
    expect(shape(to)).toEqual({ a: "a", old: "/", "old/keep.log": "log", "y.log": "log" });
    expect(result.errors).toBe(0);
  });

  test("an empty source deletes nothing without force", async () => {
    const from = scratch.plant("from", {});
    const to = scratch.plant("to", { a: "a", "d/b": "b" });
    const refused = await sync(from, to);
    expect(said(refused)).toEqual(["error  ARGUMENT"]);
    expect(refused.kept).toBe(2);
    expect(shape(to)).toEqual({ a: "a", d: "/", "d/b": "b" });
    expect((await sync(from, to, { force: true })).deleted).toBe(3);
    expect(shape(to)).toEqual({});
    expect(await codeOf(sync(scratch.at("nowhere"), to, { force: true }))).toBe("NOT_FOUND");
  });

  test("maxDelete counts everything and deletes nothing beyond", async () => {
    const from = scratch.plant("from", { a: "a" });
    const to = scratch.plant("to", { "d/b": "b", "d/c": "c" });
    const refused = await sync(from, to, { maxDelete: 2 });
    expect(said(refused)).toEqual(["error  LIMIT", "copied a"]);
    expect(readdirSync(join(to, "d"))).toHaveLength(2);
    expect((await sync(from, to, { maxDelete: 3 })).deleted).toBe(3);
  });

  test("nothing is deleted when a directory of the source cannot be listed", async () => {
    const from = scratch.plant("from", { a: "a", "locked/x": "x" });
    const to = scratch.plant("to", { old: "old", "locked/y": "y" });
    const result = await sync(`fault:list=2,code=DENIED:${from}`, to);
    expect(said(result)).toContain("error locked DENIED");
    expect(result).toMatchObject({ deleted: 0, kept: 1 });
    expect(shape(to)).toMatchObject({ old: "old", "locked/y": "y" });
  });

  test("source inside destination: refused before anything is touched, unless it is left alone", async () => {
    const to = scratch.plant("to", { "d/src/f": "f", "d/src/g/h": "h", old: "o", "d/old": "o" });
    const src = join(to, "d", "src");
    const before = shape(to);
    const away = scratch.plant("away", { to: link(to), d: link(join(to, "d")) });
    // However the two are named: through links above either, and round about.
    const ways: [string, string][] = [
      [src, to],
      [join(away, "d", "src"), to],
      [src, join(away, "to")],
      [join(away, "to", "d", "src"), join(to, "d", "..")],
    ];
    for (const [from, into] of ways) {
      for (const options of [{}, { dryRun: true }, { links: "follow" as const }]) {
        const error = await sync(from, into, options).catch((failed: unknown) => failed);
        expect(error).toMatchObject({ code: "ARGUMENT", location: into });
        expect((error as Error).message).toContain('exclude "d/src"');
        expect(() => syncSync(from, into, options)).toThrow("lies inside the destination");
        expect(shape(to)).toEqual(before);
      }
      expect(await codeOf(sync(from, into, { twoWay: true }))).toBe("ARGUMENT");
      expect(await codeOf(sync(from, into, { include: ["*.txt"] }))).toBe("ARGUMENT");
      expect(shape(to)).toEqual(before);
    }
    // A name of which only the beginning is the destination's lies elsewhere.
    const beside = scratch.plant("to-beside", { old: "o" });
    expect(await sync(beside, to, { dryRun: true })).toMatchObject({ errors: 0 });
    // Nothing is deleted by a copy, and what is excluded is left alone.
    const copied = await copy(src, to);
    expect(said(copied)).toEqual(["copied f", "created g", "copied g/h"]);
    rmSync(join(to, "g"), { recursive: true });
    const excluded = await sync(src, to, { exclude: ["src"] });
    expect(excluded).toMatchObject({ errors: 0, deleted: 2 });
    expect(shape(to)).toEqual({
      d: "/",
      "d/src": "/",
      "d/src/f": "f",
      "d/src/g": "/",
      "d/src/g/h": "h",
      f: "f",
      g: "/",
      "g/h": "h",
    });
  });

  test("what the source is made of lies inside the destination: refused as well", async () => {
    const from = scratch.plant("from", { f: "f" });
    const to = scratch.plant("to", { old: "o" });
    await pack(from, join(to, "p.znippy"));
    await sync(from, { crypt: join(to, "sealed"), compress: true });
    const before = shape(to);
    for (const source of [
      `pack:${join(to, "p.znippy")}`,
      { crypt: join(to, "sealed") },
      { crypt: to },
    ]) {
      expect(await codeOf(sync(source, to))).toBe("ARGUMENT");
      expect(shape(to)).toEqual(before);
    }
    const excluded = await sync(`pack:${join(to, "p.znippy")}`, to, {
      exclude: ["*.znippy", "sealed"],
    });
    expect(excluded).toMatchObject({ copied: 1, deleted: 1, errors: 0 });
    expect(existsSync(join(to, "p.znippy"))).toBe(true);
  });

  test("destination inside source: it is left out; a source that would be written into is left alone", async () => {
    const to = scratch.plant("to", { "src/f": "f", "src/src/f": "deeper" });
    const old = new Date(1e12);
    utimesSync(join(to, "src"), old, old);
    expect(said(await copy(join(to, "src"), to))).toContain("error src UNSUPPORTED");
    expect(shape(join(to, "src"))).toEqual({ f: "f", src: "/", "src/f": "deeper" });
    expect(statSync(join(to, "src")).mtimeMs).toBe(1e12);
    const from = scratch.plant("from", { f: "f", "d/x": "x" });
    const outer = await copy(from, join(from, "d", "copy"));
    expect(said(outer)).toContain("error d/copy UNSUPPORTED");
    expect(shape(join(from, "d", "copy"))).toEqual({ f: "f", d: "/", "d/x": "x" });
    expect(await codeOf(sync(from, from))).toBe("ARGUMENT");
    expect(shape(from)).toMatchObject({ f: "f" });
  });
});

describe("trouble", () => {
  // With one worker the second run begins when the first is over.
  const together = test.skipIf(process.env["COPSE_IO"] === "blocking");
  together("two runs on one destination: the second is BUSY", async () => {
    const from = scratch.plant(
      "from",
      Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`f${i}`, "x"])),
    );
    const to = scratch.plant("to", {});
    const slow = copy(`fault:delay=300:${from}`, to, { concurrency: 1 });
    while (readdirSync(to).length === 0) await Bun.sleep(1);
    expect(await codeOf(copy(from, to))).toBe("BUSY");
    expect((await slow).copied).toBe(8);
    expect(said(await copy(from, to))).toEqual([]);
  });

  test("stale temporaries go with the next run, live ones and foreign names stay", async () => {
    const from = scratch.plant("from", { f: "f", ".copse-00112233445566aa.part": "in the source" });
    const to = scratch.plant("to", {
      ".copse-0011223344556677.part": "left by a killed run",
      "d/.copse-0011223344556688.part": "there too",
      ".copse-mine.part": "not ours",
    });
    mkdirSync(join(from, "d"));
    await copy(from, to);
    expect(shape(to)).toEqual({ f: "f", d: "/", ".copse-mine.part": "not ours" });
  });

  test("a failing write leaves the old file, no temporary, and the rest is done", async () => {
    const from = scratch.plant("from", { a: "new a", b: "new b", c: "new c" });
    const to = scratch.plant("to", { a: "old a", b: "old b", c: "old c" });
    for (const call of ["writer", "write", "commit"]) {
      const result = await copy(from, `fault:${call}=1,code=NO_SPACE:${to}`, {
        concurrency: 1,
        by: "content",
      });
      expect(result.errors).toBe(1);
      expect(said(result).filter((line) => line.includes("NO_SPACE"))).toHaveLength(1);
      expect(readdirSync(to).toSorted()).toEqual(["a", "b", "c"]);
      for (const name of ["a", "b", "c"])
        expect(readFileSync(join(to, name), "utf8")).toMatch(/^(old|new) [abc]$/);
      for (const name of ["a", "b", "c"]) writeFileSync(join(to, name), `old ${name}`);
    }
  });

  test("what may work a moment later is tried again, and counted", async () => {
    const from = scratch.plant("from", { a: "a" });
    const result = await copy(`fault:read=1,code=TIMEOUT:${from}`, scratch.at("to"));
    expect(result).toMatchObject({ copied: 1, retries: 1, errors: 0 });
    const gaveUp = await copy(`fault:read=1,sticky,code=TIMEOUT:${from}`, scratch.at("no"), {
      retries: 1,
    });
    expect(gaveUp).toMatchObject({ copied: 0, retries: 1, errors: 1 });
  });

  test("nothing is deleted when a file of the source cannot be read", async () => {
    const from = scratch.plant("from", { a: "a", b: "b" });
    const to = scratch.plant("to", { extra: "stays" });
    for (const call of ["stat", "open", "read"]) {
      const result = await sync(`fault:${call}=1,code=IO:${from}`, to, { concurrency: 1 });
      expect({ call, deleted: result.deleted, kept: result.kept }).toEqual({
        call,
        deleted: 0,
        kept: 1,
      });
      expect(readFileSync(join(to, "extra"), "utf8")).toBe("stays");
      for (const name of ["a", "b"]) rmSync(join(to, name), { force: true });
    }
    // What could not be written says nothing of the source.
    const result = await sync(from, `fault:write=1,code=IO:${to}`, { concurrency: 1 });
    expect(result).toMatchObject({ copied: 1, deleted: 1, errors: 1 });
  });

  test("two files that can only be read up to the same place are not the same", async () => {
    const from = scratch.plant("cut-from", { f: "begin LEFT" });
    const to = scratch.plant("cut-to", { f: "begin right".slice(0, 10) });
    const cut = (root: string): string => `fault:read=1,sticky,cut=4:${root}`;
    const result = await sync(cut(from), cut(to), { by: "content", retries: 0 });
    expect(result).toMatchObject({ skipped: 0, copied: 0, errors: 1 });
    expect(result.actions[0]).toMatchObject({ kind: "error", error: { code: "CHANGED" } });
  });

  test("a file that is cut short or changes while it is copied is CHANGED and keeps its old copy", async () => {
    const from = scratch.plant("from", { f: "0123456789" });
    const to = scratch.plant("to", { f: "old" });
    const result = await copy(`fault:read=1,cut=4:${from}`, to, { retries: 0 });
    expect(said(result)).toEqual(["error f CHANGED"]);
    expect(shape(to)).toEqual({ f: "old" });
  });

  test("a file that changes while it is copied is begun anew, but not for ever", async () => {
    const from = scratch.plant("from", { f: "0123456789" });
    const to = scratch.plant("to", { f: "old" });
    const once = await copy(`fault:read=1,cut=4:${from}`, to);
    expect(once).toMatchObject({ copied: 1, retries: 1, errors: 0 });
    expect(shape(to)).toEqual({ f: "0123456789" });
    const always = await copy(`fault:read=1,sticky,cut=4:${from}`, to, {
      by: "stat",
      overwrite: "different",
      retries: 50,
    });
    expect(always).toMatchObject({ copied: 0, retries: 0, errors: 0 }); // the same by now
    writeFileSync(join(from, "f"), "9876543210");
    const never = await copy(`fault:read=1,sticky,cut=4:${from}`, to, { retries: 50 });
    expect(said(never)).toEqual(["error f CHANGED"]);
    expect(never.retries).toBe(2);
    expect(shape(to)).toEqual({ f: "0123456789" });
    // A plan says what it has to be.
    const plan = await copy(from, to, { dryRun: true });
    const applied = await apply(plan, { from: `fault:read=1,cut=4:${from}` });
    expect(said(applied)).toEqual(["error f CHANGED"]);
  });

  test("cancelling leaves no temporary and no name half written", async () => {
    const from = scratch.plant("from", { f: new Uint8Array(3_000_000).fill(1) });
    const to = scratch.plant("to", { f: "old" });
    const controller = new AbortController();
    const task = copy(`fault:delay=500:${from}`, to, { signal: controller.signal });
    while (readdirSync(to).length < 2) await Bun.sleep(1);
    controller.abort(new Error("enough"));
    const reason = await task.then(
      () => "done",
      (error: unknown) => String(error),
    );
    expect(reason).toContain("enough");
    while (readdirSync(to).length > 1) await Bun.sleep(1);
    expect(shape(to)).toEqual({ f: "old" });
  });

  test.skipIf(isRoot)("what may not be read or written is DENIED, the rest is done", async () => {
    const from = scratch.plant("from", { a: "a", b: "b" });
    chmodSync(join(from, "a"), 0);
    expect(said(await copy(from, scratch.at("to")))).toEqual(["error a DENIED", "copied b"]);
  });

  test("the source is read only once it is clear that there is something to do", async () => {
    const from = scratch.plant("from", { a: "a" });
    await copy(from, scratch.at("to"));
    expect(said(syncSync(`fault:open=1,sticky:${from}`, scratch.at("to")))).toEqual([]);
  });

  test("a directory that is swapped for a link while it is copied leads nowhere", async () => {
    const outside = scratch.plant("outside", { f: "outside" });
    const from = scratch.plant(
      "from",
      Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`d/f${i}`, `new ${i}`])),
    );
    const to = scratch.plant("to", { "d/f": "x" });
    const before = shape(outside);
    let rounds = 0;
    const swap = setInterval(() => {
      rounds++;
      try {
        renameSync(join(to, "d"), join(to, "real"));
        symlinkSync(outside, join(to, "d"));
        rmSync(join(to, "d"));
        renameSync(join(to, "real"), join(to, "d"));
      } catch {}
    }, 0);
    for (let i = 0; i < 30; i++) {
      await sync(from, to, { fsync: false }).catch(() => {});
      expect(shape(outside)).toEqual(before);
    }
    clearInterval(swap);
    expect(rounds).toBeGreaterThan(0);
  });

  test("bad options are ARGUMENT before any work", async () => {
    const from = scratch.plant("from", { a: "a" });
    for (const options of [
      { by: "size" },
      { overwrite: true },
      { maxDelete: -1 },
      { preserve: "mode" },
      { retries: 1.5 },
      { what: 1 },
    ])
      // @ts-expect-error wrong on purpose
      expect(await codeOf(() => sync(from, scratch.at("to"), options))).toBe("ARGUMENT");
    // @ts-expect-error an option of sync
    expect(await codeOf(() => copy(from, scratch.at("to"), { delete: true }))).toBe("ARGUMENT");
    expect(existsSync(scratch.at("to"))).toBe(false);
  });
});

describe("archives", () => {
  const pack = (root: string, name: string): string => {
    run("tar", "-C", root, "-czf", scratch.at(name), ".");
    return `archive:${scratch.at(name)}`;
  };

  test("copy gives the tree back in one pass, with modes, times, links and hard links", async () => {
    const names = Array.from({ length: 300 }, (_, i) => [`d${i % 9}/f${i}`, `content ${i}`]);
    const from = scratch.plant("from", {
      ...Object.fromEntries(names),
      l: link("d1/f1"),
      twin: hard("d1/f1"),
      large: new Uint8Array(900_000).fill(5),
      "empty/": "",
    });
    chmodSync(join(from, "d2"), 0o750);
    utimesSync(join(from, "d3"), 1000, 1000);
    const archive = pack(from, "a.tar.gz");
    const result = await copy(archive, scratch.at("to"));
    expect(result).toMatchObject({ copied: 303, errors: 0 });
    const { differences } = await compare(from, scratch.at("to"), { metadata: ["mode"] });
    expect(differences).toEqual([]);
    expect(statSync(scratch.at("to", "d3")).mtimeMs).toBe(1_000_000);
    expect(statSync(scratch.at("to", "twin")).ino).toBe(statSync(scratch.at("to", "d1", "f1")).ino);
    expect((await copy(archive, scratch.at("to"))).transferred).toBe(0);
  });

  test("with include and exclude it is one pass as well, and does what a copy of the tree does", async () => {
    const names = Array.from({ length: 90 }, (_, i) => [
      `d${i % 3}/e${i % 5}/f${i}`,
      new Random(i).bytes(20_000),
    ]);
    const from = scratch.plant("from", {
      ...Object.fromEntries(names),
      "d0/l": link("e0/f0"),
      twin: hard("d1/e1/f1"),
      "empty/in/": "",
      "d2/only/x.txt": "x",
    });
    for (const path of ["d0", "d2/only", "empty", "empty/in"]) chmodSync(join(from, path), 0o750);
    // A tar keeps whole seconds.
    run("find", from, "-exec", "touch", "-h", "-d", "2020-02-02", "{}", "+");
    // In an order that is no walk's, the link's first name after its second one and before it.
    const shuffled = names.map(([name]) => name as string).toReversed();
    const archives = [
      [...shuffled, "twin"],
      ["twin", ...shuffled],
    ].map((order, number) => {
      const file = scratch.at(`shuffled${number}.tar.gz`);
      const rest = run(
        "find",
        from,
        "-mindepth",
        "1",
        "-not",
        "-name",
        "f*",
        "-not",
        "-name",
        "twin",
        "-printf",
        "%P\\n",
      );
      run("tar", "-C", from, "--no-recursion", "-czf", file, ...order, ...rest.trim().split("\n"));
      return file;
    });
    // So many reads of the archive are enough for all of it.
    const isEnough = async (reads: number, options: CopyOptions): Promise<boolean> => {
      const place = `archive:fault:read=${reads},code=IO:${archives[0]}`;
      const [done] = await Promise.allSettled([
        copy(place, scratch.at(`enough${reads}`), { retries: 0, ...options }),
      ]);
      rmSync(scratch.at(`enough${reads}`), { recursive: true, force: true });
      return done.status === "fulfilled" && done.value.errors === 0;
    };
    let reads = 1;
    while (!(await isEnough(reads, {}))) reads += 1;
    expect(reads).toBeGreaterThan(4);
    const filters: CopyOptions[] = [
      { exclude: ["*9"] },
      { include: ["*1"] },
      { include: ["d2/**", "!f2*"], exclude: ["e4/"] },
      { exclude: ["d1"] },
      { exclude: ["twin", "d0/*/f3*", "!f33"] },
      { include: ["x.txt", "l"] },
      { include: ["in/"] },
      { include: ["nothing"] },
    ];
    for (const [number, filter] of filters.entries()) {
      // A further name whose first one is left out costs a pass of its own.
      expect(await isEnough(Math.ceil(reads * 1.6), filter), JSON.stringify(filter)).toBe(true);
      const plain = scratch.at(`plain${number}`);
      const told = said(await copy(from, plain, filter));
      for (const [which, archive] of archives.entries()) {
        const to = scratch.at(`to${number}-${which}`);
        expect(said(await copy(`archive:${archive}`, to, filter)).toSorted()).toEqual(
          told.toSorted(),
        );
        const metadata = ["mode", "mtime"] as const;
        // It says nothing of its root.
        const { differences } = await compare(plain, to, { metadata });
        expect(differences.filter(({ path }) => path !== "")).toEqual([]);
        const packed = scratch.at(`packed${number}-${which}`);
        await copy(`archive:${archive}`, `pack:${packed}`, filter);
        const inPack = (await compare(plain, `pack:${packed}`, { metadata })).differences;
        expect(inPack.filter(({ path }) => path !== "")).toEqual([]);
      }
    }
  });

  test("content that breaks off is read again, and counted", async () => {
    const names = Array.from({ length: 6 }, (_, i) => [`f${i}`, `${i}`.repeat(9000)]);
    const from = scratch.plant("from", Object.fromEntries(names));
    run("tar", "-C", from, "-cf", scratch.at("plain.tar"), ".");
    const broken = (read: number): string =>
      `archive:fault:read=${read},code=TIMEOUT:${scratch.at("plain.tar")}`;
    let met = 0;
    // Where the index is made ends somewhere; from there on the content is read.
    for (let read = 1; met < 3 && read < 200; read++) {
      const to = scratch.at(`to${read}`);
      const [bare] = await Promise.allSettled([copy(broken(read), `${to}-bare`, { retries: 0 })]);
      if (bare.status !== "fulfilled" || bare.value.errors === 0) continue;
      met++;
      expect(bare.value).toMatchObject({ errors: 1, copied: 5 });
      expect(await copy(broken(read), to)).toMatchObject({ errors: 0, copied: 6, retries: 1 });
      expect((await compare(from, to)).equal).toBe(true);
    }
    expect(met).toBe(3);
  });

  test("links that lead out are refused, links in the destination are not followed, the rest is there", async () => {
    const from = scratch.plant("from", {
      out: link("../../outside"),
      abs: link("/etc/passwd"),
      "d/in": link("../f"),
      f: "f",
      "via/x": "x",
    });
    const outside = scratch.plant("outside", {});
    const to = scratch.plant("to", { via: link("../outside") });
    const result = await copy(pack(from, "a.tar.gz"), to);
    const errors = said(result).filter((line) => line.startsWith("error"));
    expect(errors.filter((line) => line.includes("UNSAFE_PATH"))).toEqual([
      "error abs UNSAFE_PATH",
      "error out UNSAFE_PATH",
    ]);
    expect(errors.some((line) => line.startsWith("error via/x"))).toBe(true);
    expect(shape(outside)).toEqual({});
    expect(shape(to)).toMatchObject({ f: "f", "d/in": "-> ../f", via: "-> ../outside" });
  });
});
