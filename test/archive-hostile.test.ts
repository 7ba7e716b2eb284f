// Archives made to harm, each with the answer it must get (security.md). A case is one line of a
// table. Single-bit flips and truncations of small archives follow: what is damaged is never equal.
//
// COPSE_FLIPS=all takes every bit and every length; its counts go to bench/results/trust.md.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { crc32, deflateRawSync, gzipSync, inflateRawSync } from "node:zlib";
import {
  compareSync,
  CopseError,
  listSync,
  Runtime,
  type Limits,
  type Location,
} from "../lib/index.ts";
import { gzip, pax, tarEntry, tarOf, zipOf } from "./archives.ts";
import { isSanitized } from "./patience.ts";
import { run, Scratch } from "./trees.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

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

const utf8 = (text: string): string => Buffer.from(text).toString("latin1");
const zeros = (size: number): Buffer => Buffer.alloc(size);

/** What listing and comparing say: the code of the whole, or `path type|CODE` of each entry. */
function answer(location: Location, limits?: Partial<Limits>): string[] {
  const options = { runtime, ...(limits && { limits }) };
  const rows: string[] = [];
  try {
    const listed = listSync(location, options);
    rows.push(...listed.map((entry) => `${entry.path} ${entry.type}`));
    rows.push(...listed.errors.map((row) => `${row.path} ${row.error.code}`));
  } catch (error) {
    if (!(error instanceof CopseError)) throw error;
    rows.push(error.code);
  }
  // Against itself, with all content read: an error must never become "equal".
  try {
    const compared = compareSync(location, location, options);
    const errors = compared.differences.filter((row) => row.kind === "error");
    if (errors.length > 0) expect(compared).toMatchObject({ equal: false, complete: false });
    for (const row of errors) {
      const text = `${row.path} ${row.error.code}`;
      if (!rows.includes(text)) rows.push(text);
    }
  } catch (error) {
    if (!(error instanceof CopseError)) throw error;
    if (!rows.includes(error.code)) rows.push(error.code);
  }
  return rows;
}

const good = { name: "good", content: "fine" };

/** Names that must not be used; `good` beside them must be told of all the same. */
const names: readonly (readonly [what: string, name: string, code: string])[] = [
  ["goes up", "../up", "UNSAFE_PATH"],
  ["goes up later", "a/b/../../../up", "UNSAFE_PATH"],
  ["goes up and comes back", "a/../good2", "UNSAFE_PATH"],
  ["ends in ..", "a/..", "UNSAFE_PATH"],
  ["is ..", "..", "UNSAFE_PATH"],
  ["is absolute", "/etc/passwd", "UNSAFE_PATH"],
  ["is absolute twice", "//etc/passwd", "UNSAFE_PATH"],
  ["is /", "/", "UNSAFE_PATH"],
];

