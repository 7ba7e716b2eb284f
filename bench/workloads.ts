// Makes what the benches compare, from fixed seeds, once: `bun bench/workloads.ts [--quick]`.
//
// Everything lies under $COPSE_BENCH_DIR, or a folder of the system's temporary one. A workload is
// made under another name and renamed when it is whole, so what has the right name is complete.
// A whole side is written before the other, as `cp -r` would, so that the disk holds them apart.

import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { evict } from "./cache.ts";

export interface Workload {
  readonly id: string;
  readonly title: string;
  readonly kind: "tree" | "file";
  readonly left: string;
  readonly right: string;
  readonly equal: boolean;
  /** Of one side. */
  readonly files: number;
  readonly bytes: number;
  /** First differing byte, where there is one. */
  readonly offset?: number;
  /** A small part of the left tree, and its copy in which one byte differs: same size, same time. */
  readonly proof?: readonly [left: string, right: string];
}

export interface Workloads {
  readonly small: Workload;
  readonly tiny: Workload;
  readonly mixed: Workload;
  readonly identical: Workload;
  readonly lastByte: Workload;
  readonly within: Workload;
  readonly sparse: Workload;
  /** Two empty directories and two empty files: what a program takes to do nothing. */
  readonly nothing: Readonly<Record<Workload["kind"], readonly [string, string]>>;
}

interface Sizes {
  readonly folder: string;
  readonly smallDirectories: number;
  readonly tinyDirectories: number;
  readonly mixedDirectories: number;
  readonly largeBytes: number;
  readonly sparseBytes: number;
  readonly sparseExtents: number;
}

// Another layout is another folder name, so that an old one is not taken for it.
const full: Sizes = {
  folder: "full-1",
  smallDirectories: 100,
  tinyDirectories: 1000,
  mixedDirectories: 40,
  largeBytes: 1 << 30,
  sparseBytes: 4 * 2 ** 30,
  sparseExtents: 24,
};
const quick: Sizes = {
  folder: "quick-1",
  smallDirectories: 5,
  tinyDirectories: 20,
  mixedDirectories: 3,
  largeBytes: 32 << 20,
  sparseBytes: 256 << 20,
  sparseExtents: 3,
};

const filesPerDirectory = { small: 100, tiny: 100, mixed: 50 };
const smallBytes = 4096;
const tinyBytesMax = 1024;
const mixedBytesMax = 1.5 * 2 ** 20;
const extentBytes = 1 << 20;

