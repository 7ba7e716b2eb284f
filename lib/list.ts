import { parseLocation, type Place } from "./location.ts";
import { Done, Verb as VerbNumber } from "./native/abi.ts";
import { decodeRows, sortByPath } from "./rows.ts";
import { checkOptions, placeRequest, type InPlace } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { NativeTask, runSync, type Ending, type Verb } from "./task.ts";
import type { Entry, Failure, Found, Location, Options, Task } from "./types.ts";

function isFailure(row: Entry | Failure): row is Failure {
  return "kind" in row;
}

function found(rows: (Entry | Failure)[], ending: Ending): Found<Entry> {
  const entries = sortByPath(rows.filter((row) => !isFailure(row)));
  const errors = sortByPath(rows.filter(isFailure));
  const complete = ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0;
  return Object.defineProperties(entries as Found<Entry>, {
    // Not enumerable: an array is printed and compared by its entries.
    errors: { value: errors },
    complete: { value: complete },
  });
}

function verbOf(request: Uint8Array): Verb<Found<Entry>, Entry | Failure> {
  return {
    request,
    // A list task has ENTRY and ERROR rows.
    decode: (buffer, rows, heapAt) => decodeRows(buffer, rows, heapAt) as (Entry | Failure)[],
    whole: found,
  };
}

/** For Store, too: the entries below a place, or the entry itself. */
export function listPlace(
  place: Place,
  what: InPlace,
  options: Options,
): Task<Found<Entry>, Entry | Failure> {
  const request = placeRequest(VerbNumber.LIST, place, what, options, false);
  return new NativeTask(engineOf(options.runtime), verbOf(request), options);
}

/**
 * Every entry below a location; of a file, the file itself with the path `""`.
 *
 * Awaited: sorted by the bytes of the path, with `errors` and `complete`. Iterated: as they are
 * found.
 */
export function list(root: Location, options: Options = {}): Task<Found<Entry>, Entry | Failure> {
  checkOptions(options);
  return listPlace(parseLocation(root), {}, options);
}

/** `list`, on this thread until the answer is there. */
export function listSync(root: Location, options: Options = {}): Found<Entry> {
  checkOptions(options);
  const request = placeRequest(VerbNumber.LIST, parseLocation(root), {}, options, true);
  return runSync(engineOf(options.runtime), verbOf(request), options);
}
