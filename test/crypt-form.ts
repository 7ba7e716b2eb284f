// A second reader and writer of what lies in a crypt: place, written from docs/formats.md with node's
// own crypto and Bun's zstd. It shares no code with the core.

import { createCipheriv, createDecipheriv, hkdfSync, randomBytes, scryptSync } from "node:crypto";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";

const headerBytes = 128;
const trailerBytes = 64;
const magic = Buffer.from("copse crypt 1\0\0\0", "latin1");
const endMagic = Buffer.from("copse crypt end\0", "latin1");

export interface Secret {
  readonly key?: Uint8Array;
  readonly passphrase?: string;
}

// ── BLAKE3 of up to 1024 bytes, which is one chunk ──

const iv = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];
const permutation = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];

function compress(
  chain: readonly number[],
  block: Uint8Array,
  size: number,
  flags: number,
): number[] {
  const padded = new Uint8Array(64);
  padded.set(block);
  const view = new DataView(padded.buffer);
  let words = Array.from({ length: 16 }, (_, i) => view.getUint32(4 * i, true));
  const s = [...chain, ...iv.slice(0, 4), 0, 0, size, flags];
  const turn = (x: number, n: number): number => (x >>> n) | (x << (32 - n));
  const mix = (a: number, b: number, c: number, d: number, x: number, y: number): void => {
    for (const [word, first, second] of [
      [x, 16, 12],
      [y, 8, 7],
    ] as const) {
      s[a] = (s[a]! + s[b]! + word) | 0;
      s[d] = turn(s[d]! ^ s[a]!, first);
      s[c] = (s[c]! + s[d]!) | 0;
      s[b] = turn(s[b]! ^ s[c]!, second);
    }
  };
  for (let round = 0; round < 7; round++) {
    for (let i = 0; i < 4; i++) mix(i, i + 4, i + 8, i + 12, words[2 * i]!, words[2 * i + 1]!);
    for (let i = 0; i < 4; i++)
      mix(
        i,
        4 + ((i + 1) % 4),
        8 + ((i + 2) % 4),
        12 + ((i + 3) % 4),
        words[8 + 2 * i]!,
        words[9 + 2 * i]!,
      );
    words = permutation.map((from) => words[from]!);
  }
  return s.slice(0, 8).map((word, i) => word ^ s[i + 8]!);
}

function blake3(...pieces: Uint8Array[]): Buffer {
  const bytes = Buffer.concat(pieces);
  if (bytes.length > 1024) throw new Error("more than one chunk");
  let chain: number[] = iv;
  for (let at = 0; at === 0 || at < bytes.length; at += 64) {
    const size = Math.min(64, bytes.length - at);
    const isLast = at + 64 >= bytes.length;
    const flags = (at === 0 ? 1 : 0) | (isLast ? 2 | 8 : 0);
    chain = compress(chain, bytes.subarray(at, at + size), size, flags);
  }
  const out = Buffer.alloc(32);
  for (const [i, word] of chain.entries()) out.writeInt32LE(word | 0, 4 * i);
  return out;
}

const short = (...pieces: Uint8Array[]): Buffer => blake3(...pieces).subarray(0, 16);

// ── Keys ──

interface Keys {
  readonly key: Buffer;
  readonly keyCheck: Buffer;
}

function keysOf(header: Buffer, secret: Secret): Keys {
  const kind = header[17];
  const [n = 0, r = 0, p = 0] = header.subarray(19, 22);
  const master =
    kind === 2
      ? scryptSync(secret.passphrase!, header.subarray(64, 80), 32, {
          N: 2 ** n,
          r,
          p,
          maxmem: 2 ** 30,
        })
      : secret.key!;
  const derived = Buffer.from(
    hkdfSync("sha256", master, header.subarray(32, 64), header.subarray(0, 80), 48),
  );
  return { key: derived.subarray(0, 32), keyCheck: derived.subarray(32) };
}

function boundOf(
  header: Buffer,
  number: number,
  isLast: boolean,
  isPlain: boolean,
  size: number,
): Buffer {
  const bound = Buffer.alloc(32);
  header.copy(bound, 0, 112, 128);
  bound.writeUInt32LE(number, 16);
  bound[24] = Number(isLast);
  bound[25] = Number(isPlain);
  bound.writeUInt32LE(size, 28);
  return bound;
}

function nonceOf(number: number): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUInt32LE(number, 4);
  return nonce;
}

function seal(key: Buffer, nonce: Buffer, bound: Buffer, bytes: Uint8Array): Buffer {
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(bound);
  return Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
}

/** Throws where the tag is another. */
function open(key: Buffer, nonce: Buffer, bound: Buffer, bytes: Buffer): Buffer {
  const decipher = createDecipheriv("aes-256-gcm", key, nonce).setAAD(bound);
  decipher.setAuthTag(bytes.subarray(-16));
  return Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]);
}

// ── Files ──

const trailerNonce = Buffer.alloc(12, 255);

export interface Opened {
  readonly content: Buffer;
  readonly stages: number;
  readonly parts: number;
}

