// Trees for tests: described as a table of paths, planted on disk or in memory, or made by a seed.

import {
  accessSync,
  chmodSync,
  constants,
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmdirSync,
  statfsSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Store } from "../lib/index.ts";

/** What is at a path: content, or one of the makers below. A path that ends in "/" is a directory. */
export type Plant =
  | string
  | Uint8Array
  | { readonly kind: "link" | "hard"; readonly target: string }
  | { readonly kind: "pipe" }
  | { readonly kind: "device"; readonly numbers: readonly [number, number] }
  | { readonly kind: "directory" };

/** Paths to what is there, in the order in which it is made. Directories above are made too. */
export type Tree = Readonly<Record<string, Plant>>;

export const directory: Plant = { kind: "directory" };
export const pipe: Plant = { kind: "pipe" };
export const link = (target: string): Plant => ({ kind: "link", target });
/** A second name of an earlier file of the same tree. */
export const hard = (target: string): Plant => ({ kind: "hard", target });
export const device = (major: number, minor: number): Plant => ({
  kind: "device",
  numbers: [major, minor],
});

export const isRoot = process.getuid?.() === 0;

// ── Places to plant in ──

/**
 * Where trees of so many small files are planted: in memory where the system has room for them, because
 * a disk takes minutes to make and remove 100,000. The test must not be about what a disk does.
 */
export function quickFolder(files: number): string {
  try {
    const { bavail, bsize, ffree } = statfsSync("/dev/shm");
    if (bavail * bsize > files * 8192 && ffree > files * 2) {
      accessSync("/dev/shm", constants.W_OK | constants.X_OK);
      return "/dev/shm";
    }
  } catch {
    // there is none here
  }
  return tmpdir();
}

/** A folder of its own that goes when it is disposed of, whatever is in it. */
export class Scratch implements Disposable {
  /** Readable by everybody, for the tests that run as somebody else. */
  readonly path: string;

  constructor(above = tmpdir()) {
    this.path = mkdtempSync(join(above, "copse-test-"));
    chmodSync(this.path, 0o755);
  }

  /** A path in it, with any bytes: each character of `name` is one byte. */
  bytes(name: string): Buffer {
    return Buffer.concat([Buffer.from(`${this.path}/`), Buffer.from(name, "latin1")]);
  }

  at(...parts: readonly string[]): string {
    return join(this.path, ...parts);
  }

  plant(name: string, tree: Tree): string {
    const root = this.at(name);
    plantOnDisk(root, tree);
    return root;
  }

  [Symbol.dispose](): void {
    // rm walks by descriptors: it removes what lies below PATH_MAX and what has odd names.
    const removed = Bun.spawnSync(["rm", "-rf", this.path]).exitCode === 0;
    // Whoever is not root may have to open first what a test has closed.
    if (!removed) run("sh", "-c", 'chmod -R u+rwX "$1"; rm -rf "$1"', "sh", this.path);
  }
}

/** Runs a program that has to succeed, and gives back what it printed. */
export function run(...command: readonly string[]): string {
  const { stdout, stderr, exitCode } = Bun.spawnSync([...command], {
    env: { ...process.env, LC_ALL: "C" },
  });
  if (exitCode !== 0) throw new Error(`${command[0]}: ${stderr.toString()}`);
  return stdout.toString();
}

let planted = 0;

/**
 * When the files of one planting were written: a while ago, and at no other planting's moment. By their own
 * clocks two trees have the same times where a file system counts by the kernel's tick.
 */
function timeOfPlanting(): Date {
  planted = Math.max(planted + 10, Date.now() - 60_000);
  return new Date(planted);
}

export function plantOnDisk(root: string, tree: Tree): void {
  const time = timeOfPlanting();
  mkdirSync(root, { recursive: true });
  for (const [name, plant] of Object.entries(tree)) {
    const path = join(root, name);
    if (name.endsWith("/")) {
      mkdirSync(path, { recursive: true });
      continue;
    }
    mkdirSync(dirname(path), { recursive: true });
    if (typeof plant === "string" || plant instanceof Uint8Array) {
      writeFileSync(path, plant);
      utimesSync(path, time, time);
      continue;
    }
    switch (plant.kind) {
      case "directory":
        mkdirSync(path);
        break;
      case "link":
        symlinkSync(plant.target, path);
        break;
      case "hard":
        linkSync(join(root, plant.target), path);
        break;
      case "pipe":
        run("mkfifo", path);
        break;
      case "device":
        run("mknod", path, "c", ...plant.numbers.map(String));
        break;
    }
  }
}

let named = 0;

/** Where the same tree can be planted: tests run on every ground that can hold what they need. */
export interface Ground {
  readonly name: string;
  plant(tree: Tree): Promise<string>;
}

/** Trees on disk and trees in memory. The latter hold files and the directories above them. */
export function groundsIn(scratch: () => Scratch): { file: Ground; memory: Ground } {
  return {
    file: {
      name: "file",
      plant: async (tree) => scratch().plant(`tree-${named++}`, tree),
    },
    memory: {
      name: "memory",
      plant: async (tree) => {
        const location = `memory:compared-${named++}`;
        await using store = new Store(location);
        // The tree is there even when nothing is in it.
        await store.write("made", "");
        for (const [name, plant] of Object.entries(tree)) {
          if (typeof plant !== "string" && !(plant instanceof Uint8Array) && !name.endsWith("/"))
            throw new Error("a tree in memory holds files and directories only");
          const path = name.endsWith("/") ? `${name}made` : name;
          await store.write(path, name.endsWith("/") ? "" : (plant as string | Uint8Array));
          if (path !== name) await store.remove(path);
        }
        await store.remove("made");
        return location;
      },
    },
  };
}

