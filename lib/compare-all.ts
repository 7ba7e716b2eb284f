// compareAll: which of many sources are equal. Each is read once.

import { all } from "./async/race.ts";
import { CopseError } from "./errors.ts";
import { argumentError, showValue } from "./errors.ts";
import { parseLocation } from "./location.ts";
import { digestPlace, digestPlaceSync } from "./manifest.ts";
import { checkOptions } from "./check.ts";
import type {
  CompareAllOptions,
  ComparisonOfAll,
  Entry,
  Failure,
  Location,
  Manifest,
} from "./types.ts";

/**
 * Which of many files or trees are equal, each read once, all at the same time.
 *
 * ```ts
 * const { equal, groups } = await compareAll(["a", "b", "archive:c.zip"]);
 * ```
 *
 * Rejects when a source cannot be opened. One that could not be seen whole is equal to none.
 */
export async function compareAll(
  locations: readonly Location[],
  options: CompareAllOptions = {},
): Promise<ComparisonOfAll> {
  const places = placesOf(locations, options);
  const began = performance.now();
  // The first failure is the answer, and ends the others.
  const digests = await all(
    places.map((place) => (signal) => digestPlace(place, { ...options, signal })),
    options.signal ? { signal: options.signal } : {},
  );
  return together(digests, performance.now() - began);
}

/** `compareAll`, on this thread, one source after the other. */
export function compareAllSync(
  locations: readonly Location[],
  options: CompareAllOptions = {},
): ComparisonOfAll {
  const places = placesOf(locations, options);
  const began = performance.now();
  const all = places.map((place) => digestPlaceSync(place, options));
  return together(all, performance.now() - began);
}

function placesOf(
  locations: readonly Location[],
  options: CompareAllOptions,
): ReturnType<typeof parseLocation>[] {
  checkOptions(options);
  if (!Array.isArray(locations))
    throw argumentError("locations", `must be an array of locations, not ${showValue(locations)}`);
  return locations.map(parseLocation);
}

function together(all: readonly Manifest[], milliseconds: number): ComparisonOfAll {
  const failures = all.map((manifest) => failuresOf(manifest));
  const prints = all.map((manifest, i) =>
    failures[i]?.length === 0 && manifest.complete ? fingerprint(manifest) : undefined,
  );
  // What was not seen whole shares its print with nobody.
  const groups = [...Map.groupBy(prints.keys(), (i) => prints[i] ?? i).values()];
  const complete = prints.every((print) => print !== undefined);
  const table = prints.map((left, i) =>
    prints.map((right, j) => {
      if (i === j && left !== undefined) return true;
      return left === undefined || right === undefined ? null : left === right;
    }),
  );
  return {
    equal: complete && groups.length <= 1,
    complete,
    groups,
    table,
    errors: failures.flatMap((rows, source) => rows.map((row) => ({ ...row, source }))),
    files: all.reduce((sum, { files }) => sum + files, 0),
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
    milliseconds,
  };
}

/** What could not be seen, and what has nothing that could be hashed. */
function failuresOf(manifest: Manifest): Failure[] {
  const others = manifest.filter(({ type }) => type === "other");
  return [
    ...manifest.errors,
    ...others.map(({ path }): Failure => {
      const error = new CopseError(
        "UNSUPPORTED",
        "a pipe, socket or device has no content to compare; leave it out with exclude",
        { path },
      );
      return { kind: "error", path, error };
    }),
  ];
}

const encoder = new TextEncoder();

/** One hash of all that a comparison would look at. */
function fingerprint(manifest: Manifest): string {
  const hasher = new Bun.CryptoHasher("sha256");
  const put = (bytes: Uint8Array): void => {
    hasher.update(`${bytes.length}:`);
    hasher.update(bytes);
  };
  for (const entry of manifest) {
    put(entry.pathBytes ?? encoder.encode(entry.path));
    put(encoder.encode(`${entry.type} ${entry.hash ?? ""}`));
    put(targetOf(entry));
  }
  return hasher.digest("hex");
}

function targetOf({ target, targetBytes }: Entry): Uint8Array {
  return targetBytes ?? encoder.encode(target ?? "");
}