/** What is in such a file. Checksums of parts above a thousand bytes are left to the core. */
export function openFile(file: Buffer, secret: Secret = {}): Opened {
  const header = file.subarray(0, headerBytes);
  const trailer = file.subarray(-trailerBytes);
  const same = (left: Uint8Array, right: Uint8Array, what: string): void => {
    if (Buffer.compare(left, right) !== 0) throw new Error(`${what} is wrong`);
  };
  same(header.subarray(0, 16), magic, "the beginning");
  same(trailer.subarray(48), endMagic, "the end");
  same(header.subarray(112), short(header.subarray(0, 112)), "the header's check");
  const stages = header[16]!;
  const isEncrypted = (stages & 2) !== 0;
  const keys = isEncrypted ? keysOf(header, secret) : undefined;
  if (keys) same(keys.keyCheck, header.subarray(80, 96), "the key");
  const partSize = 2 ** header[18]!;
  const size = Number(trailer.readBigUInt64LE(0));
  if (Number(trailer.readBigUInt64LE(8)) !== file.length) throw new Error("the length is wrong");
  const bound = Buffer.concat([header.subarray(112), trailer.subarray(0, 32)]);
  if (keys) open(keys.key, trailerNonce, bound, trailer.subarray(32, 48));
  else same(trailer.subarray(32, 48), short(bound), "the trailer's check");
  const parts = Math.ceil(size / partSize);
  const index = file.subarray(file.length - trailerBytes - 4 * parts, file.length - trailerBytes);
  if (index.length <= 1024) same(short(index), trailer.subarray(16, 32), "the index's check");
  const contents: Buffer[] = [];
  let at = headerBytes;
  for (let number = 0; number < parts; number++) {
    const entry = index.readUInt32LE(4 * number);
    const isPlain = entry >= 2 ** 31;
    const stored = entry % 2 ** 31;
    const length = Math.min(partSize, size - number * partSize);
    const about = boundOf(header, number, number + 1 === parts, isPlain, length);
    let bytes = file.subarray(at, at + stored);
    if (keys) bytes = open(keys.key, nonceOf(number), about, bytes);
    else {
      const tag = bytes.subarray(-16);
      bytes = bytes.subarray(0, -16);
      if (bytes.length <= 1024 - 32) same(tag, short(about, bytes), "a tag");
    }
    let content = bytes.subarray(32);
    if (stages & 1 && !isPlain) content = zstdDecompressSync(content);
    if (content.length !== length) throw new Error("a part has another length");
    if (length <= 1024 - 32) same(bytes.subarray(0, 32), blake3(about, content), "a checksum");
    contents.push(content);
    at += stored;
  }
  return { content: Buffer.concat(contents), stages, parts };
}

/** A file of at most one part of 960 bytes, which says that its parts have 2^partLog. */
export function makeFile(
  content: Uint8Array,
  secret: Secret,
  compresses: boolean,
  partLog = 16,
): Buffer {
  const header = Buffer.alloc(headerBytes);
  magic.copy(header);
  const isEncrypted = Boolean(secret.key ?? secret.passphrase);
  header[16] = Number(compresses) + 2 * Number(isEncrypted);
  header[17] = secret.passphrase === undefined ? Number(isEncrypted) : 2;
  header[18] = partLog;
  randomBytes(32).copy(header, 32);
  if (secret.passphrase !== undefined) {
    header.set([10, 8, 1], 19);
    randomBytes(16).copy(header, 64);
  }
  const keys = isEncrypted ? keysOf(header, secret) : undefined;
  keys?.keyCheck.copy(header, 80);
  short(header.subarray(0, 112)).copy(header, 112);
  const index = Buffer.alloc(content.length > 0 ? 4 : 0);
  let part: Buffer = Buffer.alloc(0);
  if (content.length > 0) {
    const packed = compresses ? zstdCompressSync(content) : content;
    const isPlain = compresses && packed.length >= content.length;
    const bound = boundOf(header, 0, true, isPlain, content.length);
    part = Buffer.concat([blake3(bound, content), isPlain ? content : packed]);
    part = keys
      ? seal(keys.key, nonceOf(0), bound, part)
      : Buffer.concat([part, short(bound, part)]);
    index.writeUInt32LE(part.length + (isPlain ? 2 ** 31 : 0), 0);
  }
  const trailer = Buffer.alloc(trailerBytes);
  trailer.writeBigUInt64LE(BigInt(content.length), 0);
  trailer.writeBigUInt64LE(BigInt(headerBytes + part.length + index.length + trailerBytes), 8);
  short(index).copy(trailer, 16);
  const bound = Buffer.concat([header.subarray(112), trailer.subarray(0, 32)]);
  const proof = keys ? seal(keys.key, trailerNonce, bound, new Uint8Array()) : short(bound);
  proof.copy(trailer, 32);
  endMagic.copy(trailer, 48);
  return Buffer.concat([header, part, index, trailer]);
}

/** The same file with the check of its header made right again. */
export function withRightCheck(file: Buffer): Buffer {
  short(file.subarray(0, 112)).copy(file, 112);
  return file;
}
