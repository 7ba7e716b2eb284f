// The same hostile entries in every format: what is told of them, what a copy leaves on disk, and how
// much memory it takes. Then real archives of formats that nothing here can write. (What only tar and
// zip can say is in archive-hostile.test.ts.)

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, lstatSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import {
  compareSync,
  copySync,
  CopseError,
  listSync,
  Runtime,
  type ArchiveFormat,
  type ErrorCode,
  type Limits,
} from "../lib/index.ts";
import {
  arOf,
  cabOf,
  cpioOf,
  lhaOf,
  rar5Of,
  rarOf,
  type RareEntry as Entry,
} from "./archives-rare.ts";
import { gzip, pax, tarEntry, tarOf, zipOf } from "./archives.ts";
import { isSanitized } from "./patience.ts";
import { run, Scratch } from "./trees.ts";

const MIB = 2 ** 20;
const PEAK = 300 * MIB;
const all: readonly ArchiveFormat[] = [
  "tar",
  "zip",
  "cpio",
  "ar",
  "iso",
  "7z",
  "rar",
  "lha",
  "cab",
];

let scratch: Scratch;
let runtime: Runtime;
beforeAll(() => {
  scratch = new Scratch();
  runtime = new Runtime();
});
afterAll(() => {
  runtime[Symbol.dispose]();
  scratch[Symbol.dispose]();
});

let files = 0;
function save(content: Uint8Array): string {
  const path = scratch.at(`made-${++files}`);
  writeFileSync(path, content);
  return path;
}

// ── Writers ──

interface Format {
  readonly name: string;
  make(entries: readonly Entry[]): Buffer;
  /** Proves content: a flipped bit of it is an error. */
  readonly hasSums: boolean;
  readonly hasLinks: boolean;
  readonly hasKinds: boolean;
  /** Writes what it is given, whatever that is. */
  readonly isFree: boolean;
}

const kinds: Readonly<Record<number, string>> = { 0o20: "3", 0o60: "4", 0o10: "6", 0o40: "5" };

const tar = (entries: readonly Entry[]): Buffer =>
  tarOf(
    ...entries.map(({ name, content = "", target, mode = 0o100644, size }) => ({
      name,
      content: target === undefined ? content : "",
      type: target === undefined ? (kinds[mode >> 9] ?? "0") : "2",
      mode: mode & 0o7777,
      ...(target !== undefined && { target }),
      ...(size !== undefined && { size }),
    })),
  );

const zip = (entries: readonly Entry[]): Buffer =>
  zipOf(
    entries.map(({ name, content = "", target, mode, size, brokenSum }) => ({
      name,
      content: target ?? content,
      ...(target !== undefined ? { mode: 0o120777 } : mode !== undefined && { mode }),
      ...(size !== undefined && { central: { size } }),
      ...(brokenSum && { central: { crc: 1 }, local: { crc: 1 } }),
    })),
  );

/** By libarchive's own writer, out of a tar archive that holds these entries. */
const written =
  (format: string) =>
  (entries: readonly Entry[]): Buffer => {
    const file = scratch.at(`written-${++files}`);
    run("bsdtar", "-cf", file, "--format", format, `@${save(tar(entries))}`);
    return readFileSync(file);
  };

/** The writer of iso images makes names plain; they are made odd in what it wrote, byte for byte. */
function iso(entries: readonly Entry[]): Buffer {
  const plain = (name: string): string => name.replaceAll("/", "_").replaceAll(".", "x");
  const image = written("iso9660")(entries.map((entry) => ({ ...entry, name: plain(entry.name) })));
  for (const { name } of entries) {
    const from = Buffer.from(plain(name));
    for (let at = image.indexOf(from); at >= 0; at = image.indexOf(from, at + 1))
      image.write(name, at, "latin1");
  }
  return image;
}

const hasWriter = Bun.which("bsdtar") !== null;
if (!hasWriter) console.log("skipped: hostile 7z and iso archives, which need bsdtar");

