// A large file in a pack is decoded by several workers, each a part of it: the same bytes, the same
// answers, and nothing of it where something is wrong.

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import {
  compare,
  copy,
  copySync,
  packSync,
  Runtime,
  unpack,
  unpackSync,
  verify,
  verifySync,
  type RuntimeOptions,
} from "../lib/index.ts";
import { noise, text } from "./packs.ts";
import { patience } from "./patience.ts";
import { Scratch } from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
patience(120_000);
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const mebibyte = 2 ** 20;
const chunkBytes = 4 * mebibyte;
const chunks = 12;
/** Some of it packs well, some not at all; the last chunk is short. */
const content = Buffer.concat([
  noise(17 * mebibyte),
  Buffer.from(text(400_000)),
  noise(chunks * chunkBytes, 1),
]).subarray(0, chunks * chunkBytes - 4321);

const from = scratch.plant("from", { large: content });
const packs = (["znippy", "copse"] as const).map((format) => {
  const file = scratch.at(`${format}.pack`);
  packSync(from, file, { format });
  return file;
});
const packed = packs[0]!;
const runtimes: readonly RuntimeOptions[] = [
  {},
  { io: "blocking" },
  { workers: 1, ioWorkers: 1 },
  { workers: 6, ioWorkers: 6 },
  // Room for the slabs, and for one further decoder at most.
  { workers: 4, ioWorkers: 4, memory: 16 * mebibyte },
];

describe.each(packs)("%s", (file) => {
  test.each(runtimes.map((options) => [options]))("with %j: the same bytes", async (options) => {
    await using runtime = new Runtime(options);
    const before = runtime.stats.memory;
    const out = scratch.at(`out-${crypto.randomUUID()}`);
    const done = await unpack(file, out, { runtime });
    expect(done).toMatchObject({ errors: 0, bytes: content.length, transferred: content.length });
    expect(readFileSync(join(out, "large")).equals(content)).toBe(true);
    expect(readdirSync(out)).toEqual(["large"]);
    const found = await verify(file, { runtime });
    expect(found).toMatchObject({ ok: true, files: 1, bytes: content.length });
    // Slabs of workers stay as long as they do; what was taken for parts is given back.
    expect(runtime.stats.memory - before).toBeLessThan(chunkBytes + 12 * mebibyte);
  });
});

describe("compared with what it was made of", () => {
  const sealed = scratch.at("sealed");
  copySync(from, sealed, { compress: 1 });
  const places = [...packs.map((file) => `pack:${file}`), `crypt:${sealed}`];

  test.each(places.flatMap((place) => runtimes.map((options) => [place, options] as const)))(
    "%s, with %j: equal, and the first difference is the first",
    async (place, options) => {
      await using runtime = new Runtime(options);
      const equal = await compare(place, from, { runtime });
      expect(equal).toMatchObject({ equal: true, complete: true, bytes: content.length });
      const other = scratch.at("other");
      mkdirSync(other, { recursive: true });
      const changed = Buffer.from(content);
      for (const at of [45 * mebibyte + 7, 31 * mebibyte, 21 * mebibyte + 3]) {
        changed[at]! ^= 1;
        writeFileSync(join(other, "large"), changed);
        const { differences } = await compare(other, place, { runtime });
        expect(differences).toMatchObject([{ path: "large", reason: "content", offset: at }]);
      }
    },
  );

  test("one that is damaged is an error, never equal", async () => {
    const bytes = readFileSync(packed);
    bytes[bytes.indexOf(content.subarray(9 * chunkBytes, 9 * chunkBytes + 200)) + 50]! ^= 1;
    const file = scratch.at("broken.pack");
    writeFileSync(file, bytes);
    const { equal, complete, differences } = await compare(from, `pack:${file}`);
    expect([equal, complete]).toEqual([false, false]);
    expect(differences).toMatchObject([{ path: "large", error: { code: "CORRUPT" } }]);
  });
});

test("with bandwidth, and into places that take bytes in order", async () => {
  const out = scratch.at("limited");
  const done = await unpack(packed, out, { bandwidth: 400 * mebibyte });
  expect(done).toMatchObject({ errors: 0, transferred: content.length });
  expect(readFileSync(join(out, "large")).equals(content)).toBe(true);
  const again = scratch.at("again.pack");
  const repacked = await copy(`pack:${packed}`, `pack:${again}`);
  expect(repacked).toMatchObject({ errors: 0 });
  expect(verifySync(again)).toMatchObject({ ok: true, bytes: content.length });
});

