// shuffle: copies of what belongs to matches; tests are named after the rows of the acceptance table.

import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, utimesSync } from "node:fs";
import {
  scanSync,
  shuffle,
  shuffleSync,
  type Match,
  type Pattern,
  type ShuffleOptions,
  type Transfer,
} from "../lib/index.ts";
import { Scratch } from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
let numbers = 0;

const subject: Pattern = {
  name: "s*",
  files: ["f"],
  optionalFiles: ["o*"],
  directories: [{ name: "d", files: ["x"], directories: [{ name: "e", files: ["y"] }] }],
  optionalDirectories: [{ name: "p?", files: ["z"] }],
};
const tree = {
  "s1/f": "f1",
  "s1/o1": "o",
  "s1/left": "out",
  "s1/d/x": "x",
  "s1/d/out": "out",
  "s1/d/e/y": "y",
  "s1/d/e/[odd]": "out",
  "s1/p1/z": "z",
  "s1/p2/other": "does not fit",
  "s1/q/z": "out",
  "t/s1/f": "f2",
  "t/s1/d/x": "x",
  "t/s1/d/e/y": "y2",
  "s2/f": "no d",
};
const files = (root: string): string[] =>
  readdirSync(root, { recursive: true, withFileTypes: true })
    .map((entry) =>
      `${entry.parentPath}/${entry.name}${entry.isDirectory() ? "/" : ""}`.slice(root.length + 1),
    )
    .toSorted();

interface Forms {
  (matches: readonly Match[], to: string, options?: ShuffleOptions): Promise<Transfer>;
}
const forms: Readonly<Record<string, Forms>> = {
  sync: async (matches, to, options) => shuffleSync(matches, to, options),
  async: async (matches, to, options) => await shuffle(matches, to, options),
};

for (const [form, run] of Object.entries(forms))
  describe(`shuffle, ${form}:`, () => {
    const planted = () => {
      const root = scratch.plant(`tree-${numbers++}`, tree);
      return { root, to: `${root}-to`, matches: [...scanSync(root, subject)] };
    };

    test("row 19 and 24: the selection, nested levels, mode and mtime", async () => {
      const { root, to, matches } = planted();
      chmodSync(`${root}/s1/d/e/y`, 0o640);
      utimesSync(`${root}/s1/d/e/y`, 1_000_000, 1_000_000);
      const done = await run(matches.slice(0, 1), to);
      expect(done.actions.filter(({ kind }) => kind === "error")).toEqual([]);
      expect(files(to)).toEqual([
        "s1/",
        "s1/d/",
        "s1/d/e/",
        "s1/d/e/y",
        "s1/d/x",
        "s1/f",
        "s1/o1",
        "s1/p1/",
        "s1/p1/z",
      ]);
      expect(done).toMatchObject({ complete: true, errors: 0, copied: 5 });
      const { mode, mtimeMs } = statSync(`${to}/s1/d/e/y`);
      expect([mode & 0o777, mtimeMs]).toEqual([0o640, 1_000_000_000]);
    });

    test("row 20 and 21: a destination that is there is EXISTS; overwrite merges", async () => {
      const { to, matches } = planted();
      const [first] = matches;
      await run([first!], to);
      const again = await run([first!], to);
      expect(again.actions).toMatchObject([
        { kind: "error", path: "s1", error: { code: "EXISTS" } },
      ]);
      expect(again.complete).toBe(false);
      await Bun.write(`${to}/s1/f`, "changed by hand");
      await Bun.write(`${to}/s1/own`, "stays");
      const merged = await run([first!], to, { overwrite: "different" });
      expect(merged.errors).toBe(0);
      expect(readFileSync(`${to}/s1/f`, "utf8")).toBe("f1");
      expect(existsSync(`${to}/s1/own`)).toBe(true);
    });

    test("row 22: dryRun writes nothing and tells of conflicts", async () => {
      const { to, matches } = planted();
      const done = await run(matches, to, { dryRun: true });
      expect(done.actions.map(({ kind, path }) => `${kind} ${path}`)).toEqual([
        "error s1",
        "error s1",
      ]);
      const one = await run(matches.slice(0, 1), to, { dryRun: true });
      expect(one.copied).toBe(5);
      expect(existsSync(to)).toBe(false);
    });

    test("row 25: a clash is settled the same way each time", async () => {
      for (const order of [0, 1]) {
        const ask = async (options: ShuffleOptions) => {
          const { to, matches } = planted();
          expect(matches).toHaveLength(2);
          const done = await run(order ? matches.toReversed() : matches, to, options);
          const tops = existsSync(to)
            ? readdirSync(to)
                .map(
                  (name) =>
                    `${name}:${existsSync(`${to}/${name}/f`) ? readFileSync(`${to}/${name}/f`, "utf8") : ""}`,
                )
                .toSorted()
            : [];
          return { tops, done, to };
        };
        const refused = await ask({});
        expect(refused.tops).toEqual([]);
        expect(refused.done.errors).toBe(2);
        expect((await ask({ onConflict: "skip" })).tops).toEqual(["s1:f1"]);
        expect((await ask({ onConflict: "suffix" })).tops).toEqual(["s1-2:f2", "s1:f1"]);
        const kept = await ask({ onConflict: "keep-structure" });
        expect(kept.tops).toEqual(["s1:f1", "t:"]);
        expect(readFileSync(`${kept.to}/t/s1/f`, "utf8")).toBe("f2");
        const structured = await ask({ structured: true });
        expect(structured.done.errors).toBe(0);
        expect(readFileSync(`${structured.to}/t/s1/f`, "utf8")).toBe("f2");
      }
    });

    test("a destination inside the source does not copy itself", async () => {
      const { root, matches } = planted();
      const done = await run(matches.slice(0, 1), `${root}/s1/d/into`);
      if (done.errors === 0) expect(files(`${root}/s1/d/into/s1`)).not.toContain("d/into/");
      else expect(done.complete).toBe(false);
    });
  });

test("row 26: the destination by a function; bad arguments", async () => {
  const root = scratch.plant("by-function", tree);
  const to = `${root}-to`;
  const matches = scanSync(root, subject);
  const done = await shuffle(matches, ({ path }) => `${to}/${path.replaceAll("/", "_")}`);
  expect(done.errors).toBe(0);
  expect(readdirSync(to).toSorted()).toEqual(["s1", "t_s1"]);
  expect(() => shuffle(matches, to, { onConflict: "coin" } as unknown as ShuffleOptions)).toThrow(
    /onConflict/,
  );
  expect(() => shuffle(null as unknown as Match[], to)).toThrow(/matches/);
  expect(() => shuffle(matches, to, { include: ["x"] } as ShuffleOptions)).toThrow(/include/);
});
