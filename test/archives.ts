// Archives for tests. Real tools make the good ones; the bytes of the hostile ones are put together
// here, because no honest tool writes them.

import { crc32, deflateRawSync, gzipSync } from "node:zlib";
import { run } from "./trees.ts";

/** The programs that make one; `.at` is where its content begins (tar keeps the name of the tree). */
export interface Tool {
  readonly name: string;
  readonly ending: string;
  readonly program: string;
  /** Makes `file` out of the directory `tree`. */
  make(tree: string, file: string): void;
  /** What it cannot hold. */
  readonly lacks?: readonly ("links" | "empty" | "directories")[];
  readonly formats?: readonly "7z"[];
}

const shell = (script: string, ...args: readonly string[]): string =>
  run("sh", "-c", script, "sh", ...args);

const tar = (name: string, ending: string, flags: string, program = name): Tool => ({
  name: `tar ${flags}`,
  ending,
  program,
  make: (tree, file) => void shell(`tar ${flags} -cf "$2" -C "$1" .`, tree, file),
});

export const tools: readonly Tool[] = [
  tar("tar", "tar", "--format=gnu"),
  tar("tar", "tar", "--format=posix"),
  tar("tar", "tar", "--format=ustar"),
  tar("gzip", "tar.gz", "-z"),
  tar("bzip2", "tar.bz2", "-j"),
  tar("xz", "tar.xz", "-J"),
  tar("zstd", "tar.zst", "--zstd"),
  tar("lz4", "tar.lz4", "-I lz4"),
  tar("zstd", "tar.zst", '-I "zstd --long=27 -19 --check"'),
  {
    name: "bsdtar pax",
    ending: "tar",
    program: "bsdtar",
    make: (tree, file) => void shell('bsdtar --format pax -cf "$2" -C "$1" .', tree, file),
  },
  {
    name: "zip",
    ending: "zip",
    program: "zip",
    make: (tree, file) => void shell('cd "$1" && zip -qry "$2" .', tree, file),
  },
  {
    name: "zip stored",
    ending: "zip",
    program: "zip",
    make: (tree, file) => void shell('cd "$1" && zip -0qry "$2" .', tree, file),
  },
  {
    name: "zip through a pipe",
    ending: "zip",
    program: "zip",
    lacks: ["links"],
    // The sizes come after the content, and zip64 fields with them.
    make: (tree, file) => void shell('cd "$1" && zip -qry - . | cat > "$2"', tree, file),
  },
  {
    name: "bsdtar zip",
    ending: "zip",
    program: "bsdtar",
    make: (tree, file) => void shell('bsdtar --format zip -cf "$2" -C "$1" .', tree, file),
  },
  {
    name: "7z zip",
    ending: "zip",
    program: "7z",
    lacks: ["links"],
    make: (tree, file) => void shell('cd "$1" && 7z a -bd -tzip "$2" . >/dev/null', tree, file),
  },
  {
    name: "7z",
    ending: "7z",
    program: "7z",
    lacks: ["links"],
    formats: ["7z"],
    make: (tree, file) => void shell('cd "$1" && 7z a -bd "$2" . >/dev/null', tree, file),
  },
  {
    name: "cpio newc",
    ending: "cpio",
    program: "cpio",
    make: (tree, file) =>
      void shell('cd "$1" && find . | cpio --quiet -o -H newc > "$2"', tree, file),
  },
  {
    name: "cpio odc",
    ending: "cpio",
    program: "cpio",
    make: (tree, file) =>
      void shell('cd "$1" && find . | cpio --quiet -o -H odc > "$2"', tree, file),
  },
  {
    name: "genisoimage",
    ending: "iso",
    program: "genisoimage",
    make: (tree, file) => void run("genisoimage", "-quiet", "-R", "-o", file, tree),
  },
];

export const isThere = (tool: Tool): boolean => Bun.which(tool.program.split(" ")[0]!) !== null;

// ── By hand ──

export interface TarEntry {
  readonly name: string;
  readonly content?: string | Uint8Array;
  readonly type?: string;
  readonly target?: string;
  readonly mode?: number;
  /** What the size field says, where it lies. */
  readonly size?: number | string;
  /** Bytes that replace some of the header, by their place in it. */
  readonly patch?: Readonly<Record<number, string>>;
  readonly brokenSum?: boolean;
}

const bytes = (text: string | Uint8Array): Uint8Array =>
  typeof text === "string" ? Buffer.from(text, "latin1") : text;

