// Packs and the original: what copse packs, znippy 0.7 lists, verifies and unpacks, and the other way
// round. COPSE_ZNIPPY names a program that takes `compress DIR FILE`, `verify FILE` and
// `decompress FILE DIR`; without it there is nothing to ask. COPSE_ORACLE=500 is the long form.

import { expect, test } from "bun:test";
import { compareSync, listSync, packSync, verifySync } from "../lib/index.ts";
import { within } from "./patience.ts";
import { asTree, Random, randomTree, Scratch } from "./trees.ts";

const znippy = process.env["COPSE_ZNIPPY"] ?? "";
const rounds = Number(process.env["COPSE_ORACLE"] ?? 10);

function ask(...words: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([znippy, ...words], { stderr: "pipe" });
  const output = `${stdout.toString()}${stderr.toString()}`;
  expect([exitCode, output]).toEqual([0, output]);
  return output;
}

test.skipIf(!znippy)(
  `${rounds} random trees go to znippy and back`,
  () => {
    using scratch = new Scratch();
    let files = 0;
    for (let seed = 1; seed <= rounds; seed++) {
      const root = scratch.plant(`tree-${seed}`, asTree(randomTree(new Random(seed))));
      const ours = scratch.at(`ours-${seed}.znippy`);
      const compress = (["auto", "always", "never"] as const)[seed % 3]!;
      packSync(root, ours, { level: 1 + (seed % 19), compress });
      expect(ask("verify", ours)).toContain("corrupt_files: 0");
      const out = scratch.at(`out-${seed}`);
      ask("decompress", ours, out);
      // Links, empty directories and names that are not UTF-8 are nothing that it knows of.
      for (const entry of listSync(root)) {
        if (entry.type !== "file" || entry.pathBytes) continue;
        files += 1;
        expect(compareSync(`${root}/${entry.path}`, `${out}/${entry.path}`).equal).toBe(true);
      }

      const theirs = scratch.at(`theirs-${seed}.znippy`);
      ask("compress", root, theirs);
      expect(verifySync(theirs).ok).toBe(true);
      const { differences } = compareSync(root, `pack:${theirs}`, { emptyDirectories: false });
      const known = differences.filter(
        (row) =>
          !(row.kind === "only-left" && row.left.type !== "file") &&
          !row.pathBytes &&
          !row.path.includes("\ufffd"),
      );
      expect(known).toEqual([]);
    }
    expect(files).toBeGreaterThan(rounds);
  },
  within(600_000),
);
