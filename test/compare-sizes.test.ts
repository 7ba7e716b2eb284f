// compare: files above 2^31 and 2^32, sparse files, and large files read by several workers (compare.md section 2 "also
// required", 1.5, 4.1, 4.3). The files are sparse: they cost no room on the disk.

import { afterAll, describe, expect, test } from "bun:test";
import { closeSync, ftruncateSync, mkdirSync, openSync, statSync, writeSync } from "node:fs";
import { isSanitized } from "./patience.ts";
import { groundsIn, Random, run, Scratch } from "./trees.ts";
import { facts, leaveNothingOpen, ways } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);

const gibi = 2 ** 30;
const mega = 2 ** 20;

/** Pieces of data at offsets, a hole everywhere else. */
type Pieces = readonly (readonly [number, string | Uint8Array])[];

function sparse(root: string, name: string, size: number, pieces: Pieces): string {
  mkdirSync(root, { recursive: true });
  const fd = openSync(`${root}/${name}`, "w");
  for (const [at, data] of pieces) {
    const bytes = Buffer.from(data);
    writeSync(fd, bytes, 0, bytes.length, at);
  }
  ftruncateSync(fd, size);
  closeSync(fd);
  return `${root}/${name}`;
}

let made = 0;
function sparsePair(size: number, left: Pieces, right: Pieces, rightSize = size): [string, string] {
  const root = scratch.at(`sparse-${made++}`);
  return [sparse(`${root}/left`, "f", size, left), sparse(`${root}/right`, "f", rightSize, right)];
}

const probe = sparse(scratch.path, "probe", 64 * mega, [[0, "x"]]);
const holes = statSync(probe).blocks * 512 < mega;
if (!holes) console.log("skipped: sparse files, because this file system makes none");

describe.skipIf(!holes)("compare.md 2, sizes above 2^31 and 2^32:", () => {
  const offsets = [
    ["the first byte", 0],
    ["2^31 - 1", 2 ** 31 - 1],
    ["2^31", 2 ** 31],
    ["2^32 - 1", 2 ** 32 - 1],
    ["2^32", 2 ** 32],
    ["2^32 + 12345", 2 ** 32 + 12_345],
    ["the last byte", 5 * gibi - 1],
  ] as const;

  for (const [what, at] of offsets)
    test(`a difference at ${what} of a 5 GiB file is found, with its exact offset`, async () => {
      const [left, right] = sparsePair(5 * gibi, [[at, "x"]], [[at, "y"]]);
      const [, hole] = sparsePair(5 * gibi, [], []);
      for (const way of ways)
        for (const other of [right, hole]) {
          const answer = await way.compare(left, other);
          expect(facts(answer)).toEqual([`differs content@${at} `]);
          const [row] = answer.differences;
          expect(row).toMatchObject({ left: { size: 5 * gibi }, right: { size: 5 * gibi } });
        }
    });

  test("sizes that differ by 2^32, whose low 32 bits agree, differ", async () => {
    const [left, right] = sparsePair(5 * gibi, [[0, "x"]], [[0, "x"]], gibi);
    for (const way of ways) {
      const answer = await way.compare(left, right);
      expect(facts(answer)).toEqual(["differs size "]);
      expect(answer.differences).toMatchObject([
        { left: { size: 5 * gibi }, right: { size: gibi } },
      ]);
    }
  });

  test("equal ones are equal, and holes are not read", async () => {
    const pieces: Pieces = [
      [0, "begin"],
      [3 * gibi, Buffer.alloc(mega, 7)],
      [2 ** 32 + 5, "beyond"],
      [5 * gibi - 3, "end"],
    ];
    const [left, right] = sparsePair(5 * gibi, pieces, pieces);
    for (const way of ways)
      for (const options of [{}, { stopAtFirst: true }, { concurrency: 1 }, { chunkSize: 1000 }]) {
        const answer = await way.compare(left, right, options);
        expect(facts(answer)).toEqual([]);
        expect(answer.bytes).toBeLessThan(32 * mega);
      }
  });
});

