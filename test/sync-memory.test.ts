// What the command holds of a tree hardly grows with it, whether it is deep or wide. bench/results/sync-memory.md has the million.

import { afterAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { main } from "./command.ts";
import { patience } from "./patience.ts";
import { quickFolder, Scratch } from "./trees.ts";

patience(300_000);

const fewer = 5_000;
const more = 150_000;
const scratch = new Scratch(quickFolder(2 * more));
afterAll(() => scratch[Symbol.dispose]());

/** Mebibytes of the whole command, Bun itself included. */
async function peak(...args: string[]): Promise<number> {
  const child = Bun.spawn(
    [process.execPath, main, ...args, "--profile", "low-memory", "--no-fsync", "--no-config"],
    { stdout: "ignore", stderr: "pipe" },
  );
  expect(await child.stderr.text()).toBe("");
  expect(await child.exited).toBe(0);
  return child.resourceUsage()!.maxRSS;
}

/** A directory of so many files, `inOne` of them in each directory. */
function plant(count: number, inOne: number): string {
  const root = scratch.at(`from${count}`);
  for (let i = 0; i < count; i++) {
    const above = join(root, `d${Math.floor(i / inOne)}`);
    if (i % inOne === 0) mkdirSync(above, { recursive: true });
    writeFileSync(join(above, `file-${i}`), "");
  }
  return root;
}

/** All directories get names that begin otherwise. */
function rename(root: string, begin: string): void {
  for (const name of readdirSync(root)) renameSync(join(root, name), join(root, begin + name));
}

// Bytes for each entry. Of a file that moves there are two records of 40 bytes and two names, and
// where contents have to be read a hash; whole entries of both sides would be 750. Rows that are kept cost 330; of those that nobody keeps the collector, which
// comes when it likes, lets 20 MB come together.
const bounds = {
  "first copy": 160,
  "nothing to do": 160,
  "all of it renamed": 280,
  "all of it renamed, found by content": 320,
  "all of it deleted, a row each": 280,
};
type What = keyof typeof bounds;
type Peaks = Record<What, number>;
const whats = Object.keys(bounds) as What[];

/** The least of as many as are enough, or of three: what is above it is the collector's affair. */
async function leastOf(
  count: number,
  inOne: number,
  isEnough: (peaks: Peaks) => boolean,
): Promise<Peaks> {
  const [empty, from, to] = [scratch.at("empty"), plant(count, inOne), scratch.at(`to${count}`)];
  mkdirSync(empty, { recursive: true });
  const peaks = Object.fromEntries(whats.map((what) => [what, Infinity])) as Peaks;
  for (let tries = 0; tries < 3 && !isEnough(peaks); tries++) {
    for (const [what, ...args] of [
      ["first copy", from, to],
      ["nothing to do", from, to],
      ["all of it renamed", from, to, "--moves"],
      ["all of it renamed, found by content", from, to, "--moves", "--by", "content"],
      ["all of it deleted, a row each", empty, to, "--force", "--jsonl"],
    ] as const) {
      if (what.includes("renamed")) rename(from, "x");
      peaks[what] = Math.min(peaks[what], await peak("sync", ...args));
    }
    rmSync(to, { recursive: true, force: true });
  }
  rmSync(from, { recursive: true });
  return peaks;
}

// Shadow memory of a sanitizer counts, too.
const canMeasure = !process.env["COPSE_SANITIZER"] && process.platform === "linux";

test.skipIf(!canMeasure).each([
  ["500 in each directory", 500],
  ["all in one directory", Infinity],
])(`${more} entries need no more memory than ${fewer}, %s`, async (_, inOne) => {
  const few = await leastOf(fewer, inOne, (peaks) => whats.every((what) => peaks[what] < Infinity));
  const bound = (what: What): number => few[what] + (more - fewer) * bounds[what];
  const isBound = (peaks: Peaks): boolean => whats.every((what) => peaks[what] < bound(what));
  const many = await leastOf(more, inOne, isBound);
  const grown = whats.map((what) => [what, many[what] - few[what]] as const);
  if (process.env["COPSE_SAY"]) console.log(grown);
  expect({ isBound: isBound(many), grown }).toMatchObject({ isBound: true });
});