describe("names that lead out", () => {
  test.each(names)("%s: %j is told of in tar and zip, and the rest goes on", (_, name, code) => {
    const told = [`${name} ${code}`, "good file"];
    // A name that ends in a slash is a directory's, which has no content.
    const entry = { name, content: name.endsWith("/") ? "" : "bad" };
    expect(new Set(answer(`archive:${save(tarOf(entry, good))}`))).toEqual(new Set(told));
    expect(new Set(answer(`archive:${save(gzip(tarOf(entry, good)))}`))).toEqual(new Set(told));
    if (!name.endsWith("/"))
      expect(new Set(answer(`archive:${save(zipOf([entry, good]))}`))).toEqual(new Set(told));
  });

  const inTar: readonly (readonly [what: string, bytes: Buffer, told: readonly string[]])[] = [
    [
      "pax path",
      tarOf(pax({ path: "../p" }), { name: "n" }, good),
      ["../p UNSAFE_PATH", "good file"],
    ],
    [
      "GNU long name",
      tarOf(
        { name: "././@LongLink", type: "L", content: `../${"l".repeat(150)}\0` },
        { name: "n" },
        good,
      ),
      [`../${"l".repeat(150)} UNSAFE_PATH`, "good file"],
    ],
    [
      "ustar prefix",
      tarOf({ name: "p", patch: { 345: ".." } }, good),
      ["../p UNSAFE_PATH", "good file"],
    ],
    [
      "hard link out",
      tarOf({ name: "h", type: "1", target: "/etc/passwd" }, good),
      ["h UNSAFE_PATH", "good file"],
    ],
    [
      "hard link up",
      tarOf({ name: "h", type: "1", target: "../x" }, good),
      ["h UNSAFE_PATH", "good file"],
    ],
    [
      "hard link to nothing",
      tarOf({ name: "h", type: "1", target: "nothing" }, good),
      ["h CORRUPT", "good file"],
    ],
    [
      "hard link to a directory",
      tarOf({ name: "d", type: "5" }, { name: "h", type: "1", target: "d" }),
      ["h CORRUPT", "d directory"],
    ],
    [
      "hard link to itself",
      tarOf({ name: "h", type: "1", target: "h" }, good),
      ["h CORRUPT", "good file"],
    ],
    [
      "a link, then a file through it",
      tarOf({ name: "l", type: "2", target: "/tmp" }, { name: "l/x", content: "1" }),
      ["l link", "l/x UNSAFE_PATH"],
    ],
    [
      "a file, then one below it",
      tarOf({ name: "f", content: "1" }, { name: "f/x", content: "2" }),
      ["f file", "f/x UNSAFE_PATH"],
    ],
    [
      "a link over a directory that holds something",
      tarOf({ name: "d/x", content: "1" }, { name: "d", type: "2", target: "/" }),
      ["d directory", "d/x file", "d UNSAFE_PATH"],
    ],
    ["a file as the root", tarOf({ name: "./", type: "0" }, good), [". UNSAFE_PATH", "good file"]],
  ];
  test.each(inTar)("%s", (what, bytes, told) => {
    for (const packed of [bytes, gzip(bytes)]) {
      const rows = answer(`archive:${save(packed)}`);
      // libarchive takes a file whose name ends in a slash for a directory: then it is the root.
      if (what === "a file as the root") expect(rows).toContain("good file");
      else expect(new Set(rows)).toEqual(new Set(told));
    }
  });

  test("a name with a NUL byte, and no name at all", () => {
    expect(new Set(answer(`archive:${save(zipOf([{ name: "a\0b" }, good]))}`))).toEqual(
      new Set(["a\0b UNSAFE_PATH", "good file"]),
    );
    expect(new Set(answer(`archive:${save(zipOf([{ name: "" }, good]))}`))).toEqual(
      new Set([" UNSAFE_PATH", "good file"]),
    );
  });

  test("odd names are names: they come as they are", () => {
    const odd = [
      "a\nb",
      "\u001b[31m",
      "con",
      "a\\b",
      "C:",
      " ",
      "...",
      utf8("\u202e"),
      utf8("é"),
      utf8("e\u0301"),
      "x".repeat(255),
      "A",
      "a",
    ];
    const listed = listSync(`archive:${save(zipOf(odd.map((name) => ({ name }))))}`, { runtime });
    expect(
      new Set(listed.map((entry) => Buffer.from(entry.pathBytes ?? entry.path).toString("latin1"))),
    ).toEqual(new Set(odd));
  });

  test("paths longer and deeper than the limits are rows with LIMIT, not left out", () => {
    const long = `${"d/".repeat(3000)}x`;
    for (const [name, limits] of [
      [long, {}],
      ["a/b/c/d", { depth: 3 }],
      ["abcdefghi", { pathLength: 8 }],
    ] as const) {
      const rows = answer(`archive:${save(zipOf([{ name }, good]))}`, limits);
      expect(rows).toContain("good file");
      expect(rows.some((row) => row.endsWith(" LIMIT"))).toBe(true);
      expect(rows.some((row) => row.includes("x file"))).toBe(false);
    }
  });
});

describe("special files and modes", () => {
  test("devices and pipes are entries of their kind and are never opened", () => {
    const special = tarOf(
      { name: "block", type: "4" },
      { name: "character", type: "3" },
      { name: "pipe", type: "6" },
      { name: "suid", content: "1", mode: 0o6755 },
    );
    expect(answer(`archive:${save(special)}`)).toEqual([
      "block other",
      "character other",
      "pipe other",
      "suid file",
    ]);
  });
});

