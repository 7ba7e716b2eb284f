// crypt: locations: how their files are written and with what they are read, checked.

import { resolve } from "node:path";
import { argumentError, showValue } from "./errors.ts";
import type { Place, PlaceField } from "./location.ts";
import { Place as Key } from "./native/abi.ts";
import { Secret } from "./secret.ts";

const keyBytes = 32;
const passphraseBytes = 1024;

/** `name` is what messages call it: `encrypt.keyFile`. */
type Check = (value: unknown, name: string) => PlaceField;

function level(value: unknown, name: string): PlaceField {
  if (typeof value === "boolean") return [Key.CRYPT_LEVEL, value ? 3 : 0];
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > 22)
    throw argumentError(
      name,
      `must be true, false or a level from 1 to 22, not ${showValue(value)}`,
    );
  return [Key.CRYPT_LEVEL, value];
}

const file =
  (key: number): Check =>
  (value, name) => {
    if (typeof value !== "string" || value === "" || value.includes("\0"))
      throw argumentError(name, `must be a path, not ${showValue(value)}`);
    return [key, resolve(value)];
  };

// A value that is wrong may be a secret all the same, so none is said.
const secrets: ReadonlyMap<string, Check> = new Map<string, Check>([
  [
    "key",
    (value, name) => {
      if (!(value instanceof Uint8Array) || value.length !== keyBytes)
        throw argumentError(name, `must be a Uint8Array of ${keyBytes} bytes`);
      return [Key.CRYPT_KEY, new Secret(Uint8Array.from(value))];
    },
  ],
  ["keyFile", file(Key.CRYPT_KEY_FILE)],
  [
    "passphrase",
    (value, name) => {
      const isText = typeof value === "string" && value !== "";
      if (!isText || Buffer.byteLength(value) > passphraseBytes)
        throw argumentError(name, `must be a string of 1 to ${passphraseBytes} bytes`);
      return [Key.CRYPT_PASSPHRASE, new Secret(value)];
    },
  ],
  ["passphraseFile", file(Key.CRYPT_PASSPHRASE_FILE)],
]);

function secretIn(said: object, whole: string): PlaceField | undefined {
  let found: PlaceField | undefined;
  for (const [name, value] of Object.entries(said)) {
    if (value === undefined) continue;
    const check = secrets.get(name);
    if (!check) throw argumentError(whole, `has no field ${showValue(name)}`);
    if (found) throw argumentError(whole, `takes one of ${[...secrets.keys()].join(", ")}`);
    found = check(value, `${whole}.${name}`);
  }
  return found;
}

/** The place around `inner`; `{ crypt, …fields }` as it was written. */
export function cryptPlace(inner: Place, fields: object, shown: string): Place {
  const { crypt: _, compress, ...said } = fields as { crypt?: unknown; compress?: unknown };
  const secret = secretIn(said, "location");
  return around(inner, compress, secret, "location.compress", shown);
}

function around(
  { tree: _, ...inner }: Place,
  compress: unknown,
  secret: PlaceField | undefined,
  name: string,
  shown: string,
): Place {
  const fields: PlaceField[] = compress === undefined ? [] : [level(compress, name)];
  if (secret) fields.push(secret);
  return { scheme: "crypt", path: "", inner, fields, shown };
}

/** What `compress` and `encrypt` of a copy make of its destination. */
export function withStages(to: Place, compress: unknown, encrypt: unknown): Place {
  if (compress === undefined && encrypt === undefined) return to;
  if (encrypt !== undefined && (typeof encrypt !== "object" || encrypt === null))
    throw argumentError(
      "encrypt",
      "must be an object with key, keyFile, passphrase or passphraseFile",
    );
  const secret = encrypt === undefined ? undefined : secretIn(encrypt, "encrypt");
  if (encrypt !== undefined && !secret)
    throw argumentError("encrypt", `needs one of ${[...secrets.keys()].join(", ")}`);
  if (compress === false && !secret) return to;
  if (to.scheme === "crypt")
    throw argumentError(
      compress === undefined ? "encrypt" : "compress",
      `is said by the crypt location that is written to; or name ${to.inner?.shown ?? "it"} without crypt:`,
    );
  return around(to, compress, secret, "compress", `crypt:${to.shown}`);
}

/** What is kept of such a place is written as all in it. */
export function asIn(target: Place, kept: Place): Place {
  if (target.scheme !== "crypt" || kept.scheme === "crypt") return kept;
  return { ...target, inner: kept, shown: `crypt:${kept.shown}` };
}
