// Content that does not pass through the process: the report says which way it went, and what arrives
// is the same whichever it was.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compare, copy, copySync } from "../lib/index.ts";

const SIZE = 3 * 2 ** 20 + 12_345;
const other = "/dev/shm"; // another file system than the temporary folder's, usually
let folder: string;
let shared: string | undefined;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "copse-zero-"));
  mkdirSync(join(folder, "from"));
  writeFileSync(join(folder, "from", "large"), Buffer.alloc(SIZE, "some content "));
  writeFileSync(join(folder, "from", "small"), "small");
  try {
    if (statSync(other).dev !== statSync(folder).dev)
      shared = mkdtempSync(join(other, "copse-zero-"));
  } catch {
    shared = undefined;
  }
});
afterAll(() => {
  for (const one of [folder, shared]) if (one) rmSync(one, { recursive: true, force: true });
});

test("within a file system it is cloned or copied by the kernel, and the report says so", async () => {
  const from = join(folder, "from");
  const { ways, transferred } = await copy(from, join(folder, "to"), { fsync: false });
  expect(transferred).toBe(SIZE + 5);
  expect(ways.clone + ways.copyRange).toBe(SIZE);
  expect(ways.splice).toBe(0);
  expect((await compare(from, join(folder, "to"))).equal).toBe(true);
  expect(copySync(from, join(folder, "to")).ways).toEqual({
    clone: 0,
    copyRange: 0,
    splice: 0,
    sendfile: 0,
  });
});

test("between file systems it goes through a pipe", async () => {
  if (!shared) return console.log("skipped: there is no second file system here");
  const from = join(folder, "from");
  const { ways } = await copy(from, join(shared, "to"), { fsync: false });
  expect(ways).toEqual({ clone: 0, copyRange: 0, splice: SIZE, sendfile: 0 });
  expect((await compare(from, join(shared, "to"))).equal).toBe(true);
  const back = await copy(join(shared, "to"), join(folder, "back"), { fsync: false });
  expect(back.ways.splice).toBe(SIZE);
  expect((await compare(from, join(folder, "back"))).equal).toBe(true);
});

test("what is limited or verified arrives the same", async () => {
  const from = join(folder, "from");
  const { complete } = await copy(from, join(folder, "limited"), {
    fsync: false,
    verify: true,
    bandwidth: 1e9,
  });
  expect(complete).toBe(true);
  expect((await compare(from, join(folder, "limited"))).equal).toBe(true);
});
