// compareAll: groups of equal sources and the pairwise table, each source read once.

import { afterAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compareAll,
  compareAllSync,
  formatManifest,
  manifest,
  Runtime,
  Store,
  type CompareAllOptions,
  type ComparisonOfAll,
  type Location,
} from "../lib/index.ts";

const base = mkdtempSync(join(tmpdir(), "copse-all-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let trees = 0;

function folder(files: Readonly<Record<string, string>>): string {
  const root = join(base, `tree-${++trees}`);
  mkdirSync(root);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

/** Both forms, which must agree. */
async function both(
  locations: readonly Location[],
  options: CompareAllOptions = {},
): Promise<ComparisonOfAll> {
  const { milliseconds: _, ...awaited } = await compareAll(locations, options);
  const { milliseconds, ...waited } = compareAllSync(locations, options);
  expect(waited).toEqual(awaited);
  return { ...waited, milliseconds };
}

describe("groups", () => {
  test("nothing, one, and the same twice", async () => {
    const root = folder({ a: "1" });
    expect(await both([])).toMatchObject({ equal: true, complete: true, groups: [], table: [] });
    expect(await both([root])).toMatchObject({ equal: true, groups: [[0]], table: [[true]] });
    expect(await both([root, root])).toMatchObject({ equal: true, groups: [[0, 1]] });
  });

  test("files of which some are equal", async () => {
    const root = folder({ a: "x", b: "y", c: "x", d: "x ", e: "y" });
    const result = await both(["a", "b", "c", "d", "e"].map((name) => join(root, name)));
    expect(result.equal).toBe(false);
    expect(result.complete).toBe(true);
    expect(result.groups).toEqual([[0, 2], [1, 4], [3]]);
    expect(result.table[0]).toEqual([true, false, true, false, false]);
    expect(result.files).toBe(5);
    expect(result.bytes).toBe(6);
  });

  test("trees, links, empty directories and an archive among them", async () => {
    const files = { "d/a": "1", "d/b": "2", c: "3" };
    const [one, two, linked, emptied] = [1, 2, 3, 4].map(() => folder(files)) as [
      string,
      string,
      string,
      string,
    ];
    symlinkSync("c", join(linked, "link"));
    mkdirSync(join(emptied, "empty"));
    const tar = join(base, "tree.tar.gz");
    expect(spawnSync("tar", ["-czf", tar, "-C", one, "."]).status).toBe(0);
    const list = join(base, "tree.jsonl");
    writeFileSync(list, formatManifest(await manifest(one)));
    const result = await both([one, linked, two, emptied, `archive:${tar}`, `manifest:${list}`]);
    expect(result.groups).toEqual([[0, 2, 4, 5], [1], [3]]);
  });

  test("two trees whose names and contents only look alike when put together", async () => {
    const result = await both([folder({ a: "bc" }), folder({ ab: "c" }), folder({ "a/b": "c" })]);
    expect(result.groups).toEqual([[0], [1], [2]]);
  });

  test("what is excluded is not looked at", async () => {
    const locations = [folder({ a: "1", log: "x" }), folder({ a: "1", log: "y" })];
    expect((await both(locations)).equal).toBe(false);
    expect((await both(locations, { exclude: ["log"] })).equal).toBe(true);
  });
});

describe("each source is read once", () => {
  test("five files: five times the bytes, not twenty", async () => {
    using runtime = new Runtime();
    const root = folder(
      Object.fromEntries([..."abcde"].map((name) => [name, "z".repeat(100_000)])),
    );
    const locations = [..."abcde"].map((name) => join(root, name));
    const result = await compareAll(locations, { runtime });
    expect(result.equal).toBe(true);
    expect(runtime.stats.bytesRead).toBe(500_000);
  });
});

describe("what was not seen whole is equal to none", () => {
  test("an unreadable file", async () => {
    const [one, two] = [folder({ a: "1", b: "2" }), folder({ a: "1", b: "2" })];
    const result = await compareAll([one, `fault:read=2:${two}`, one]);
    expect(result).toMatchObject({ equal: false, complete: false, groups: [[0, 2], [1]] });
    expect(result.table).toEqual([
      [true, null, true],
      [null, null, null],
      [true, null, true],
    ]);
    expect(result.errors).toMatchObject([{ source: 1, error: { code: "IO" } }]);
  });

  test("a pipe", async () => {
    const [one, two] = [folder({}), folder({})];
    for (const root of [one, two]) spawnSync("mkfifo", [join(root, "pipe")]);
    const result = await both([one, two]);
    expect(result).toMatchObject({ equal: false, complete: false, groups: [[0], [1]] });
    expect(result.errors.map(({ source, path }) => `${source} ${path}`)).toEqual([
      "0 pipe",
      "1 pipe",
    ]);
    expect((await both([one, two], { exclude: ["pipe"] })).equal).toBe(true);
  });

  test("a source that is not there rejects, and the others stop", async () => {
    const root = folder({ a: "1" });
    const missing = join(base, "missing");
    await expect(compareAll([root, missing])).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(() => compareAllSync([root, missing])).toThrow("missing");
  });

  test("an abort and a bad argument", async () => {
    const reason = new Error("enough");
    await expect(compareAll(["."], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    await expect(compareAll("a" as never)).rejects.toMatchObject({ code: "ARGUMENT" });
    await expect(compareAll(["."], { stopAtFirst: true } as never)).rejects.toMatchObject({
      code: "ARGUMENT",
    });
  });
});

test("memory trees, too", async () => {
  for (const name of ["all-a", "all-b"]) {
    await using store = new Store(`memory:${name}`);
    await store.write("x/y", "content");
  }
  expect((await both(["memory:all-a", "memory:all-b"])).equal).toBe(true);
});