describe.skipIf(!holes)("compare.md 4.3, holes are never a difference:", () => {
  const zeros = Buffer.alloc(mega);

  test("a hole against written zeros is equal, either way round", async () => {
    const [left, right] = sparsePair(
      40 * mega,
      [
        [0, "x"],
        [39 * mega, "y"],
      ],
      [
        [0, "x"],
        [5 * mega, zeros],
        [20 * mega, zeros],
        [39 * mega, "y"],
      ],
    );
    for (const way of ways) {
      expect(facts(await way.compare(left, right))).toEqual([]);
      expect(facts(await way.compare(right, left))).toEqual([]);
    }
  });

  test("a hole against data differs at the first byte that is not zero, either way round", async () => {
    const data = Buffer.from(zeros);
    data[777_777] = 1;
    for (const size of [12 * mega, 40 * mega]) {
      const [left, right] = sparsePair(
        size,
        [[0, "x"]],
        [
          [0, "x"],
          [6 * mega, data],
        ],
      );
      for (const way of ways) {
        expect(facts(await way.compare(left, right))).toEqual([
          `differs content@${6 * mega + 777_777} `,
        ]);
        expect(facts(await way.compare(right, left))).toEqual([
          `differs content@${6 * mega + 777_777} `,
        ]);
      }
    }
  });

  test("files that are one hole are equal when their size is", async () => {
    const [left, right] = sparsePair(3 * gibi, [], []);
    const [shorter] = sparsePair(3 * gibi - 1, [], []);
    for (const way of ways) {
      const answer = await way.compare(left, right);
      expect(facts(answer)).toEqual([]);
      expect(answer.bytes).toBeLessThan(mega);
      expect(facts(await way.compare(left, shorter))).toEqual(["differs size "]);
    }
  });

  test("without sizeCheck, holes at the end of files of different size are a difference at the end of the shorter", async () => {
    for (const [long, short] of [
      [8 * mega, 4 * mega],
      [8 * mega, 300_000],
      [40 * mega, 30 * mega],
    ] as const) {
      const [left, right] = sparsePair(long, [[0, "x"]], [[0, "x"]], short);
      const [written] = sparsePair(
        long,
        [
          [0, "x"],
          [long - mega, zeros],
        ],
        [],
      );
      for (const way of ways)
        for (const longer of [left, written]) {
          expect(facts(await way.compare(longer, right, { sizeCheck: false }))).toEqual([
            `differs content@${short} `,
          ]);
          expect(facts(await way.compare(right, longer, { sizeCheck: false }))).toEqual([
            `differs content@${short} `,
          ]);
        }
    }
  });

  test("random pieces and holes give the answer of cmp", async () => {
    const random = new Random(4711);
    for (let i = isSanitized ? 5 : 40; i > 0; i--) {
      const size = 300_000 + random.below(30 * mega);
      const pieces = (count: number): [number, Uint8Array][] =>
        Array.from({ length: count }, () => {
          const length = 1 + random.below(200_000);
          return [
            random.below(Math.max(1, size - length)),
            random.chance(2) ? Buffer.alloc(length) : Buffer.alloc(length, 1 + random.below(3)),
          ];
        });
      const shared = pieces(random.below(6));
      const [left, right] = sparsePair(
        size,
        [...shared, ...pieces(random.below(3))],
        [...shared, ...pieces(random.below(3))],
      );
      const { stdout } = Bun.spawnSync(["cmp", left, right], { env: { LC_ALL: "C" } });
      const at = / (?:byte|char) (\d+)/.exec(stdout.toString())?.[1];
      const says = at === undefined ? [] : [`differs content@${Number(at) - 1} `];
      for (const way of ways) {
        expect(facts(await way.compare(left, right))).toEqual(says);
        expect(
          facts(await way.compare(left, right, { concurrency: 1, chunkSize: 50_000 })),
        ).toEqual(says);
      }
      run("rm", left, right);
    }
  });

  test("metadata and links work beside sparse files in a tree", async () => {
    const root = scratch.at("sparse-tree");
    for (const side of ["left", "right"]) {
      sparse(`${root}/${side}/d`, "big", 2 * gibi, [[gibi, "same"]]);
      run("chmod", side === "left" ? "600" : "640", `${root}/${side}/d/big`);
    }
    for (const way of ways) {
      expect(facts(await way.compare(`${root}/left`, `${root}/right`))).toEqual([]);
      expect(
        facts(await way.compare(`${root}/left`, `${root}/right`, { metadata: ["mode"] })),
      ).toEqual(["differs mode d/big"]);
    }
  });
});

describe("compare.md 4.1, large files read by several workers:", () => {
  const size = isSanitized ? 20 * mega : 70 * mega;
  const content = Buffer.alloc(size);
  const random = new Random(99);
  for (let i = 0; i < 5000; i++) content[random.below(size)] = random.below(256);
  const changed = (...places: readonly number[]): Uint8Array => {
    const copy = Buffer.from(content);
    for (const at of places) copy[at] = (copy[at] ?? 0) ^ 255;
    return copy;
  };

  test("the offset is the first difference, whatever the workers do", async () => {
    const block = 8 * mega;
    const places: readonly (readonly number[])[] = [
      [size - 1],
      [block, size - 1],
      [block - 1, block],
      [2 * block + 5, block + 5, size - 2],
      [300_000, 2 * block],
      [size >> 1, (size >> 1) + 1],
    ];
    for (const ground of [file, memory]) {
      const left = await ground.plant({ f: content });
      for (const at of places) {
        const right = await ground.plant({ f: changed(...at) });
        for (const way of ways)
          for (const concurrency of [0, 1, 2])
            expect(facts(await way.compare(left, right, { concurrency }))).toEqual([
              `differs content@${Math.min(...at)} f`,
            ]);
      }
    }
  });

  test("several large pairs at once, equal and not", async () => {
    const left = await file.plant({ a: content, b: content, "d/c": content, e: content });
    const right = await file.plant({
      a: content,
      b: changed(17 * mega),
      "d/c": changed(size - 1),
      e: content,
    });
    for (const way of ways) {
      const answer = await way.compare(left, right);
      expect(facts(answer)).toEqual([
        `differs content@${17 * mega} b`,
        `differs content@${size - 1} d/c`,
      ]);
      expect(answer.files).toBe(4);
      const first = await way.compare(left, right, { stopAtFirst: true });
      expect(facts(first)).toHaveLength(1);
    }
  });

  test("an equal pair counts all its bytes, one side", async () => {
    const [left, right] = [await file.plant({ f: content }), await memory.plant({ f: content })];
    for (const way of ways)
      expect(await way.compare(left, right)).toMatchObject({ equal: true, bytes: size, files: 1 });
  });

  test("a read that fails in the midst is an error, never equal", async () => {
    const [left, right] = [
      await file.plant({ f: content, g: "1" }),
      await file.plant({ f: content, g: "2" }),
    ];
    for (const way of ways)
      for (const read of [1, 2, 50, 150]) {
        const answer = await way.compare(`fault:read=${read},code=IO:${left}`, right, {
          exclude: ["g"],
        });
        expect(facts(answer)).toEqual(["error IO f"]);
        expect(answer).toMatchObject({ equal: false, complete: false });
      }
  });
});
