// What is there of a large file outlives an interrupted run, and nothing of it is believed unseen.

import { afterAll, beforeEach, expect, test } from "bun:test";
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  fstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { compareSync, copy, Runtime, sync, type Transfer } from "../lib/index.ts";
import { patience, someSeed } from "./patience.ts";
import { strays } from "./synced.ts";
import { Random, Scratch } from "./trees.ts";
import { atRest, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
patience(120_000);

let scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
beforeEach(() => {
  scratch[Symbol.dispose]();
  scratch = new Scratch();
});

const MiB = 1024 * 1024;
const size = 40 * MiB + 12_345;
// Behind the content: a head and a record for each part of 4 MiB.
const journalAt = Math.ceil(size / 4096) * 4096;

function content(seed: number): Uint8Array {
  const words = new Uint32Array(size / 4 + 1);
  for (let i = 0, x = seed | 1; i < words.length; i++) {
    x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d) + i;
    words[i] = x;
  }
  return new Uint8Array(words.buffer, 0, size);
}

/** How much is in the midst of being brought when it ends depends on how many bring it. */
const few = { workers: 2, ioWorkers: 2 };

/** A run that is cancelled when it is in the middle of `large`; what it leaves is in `to`. */
async function interrupted(from: string, to: string): Promise<void> {
  await using runtime = new Runtime(few);
  const stop = new AbortController();
  const { signal } = stop;
  const task = sync(`fault:delay=25:${from}`, to, { signal, runtime, fsync: false });
  for (;;) {
    const part = strays(to).find((name) => name.endsWith(".keep"));
    if (part !== undefined && sizeOf(join(to, part)) >= journalAt + 6 * 64) break;
    await Bun.sleep(1);
  }
  stop.abort();
  await task.then(
    () => expect.unreachable(),
    () => {},
  );
  // The promise need not wait for the last part.
  await atRest(runtime);
}

function sizeOf(path: string): number {
  try {
    const fd = openSync(path, "r");
    const { size } = fstatSync(fd);
    closeSync(fd);
    return size;
  } catch {
    return 0;
  }
}

async function planted(): Promise<{ from: string; to: string }> {
  const from = scratch.plant("from", { large: content(1), "d/small": "small" });
  const to = scratch.plant("to", {});
  await interrupted(from, to);
  expect(strays(to)).toHaveLength(1);
  return { from, to };
}

/** The same for a file that is there by now. */
async function interruptedAgain(from: string, to: string): Promise<void> {
  writeFileSync(join(from, "large"), content(3));
  await interrupted(from, to);
  expect(strays(to)).toHaveLength(1);
}

function whole(from: string, to: string, result: Transfer): void {
  expect(result).toMatchObject({ errors: 0, complete: true });
  expect(compareSync(from, to).equal).toBe(true);
  expect(strays(to)).toEqual([]);
}

test("the next run goes on with what is there, and leaves nothing", async () => {
  const { from, to } = await planted();
  const result = await sync(from, to);
  whole(from, to, result);
  expect(result.resumed).toBeGreaterThanOrEqual(16 * MiB);
  expect(result.transferred).toBe(size + (result.skipped > 0 ? 0 : 5));
});

test("a single file, too", async () => {
  const { from, to } = await planted();
  const result = await copy(`fault:delay=0:${join(from, "large")}`, join(to, "large"));
  expect(result.resumed).toBeGreaterThanOrEqual(16 * MiB);
  expect(readFileSync(join(to, "large")).equals(content(1))).toBe(true);
  await sync(from, to);
  expect(strays(to)).toEqual([]);
});

test("another source starts anew: other bytes, or only another time", async () => {
  for (const change of ["content", "time"]) {
    const { from, to } = await planted();
    if (change === "content") writeFileSync(join(from, "large"), content(7));
    else utimesSync(join(from, "large"), 1000, 1000);
    const result = await sync(from, to);
    whole(from, to, result);
    expect({ change, resumed: result.resumed }).toEqual({ change, resumed: 0 });
    scratch[Symbol.dispose]();
    scratch = new Scratch();
  }
});

test("a part that is not what was noted is brought again", async () => {
  const { from, to } = await planted();
  const part = join(
    to,
    strays(to).find((name) => name.endsWith(".keep"))!,
  );
  const fd = openSync(part, "r+");
  writeSync(fd, new Uint8Array([1, 2, 3]), 0, 3, 5 * MiB);
  closeSync(fd);
  const result = await sync(from, to);
  whole(from, to, result);
  expect(result.resumed).toBeGreaterThanOrEqual(8 * MiB);
  expect(result.resumed % (4 * MiB)).toBe(0);
});

