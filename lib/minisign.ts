// minisign's files: keys, and the signature that lies beside a file. Debian's minisign makes and
// reads the same. What is signed is the BLAKE2b hash of the file; a comment is signed with it.

import type { KeyObject } from "node:crypto";
import { argumentError } from "./errors.ts";
import type { Secret } from "./secret.ts";

/** Who signs. Its text is never shown: it has none. */
export interface SigningKey {
  readonly id: Uint8Array;
  readonly key: KeyObject;
}

/** Whose signature it has to be. */
export type CheckingKey = SigningKey;

// Here and not on top: every command would load it, and few sign.
const crypto = () => process.getBuiltinModule("node:crypto");

const utf8 = new TextEncoder();
const ID = 8;
const SIGNATURE = 64;

/** The bytes of the line after a comment line, when there are so many of them. */
function bytesOf(text: string, size: number): Buffer | undefined {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  const line = lines.length > 1 && lines[0]!.startsWith("untrusted comment:") ? lines[1] : lines[0];
  const bytes = Buffer.from(line ?? "", "base64");
  return bytes.length === size ? bytes : undefined;
}

function hash256(...parts: readonly Uint8Array[]): Buffer {
  const hasher = new Bun.CryptoHasher("blake2b256");
  for (const part of parts) hasher.update(part);
  return hasher.digest();
}

// ── Keys ──

// What stands before the 32 bytes of an Ed25519 key in DER.
const PRIVATE = Buffer.from("302e020100300506032b657004220420", "hex");
const PUBLIC = Buffer.from("302a300506032b6570032100", "hex");

/** A public key: the file that minisign made, or the one line in it. */
export function parsePublicKey(text: string): CheckingKey {
  const bytes = bytesOf(text, 2 + ID + 32);
  if (bytes?.toString("latin1", 0, 2) !== "Ed")
    throw argumentError("key", "is no public key of minisign: give its .pub file or its line");
  const raw = bytes.subarray(2 + ID);
  const key = crypto().createPublicKey({
    key: Buffer.concat([PUBLIC, raw]),
    format: "der",
    type: "spki",
  });
  return { id: bytes.subarray(2, 2 + ID), key };
}

// Algorithm, how the password is made a key, how the whole is checked; salt, two limits, then what
// the password hides: id, private and public key, check.
const SECRET = 2 + 2 + 2 + 32 + 8 + 8 + ID + 64 + 32;
const HIDDEN = ID + 64 + 32;

interface Scrypt {
  readonly N: number;
  readonly r: number;
  readonly p: number;
  readonly maxmem: number;
}

/** As libsodium chooses them from the two limits in the file. */
function scryptOf(operations: bigint, memory: bigint): Scrypt | undefined {
  const ops = operations < 32_768n ? 32_768n : operations;
  const r = 8;
  const log2 = (most: bigint): number => {
    let bits = 1;
    while (bits < 63 && 2n ** BigInt(bits) <= most / 2n) bits++;
    return bits;
  };
  if (ops < memory / 32n) {
    const N = 2 ** log2(ops / BigInt(r * 4));
    return { N, r, p: 1, maxmem: 256 * r * N + 2 ** 20 };
  }
  const bits = log2(memory / BigInt(r * 128));
  const most = ops / 4n / 2n ** BigInt(bits);
  const p = Number((most > 0x3fffffffn ? 0x3fffffffn : most) / BigInt(r));
  return p < 1 ? undefined : { N: 2 ** bits, r, p, maxmem: 256 * r * 2 ** bits + 2 ** 20 };
}

// What minisign itself asks for; more would be a file that wants to use up the machine.
const MEMORY_MAX = 2n ** 31n;