/** One header and its content. Names are bytes: each character is one. */
export function tarEntry(entry: TarEntry): Buffer {
  const content = bytes(entry.content ?? "");
  const header = Buffer.alloc(512);
  const put = (at: number, text: string): void => void header.write(text, at, "latin1");
  const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, "0");
  put(0, entry.name.slice(0, 100));
  put(100, `${octal(entry.mode ?? 0o644, 7)}\0`);
  put(108, "0000000\0");
  put(116, "0000000\0");
  const size = entry.size ?? content.length;
  put(124, typeof size === "string" ? size : `${octal(size, 11)}\0`);
  put(136, `${octal(1_700_000_000, 11)}\0`);
  put(148, "        ");
  put(156, entry.type ?? "0");
  put(157, (entry.target ?? "").slice(0, 100));
  put(257, "ustar\u000000");
  for (const [at, text] of Object.entries(entry.patch ?? {})) put(Number(at), text);
  const sum = header.reduce((total, byte) => total + byte, entry.brokenSum ? 1 : 0);
  put(148, `${octal(sum, 6)}\0 `);
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

/** A pax header for the entry after it. */
export function pax(fields: Readonly<Record<string, string>>, type = "x"): Buffer {
  const lines = Object.entries(fields).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let size = rest.length;
    while (String(size).length + rest.length !== size) size = String(size).length + rest.length;
    return `${size}${rest}`;
  });
  return tarEntry({ name: "pax", type, content: lines.join("") });
}

export function tarOf(...parts: readonly (TarEntry | Buffer)[]): Buffer {
  return Buffer.concat([
    ...parts.map((part) => ("name" in part ? tarEntry(part) : part)),
    Buffer.alloc(1024),
  ]);
}

export const gzip = (content: Uint8Array): Buffer => gzipSync(content);

export interface ZipEntry {
  readonly name: string;
  readonly content?: string | Uint8Array;
  readonly stored?: boolean;
  readonly mode?: number;
  /** What the directory, or the local header, says instead. */
  readonly central?: Partial<ZipFields>;
  readonly local?: Partial<ZipFields>;
  /** The packed bytes, where they are not what comes of the content. */
  readonly packed?: Uint8Array;
  /** Lies where this entry (by number) lies, with no header of its own. */
  readonly at?: number;
}
interface ZipFields {
  name: string;
  crc: number;
  packed: number;
  size: number;
  method: number;
  flags: number;
  offset: number;
}

export interface ZipWhole {
  readonly comment?: Uint8Array;
  readonly count?: number;
  readonly offset?: number;
  readonly size?: number;
  readonly before?: Uint8Array;
}

export function zipOf(entries: readonly ZipEntry[], whole: ZipWhole = {}): Buffer {
  const parts: Buffer[] = [Buffer.from(whole.before ?? [])];
  let at = parts[0]!.length;
  const centrals: Buffer[] = [];
  const offsets: number[] = [];
  for (const entry of entries) {
    const content = bytes(entry.content ?? "");
    const packed = entry.packed ?? (entry.stored ? content : deflateRawSync(content));
    const plain: ZipFields = {
      name: entry.name,
      crc: crc32(content),
      packed: packed.length,
      size: content.length,
      method: entry.stored ? 0 : 8,
      flags: 0,
      offset: at - (whole.before?.length ?? 0),
    };
    const local = { ...plain, ...entry.local };
    if (entry.at === undefined) {
      const header = Buffer.alloc(30);
      header.writeUInt32LE(0x04034b50, 0);
      header.writeUInt16LE(20, 4);
      header.writeUInt16LE(local.flags, 6);
      header.writeUInt16LE(local.method, 8);
      header.writeUInt32LE(local.crc, 14);
      header.writeUInt32LE(local.packed, 18);
      header.writeUInt32LE(local.size, 22);
      header.writeUInt16LE(local.name.length, 26);
      parts.push(header, Buffer.from(local.name, "latin1"), Buffer.from(packed));
      offsets.push(plain.offset);
      at += 30 + local.name.length + packed.length;
    } else {
      plain.offset = offsets[entry.at]!;
      offsets.push(plain.offset);
    }
    const said = { ...plain, ...entry.central };
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(0x0314, 4); // made on unix
    central.writeUInt16LE(20, 6);
    central.writeUInt16LE(said.flags, 8);
    central.writeUInt16LE(said.method, 10);
    central.writeUInt32LE(said.crc, 16);
    central.writeUInt32LE(said.packed, 20);
    central.writeUInt32LE(said.size, 24);
    central.writeUInt16LE(said.name.length, 28);
    central.writeUInt32LE(((entry.mode ?? 0o100644) << 16) >>> 0, 38);
    central.writeUInt32LE(said.offset, 42);
    centrals.push(central, Buffer.from(said.name, "latin1"));
  }
  const directory = Buffer.concat(centrals);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(whole.count ?? entries.length, 8);
  end.writeUInt16LE(whole.count ?? entries.length, 10);
  end.writeUInt32LE(whole.size ?? directory.length, 12);
  end.writeUInt32LE(whole.offset ?? at - (whole.before?.length ?? 0), 16);
  end.writeUInt16LE(whole.comment?.length ?? 0, 20);
  return Buffer.concat([...parts, directory, end, Buffer.from(whole.comment ?? [])]);
}
