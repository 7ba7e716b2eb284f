// What the command holds of a tree does not grow with it: a million entries have the memory that a
// hundred thousand have. bench/results/sync-memory.md has the million.

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

// Shadow memory of a sanitizer counts, too.
test.skipIf(Boolean(process.env["COPSE_SANITIZER"]) || process.platform !== "linux")(
  `${more} entries need no more memory than ${fewer}`,
  async () => {
    const empty = scratch.plant("empty", {});
    const grown: Record<string, number> = {};
    for (const count of [fewer, more]) {
      const from = scratch.at(`from${count}`);
      const to = scratch.at(`to${count}`);
      for (let i = 0; i < count; i++) {
        if (i % 500 === 0) mkdirSync(join(from, `d${i / 500}`), { recursive: true });
        writeFileSync(join(from, `d${Math.floor(i / 500)}`, `file-${i}`), "");
      }
      const sign = count === fewer ? -1 : 1;
      const add = (what: string, bytes: number): number =>
        (grown[what] = (grown[what] ?? 0) + sign * bytes);
      add("first copy", await peak("sync", from, to));
      add("nothing to do", await peak("sync", from, to));
      add("all of it deleted, a row each", await peak("sync", empty, to, "--force", "--jsonl"));
      for (const path of [from, to]) rmSync(path, { recursive: true });
    }
    for (const [what, bytes] of Object.entries(grown))
      expect({ what, isBound: bytes < (more - fewer) * perEntry, bytes }).toMatchObject({
        what,
        isBound: true,
      });
    if (process.env["COPSE_SAY"]) console.log(grown);
  },
);