const every = { hasSums: true, hasLinks: true, hasKinds: true, isFree: true };
const formats: readonly Format[] = [
  { ...every, name: "tar", make: tar, hasSums: false },
  { ...every, name: "tar.gz", make: (entries) => gzip(tar(entries)) },
  { ...every, name: "zip", make: zip },
  { ...every, name: "cpio", make: cpioOf, hasSums: false },
  { ...every, name: "ar", make: arOf, hasSums: false, hasLinks: false },
  // libarchive 3.6 knows the checksums of rar and proves none of what is stored.
  { ...every, name: "rar", make: rarOf, hasSums: false },
  { ...every, name: "rar 5", make: rar5Of, hasSums: false, hasLinks: false },
  { ...every, name: "lha", make: lhaOf, hasKinds: false },
  { ...every, name: "cab", make: cabOf, hasLinks: false, hasKinds: false },
  ...(hasWriter
    ? [
        { ...every, name: "7z", make: written("7zip"), isFree: false },
        { ...every, name: "iso", make: iso, hasSums: false, isFree: false },
      ]
    : []),
];

// ── Answers ──

const located = (bytes: Uint8Array) => ({ archive: save(bytes), formats: all });

/** `path type` and `path CODE` of a listing, or the code of the whole. */
function told(bytes: Uint8Array, limits?: Partial<Limits>): string[] {
  const place = located(bytes);
  try {
    const listed = listSync(place, { runtime, ...(limits && { limits }) });
    const rows = listed.map((entry) => `${entry.path} ${entry.type}`);
    return [...rows, ...listed.errors.map((row) => `${row.path} ${row.error.code}`)].toSorted();
  } catch (error) {
    if (error instanceof CopseError) return [error.code];
    throw error;
  }
}

interface Copied {
  /** Codes of error rows, or of the whole. */
  readonly codes: readonly ErrorCode[];
  /** What the error rows are about. */
  readonly about: readonly string[];
  /** What is there now: the path, and what it is. */
  readonly disk: readonly string[];
}

/** Copies into a directory of its own; fails when anything is beside it, or in it and not harmless. */
function copied(bytes: Uint8Array): Copied {
  const around = scratch.plant(`around-${++files}`, { witness: "unharmed" });
  const into = join(around, "into");
  let codes: ErrorCode[];
  const about: string[] = [];
  try {
    const { actions } = copySync(located(bytes), into, { runtime });
    const errors = actions.filter((row) => row.kind === "error");
    about.push(...errors.map((row) => row.path));
    codes = errors.map((row) => row.error.code);
  } catch (error) {
    if (!(error instanceof CopseError)) throw error;
    codes = [error.code];
  }
  expect(readdirSync(around).filter((name) => name !== "into")).toEqual(["witness"]);
  expect(readFileSync(join(around, "witness"), "utf8")).toBe("unharmed");
  const disk: string[] = [];
  const links = new Map<number, number>();
  const look = (path: string): void => {
    const stat = lstatSync(join(into, path));
    expect(stat.mode & 0o6000, path).toBe(0);
    expect(stat.isFile() || stat.isDirectory() || stat.isSymbolicLink(), path).toBe(true);
    if (stat.isFile()) links.set(stat.ino, (links.get(stat.ino) ?? stat.nlink) - 1);
    disk.push(`${path} ${stat.isFile() ? "file" : stat.isDirectory() ? "directory" : "link"}`);
    if (stat.isDirectory())
      for (const name of readdirSync(join(into, path))) look(path ? `${path}/${name}` : name);
  };
  if (existsSync(into)) for (const name of readdirSync(into)) look(name);
  // Every name of a file is in here.
  for (const elsewhere of links.values()) expect(elsewhere).toBe(0);
  return { codes, about, disk: disk.toSorted() };
}

