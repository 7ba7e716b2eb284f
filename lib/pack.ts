import { asNewPack, asPack, isFile, parseLocation } from "./location.ts";
import { checkOptions, packFields } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { transferVerb } from "./sync.ts";
import { NativeTask, runSync, type Verb } from "./task.ts";
import type { Action, CopyOptions, Location, PackOptions, Task, Transfer } from "./types.ts";

function packVerb(
  from: Location,
  to: Location,
  options: PackOptions,
  waited: boolean,
): Verb<Transfer, Action> {
  checkOptions(options);
  const { level: _l, compress: _c, packageType: _t, repo: _r, ...copying } = options;
  const pack = asNewPack(parseLocation(to), packFields(options));
  return transferVerb(parseLocation(from), pack, copying, false, waited);
}

/**
 * Packs a tree into one file of znippy's format, compressed and hashed. The file gets its name when it
 * is whole; what had it before is replaced. The same tree, level and zstd version give the same bytes.
 *
 * ```ts
 * const { copied, bytes } = await pack("site", "site.znippy", { level: 9 });
 * ```
 *
 * `copy(from, "pack:FILE")` is the same with zstd's level 3.
 */
export function pack(
  from: Location,
  to: Location,
  options: PackOptions = {},
): Task<Transfer, Action> {
  return new NativeTask(engineOf(options.runtime), packVerb(from, to, options, false), options);
}

/** `pack`, on this thread until it is done. */
export function packSync(from: Location, to: Location, options: PackOptions = {}): Transfer {
  return runSync(engineOf(options.runtime), packVerb(from, to, options, true), options);
}

function unpackVerb(
  from: Location,
  to: Location,
  options: CopyOptions,
  waited: boolean,
): Verb<Transfer, Action> {
  const place = parseLocation(from);
  const tree = isFile(place) ? asPack(place) : place;
  return transferVerb(tree, parseLocation(to), options, false, waited);
}

/**
 * Copies what is in a pack (or an archive, by its name) into a directory: `copy("pack:FILE", to)`.
 * Every byte is proved before its file gets its name; entries that would leave the directory are error
 * rows, and the others are there.
 */
export function unpack(
  from: Location,
  to: Location,
  options: CopyOptions = {},
): Task<Transfer, Action> {
  return new NativeTask(engineOf(options.runtime), unpackVerb(from, to, options, false), options);
}

/** `unpack`, on this thread until it is done. */
export function unpackSync(from: Location, to: Location, options: CopyOptions = {}): Transfer {
  return runSync(engineOf(options.runtime), unpackVerb(from, to, options, true), options);
}
