// manifest: what a tree holds, with the hash of each file, and that as text.

import { argumentError, showValue } from "./errors.ts";
import { parseLocation, type Place } from "./location.ts";
import { Done } from "./native/abi.ts";
import { decodeRows } from "./rows.ts";
import { byPath } from "./sort.ts";
import { checkOptions } from "./check.ts";
import { digestRequest } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { NativeTask, runSync, type Ending, type Verb } from "./task.ts";
import type {
  Entry,
  Failure,
  Location,
  Manifest,
  ManifestFormat,
  ManifestOptions,
  Task,
} from "./types.ts";

type Row = Entry | Failure;

function isFailure(row: Row): row is Failure {
  return "kind" in row;
}

/** For compareAll, too: what a digest task says. */
export function digestVerb(request: Uint8Array, options: ManifestOptions): Verb<Manifest, Row> {
  return {
    request,
    // A digest task has ENTRY and ERROR rows.
    decode: (buffer, rows, heapAt) => decodeRows(buffer, rows, heapAt) as Row[],
    order: byPath,
    whole: (rows, ending) => whole(rows, ending, options),
  };
}

function whole(rows: Row[], ending: Ending, options: ManifestOptions): Manifest {
  const entries = rows.filter((row): row is Entry => !isFailure(row));
  const complete = ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0;
  return Object.defineProperties(entries as Manifest, {
    // Not enumerable: an array is printed and compared by its entries.
    errors: { value: rows.filter(isFailure) },
    complete: { value: complete },
    algorithm: { value: options.algorithm ?? "blake3" },
    files: { value: ending.files },
    bytes: { value: ending.bytes },
  });
}

/** For compareAll, too. */
export function digestPlace(place: Place, options: ManifestOptions): Task<Manifest, Row> {
  const request = digestRequest(place, options, false);
  return new NativeTask(engineOf(options.runtime), digestVerb(request, options), options);
}

/** `digestPlace`, on this thread until the answer is there. */
export function digestPlaceSync(place: Place, options: ManifestOptions): Manifest {
  const request = digestRequest(place, options, true);
  return runSync(engineOf(options.runtime), digestVerb(request, options), options);
}

/**
 * Every entry below a location, files with the `hash` of their content.
 *
 * ```ts
 * await Bun.write("tree.jsonl", formatManifest(await manifest("tree")));
 * (await compare("tree", "manifest:tree.jsonl")).equal;
 * ```
 */
export function manifest(root: Location, options: ManifestOptions = {}): Task<Manifest, Row> {
  checkOptions(options);
  return digestPlace(parseLocation(root), options);
}

/** `manifest`, on this thread until the answer is there. */
export function manifestSync(root: Location, options: ManifestOptions = {}): Manifest {
  checkOptions(options);
  return digestPlaceSync(parseLocation(root), options);
}

const algorithms = { sha256: "sha256", b3sum: "blake3" } as const;
const encoder = new TextEncoder();

/**
 * A manifest as a file: `jsonl` (default), a line of JSON for each file, directory and link and a
 * summary last; or the list that `sha256sum` or `b3sum` writes and checks, of the files alone. A
 * file that is a root by itself is called `name`.
 */
export function formatManifest(
  manifest: Manifest,
  format: ManifestFormat = "jsonl",
  name = "file",
): Uint8Array {
  if (format !== "jsonl" && !Object.hasOwn(algorithms, format))
    throw argumentError("format", `must be one of jsonl, sha256, b3sum, not ${showValue(format)}`);
  if (format !== "jsonl" && manifest.algorithm !== algorithms[format])
    throw argumentError("format", `${format} wants algorithm: "${algorithms[format]}"`);
  const parts: Uint8Array[] = [];
  for (const entry of manifest) {
    const named = entry.path === "" ? { ...entry, path: name } : entry;
    if (format === "jsonl") {
      const line = jsonLine(named, manifest.algorithm);
      if (line !== undefined) parts.push(encoder.encode(line));
    } else if (entry.type === "file") parts.push(...listLine(named));
  }
  if (format === "jsonl")
    parts.push(
      encoder.encode(
        `${JSON.stringify({
          kind: "summary",
          entries: parts.length,
          complete: manifest.complete,
          algorithm: manifest.algorithm,
        })}\n`,
      ),
    );
  return Buffer.concat(parts);
}

// Pipes, sockets and devices have nothing that could be kept: against a manifest they are
// one-sided.
function jsonLine(entry: Entry, algorithm: string): string | undefined {
  const { path, type, size, hash, target } = entry;
  const pathBytes = entry.pathBytes?.toHex();
  const targetBytes = entry.targetBytes?.toHex();
  switch (type) {
    case "file":
      return `${JSON.stringify({ path, pathBytes, size, hash, algorithm })}\n`;
    case "directory":
      return `${JSON.stringify({ path, pathBytes, type })}\n`;
    case "link":
      return `${JSON.stringify({ path, pathBytes, type, target, targetBytes })}\n`;
    case "other":
      return undefined;
  }
}

const escapes: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r" };

function listLine({ path, pathBytes, hash }: Entry): Uint8Array[] {
  // One character for each byte, so that no byte is lost.
  const name = Buffer.from(pathBytes ?? encoder.encode(path)).toString("latin1");
  const escaped = name.replace(/[\\\n\r]/g, (character) => escapes[character] ?? character);
  const mark = escaped === name ? "" : "\\";
  return [Buffer.from(`${mark}${hash}  ${escaped}\n`, "latin1")];
}
