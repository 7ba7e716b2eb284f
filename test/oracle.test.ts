// Random pairs of trees, compared by copse in every way it has and by diff, cmp and find, which were written by others. A short
// form runs with the other tests; COPSE_ORACLE=10000 asks for that many pairs, COPSE_SEED for the pairs of a seed.

import { afterAll, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { compareSync, type Comparison, type CompareOptions } from "../lib/index.ts";
import { isSanitized, patience, someSeed } from "./patience.ts";
import {
  asTree,
  type Grown,
  mutated,
  plantOnDisk,
  quickFolder,
  Random,
  randomTree,
  Scratch,
} from "./trees.ts";
import { awaited, fact, facts, iterated, leaveNothingOpen, sync } from "./ways.ts";

leaveNothingOpen();
const pairs = Number(process.env["COPSE_ORACLE"] ?? (isSanitized ? 40 : 300));
const firstSeed = someSeed(1_000_000_000);
// A pair takes some fifteen milliseconds, most of it for the other programs.
patience(60_000 + pairs * 200);

// Many on a disk, where names come in another order; a few need not wait for one.
const scratch = new Scratch(pairs > 300 ? tmpdir() : quickFolder(1000));
afterAll(() => scratch[Symbol.dispose]());

/** What copse and the other programs are asked to agree on. */
interface Facts {
  readonly onlyLeft: readonly string[];
  readonly onlyRight: readonly string[];
  /** Of another type on each side. */
  readonly types: readonly string[];
  /** Links with another target. */
  readonly targets: readonly string[];
  /** Files of unequal size. */
  readonly sizes: readonly string[];
  /** Files of equal size, with the first byte that differs. */
  readonly contents: readonly string[];
}

function ours({ differences }: Comparison, root: "left" | "right" = "left"): Facts {
  const paths = (wanted: string): string[] =>
    differences.flatMap((row) =>
      row.kind === wanted || (row.kind === "differs" && row.reason === wanted) ? [row.path] : [],
    );
  const contents = differences.flatMap((row) =>
    row.kind === "differs" && row.reason === "content" ? [`${row.path} ${row.offset}`] : [],
  );
  const [onlyLeft, onlyRight] = [paths("only-left"), paths("only-right")];
  return {
    onlyLeft: root === "left" ? onlyLeft : onlyRight,
    onlyRight: root === "left" ? onlyRight : onlyLeft,
    types: paths("type"),
    targets: paths("target"),
    sizes: paths("size"),
    contents,
  };
}

// In one shell, because starting programs is what takes the time here: what diff says of the trees, then what cmp says of
// each file that is on both sides, then the entries of each side.
const asked = `cd "$1" || exit 3
diff -rq --no-dereference left right
printf '%s\\n' ---
shift
for path; do cmp "left/$path" "right/$path" 2>&1; done
printf '%s\\n' ---
find left -mindepth 1 -printf '%P\\n'
printf '%s\\n' ---
find right -mindepth 1 -printf '%P\\n'`;

const sorted = (paths: readonly string[]): string[] =>
  paths.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));

function theirs(root: string, left: Grown, right: Grown): Facts {
  const common = [...left].flatMap(([path, plant]) =>
    plant instanceof Uint8Array && right.get(path) instanceof Uint8Array ? [path] : [],
  );
  const { stdout, stderr } = Bun.spawnSync(["sh", "-c", asked, "sh", root, ...common], {
    env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C" },
  });
  expect(stderr.toString()).toBe("");
  const [diff = [], cmp = [], inLeft = [], inRight = []] = stdout
    .toString()
    .split(/^---\n/m)
    .map((part) => part.split("\n").filter((line) => line !== ""));
  const only: Record<string, string[]> = { left: [], right: [] };
  const [types, targets, changed]: [string[], string[], Set<string>] = [[], [], new Set()];
  for (const line of diff) {
    const alone = /^Only in (left|right)(?:\/(.*))?: (.*)$/.exec(line);
    const file = /^Files left\/(.*) and right\/.* differ$/.exec(line);
    const link = /^Symbolic links left\/(.*) and right\/.* differ$/.exec(line);
    const type = /^File left\/(.*) is a .* while file right\/.* is a .*$/.exec(line);
    if (alone) {
      const [, side = "", above, name = ""] = alone;
      const path = above === undefined ? name : `${above}/${name}`;
      // diff says nothing of what is below a directory that is alone; find does.
      const below = (side === "left" ? inLeft : inRight).filter((entry) =>
        entry.startsWith(`${path}/`),
      );
      only[side]?.push(path, ...below);
    } else if (file) changed.add(file[1] ?? "");
    else if (link) targets.push(link[1] ?? "");
    else if (type) types.push(type[1] ?? "");
    else throw new Error(`diff says what is not understood: ${line}`);
  }
  const [sizes, contents]: [string[], string[]] = [[], []];
  for (const line of cmp) {
    const differs = /^left\/(.*) right\/.* differ: (?:byte|char) (\d+), line \d+$/.exec(line);
    const ended = /^cmp: EOF on (?:left|right)\/(.*?)(?: after byte \d+.*| which is empty)$/.exec(
      line,
    );
    const path = (differs ?? ended)?.[1];
    if (path === undefined) throw new Error(`cmp says what is not understood: ${line}`);
    expect(changed.delete(path)).toBe(true); // diff saw it too
    const [one, other] = [left.get(path), right.get(path)];
    if (one instanceof Uint8Array && other instanceof Uint8Array && one.length !== other.length)
      sizes.push(path);
    else contents.push(`${path} ${Number(differs?.[2]) - 1}`);
  }
  expect(changed.size).toBe(0); // and cmp what diff saw
  return {
    onlyLeft: sorted(only["left"] ?? []),
    onlyRight: sorted(only["right"] ?? []),
    types: sorted(types),
    targets: sorted(targets),
    sizes: sorted(sizes),
    contents: sorted(contents),
  };
}