function flip(path: string, at: number, random: Random): void {
  const fd = openSync(path, "r+");
  const byte = new Uint8Array(1);
  readSync(fd, byte, 0, 1, at);
  byte[0]! ^= 1 << random.below(8);
  writeSync(fd, byte, 0, 1, at);
  closeSync(fd);
}

test("whatever the journal or the temporary become, the file is right", async () => {
  const { from, to } = await planted();
  const [name = ""] = strays(to);
  copyFileSync(join(to, name), scratch.at(name));
  const seed = someSeed();
  const random = new Random(seed);
  const rounds = Number(process.env["COPSE_JOURNALS"] ?? 12);
  let resumed = 0;
  for (let i = 0; i < rounds; i++) {
    const path = join(to, name);
    copyFileSync(scratch.at(name), path);
    const journal = readFileSync(path).subarray(journalAt);
    const way = random.pick(["flip", "cut", "append", "flip part", "cut part", "empty", "twice"]);
    if (way === "flip") flip(path, journalAt + random.below(journal.length), random);
    if (way === "flip part") flip(path, random.below(16 * MiB), random);
    if (way === "cut") truncateSync(path, journalAt + random.below(journal.length));
    if (way === "append") appendFileSync(path, new Uint8Array(random.below(200)).fill(i));
    if (way === "cut part") truncateSync(path, random.below(20 * MiB));
    if (way === "empty") truncateSync(path, 0);
    if (way === "twice") appendFileSync(path, journal);
    const result = await sync(from, to, { fsync: false });
    expect({ seed, i, way, errors: result.errors }).toEqual({ seed, i, way, errors: 0 });
    whole(from, to, result);
    resumed += result.resumed;
    Bun.spawnSync(["rm", join(to, "large")]);
  }
  expect(resumed).toBeGreaterThan(0);
});

test("resume: false goes on with nothing, and leaves nothing", async () => {
  const { from, to } = await planted();
  const result = await sync(from, to, { resume: false });
  expect(result.resumed).toBe(0);
  whole(from, to, result);
});

test("a file by itself leaves nothing either", async () => {
  const { from, to } = await planted();
  const one = [join(from, "large"), join(to, "large")] as const;
  expect(await copy(...one, { resume: false })).toMatchObject({ copied: 1, errors: 0 });
  expect(strays(to)).toEqual([]);
});

test("what a source that is gone left goes with the next sync; a copy leaves it for who needs it", async () => {
  const { from, to } = await planted();
  const other = scratch.plant("other", { f: "f" });
  expect((await copy(other, to)).errors).toBe(0);
  expect(strays(to)).toHaveLength(1);
  expect((await sync(from, to)).resumed).toBeGreaterThan(0);
  await interruptedAgain(from, to);
  expect((await sync(other, to)).errors).toBe(0);
  expect(readdirSync(to)).toEqual(["f"]);
});

test("a file that fails keeps what is there of it", async () => {
  const { from, to } = await planted();
  await using runtime = new Runtime(few);
  const failing = `fault:read=30,sticky,code=TIMEOUT:${from}`;
  const result = await sync(failing, to, { retries: 0, runtime });
  expect(result.errors).toBeGreaterThan(0);
  expect(strays(to)).toHaveLength(1);
  whole(from, to, await sync(from, to));
});

test("what does not fit on the disk leaves nothing behind", async () => {
  const from = scratch.plant("from", { large: content(1) });
  const to = scratch.plant("to", {});
  const result = await sync(`fault:read=60,code=NO_SPACE:${from}`, to, { retries: 0 });
  expect(result.errors).toBe(1);
  expect(readdirSync(to)).toEqual([]);
});

test("a source that drops out is tried again from where it was", async () => {
  const from = scratch.plant("from", { large: content(1) });
  const to = scratch.plant("to", {});
  await using runtime = new Runtime(few);
  const result = await sync(`fault:read=60,code=TIMEOUT:${from}`, to, { runtime });
  whole(from, to, result);
  expect(result.retries).toBe(1);
  expect(result.resumed).toBeGreaterThanOrEqual(8 * MiB);
});
