// Packing and unpacking that are killed at a random moment: the pack's name holds the old or the new
// pack, whole, unpacked files are whole, and the next run finishes and leaves nothing of copse's.
// COPSE_KILLS=200 asks for that many kills of each.

import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compareSync, CopseError, packSync, unpackSync, verifySync } from "../lib/index.ts";
import { changesOf, killed, seed } from "./killed.ts";
import { patience } from "./patience.ts";
import { shape, strays } from "./synced.ts";
import { Random, Scratch } from "./trees.ts";

const kills = Number(process.env["COPSE_KILLS"] ?? 10);
patience(60_000 + kills * 3000);
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

function grow(version: number): string {
  const random = new Random(seed + version);
  const files: Record<string, string | Uint8Array<ArrayBuffer>> = {};
  for (let i = 0; i < 60; i++)
    files[`d${i % 5}/f${i}`] = new Uint8Array(i % 10 === 0 ? 900_000 : 3000).map(() =>
      random.below(40),
    );
  return scratch.plant(`tree-${version}`, files);
}

test(`${kills} kills of pack: the old pack or the new one (seed ${seed})`, async () => {
  const random = new Random(seed);
  const trees = [grow(0), grow(1)] as const;
  mkdirSync(scratch.at("packs"));
  const file = scratch.at("packs", "x.znippy");
  packSync(trees[0], file);
  let running = 0;
  for (let i = 1; i <= kills; i++) {
    const [was, now] = i % 2 === 1 ? trees : [trees[1], trees[0]];
    // At any moment, or when something of the new one is there.
    const folder = scratch.at("packs");
    const when = i % 2 === 1 ? random.below(30) : (): boolean => strays(folder).length > 0;
    const work = `copse.packSync(${JSON.stringify(now)}, ${JSON.stringify(file)});`;
    if ((await killed(work, when)).wasRunning) running++;
    expect(verifySync(file).ok).toBe(true);
    const holds = [was, now].filter((tree) => compareSync(tree, `pack:${file}`).equal);
    expect(holds).toHaveLength(1);
    packSync(now, file);
    expect(compareSync(now, `pack:${file}`).equal).toBe(true);
    expect(strays(folder)).toEqual([]);
  }
  expect(running).toBeGreaterThan(0); // some were killed while they ran
  console.log(`pack: ${kills} kills, ${running} while it ran`);
});

test("what a killed pack left goes with the next one, and nothing else does", () => {
  const tree = grow(3);
  const folder = scratch.plant("left", {
    ".copse-0011223344556677.part": "left by a killed run",
    ".copse-mine.part": "not ours",
    other: "other",
  });
  packSync(tree, join(folder, "x.znippy"));
  expect(readdirSync(folder).toSorted()).toEqual([".copse-mine.part", "other", "x.znippy"]);
});

test(`${kills} kills of unpack: no torn file, and the next run finishes (seed ${seed})`, async () => {
  const random = new Random(seed + 1);
  const tree = grow(2);
  const file = scratch.at("whole.znippy");
  packSync(tree, file);
  const names = Object.keys(shape(tree));
  const out = scratch.at("out");
  let running = 0;
  for (let i = 1; i <= kills; i++) {
    rmSync(out, { recursive: true, force: true });
    mkdirSync(out);
    writeFileSync(join(out, "other"), "not of the pack");
    const changes = changesOf(names.map((name) => join(out, name)));
    const wanted = 1 + random.below(names.length - 1);
    const when = i % 2 === 1 ? random.below(60) : (): boolean => changes() >= wanted;
    const work = `copse.unpackSync(${JSON.stringify(file)}, ${JSON.stringify(out)});`;
    if ((await killed(work, when)).wasRunning) running++;
    // What has its name is whole: nothing differs, some may be missing.
    for (const row of compareSync(tree, out).differences)
      if (row.kind === "differs") expect(row.reason, row.path).not.toBe("content");
    expect(unpackSync(file, out).errors).toBe(0);
    expect(compareSync(tree, out).differences.map(({ path }) => path)).toEqual(["other"]);
    expect(strays(out)).toEqual([]);
  }
  expect(running).toBeGreaterThan(0);
  console.log(`unpack: ${kills} kills, ${running} while it ran`);
});

test(`${kills} kills of pack to a stream: what came is the whole pack or none (seed ${seed})`, async () => {
  const random = new Random(seed + 2);
  const tree = grow(4);
  const out = scratch.at("stream.znippy");
  let [running, whole] = [0, 0];
  for (let i = 1; i <= kills; i++) {
    rmSync(out, { force: true });
    const work = `const { openSync, writeSync } = await import("node:fs");
      const out = openSync(${JSON.stringify(out)}, "w");
      await copse.pack(${JSON.stringify(tree)}, new WritableStream({ write: (part) => void writeSync(out, part) }));`;
    const there = (): number => statSync(out, { throwIfNoEntry: false })?.size ?? 0;
    const when = i % 2 === 1 ? random.below(60) : (): boolean => there() > 0;
    const { wasRunning } = await killed(work, when);
    if (wasRunning) running++;
    try {
      expect(verifySync(out).ok).toBe(true);
      expect(compareSync(tree, `pack:${out}`).equal).toBe(true);
      whole++;
    } catch (error) {
      expect(error).toBeInstanceOf(CopseError);
      expect(wasRunning).toBe(true);
    }
  }
  expect(running).toBeGreaterThan(0);
  console.log(
    `pack to a stream: ${kills} kills, ${running} while it ran, ${whole} packs were whole`,
  );
});