describe("sizes that lie and overflow", () => {
  const cases: readonly (readonly [what: string, bytes: Buffer, code: string])[] = [
    ["tar: larger than the archive", tarOf({ name: "a", size: 1e9 }), "CORRUPT LIMIT"],
    ["tar: octal 8 GiB", tarOf({ name: "a", size: "77777777777\0" }), "CORRUPT LIMIT"],
    [
      "tar: base-256 2^63",
      tarOf({ name: "a", size: "\x80\0\0\0\x80\0\0\0\0\0\0\0" }),
      "CORRUPT LIMIT",
    ],
    ["tar: base-256 2^88", tarOf({ name: "a", size: `\xc0${"\xff".repeat(11)}` }), "CORRUPT LIMIT"],
    ["tar: base-256 negative", tarOf({ name: "a", size: "\xff".repeat(12) }), "CORRUPT LIMIT"],
    [
      "tar: pax size 2^64",
      tarOf(pax({ size: "18446744073709551616" }), { name: "a" }),
      "CORRUPT LIMIT",
    ],
    ["tar: pax size negative", tarOf(pax({ size: "-1" }), { name: "a" }), "CORRUPT LIMIT"],
    [
      "tar: pax record longer than its header",
      tarOf(tarEntry({ name: "p", type: "x", content: "99 path=a\n" }), { name: "a" }),
      "CORRUPT",
    ],
    [
      "tar: pax record of length 0",
      tarOf(tarEntry({ name: "p", type: "x", content: "0 path=a\n" }), { name: "a" }),
      "CORRUPT",
    ],
    [
      "tar: long name of 2 GiB",
      tarOf({ name: "././@LongLink", type: "L", size: 2 ** 31 - 1 }, { name: "a" }),
      "CORRUPT LIMIT",
    ],
    [
      "tar: a checksum that does not fit",
      Buffer.concat([
        tarOf(good).subarray(0, 1024),
        tarEntry({ name: "b", brokenSum: true }),
        zeros(1024),
      ]),
      "CORRUPT",
    ],
    [
      "tar: sparse map of 1 TiB",
      tarOf(
        pax({
          "GNU.sparse.major": "0",
          "GNU.sparse.minor": "1",
          "GNU.sparse.map": "0,0",
          "GNU.sparse.size": "1099511627776",
          "GNU.sparse.name": "s",
        }),
        { name: "s" },
      ),
      "CORRUPT LIMIT",
    ],
    [
      "tar: sparse map that overlaps",
      tarOf(
        pax({
          "GNU.sparse.major": "0",
          "GNU.sparse.minor": "1",
          "GNU.sparse.map": "0,512,100,512",
          "GNU.sparse.size": "2000",
          "GNU.sparse.name": "s",
        }),
        { name: "s", content: zeros(1024) },
      ),
      "CORRUPT",
    ],
    ["tar: without the blocks of its end", tarEntry(good), "CORRUPT"],
    ["tar: cut at a block", tarOf(good, good).subarray(0, 1536), "CORRUPT"],
    [
      "zip: central size larger",
      zipOf([{ name: "a", content: "1", central: { size: 100 } }]),
      "a CORRUPT",
    ],
    [
      "zip: central size smaller",
      zipOf([{ name: "a", content: "1234", central: { size: 2 } }]),
      "a CORRUPT",
    ],
    [
      "zip: both sizes lie",
      zipOf([{ name: "a", content: "1234", central: { size: 9 }, local: { size: 9 } }]),
      "a CORRUPT",
    ],
    [
      "zip: stored sizes differ",
      zipOf([{ name: "a", content: "1234", stored: true, central: { size: 9 } }]),
      "CORRUPT",
    ],
    [
      "zip: packed size out of it",
      zipOf([{ name: "a", content: "1", central: { packed: 1e9 } }]),
      "CORRUPT",
    ],
    ["zip: offset out of it", zipOf([{ name: "a", central: { offset: 1e9 } }]), "CORRUPT"],
    ["zip: directory out of it", zipOf([good], { offset: 1e9 }), "CORRUPT"],
    ["zip: directory too large", zipOf([good], { size: 1e9 }), "CORRUPT"],
    ["zip: more entries than there are", zipOf([good], { count: 3 }), "CORRUPT"],
    ["zip: fewer entries than there are", zipOf([good, { name: "b" }], { count: 1 }), "CORRUPT"],
    [
      "zip: size of 2^32-1 without zip64",
      zipOf([{ name: "a", content: "1", central: { size: 0xffffffff } }]),
      "LIMIT",
    ],
    [
      "zip: other checksum",
      zipOf([{ name: "a", content: "1", central: { crc: 1 }, local: { crc: 1 } }]),
      "a CORRUPT",
    ],
    ["zip: two names", zipOf([{ name: "a", content: "1", local: { name: "b" } }]), "a CORRUPT"],
    ["zip: two methods", zipOf([{ name: "a", content: "1", local: { method: 0 } }]), "a CORRUPT"],
    ["zip: two checksums", zipOf([{ name: "a", content: "1", local: { crc: 1 } }]), "a CORRUPT"],
    [
      "zip: an unknown method",
      zipOf([{ name: "a", content: "1", local: { method: 97 }, central: { method: 97 } }]),
      "a CORRUPT",
    ],
    [
      "zip: bytes after the packed ones",
      zipOf([{ name: "a", content: "1", packed: Buffer.concat([deflateRawSync("1"), zeros(3)]) }]),
      "a CORRUPT",
    ],
    [
      "zip: packed bytes that make no sense",
      zipOf([{ name: "a", content: "1", packed: Buffer.from([6, 6, 6]) }]),
      "a CORRUPT",
    ],
    ["zip: a directory with content", zipOf([{ name: "a/", content: "1" }]), "CORRUPT"],
    ["zip: bytes after its end", Buffer.concat([zipOf([good]), zeros(1)]), "CORRUPT"],
    [
      "zip: a comment cut short",
      zipOf([good], { comment: Buffer.from("comment") }).subarray(0, -1),
      "CORRUPT",
    ],
    [
      "zip: a descriptor that is not there",
      zipOf([{ name: "a", content: "1", local: { flags: 8 }, central: { flags: 8 } }]),
      "a CORRUPT",
    ],
    ["gzip: other checksum", patched(gzip(tarOf(good)), -8), "CORRUPT"],
    ["gzip: other length", patched(gzip(tarOf(good)), -4), "CORRUPT"],
    ["gzip: bytes after its end", Buffer.concat([gzip(tarOf(good)), Buffer.from("x")]), "CORRUPT"],
    ["gzip: unknown flags", patched(gzip(tarOf(good)), 3, 0x80), "CORRUPT"],
    [
      "gzip: a name without end",
      Buffer.concat([Buffer.from([31, 139, 8, 8, 0, 0, 0, 0, 0, 3]), Buffer.alloc(100_000, 65)]),
      "CORRUPT",
    ],
    ["gzip: only a header", gzip(tarOf(good)).subarray(0, 10), "CORRUPT"],
    [
      "cpio: a size that goes out of it",
      Buffer.from(`070701${"0".repeat(48)}7fffffff${"0".repeat(48)}`),
      "CORRUPT",
    ],
  ];
  test.each(cases)("%s", (_, bytes, code) => {
    const rows = answer(`archive:${save(bytes)}`);
    if (code.startsWith("a ")) expect(rows).toContain(code);
    else expect(code.split(" ")).toContain(rows.at(-1)!);
  });

  function patched(bytes: Buffer, at: number, bits = 1): Buffer {
    const copy = Buffer.from(bytes);
    copy[at < 0 ? copy.length + at : at]! ^= bits;
    return copy;
  }
});

