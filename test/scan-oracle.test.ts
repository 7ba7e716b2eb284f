// Random trees and patterns over tiny alphabets: copse says what a plain recursive matcher says. A short
// form runs with the other tests; COPSE_ORACLE=10000 asks for that many trees, COPSE_SEED for those of a seed.

import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { samePattern, scan, scanSync, type Match, type ScanResult } from "../lib/index.ts";
import { isSanitized, patience, someSeed } from "./patience.ts";
import { expected, pathsOf, randomModel, randomPattern } from "./scan-oracle.ts";
import { Random, Scratch } from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const trees = Number(process.env["COPSE_ORACLE"] ?? (isSanitized ? 60 : 300));
const firstSeed = someSeed(1_000_000_000);
patience(60_000 + trees * 200);

const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

describe("oracle:", () => {
  test(`${trees} random trees with random patterns: the matches are those of a plain matcher`, async () => {
    let found = 0;
    let misses = 0;
    for (let i = 0; i < trees; i++) {
      const seed = firstSeed + i;
      const random = new Random(seed);
      const model = randomModel(random);
      const root = scratch.at(random.pick(["a", "ab", "b", "aa"]));
      mkdirSync(root);
      for (const path of pathsOf(model))
        if (path.endsWith("/")) mkdirSync(join(root, path));
        else writeFileSync(join(root, path), "");
      const patterns = Array.from({ length: 1 + random.below(4) }, () => randomPattern(random));
      // Equal patterns are one.
      const asked = patterns.filter(
        (one, at) => patterns.findIndex((other) => samePattern(one, other)) === at,
      );
      const facts = (matches: readonly Match[]): string[] =>
        matches.map(({ path, pattern }) => `${path}|${asked.indexOf(pattern)}`);
      try {
        const wanted = expected(model, basename(root), asked);
        const explain = random.chance(2);
        const whole = scanSync(root, asked, { explain, concurrency: random.pick([1, 2, 8]) });
        expect(facts(whole)).toEqual(wanted);
        expect(whole.complete).toBe(true);
        const awaited: ScanResult = await scan(root, asked, { explain });
        expect(facts(awaited)).toEqual(wanted);
        expect(awaited.nearMisses).toEqual(whole.nearMisses);
        const rows: string[] = [];
        for await (const row of scan(root, asked))
          if (row.kind === "match") rows.push(...facts([row]));
        expect(rows.toSorted()).toEqual(wanted.toSorted());
        for (const miss of whole.nearMisses) {
          expect(wanted).not.toContain(`${miss.path}|${asked.indexOf(miss.pattern)}`);
          expect(miss.distance).toBeGreaterThan(0);
          expect(miss.missing.length).toBeGreaterThan(0);
        }
        found += wanted.length;
        misses += whole.nearMisses.length;
      } catch (error) {
        throw new Error(`the tree of COPSE_SEED=${seed} COPSE_ORACLE=1 fails`, { cause: error });
      } finally {
        rmSync(root, { recursive: true });
      }
      if ((i + 1) % 1000 === 0) console.log(`scan oracle: ${i + 1} trees`);
    }
    console.log(
      `scan oracle: ${trees} trees from seed ${firstSeed}, ${found} matches, ${misses} near misses, 0 disagreements`,
    );
    // Of a few trees by chance only some match; of many, more than one a tree.
    if (trees >= 40) expect(found).toBeGreaterThan(trees >= 300 ? trees : trees / 4);
  });
});
