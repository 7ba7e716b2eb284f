// A copy that is killed at a random moment: each name holds the old or the new file, whole, and the next run finishes and leaves
// nothing of copse's. COPSE_KILLS=1000 asks for that many kills.

import { afterAll, expect, test } from "bun:test";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compareSync, syncSync } from "../lib/index.ts";
import { changesOf, killed, seed } from "./killed.ts";
import { patience } from "./patience.ts";
import { strays } from "./synced.ts";
import { Random, Scratch } from "./trees.ts";

const kills = Number(process.env["COPSE_KILLS"] ?? 20);
patience(60_000 + kills * 3000);
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const count = 150;
const sizeOf = (i: number): number => (i % 10 === 0 ? 700_000 : 3000);

/** A file says what it is in every byte. */
const contentOf = (version: number, i: number): Uint8Array =>
  new Uint8Array(sizeOf(i)).fill((version * 31 + i) & 255);
const nameOf = (i: number): string => `d${i % 5}/f${i}`;
const names = Array.from({ length: count }, (_, i) => nameOf(i));

test(`${kills} kills: no torn file, nothing lost, no temporary after the next run (seed ${seed})`, async () => {
  const random = new Random(seed);
  const from = scratch.plant("from", {});
  const to = scratch.at("to");
  const plant = (version: number): void => {
    for (let i = 0; i < count; i++) {
      const path = join(from, nameOf(i));
      if (version === 0 && i < 5) scratch.plant(`from/d${i}`, {});
      writeFileSync(path, contentOf(version, i));
    }
  };
  plant(0);
  syncSync(from, to);
  let left = 0;
  let running = 0;
  for (let version = 1; version <= kills; version++) {
    plant(version);
    // At any moment, or when some of the files are there.
    const changes = changesOf(names.map((name) => join(to, name)));
    const wanted = 1 + random.below(count - 1);
    // Two of four runs are watched, and decide before they copy.
    const watched = version % 4 < 2 ? ", onProgress() {}" : "";
    const work = `copse.syncSync(${JSON.stringify(from)}, ${JSON.stringify(to)}, { by: "content"${watched} });`;
    const when = version % 2 === 0 ? random.below(60) : (): boolean => changes() >= wanted;
    if ((await killed(work, when)).wasRunning) running++;
    for (let i = 0; i < count; i++) {
      const found = readFileSync(join(to, nameOf(i)));
      const isOld = Buffer.compare(found, contentOf(version - 1, i)) === 0;
      const isNew = Buffer.compare(found, contentOf(version, i)) === 0;
      if (!isOld && !isNew) throw new Error(`${nameOf(i)} is torn in round ${version}`);
    }
    left += strays(to).length;
    const again = syncSync(from, to, { by: "content" });
    expect({ errors: again.errors, stray: strays(to) }).toEqual({ errors: 0, stray: [] });
    expect(compareSync(from, to).equal).toBe(true);
  }
  expect(running).toBeGreaterThan(0); // some were killed while they ran
  console.log(`kills: ${kills}, ${running} while it ran, ${left} temporaries left and swept`);
});

test(`${Math.ceil(kills / 2)} kills in a large file, of the first run and of those that go on`, async () => {
  const random = new Random(seed + 1);
  const size = 72 * 1024 * 1024 + 17; // brought by several workers
  const large = (version: number): Buffer => {
    const bytes = Buffer.alloc(size, version);
    for (let at = 0; at < size; at += 4096)
      bytes.writeUInt32LE(at ^ version, Math.min(at, size - 4));
    return bytes;
  };
  const from = scratch.plant("large-from", { large: large(0), "d/small": "0" });
  const to = scratch.at("large-to");
  syncSync(from, to, { fsync: false });
  // Behind the content lies one head of 64 bytes, and as many for each range (native/store/file_partial.c).
  const isKept = (ranges: number): boolean => {
    const wanted = Math.ceil(size / 4096) * 4096 + 64 + 64 * ranges;
    return strays(to).some(
      (name) => (statSync(join(to, name), { throwIfNoEntry: false })?.size ?? 0) >= wanted,
    );
  };
  let resumed = 0;
  let version = 0;
  let isDone = true;
  for (let kill = 0; kill < kills / 2; kill++) {
    if (isDone) writeFileSync(join(from, "large"), large(++version));
    const work = `return copse.syncSync(${JSON.stringify(`fault:delay=1:${from}`)}, ${JSON.stringify(to)}, { fsync: false }).resumed;`;
    // At any moment, or when some ranges are there: a machine may be too fast or slow for moments alone.
    const ranges = 1 + random.below(20);
    const when = kill % 3 === 2 ? random.below(250) : (): boolean => isKept(ranges);
    const { wasRunning, said } = await killed(work, when);
    isDone = !wasRunning;
    if (isDone) resumed += Number(said);
    const found = readFileSync(join(to, "large"));
    const isWhole = found.equals(large(version)) || (!isDone && found.equals(large(version - 1)));
    if (!isWhole) throw new Error(`large is torn after kill ${kill} (seed ${seed})`);
    if (isDone) expect(strays(to)).toEqual([]);
    // Every few kills the run may come to its end.
    if (kill % 4 !== 3 || isDone) continue;
    const again = syncSync(`fault:delay=0:${from}`, to, { fsync: false });
    resumed += again.resumed;
    expect({ errors: again.errors, stray: strays(to) }).toEqual({ errors: 0, stray: [] });
    expect(readFileSync(join(to, "large")).equals(large(version))).toBe(true);
    isDone = true;
  }
  expect(resumed).toBeGreaterThan(0);
  console.log(`kills: ${Math.ceil(kills / 2)} in a large file, ${resumed} bytes not brought again`);
});
