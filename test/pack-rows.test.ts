// Rows, edge cases and reader rules of the table of packs that have no other test: docs/pack-table.md
// says where each is held. Archives of others are made out of the given one, by its layout.

import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  compare,
  compareSync,
  list,
  listSync,
  manifestSync,
  packSync,
  Runtime,
  Store,
  sync,
  unpackSync,
  verifySync,
} from "../lib/index.ts";
import { noise, sample, samples } from "./packs.ts";
import { isRoot, link, Random, Scratch } from "./trees.ts";
import { codeOf } from "./ways.ts";

const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const s1 = `pack:${join(samples, "s1.znippy")}`;
const text = "line of a text that packs well\n".repeat(40);
/** Where parts of s1 begin: the rows' batch and its body, the manifest's batch and its body. */
const at = {
  index: 12_682,
  batch: 13_706,
  body: 14_218,
  end: 15_570,
  listed: 16_018,
  told: 16_466,
};
const rows = 14;
/** Buffers of the rows: see znippy's order of columns. */
const row = {
  ends: 1,
  paths: 2,
  seqValid: 3,
  seq: 4,
  at: 6,
  compressed: 8,
  size: 10,
  blobAt: 12,
  blobSize: 14,
  checksum: 16,
};

function put64(bytes: Buffer, place: number, value: number): void {
  bytes.writeBigUInt64LE(BigInt(value), place);
}
const get64 = (bytes: Buffer, place: number): number => Number(bytes.readBigUInt64LE(place));
/** Where a buffer of the rows lies, and where its place and length are said. */
const said = (buffer: number): number => at.batch + 224 + 16 * buffer;
const column = (bytes: Buffer, buffer: number): number => at.body + get64(bytes, said(buffer));
const listedAt = (bytes: Buffer, buffer: number): number =>
  at.told + get64(bytes, at.listed + 192 + 16 * buffer);

/** Bytes put in at a place before the index: all that is said about places behind it moves. */
function inserted(bytes: Buffer, place: number, more: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  for (let i = 0; i < rows; i++) {
    const value = column(copy, row.blobAt) + 8 * i;
    if (get64(copy, value) >= place) put64(copy, value, get64(copy, value) + more.length);
  }
  put64(copy, listedAt(copy, 9), at.index + more.length);
  put64(copy, copy.length - 8, at.end + more.length);
  return Buffer.concat([copy.subarray(0, place), more, copy.subarray(place)]);
}

function read(bytes: Buffer): string {
  const file = scratch.at("made.znippy");
  writeFileSync(file, bytes);
  return `pack:${file}`;
}

const failure = (bytes: Buffer): Promise<string> => codeOf(list(read(bytes)));

