// Location → place. What a user writes becomes a scheme, a path and, for messages, the same with
// its secrets masked.

import { mkdirSync } from "node:fs";
import { archiveFields, looksLikeArchive, splitSub } from "./archive.ts";
import { cryptPlace } from "./crypt.ts";
import { argumentError, CopseError, escapeForMessage, showValue } from "./errors.ts";
import { httpPlace } from "./http.ts";
import { Algorithm, Place as PlaceKey } from "./native/abi.ts";
import type { Record } from "./native/record.ts";
import { redact, type Secret } from "./secret.ts";
import type { Location } from "./types.ts";

/** Makes a directory for a file that we keep, its owner's alone. */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    // As Bun throws it: with a code.
    const errno = (cause as { code?: string }).code;
    const sentence = "the directory cannot be made: check the path and who may write there";
    const code = errno === "EEXIST" || errno === "ENOTDIR" ? "EXISTS" : "DENIED";
    throw new CopseError(code, sentence, { location: path, errno, cause });
  }
}

/** What a scheme is told besides its path: a key of its own and what it says. */
export type PlaceField = readonly [
  key: number,
  value: number | string | Secret | Secret<Uint8Array> | ((record: Record) => void),
];

/** A parsed location. `shown` is what messages may say. */
export interface Place {
  readonly scheme: string;
  readonly path: string;
  readonly shown: string;
  /** What a wrapping scheme is told. */
  readonly spec?: string;
  /** What a wrapping scheme wraps. */
  readonly inner?: Place;
  /** What is opened instead where the other side is a directory: the archive that a file is. */
  readonly tree?: Place;
  /** The path with its secrets, where `path` is without. */
  readonly secret?: Secret;
  readonly fields?: readonly PlaceField[];
  /** The names of what the location itself says of its web server. */
  readonly said?: readonly string[];
  /** The places that a table holds, by their paths in it. */
  readonly entries?: readonly (readonly [path: string, place: Place])[];
}

/** What a location that is an object of ours answers with its place. */
export const placeKey = Symbol.for("copse.place");

function hasPlace(location: object): location is { [placeKey](): Place } {
  return placeKey in location;
}

const notYet = new Map<string, string>([
  ["ssh", "sftp"],
  ["sftp", "sftp"],
  ["s3", "s3"],
  ["az", "azure"],
  ["azure", "azure"],
  ["gs", "gs"],
]);

const schemeOf = /^([A-Za-z][A-Za-z0-9+.-]+):/;
// user@host:path, user@host:port:path, user@[v6]:path: what scp and rsync call a remote place.
const remote = /^[^/\\@:\s]+@(?:\[[^\]]*\]|[^/\\@:\s]+):/;
function filePath(url: URL): string {
  if (url.hostname !== "" && url.hostname !== "localhost")
    throw argumentError("location", `${redact(url.href)}: a file: URL has no host, or localhost`);
  const plain = new URL(url.href);
  plain.hostname = "";
  if (/%00/.test(plain.pathname)) throw argumentError("location", "must not hold a NUL byte");
  if (/%2f/i.test(plain.pathname))
    throw argumentError("location", "must not hold an encoded slash (%2F)");
  return Bun.fileURLToPath(plain);
}

function checkPath(path: string): string {
  if (path === "") throw argumentError("location", "must not be empty");
  if (path.includes("\0")) throw argumentError("location", "must not hold a NUL byte");
  return path;
}

function parseText(text: string): Place {
  checkPath(text);
  if (remote.test(text)) throw unsupported("sftp", text);
  const scheme = schemeOf.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return withTree({ scheme: "file", path: text, shown: text });
  const rest = text.slice(scheme.length + 1);
  switch (scheme) {
    case "file": {
      // A URL's own rules: file:///a%20b, file:/a; "file:a" is no absolute path and so no URL of a
      // file.
      if (!rest.startsWith("/"))
        throw argumentError(
          "location",
          `${escapeForMessage(text)}: a file: URL needs an absolute path`,
        );
      return withTree({
        scheme,
        path: checkPath(filePath(new URL(text))),
        shown: redact(text),
      });
    }
    case "http":
    case "https":
      return withTree(httpPlace(text, escapeForMessage(redact(text)), {}));
    case "archive": {
      const [file, path] = splitSub(rest);
      return archivePlace(parseText(file), { path }, redact(text));
    }
    case "crypt":
      return cryptPlace(parseText(rest), {}, redact(text));
    case "manifest":
      return manifestPlace(parseText(rest), {}, redact(text));
    case "memory": {
      if (rest === "" || rest.startsWith("/"))
        throw argumentError("location", "memory: needs the name of a tree, as in memory:scratch");
      return { scheme, path: rest, shown: text };
    }
    case "pack": {
      const [file, path] = splitSub(rest);
      return packPlace(parseText(file), path, redact(text));
    }
    case "fault": {
      const at = rest.indexOf(":");
      if (at < 0)
        throw argumentError(
          "location",
          "fault: needs a specification and a location, as in fault:read=3:dir",
        );
      const inner = parseText(rest.slice(at + 1));
      return { scheme, path: inner.path, spec: rest.slice(0, at), inner, shown: text };
    }
    default:
      throw unsupported(scheme, text);
  }
}

