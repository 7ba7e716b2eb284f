import { CopseError } from "./errors.ts";
import { asNewPack, asPack, parseLocation } from "./location.ts";
import { Place as PlaceKey } from "./native/abi.ts";
import { checkOptions } from "./check.ts";
import { packFields } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { transferVerb } from "./sync.ts";
import { NativeTask, runSync, type Verb } from "./task.ts";
import type { Action, Location, RepairOptions, Task, Transfer } from "./types.ts";

function repairVerb(
  from: Location,
  to: Location,
  options: RepairOptions,
  waited: boolean,
): Verb<Transfer, Action> {
  checkOptions(options);
  const { level: _l, compress: _c, packageType: _t, repo: _r, format: _f, ...copying } = options;
  const damaged = asPack(parseLocation(from));
  if (damaged.scheme !== "pack")
    throw new CopseError("UNSUPPORTED", "only packs are repaired: name a pack's path or URL", {
      location: damaged.shown,
    });
  const source = { ...damaged, fields: [[PlaceKey.PACK_REPAIR, 1] as const] };
  const pack = asNewPack(parseLocation(to), packFields(options));
  return transferVerb(source, pack, copying, false, waited);
}

/**
 * Makes a new pack of all that is whole in a damaged one. What is damaged is an `error` row with its
 * path, and the rest is in the new pack.
 *
 * ```ts
 * const { copied, errors, recovered } = await repair("damaged.znippy", "mended.znippy");
 * ```
 *
 * Where the index is lost or damaged, names come from the copies of it that packs of copse have between
 * their blobs, else from an index that lost only its end. What nothing tells of comes back under numbers:
 * `recovered` says how many and where. Rejects with `CORRUPT` when nothing can be brought back, with
 * `UNSUPPORTED` for what is no pack.
 */
export function repair(
  from: Location,
  to: Location,
  options: RepairOptions = {},
): Task<Transfer, Action> {
  return new NativeTask(engineOf(options.runtime), repairVerb(from, to, options, false), options);
}

/** `repair`, on this thread until it is done. */
export function repairSync(from: Location, to: Location, options: RepairOptions = {}): Transfer {
  return runSync(engineOf(options.runtime), repairVerb(from, to, options, true), options);
}
