// Signatures of packs: made when a pack is made, held against it when it is verified. They lie beside
// their pack, FILE.minisig, as minisign puts them.

import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { argumentError, CopseError, showValue } from "./errors.ts";
import type { Place } from "./location.ts";
import {
  checkSignature,
  makeSignature,
  openSecretKey,
  parsePublicKey,
  type Checked,
  type CheckingKey,
  type SigningKey,
} from "./minisign.ts";
import { Verb as VerbNumber } from "./native/abi.ts";
import { placeRequest } from "./request.ts";
import { Secret } from "./secret.ts";
import type { Step } from "./steps.ts";
import type { Verb } from "./task.ts";
import type { Options, SignOptions } from "./types.ts";

/** What belongs to the reading of a whole file, of all that the caller said. */
type Reading = Pick<Options, "runtime" | "priority" | "bandwidth" | "timeout">;

export function readingOf({ runtime, priority, bandwidth, timeout }: Reading): Reading {
  return {
    ...(runtime && { runtime }),
    ...(priority === undefined ? {} : { priority }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(timeout === undefined ? {} : { timeout }),
  };
}

const SIGNATURE_BYTES = 64 * 1024; // those of minisign are below one

/** The part of a signed comment that says which index it is about. */
const index = (hash: string): string => `index-blake3:${hash}`;

/** The place of the signature beside a file. */
export function besides({ tree: _, ...file }: Place): Place {
  const add = (text: string): string => text.replace(/([?#].*)?$/s, (rest) => `.minisig${rest}`);
  const name = file.scheme === "http" ? add : (text: string): string => `${text}.minisig`;
  const secret = file.secret && new Secret(name(file.secret.reveal()));
  return { ...file, path: name(file.path), shown: name(file.shown), ...(secret ? { secret } : {}) };
}

/** The BLAKE2b hash of a whole file. */
function hashVerb(place: Place, options: Reading, waited: boolean): Verb<Uint8Array, never> {
  const hasher = new Bun.CryptoHasher("blake2b512");
  return {
    request: placeRequest(VerbNumber.READ, place, {}, options, waited),
    decode(page) {
      hasher.update(new Uint8Array(page));
      return [];
    },
    whole: () => hasher.digest(),
  };
}

function textVerb(place: Place, options: Reading, waited: boolean): Verb<string, Uint8Array> {
  return {
    request: placeRequest(VerbNumber.READ, place, { to: SIGNATURE_BYTES }, options, waited),
    decode: (page) => [new Uint8Array(page.slice(0))],
    whole: (pages) => Buffer.concat(pages).toString("utf8"),
  };
}

/** `undefined` is not signed. */
export function checkSign(sign: unknown): SignOptions | undefined {
  if (sign === undefined) return undefined;
  const { key, password, ...rest } = (typeof sign === "string" ? { key: sign } : sign) as {
    key?: unknown;
    password?: unknown;
  };
  for (const name of Object.keys(rest))
    throw argumentError("sign", `has no field ${showValue(name)}`);
  if (typeof key !== "string" || key === "")
    throw argumentError("sign.key", `must be the path of a secret key, not ${showValue(key)}`);
  if (password !== undefined && typeof password !== "string")
    throw argumentError("sign.password", "must be a text");
  return { key, ...(password === undefined ? {} : { password }) };
}

function noKey(path: string, cause: unknown): CopseError {
  return new CopseError("NOT_FOUND", "the key cannot be read: check the path", {
    location: path,
    cause,
  });
}

async function readLater(path: string): Promise<string> {
  try {
    return await Bun.file(path).text();
  } catch (cause) {
    throw noKey(path, cause);
  }
}

function readNow(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw noKey(path, cause);
  }
}

/** Before any work, so that a wrong password costs nothing but its time. */
export function* openKey({ key, password }: SignOptions): Generator<Step<never>, SigningKey> {
  const secret = password === undefined ? undefined : new Secret(password);
  const open = (waited: boolean): SigningKey | Promise<SigningKey> =>
    waited
      ? openSecretKey(readNow(key), secret, true)
      : readLater(key).then((text) => openSecretKey(text, secret, false));
  return (yield { call: open }) as SigningKey; // what was just asked for
}

/** Signs the pack that is at a place. `indexHash` is what its writer says of it. */
export function* signPack(
  file: Place,
  key: SigningKey,
  indexHash: string,
  options: Reading,
): Generator<Step<never>, void> {
  const hash = (yield { verb: (waited) => hashVerb(file, options, waited) }) as Uint8Array;
  const { path } = besides(file);
  yield { call: () => putFile(path, makeSignature(key, hash, `copse ${index(indexHash)}`)) };
}

/** Whole or not at all; a name that a later pack beside it sweeps away. */
function putFile(path: string, text: string): void {
  const before = join(
    dirname(path),
    `.copse-${crypto.getRandomValues(new Uint8Array(8)).toHex()}.part`,
  );
  let file: number | undefined;
  try {
    file = openSync(before, "wx");
    writeSync(file, text);
    fsyncSync(file);
    closeSync(file);
    file = undefined;
    renameSync(before, path);
  } catch (cause) {
    if (file !== undefined) closeSync(file);
    rmSync(before, { force: true });
    throw new CopseError("IO", "the pack is made, and its signature could not be written", {
      location: path,
      cause,
    });
  }
}

/** The path of a public key of minisign, or the key itself. */
export function checkKey(key: unknown): string | undefined {
  if (key === undefined || (typeof key === "string" && key !== "")) return key;
  throw argumentError("key", `must be a public key or the path of one, not ${showValue(key)}`);
}

// "Ed", the key's id and the key, in base64.
const isKeyItself = /^RW[\w+/]{54}$/;

function* findKey(key: string): Generator<Step<never>, CheckingKey> {
  if (isKeyItself.test(key)) return parsePublicKey(key);
  const text = yield { call: (waited) => (waited ? readNow(key) : readLater(key)) };
  return parsePublicKey(text as string); // so it answers
}

/** Of a signature beside a file: what is wrong with it, or what it says. */
export function* checkPack(
  file: Place,
  beside: Place,
  key: string,
  options: Reading,
): Generator<Step<never>, Checked> {
  const known = yield* findKey(key);
  let text: unknown;
  try {
    text = yield { verb: (waited) => textVerb(beside, options, waited) };
  } catch (error) {
    if (!(error instanceof CopseError) || error.code !== "NOT_FOUND") throw error;
    return { wrong: "there is no signature" };
  }
  const hash = yield { verb: (waited) => hashVerb(file, options, waited) };
  return checkSignature(String(text), known, hash as Uint8Array); // as they answer
}

/** Whether a signed comment is about that index; one of minisign's own says nothing of it. */
export function isOfIndex(comment: string, indexHash: string | undefined): boolean {
  const [said] = /\bindex-blake3:[0-9a-f]*/.exec(comment) ?? [];
  return said === undefined || (indexHash !== undefined && said === index(indexHash));
}
