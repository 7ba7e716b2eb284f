// What the command holds of a tree hardly grows with it, whether it is deep or wide. bench/results/sync-memory.md has the million.

import { expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { main } from "./command.ts";
import { patience } from "./patience.ts";
import { scratchForEach } from "./ways.ts";

patience(300_000);
const scratch = scratchForEach();

const fewer = 5_000;
const more = 60_000;
// Rows that are kept cost 330 bytes each; the collector comes when it likes.
const perEntry = 160;

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

// Shadow memory of a sanitizer counts, too.
const canMeasure = !process.env["COPSE_SANITIZER"] && process.platform === "linux";

test.skipIf(!canMeasure).each([
  ["500 in each directory", 500],
  ["all in one directory", Infinity],
])(`${more} entries need no more memory than ${fewer}, %s`, async (_, inOne) => {
  const empty = scratch.plant("empty", {});
  const grown: Record<string, number> = {};
  for (const count of [fewer, more]) {
    const from = plant(count, inOne);
    const to = scratch.at(`to${count}`);
    const sign = count === fewer ? -1 : 1;
    const add = (what: string, bytes: number): number =>
      (grown[what] = (grown[what] ?? 0) + sign * bytes);
    add("first copy", await peak("sync", from, to));
    add("nothing to do", await peak("sync", from, to));
    add("all of it deleted", await peak("sync", empty, to, "--force"));
    for (const path of [from, to]) rmSync(path, { recursive: true });
  }
  for (const [what, bytes] of Object.entries(grown))
    expect({ what, isBound: bytes < (more - fewer) * perEntry, bytes }).toMatchObject({
      what,
      isBound: true,
    });
  if (process.env["COPSE_SAY"]) console.log(grown);
});
