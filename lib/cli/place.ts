// From a location on the command line and the flags about web servers and archives to a location of
// the API.
// A header or credential belongs to one server: it is never sent to two.

import { readFileSync, statSync } from "node:fs";
import { credential, CopseError, parseLocation, type Encryption, type Location } from "../index.ts";
import type { Flags } from "./args.ts";
import { flagOf } from "./failure.ts";
import { complain } from "./print.ts";

const fields = ["proxy", "ca", "minTls", "redirects", "retries", "addresses"] as const;

const archiveFlags = ["archives", "strip", "formats", "passwordFile", "rawEqual"] as const;

const webFlags = [
  ...fields,
  "header",
  "credential",
  "insecure",
  "serverTimeout",
  "userAgent",
] as const;

const cryptFlags = ["keyFile", "passphraseFile"] as const;

/** The flags that concern places, not the verb. */
export const placeFlags: readonly string[] = [...webFlags, ...archiveFlags, ...cryptFlags];

/** Commands whose own steps are tried again as `--retries` says, not only requests to web servers. */
const retrying: readonly string[] = [
  "copy",
  "sync",
  "watch-sync",
  "download",
  "pack",
  "repair",
  "unpack",
];

const inArchive = /^archive:/i;
const isCrypt = /^crypt:/i;
const onTheWeb = /^(?:[a-z]+:)?https?:\/\//i;

/** Whether what a file sets is about these places at all: only a flag has to be. */
export function concerns(
  name: string,
  command: string,
  texts: readonly string[],
  flags: Flags,
): boolean {
  if (name === "retries" && retrying.includes(command)) return true;
  // A plan was made for one way of writing; only whoever applies it can say it again.
  if (name === "compress" && command === "apply") return false;
  // Two ways have a way of their own.
  if (name === "by" || name === "overwrite") return !flags["twoWay"];
  if (webFlags.some((flag) => flag === name)) return texts.some((text) => onTheWeb.test(text));
  if (archiveFlags.some((flag) => flag === name))
    return Boolean(flags["archives"]) || texts.some((text) => inArchive.test(text));
  if (cryptFlags.some((flag) => flag === name)) {
    const isSaid = cryptFlags.some((flag) => flags[flag] !== undefined) || hasVariable();
    return !isSaid && (Boolean(flags["encrypt"]) || texts.some((text) => isCrypt.test(text)));
  }
  return true;
}

