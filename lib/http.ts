// http: and https: locations: their fields, checked, and the certificates to trust.

import { accessSync, constants } from "node:fs";
import { getCACertificates, rootCertificates } from "node:tls";
import { argumentError, CopseError, showValue } from "./errors.ts";
import type { Place, PlaceField } from "./location.ts";
import { Addresses, Place as Key } from "./native/abi.ts";
import { redact, Secret } from "./secret.ts";

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const control = /[\u0000-\u001f\u007f]/;
// What decides where a message begins and ends, and what the core says itself.
const ours = new Set([
  "accept-encoding",
  "connection",
  "content-length",
  "host",
  "if-range",
  "range",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

type Check = (value: unknown) => readonly PlaceField[];

function wholeNumber(name: string, key: number, least: number, most: number): Check {
  return (value) => {
    if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most)
      throw argumentError(
        `location.${name}`,
        `must be a whole number from ${least} to ${most}, not ${showValue(value)}`,
      );
    return [[key, value]];
  };
}

function secret(name: string, key: number): Check {
  return (value) => {
    if (typeof value !== "string" || control.test(value))
      throw argumentError(`location.${name}`, "must be a string without control characters");
    return [[key, new Secret(value)]];
  };
}

function headerLines(value: unknown): readonly PlaceField[] {
  let pairs: readonly (readonly [unknown, unknown])[];
  if (value instanceof Headers) pairs = [...value];
  else if (Array.isArray(value)) pairs = value;
  else if (typeof value === "object" && value !== null) pairs = Object.entries(value);
  else throw argumentError("location.headers", `must be an object, not ${showValue(value)}`);
  return pairs.map((pair) => {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw argumentError("location.headers", "must hold pairs of a name and a value");
    const [name, text]: readonly unknown[] = pair;
    if (typeof name !== "string" || !token.test(name))
      throw argumentError("location.headers", `has a name that is none: ${showValue(name)}`);
    // The value may be a secret, so it is not said.
    if (typeof text !== "string" || control.test(text.replaceAll("\t", "")))
      throw argumentError(
        "location.headers",
        `${name}: must be a string without control characters`,
      );
    if (ours.has(name.toLowerCase()))
      throw argumentError("location.headers", `${name} is set by copse itself`);
    return [Key.HEADER, new Secret(`${name}: ${text.trim()}`)];
  });
}

const addresses = {
  named: Addresses.NAMED,
  any: Addresses.ANY,
  public: Addresses.PUBLIC,
} as const;

const checks: ReadonlyMap<string, Check> = new Map<string, Check>([
  ["headers", headerLines],
  ["timeout", wholeNumber("timeout", Key.TIMEOUT, 1, 2 ** 31 - 1)],
  ["retries", wholeNumber("retries", Key.RETRIES, 0, 100)],
  ["redirects", wholeNumber("redirects", Key.REDIRECTS, 0, 100)],
  ["username", secret("username", Key.USER)],
  ["password", secret("password", Key.PASSWORD)],
  ["token", secret("token", Key.BEARER)],
  [
    "proxy",
    (value) => {
      const url = typeof value === "string" && !control.test(value) ? URL.parse(value) : null;
      if (!url || !/^(https?|socks[45]h?|socks4a):$/.test(url.protocol) || url.hostname === "")
        throw argumentError("location.proxy", "must be the URL of an http or socks proxy");
      return [[Key.PROXY, new Secret(url.href)]];
    },
  ],
  [
    "insecure",
    (value) => {
      if (typeof value !== "boolean")
        throw argumentError("location.insecure", `must be true or false, not ${showValue(value)}`);
      return value ? [[Key.INSECURE, 1]] : [];
    },
  ],
  [
    "minTls",
    (value) => {
      if (value !== "1.2" && value !== "1.3")
        throw argumentError("location.minTls", `must be "1.2" or "1.3", not ${showValue(value)}`);
      return [[Key.MIN_TLS, value === "1.3" ? 13 : 12]];
    },
  ],
  [
    "addresses",
    (value) => {
      const number = Object.entries(addresses).find(([name]) => name === value)?.[1];
      if (number === undefined)
        throw argumentError(
          "location.addresses",
          `must be one of ${Object.keys(addresses).join(", ")}, not ${showValue(value)}`,
        );
      return number === Addresses.NAMED ? [] : [[Key.ADDRESSES, number]];
    },
  ],
  ["ca", (value) => givenCertificates(value)],
]);

/** A URL of the web and the fields beside it. `shown` is what messages say. */
export function httpPlace(text: string, shown: string, fields: object): Place {
  const url = URL.parse(text);
  if (!url || url.hostname === "")
    throw argumentError("location", `${shown}: is no URL of a web server`);
  const said: PlaceField[] = [];
  let { username, password } = url;
  for (const [name, value] of Object.entries(fields)) {
    if (name === "url") continue;
    const check = checks.get(name);
    if (!check) throw argumentError("location", `has no field ${showValue(name)}`);
    if (value === undefined) continue;
    if (name === "username") username = "";
    if (name === "password") password = "";
    said.push(...check(value));
  }
  if (username !== "") said.push([Key.USER, new Secret(decode(username))]);
  if (password !== "") said.push([Key.PASSWORD, new Secret(decode(password))]);
  const says = (key: number): boolean => said.some(([other]) => other === key);
  if (says(Key.PASSWORD) && !says(Key.USER))
    throw argumentError("location", "a password needs a username");
  if (says(Key.BEARER) && says(Key.USER))
    throw argumentError("location", "give a username and password, or a token, not both");
  url.username = url.password = url.hash = "";
  return {
    scheme: "http",
    path: redact(url.href),
    secret: new Secret(url.href),
    shown,
    fields: said,
  };
}

function decode(text: string): string {
  try {
    const decoded = decodeURIComponent(text);
    if (!control.test(decoded)) return decoded;
  } catch {
    // Told below, without the text.
  }
  throw argumentError("location", "has credentials that cannot be decoded");
}

// ── Certificates ──

// Debian and Alpine; Fedora; openSUSE; Alpine and macOS.
const bundles = [
  "/etc/ssl/certs/ca-certificates.crt",
  "/etc/pki/tls/certs/ca-bundle.crt",
  "/etc/ssl/ca-bundle.pem",
  "/etc/ssl/cert.pem",
];

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

function givenCertificates(value: unknown): readonly PlaceField[] {
  if (typeof value !== "string" || value === "")
    throw argumentError("location.ca", `must be a path or PEM text, not ${showValue(value)}`);
  if (value.includes("-----BEGIN")) return [[Key.CA_BLOB, value]];
  if (!isReadable(value)) throw argumentError("location.ca", `${showValue(value)} cannot be read`);
  return [[Key.CA_FILE, value]];
}

/** Where the trusted certificates come from, for the command's own report. */
export interface Trust {
  readonly source: string;
  readonly field: PlaceField;
}

let own: string | undefined;

/**
 * The certificates that count where a location says nothing: `SSL_CERT_FILE`, `CURL_CA_BUNDLE`, the
 * system's, and last those that Bun brings along, so that HTTPS works where the system has none.
 */
export function trust(): Trust {
  for (const name of ["SSL_CERT_FILE", "CURL_CA_BUNDLE"]) {
    const path = process.env[name];
    if (!path) continue;
    if (!isReadable(path))
      throw new CopseError("ARGUMENT", `${name} names a file that cannot be read: ${path}`);
    return { source: `${name}=${path}`, field: [Key.CA_FILE, path] };
  }
  const path = bundles.find(isReadable);
  if (path !== undefined) return { source: path, field: [Key.CA_FILE, path] };
  own ??= bunCertificates().join("\n");
  return { source: "Bun", field: [Key.CA_BLOB, own] };
}

function bunCertificates(): readonly string[] {
  const given = typeof getCACertificates === "function" ? getCACertificates("default") : [];
  return given.length > 0 ? given : rootCertificates;
}

/** The place with the certificates it needs, unless it says them itself. */
export function withTrust(place: Place): Place {
  const { inner, tree } = place;
  if (inner || tree)
    return {
      ...withOwnTrust(place),
      ...(inner && { inner: withTrust(inner) }),
      ...(tree && { tree: withTrust(tree) }),
    };
  return withOwnTrust(place);
}

function withOwnTrust(place: Place): Place {
  if (!needsTrust(place)) return place;
  return { ...place, fields: [...(place.fields ?? []), trust().field] };
}

function needsTrust({ scheme, fields = [], entries = [] }: Place): boolean {
  if (scheme === "files") return entries.some(([, place]) => needsTrust(place));
  const says = (key: number): boolean => fields.some(([other]) => other === key);
  return scheme === "http" && !says(Key.CA_FILE) && !says(Key.CA_BLOB) && !says(Key.INSECURE);
}