const chunks = [511, 4096, 65_536, 100_000] as const;

/** One pair: copse against the others, and copse against itself asked in other ways. */
async function check(seed: number): Promise<boolean> {
  const random = new Random(seed);
  const left = randomTree(random);
  const right = random.chance(12) ? randomTree(random) : mutated(random, left);
  const root = scratch.at("pair");
  plantOnDisk(`${root}/left`, asTree(left));
  plantOnDisk(`${root}/right`, asTree(right));
  const [l, r] = [`${root}/left`, `${root}/right`];
  try {
    const answer = compareSync(l, r);
    const says = facts(answer);
    expect(ours(answer)).toEqual(theirs(root, left, right));
    expect(answer.complete).toBe(true);
    for (const way of [sync, awaited, iterated]) {
      const options: CompareOptions = {
        concurrency: random.pick([1, 2, 8]),
        ...(random.chance(2) ? {} : { chunkSize: random.pick(chunks) }),
      };
      expect(facts(await way.compare(l, r, options))).toEqual(says);
    }
    const swapped = await awaited.compare(r, l);
    expect(ours(swapped, "right")).toEqual(ours(answer));
    const hashed = await awaited.compare(l, r, { by: "hash" });
    expect(hashed.differences.map((row) => `${row.kind} ${row.path}`)).toEqual(
      answer.differences.map((row) => `${row.kind} ${row.path}`),
    );
    const first = await awaited.compare(l, r, { stopAtFirst: true });
    expect(first.equal).toBe(answer.equal);
    expect(first.differences).toHaveLength(answer.equal ? 0 : 1);
    // What moved was one-sided before, once on each side; nothing else changes.
    const moved = await awaited.compare(l, r, { moves: true });
    const unmoved = moved.differences.flatMap((row) =>
      row.kind === "moved"
        ? [`only-left file ${row.from}`, `only-right file ${row.path}`]
        : [fact(row)],
    );
    expect(unmoved.toSorted()).toEqual(says.toSorted());
    expect(moved.equal).toBe(answer.equal);
    return answer.equal;
  } catch (error) {
    throw new Error(`the pair of COPSE_SEED=${seed} COPSE_ORACLE=1 fails`, { cause: error });
  } finally {
    rmSync(root, { recursive: true });
  }
}

describe("oracle:", () => {
  test(`${pairs} random pairs of trees: copse says what diff -r and cmp say`, async () => {
    let equal = 0;
    for (let i = 0; i < pairs; i++) {
      equal += (await check(firstSeed + i)) ? 1 : 0;
      if ((i + 1) % 1000 === 0) console.log(`oracle: ${i + 1} pairs`);
    }
    console.log(
      `oracle: ${pairs} pairs from seed ${firstSeed}, ${equal} of them equal, 0 disagreements`,
    );
    // Both answers have to occur, or nothing was tested.
    if (pairs >= 40) expect(equal).toBeGreaterThan(0);
    expect(equal).toBeLessThan(Math.max(2, pairs));
  });

  test("the oracle itself notices a wrong answer", () => {
    // The parsers are right about a pair that has one of everything.
    const made = (
      entries: Readonly<
        Record<string, string | { kind: "link"; target: string } | { kind: "directory" }>
      >,
    ): Grown =>
      new Map(
        Object.entries(entries).map(([path, plant]) => [
          path,
          typeof plant === "string" ? Buffer.from(plant) : plant,
        ]),
      );
    const directory = { kind: "directory" } as const;
    const left = made({
      a: "1",
      d: directory,
      "d/e": directory,
      "d/e/f": "x",
      l: { kind: "link", target: "a" },
      s: "12",
      t: "t",
      empty: "",
      c: "abc",
    });
    const right = made({
      a: "1",
      b: "1",
      l: { kind: "link", target: "b" },
      s: "123",
      t: directory,
      empty: "x",
      c: "abd",
    });
    const root = scratch.at("known");
    plantOnDisk(`${root}/left`, asTree(left));
    plantOnDisk(`${root}/right`, asTree(right));
    const expected: Facts = {
      onlyLeft: ["d", "d/e", "d/e/f"],
      onlyRight: ["b"],
      types: ["t"],
      targets: ["l"],
      sizes: ["empty", "s"],
      contents: ["c 2"],
    };
    expect(theirs(root, left, right)).toEqual(expected);
    expect(ours(compareSync(`${root}/left`, `${root}/right`))).toEqual(expected);
  });
});