describe("packs of others", () => {
  test("bytes that nothing tells of, between blobs and before the manifest", () => {
    const gap = inserted(sample("s1"), 0, Buffer.from("a gap that no row tells of"));
    expect(compareSync(s1, read(gap)).equal).toBe(true);
    const whole = sample("s1");
    const more = Buffer.concat([
      whole.subarray(0, at.end),
      Buffer.alloc(99),
      whole.subarray(at.end),
    ]);
    put64(more, more.length - 8, at.end + 99);
    expect(compareSync(s1, read(more)).equal).toBe(true);
    expect(verifySync(read(more)).ok).toBe(true);
  });

  test("blobs in reverse order", () => {
    const copy = Buffer.from(sample("s1"));
    const blobs = Array.from({ length: rows }, (_, i) => ({
      i,
      from: get64(copy, column(copy, row.blobAt) + 8 * i),
      size: get64(copy, column(copy, row.blobSize) + 8 * i),
    })).toSorted((left, right) => right.from - left.from);
    let place = 0;
    for (const { i, from, size } of blobs) {
      sample("s1").copy(copy, place, from, from + size);
      put64(copy, column(copy, row.blobAt) + 8 * i, place);
      place += size;
    }
    expect(place).toBe(at.index);
    expect(compareSync(s1, read(copy)).equal).toBe(true);
  });

  test("rows that share a blob", () => {
    const copy = Buffer.from(sample("s1"));
    // Rows are in the order of the walk, so they are found by what they hold.
    const sums = Array.from({ length: rows }, (_, i) =>
      copy
        .subarray(column(copy, row.checksum) + 32 * i)
        .subarray(0, 32)
        .toString("hex"),
    );
    const [first, second] = [0, 1];
    for (const [buffer, width] of [
      [row.size, 8],
      [row.blobAt, 8],
      [row.blobSize, 8],
      [row.checksum, 32],
    ] as const) {
      const from = column(copy, buffer) + width * first;
      copy.copy(copy, column(copy, buffer) + width * second, from, from + width);
    }
    const bits = column(copy, row.compressed);
    const bit = (copy[bits]! >> first) & 1;
    copy[bits] = (copy[bits]! & ~(1 << second)) | (bit << second);
    expect(verifySync(read(copy))).toMatchObject({ ok: true, files: rows });
    // The second file is now what the first is, and the others are what they were.
    const held = manifestSync(read(copy)).flatMap(({ type, hash }) =>
      type === "file" ? [hash] : [],
    );
    expect(held.toSorted()).toEqual(sums.with(second, sums[first]!).toSorted());
  });

  test("several groups, each with a sub-index, in a manifest of two", () => {
    const whole = sample("s1");
    const other = Buffer.from(whole.subarray(at.index, at.end));
    // Other names, for a name twice would be refused: all begin with a small letter.
    const names = column(whole, 2) - at.index;
    for (let i = 0; i < rows; i++) {
      const first = names + whole.readUInt32LE(column(whole, 1) + 4 * i);
      other[first]! -= 32;
    }
    const middle = Buffer.from(whole.subarray(at.end));
    const copy = Buffer.concat([whole.subarray(0, at.end), other, middle]);
    const shift = other.length;
    const value = (buffer: number): number => shift + listedAt(whole, buffer);
    put64(copy, shift + at.listed + 72, 2);
    for (let node = 0; node < 6; node++) put64(copy, shift + at.listed + 88 + 16 * node, 2);
    const lengths: [number, number][] = [
      [1, 2],
      [3, 12],
      [6, 12],
      [9, 16],
      [11, 16],
      [13, 16],
    ];
    for (const [buffer, length] of lengths)
      put64(copy, shift + at.listed + 192 + 16 * buffer + 8, length);
    put64(copy, value(9) + 8, at.end);
    put64(copy, value(11) + 8, other.length);
    put64(copy, value(13) + 8, rows);
    put64(copy, copy.length - 8, at.end + shift);
    const files = listSync(read(copy)).filter(({ type }) => type === "file");
    expect(files.map(({ path }) => path)).toContain("Tiny.txt");
    expect(files).toHaveLength(2 * rows);
    expect(verifySync(read(copy)).ok).toBe(true);
  });

  // Several workers take such a file in parts, which end where chunks do.
  test.each<[name: string, size: (chunk: number) => number]>([
    ["shorter than a part", (i) => 700_000 + 4099 * i],
    ["longer than one", (i) => (i % 5 === 0 ? 5 * 2 ** 20 + i : 7)],
    ["one very long, the rest of a byte", (i) => (i === 6 ? 24 * 2 ** 20 : 1)],
  ])("a file in 14 chunks: %s", (_, size) => {
    const chunks = Array.from({ length: rows }, (__, i) => noise(size(i), i));
    const blobs = Buffer.concat(chunks);
    const copy = inserted(sample("s1"), at.index, blobs);
    const cell = (buffer: number): number => blobs.length + column(sample("s1"), buffer);
    const file = scratch.at("chunk");
    let place = 0;
    for (const [i, chunk] of chunks.entries()) {
      writeFileSync(file, chunk);
      copy.writeUInt32LE(i + 1, cell(row.ends) + 4 * (i + 1));
      copy.write("x", cell(row.paths) + i);
      copy.writeUInt32LE(i, cell(row.seq) + 4 * i);
      put64(copy, cell(row.at) + 8 * i, place);
      put64(copy, cell(row.size) + 8 * i, chunk.length);
      put64(copy, cell(row.blobAt) + 8 * i, at.index + place);
      put64(copy, cell(row.blobSize) + 8 * i, chunk.length);
      Buffer.from(manifestSync(file)[0]!.hash!, "hex").copy(copy, cell(row.checksum) + 32 * i);
      place += chunk.length;
    }
    copy.writeUInt16LE(0, cell(row.compressed));
    const packed = read(copy);
    expect(verifySync(packed)).toMatchObject({ ok: true, files: 1, bytes: blobs.length });
    const out = scratch.at("unpacked");
    expect(unpackSync(packed.slice("pack:".length), out)).toMatchObject({ copied: 1, errors: 0 });
    expect(readFileSync(join(out, "x")).equals(blobs)).toBe(true);
  });

  test("an index of no rows is an empty tree", async () => {
    const copy = Buffer.from(sample("s1"));
    put64(copy, at.batch + 72, 0);
    for (let node = 0; node < 8; node++) put64(copy, at.batch + 88 + 16 * node, 0);
    for (let buffer = 0; buffer < 17; buffer++) put64(copy, said(buffer) + 8, 0);
    put64(copy, listedAt(copy, 13), 0);
    expect(await list(read(copy))).toMatchObject({ length: 0, complete: true });
  });

  test.each([8 << 20, 104_857_600])("a chunk of %d bytes", (size) => {
    const zeros = scratch.at("zeros");
    writeFileSync(zeros, "");
    truncateSync(zeros, size);
    const [entry] = manifestSync(zeros);
    // Never written to, so the system gives it no memory.
    const content = Buffer.alloc(size);
    const frame = zstdFrame(Buffer.from(Bun.zstdCompressSync(content)).subarray(4), size, content);
    const place = at.index;
    const copy = inserted(sample("s1"), place, frame);
    const moved = frame.length;
    const cell = (buffer: number): number => moved + at.body + get64(copy, moved + said(buffer));
    const i = Array.from({ length: rows }, (_, n) => n).find(
      (n) => get64(copy, cell(row.size) + 8 * n) === 100_000,
    )!; // zeros.dat
    put64(copy, cell(row.size) + 8 * i, size);
    put64(copy, cell(row.blobAt) + 8 * i, place);
    put64(copy, cell(row.blobSize) + 8 * i, frame.length);
    Buffer.from(entry!.hash!, "hex").copy(copy, cell(row.checksum) + 32 * i);
    expect(compareSync(zeros, `${read(copy)}#zeros.dat`).equal).toBe(true);
  });
});