const statusOf = (key: string): number =>
  Number(new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf8"))![1]) *
  1024;

/** How many bytes more than before were in memory at most. */
function peak(work: () => void): number {
  if (process.platform !== "linux" || isSanitized) {
    work();
    return 0;
  }
  Bun.gc(true);
  writeFileSync("/proc/self/clear_refs", "5");
  const before = statusOf("VmRSS");
  work();
  return statusOf("VmHWM") - before;
}

// ── The same entries in each ──

const good: Entry = { name: "good", content: "fine" };

describe.each(formats.map((format) => [format.name, format] as const))("%s", (_, format) => {
  const { make, hasSums, hasLinks, hasKinds, isFree } = format;

  test("what is good is told of and copied", () => {
    const bytes = make([good, { name: "d/two", content: "2" }]);
    expect(told(bytes)).toEqual(["d directory", "d/two file", "good file"]);
    expect(copied(bytes)).toMatchObject({
      codes: [],
      disk: ["d directory", "d/two file", "good file"],
    });
  });

  test.each(["../up", "a/../../up", "a/../b", "/abs", "/"])("%s leads nowhere", (name) => {
    if (!isFree && name === "/") return;
    const bytes = make([{ name, content: name === "/" ? "" : "bad" }, good]);
    const rows = told(bytes);
    expect(rows).toContain("good file");
    expect(rows.filter((row) => row !== "good file")).toEqual([`${name} UNSAFE_PATH`]);
    expect(copied(bytes)).toEqual({ codes: ["UNSAFE_PATH"], about: [name], disk: ["good file"] });
  });

  test.skipIf(!hasLinks)("links that lead out are not made, and nothing goes through one", () => {
    const bytes = make([
      { name: "abs", target: "/etc" },
      { name: "up", target: "../witness" },
      { name: "in", target: "good" },
      { name: "loop", target: "loop" },
      good,
    ]);
    expect(told(bytes)).toEqual(["abs link", "good file", "in link", "loop link", "up link"]);
    expect(copied(bytes)).toMatchObject({
      codes: ["UNSAFE_PATH", "UNSAFE_PATH"],
      disk: ["good file", "in link", "loop link"],
    });
    if (!isFree) return;
    const through = make([{ name: "l", target: "d" }, { name: "l/x", content: "1" }, good]);
    expect(told(through)).toEqual(["good file", "l link", "l/x UNSAFE_PATH"]);
    expect(copied(through)).toMatchObject({
      codes: ["UNSAFE_PATH"],
      disk: ["good file", "l link"],
    });
  });

  test.skipIf(!hasKinds)(
    "devices and pipes are told of and not made; no bit of setuid stays",
    () => {
      const bytes = make([
        { name: "device", mode: 0o20666 },
        { name: "block", mode: 0o60666 },
        { name: "pipe", mode: 0o10666 },
        { name: "suid", content: "1", mode: 0o106755 },
        good,
      ]);
      const rows = ["block other", "device other", "good file", "pipe other", "suid file"];
      expect(told(bytes)).toEqual(rows);
      expect(copied(bytes)).toMatchObject({ codes: [], disk: ["good file", "suid file"] });
    },
  );

  test("of two entries of one name the last counts; other cases are other names", () => {
    const bytes = make([
      { name: "a", content: "first" },
      { name: "A", content: "other" },
      ...(isFree ? [{ name: "a", content: "last!" }] : []),
    ]);
    expect(told(bytes)).toEqual(["A file", "a file"]);
    const tree = scratch.plant(`twice-${++files}`, { a: isFree ? "last!" : "first", A: "other" });
    expect(compareSync(located(bytes), tree, { runtime, emptyDirectories: false }).equal).toBe(
      true,
    );
  });

  test("a file, then one below it", () => {
    if (!isFree) return;
    const bytes = make([{ name: "f", content: "1" }, { name: "f/x", content: "2" }, good]);
    expect(told(bytes)).toEqual(["f file", "f/x UNSAFE_PATH", "good file"]);
    expect(copied(bytes)).toMatchObject({ codes: ["UNSAFE_PATH"], disk: ["f file", "good file"] });
  });

  test.skipIf(format.name === "iso")("odd names come as they are", () => {
    const names = ["a\nb", "\u001b[31m", "con", "C:", " ", "...", "x".repeat(90)];
    const bytes = make(names.map((name) => ({ name, content: "1" })));
    expect(told(bytes)).toEqual(names.map((name) => `${name} file`).toSorted());
  });

  test("more entries, bytes and longer paths than the limits", () => {
    const bytes = make(
      Array.from({ length: 20 }, (_, i) => ({ name: `n${i}`, content: `${i}`.repeat(100) })),
    );
    expect(told(bytes)).toHaveLength(20);
    expect(told(bytes, { entries: 19 })).toEqual(["LIMIT"]);
    expect(told(bytes, { bytes: 999 })).toEqual(["LIMIT"]);
    expect(told(bytes, { pathLength: 2 }).filter((row) => row.endsWith("LIMIT"))).toHaveLength(10);
    expect(told(make([{ name: "a/b/c/d" }, good]), { depth: 3 })).toContain("a/b/c/d LIMIT");
  });

  test("sizes that lie are no answer", () => {
    if (!isFree) return;
    for (const size of [1e9, 0xffffffff]) {
      const bytes = make([{ name: "a", content: "1234", size }]);
      const rows = told(bytes);
      const self = located(bytes);
      if (rows.includes("a file")) {
        // A zip says so only when the content is read.
        expect(compareSync(self, self, { runtime })).toMatchObject({ equal: false, errors: 1 });
        expect(copied(bytes)).toMatchObject({ codes: ["CORRUPT"], disk: [] });
      } else {
        expect(rows[0]).toBeOneOf(["CORRUPT", "LIMIT"]);
        expect(copied(bytes).disk).toEqual([]);
      }
    }
  });

  test("cut short anywhere it is CORRUPT, and nothing is copied", () => {
    const bytes = make([{ name: "a", content: "1".repeat(2000) }, good]);
    const whole = told(bytes);
    const step = Math.max(1, Math.floor(bytes.length / (isSanitized ? 7 : 25)));
    for (let size = 0; size < bytes.length; size += step) {
      const cut = bytes.subarray(0, size);
      const rows = told(cut);
      // What an iso image ends with says nothing; rar and lha may lack their end.
      if (rows.join() === whole.join()) {
        const self = located(cut);
        expect(compareSync(self, located(bytes), { runtime }).equal).toBe(true);
        expect(["iso", "rar", "rar 5", "lha"]).toContain(format.name);
      } else if (format.name === "ar" && rows.join() === "a file") {
        // Cut where the first one ends: nothing says that there was more.
        expect(size).toBe(8 + 60 + 1 + 2000 + 1);
      } else if (format.name === "iso" && size <= 32_768) {
        // Only zeros so far: that is a tar of nothing.
        expect(rows).toBeOneOf([["CORRUPT"], []]);
      } else {
        expect(rows).toBeOneOf([["CORRUPT"], ["UNSUPPORTED"]]);
        expect(copied(cut)).toMatchObject({ codes: rows as ErrorCode[], disk: [] });
      }
    }
  });

  test.skipIf(!hasSums)("a flipped bit of content is CORRUPT", () => {
    const content = "The quick brown fox jumps over the lazy dog, twice. ".repeat(4);
    const bytes = make([{ name: "a", content }, good]);
    const begin = bytes.indexOf("quick");
    const step = isSanitized ? 40 : 7;
    expect(told(bytes)).toEqual(["a file", "good file"]);
    for (let at = Math.max(begin, 0); begin >= 0 && at < begin + content.length - 5; at += step) {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 4;
      const self = located(flipped);
      const rows = told(flipped);
      if (rows.length === 2) {
        const { differences, equal } = compareSync(self, self, { runtime });
        expect(equal).toBe(false);
        expect(differences).toMatchObject([
          { kind: "error", path: "a", error: { code: "CORRUPT" } },
        ]);
      } else {
        expect(rows).toEqual(["CORRUPT"]);
      }
    }
  });

  test.skipIf(!isFree || !hasSums || format.name === "tar.gz")("a wrong checksum", () => {
    const bytes = make([{ name: "a", content: "1234", brokenSum: true }]);
    const self = located(bytes);
    const code = ((): string => {
      try {
        const row = compareSync(self, self, { runtime }).differences[0];
        return row?.kind === "error" ? row.error.code : "equal";
      } catch (error) {
        return (error as CopseError).code;
      }
    })();
    expect(code).toBe("CORRUPT");
    expect(copied(bytes)).toMatchObject({ codes: ["CORRUPT"], disk: [] });
  });
});

// ── What only some can say ──

test("formats that are rare are UNSUPPORTED unless they are asked for", () => {
  for (const format of formats.filter(({ name }) => /^(rar|rar 5|lha|cab|7z)$/.test(name))) {
    const archive = save(format.make([good]));
    expect(() => listSync(`archive:${archive}`, { runtime })).toThrow(/option formats/);
  }
});

test("a link without a target is CORRUPT, in formats that know no links too", () => {
  for (const make of [arOf, rar5Of])
    expect(told(make([{ name: "l", content: "x", mode: 0o120777 }]))).toEqual(["CORRUPT"]);
});

test("cpio: names of one file are copies, and what leads out is none of them", () => {
  const bytes = cpioOf([
    { name: "a", inode: 7 },
    { name: "../b", inode: 7 },
    { name: "c", content: "same", inode: 7 },
  ]);
  expect(told(bytes)).toEqual(["../b UNSAFE_PATH", "a file", "c file"]);
  expect(copied(bytes)).toMatchObject({ codes: ["UNSAFE_PATH"], disk: ["a file", "c file"] });
});

test("a name ends at its first NUL where the format says so, and never leads elsewhere", () => {
  for (const format of formats.filter(({ name, isFree }) => isFree && name !== "cab")) {
    const rows = told(format.make([{ name: "n\0/../up", content: "1" }, good]));
    expect(rows).toBeOneOf([
      ["good file", "n file"],
      ["good file", "n\0/../up UNSAFE_PATH"],
    ]);
  }
});

describe("bombs take no memory", () => {
  /** So many times 64 MiB of one byte, in members of gzip. */
  const flood = (times: number): Buffer =>
    Buffer.concat(Array<Buffer>(times).fill(gzipSync(Buffer.alloc(64 * MIB, "a"))));
  const xattrs = (count: number, size: number): Buffer =>
    pax(
      Object.fromEntries(
        Array.from({ length: count }, (_, i) => [`SCHILY.xattr.user.k${i}`, "v".repeat(size)]),
      ),
    );
  const sparse = (count: number): Buffer => {
    const map = Buffer.from(`${count}\n${"0\n0\n".repeat(count)}`);
    const fields = {
      "GNU.sparse.major": "1",
      "GNU.sparse.minor": "0",
      "GNU.sparse.name": "s",
      "GNU.sparse.realsize": "10",
    };
    const content = Buffer.concat([map, Buffer.alloc((512 - (map.length % 512)) % 512)]);
    return gzip(tarOf(pax(fields), { name: "s", content }));
  };
  const chain = (count: number): Buffer =>
    tarOf(
      ...Array.from({ length: count }, (_, i) => ({
        name: `l${i}`,
        type: "2",
        target: `l${(i + 1) % count}`,
      })),
    );
  const cases: readonly (readonly [what: string, answer: string, make: () => Buffer])[] = [
    [
      "cpio: a name of 1 GiB",
      "LIMIT",
      () => {
        const head = cpioOf([{ name: "x", nameSize: 2 ** 30 }]).subarray(0, 112);
        return Buffer.concat([gzipSync(head), flood(16)]);
      },
    ],
    ["cpio: a name of 4 GiB", "CORRUPT", () => cpioOf([{ name: "x", nameSize: 0xffffffff }])],
    ["cpio: content of 4 GiB", "LIMIT", () => cpioOf([{ name: "x", size: 0xffffffff }])],
    ["ar: a name of 9 digits", "CORRUPT", () => arOf([{ name: "x", nameSize: 999_999_999 }])],
    [
      "tar: a long name of 1 GiB",
      "CORRUPT",
      () => {
        const head = tarEntry({ name: "././@LongLink", type: "L", size: 2 ** 30 });
        return Buffer.concat([gzipSync(head), flood(16)]);
      },
    ],
    [
      "tar: a pax header of 1 GiB",
      "CORRUPT",
      () => {
        const head = tarEntry({ name: "p", type: "x", size: 2 ** 30 });
        return Buffer.concat([gzipSync(head), flood(16)]);
      },
    ],
    ["tar: 10,000 attributes", "a file", () => gzip(tarOf(xattrs(10_000, 50), { name: "a" }))],
    ["tar: 50,000 attributes", "CORRUPT", () => gzip(tarOf(xattrs(50_000, 50), { name: "a" }))],
    ["tar: attributes of 1 MiB", "CORRUPT", () => gzip(tarOf(xattrs(2, MIB), { name: "a" }))],
    [
      "tar: an access list without end",
      "CORRUPT",
      () => gzip(tarOf(pax({ "SCHILY.acl.access": "user:x:rwx,".repeat(200_000) }), { name: "a" })),
    ],
    [
      "tar: pax fields that say nothing, for one entry and for all",
      "../up UNSAFE_PATH,b file",
      () =>
        tarOf(
          pax({ unknown: "y", path: "a", "LIBARCHIVE.xattr.x": "!" }, "g"),
          pax({ path: "../up", "SCHILY.xattr.": "" }),
          { name: "n" },
          pax({ path: "b" }),
          { name: "n" },
        ),
    ],
    ["tar: a sparse map of 100,000 pieces", "s file", () => sparse(100_000)],
    ["tar: a sparse map of 5,000,000 pieces", "LIMIT", () => sparse(5_000_000)],
    [
      "tar: a map of holes that is none",
      "CORRUPT",
      () => tarOf(pax({ "SUN.holesdata": "x" }), good),
    ],
    ["gzip around gzip around gzip", "LIMIT", () => gzip(gzip(gzip(gzip(tarOf(good)))))],
    ["cpio in gzip", "LIMIT", () => gzip(cpioOf([{ name: "z", content: Buffer.alloc(24 * MIB) }]))],
    ["ar in gzip", "LIMIT", () => gzip(arOf([{ name: "z", content: Buffer.alloc(24 * MIB) }]))],
    ["rar in gzip", "LIMIT", () => gzip(rarOf([{ name: "z", content: Buffer.alloc(24 * MIB) }]))],
    ...(hasWriter
      ? ([
          [
            "7z of 24 MiB of zeros",
            "LIMIT",
            () => written("7zip")([{ name: "z", content: Buffer.alloc(24 * MIB) }]),
          ],
          [
            "iso in gzip",
            "LIMIT",
            () => gzip(written("iso9660")([{ name: "z", content: Buffer.alloc(24 * MIB) }])),
          ],
        ] as const)
      : []),
  ];
  test.each(cases)("%s: %s", (_, answer, make) => {
    const bytes = make();
    let rows: string[] = [];
    const grown = peak(() => (rows = told(bytes)));
    expect(rows.join()).toBe(answer);
    expect(grown).toBeLessThan(PEAK);
    if (!answer.endsWith(" file")) expect(copied(bytes).disk).toEqual([]);
  });

  test.each([
    ["xz", "--lzma2=preset=0,dict=1GiB", "-9", "xz -dc"],
    ["zstd", "--ultra --long=31 -1", "--long=27 -1", "zstd -dqc --long=31"],
  ])("%s: a dictionary of a gigabyte is LIMIT, and one of the usual size is fine", (...names) => {
    const [program, large, usual, back] = names;
    if (!Bun.which(program)) return;
    const tree = save(tarOf(good));
    const packed = (flags: string): Buffer => {
      const file = scratch.at(`packed-${++files}`);
      // Through a pipe, so that it does not know how little it will need.
      run("sh", "-c", `cat "$1" | ${program} -c ${flags} > "$2"`, "sh", tree, file);
      return readFileSync(file);
    };
    // They are good archives.
    expect(run("sh", "-c", `${back} "$1" | tar -t`, "sh", save(packed(large))).trim()).toBe("good");
    expect(peak(() => expect(told(packed(large))).toEqual(["LIMIT"]))).toBeLessThan(PEAK);
    expect(peak(() => expect(told(packed(usual))).toEqual(["good file"]))).toBeLessThan(PEAK);
  });

  test("10,000 links in a circle are links", () => {
    let rows: string[] = [];
    expect(peak(() => (rows = told(chain(10_000))))).toBeLessThan(PEAK);
    expect(rows).toHaveLength(10_000);
    expect(rows.every((row) => row.endsWith(" link"))).toBe(true);
    const place = located(chain(100));
    expect(compareSync(place, place, { runtime, links: "follow" }).equal).toBe(true);
  });

  test("tar in cpio in ar in zip", () => {
    const inner = gzip(tarOf(good));
    const outer = zip([{ name: "z", content: arOf([{ name: "c", content: inner }]) }]);
    const place = { archive: `archive:${save(outer)}#z` };
    expect(listSync({ archive: { ...place, path: "c" } }, { runtime })[0]?.path).toBe("good");
    const few = { runtime, limits: { nested: 2 } };
    expect(() => listSync({ archive: { ...place, path: "c" } }, few)).toThrow(/limits\.nested/);
  });
});

// ── Archives that others made ──

const root = join(import.meta.dir, "..");
const fetched = Bun.spawnSync([process.execPath, join(root, ".ci", "corpus.mjs")]);
const corpus = fetched.exitCode === 0 ? join(root, fetched.stdout.toString().trim()) : undefined;
if (corpus === undefined) {
  if (process.env.CI) throw new Error(fetched.stderr.toString());
  console.log(`skipped: real rar, lha and cab archives: ${fetched.stderr.toString().trim()}`);
}

describe.skipIf(corpus === undefined)("libarchive's own test archives", () => {
  const names = corpus === undefined ? [] : readdirSync(corpus).toSorted();
  const read = (name: string): Buffer => readFileSync(join(corpus!, name));

  test.each([
    ["test_read_format_rar.rar", "rar 4"],
    ["test_read_format_rar_compress_best.rar", "rar 4"],
    ["test_read_format_rar5_compressed.rar", "rar 5"],
    ["test_read_format_rar5_multiple_files_solid.rar", "rar 5"],
    ["test_read_format_lha_header2.lzh", "lha"],
    ["test_read_format_lha_lh7.lzh", "lha"],
    ["test_read_format_cab_1.cab", "cab, mszip"],
    ["test_read_format_cab_3.cab", "cab, lzx"],
    ["test_read_format_7zip_ppmd.7z", "7z"],
    ["test_read_format_iso_rockridge.iso", "iso"],
  ])("%s (%s) equals what bsdtar unpacks of it", (name) => {
    if (!hasWriter) return;
    const directory = scratch.plant(`theirs-${name}`, {});
    run("bsdtar", "-xf", join(corpus!, name), "-C", directory);
    const place = { archive: join(corpus!, name), formats: all };
    const { differences, equal, files: count } = compareSync(place, directory, { runtime });
    expect(differences).toEqual([]);
    expect(equal).toBe(true);
    expect(count).toBeGreaterThan(0);
    // Some hold links that lead out.
    expect(copied(read(name)).codes.filter((code) => code !== "UNSAFE_PATH")).toEqual([]);
  });

  test("each of them has an answer: entries, or an error with a code", () => {
    const codes: Record<string, number> = {};
    for (const name of names) {
      if (name === "VERSION") continue;
      const bytes = read(name);
      if (isSanitized && bytes.length > MIB) continue;
      let rows: string[] = [];
      const grown = peak(() => (rows = told(bytes)));
      expect(grown, name).toBeLessThan(PEAK);
      const code = rows.length === 1 && /^[A-Z_]+$/.test(rows[0]!) ? rows[0]! : "entries";
      codes[code] = (codes[code] ?? 0) + 1;
      // What is encrypted wants a password, and two that are damaged on purpose say it of themselves.
      expect(code === "AUTH" && !/encrypt|use_after_free/.test(name), name).toBe(false);
      expect(code, name).toBeOneOf(["entries", "CORRUPT", "UNSUPPORTED", "AUTH", "LIMIT"]);
      // Against itself: equal, or an error.
      const place = { archive: join(corpus!, name), formats: all };
      try {
        const result = compareSync(place, place, { runtime });
        expect(result.equal, name).toBe(result.errors === 0);
      } catch (error) {
        expect(error, name).toBeInstanceOf(CopseError);
      }
    }
    console.log(`libarchive's test archives: ${JSON.stringify(codes)}`);
    expect(codes["entries"]).toBeGreaterThan(100);
  });
});

test("a truncated member of gzip around any format", () => {
  for (const format of formats) {
    const packed = gzip(
      format.name === "tar.gz" ? gunzipSync(format.make([good])) : format.make([good]),
    );
    const rows = told(packed.subarray(0, packed.length - 3));
    expect(rows[0]).toBeOneOf(["CORRUPT", "UNSUPPORTED"]);
  }
});
