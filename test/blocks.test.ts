// blocks: cut by content, the same however it is read, and told apart by what is there already.

import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  blocks,
  blocksSync,
  copySync,
  formatManifest,
  manifestSync,
  Runtime,
  type Block,
  type Blocks,
  type BlocksOptions,
  type CopseError,
  type Location,
} from "../lib/index.ts";
import { commandPlace } from "./command.ts";
import { isLong } from "./patience.ts";
import { codeOf, leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();
const scratch = scratchForEach();

/** The same bytes every time; SplitMix64 as docs/formats.md has it. */
function* words(seed: bigint): Generator<bigint, never> {
  for (let state = seed; ;) {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
    let z = state;
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
    yield z ^ (z >> 31n);
  }
}

function random(bytes: number, seed: number): Buffer {
  const out = new BigUint64Array(Math.ceil(bytes / 8));
  const from = words(BigInt(seed));
  for (let i = 0; i < out.length; i++) out[i] = from.next().value;
  return Buffer.from(out.buffer, 0, bytes);
}

function plant(files: Readonly<Record<string, Uint8Array | string>>): string {
  const root = scratch.at("tree");
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

type Seen = Exclude<Block, { kind: "error" }>;

function seen({ blocks }: Blocks): Seen[] {
  return blocks.filter((block) => block.kind !== "error");
}

function plain({ milliseconds: _, ...rest }: Blocks): Omit<Blocks, "milliseconds"> {
  return rest;
}

/** The ends of blocks, by the rule of docs/formats.md alone. */
function ends(bytes: Uint8Array, size: number): number[] {
  const gear = Array.from({ length: 256 }, () => 0n);
  const from = words(0n);
  for (let i = 0; i < 256; i++) gear[i] = from.next().value;
  const reach = size / 2;
  const longest = size * 4;
  let hash = 0n;
  const hashes = Array.from(
    bytes,
    (byte) => (hash = BigInt.asUintN(64, (hash << 1n) + gear[byte]!)),
  );
  const isEnd = (at: number): boolean => {
    const own = hashes[at]!;
    if (own < 2n ** 64n - 1n - ((2n ** 64n - 1n) / BigInt(reach)) * 64n) return false;
    for (let i = Math.max(0, at - reach); i < at; i++) if (hashes[i]! >= own) return false;
    for (let i = at + 1; i <= at + reach && i < bytes.length; i++)
      if (hashes[i]! > own) return false;
    return true;
  };
  const found: number[] = [];
  for (let start = 0; start < bytes.length;) {
    let end = start + reach;
    while (end < bytes.length && end <= start + longest && !isEnd(end - 1)) end++;
    if (end > start + longest) {
      end = start + reach + 1;
      for (let i = end; i < start + longest; i++) if (hashes[i]! >= hashes[end - 1]!) end = i + 1;
    }
    found.push((start = Math.min(end, bytes.length)));
  }
  return found;
}

describe("blocks", () => {
  test("follow one another through each file, with the hash of their content", async () => {
    const files = { a: random(300_000, 1), "d/b": random(70_000, 2), empty: "", one: "x" };
    const root = plant(files);
    const found = await blocks(root, { size: 8192 });
    expect(found).toMatchObject({ complete: true, files: 4, bytes: 370_001, errors: 0 });
    for (const [path, content] of Object.entries(files)) {
      let at = 0;
      for (const block of seen(found).filter((block) => block.path === path)) {
        expect(block.offset).toBe(at);
        const part = content.slice(at, (at += block.size));
        writeFileSync(scratch.at("part"), part);
        expect(block.hash).toBe(manifestSync(scratch.at("part"))[0]!.hash!);
      }
      expect(at).toBe(content.length);
    }
    const all = seen(found);
    expect(all.every(({ kind }) => kind === "unique")).toBe(true);
    expect(found.unique).toBe(all.length);
    expect([found.uniqueBytes, found.duplicate, found.duplicateBytes]).toEqual([370_001, 0, 0]);
    expect(Math.max(...all.map(({ size }) => size))).toBeLessThanOrEqual(4 * 8192);
  });

  test("end where the rule of docs/formats.md says", () => {
    const texts = "the quick brown fox jumps over the lazy dog ".repeat(500);
    const contents = [random(60_000, 3), Buffer.from(texts), Buffer.alloc(20_000)];
    for (const content of contents) {
      writeFileSync(scratch.at("file"), content);
      const found = seen(blocksSync(scratch.at("file"), { size: 1024 }));
      expect(found.map(({ offset, size }) => offset + size)).toEqual(ends(content, 1024));
    }
  });

  test("of equal ones the first in order is unique, and the others say where it is", async () => {
    const [shared, own] = [random(50_000, 4), random(1000, 5)];
    const root = plant({ "z/copy": shared, again: Buffer.concat([own, shared]), b: shared });
    const found = await blocks(root, { size: 1024 });
    const first = new Map<string, Seen>();
    for (const block of seen(found)) {
      const before = first.get(block.hash);
      expect(block.kind).toBe(before ? "duplicate" : "unique");
      if (block.kind === "duplicate")
        expect(block.of).toEqual({ path: before!.path, offset: before!.offset });
      if (!before) first.set(block.hash, block);
    }
    expect(found.uniqueBytes + found.duplicateBytes).toBe(151_000);
    // What lies 1000 bytes further on is cut alike, but for its first blocks.
    expect(found.duplicateBytes).toBeGreaterThan(90_000);
    const two = seen(found).filter(({ path }) => path === "z/copy");
    expect(two.every(({ kind }) => kind === "duplicate")).toBe(true);
  });

  test("same answer for any read size, thread count and way to ask", async () => {
    const shared = random(200_000, 6);
    const files: Record<string, Buffer> = {};
    for (let i = 0; i < 40; i++)
      files[`d${i % 5}/f${i}`] = Buffer.concat([random(i * 300, i), shared.subarray(i * 1000)]);
    const root = plant(files);
    const options: BlocksOptions = { size: 2048 };
    const expected = plain(blocksSync(root, options));
    expect(expected.duplicate).toBeGreaterThan(500);
    for (const runtime of [
      { workers: 1, ioWorkers: 1 },
      { workers: 8, ioWorkers: 16 },
    ]) {
      await using one = new Runtime(runtime);
      for (const concurrency of [1, 0])
        expect(plain(await blocks(root, { ...options, concurrency, runtime: one }))).toEqual(
          expected,
        );
    }
    // Other stores read in other pieces.
    spawnSync("tar", ["-czf", scratch.at("t.tar.gz"), "-C", root, "."]);
    copySync(root, "memory:blocks");
    for (const place of [`archive:${scratch.at("t.tar.gz")}`, "memory:blocks"])
      expect(plain(blocksSync(place, options)).blocks).toEqual(expected.blocks);
    // Iterated: the same blocks and sums; which of equal ones came first is the threads' affair.
    const task = blocks(root, options);
    const rows: Seen[] = [];
    for await (const row of task) if (row.kind !== "error") rows.push(row);
    const key = ({ path, offset, size, hash }: Seen): string => [path, offset, size, hash].join();
    expect(rows.map(key).toSorted()).toEqual((expected.blocks as Seen[]).map(key).toSorted());
    expect(plain(await task)).toEqual({ ...expected, blocks: [] });
  });

  test("one inserted byte changes at most 3 blocks", () => {
    const rounds = isLong ? 400 : 25;
    const content = random(200_000, 7);
    const hashes = (bytes: Uint8Array): Set<string> => {
      writeFileSync(scratch.at("file"), bytes);
      return new Set(seen(blocksSync(scratch.at("file"), { size: 4096 })).map(({ hash }) => hash));
    };
    const before = hashes(content);
    const places = words(8n);
    for (let i = 0; i < rounds; i++) {
      const at = Number(places.next().value % 200_001n);
      const after = hashes(
        Buffer.concat([content.subarray(0, at), Buffer.of(i), content.subarray(at)]),
      );
      expect(after.difference(before).size).toBeLessThanOrEqual(3);
      expect(before.difference(after).size).toBeLessThanOrEqual(3);
    }
  });

  test("who does not read on holds no thread, and memory for two pages only", async () => {
    const root = plant({ large: random(4_000_000, 9), other: random(10, 10) });
    await using runtime = new Runtime({ workers: 1, ioWorkers: 1 });
    const rows = blocks(root, { size: 1024, runtime })[Symbol.asyncIterator]();
    await rows.next();
    expect((await blocks(join(root, "other"), { runtime })).unique).toBe(1);
    let count = 1;
    while (!(await rows.next()).done) count += 1;
    expect(count).toBeGreaterThan(3000);
  });

  test("options of the walk hold, names are bytes, and a file is a tree of one", () => {
    const root = plant({ "keep.bin": random(5000, 11), "leave.log": random(5000, 11) });
    const odd = Buffer.concat([Buffer.from(root), Buffer.from("/b\xffd", "latin1")]);
    writeFileSync(odd, readFileSync(join(root, "keep.bin")));
    const found = blocksSync(root, { exclude: ["*.log"] });
    expect(found).toMatchObject({ files: 2, unique: 1, duplicate: 1 });
    const [first, second] = seen(found);
    expect(first).toMatchObject({ kind: "unique", pathBytes: Uint8Array.of(0x62, 0xff, 0x64) });
    expect(second).toMatchObject({ kind: "duplicate", path: "keep.bin", of: { offset: 0 } });
    expect(blocksSync(join(root, "keep.bin")).blocks).toMatchObject([
      { kind: "unique", path: "", offset: 0, size: 5000 },
    ]);
  });

  test("what cannot be read is a row, and the rest is told", () => {
    const root = plant({ a: random(3000, 12), b: "b" });
    const faults = `fault:read=1,code=IO:${root}`;
    const broken = blocksSync(faults, { concurrency: 1 });
    expect(broken).toMatchObject({ complete: false, errors: 1 });
    writeFileSync(scratch.at("list"), formatManifest(manifestSync(root)));
    const [row] = blocksSync(`manifest:${scratch.at("list")}`).blocks;
    expect(row).toMatchObject({ kind: "error", error: { code: "UNSUPPORTED" } });
  });

  test("blocks too large for the memory of the runtime are LIMIT", async () => {
    const root = plant({ a: "a" });
    await using runtime = new Runtime({ memory: 16 * 2 ** 20 });
    const { blocks: rows } = await blocks(root, { size: 4 * 2 ** 20, runtime });
    expect(rows).toMatchObject([{ kind: "error", error: { code: "LIMIT" } }]);
  });

  test("other options are refused, by name", async () => {
    const refused = (options: object): string => {
      try {
        blocksSync(scratch.path, options);
      } catch (error) {
        return (error as CopseError).message;
      }
      return "none";
    };
    for (const size of [0, 1023, 2 ** 22 + 1, 1.5, "4K"])
      expect(refused({ size })).toContain("size");
    expect(refused({ colour: "red" })).toContain("colour");
    expect(await codeOf(blocks(scratch.at("nothing") as Location))).toBe("NOT_FOUND");
  });
});

describe("copse blocks", () => {
  const command = commandPlace();

  test("prints blocks and sums; --json, --jsonl, --quiet", async () => {
    const content = random(40_000, 13);
    command.plant("tree", { a: content, b: content });
    const text = await command.copse("blocks", "tree", "--size", "4K");
    expect(text).toMatchObject({ status: 0, err: "" });
    const lines = text.out.trimEnd().split("\n");
    expect(lines[0]).toMatch(/^\+ a {2}0\+\d+ {2}[0-9a-f]{16}$/);
    expect(lines.at(-2)).toMatch(/^= b {2}\d+\+\d+ {2}[0-9a-f]{16} {2}a {2}\d+$/);
    expect(lines.at(-1)).toMatch(/blocks of 40 kB · \d+ duplicates of 40 kB · 2 files read in/);
    const json = await command.copse("blocks", "--json", "tree");
    expect(JSON.parse(json.out)).toMatchObject({ uniqueBytes: 40_000, duplicateBytes: 40_000 });
    const rows = await command.copse("blocks", "--jsonl", "tree");
    const last = JSON.parse(rows.out.trimEnd().split("\n").at(-1)!);
    expect(last).toMatchObject({ kind: "summary", complete: true, files: 2 });
    expect(await command.copse("blocks", "-q", "tree")).toEqual({ status: 0, out: "", err: "" });
  });

  test("2 for what cannot be read, and for a size that cannot be", async () => {
    expect((await command.copse("blocks", "nowhere")).status).toBe(2);
    const wrong = await command.copse("blocks", "--size", "12", ".");
    expect([wrong.status, wrong.out]).toEqual([2, ""]);
    expect(wrong.err).toContain("size");
  });
});
