// Archives of the formats that are not tar or zip, byte by byte, so that they can say what no honest
// tool writes. Content is stored as it is. Names are bytes: each character is one.

import { crc32 } from "node:zlib";

export interface RareEntry {
  readonly name: string;
  readonly content?: string | Uint8Array;
  /** With the kind of file in it, as `st_mode` has it; default: a plain file. */
  readonly mode?: number;
  /** A symbolic link to here. */
  readonly target?: string;
  /** How large the content is said to be. */
  readonly size?: number;
  /** How long the name is said to be. */
  readonly nameSize?: number;
  /** Entries of one number are names of one file (cpio). */
  readonly inode?: number;
  readonly brokenSum?: boolean;
}

const FILE = 0o100644;
const LINK = 0o120777;
const bytes = (text: string | Uint8Array): Buffer =>
  typeof text === "string" ? Buffer.from(text, "latin1") : Buffer.from(text);
const bodyOf = (entry: RareEntry): Buffer => bytes(entry.target ?? entry.content ?? "");
const modeOf = (entry: RareEntry): number =>
  entry.mode ?? (entry.target === undefined ? FILE : LINK);
const isDirectory = (entry: RareEntry): boolean => (modeOf(entry) & 0o170000) === 0o40000;

function little(...fields: readonly (readonly [size: number, value: number])[]): Buffer {
  return Buffer.concat(
    fields.map(([size, value]) => {
      const field = Buffer.alloc(size);
      for (let i = 0; i < size; i++) field[i] = Math.floor(value / 256 ** i) % 256;
      return field;
    }),
  );
}

/** cpio, "newc" (SVR4). */
export function cpioOf(entries: readonly RareEntry[]): Buffer {
  const padded = (part: Buffer): Buffer =>
    Buffer.concat([part, Buffer.alloc((4 - (part.length % 4)) % 4)]);
  const one = (entry: RareEntry, number: number): Buffer => {
    const body = bodyOf(entry);
    const links = entry.inode === undefined ? 1 : 2;
    const size = entry.size ?? body.length;
    const nameSize = entry.nameSize ?? entry.name.length + 1;
    const fields = [entry.inode ?? number + 1, modeOf(entry), 0, 0, links, 1e9, size, 0, 0, 0, 0];
    const text = [...fields, nameSize, 0].map((value) => value.toString(16).padStart(8, "0"));
    const head = Buffer.from(`070701${text.join("")}${entry.name}\0`, "latin1");
    return Buffer.concat([padded(head), padded(body)]);
  };
  return Buffer.concat([...entries.map(one), one({ name: "TRAILER!!!", mode: 0 }, -1)]);
}

/** ar, with BSD's long names: only these may hold any byte. */
export function arOf(entries: readonly RareEntry[]): Buffer {
  const parts = entries.map((entry) => {
    const name = bytes(entry.name);
    const body = bodyOf(entry);
    const field = (value: string | number, size: number): string => `${value}`.padEnd(size);
    const size = entry.size ?? name.length + body.length;
    const head =
      field(`#1/${entry.nameSize ?? name.length}`, 16) +
      field(1e9, 12) +
      field(0, 6) +
      field(0, 6) +
      field(modeOf(entry).toString(8), 8) +
      field(size, 10);
    const whole = Buffer.concat([Buffer.from(`${head}\`\n`, "latin1"), name, body]);
    return Buffer.concat([whole, Buffer.alloc(whole.length % 2, "\n")]);
  });
  return Buffer.concat([Buffer.from("!<arch>\n"), ...parts]);
}

/** rar 4, method "store". */
export function rarOf(entries: readonly RareEntry[]): Buffer {
  const block = (type: number, flags: number, rest: Buffer): Buffer => {
    const head = Buffer.concat([little([1, type], [2, flags], [2, rest.length + 7]), rest]);
    return Buffer.concat([little([2, crc32(head) & 0xffff]), head]);
  };
  const parts = entries.map((entry) => {
    const body = bodyOf(entry);
    const size = entry.size ?? body.length;
    const sum = crc32(body) ^ (entry.brokenSum ? 1 : 0);
    const fields = little(
      [4, size],
      [4, size],
      [1, 3], // unix
      [4, sum >>> 0],
      [4, 0x50000000],
      [1, 20],
      [1, 0x30],
      [2, entry.nameSize ?? entry.name.length],
      [4, modeOf(entry)],
    );
    const flags = 0x8000 | (isDirectory(entry) ? 0xe0 : 0);
    return Buffer.concat([block(0x74, flags, Buffer.concat([fields, bytes(entry.name)])), body]);
  });
  const begin = [Buffer.from("Rar!\x1a\x07\0", "latin1"), block(0x73, 0, Buffer.alloc(6))];
  return Buffer.concat([...begin, ...parts, block(0x7b, 0x4000, Buffer.alloc(0))]);
}

