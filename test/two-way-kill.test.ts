// Both ways, with whatever may happen: random changes of both sides, and kills at random moments.
// After the next run both sides are the same, each version that somebody made since is on both, and
// nothing else of copse's is there. COPSE_KILLS=1000 and COPSE_ROUNDS=1000 ask for so many.

import { afterAll, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { applySync, syncSync, type Transfer } from "../lib/index.ts";
import { changesOf, killed, seed } from "./killed.ts";
import { patience } from "./patience.ts";
import { shape, strays } from "./synced.ts";
import { Random, Scratch } from "./trees.ts";

const kills = Number(process.env["COPSE_KILLS"] ?? 12);
const rounds = Number(process.env["COPSE_ROUNDS"] ?? 40);
patience(60_000 + (kills + rounds) * 3000);
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const left = scratch.at("left");
const right = scratch.at("right");
const state = scratch.at("state");
const run = (): Transfer => syncSync(left, right, { twoWay: { state } });

let made = 0;

/** Every content by itself, so that a lost one is seen. Sizes repeat, as they do. */
function write(root: string, name: string, size: number): string {
  const path = join(root, name);
  mkdirSync(dirname(path), { recursive: true });
  const content = `${String(made++).padStart(8, "0")}${"x".repeat(size)}`;
  writeFileSync(path, content);
  return content;
}

/** A name that may be there, be in the way of another, or be new. */
function nameIn(random: Random): string {
  const part = (): string => `n${random.below(6)}`;
  return Array.from({ length: 1 + random.below(3) }, part).join("/");
}

/** One change; the content that it made, which must not be lost unless this side changes it again. */
function change(root: string, random: Random): void {
  const name = nameIn(random);
  const path = join(root, name);
  const what = random.below(10);
  try {
    if (what < 5) write(root, name, random.below(3) * 700);
    else if (what === 5) rmSync(path, { recursive: true, force: true });
    else if (what === 6) renameSync(path, join(root, nameIn(random)));
    else if (what === 7) mkdirSync(path, { recursive: true });
    else if (what === 8) symlinkSync(`target-${made++}`, path);
    else if (lstatSync(path).isFile()) {
      rmSync(path);
      write(root, name, 10);
    }
  } catch {
    // something else has the name, or nothing: then this is no change
  }
}

const contents = (tree: Record<string, string>): Set<string> =>
  new Set(Object.values(tree).filter((content) => content !== "/"));

/** What was not there after the last run. */
function fresh(before: Record<string, string>, now: Record<string, string>): Set<string> {
  return contents(now).difference(contents(before));
}

function same(versions: Iterable<string>, round: string): Record<string, string> {
  const [l, r] = [shape(left), shape(right)];
  expect({ round, tree: r }).toEqual({ round, tree: l });
  const there = contents(l);
  const lost = [...versions].filter((version) => !there.has(version));
  expect({ round, lost }).toEqual({ round, lost: [] });
  return l;
}

function clear(): void {
  for (const path of [left, right, state]) rmSync(path, { recursive: true, force: true });
  mkdirSync(left);
  mkdirSync(right);
}

test(`${rounds} rounds of random changes on both sides (seed ${seed})`, () => {
  const random = new Random(seed);
  clear();
  let before: Record<string, string> = {};
  let conflicts = 0;
  for (let round = 0; round < rounds; round++) {
    for (let i = random.below(12); i >= 0; i--) change(random.below(2) ? left : right, random);
    const versions = fresh(before, shape(left)).union(fresh(before, shape(right)));
    // What one side deleted altogether is not emptiness by accident here.
    const options = { twoWay: { state }, force: true, moves: round % 3 > 0 };
    // Every other round is looked at as a plan first.
    const done =
      round % 2
        ? applySync(
            JSON.parse(JSON.stringify(syncSync(left, right, { ...options, dryRun: true }))),
            {
              state,
            },
          )
        : syncSync(left, right, options);
    const name = `seed ${seed}, round ${round}`;
    expect({ name, errors: done.actions.filter(({ kind }) => kind === "error") }).toEqual({
      name,
      errors: [],
    });
    conflicts += done.twoWay!.conflicts;
    before = same(versions, name);
    const again = run();
    expect({ name, again: again.actions }).toEqual({ name, again: [] });
  }
  // A few rounds may be without one.
  if (rounds >= 200) expect(conflicts).toBeGreaterThan(0);
});

test(`${kills} kills: the next run ends it and nothing is lost (seed ${seed})`, async () => {
  const random = new Random(seed + 1);
  clear();
  let running = 0;
  let swept = 0;
  for (let i = 0; i < 120; i++) write(left, `d${i % 5}/f${i}`, i % 10 === 0 ? 700_000 : 3000);
  run();
  let before = shape(left);
  for (let kill = 0; kill < kills; kill++) {
    for (let i = 0; i < 60; i++) {
      const root = random.below(2) ? left : right;
      const name = `d${random.below(6)}/f${random.below(150)}`;
      const what = random.below(5);
      if (what === 0) rmSync(join(root, name), { force: true });
      else if (what === 1 && existsSync(join(root, name))) {
        const to = join(root, `d${random.below(6)}/g${kill}-${i}`);
        mkdirSync(dirname(to), { recursive: true });
        renameSync(join(root, name), to);
      } else write(root, name, random.below(10) === 0 ? 700_000 : 3000);
    }
    const [l, r] = [shape(left), shape(right)];
    const versions = fresh(before, l).union(fresh(before, r));
    // At any moment, or when up to half of what is to come has come.
    const behind = Object.keys({ ...l, ...r }).filter((name) => l[name] !== r[name]);
    const changes = changesOf(
      [left, right].flatMap((root) => behind.map((name) => join(root, name))),
    );
    const wanted = 1 + random.below(behind.length >> 1);
    const said = (dryRun: boolean): string =>
      `copse.syncSync(${JSON.stringify(left)}, ${JSON.stringify(right)}, { twoWay: { state: ${JSON.stringify(state)} }, moves: true, dryRun: ${dryRun} })`;
    const work =
      kill % 2
        ? `copse.applySync(${said(true)}, { state: ${JSON.stringify(state)} });`
        : `${said(false)};`;
    const when = kill % 3 === 2 ? random.below(120) : (): boolean => changes() >= wanted;
    if ((await killed(work, when)).wasRunning) running++;
    swept += strays(left, right).length;
    const name = `seed ${seed}, kill ${kill}`;
    expect({ name, errors: run().errors }).toEqual({ name, errors: 0 });
    before = same(versions, name);
    // Temporaries go with the directories that are looked at.
    const again = { name, again: run().planned, strays: strays(left, right) };
    expect(again).toEqual({ name, again: 0, strays: [] });
    expect(readdirSync(scratch.path).toSorted()).toEqual(["left", "right", "state"]);
  }
  expect(running).toBeGreaterThan(0); // some were killed while they ran
  console.log(`kills: ${kills}, ${running} while it ran, ${swept} temporaries left and swept`);
});
