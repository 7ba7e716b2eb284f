// http: and https: locations: their fields, checked, and the certificates to trust.

import { accessSync, constants } from "node:fs";
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

/** `name` is what messages call it: `location.timeout`. */
type Check = (value: unknown, name: string) => readonly PlaceField[];

function wholeNumber(key: number, least: number, most: number): Check {
  return (value, name) => {
    if (typeof value !== "number" || !Number.isInteger(value) || value < least || value > most)
      throw argumentError(
        name,
        `must be a whole number from ${least} to ${most}, not ${showValue(value)}`,
      );
    return [[key, value]];
  };
}

function secret(key: number): Check {
  return (value, name) => {
    if (typeof value !== "string" || control.test(value))
      throw argumentError(name, "must be a string without control characters");
    return [[key, new Secret(value)]];
  };
}

function headerLines(value: unknown, at: string): readonly PlaceField[] {
  let pairs: readonly (readonly [unknown, unknown])[];
  if (value instanceof Headers) pairs = [...value];
  else if (Array.isArray(value)) pairs = value;
  else if (typeof value === "object" && value !== null) pairs = Object.entries(value);
  else throw argumentError(at, `must be an object, not ${showValue(value)}`);
  return pairs.map((pair) => {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw argumentError(at, "must hold pairs of a name and a value");
    const [name, text]: readonly unknown[] = pair;
    if (typeof name !== "string" || !token.test(name))
      throw argumentError(at, `has a name that is none: ${showValue(name)}`);
    // The value may be a secret, so it is not said.
    if (typeof text !== "string" || control.test(text.replaceAll("\t", "")))
      throw argumentError(at, `${name}: must be a string without control characters`);
    if (ours.has(name.toLowerCase())) throw argumentError(at, `${name} is set by copse itself`);
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
  ["timeout", wholeNumber(Key.TIMEOUT, 1, 2 ** 31 - 1)],
  ["retries", wholeNumber(Key.RETRIES, 0, 100)],
  ["redirects", wholeNumber(Key.REDIRECTS, 0, 100)],
  ["username", secret(Key.USER)],
  ["password", secret(Key.PASSWORD)],
  ["token", secret(Key.BEARER)],
  [
    "proxy",
    (value, name) => {
      if (value === "") return [];
      const url = typeof value === "string" && !control.test(value) ? URL.parse(value) : null;
      if (!url || !/^(https?|socks[45]h?|socks4a):$/.test(url.protocol) || url.hostname === "")
        throw argumentError(name, "must be the URL of an http or socks proxy");
      return [[Key.PROXY, new Secret(url.href)]];
    },
  ],
  [
    "insecure",
    (value, name) => {
      if (typeof value !== "boolean")
        throw argumentError(name, `must be true or false, not ${showValue(value)}`);
      return [[Key.INSECURE, value ? 1 : 0]];
    },
  ],
  [
    "minTls",
    (value, name) => {
      if (value !== "1.2" && value !== "1.3")
        throw argumentError(name, `must be "1.2" or "1.3", not ${showValue(value)}`);
      return [[Key.MIN_TLS, value === "1.3" ? 13 : 12]];
    },
  ],
  [
    "addresses",
    (value, name) => {
      const number = Object.entries(addresses).find(([name]) => name === value)?.[1];
      if (number === undefined)
        throw argumentError(
          name,
          `must be one of ${Object.keys(addresses).join(", ")}, not ${showValue(value)}`,
        );
      return [[Key.ADDRESSES, number]];
    },
  ],
  ["ca", givenCertificates],
]);

/** A URL of the web and the fields beside it. `shown` is what messages say. */
export function httpPlace(text: string, shown: string, fields: object): Place {
  const url = URL.parse(text);
  if (!url || url.hostname === "")
    throw argumentError("location", `${shown}: is no URL of a web server`);
  const said: PlaceField[] = [];
  const names: string[] = [];
  let { username, password } = url;
  for (const [name, value] of Object.entries(fields)) {
    if (name === "url") continue;
    const check = checks.get(name);
    if (!check) throw argumentError("location", `has no field ${showValue(name)}`);
    if (value === undefined) continue;
    if (name === "username") username = "";
    if (name === "password") password = "";
    said.push(...check(value, `location.${name}`));
    names.push(name);
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
    said: names,
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

function givenCertificates(value: unknown, name: string): readonly PlaceField[] {
  if (typeof value !== "string" || value === "")
    throw argumentError(name, `must be a path or PEM text, not ${showValue(value)}`);
  if (value.includes("-----BEGIN")) return [[Key.CA_BLOB, value]];
  if (!isReadable(value)) throw argumentError(name, `${showValue(value)} cannot be read`);
  return [[Key.CA_FILE, value]];
}

interface Trust {
  readonly source: string;
  readonly field: PlaceField;
}

let own: string | undefined;

/**
 * The certificates that count where a location says nothing: `SSL_CERT_FILE`, `CURL_CA_BUNDLE`, the
 * system's, and last those that Bun brings along, so that HTTPS works where the system has none.
 */
function trust(): Trust {
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

/**
 * Where the certificates come from that HTTPS trusts when neither a location nor a runtime says: a
 * file, the variable that names one, or `Bun`. `ARGUMENT` when the variable names what cannot be read.
 */
export function certificateSource(): string {
  return trust().source;
}

function bunCertificates(): readonly string[] {
  // Here and not on top: loading node:tls takes as long as all of this library, and few need it.
  const { getCACertificates, rootCertificates } = process.getBuiltinModule("node:tls");
  const given = typeof getCACertificates === "function" ? getCACertificates("default") : [];
  return given.length > 0 ? given : rootCertificates;
}

// ── What a runtime says of every web server ──

/** Fields by their names, checked. */
export type HttpDefaults = ReadonlyMap<string, readonly PlaceField[]>;

// They belong to one server, so none may be sent to all.
const credentials = ["username", "password", "token"];

/** `defaults.http` of a runtime. */
export function httpDefaults(value: unknown, at: string): HttpDefaults {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw argumentError(at, `must be an object, not ${showValue(value)}`);
  const found = new Map<string, readonly PlaceField[]>();
  for (const [name, one] of Object.entries(value)) {
    if (one === undefined) continue;
    const check = checks.get(name);
    if (!check) throw argumentError(at, `has no field ${showValue(name)}`);
    if (credentials.includes(name))
      throw argumentError(`${at}.${name}`, "belongs to one server: say it in its location");
    found.set(name, check(one, `${at}.${name}`));
  }
  return found;
}

const nothing: HttpDefaults = new Map();

/**
 * The place as its web servers are asked: what it leaves open is as the defaults say, and it has the
 * certificates it needs.
 */
export function forWeb(place: Place, defaults: HttpDefaults = nothing): Place {
  const open = defaults.size > 0 ? withDefaults(place, defaults) : place;
  return needsTrust(open) ? withTrust(open, defaults.get("ca")?.[0]) : open;
}

/** The same for it and all places in it, `change` being told only of those on the web. */
function onTheWeb(place: Place, change: (place: Place) => Place): Place {
  const { inner, tree, entries } = place;
  const own = place.scheme === "http" ? change(place) : place;
  return {
    ...own,
    ...(inner && { inner: onTheWeb(inner, change) }),
    ...(tree && { tree: onTheWeb(tree, change) }),
    ...(entries && {
      entries: entries.map(([path, entry]) => [path, onTheWeb(entry, change)] as const),
    }),
  };
}

function withDefaults(place: Place, defaults: HttpDefaults): Place {
  return onTheWeb(place, (open) => {
    const { fields = [], said = [] } = open;
    const more = [...defaults].filter(([name]) => name !== "ca" && !said.includes(name));
    return { ...open, fields: [...fields, ...more.flatMap(([, field]) => field)] };
  });
}

/** A table says them once for all its places: as text they are long. */
function withTrust(place: Place, given: PlaceField | undefined): Place {
  const field = given ?? trust().field;
  if (place.entries) return { ...place, fields: [...(place.fields ?? []), field] };
  return onTheWeb(place, (open) =>
    needsTrust(open) ? { ...open, fields: [...(open.fields ?? []), field] } : open,
  );
}

/** Whether a server is asked that has to prove itself, here or in a place inside. */
function needsTrust({ scheme, fields = [], inner, tree, entries }: Place): boolean {
  const own =
    scheme === "http" &&
    !fields.some(
      ([key, value]) =>
        key === Key.CA_FILE || key === Key.CA_BLOB || (key === Key.INSECURE && value === 1),
    );
  if (own || (inner && needsTrust(inner)) || (tree && needsTrust(tree))) return true;
  return entries !== undefined && entries.some(([, entry]) => needsTrust(entry));
}