describe("bombs", () => {
  const bomb = (size: number): Buffer => deflateRawSync(zeros(size), { level: 9 });
  const rss = (): number => process.memoryUsage.rss();

  test("a ratio of 1000 to 1 is LIMIT with the numbers, in zip and tar.gz, and small ones pass", () => {
    const tar = gzip(tarOf({ name: "z", content: zeros(64 * MIB) }));
    const zip = zipOf([{ name: "z", content: zeros(64 * MIB) }]);
    const before = rss();
    for (const bytes of [tar, zip]) {
      const file = `archive:${save(bytes)}`;
      expect(answer(file)).toEqual(["LIMIT"]);
      expect(() => listSync(file, { runtime })).toThrow(/limits\.ratio/);
      expect(answer(file, { ratio: Infinity })).toEqual(["z file"]);
    }
    expect(answer(`archive:${save(gzip(tarOf({ name: "z", content: zeros(15 * MIB) })))}`)).toEqual(
      ["z file"],
    );
    if (!isSanitized) expect(rss() - before).toBeLessThan(300 * MIB);
  });

  test("more bytes than limits.bytes, and more entries than limits.entries", () => {
    const many = Array.from({ length: 50 }, (_, i) => ({
      name: `f${i}`,
      content: Buffer.alloc(1000, i),
    }));
    for (const bytes of [tarOf(...many), gzip(tarOf(...many)), zipOf(many)]) {
      const file = `archive:${save(bytes)}`;
      expect(answer(file, { bytes: 49_999 })).toEqual(["LIMIT"]);
      expect(answer(file, { entries: 49 })).toEqual(["LIMIT"]);
      expect(answer(file, { entries: 50, bytes: MIB })).toHaveLength(50);
    }
  });

  test("entries that share their bytes (overlap) are CORRUPT", () => {
    const kernel = bomb(MIB);
    const shared = { packed: kernel, content: zeros(MIB) };
    const bytes = zipOf([
      { name: "a", ...shared },
      { name: "b", ...shared, at: 0 },
      { name: "c", ...shared, at: 0 },
    ]);
    expect(answer(`archive:${save(bytes)}`)).toEqual(["CORRUPT"]);
  });

  test("compressions around one another are counted", () => {
    let bytes: Buffer = gzip(tarOf(good));
    for (let i = 0; i < 3; i++) bytes = gzip(bytes);
    expect(answer(`archive:${save(bytes)}`)).toEqual(["LIMIT"]);
    expect(answer(`archive:${save(bytes)}`, { nested: 4 })).toEqual(["good file"]);
  });

  test("a sparse file of 1 TiB is LIMIT, whether its archive is packed or not", () => {
    const directory = scratch.plant("sparse", {});
    const file = scratch.at("sparse.tar");
    run(
      "sh",
      "-c",
      'truncate -s 1T "$1/s" && tar -S -cf "$2" -C "$1" s && gzip -k "$2"',
      "sh",
      directory,
      file,
    );
    expect(answer(`archive:${file}`)).toEqual(["LIMIT"]);
    expect(answer(`archive:${file}.gz`)).toEqual(["LIMIT"]);
    expect(answer(`archive:${file}`, { bytes: Infinity })).toEqual(["LIMIT"]);
  });

  test.skipIf(!Bun.which("zstd"))("zstd and xz of many zeros", () => {
    const tar = save(tarOf({ name: "z", content: zeros(200 * MIB) }));
    run("sh", "-c", 'zstd -q "$1" -o "$1.zst" && xz -1 -k "$1"', "sh", tar);
    const before = rss();
    for (const ending of ["zst", "xz"])
      expect(answer(`archive:${tar}.${ending}`)).toEqual(["LIMIT"]);
    if (!isSanitized) expect(rss() - before).toBeLessThan(300 * MIB);
  });

  test("limits hold for what rawEqual would not unpack", () => {
    const place = {
      archive: save(zipOf([{ name: "z", content: zeros(64 * MIB) }])),
      rawEqual: true,
    };
    expect(() => compareSync(place, place, { runtime })).toThrow(/limits\.ratio/);
  });
});

