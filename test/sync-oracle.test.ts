// Random pairs of trees, made the same by sync; rsync, written by others, is then asked what it would still change. A short form
// runs with the other tests; COPSE_ORACLE=1000 asks for that many pairs, COPSE_SEED for the pairs of a seed.

import { afterAll, expect, test } from "bun:test";
import { chmodSync, lutimesSync, rmSync } from "node:fs";
import { join } from "node:path";
import { copySync, syncSync, type CopyOptions } from "../lib/index.ts";
import { isSanitized, patience, someSeed } from "./patience.ts";
import {
  asTree,
  mutated,
  plantOnDisk,
  Random,
  randomTree,
  run,
  Scratch,
  type Grown,
} from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const pairs = Number(process.env["COPSE_ORACLE"] ?? (isSanitized ? 15 : 60));
const firstSeed = someSeed(1_000_000_000);
patience(60_000 + pairs * 300);

const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const hasRsync = Bun.which("rsync") !== null;

/** Modes and times that are not what a new file gets anyway. */
function plant(root: string, grown: Grown, random: Random): void {
  rmSync(root, { recursive: true, force: true });
  plantOnDisk(root, asTree(grown));
  const paths = [...grown.keys()].toSorted().toReversed();
  for (const path of paths) {
    const kind = grown.get(path);
    const isLink =
      kind && !(kind instanceof Uint8Array) && typeof kind !== "string" && kind.kind === "link";
    if (!isLink && random.chance(3))
      chmodSync(join(root, path), random.pick([0o700, 0o755, 0o644, 0o600, 0o750]));
    const seconds = 1_600_000_000 + random.below(1000);
    lutimesSync(join(root, path), seconds, seconds + random.below(1000) / 1000);
  }
}

/** What rsync would still do to make the right tree like the left one, contents read. */
const left = (from: string, to: string): string =>
  run("rsync", "-a", "-i", "-n", "--checksum", "--delete", `${from}/`, `${to}/`);

/** The whole tree: types, modes, times to the nanosecond, sizes, targets, and what is in files. */
function facts(root: string): string {
  const line = "%P %y %m %T@ %l\n";
  const names = run("find", root, "-type", "d", "-printf", "%P %y %m %T@\n", "-o", "-printf", line);
  const hashes = run("sh", "-c", 'cd "$1" && find . -type f -exec sha256sum {} +', "sh", root);
  return [...names.split("\n"), ...hashes.split("\n")].toSorted().join("\n");
}

test.skipIf(!hasRsync)(`rsync finds nothing to do after sync (${pairs} pairs)`, () => {
  let actions = 0;
  for (let i = 0; i < pairs; i++) {
    const seed = firstSeed + i;
    const random = new Random(seed);
    const tree = randomTree(random);
    const [from, to] = [scratch.at("from"), scratch.at("to")];
    plant(from, tree, random);
    plant(to, mutated(random, tree), random);
    const options: CopyOptions = {
      by: random.pick(["stat", "content", "hash"]),
      fsync: random.chance(4),
      concurrency: random.pick([0, 1, 3]),
    };
    const first = syncSync(from, to, { ...options, force: true });
    const rest = left(from, to);
    if (rest !== "" || first.errors > 0)
      throw new Error(`seed ${seed}: ${JSON.stringify(first)}\n${rest}`);
    actions += first.actions.length;
    expect({ seed, facts: facts(to) }).toEqual({ seed, facts: facts(from) });
    const again = syncSync(from, to, { ...options, force: true });
    expect({ seed, actions: again.actions }).toEqual({ seed, actions: [] });
    rmSync(from, { recursive: true });
    rmSync(to, { recursive: true });
  }
  console.log(`sync oracle: ${pairs} pairs from seed ${firstSeed}, ${actions} actions`);
});

test.skipIf(!hasRsync)("rsync finds nothing to do after copy into an empty place", () => {
  for (let i = 0; i < pairs / 4; i++) {
    const random = new Random(firstSeed + i);
    const [from, to] = [scratch.at("from"), scratch.at("to")];
    plant(from, randomTree(random), random);
    const { errors } = copySync(from, to, { fsync: false });
    expect({ seed: firstSeed + i, errors, rest: left(from, to) }).toEqual({
      seed: firstSeed + i,
      errors: 0,
      rest: "",
    });
    rmSync(from, { recursive: true });
    rmSync(to, { recursive: true });
  }
});