/**
 * A chain of directories, deeper than any path may be long. No call names more than one piece of it: the lowest piece
 * is made first and moved to the end of the next one.
 */
export function plantDeep(root: string, name: string, depth: number, leaf: Tree): void {
  mkdirSync(root, { recursive: true });
  const pieceDepth = Math.max(1, Math.floor(2000 / (Buffer.byteLength(name) + 1)));
  let below = join(root, ".below");
  plantOnDisk(below, leaf);
  for (let left = depth; left > 0;) {
    const levels = Math.min(left, pieceDepth);
    const top = join(root, ".piece");
    const path = join(top, ...Array.from({ length: levels }, () => name));
    mkdirSync(path, { recursive: true });
    // An empty directory may be replaced, and the last level of the piece is one.
    rmdirSync(path);
    renameSync(below, path);
    renameSync(top, join(root, ".below"));
    below = join(root, ".below");
    left -= levels;
  }
  run("sh", "-c", `cd "$1" && mv .below/* . && rmdir .below`, "sh", root);
}

// ── Random trees ──

/** Small and quick, and the same numbers for a seed everywhere (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A whole number from 0 up to, not including, `below`. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  }

  chance(of: number): boolean {
    return this.below(of) === 0;
  }

  pick<T>(from: readonly T[]): T {
    const found = from[this.below(from.length)];
    if (found === undefined) throw new Error("nothing to pick from");
    return found;
  }

  bytes(size: number): Uint8Array {
    const bytes = new Uint8Array(size);
    for (let i = 0; i < size; i++) bytes[i] = this.below(256);
    return bytes;
  }
}

// The engine's first read is 256 KiB and later ones 128 KiB: what may go wrong there goes wrong beside these sizes.
const edges = [128, 256, 384].map((kibibytes) => kibibytes * 1024);

function randomContent(random: Random): Uint8Array {
  if (random.chance(6)) return new Uint8Array();
  if (!random.chance(60)) return random.bytes(1 + random.below(random.chance(4) ? 9000 : 40));
  // Bytes of a large file need not all be random.
  const large = new Uint8Array(random.pick(edges) - 1 + random.below(3)).fill(random.below(256));
  for (let i = 0; i < 8; i++) large[random.below(large.length)] = random.below(256);
  return large;
}

const letters = "abcdefgABC012_-.";

function randomName(random: Random): string {
  let name = "";
  for (let i = 1 + random.below(6); i > 0; i--) name += letters[random.below(letters.length)];
  return name === "." || name === ".." || name.startsWith("-") ? `x${name}x` : name;
}

/** A tree as it is in a test's head: changed freely, then planted. */
export type Grown = Map<string, Plant>;

function grow(random: Random, into: Grown, above: string, depth: number): void {
  for (let i = random.below(depth === 0 ? 9 : 5); i > 0; i--) {
    const path = above + randomName(random);
    if (into.has(path)) continue;
    const kind = random.below(10);
    if (kind < 3 && depth < 4) {
      into.set(path, directory);
      grow(random, into, `${path}/`, depth + 1);
    } else if (kind === 3) {
      into.set(path, link(random.pick(["nowhere", ".", "..", randomName(random)])));
    } else {
      into.set(path, randomContent(random));
    }
  }
}

export function randomTree(random: Random): Grown {
  const tree: Grown = new Map();
  grow(random, tree, "", 0);
  return tree;
}

function without(tree: Grown, path: string): void {
  for (const name of tree.keys())
    if (name === path || name.startsWith(`${path}/`)) tree.delete(name);
}

/** A copy with a few things done to it. */
export function mutated(random: Random, tree: Grown): Grown {
  const copy: Grown = new Map(tree);
  for (let i = random.below(5); i > 0 && copy.size > 0; i--) {
    const path = random.pick([...copy.keys()]);
    const plant = copy.get(path);
    const isFile = plant instanceof Uint8Array;
    switch (random.below(6)) {
      case 0:
        without(copy, path);
        break;
      case 1: // something new beside it
        copy.set(`${path}-new`, random.chance(3) ? directory : randomContent(random));
        break;
      case 2: // of another type
        without(copy, path);
        copy.set(path, random.pick([directory, link("elsewhere"), random.bytes(3)]));
        break;
      case 3: // one byte
        if (isFile && plant.length > 0) {
          const changed = plant.slice();
          const at = random.below(changed.length);
          changed[at] = (changed[at] ?? 0) ^ (1 + random.below(255));
          copy.set(path, changed);
        }
        break;
      case 4: // its length
        if (isFile)
          copy.set(
            path,
            random.chance(2)
              ? plant.slice(0, plant.length >> 1)
              : Buffer.concat([plant, plant, Buffer.from("x")]),
          );
        break;
      default: // another place
        if (isFile) {
          copy.delete(path);
          copy.set(`${randomName(random)}-moved`, plant);
        }
    }
  }
  return copy;
}

/** Entries in an order in which they can be made: what is above comes first. */
export function asTree(grown: Grown): Tree {
  return Object.fromEntries([...grown].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
