// The cache of hashes: what it saves, and what it must never believe.

import { afterAll, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compare, compareSync, manifest, Runtime, type CompareOptions } from "../lib/index.ts";
import { fact } from "./ways.ts";

const HEAD = 16;
const RECORD = 80;
const base = mkdtempSync(join(tmpdir(), "copse-cache-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let made = 0;

interface Pair extends Disposable {
  readonly left: string;
  readonly right: string;
  readonly cache: string;
  /** What a comparison says, and how many bytes it read. */
  look(options?: CompareOptions): { facts: string[]; equal: boolean; read: number };
}

/** Two trees of the same files, old enough to be believed. */
async function pair(files: Readonly<Record<string, string>>): Promise<Pair> {
  const number = ++made;
  const [left, right] = ["left", "right"].map((side) => join(base, `${side}-${number}`)) as [
    string,
    string,
  ];
  for (const root of [left, right]) {
    mkdirSync(root);
    for (const [path, content] of Object.entries(files)) writeFileSync(join(root, path), content);
  }
  const cache = join(base, `cache-${number}`);
  const runtime = new Runtime();
  await settle();
  return {
    left,
    right,
    cache,
    look(options = {}) {
      const before = runtime.stats.bytesRead;
      const { differences, equal } = compareSync(left, right, { cache, runtime, ...options });
      return { facts: differences.map(fact), equal, read: runtime.stats.bytesRead - before };
    },
    [Symbol.dispose]: () => runtime.close(),
  };
}

/** Until what was written is older than the file system's tick. */
async function settle(): Promise<void> {
  await Bun.sleep(50);
}

const content = "content ".repeat(1000);

describe("what it saves", () => {
  test("comparing again reads nothing, and only what changed after a change", async () => {
    using trees = await pair({ a: content, b: `${content}b`, c: "" });
    expect(trees.look()).toMatchObject({ equal: true });
    expect(trees.look()).toEqual({ equal: true, facts: [], read: 0 });
    writeFileSync(join(trees.left, "a"), content.replace("content", "CONTENT"));
    const changed = trees.look();
    expect(changed.facts).toEqual(["differs content@0 a"]);
    expect(changed.read).toBeGreaterThan(0);
    expect(changed.read).toBeLessThan(3 * content.length);
  });

  test("the rows are those of a comparison without it", async () => {
    using trees = await pair({ same: content, late: content, sizes: "1", only: "x" });
    writeFileSync(join(trees.right, "late"), `${content.slice(0, -1)}!`);
    writeFileSync(join(trees.right, "sizes"), "22");
    rmSync(join(trees.right, "only"));
    await settle();
    const plain = compareSync(trees.left, trees.right).differences;
    for (let round = 0; round < 3; round++) {
      expect(compareSync(trees.left, trees.right, { cache: trees.cache }).differences).toEqual(
        plain,
      );
    }
    const hashes = compareSync(trees.left, trees.right, { by: "hash" }).differences;
    expect(
      compareSync(trees.left, trees.right, { cache: trees.cache, by: "hash" }).differences,
    ).toEqual(hashes);
  });

  test("a manifest uses the same cache; another algorithm has hashes of its own", async () => {
    using trees = await pair({ a: content });
    const plain = await manifest(trees.left, { algorithm: "sha256" });
    const { cache } = trees;
    for (const _ of [1, 2])
      expect(await manifest(trees.left, { algorithm: "sha256", cache })).toEqual(plain);
    expect((await manifest(trees.left, { cache }))[0]?.hash).not.toBe(plain[0]?.hash);
    expect(statSync(cache).size).toBe(HEAD + 2 * RECORD);
  });

  test("moves are found with it", async () => {
    using trees = await pair({ a: content });
    writeFileSync(join(trees.right, "b"), content);
    rmSync(join(trees.right, "a"));
    await settle();
    for (const _ of [1, 2]) expect(trees.look({ moves: true }).facts).toEqual(["moved a to b"]);
  });
});

describe("what it must never believe", () => {
  test("a file written anew with the old size and the old time", async () => {
    using trees = await pair({ a: content });
    trees.look();
    const path = join(trees.left, "a");
    const { atime, mtime } = statSync(path);
    writeFileSync(path, content.toUpperCase());
    utimesSync(path, atime, mtime);
    expect(trees.look().facts).toEqual(["differs content@0 a"]);
  });

  test("a file that was written a moment before it was read", async () => {
    using trees = await pair({ a: content });
    const path = join(trees.left, "a");
    for (let round = 0; round < 20; round++) {
      writeFileSync(path, content);
      trees.look();
      writeFileSync(path, content.toUpperCase());
      expect(trees.look().equal).toBe(false);
    }
  });

  test("another file of the same name, and one that took its inode", async () => {
    using trees = await pair({ a: content });
    trees.look();
    rmSync(join(trees.left, "a"));
    writeFileSync(join(trees.left, "a"), content.toUpperCase());
    await settle();
    expect(trees.look().equal).toBe(false);
  });

  test("a file that is not there any more, though its hash is", async () => {
    using trees = await pair({ a: content });
    trees.look();
    rmSync(join(trees.right, "a"));
    expect(trees.look().facts).toEqual(["only-left file a"]);
  });

  test("records that are damaged, cut, or no records at all", async () => {
    using trees = await pair({ a: content, b: content, c: content });
    trees.look();
    const good = readFileSync(trees.cache);
    expect(good.length).toBe(HEAD + 6 * RECORD);
    // Whichever byte is damaged, the answer is right, and the hash behind it is not believed.
    for (let at = 0; at < good.length; at += 7) {
      const bad = Buffer.from(good);
      bad[at]! ^= 0x40;
      writeFileSync(trees.cache, bad);
      const { equal } = trees.look();
      // Who believes nothing behind a damaged head writes all six again.
      const size = good.length + (at < HEAD ? 0 : RECORD);
      expect({ at, equal, size: statSync(trees.cache).size }).toEqual({ at, equal: true, size });
    }
    for (let size = 0; size < good.length; size += 13) {
      writeFileSync(trees.cache, good.subarray(0, size));
      expect(trees.look().equal).toBe(true);
      expect(trees.look()).toEqual({ equal: true, facts: [], read: 0 });
    }
    writeFileSync(trees.cache, "");
    expect(trees.look().equal).toBe(true);
    expect(trees.look().read).toBe(0);
  });

  test("a file that is no cache is refused and left as it is", async () => {
    using trees = await pair({ a: content });
    for (const text of ["something else altogether", "x", "\0".repeat(500)]) {
      writeFileSync(trees.cache, text);
      expect(() => trees.look()).toThrow("no cache of hashes");
      expect(readFileSync(trees.cache, "latin1")).toBe(text);
    }
  });

  test("a record whose hash was changed to that of the other side", async () => {
    using trees = await pair({ a: content });
    writeFileSync(join(trees.right, "a"), content.toUpperCase());
    await settle();
    trees.look();
    const bytes = readFileSync(trees.cache);
    const hashAt = HEAD + 40;
    bytes.copy(bytes, hashAt + RECORD, hashAt, hashAt + 32);
    writeFileSync(trees.cache, bytes);
    expect(trees.look().equal).toBe(false);
  });
});

describe("the file", () => {
  test("is its owner's alone, and grows only by what is new", async () => {
    using trees = await pair({ a: content });
    trees.look();
    const { size, mode } = statSync(trees.cache);
    expect(mode & 0o777).toBe(0o600);
    expect(size).toBe(HEAD + 2 * RECORD);
    trees.look();
    expect(statSync(trees.cache).size).toBe(size);
  });

  test("does not grow for ever", async () => {
    using trees = await pair({ a: content });
    trees.look();
    const record = readFileSync(trees.cache).subarray(HEAD, HEAD + RECORD);
    // As many old records of one file as a busy one leaves.
    appendFileSync(trees.cache, Buffer.concat(Array.from({ length: 5000 }, () => record)));
    writeFileSync(join(trees.left, "a"), content.toUpperCase());
    writeFileSync(join(trees.right, "a"), content.toUpperCase());
    await settle();
    trees.look();
    expect(statSync(trees.cache).size).toBe(HEAD + 2 * RECORD);
    expect(trees.look()).toEqual({ equal: true, facts: [], read: 0 });
  });

  test("two processes that write at once lose nothing they cannot read again", async () => {
    using trees = await pair(
      Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`f${i}`, `${i}`])),
    );
    const script = `
      const { compareSync } = await import(${JSON.stringify(join(import.meta.dir, "../lib/index.ts"))});
      const [left, right, cache, own] = process.argv.slice(-4);
      for (let i = 0; i < 40; i++) {
        const include = [own === "0" ? "f" + i : "f" + (39 - i)];
        if (!compareSync(left, right, { cache, include }).equal) process.exit(1);
      }`;
    const file = join(base, "writer.ts");
    writeFileSync(file, script);
    const children = [0, 1].map((own) =>
      Bun.spawn([process.execPath, file, trees.left, trees.right, trees.cache, `${own}`]),
    );
    expect(await Promise.all(children.map(({ exited }) => exited))).toEqual([0, 0]);
    expect((statSync(trees.cache).size - HEAD) % RECORD).toBe(0);
    expect(trees.look()).toEqual({ equal: true, facts: [], read: 0 });
  });

  test("what cannot be a cache is refused before anything is read", async () => {
    using trees = await pair({ a: content });
    for (const cache of [base, join(base, "no/such/folder")])
      expect(() => compareSync(trees.left, trees.right, { cache })).toThrow(
        expect.objectContaining({
          location: cache,
          message: expect.stringMatching(/^[^:]+: the cache of hashes cannot be used/) as string,
        }) as Error,
      );
    const link = join(base, "link");
    symlinkSync("elsewhere", link);
    expect(() => compareSync(trees.left, trees.right, { cache: link })).toThrow("cache");
    expect(() => compare(trees.left, trees.right, { cache: "" })).toThrow("cache");
    expect(() => compare(trees.left, trees.right, { cache: 1 as never })).toThrow("cache");
  });

  test("true is the user's cache directory", async () => {
    using trees = await pair({ a: content });
    const before = process.env.XDG_CACHE_HOME;
    process.env.XDG_CACHE_HOME = join(base, "xdg");
    try {
      expect(trees.look({ cache: true }).equal).toBe(true);
      expect(trees.look({ cache: true }).read).toBe(0);
      expect(statSync(join(base, "xdg/copse/hashes")).size).toBe(HEAD + 2 * RECORD);
      expect(trees.look({ cache: false }).read).toBeGreaterThan(0);
    } finally {
      if (before === undefined) delete process.env.XDG_CACHE_HOME;
      else process.env.XDG_CACHE_HOME = before;
    }
  });

  test("hard links share a record", async () => {
    using trees = await pair({ a: content });
    linkSync(join(trees.left, "a"), join(trees.left, "b"));
    linkSync(join(trees.right, "a"), join(trees.right, "b"));
    await settle();
    trees.look({ concurrency: 1 });
    truncateSync(trees.cache, HEAD + 2 * RECORD);
    expect(trees.look()).toEqual({ equal: true, facts: [], read: 0 });
  });
});