/** The locations as given, each with what the flags say of its kind. */
export async function placesFrom(
  texts: readonly string[],
  flags: Flags,
  { hasSteps = false }: { readonly hasSteps?: boolean } = {},
): Promise<Location[]> {
  const ofWeb = await webFrom(texts, flags, hasSteps);
  const given = archiveFlags.filter((name) => flags[name] !== undefined);
  const isArchive = (text: string): boolean => Boolean(flags["archives"]) || inArchive.test(text);
  if (given.length > 0 && !texts.some(isArchive))
    throw wrong(given[0]!, "no location is an archive; write archive:LOCATION, or --archives");
  const said: Record<string, unknown> = {};
  for (const name of ["strip", "formats", "rawEqual"] as const)
    if (flags[name] !== undefined) said[name] = flags[name];
  if (typeof flags["passwordFile"] === "string")
    said["password"] = firstLine("passwordFile", flags["passwordFile"]);
  const secret = cryptSecret(texts, flags);
  const placeOf = (text: string): Location => {
    if (isCrypt.test(text)) return { crypt: placeOf(text.replace(isCrypt, "")), ...secret };
    if (!isArchive(text)) return ofWeb(text);
    const [, file = "", path = ""] = /^(.*?)(?:#([^#]*))?$/s.exec(text.replace(inArchive, ""))!;
    // The library checks each field.
    return { archive: ofWeb(file), path: path.replace(/\/+$/, ""), ...said } as Location;
  };
  return texts.map(placeOf);
}

/** Whether a path is that of a directory. What it is, if it cannot be looked at, the verb says. */
export function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** An archive that is opened without `archive:` before it, said in full where flags are about it. */
export function inFull(text: string, flags: Flags): string {
  const isAbout = archiveFlags.some((name) => flags[name] !== undefined);
  return isAbout && parseLocation(text).tree?.scheme === "archive" ? `archive:${text}` : text;
}

/** What opens `crypt:` locations; a file is read by the core, standard input here. */
function cryptSecret(texts: readonly string[], flags: Flags): Encryption {
  const given = cryptFlags.filter((name) => flags[name] !== undefined);
  if (flags["encrypt"] || texts.some((text) => isCrypt.test(text)))
    return given.length > 0 || hasVariable() ? encryptionFrom(flags) : {};
  if (given.length === 0) return {};
  throw wrong(given[0]!, "no location is crypt:LOCATION, and --encrypt is not there");
}

const variable = "COPSE_ENCRYPTION_KEY";

function hasVariable(): boolean {
  return Boolean(process.env[variable]);
}

/** Its value is never shown. */
function fromVariable(): Encryption {
  const text = process.env[variable]!.trim();
  const key = Buffer.from(text, "base64");
  if (key.length !== 32 || key.toString("base64").replace(/=$/, "") !== text.replace(/=$/, ""))
    throw new CopseError("ARGUMENT", `${variable}: give the 32 bytes of a key in base64`);
  return { key: new Uint8Array(key) };
}

/** What --key-file or --passphrase-file names, for `crypt:` locations and for --encrypt. */
export function encryptionFrom(flags: Flags): Encryption {
  const { keyFile, passphraseFile } = flags;
  if (keyFile !== undefined && passphraseFile !== undefined)
    throw wrong("keyFile", "give it or --passphrase-file, not both");
  if (keyFile === "-") return { key: fromStandardInput() };
  if (passphraseFile === "-") return { passphrase: firstLine("passphraseFile", "-") };
  if (typeof keyFile === "string") return { keyFile };
  if (typeof passphraseFile === "string") return { passphraseFile };
  if (hasVariable()) return fromVariable();
  throw wrong("encrypt", "give --key-file or --passphrase-file");
}

let standardInput: Uint8Array | undefined;

/** Asked for twice, it is read once: a source and a destination may have one secret. */
function fromStandardInput(): Uint8Array {
  standardInput ??= new Uint8Array(readFileSync(0));
  return standardInput;
}

/** What a flag's file says, so that no secret is an argument. */
export function firstLine(flag: string, path: string): string {
  try {
    const bytes = path === "-" ? fromStandardInput() : readFileSync(path);
    return Buffer.from(bytes).toString("utf8").split(/\r?\n/)[0]!;
  } catch {
    throw wrong(flag, `${path} cannot be read`);
  }
}

/** What makes a text a location; those on the web get what the flags say of them. */
async function webFrom(
  texts: readonly string[],
  flags: Flags,
  hasSteps: boolean,
): Promise<(text: string) => Location> {
  const given = webFlags.filter((name) => flags[name] !== undefined);
  if (given.length === 0) return (text) => text;
  const web = texts.filter((text) => onTheWeb.test(text));
  if (web.length === 0 && hasSteps && given.every((name) => name === "retries"))
    return (text) => text;
  if (web.length === 0) throw wrong(given[0]!, "no location is on a web server");
  const secret = ["header", "credential"].find((name) => flags[name] !== undefined);
  if (secret !== undefined && new Set(web.map(originOf)).size > 1)
    throw wrong(secret, "it would be sent to two servers; use the library to say which");
  if (flags["insecure"]) complain("certificates are not checked (--insecure)");
  const said: Record<string, unknown> = {};
  for (const name of fields) if (flags[name] !== undefined) said[name] = flags[name];
  if (flags["insecure"]) said["insecure"] = true;
  if (flags["serverTimeout"] !== undefined) said["timeout"] = flags["serverTimeout"];
  const headers = Array.isArray(flags["header"]) ? headersOf(flags["header"]) : [];
  const own = headers.some(([name]) => name.toLowerCase() === "user-agent");
  if (typeof flags["userAgent"] === "string" && !own)
    headers.push(["User-Agent", flags["userAgent"]]);
  if (headers.length > 0) said["headers"] = headers;
  if (typeof flags["credential"] === "string")
    Object.assign(said, await credentialOf(flags["credential"]));
  // The library checks each field.
  return (text) => (onTheWeb.test(text) ? ({ url: text, ...said } as Location) : text);
}

function originOf(text: string): string {
  return URL.parse(text.replace(/^[a-z]+:(?=https?:)/i, ""))?.origin ?? text;
}

function wrong(name: string, sentence: string): CopseError {
  return new CopseError("ARGUMENT", `${flagOf(name)}: ${sentence}`);
}

/** "Name: value", or `@file` with one on each line, so that no secret is an argument. */
function headersOf(given: readonly string[]): [string, string][] {
  return given.flatMap((text) => {
    const lines = text.startsWith("@") ? linesOf(text.slice(1)) : [text];
    return lines.map((line): [string, string] => {
      const at = line.indexOf(":");
      if (at < 1) throw wrong("header", 'give "Name: value", or @FILE with one on each line');
      return [line.slice(0, at), line.slice(at + 1).trim()];
    });
  });
}

function linesOf(path: string): string[] {
  try {
    const lines = readFileSync(path === "-" ? 0 : path, "utf8").split(/\r?\n/);
    return lines.filter((line) => line.trim() !== "");
  } catch {
    throw wrong("header", `${path} cannot be read`);
  }
}

/** What is kept under a name: "user:password", or a token. */
async function credentialOf(service: string): Promise<object> {
  const kept = await credential(service);
  if (kept === null)
    throw wrong("credential", `neither the secret store nor a variable has one for ${service}`);
  const [, username, password] = /^([^:]+):(.*)$/.exec(kept) ?? [];
  return username === undefined ? { token: kept } : { username, password };
}
