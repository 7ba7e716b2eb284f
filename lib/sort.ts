// Whole answers in order: by the bytes of their paths, or by something else first. Long ones are
// sorted in slices, with turns for the event loop between them.

import type { CopseError } from "./errors.ts";

const encoder = new TextEncoder();
const SLASH = 0x2f;

interface Sortable {
  readonly path: string;
  readonly pathBytes?: Uint8Array;
  readonly kind?: string;
  readonly error?: CopseError;
}

const surrogates = /[\ud800-\udfff]/;

function order<T extends string>(left: T, right: T): number {
  return left < right ? -1 : Number(left > right);
}

// What is told twice of one path: the difference, then the errors by what they say.
function orderOfOnePath(left: Sortable, right: Sortable): number {
  const isError = Number(left.kind === "error") - Number(right.kind === "error");
  return isError || order(left.error?.message ?? "", right.error?.message ?? "");
}

// JavaScript's own order is that of UTF-16, which differs from that of bytes only where there are
// surrogates.
function isPlain({ path, pathBytes }: Sortable): boolean {
  return !pathBytes && !surrogates.test(path);
}

function orderOfText(left: Sortable, right: Sortable): number {
  return order(left.path, right.path) || orderOfOnePath(left, right);
}

interface Keyed<T> {
  readonly row: T;
  readonly key: Uint8Array;
}

function keyed<T extends Sortable>(row: T): Keyed<T> {
  return { row, key: row.pathBytes ?? encoder.encode(row.path) };
}

function orderOfBytes(left: Keyed<Sortable>, right: Keyed<Sortable>): number {
  return Buffer.compare(left.key, right.key) || orderOfOnePath(left.row, right.row);
}

/** Sorts in place by the bytes of the paths. */
export function sortByPath<T extends Sortable>(rows: T[]): T[] {
  if (rows.every(isPlain)) return rows.sort(orderOfText);
  for (const [i, { row }] of rows.map(keyed).toSorted(orderOfBytes).entries()) rows[i] = row;
  return rows;
}

/** So many rows are done before anybody looks at the clock. */
export const SLICE_ROWS = 1024;
const SLICE_MS = 2;

async function sortInSlices<T extends Sortable>(rows: readonly T[]): Promise<T[]> {
  const pause = new Pause();
  let plain = true;
  for (let at = 0; plain && at < rows.length; at += SLICE_ROWS) {
    plain = rows.slice(at, at + SLICE_ROWS).every(isPlain);
    if (pause.isDue) await pause.wait();
  }
  if (plain) return await mergeSort(rows, orderOfText, pause);
  const sorted = await mergeSort(await mapInSlices(rows, keyed), orderOfBytes, pause);
  return mapInSlices(sorted, ({ row }) => row);
}

/** A turn for the event loop, once enough time has gone. */
export class Pause {
  #since = performance.now();

  get isDue(): boolean {
    return performance.now() - this.#since >= SLICE_MS;
  }

  async wait(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#since = performance.now();
  }
}

function comparePaths(left: Sortable, right: Sortable): number {
  if (isPlain(left) && isPlain(right)) return orderOfText(left, right);
  return orderOfBytes(keyed(left), keyed(right));
}

/** The order of a whole: by the bytes of the paths. */
export const byPath = {
  compare: comparePaths,
  now: sortByPath,
  inSlices: <T extends Sortable>(rows: T[]): T[] | Promise<T[]> =>
    rows.length <= SLICE_ROWS ? sortByPath(rows) : sortInSlices(rows),
};

type Order<T> = (left: T, right: T) => number;

/** By something else of the rows, and where that is equal by their paths; `within`: and then by that. */
export function byNumber<T extends Sortable>(by: Order<T> | undefined, within?: Order<T>) {
  const now = (rows: T[]): T[] => {
    // Sorting is stable: what counts most comes last.
    if (within) rows.sort(within);
    sortByPath(rows);
    return by ? rows.sort(by) : rows;
  };
  const slowly = async (rows: readonly T[]): Promise<T[]> => {
    const sorted = await sortInSlices(within ? await mergeSort(rows, within, new Pause()) : rows);
    return by ? mergeSort(sorted, by, new Pause()) : sorted;
  };
  return {
    now,
    inSlices: (rows: T[]): T[] | Promise<T[]> =>
      rows.length <= SLICE_ROWS ? now(rows) : slowly(rows),
  };
}

/** The last part of a path as a path of its own. */
function named<T extends Sortable>(row: T): Sortable & { readonly row: T } {
  const { path, pathBytes } = row;
  const name = path.slice(path.lastIndexOf("/") + 1);
  const bytes = pathBytes?.subarray(pathBytes.lastIndexOf(SLASH) + 1);
  return bytes ? { path: name, pathBytes: bytes, row } : { path: name, row };
}

/** By the last part of the paths, then by the paths. */
export const byName = {
  now: <T extends Sortable>(rows: T[]): T[] =>
    sortByPath(sortByPath(rows).map(named)).map(({ row }) => row),
  inSlices<T extends Sortable>(rows: T[]): T[] | Promise<T[]> {
    return rows.length <= SLICE_ROWS ? this.now(rows) : nameInSlices(rows);
  },
};

async function nameInSlices<T extends Sortable>(rows: readonly T[]): Promise<T[]> {
  const sorted = await sortInSlices(await mapInSlices(await sortInSlices(rows), named));
  return mapInSlices(sorted, ({ row }) => row);
}

async function mapInSlices<T, To>(rows: readonly T[], make: (row: T) => To): Promise<To[]> {
  const pause = new Pause();
  const all: To[] = [];
  for (let at = 0; at < rows.length; at += SLICE_ROWS) {
    for (const row of rows.slice(at, at + SLICE_ROWS)) all.push(make(row));
    if (pause.isDue) await pause.wait();
  }
  return all;
}

async function mergeSort<T>(rows: readonly T[], by: Order<T>, pause: Pause): Promise<T[]> {
  let runs: T[][] = [];
  for (let at = 0; at < rows.length; at += SLICE_ROWS) {
    runs.push(rows.slice(at, at + SLICE_ROWS).sort(by));
    if (pause.isDue) await pause.wait();
  }
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let i = 0; i < runs.length; i += 2)
      merged.push(await merge(runs[i]!, runs[i + 1] ?? [], by, pause));
    runs = merged;
  }
  return runs[0] ?? [];
}

async function merge<T>(left: T[], right: T[], by: Order<T>, pause: Pause): Promise<T[]> {
  if (right.length === 0) return left;
  const all: T[] = [];
  let [l, r] = [0, 0];
  while (l < left.length && r < right.length) {
    all.push(by(left[l]!, right[r]!) <= 0 ? left[l++]! : right[r++]!);
    if (all.length % SLICE_ROWS === 0 && pause.isDue) await pause.wait();
  }
  for (; l < left.length; l++) all.push(left[l]!);
  for (; r < right.length; r++) all.push(right[r]!);
  return all;
}