describe("what is good stays good", () => {
  const zip64 = ((): Buffer => {
    const content = Buffer.from("sixty-four");
    const extra = Buffer.alloc(20);
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(16, 2);
    extra.writeBigUInt64LE(BigInt(content.length), 4);
    extra.writeBigUInt64LE(BigInt(content.length), 12);
    const head = (magic: number, size: number): Buffer => {
      const bytes = Buffer.alloc(size);
      bytes.writeUInt32LE(magic, 0);
      return bytes;
    };
    const local = head(0x04034b50, 30);
    local.writeUInt32LE(crc32(content), 14);
    local.writeUInt32LE(0xffffffff, 18);
    local.writeUInt32LE(0xffffffff, 22);
    local.writeUInt16LE(1, 26);
    local.writeUInt16LE(20, 28);
    const central = head(0x02014b50, 46);
    central.writeUInt32LE(crc32(content), 16);
    central.writeUInt32LE(0xffffffff, 20);
    central.writeUInt32LE(0xffffffff, 24);
    central.writeUInt16LE(1, 28);
    central.writeUInt16LE(20, 30);
    const body = Buffer.concat([local, Buffer.from("a"), extra, content]);
    const directory = Buffer.concat([central, Buffer.from("a"), extra]);
    const end64 = head(0x06064b50, 56);
    end64.writeBigUInt64LE(44n, 4);
    end64.writeBigUInt64LE(1n, 24);
    end64.writeBigUInt64LE(1n, 32);
    end64.writeBigUInt64LE(BigInt(directory.length), 40);
    end64.writeBigUInt64LE(BigInt(body.length), 48);
    const locator = head(0x07064b50, 20);
    locator.writeBigUInt64LE(BigInt(body.length + directory.length), 8);
    locator.writeUInt32LE(1, 16);
    const end = head(0x06054b50, 22);
    end.fill(0xff, 8, 20);
    return Buffer.concat([body, directory, end64, locator, end]);
  })();

  const kept: readonly (readonly [what: string, bytes: Buffer])[] = [
    ["zip64", zip64],
    [
      "a zip with a comment",
      zipOf([{ name: "a", content: "1" }], { comment: Buffer.from("hello") }),
    ],
    [
      "a zip behind a program",
      zipOf([{ name: "a", content: "1" }], { before: Buffer.from("#!/bin/sh\nexit\n") }),
    ],
    [
      "gzip of two members",
      Buffer.concat([
        gzipSync(tarOf({ name: "a" }).subarray(0, 300)),
        gzipSync(tarOf({ name: "a" }).subarray(300)),
      ]),
    ],
    ["a zip entry of no bytes", zipOf([{ name: "a", content: "" }])],
    ["a zip entry stored", zipOf([{ name: "a", content: "1", stored: true }])],
    ["tar with padding of zeros", Buffer.concat([tarOf({ name: "a" }), zeros(9000)])],
  ];
  test.each(kept)("%s", (_, bytes) => {
    expect(answer(`archive:${save(bytes)}`)).toEqual(["a file"]);
  });

  test("65,000 entries, in bounded memory", () => {
    const count = isSanitized ? 5000 : 65_000;
    const before = rssNow();
    const file = save(
      zipOf(
        Array.from({ length: count }, (_, i) => ({
          name: `directory-${i % 100}/file-${i}`,
          content: `${i}`,
          stored: true,
        })),
      ),
    );
    const listed = listSync(`archive:${file}`, { runtime, include: ["directory-7"] });
    expect(listed.length).toBe(count / 100 + 1);
    if (!isSanitized) expect(rssNow() - before).toBeLessThan(300 * MIB);
  });

  function rssNow(): number {
    Bun.gc(true);
    return process.memoryUsage.rss();
  }
});