/** A frame of the shape ZSTD, as packs have them, out of a zstd frame without its magic. */
function zstdFrame(packed: Buffer, size: number, content: Buffer): Buffer {
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
  const low = (bytes: Buffer): Buffer => {
    const sum = Buffer.alloc(4);
    sum.writeUInt32LE(Number(BigInt(Bun.hash.xxHash3(bytes)) & 0xffff_ffffn));
    return sum;
  };
  const head = Buffer.from([0xd9, 0xa5, 0xb1, 0xd7, 3, 1, ...varint(size + 1)]);
  const check = Number(BigInt(Bun.hash.xxHash3(head)) & 255n);
  const chunk = Buffer.concat([
    Buffer.from([2, 1, 0, 0x16, 0, 0, 0, 0, ...varint(1 + packed.length), 1]),
    packed,
    low(content),
  ]);
  return Buffer.concat([head, Buffer.from([check]), chunk, low(chunk), Buffer.from([0])]);
}

describe("reader rules", () => {
  test.each<[name: string, code: string, change: (bytes: Buffer) => void]>([
    [
      "an index that begins behind the manifest",
      "CORRUPT",
      (b) => put64(b, listedAt(b, 9), 16_000),
    ],
    ["an index length that is not used up", "CORRUPT", (b) => put64(b, listedAt(b, 11), 2880)],
    [
      "another number of rows than the manifest says",
      "CORRUPT",
      (b) => put64(b, listedAt(b, 13), 13),
    ],
    [
      "a null in a base column",
      "CORRUPT",
      (b) => {
        // A validity that says that all is null: two bytes of the zeros behind a column.
        put64(b, said(row.seqValid), get64(b, said(4)) + 4 * rows);
        put64(b, said(row.seqValid) + 8, 2);
      },
    ],
    [
      "a stored blob whose size is not its content's",
      "CORRUPT",
      (b) => {
        const bits = column(b, row.compressed);
        b[bits] = 0;
        b[bits + 1] = 0;
      },
    ],
    [
      "a column of another type",
      "CORRUPT",
      // chunk_seq UInt32 becomes signed: the last byte of its type's table.
      (b) => void (b[signedOf(b)] = 1),
    ],
    // Fields of tables that the sample does not have get one in their vtable.
    ["another metadata version", "UNSUPPORTED", (b) => void b.writeUInt16LE(3, at.index + 36)],
    ["big-endian numbers", "UNSUPPORTED", (b) => void b.writeUInt16LE(8, at.index + 42)],
    ["a compressed body", "UNSUPPORTED", (b) => void b.writeUInt16LE(12, at.batch + 50)],
    [
      "a dictionary",
      "UNSUPPORTED",
      (b) => {
        const fields = at.index + 56 + b.readUInt32LE(at.index + 56);
        const table = fields + 4 + b.readUInt32LE(fields + 4);
        const vtable = table - b.readInt32LE(table);
        b.writeUInt16LE(b.readUInt16LE(vtable + 4), vtable + 12);
      },
    ],
    [
      "an entry of a module is skipped",
      "none",
      (b) => {
        b.writeUInt32LE(1, listedAt(b, 6) + 4);
        b.write("m", listedAt(b, 7));
        put64(b, at.listed + 192 + 16 * 7 + 8, 1);
      },
    ],
    [
      "an unknown key of metadata is ignored",
      "none",
      (b) => void b.write("max_chumks", b.indexOf("max_chunks")),
    ],
    [
      "an unknown column is ignored, a base column missing is not",
      "CORRUPT",
      (b) => void b.write("chunk_sex", b.indexOf("chunk_seq")),
    ],
  ])("%s: %s", async (_, code, change) => {
    const copy = Buffer.from(sample("s1"));
    change(copy);
    expect(await failure(copy)).toBe(code);
  });

  test("several batches of rows are UNSUPPORTED", async () => {
    const whole = sample("s1");
    const batch = whole.subarray(at.batch, 15_562);
    const copy = Buffer.concat([whole.subarray(0, 15_562), batch, whole.subarray(15_562)]);
    const shift = batch.length;
    put64(copy, shift + listedAt(whole, 11), at.end - at.index + shift);
    put64(copy, copy.length - 8, at.end + shift);
    expect(await failure(copy)).toBe("UNSUPPORTED");
  });

  test.skipIf(!Bun.which("zstd"))("a zstd frame without its content's size", async () => {
    // Streamed zstd does not say it.
    const streamed = Bun.spawnSync([
      "sh",
      "-c",
      "printf hellohellohello | zstd -q -c --no-check",
    ]).stdout;
    const content = Buffer.from("hellohellohello");
    const copy = inserted(sample("s1"), at.index, zstdFrame(streamed.subarray(4), 15, content));
    const moved = copy.length - sample("s1").length;
    const cell = (buffer: number): number => moved + at.body + get64(copy, moved + said(buffer));
    const i = Array.from({ length: rows }, (_, n) => n).find(
      (n) => get64(copy, cell(row.size) + 8 * n) === 100_000,
    )!;
    put64(copy, cell(row.size) + 8 * i, 15);
    put64(copy, cell(row.blobAt) + 8 * i, at.index);
    put64(copy, cell(row.blobSize) + 8 * i, moved);
    const store = new Store(read(copy));
    expect(await codeOf(new Response(store.read("zeros.dat")).text())).toBe("UNSUPPORTED");
  });
});

