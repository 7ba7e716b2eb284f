// Location → place. What a user writes becomes a scheme, a path and, for messages, the same with
// its secrets masked.

import { fileURLToPath } from "node:url";
import { argumentError, CopseError, escapeForMessage, showValue } from "./errors.ts";
import type { Location } from "./types.ts";

/** A parsed location. `shown` is what messages may say. */
export interface Place {
  readonly scheme: string;
  readonly path: string;
  readonly shown: string;
  /** What a wrapping scheme is told. */
  readonly spec?: string;
  /** What a wrapping scheme wraps. */
  readonly inner?: Place;
}

const notYet = new Map<string, string>([
  ["http", "http"],
  ["https", "https"],
  ["ssh", "sftp"],
  ["sftp", "sftp"],
  ["s3", "s3"],
  ["az", "azure"],
  ["azure", "azure"],
  ["gs", "gs"],
  ["archive", "archive"],
  ["pack", "pack"],
]);

const schemeOf = /^([A-Za-z][A-Za-z0-9+.-]+):/;
// user@host:path, user@host:port:path, user@[v6]:path: what scp and rsync call a remote place.
const remote = /^[^/\\@:\s]+@(?:\[[^\]]*\]|[^/\\@:\s]+):/;
const secretValues = /^(x-amz-signature|x-amz-credential|x-amz-security-token|sig|token|code)$/i;

/**
 * The text of a location without what nobody may see: passwords and the signing values of a query.
 */
export function redact(text: string): string {
  return text
    .replace(/^([^/:@\s]+):[^/@\s]*@/, "$1:***@") // me:secret@host:path
    .replace(/^((?:[A-Za-z][A-Za-z0-9+.-]+:)+\/\/[^/?#@:]*):[^/?#]*@/, "$1:***@")
    .replace(/([?&])([^=&#]+)=([^&#]*)/g, (all, mark: string, name: string) =>
      secretValues.test(name) ? `${mark}${name}=***` : all,
    );
}

function filePath(url: URL): string {
  if (url.hostname !== "" && url.hostname !== "localhost")
    throw argumentError("location", `${redact(url.href)}: a file: URL has no host, or localhost`);
  const plain = new URL(url.href);
  plain.hostname = "";
  if (/%00/.test(plain.pathname)) throw argumentError("location", "must not hold a NUL byte");
  if (/%2f/i.test(plain.pathname))
    throw argumentError("location", "must not hold an encoded slash (%2F)");
  return fileURLToPath(plain);
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
  if (scheme === undefined) return { scheme: "file", path: text, shown: text };
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
      return { scheme, path: checkPath(filePath(new URL(text))), shown: redact(text) };
    }
    case "memory": {
      if (rest === "" || rest.startsWith("/"))
        throw argumentError("location", "memory: needs the name of a tree, as in memory:scratch");
      return { scheme, path: rest, shown: text };
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

function unsupported(scheme: string, text: string): CopseError {
  const known = notYet.get(scheme);
  const sentence = known
    ? `${known} locations are not built yet; use a local path or file: URL`
    : `there is no scheme "${escapeForMessage(scheme)}"; write ./${escapeForMessage(scheme)}:… for a path of that name`;
  return new CopseError("UNSUPPORTED", sentence, { location: redact(text) });
}

/** Fields that say how to reach a URL, for schemes that are not built yet. */
type Fields = { readonly url: string | URL } & Readonly<globalThis.Record<string, unknown>>;

function parseObject(location: Fields): Place {
  const { url } = location;
  if (typeof url !== "string" && !(url instanceof URL))
    throw argumentError("location.url", `must be a string or a URL, not ${showValue(url)}`);
  // First of all a scheme that is not built in: its fields are not known here either.
  const place = parseLocation(url);
  for (const key of Object.keys(location))
    if (key !== "url") throw argumentError("location", `has no field ${showValue(key)}`);
  return place;
}

/**
 * The place a location means, without looking whether anything is there.
 *
 * `ARGUMENT` for what is no location, `UNSUPPORTED` naming a scheme that is not built in.
 */
export function parseLocation(location: Location): Place {
  if (typeof location === "string") return parseText(location);
  if (location instanceof URL) return parseText(location.href);
  if (typeof location === "object" && location !== null && "url" in location)
    return parseObject(location as Fields); // its fields are looked at one by one
  throw argumentError(
    "location",
    `must be a path, a URL or an object with a url, not ${showValue(location)}`,
  );
}