/** Returns the workloads, making those that are not there yet. */
export function workloads(isQuick: boolean): Workloads {
  const sizes = isQuick ? quick : full;
  const root = join(process.env["COPSE_BENCH_DIR"] ?? join(tmpdir(), "copse-bench"), sizes.folder);
  mkdirSync(root, { recursive: true });
  if (!isQuick && !existsSync(join(root, "sparse"))) requireRoom(root, 10 * 2 ** 30);

  const nothing = once(root, "nothing", (folder) => {
    for (const side of ["left", "right"]) {
      mkdirSync(join(folder, side));
      writeFileSync(join(folder, `${side}.bin`), "");
    }
  });
  const large = once(root, "large", (folder) => {
    const at = { last: sizes.largeBytes - 1, within: withinOffset(sizes.largeBytes) };
    writeLarge(join(folder, "left.bin"), sizes.largeBytes);
    writeLarge(join(folder, "same.bin"), sizes.largeBytes);
    writeLarge(join(folder, "last.bin"), sizes.largeBytes, at.last);
    writeLarge(join(folder, "within.bin"), sizes.largeBytes, at.within);
  });
  const sparse = once(root, "sparse", (folder) => {
    for (const side of ["left", "right"]) writeSparse(join(folder, `${side}.bin`), sizes);
  });

  const largeTitle = size(sizes.largeBytes);
  const file = (id: string, title: string, right: string, offset?: number): Workload => ({
    id,
    title: `${largeTitle}, ${title}`,
    kind: "file",
    left: join(large, "left.bin"),
    right: join(large, right),
    equal: offset === undefined,
    files: 1,
    bytes: sizes.largeBytes,
    ...(offset === undefined ? {} : { offset }),
  });
  return {
    small: tree(root, "small", "4 KiB each", sizes.smallDirectories, 1, () => smallBytes),
    tiny: tree(root, "tiny", "up to 1 KiB", sizes.tinyDirectories, 2, (random) =>
      random.below(tinyBytesMax + 1),
    ),
    mixed: tree(root, "mixed", "0 to 1.5 MiB", sizes.mixedDirectories, 3, mixedSize),
    identical: file("identical", "identical", "same.bin"),
    lastByte: file("last-byte", "last byte differs", "last.bin", sizes.largeBytes - 1),
    within: file("within", "a byte at 37 % differs", "within.bin", withinOffset(sizes.largeBytes)),
    sparse: {
      id: "sparse",
      title: `${size(sizes.sparseBytes)} sparse, ${sizes.sparseExtents} MiB of data`,
      kind: "file",
      left: join(sparse, "left.bin"),
      right: join(sparse, "right.bin"),
      equal: true,
      files: 1,
      bytes: sizes.sparseBytes,
    },
    nothing: {
      tree: [join(nothing, "left"), join(nothing, "right")],
      file: [join(nothing, "left.bin"), join(nothing, "right.bin")],
    },
  };
}

/** Sizes as real trees have them: as many between 1 and 2 KiB as between 512 KiB and 1 MiB; 2 % empty. */
function mixedSize(random: Random): number {
  return random.below(50) === 0 ? 0 : Math.floor(mixedBytesMax ** random.fraction());
}

function withinOffset(bytes: number): number {
  return Math.floor(bytes * 0.37);
}

type SizeOf = (random: Random) => number;

function tree(
  root: string,
  id: "small" | "tiny" | "mixed",
  what: string,
  directories: number,
  seed: number,
  sizeOf: SizeOf,
): Workload {
  const perDirectory = filesPerDirectory[id];
  const folder = once(root, id, (made) => {
    const bytes = writeTree(join(made, "left"), directories, perDirectory, seed, sizeOf);
    writeTree(join(made, "right"), directories, perDirectory, seed, sizeOf);
    writeProof(join(made, "left", directoryName(0)), join(made, "proof"), perDirectory);
    writeFileSync(join(made, "bytes"), String(bytes));
  });
  return {
    id,
    title: `${(directories * perDirectory).toLocaleString("en")} files, ${what}`,
    kind: "tree",
    left: join(folder, "left"),
    right: join(folder, "right"),
    equal: true,
    files: directories * perDirectory,
    bytes: Number(readFileSync(join(folder, "bytes"), "utf8")),
    proof: [join(folder, "left", directoryName(0)), join(folder, "proof")],
  };
}

/** Two levels, at most a hundred entries in each directory. */
function directoryName(index: number): string {
  return `${name(Math.floor(index / 100))}/${name(index % 100)}`;
}

function name(index: number): string {
  return `entry-${String(index).padStart(3, "0")}`;
}

function writeTree(
  root: string,
  directories: number,
  perDirectory: number,
  seed: number,
  sizeOf: SizeOf,
): number {
  const random = new Random(seed);
  const buffer = new Uint32Array(mixedBytesMax / 4);
  let total = 0;
  for (let d = 0; d < directories; d++) {
    const directory = join(root, directoryName(d));
    mkdirSync(directory, { recursive: true });
    for (let f = 0; f < perDirectory; f++) {
      const bytes = sizeOf(random);
      random.fill(buffer.subarray(0, Math.ceil(bytes / 4)));
      writeFileSync(join(directory, name(f)), new Uint8Array(buffer.buffer, 0, bytes));
      total += bytes;
    }
  }
  return total;
}