/** Where the schema says whether chunk_seq is signed: found by what changing it does. */
function signedOf(bytes: Buffer): number {
  const name = bytes.indexOf("chunk_seq");
  // The type's table stands between the column's table and the next name; its bits are 32.
  for (let place = name - 200; place < name + 40; place++)
    if (bytes.readUInt32LE(place) === 32 && isUnsigned(bytes, place)) return place - 1;
  throw new Error("the schema is another one");
}
const isUnsigned = (bytes: Buffer, place: number): boolean => bytes[place - 1] === 0;

describe("acceptance table", () => {
  test("A1: the report's fields, against a known tree", () => {
    const root = scratch.plant("a1", { "a.txt": text, "b/c.gz": text, "b/d.txt": "" });
    const file = scratch.at("a1.znippy");
    const { report } = packSync(root, file, { level: 1 });
    const size = statSync(file).size;
    expect(report).toMatchObject({
      files: 3,
      directories: 2,
      compressedFiles: 2,
      storedFiles: 1,
      bytesIn: 2 * text.length,
      bytesOut: size,
      compressedBytes: text.length,
      storedBytes: text.length,
      chunks: 3,
      ratio: size / (2 * text.length),
    });
  });

  test.each([
    ["x.gz", true],
    [".gz", false],
    ["A.GZ", true],
    ["x.tar.gz", true],
    ["gz", false],
    ["a.", false],
    ["x.mp4", false],
    ["x.PnG", true],
    ["x.parquet", true],
  ])("A5: the skip table: %s is stored: %s", (name, isStored) => {
    const root = scratch.plant(`a5-${name}`, { [name]: text });
    const { report } = packSync(root, scratch.at("a5.znippy"));
    expect(report).toMatchObject({
      storedFiles: Number(isStored),
      compressedFiles: Number(!isStored),
    });
    const all = packSync(root, scratch.at("a5.znippy"), { compress: "always" }).report;
    expect(all).toMatchObject({ storedFiles: 0 });
  });

  test("A5: files that are empty, of 1 to 9 bytes, incompressible and longer than a chunk", () => {
    const root = scratch.plant("a5-sizes", {
      ...Object.fromEntries(
        Array.from({ length: 10 }, (_, n) => [`n${n}`, "x".repeat(n)] as const),
      ),
      noise: new Random(1).bytes(70_000),
      long: Buffer.concat([new Random(2).bytes(4 << 20), Buffer.from("and more")]),
    });
    const file = scratch.at("a5-sizes.znippy");
    const { report } = packSync(root, file);
    expect(report).toMatchObject({ files: 12, chunks: 13 });
    expect(compareSync(root, `pack:${file}`).equal).toBe(true);
  });

  // Root may read everything.
  test.skipIf(isRoot)("A10: an unreadable file is an error row, never silently missing", () => {
    const root = scratch.plant("a10", { a: "1", b: "2" });
    chmodSync(join(root, "b"), 0);
    const result = packSync(root, scratch.at("a10.znippy"));
    expect(result).toMatchObject({ errors: 1, copied: 1, complete: false });
  });

  test("A11: sync, compare, list and verify take a pack as a tree, also the way back", async () => {
    const root = scratch.plant("a11", { "a/b": text, c: link("a/b") });
    const file = scratch.at("a11.znippy");
    packSync(root, file);
    const out = scratch.plant("a11-out", { old: "goes" });
    expect(await sync(`pack:${file}`, out)).toMatchObject({ errors: 0, deleted: 1 });
    expect(await compare(root, out)).toMatchObject({ equal: true });
    expect(await compare(`pack:${file}`, s1)).toMatchObject({ equal: false });
  });

  test("output: the caller's name is taken as it is, and a missing input makes no file", () => {
    const root = scratch.plant("names", { a: "1" });
    packSync(root, scratch.at("x.tar.gz"));
    expect(verifySync(`pack:${scratch.at("x.tar.gz")}`).ok).toBe(true);
    expect(() => packSync(scratch.at("missing"), scratch.at("none.znippy"))).toThrow(
      expect.objectContaining({ code: "NOT_FOUND" }),
    );
    expect(existsSync(scratch.at("none.znippy"))).toBe(false);
  });

  test("hard links: unpacked as such when asked for, and kept from pack to pack", () => {
    const root = scratch.plant("twins", { "a/one": text, "b/other": text });
    linkSync(join(root, "a/one"), join(root, "b/two"));
    linkSync(join(root, "a/one"), join(root, "three"));
    const file = scratch.at("twins.znippy");
    packSync(root, file);
    const out = scratch.at("twins-out");
    expect(unpackSync(file, out, { hardLinks: true })).toMatchObject({ errors: 0, linked: 2 });
    const inode = (path: string): number => statSync(join(out, path)).ino;
    expect(new Set([inode("a/one"), inode("b/two"), inode("three")]).size).toBe(1);
    expect(inode("b/other")).not.toBe(inode("a/one"));
    expect(unpackSync(file, scratch.at("twins-apart"))).toMatchObject({ copied: 4, linked: 0 });
    packSync(`pack:${file}`, scratch.at("twins-again.znippy"));
    expect(readFileSync(scratch.at("twins-again.znippy")).equals(readFileSync(file))).toBe(true);
  });

  test("unpack: no descriptor is left open, and none is held for each file", () => {
    using runtime = new Runtime();
    const before = readdirSync("/proc/self/fd").length;
    expect(unpackSync(s1, scratch.at("few-out"), { runtime }).errors).toBe(0);
    expect(readdirSync("/proc/self/fd").length).toBeLessThan(before + 10);
    expect(readFileSync(scratch.at("few-out", "tiny.txt"), "utf8")).toHaveLength(5);
  });
});