/** rar 5, method "store". */
export function rar5Of(entries: readonly RareEntry[]): Buffer {
  const vint = (value: number): Buffer => {
    const out: number[] = [];
    do {
      const more = value >= 128;
      out.push((value % 128) + (more ? 128 : 0));
      value = Math.floor(value / 128);
    } while (value > 0);
    return Buffer.from(out);
  };
  const block = (...parts: readonly Buffer[]): Buffer => {
    const rest = Buffer.concat(parts);
    const head = Buffer.concat([vint(rest.length), rest]);
    return Buffer.concat([little([4, crc32(head)]), head]);
  };
  const parts = entries.map((entry) => {
    const body = bodyOf(entry);
    const size = entry.size ?? body.length;
    const head = block(
      vint(2),
      vint(2), // content follows
      vint(size),
      vint(isDirectory(entry) ? 1 : 4), // a checksum is there
      vint(size),
      vint(modeOf(entry)),
      isDirectory(entry)
        ? Buffer.alloc(0)
        : little([4, (crc32(body) ^ (entry.brokenSum ? 1 : 0)) >>> 0]),
      vint(0),
      vint(1), // unix
      vint(entry.nameSize ?? entry.name.length),
      bytes(entry.name),
    );
    return Buffer.concat([head, body]);
  });
  const begin = Buffer.from("Rar!\x1a\x07\x01\0", "latin1");
  const end = block(vint(5), vint(0), vint(0));
  return Buffer.concat([begin, block(vint(1), vint(0), vint(0)), ...parts, end]);
}

/** lha, header level 0, method "-lh0-" (store). */
export function lhaOf(entries: readonly RareEntry[]): Buffer {
  const parts = entries.map((entry) => {
    const body = entry.target === undefined ? bodyOf(entry) : Buffer.alloc(0);
    const name = entry.target === undefined ? entry.name : `${entry.name}|${entry.target}`;
    const isEmpty = entry.target !== undefined || isDirectory(entry);
    const size = entry.size ?? body.length;
    const rest = Buffer.concat([
      Buffer.from(isEmpty ? "-lhd-" : "-lh0-"),
      little([4, size], [4, size], [4, 0x50000000], [1, 0x20], [1, 0]),
      little([1, entry.nameSize ?? name.length]),
      bytes(name),
      little([2, crc16(body) ^ (entry.brokenSum ? 1 : 0)]),
      // What unix adds: time, mode, owner.
      little([1, 0x55], [1, 0], [4, 1e9], [2, modeOf(entry)], [2, 0], [2, 0]),
    ]);
    const sum = rest.reduce((total, byte) => total + byte, 0) % 256;
    return Buffer.concat([little([1, rest.length], [1, sum]), rest, body]);
  });
  return Buffer.concat([...parts, Buffer.alloc(1)]);
}

function crc16(content: Buffer): number {
  let sum = 0;
  for (const byte of content) {
    sum ^= byte;
    for (let i = 0; i < 8; i++) sum = sum & 1 ? (sum >>> 1) ^ 0xa001 : sum >>> 1;
  }
  return sum;
}

/** cab: one folder, not compressed. It knows no links and no modes. */
export function cabOf(entries: readonly RareEntry[]): Buffer {
  const data = Buffer.concat(entries.map(bodyOf));
  let at = 0;
  const files = Buffer.concat(
    entries.map((entry) => {
      const body = bodyOf(entry);
      const head = little([4, entry.size ?? body.length], [4, at], [2, 0], [2, 0x58cf], [2, 0]);
      at += body.length;
      return Buffer.concat([head, little([2, 0x20]), bytes(`${entry.name}\0`)]);
    }),
  );
  const sizes = little([2, data.length], [2, data.length]);
  const broken = entries.some((entry) => entry.brokenSum) ? 1 : 0;
  const sum = (cabSum(sizes, cabSum(data, 0)) ^ broken) >>> 0;
  const block = data.length ? Buffer.concat([little([4, sum]), sizes, data]) : data;
  const begin = 36 + 8;
  const head = little(
    [4, 0x4643534d],
    [4, 0],
    [4, begin + files.length + block.length],
    [4, 0],
    [4, begin],
    [4, 0],
    [1, 3],
    [1, 1],
    [2, 1],
    [2, entries.length],
    [2, 0],
    [2, 0],
    [2, 0],
  );
  const folder = little([4, begin + files.length], [2, data.length ? 1 : 0], [2, 0]);
  return Buffer.concat([head, folder, files, block]);
}

function cabSum(content: Buffer, seed: number): number {
  let sum = seed;
  let at = 0;
  for (; at + 4 <= content.length; at += 4) sum ^= content.readUInt32LE(at);
  let rest = 0;
  for (; at < content.length; at++) rest = rest * 256 + content[at]!;
  return (sum ^ rest) >>> 0;
}
