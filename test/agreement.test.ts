// Lists agree with find, git check-ignore and fd: on random trees, and on one that people made.
//
// COPSE_AGREE=1000 makes so many random trees and says what was counted; COPSE_AGREE_TREE names another
// tree of people's, which must not change meanwhile.

import { afterAll, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { list, listSync, type ListOptions } from "../lib/index.ts";
import { within } from "./patience.ts";
import { asTree, pipe, Random, randomTree, run, Scratch } from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const rounds = Number(process.env["COPSE_AGREE"] ?? 40);
const seed = Number(process.env["COPSE_SEED"] ?? 20261127);
const fd = Bun.which("fdfind") ?? Bun.which("fd");
const patience = 20_000 + rounds * 500;

const letters: Readonly<Record<string, string>> = { f: "file", d: "directory", l: "link" };

/** What find says of a tree: a line for each entry. */
function byFind(root: string, ...options: string[]): string[] {
  const text = run("find", ...options, root, "-mindepth", "1", "-printf", "%y %P\\0");
  return text
    .split("\0")
    .filter(Boolean)
    .map((line) => `${letters[line[0]!] ?? "other"}${line.slice(1)}`)
    .toSorted();
}

const ours = (root: string, options: ListOptions = {}): string[] =>
  listSync(root, options)
    .map(({ type, path }) => `${type} ${path}`)
    .toSorted();

const tell = (sentence: string): void => {
  if (process.env["COPSE_AGREE"]) console.log(sentence);
};

/** Lines that git and fd read alike: fd's reader leaves out what git takes for malformed. */
function ignoreLines(random: Random): string {
  const parts = ["a", "b", "c", "*", "?", "**", "[ab]", "[!a]", "a*", "*b", "*.x", "ab"];
  return Array.from({ length: 1 + random.below(5) }, () => {
    let line = Array.from({ length: 1 + random.below(3) }, () => random.pick(parts)).join("/");
    if (random.chance(4)) line = `/${line}`;
    if (random.chance(4)) line += "/";
    return random.chance(3) ? `!${line}` : line;
  }).join("\n");
}

function ignoredTree(random: Random): Record<string, string> {
  const tree: Record<string, string> = {};
  const grow = (at: string, depth: number): void => {
    if (depth === 0 || random.chance(3)) tree[`${at}.gitignore`] = ignoreLines(random);
    for (const name of ["a", "b", "c", "ab", "a.x", ".b"]) {
      const what = random.below(4);
      if (what === 0 && depth < 3) grow(`${at}${name}/`, depth + 1);
      else if (what < 3) tree[`${at}${name}`] = "";
    }
  };
  grow("", 0);
  return tree;
}

describe("random trees", () => {
  test(
    "hold what find says, links kept",
    () => {
      let entries = 0;
      for (let round = 0; round < rounds; round++) {
        const tree = { ...asTree(randomTree(new Random(seed + round))), "pi pe": pipe };
        const root = scratch.plant(`find-${round}`, tree);
        const found = ours(root);
        expect(found).toEqual(byFind(root));
        entries += found.length;
        rmSync(root, { recursive: true });
      }
      expect(entries).toBeGreaterThan(rounds * 2);
      tell(`find: ${rounds} trees, ${entries} entries, seed ${seed}`);
    },
    patience,
  );

  test(
    "hold each file that git check-ignore does not name, and no other",
    () => {
      let [kept, ignored] = [0, 0];
      for (let round = 0; round < rounds; round++) {
        const tree = ignoredTree(new Random(seed + round));
        const root = scratch.plant(`git-${round}`, tree);
        run("git", "-C", root, "-c", "init.defaultBranch=main", "init", "-q");
        const paths = Object.keys(tree);
        const { stdout, exitCode } = Bun.spawnSync(
          [
            "git",
            "-C",
            root,
            "-c",
            "core.excludesFile=/dev/null",
            "check-ignore",
            "--no-index",
            "--stdin",
            "-z",
          ],
          { stdin: Buffer.from(`${paths.join("\0")}\0`) },
        );
        expect(exitCode).toBeLessThan(2); // 1: none
        const named = new Set(stdout.toString().split("\0"));
        const found = listSync(root, { ignoreFiles: true, exclude: ["/.git"] })
          .filter(({ type }) => type === "file")
          .map(({ path }) => path);
        expect(found.toSorted()).toEqual(paths.filter((path) => !named.has(path)).toSorted());
        kept += found.length;
        ignored += paths.length - found.length;
        rmSync(root, { recursive: true });
      }
      expect(kept).toBeGreaterThan(0);
      expect(ignored).toBeGreaterThan(0);
      tell(
        `git check-ignore: ${rounds} trees, ${kept} files kept, ${ignored} ignored, seed ${seed}`,
      );
    },
    patience,
  );

  test.skipIf(!fd)(
    "hold what fd finds, ignore files read and not",
    () => {
      let entries = 0;
      for (let round = 0; round < rounds; round++) {
        const root = scratch.plant(`fd-${round}`, ignoredTree(new Random(seed + round)));
        // Older ones read ignore files in a repository only.
        run("git", "-C", root, "-c", "init.defaultBranch=main", "init", "-q");
        for (const ignoreFiles of [true, false]) {
          const found = listSync(root, { ignoreFiles, exclude: ["/.git"] }).map(({ path }) => path);
          expect(found.toSorted()).toEqual(byFd(root, ignoreFiles));
          entries += found.length;
        }
        rmSync(root, { recursive: true });
      }
      expect(entries).toBeGreaterThan(rounds * 2);
      tell(`fd: ${rounds} trees, ${entries} entries, seed ${seed}`);
    },
    patience,
  );
});

function byFd(root: string, ignoreFiles: boolean): string[] {
  const how = ignoreFiles
    ? ["--hidden", "--no-ignore-parent"]
    : ["--unrestricted", "--unrestricted"];
  const { stdout, stderr, exitCode } = Bun.spawnSync(
    [fd!, ...how, "--exclude", "/.git", "--print0", "."],
    { cwd: root },
  );
  if (exitCode !== 0) throw new Error(stderr.toString());
  return stdout
    .toString()
    .split("\0")
    .filter(Boolean)
    .map((path) => path.replace(/^\.\//, "").replace(/\/$/, ""))
    .toSorted();
}

test(
  "a tree that people made",
  async () => {
    const given = process.env["COPSE_AGREE_TREE"];
    const root = given ?? join(import.meta.dir, "..", "node_modules", "typescript");
    const found = ours(root);
    expect(found).toEqual(byFind(root));
    expect((await list(root)).complete).toBe(true);
    const files = listSync(root, { stat: true });
    const sizes = run("find", root, "-mindepth", "1", "-type", "f", "-printf", "%s %P\\0");
    expect(
      files
        .filter(({ type }) => type === "file")
        .map(({ size, path }) => `${size} ${path}`)
        .toSorted(),
    ).toEqual(sizes.split("\0").filter(Boolean).toSorted());
    if (fd)
      expect(found.map((line) => line.slice(line.indexOf(" ") + 1)).toSorted()).toEqual(
        byFd(root, false),
      );
    tell(`find and fd: ${found.length} entries of a tree that people made`);
  },
  within(120_000),
);
