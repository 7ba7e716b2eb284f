import { parseLocation, type Place } from "./location.ts";
import { Done } from "./native/abi.ts";
import { byPath, decodeList, sortByPath, type ListRow } from "./rows.ts";
import { checkOptions, listRequest, type InPlace } from "./request.ts";
import { engineOf } from "./runtime.ts";
import { NativeTask, runSync, type Ending, type Verb } from "./task.ts";
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

function isFailure(row: ListRow): row is Failure {
  return "kind" in row;
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** They come by path: what is equal otherwise keeps that order. */
function sorted<Row extends Named>(rows: Row[], sort: Sort): Row[] {
  if (sort === "none") return rows;
  // With `stat`, which these want, every row is an Entry.
  const entries = rows as unknown as Entry[];
  if (sort === "size") entries.sort((left, right) => right.size - left.size);
  if (sort === "time")
    entries.sort((left, right) => Number(right.mtime ?? 0) - Number(left.mtime ?? 0));
  if (sort !== "name") return rows;
  const named = sortByPath(rows.map((row) => ({ path: nameOf(row.path), row })));
  return named.map(({ row }) => row);
}

function found<Row extends Named>(rows: (Row | Failure)[], ending: Ending, sort: Sort): Found<Row> {
  const failures = ending.errors > 0 ? rows.filter(isFailure) : [];
  const entries = ending.errors > 0 ? rows.filter((row): row is Row => !isFailure(row)) : rows;
  const complete = ending.errors === 0 && (ending.flags & Done.INCOMPLETE) === 0;
  // Without errors there is no Failure among the rows.
  return Object.defineProperties(sorted(entries as Row[], sort) as Found<Row>, {
    // Not enumerable: an array is printed and compared by its entries.
    errors: { value: sort === "none" ? sortByPath(failures) : failures },
    complete: { value: complete },
  });
}

function verbOf<Row extends Named>(
  request: Uint8Array,
  sort: Sort,
): Verb<Found<Row>, Row | Failure> {
  return {
    request,
    // Rows are what the request asked for.
    decode: (buffer, rows, heapAt) => decodeList(buffer, rows, heapAt) as (Row | Failure)[],
    ...(sort === "none" ? {} : { order: byPath }),
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
