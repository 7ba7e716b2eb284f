// compare: what is refused before any work (compare.md 1.2), and what a limit leaves out (2.21).

import { afterAll, describe, expect, test } from "bun:test";
import { CopseError, type CompareOptions } from "../lib/index.ts";
import { groundsIn, Scratch, type Tree } from "./trees.ts";
import { codeOf, facts, leaveNothingOpen, ways } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);
const grounds = [memory, file];

describe("compare.md 1.2, refused before any work:", () => {
  const nonsense: readonly [string, object][] = [
    ["chunkSize", { chunkSize: 0 }],
    ["chunkSize", { chunkSize: 2 ** 30 + 1 }],
    ["chunkSize", { chunkSize: -1 }],
    ["chunkSize", { chunkSize: 1.5 }],
    ["chunkSize", { chunkSize: NaN }],
    ["chunkSize", { chunkSize: "64k" }],
    ["concurrency", { concurrency: -1 }],
    ["concurrency", { concurrency: 257 }],
    ["concurrency", { concurrency: 0.5 }],
    ["timeout", { timeout: 0 }],
    ["timeout", { timeout: -1 }],
    ["timeout", { timeout: NaN }],
    ["timeout", { timeout: null }],
    ["limits", { limits: { entries: 0 } }],
    ["limits", { limits: { entries: -5 } }],
    ["limits", { limits: { entries: null } }],
    ["limits", { limits: { entires: 5 } }],
    ["limits", { limits: null }],
    ["links", { links: "chase" }],
    ["by", { by: "guess" }],
    ["priority", { priority: "urgent" }],
    ["metadata", { metadata: ["colour"] }],
    ["metadata", { metadata: "mode" }],
    ["include", { include: "*.ts" }],
    ["include", { include: [""] }],
    ["exclude", { exclude: [3] }],
    ["exclude", { exclude: ["a\0b"] }],
    ["stopAtFirst", { stopAtFirst: 1 }],
    ["moves", { moves: "yes" }],
    ["sample", { sample: null }],
    ["sizeCheck", { sizeCheck: 0 }],
    ["emptyDirectories", { emptyDirectories: "no" }],
    ["text", { text: {} }],
    ["text", { text: { eol: true }, by: "hash" }],
    ["signal", { signal: {} }],
    ["runtime", { runtime: {} }],
    ["onProgress", { onProgress: true }],
    ["chunksize", { chunksize: 4096 }],
    ["__proto__x", { __proto__x: 1 }],
  ];

  for (const [option, options] of nonsense)
    test(`${option} of ${Bun.inspect(Object.values(options)[0], { compact: true })} is ARGUMENT, naming it`, async () => {
      const missing = scratch.at("nothing-was-looked-at");
      for (const way of ways) {
        // Promise.resolve().then: whether it throws or rejects is each form's own affair.
        const error = await Promise.resolve()
          .then(() => way.compare(missing, missing, options))
          .catch((error: unknown) => error);
        expect(error).toBeInstanceOf(CopseError);
        expect(error).toMatchObject({ code: "ARGUMENT", message: expect.stringContaining(option) });
      }
    });

  test("a glob that is none is ARGUMENT", async () => {
    const root = await memory.plant({ a: "1" });
    const other = await memory.plant({ a: "1" });
    for (const way of ways)
      for (const glob of ["[a", "{a,b", "a\\"])
        for (const options of [{ include: [glob] }, { exclude: [glob] }])
          expect(
            await codeOf(Promise.resolve().then(() => way.compare(root, other, options))),
          ).toBe("ARGUMENT");
  });

  test("undefined is as if the option were not there", async () => {
    const [l, r] = [await memory.plant({ a: "1" }), await memory.plant({ a: "2" })];
    const options = {
      chunkSize: undefined,
      timeout: undefined,
      limits: undefined,
      include: undefined,
      signal: undefined,
    } as unknown as CompareOptions;
    for (const way of ways)
      expect(facts(await way.compare(l, r, options))).toEqual(["differs content@0 a"]);
  });
});

describe("compare.md 2.21:", () => {
  const tree: Tree = { a: "1", "b/c": "2", "b/d/e": "3" };

  test("Infinity is no limit", async () => {
    const limits = {
      entries: Infinity,
      bytes: Infinity,
      ratio: Infinity,
      depth: Infinity,
      pathLength: Infinity,
      nested: Infinity,
    };
    for (const ground of grounds) {
      const [l, r] = [await ground.plant(tree), await ground.plant(tree)];
      for (const way of ways)
        expect(facts(await way.compare(l, r, { limits, timeout: Infinity }))).toEqual([]);
    }
  });

  test("limits.entries: as many in each tree are fine, one more is LIMIT, and it is never equal", async () => {
    for (const ground of grounds) {
      const [l, r] = [await ground.plant(tree), await ground.plant(tree)];
      for (const way of ways) {
        expect(facts(await way.compare(l, r, { limits: { entries: 5 } }))).toEqual([]);
        const answer = await way.compare(l, r, { limits: { entries: 4 } });
        expect(answer).toMatchObject({ equal: false, complete: false });
        for (const row of answer.differences)
          expect(row).toMatchObject({
            kind: "error",
            error: { code: "LIMIT", message: expect.stringContaining("4") },
          });
        // The root itself holds too many: there is nothing to say but that.
        expect(await codeOf(way.compare(l, r, { limits: { entries: 1 } }))).toBe("LIMIT");
      }
    }
  });

  test("limits.depth and limits.pathLength: what is beyond is a LIMIT row, the rest goes on", async () => {
    for (const ground of grounds) {
      const [l, r] = [await ground.plant(tree), await ground.plant({ ...tree, a: "9" })];
      for (const way of ways) {
        expect(facts(await way.compare(l, r, { limits: { depth: 2 } }))).toEqual([
          "differs content@0 a",
        ]);
        expect(facts(await way.compare(l, r, { limits: { depth: 1 } }))).toEqual([
          "differs content@0 a",
          "error LIMIT b/d",
        ]);
        expect(facts(await way.compare(l, r, { limits: { pathLength: 5 } }))).toEqual([
          "differs content@0 a",
        ]);
        expect(facts(await way.compare(l, r, { limits: { pathLength: 4 } }))).toEqual([
          "differs content@0 a",
          "error LIMIT b/d/e",
        ]);
        expect(facts(await way.compare(l, r, { limits: { pathLength: 2 } }))).toEqual([
          "differs content@0 a",
          "error LIMIT b/c",
          "error LIMIT b/d",
        ]);
      }
    }
  });
});