/** A secret key of minisign. Those with a password take seconds and a gigabyte, as minisign made them. */
export function openSecretKey(
  text: string,
  password: Secret | undefined,
  waited: boolean,
): SigningKey | Promise<SigningKey> {
  const bytes = bytesOf(text, SECRET);
  if (bytes?.toString("latin1", 0, 2) !== "Ed" || bytes.toString("latin1", 4, 6) !== "B2")
    throw argumentError("sign", "names a file that is no secret key of minisign");
  const way = bytes.toString("latin1", 2, 4);
  const hidden = bytes.subarray(SECRET - HIDDEN);
  if (way === "\0\0") return keyOf(hidden);
  if (way !== "Sc") throw argumentError("sign", "names a key encrypted in a way that is not known");
  if (password === undefined)
    throw argumentError("sign", "names a key that is encrypted: give its password");
  const salt = bytes.subarray(6, 38);
  const memory = bytes.readBigUInt64LE(46);
  const cost = memory <= MEMORY_MAX ? scryptOf(bytes.readBigUInt64LE(38), memory) : undefined;
  if (!cost) throw argumentError("sign", "names a key that asks for more memory than any should");
  const open = (stream: Uint8Array): SigningKey =>
    keyOf(hidden.map((byte, i) => byte ^ stream[i]!));
  if (waited) return open(crypto().scryptSync(password.reveal(), salt, HIDDEN, cost));
  return new Promise((resolve, reject) => {
    crypto().scrypt(password.reveal(), salt, HIDDEN, cost, (error, stream) => {
      try {
        if (error) throw error;
        resolve(open(stream));
      } catch (cause) {
        reject(cause);
      }
    });
  });
}

function keyOf(plain: Uint8Array): SigningKey {
  const id = plain.subarray(0, ID);
  const secret = plain.subarray(ID, ID + 64);
  const der = Buffer.concat([PRIVATE, secret.subarray(0, 32)]);
  const { createPrivateKey, createPublicKey, timingSafeEqual } = crypto();
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  // Its public half is kept with it. The check after them is missing in keys without a password.
  const open = createPublicKey(key).export({ format: "der", type: "spki" });
  const check = hash256(utf8.encode("Ed"), id, secret);
  const said = plain.subarray(ID + 64);
  const isChecked = timingSafeEqual(check, said) || said.every((byte) => byte === 0);
  if (!isChecked || !timingSafeEqual(open.subarray(PUBLIC.length), secret.subarray(32)))
    throw argumentError("sign", "has a wrong password, or its key is damaged");
  return { id, key };
}

// ── Signatures ──

/** The file beside: `hash` is the BLAKE2b-512 of what is signed, `comment` one line that is signed too. */
export function makeSignature(key: SigningKey, hash: Uint8Array, comment: string): string {
  const { sign } = crypto();
  const signature = sign(null, hash, key.key);
  const both = sign(null, Buffer.concat([signature, utf8.encode(comment)]), key.key);
  const head = Buffer.concat([utf8.encode("ED"), key.id, signature]);
  return `untrusted comment: signature from copse\n${head.toString("base64")}\ntrusted comment: ${comment}\n${both.toString("base64")}\n`;
}

/** What a signature says when it is right; else why it is not, in words. */
export type Checked =
  | { readonly comment: string; readonly wrong?: never }
  | { readonly comment?: never; readonly wrong: string };

export function checkSignature(text: string, key: CheckingKey, hash: Uint8Array): Checked {
  const [first = "", second = "", third = "", fourth = ""] = text.split("\n");
  const head = Buffer.from(second.trim(), "base64");
  const both = Buffer.from(fourth.trim(), "base64");
  const isShaped =
    first.startsWith("untrusted comment: ") &&
    third.startsWith("trusted comment: ") &&
    head.length === 2 + ID + SIGNATURE &&
    both.length === SIGNATURE;
  if (!isShaped) return { wrong: "the signature is no signature of minisign" };
  const way = head.toString("latin1", 0, 2);
  if (way === "Ed") return { wrong: "the signature is of minisign's old kind: sign again" };
  if (way !== "ED") return { wrong: "the signature is of a kind that is not known" };
  if (!head.subarray(2, 2 + ID).equals(key.id)) return { wrong: "the signature is of another key" };
  const { verify } = crypto();
  const signature = head.subarray(2 + ID);
  const comment = third.slice("trusted comment: ".length).replace(/\r$/, "");
  if (!verify(null, Buffer.concat([signature, utf8.encode(comment)]), key.key, both))
    return { wrong: "the signature's comment was changed" };
  if (!verify(null, hash, key.key, signature))
    return { wrong: "the signature is of another file, or the file was changed" };
  return { comment };
}