function archivePlace(inner: Place, fields: object, shown: string): Place {
  // What is wrapped is read as it is: nothing in it is to be guessed.
  const { tree: _, ...file } = inner;
  return { scheme: "archive", path: "", inner: file, fields: archiveFields(fields), shown };
}

// The lists of sha256sum and b3sum look alike, and only their names tell them apart.
const madeByB3sum = /(?:b3|blake3)[^/]*$/i;

/** What a list of hashes says of a tree. */
function manifestPlace(inner: Place, fields: object, shown: string): Place {
  const { tree: _, ...file } = inner;
  const { algorithm = madeByB3sum.test(file.path) ? "blake3" : "sha256" } = fields as {
    algorithm?: unknown;
  };
  for (const key of Object.keys(fields))
    if (key !== "manifest" && key !== "algorithm")
      throw argumentError("location", `has no field ${showValue(key)}`);
  if (algorithm !== "blake3" && algorithm !== "sha256")
    throw argumentError(
      "location.algorithm",
      `must be one of blake3, sha256, not ${showValue(algorithm)}`,
    );
  const number = algorithm === "blake3" ? Algorithm.BLAKE3 : Algorithm.SHA256;
  return {
    scheme: "manifest",
    path: "",
    inner: file,
    fields: [[PlaceKey.ALGORITHM, number]],
    shown,
  };
}

const streams = ["standard input", "standard output", "standard error"];

/** A descriptor that is open, read or written once and in order. */
export function fdPlace(location: { readonly fd?: unknown }): Place {
  const { fd, ...rest } = location;
  if (typeof fd !== "number" || !Number.isInteger(fd) || fd < 0 || fd > 0x7fffffff)
    throw argumentError("location.fd", `must be a descriptor, not ${showValue(fd)}`);
  for (const key of Object.keys(rest))
    throw argumentError("location", `has no field ${showValue(key)}`);
  const shown = streams[fd] ?? `descriptor ${fd}`;
  return { scheme: "fd", path: "", fields: [[PlaceKey.FD, fd]], shown };
}

