import { parseLocation, type Place } from "./location.ts";
import { Detail, Done } from "./native/abi.ts";
import { checkOptions, syncRequest } from "./request.ts";
import { byPath, decodeRows, type SyncCounts } from "./rows.ts";
import { engineOf } from "./runtime.ts";
import { NativeTask, runSync, type Ending, type Verb } from "./task.ts";
import type { Action, CopyOptions, Location, SyncOptions, Task, Transfer } from "./types.ts";

function transfer(actions: Action[], ending: Ending, counts: SyncCounts | undefined): Transfer {
  const count = (key: number): number => counts?.counts.number(key) ?? 0;
  return {
    complete: ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0,
    files: ending.files,
    bytes: ending.bytes,
    errors: ending.errors,
    milliseconds: ending.milliseconds,
    copied: count(Detail.COPIED),
    created: count(Detail.CREATED),
    updated: count(Detail.UPDATED),
    renamed: count(Detail.RENAMED),
    skipped: count(Detail.SKIPPED),
    deleted: count(Detail.DELETED),
    kept: count(Detail.KEPT),
    transferred: count(Detail.MOVED),
    saved: count(Detail.SAVED),
    retries: count(Detail.RETRIES),
    actions,
  };
}

function verbOf(
  from: Location,
  to: Location,
  options: SyncOptions,
  deletes: boolean,
  waited: boolean,
): Verb<Transfer, Action> {
  return transferVerb(parseLocation(from), parseLocation(to), options, deletes, waited);
}

/** The verb between two places, for pack and unpack too. */
export function transferVerb(
  from: Place,
  to: Place,
  options: SyncOptions,
  deletes: boolean,
  waited: boolean,
): Verb<Transfer, Action> {
  checkOptions(options);
  const request = syncRequest(from, to, options, { deletes, waited });
  let counts: SyncCounts | undefined;
  return {
    request,
    decode(buffer, rows, heapAt) {
      // A sync task has actions, ERROR rows and one SUMMARY row.
      const all = decodeRows(buffer, rows, heapAt) as (Action | SyncCounts)[];
      const last = all.at(-1);
      if (last?.kind !== "summary") return all as Action[]; // the summary is the last row
      counts = last;
      return all.slice(0, -1) as Action[]; // and there is one
    },
    order: byPath,
    whole: (parts, ending) => transfer(parts, ending, counts),
  };
}

/** For shuffle: one copy among several. */
export function copyVerb(
  from: Location,
  to: Location,
  options: CopyOptions,
  waited: boolean,
): Verb<Transfer, Action> {
  return verbOf(from, to, options, false, waited);
}

/**
 * Copies what is missing or different from one tree or file to another. Never deletes, and never
 * replaces a directory: that is an `EXISTS` row.
 *
 * ```ts
 * const { copied, errors } = await copy("site", "/backup/site", { exclude: ["*.log"] });
 * for await (const action of copy("site", "/backup/site")) console.log(action.kind, action.path);
 * ```
 *
 * A file takes its name when it is whole, so that whoever looks sees the old or the new one. What
 * concerns one entry is an `error` row, and the rest goes on. Rejects with `NOT_FOUND`, `DENIED` or
 * `UNSUPPORTED` when a root cannot be opened, `BUSY` while another run writes to the same directory,
 * `ARGUMENT` before any work for a bad location or option.
 */
export function copy(
  from: Location,
  to: Location,
  options: CopyOptions = {},
): Task<Transfer, Action> {
  const verb = verbOf(from, to, options, false, false);
  return new NativeTask(engineOf(options.runtime), verb, options);
}

/** `copy`, on this thread until it is done. */
export function copySync(from: Location, to: Location, options: CopyOptions = {}): Transfer {
  const verb = verbOf(from, to, options, false, true);
  return runSync(engineOf(options.runtime), verb, options);
}

/**
 * Makes the second tree like the first: `copy`, and then what only the destination has is deleted.
 * Nothing is deleted when anything of the source could not be seen, when the source is empty
 * (`force`), or beyond `maxDelete`; what the filters leave out is protected.
 */
export function sync(
  from: Location,
  to: Location,
  options: SyncOptions = {},
): Task<Transfer, Action> {
  const verb = verbOf(from, to, options, true, false);
  return new NativeTask(engineOf(options.runtime), verb, options);
}

/** `sync`, on this thread until it is done. */
export function syncSync(from: Location, to: Location, options: SyncOptions = {}): Transfer {
  const verb = verbOf(from, to, options, true, true);
  return runSync(engineOf(options.runtime), verb, options);
}
