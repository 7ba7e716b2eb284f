import { parseLocation, type Place } from "./location.ts";
import { Done } from "./native/abi.ts";
import { isFailure, WalkOrder } from "./order.ts";
import { decodeList, type ListRow } from "./rows.ts";
import { byName, byNumber, sortByPath } from "./sort.ts";
import { checkOptions } from "./check.ts";
import { listRequest, type InPlace } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { NativeTask, runSync, type Ending, type PartOrder, type Verb } from "./task.ts";
import type {
  Entry,
  Failure,
  Found,
  ListOptions,
  Location,
  Named,
  Options,
  Task,
} from "./types.ts";

type Sort = ListOptions["sort"];

const sizeOf = (row: ListRow): number => ("size" in row ? row.size : 0);
const timeOf = (row: ListRow): number => ("mtime" in row ? Number(row.mtime) : 0);

/** Of the whole. What is equal otherwise is in the order of paths. */
const orders: { readonly [sort in NonNullable<Sort>]: PartOrder<ListRow> | undefined } = {
  path: undefined, // a task's own
  name: byName,
  size: byNumber((left, right) => sizeOf(right) - sizeOf(left)),
  time: byNumber((left, right) => timeOf(right) - timeOf(left)),
  none: undefined,
};

function found<Row extends Named>(rows: (Row | Failure)[], ending: Ending, sort: Sort): Found<Row> {
  const failures = ending.errors > 0 ? rows.filter(isFailure) : [];
  const entries = ending.errors > 0 ? rows.filter((row): row is Row => !isFailure(row)) : rows;
  const complete = ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0;
  // Without errors there is no Failure among the rows.
  return Object.defineProperties(entries as Found<Row>, {
    // Not enumerable: an array is printed and compared by its entries.
    errors: { value: sort === "path" ? failures : sortByPath(failures) },
    complete: { value: complete },
  });
}

function verbOf<Row extends Named>(
  request: Uint8Array,
  sort: Sort = "path",
): Verb<Found<Row>, Row | Failure> {
  const walk = sort === "path" ? new WalkOrder() : undefined;
  // With `stat`, which sizes and times want, every row has them; paths all have.
  const order = (walk ?? orders[sort]) as PartOrder<Row | Failure> | undefined;
  return {
    request,
    // Rows are what the request asked for.
    decode(buffer, rows, heapAt) {
      if (walk) walk.runs.length = 0;
      return decodeList(buffer, rows, heapAt, walk?.runs) as (Row | Failure)[];
    },
    ...(order && { order }),
    whole: (rows, ending) => found(rows, ending, sort),
  };
}

/** For Store, too: the entries below a place, or the entry itself. */
export function listPlace(
  place: Place,
  what: InPlace,
  options: Options,
): Task<Found<Entry>, Entry | Failure> {
  const request = listRequest(place, what, { ...options, stat: true }, false);
  return new NativeTask(engineOf(options.runtime), verbOf<Entry>(request, "path"), options);
}

/** For watch: paths and types below a place. */
export function listPlaceNames(
  place: Place,
  what: InPlace,
  options: ListOptions,
): Task<Found<Named>, Named | Failure> {
  const request = listRequest(place, what, options, false);
  return new NativeTask(engineOf(options.runtime), verbOf<Named>(request, options.sort), options);
}

/** For shuffle: the same as one step among several. */
export function listVerb(
  place: Place,
  options: ListOptions,
  waited: boolean,
): Verb<Found<Named>, Named | Failure> {
  return verbOf<Named>(listRequest(place, {}, options, waited), options.sort);
}

/**
 * Everything below a location: paths and types, or with `stat` also sizes, times, modes and link
 * targets. Of a file, the file itself with the path `""`.
 *
 * Awaited: sorted, with `errors` and `complete`. Iterated: as they are found.
 */
export function list(
  root: Location,
  options: ListOptions & { stat: true },
): Task<Found<Entry>, Entry | Failure>;
export function list(root: Location, options?: ListOptions): Task<Found<Named>, Named | Failure>;
export function list(
  root: Location,
  options: ListOptions = {},
): Task<Found<Named>, Named | Failure> {
  checkOptions(options);
  const request = listRequest(parseLocation(root), {}, options, false);
  return new NativeTask(engineOf(options.runtime), verbOf<Named>(request, options.sort), options);
}

/** `list`, on this thread until the answer is there. */
export function listSync(root: Location, options: ListOptions & { stat: true }): Found<Entry>;
export function listSync(root: Location, options?: ListOptions): Found<Named>;
export function listSync(root: Location, options: ListOptions = {}): Found<Named> {
  checkOptions(options);
  const request = listRequest(parseLocation(root), {}, options, true);
  return runSync(engineOf(options.runtime), verbOf<Named>(request, options.sort), options);
}