/** A file that ends as archives do can be opened as one. */
function withTree(place: Place): Place {
  if (!looksLikeArchive(place.path.replace(/[?#].*$/, ""))) return place;
  return { ...place, tree: archivePlace(place, {}, place.shown) };
}

/** Whether it is a plain file or URL, in which something may be packed. */
export function isFile(place: Place): boolean {
  return place.scheme === "file" || place.scheme === "http" || place.scheme === "memory";
}

/** The tree in it: of an archive when its name says so, else of a pack. */
export function asPack(place: Place): Place {
  return place.tree ?? packPlace(place, "", place.shown);
}

/** A pack that is to be made there; what has its name is replaced. */
export function asNewPack(place: Place, fields: readonly PlaceField[] = []): Place {
  const pack = isFile(place) ? packPlace(place, "", place.shown) : place;
  if (pack.scheme !== "pack")
    throw new CopseError("UNSUPPORTED", "a pack is made in a file: name a path or pack:PATH", {
      location: place.shown,
    });
  return { ...pack, fields: [[PlaceKey.PACK_NEW, 1], ...fields] };
}

/** A pack that is to be made and has no file. */
export function asPoured(fields: readonly PlaceField[]): Place {
  const shown = "a stream";
  return { scheme: "pack", path: "", shown, fields: [[PlaceKey.PACK_NEW, 1], ...fields] };
}

/** Whether a path has parts that are empty, "." or ".."; that of a root has one. */
export function isUnsafe(path: string): boolean {
  return /(?:^|\/)\.{0,2}(?:\/|$)/.test(path);
}

/** The tree in a pack file, or what `sub` names in it. */
function packPlace({ tree: _, ...inner }: Place, path: string, shown: string): Place {
  if (path !== "" && isUnsafe(path))
    throw new CopseError("UNSAFE_PATH", "what follows # is a plain path in the pack", {
      location: shown,
    });
  return { scheme: "pack", path, inner, shown };
}

function unsupported(scheme: string, text: string): CopseError {
  const known = notYet.get(scheme);
  const sentence = known
    ? `${known} locations are not built yet; use a local path or file: URL`
    : `there is no scheme "${escapeForMessage(scheme)}"; write ./${escapeForMessage(scheme)}:… for a path of that name`;
  return new CopseError("UNSUPPORTED", sentence, { location: redact(text) });
}

/** Fields that say how to reach a URL. */
type Fields = { readonly url: string | URL } & Readonly<globalThis.Record<string, unknown>>;

function parseObject(location: Fields): Place {
  const { url } = location;
  if (typeof url !== "string" && !(url instanceof URL))
    throw argumentError("location.url", `must be a string or a URL, not ${showValue(url)}`);
  // What is packed on a web server: the fields say how to reach it.
  const [prefix, wrapping] = /^(archive|pack):(?=https?:\/\/)/i.exec(String(url)) ?? [];
  if (prefix !== undefined) {
    const text = String(url);
    const [file, path] = splitSub(text.slice(prefix.length));
    const inner = parseObject({ ...location, url: file });
    const isArchive = wrapping?.toLowerCase() === "archive";
    return isArchive
      ? archivePlace(inner, { path }, redact(text))
      : packPlace(inner, path, redact(text));
  }
  // First of all a scheme that is not built in: its fields are not known here either.
  const place = parseLocation(url);
  if (place.scheme === "http") return withTree(httpPlace(String(url), place.shown, location));
  for (const key of Object.keys(location))
    if (key !== "url") throw argumentError("location", `has no field ${showValue(key)}`);
  return place;
}

/** A tree given as a table: each path in it is the file at a location. */
function parseTable(files: unknown, whole: object): Place {
  if (typeof files !== "object" || files === null || Array.isArray(files))
    throw argumentError("location.files", `must be an object, not ${showValue(files)}`);
  for (const key of Object.keys(whole))
    if (key !== "files") throw argumentError("location", `has no field ${showValue(key)}`);
  const entries = Object.entries(files).map(([path, location]) => {
    if (isUnsafe(path) || path.includes("\0"))
      throw new CopseError("UNSAFE_PATH", "a path in a table of files is relative and plain", {
        path,
      });
    // What a caller writes there is any location; parseLocation looks.
    return [path, parseLocation(location as Location)] as const;
  });
  return { scheme: "files", path: "", shown: `${entries.length} files`, entries };
}

/**
 * The place a location means, without looking whether anything is there.
 *
 * `ARGUMENT` for what is no location, `UNSUPPORTED` naming a scheme that is not built in.
 */
export function parseLocation(location: Location): Place {
  if (typeof location === "string") return parseText(location);
  if (location instanceof URL) return parseText(location.href);
  if (typeof location === "object" && location !== null && hasPlace(location))
    return location[placeKey]();
  if (typeof location === "object" && location !== null && "files" in location)
    return parseTable(location.files, location);
  if (typeof location === "object" && location !== null && "archive" in location) {
    const inner = parseLocation(location.archive);
    return archivePlace(inner, location, `archive:${inner.shown}`);
  }
  if (typeof location === "object" && location !== null && "manifest" in location) {
    const inner = parseLocation(location.manifest);
    return manifestPlace(inner, location, `manifest:${inner.shown}`);
  }
  if (typeof location === "object" && location !== null && "fd" in location)
    return fdPlace(location);
  if (typeof location === "object" && location !== null && "crypt" in location) {
    const inner = parseLocation(location.crypt as Location); // any; parseLocation looks
    return cryptPlace(inner, location, `crypt:${inner.shown}`);
  }
  if (typeof location === "object" && location !== null && "url" in location)
    return parseObject(location as Fields); // its fields are looked at one by one
  throw argumentError(
    "location",
    `must be a path, a URL, a snapshot or an object with a url, files, archive, manifest, crypt or fd, not ${showValue(location)}`,
  );
}