// Who decodes a part beside the first worker has its memory in the runtime's account meanwhile.
test.skipIf(availableParallelism() < 2)("others take parts of it, as far as they may", async () => {
  const slow = `pack:fault:delay=30:${packed}`;
  const peak = async (
    options: RuntimeOptions,
    work: (runtime: Runtime) => PromiseLike<unknown>,
  ) => {
    await using runtime = new Runtime(options);
    let most = 0;
    const timer = setInterval(() => (most = Math.max(most, runtime.stats.memory)), 1);
    await work(runtime);
    clearInterval(timer);
    return most;
  };
  for (const work of [
    (runtime: Runtime) => unpack(slow, scratch.at(crypto.randomUUID()), { runtime }),
    (runtime: Runtime) => verify(slow, { runtime }),
  ]) {
    expect(await peak({ workers: 1, ioWorkers: 1 }, work)).toBeLessThan(chunkBytes);
    expect(await peak({ io: "blocking" }, work)).toBeLessThan(chunkBytes);
    const most = await peak({ workers: 4, ioWorkers: 4 }, work);
    expect(most).toBeGreaterThan(chunkBytes);
    expect(most).toBeLessThan(3 * 2 * chunkBytes + 8 * mebibyte);
    const small = { workers: 4, ioWorkers: 4, memory: 16 * mebibyte };
    expect(await peak(small, work)).toBeLessThan(16 * mebibyte + 1);
  }
});

describe("damage", () => {
  const whole = readFileSync(packed);
  /** The pack with a byte of these chunks changed, which are stored as they are. */
  function damaged(...numbers: readonly number[]): string {
    const bytes = Buffer.from(whole);
    for (const number of numbers) {
      const at = bytes.indexOf(
        content.subarray(number * chunkBytes + 99, number * chunkBytes + 399),
      );
      expect(at).toBeGreaterThan(0);
      bytes[at + 50]! ^= 4;
    }
    const file = scratch.at("damaged.pack");
    writeFileSync(file, bytes);
    return file;
  }

  test.each([[[0]], [[2]], [[9]], [[11]], [[3, 10]], [[1, 2, 3]]])(
    "in chunks %j: the first one is named, and nothing of the file is there",
    async (numbers) => {
      const file = damaged(...numbers);
      for (let round = 0; round < 5; round++) {
        const found = await verify(file);
        expect(found).toMatchObject({ ok: false, complete: true, errors: 0 });
        expect(found.checks).toMatchObject([{ kind: "corrupt", path: "large", chunk: numbers[0] }]);
        const out = scratch.at("damaged");
        const done = unpackSync(file, out);
        expect(done).toMatchObject({ errors: 1, copied: 0 });
        const said = done.actions.filter(({ kind }) => kind === "error");
        expect(said).toMatchObject([{ path: "large", error: { code: "CORRUPT" } }]);
        expect(existsSync(out) ? readdirSync(out) : []).toEqual([]);
      }
    },
  );

  test.each([2, 5, 9])("a read that fails, the %dth: IO, and nothing is there", (read) => {
    const out = scratch.at("failed");
    const done = unpackSync(`pack:fault:read=${read + 3}:${packed}`, out, { retries: 0 });
    expect(done).toMatchObject({ errors: 1, copied: 0 });
    expect(existsSync(out) ? readdirSync(out) : []).toEqual([]);
  });
});

test("cancelled in the midst of it: it ends at once, and nothing is there", async () => {
  await using runtime = new Runtime({ workers: 4, ioWorkers: 4 });
  for (const [round, work] of [
    (signal: AbortSignal) => unpack(`pack:fault:delay=40:${packed}`, out(), { runtime, signal }),
    (signal: AbortSignal) => verify(`pack:fault:delay=40:${packed}`, { runtime, signal }),
    (signal: AbortSignal) => unpack(packed, out(), { runtime, signal }),
  ].entries()) {
    const stop = new AbortController();
    const task = work(stop.signal);
    await Bun.sleep([250, 250, 15][round]!);
    const began = performance.now();
    stop.abort();
    await Promise.resolve(task).catch(() => "cancelled");
    expect(performance.now() - began).toBeLessThan(10_000);
    const left = existsSync(out()) ? readdirSync(out()) : [];
    // It may have been there before it was cancelled.
    if (round === 2 && left.includes("large"))
      expect(readFileSync(join(out(), "large")).equals(content)).toBe(true);
    else expect(left).toEqual([]);
  }
  function out(): string {
    return scratch.at("cancelled");
  }
});