// ── Every bit, every length ──

const all = process.env.COPSE_FLIPS === "all";

describe("damage", () => {
  const content = Buffer.from("The quick brown fox jumps over the lazy dog. ".repeat(4));
  const entries = [
    { name: "a.txt", content },
    { name: "d/b", content: "short" },
  ];
  let tree: string;
  const made: Record<string, Buffer> = {};

  beforeAll(() => {
    tree = scratch.plant("damage", { "a.txt": content, "d/b": "short" });
    const tar = save(tarOf(...entries));
    made["tar.gz"] = gzip(tarOf(...entries));
    made["zip"] = zipOf(entries);
    made["zip stored"] = zipOf(entries.map((entry) => ({ ...entry, stored: true })));
    for (const [name, command] of [
      ["tar.xz", "xz -c"],
      ["tar.zst", "zstd -qc --check"],
      ["tar.bz2", "bzip2 -c"],
      ["tar.lz4", "lz4 -qc --content-size"],
    ] as const) {
      if (!Bun.which(command.split(" ")[0]!)) continue;
      run("sh", "-c", `${command} "$1" > "$1.out"`, "sh", tar);
      made[name] = readFileSync(`${tar}.out`);
    }
  });

  /** Equal although it is damaged, with what differs from the whole one in what a list shows. */
  function isEqual(bytes: Uint8Array): boolean {
    const file = scratch.at("damaged");
    writeFileSync(file, bytes);
    try {
      return compareSync(`archive:${file}`, tree, { runtime, emptyDirectories: false }).equal;
    } catch (error) {
      if (error instanceof CopseError && !["INTERNAL", "MEMORY"].includes(error.code)) return false;
      throw error;
    }
  }

  const kinds = ["tar.gz", "tar.xz", "tar.zst", "tar.bz2", "tar.lz4", "zip", "zip stored"];

  test.each(kinds)("no truncated %s is equal", (kind) => {
    const whole = made[kind];
    if (!whole) return;
    expect(isEqual(whole)).toBe(true);
    const step = all ? 1 : Math.max(1, Math.floor(whole.length / (isSanitized ? 20 : 120)));
    let cuts = 0;
    const equal: number[] = [];
    for (let size = 0; size < whole.length; size += step, cuts++)
      if (isEqual(whole.subarray(0, size))) equal.push(size);
    expect(equal).toEqual([]);
    if (all) console.log(`${kind}: ${cuts} truncations, none equal`);
  });

  test.each(kinds)("no bit of %s that holds content or says what it is flips unseen", (kind) => {
    const whole = made[kind];
    if (!whole) return;
    const step = all ? 1 : Math.max(1, Math.floor((whole.length * 8) / (isSanitized ? 40 : 400)));
    let flips = 0;
    const unseen: number[] = [];
    for (let bit = 0; bit < whole.length * 8; bit += step, flips++) {
      const copy = Buffer.from(whole);
      copy[bit >> 3]! ^= 1 << (bit & 7);
      if (isEqual(copy)) unseen.push(bit);
    }
    // What may flip is what no reader uses: it changes neither names nor content.
    const harmless = unseen.filter(
      (bit) => isHarmless(kind, whole, bit >> 3) || unpacksTheSame(kind, whole, bit),
    );
    expect(
      unseen
        .filter((bit) => !harmless.includes(bit))
        .map((bit) => `byte ${bit >> 3} bit ${bit & 7}`),
    ).toEqual([]);
    if (all)
      console.log(
        `${kind}: ${flips} flips, ${harmless.length} of them of bytes that nothing is read from`,
      );
  });

  const unpackers: Record<string, readonly string[]> = {
    "tar.gz": ["gzip", "-dc"],
    "tar.xz": ["xz", "-dc"],
    "tar.zst": ["zstd", "-dqc"],
    "tar.bz2": ["bzip2", "-dc"],
    "tar.lz4": ["lz4", "-dqc"],
  };

  /** Another tool takes the flipped bytes too, and gets every byte of what was packed. */
  function unpacksTheSame(kind: string, whole: Buffer, bit: number): boolean {
    const flipped = Buffer.from(whole);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    if (kind === "zip") {
      for (let entry = 0; entry < whole.readUInt32LE(whole.length - 6);) {
        const begin = entry + 30 + whole.readUInt16LE(entry + 26);
        const end = begin + whole.readUInt32LE(entry + 18);
        if (bit >> 3 >= begin && bit >> 3 < end) {
          const unpacked = inflateRawSync(flipped.subarray(begin, end));
          return unpacked.equals(inflateRawSync(whole.subarray(begin, end)));
        }
        entry = end;
      }
    }
    const command = unpackers[kind];
    if (!command) return false;
    const { stdout, exitCode } = Bun.spawnSync([...command], { stdin: flipped });
    return exitCode === 0 && Buffer.compare(stdout, tarOf(...entries)) === 0;
  }

  /** Bytes that say nothing of names or content; each format has some. */
  function isHarmless(kind: string, whole: Buffer, at: number): boolean {
    // gzip: time, level and system in the header (RFC 1952).
    if (kind === "tar.gz") return at >= 4 && at < 10;
    if (kind === "tar.bz2") return at === 3; // how large blocks may be
    if (!kind.startsWith("zip")) return false;
    // Versions, times, attributes and disk hints of the headers.
    const end = whole.length - 22;
    const start = whole.readUInt32LE(end + 16);
    if (at >= start && at < end) {
      let entry = start;
      for (let next = entry; next <= at; next += 46 + whole.readUInt16LE(next + 28)) entry = next;
      const field = at - entry;
      return (
        (field >= 4 && field < 8) || // versions
        (field >= 12 && field < 16) || // time
        (field >= 36 && field < 42) // attributes
      );
    }
    for (
      let entry = 0;
      entry < start;
      entry += 30 + whole.readUInt16LE(entry + 26) + whole.readUInt32LE(entry + 18)
    ) {
      const field = at - entry;
      if (field >= 0 && field < 30) return (field >= 4 && field < 6) || (field >= 10 && field < 14);
    }
    return false;
  }
});
