// The list of stores. A new store is tested by adding a line: test/store.test.ts is one suite over
// all of them, and what a store cannot do is read from its `can`.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Location } from "../lib/index.ts";

/** An empty place of one store, made for one test and removed with it. */
export interface Place extends Disposable {
  readonly location: Location;
}

export interface StoreUnderTest {
  readonly scheme: string;
  /** A place that exists and is empty, or is made by the first write. */
  place(): Place;
}

let trees = 0;

export const stores: readonly StoreUnderTest[] = [
  { scheme: "file", place: () => folder((path) => path) },
  {
    scheme: "memory",
    place: () => ({ location: `memory:test-${++trees}`, [Symbol.dispose]() {} }),
  },
];

function folder(locate: (path: string) => Location): Place {
  const path = mkdtempSync(join(tmpdir(), "copse-store-"));
  return {
    location: locate(path),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}
