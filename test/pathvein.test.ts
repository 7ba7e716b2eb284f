// The same questions to PyPI's pathvein 0.9.0: matches of random trees, assess, and the text of patterns. Only
// run when COPSE_PATHVEIN names a Python that has it (python3 -m venv, pip install pathvein==0.9.0);
// COPSE_ORACLE says how many trees.

import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { assessSync, parsePattern, samePattern, scanSync, toPathveinJSON } from "../lib/index.ts";
import { patience, someSeed } from "./patience.ts";
import { pathsOf, randomModel, randomPattern } from "./scan-oracle.ts";
import { Random, Scratch } from "./trees.ts";

const python = process.env["COPSE_PATHVEIN"];
const trees = Number(process.env["COPSE_ORACLE"] ?? 100);
const firstSeed = someSeed(1_000_000_000);
patience(60_000 + trees * 500);
if (!python) console.log("skipped: pathvein, because COPSE_PATHVEIN names no Python");

const program = `
import json, sys
from pathlib import Path
from pathvein import FileStructurePattern, scan, assess
for line in sys.stdin:
    asked = json.loads(line)
    root = Path(asked["root"])
    patterns = [FileStructurePattern.from_json(text) for text in asked["patterns"]]
    number = lambda pattern: next(i for i, one in enumerate(patterns) if one == pattern)
    found = sorted([str(one.source), number(one.pattern)] for one in scan(root, patterns))
    above = [sorted([str(one.source), number(one.pattern)] for one in assess(Path(file), patterns))
             for file in asked["files"]]
    print(json.dumps({"found": found, "above": above, "texts": [one.to_json() for one in patterns]}))
`;

interface Said {
  readonly found: readonly (readonly [string, number])[];
  readonly above: readonly (readonly (readonly [string, number])[])[];
  readonly texts: readonly string[];
}

const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

describe.skipIf(!python)("pathvein 0.9.0", () => {
  test(`says the same of ${trees} random trees`, async () => {
    const child = Bun.spawn([python!, "-c", program], { stdin: "pipe", stderr: "inherit" });
    const asked = Array.from({ length: trees }, (_, i) => {
      const random = new Random(firstSeed + i);
      const model = randomModel(random);
      const root = scratch.at(String(i), random.pick(["a", "ab", "b"]));
      mkdirSync(root, { recursive: true });
      const paths = pathsOf(model);
      for (const path of paths)
        if (path.endsWith("/")) mkdirSync(join(root, path));
        else writeFileSync(join(root, path), "");
      const all = Array.from({ length: 1 + random.below(3) }, () => randomPattern(random, true));
      const patterns = all.filter(
        (one, at) => all.findIndex((other) => samePattern(one, other)) === at,
      );
      const files = paths.filter((path) => !path.endsWith("/")).slice(0, 3);
      return { root, patterns, files: files.map((path) => join(root, path)) };
    });
    for (const { root, patterns, files } of asked)
      child.stdin.write(
        `${JSON.stringify({ root, files, patterns: patterns.map(toPathveinJSON) })}\n`,
      );
    await child.stdin.end();
    const lines = (await child.stdout.text()).trim().split("\n");
    expect(lines).toHaveLength(trees);
    const sorted = (rows: readonly (readonly [string, number])[]): string[] =>
      rows.map(([path, at]) => `${path}|${at}`).toSorted();
    let [matches, assessed] = [0, 0];
    for (const [i, { root, patterns, files }] of asked.entries()) {
      const said = JSON.parse(lines[i]!) as Said; // as the program prints it
      const seed = `COPSE_SEED=${firstSeed + i} COPSE_ORACLE=1`;
      const ours = scanSync(root, patterns).map(({ path, pattern }): [string, number] => [
        join(root, path),
        patterns.indexOf(pattern),
      ]);
      expect([seed, sorted(ours)]).toEqual([seed, sorted(said.found)]);
      expect([seed, patterns.map(toPathveinJSON)]).toEqual([seed, [...said.texts]]);
      for (const text of said.texts) expect(toPathveinJSON(parsePattern(text))).toBe(text);
      matches += ours.length;
      for (const [k, file] of files.entries()) {
        // pathvein looks above the tree as well: what it finds there is not of this test.
        const above = said.above[k]!.filter(([path]) => path.startsWith(root));
        const rows = assessSync(file, patterns).map(({ location, pattern }): [string, number] => [
          String(location),
          patterns.indexOf(pattern),
        ]);
        const mine = rows.filter(([path]) => path.startsWith(root));
        expect([seed, file, sorted(mine)]).toEqual([seed, file, sorted(above)]);
        assessed += mine.length;
      }
    }
    console.log(
      `pathvein: ${trees} trees from seed ${firstSeed}, ${matches} matches, ${assessed} of assess, 0 disagreements`,
    );
  });
});
