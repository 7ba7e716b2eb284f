// The list of stores. A new store is tested by adding a line: test/store.test.ts is one suite over
// all of them, and what a store cannot do is read from its `can`.

import { afterAll } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Location } from "../lib/index.ts";
import { nginxMissing, startNginx } from "./servers/nginx.ts";

/** An empty place of one store, made for one test and removed with it. */
export interface Place extends Disposable {
  readonly location: Location;
  /** For a store that is only read: a place to write to, whose content `location` shows. */
  readonly source?: Location;
}

export interface StoreUnderTest {
  readonly scheme: string;
  /** A place that exists and is empty, or is made by the first write. */
  place(): Place;
}

let trees = 0;

const server = nginxMissing === undefined ? await startNginx() : undefined;
afterAll(() => server?.[Symbol.dispose]());

export const stores: readonly StoreUnderTest[] = [
  { scheme: "file", place: () => folder((path) => path) },
  {
    scheme: "memory",
    place: () => ({ location: `memory:test-${++trees}`, [Symbol.dispose]() {} }),
  },
  {
    scheme: "crypt",
    place: () => folder((path) => ({ crypt: path, compress: 1, key: new Uint8Array(32).fill(7) })),
  },
  ...(server
    ? [
        { scheme: "http", place: () => served(server.root, server.http) },
        { scheme: "http", place: () => served(server.root, server.plain) }, // no ranges, HTML
      ]
    : []),
];

/** A folder of the server's, which files are put into by its path. */
function served(root: string, url: string): Place {
  const name = `store-${++trees}`;
  const source = join(root, name);
  mkdirSync(source);
  return {
    location: `${url}/${name}/`,
    source,
    [Symbol.dispose]: () => rmSync(source, { recursive: true, force: true }),
  };
}

function folder(locate: (path: string) => Location): Place {
  const path = mkdtempSync(join(tmpdir(), "copse-store-"));
  return {
    location: locate(path),
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}