/** Copies a directory of files and turns over the last byte of the last one that is not empty. */
function writeProof(from: string, to: string, files: number): void {
  mkdirSync(to);
  let isChanged = false;
  for (let f = files - 1; f >= 0; f--) {
    const bytes = readFileSync(join(from, name(f)));
    if (!isChanged && bytes.length > 0) {
      bytes[bytes.length - 1]! ^= 1;
      isChanged = true;
    }
    writeFileSync(join(to, name(f)), bytes);
    const { atime, mtime } = statSync(join(from, name(f)));
    utimesSync(join(to, name(f)), atime, mtime);
  }
}

/** `changed` is the offset of a byte that is turned over. */
function writeLarge(path: string, bytes: number, changed?: number): void {
  const random = new Random(4);
  const words = new Uint32Array(2 ** 20);
  const block = new Uint8Array(words.buffer);
  const fd = openSync(path, "w");
  for (let at = 0; at < bytes; at += block.length) {
    random.fill(words);
    if (changed !== undefined && changed >= at && changed < at + block.length)
      block[changed - at]! ^= 1;
    writeSync(fd, block, 0, Math.min(block.length, bytes - at), at);
  }
  closeSync(fd);
}

function writeSparse(path: string, sizes: Sizes): void {
  const random = new Random(5);
  const words = new Uint32Array(extentBytes / 4);
  const fd = openSync(path, "w");
  ftruncateSync(fd, sizes.sparseBytes);
  const stride = sizes.sparseBytes / sizes.sparseExtents;
  for (let i = 0; i < sizes.sparseExtents; i++) {
    random.fill(words);
    const room = Math.floor((stride - extentBytes) / 4096);
    const at = Math.floor((i * stride) / 4096) * 4096 + random.below(room) * 4096;
    writeSync(fd, new Uint8Array(words.buffer), 0, extentBytes, at);
  }
  closeSync(fd);
}

/** Makes a folder once; it gets its name only when it is whole and on the disk. */
function once(root: string, id: string, make: (folder: string) => void): string {
  const folder = join(root, id);
  if (existsSync(folder)) return folder;
  process.stderr.write(`making the workload ${id}\n`);
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial);
  make(partial);
  // One for all: a hundred thousand files one by one take minutes.
  Bun.spawnSync(["sync"]);
  // Written pages are large folios; read ones are not. Measured is what reading leaves behind.
  evict([partial]);
  renameSync(partial, folder);
  return folder;
}

function requireRoom(root: string, bytes: number): void {
  const { bavail, bsize } = statfsSync(root);
  if (bavail * bsize >= bytes) return;
  throw new Error(
    `the bench needs ${size(bytes)} below ${root}; set COPSE_BENCH_DIR to a folder that has them`,
  );
}

/** "1 GiB" */
function size(bytes: number): string {
  return bytes >= 2 ** 30 ? `${bytes / 2 ** 30} GiB` : `${bytes / 2 ** 20} MiB`;
}

/** xoshiro128**: the same numbers on every machine and every Bun. */
class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    this.#a = 0x9e3779b9 ^ seed;
    this.#b = 0x243f6a88;
    this.#c = 0xb7e15162;
    this.#d = seed;
    for (let i = 0; i < 16; i++) this.next();
  }

  next(): number {
    const scaled = Math.imul(this.#b, 5);
    const result = Math.imul((scaled << 7) | (scaled >>> 25), 9) >>> 0;
    const t = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= t;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  below(limit: number): number {
    return this.next() % limit;
  }

  fraction(): number {
    return this.next() / 2 ** 32;
  }

  fill(words: Uint32Array): void {
    for (let i = 0; i < words.length; i++) words[i] = this.next();
  }
}

if (import.meta.main) {
  const made = workloads(process.argv.includes("--quick"));
  for (const entry of Object.values(made))
    if ("title" in entry) process.stdout.write(`${entry.id}: ${entry.title}\n`);
}
