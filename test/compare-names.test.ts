// compare: names of every kind, paths longer than PATH_MAX, any depth, any width (compare.md 1.5, 2.7, 2.8, 2.9).

import { afterAll, describe, expect, test } from "bun:test";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { compare, type Difference } from "../lib/index.ts";
import { isSanitized } from "./patience.ts";
import { directory, groundsIn, plantDeep, quickFolder, run, Scratch, type Tree } from "./trees.ts";
import { fact, facts, leaveNothingOpen, ways } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);

const oddNames = [
  "with space",
  " leading and trailing ",
  "'single' \"double\" `back`",
  "new\nline",
  "tab\tbell\u0007escape\u001b[31m",
  "-rf",
  "--help",
  ".hidden",
  "..",
  "...",
  "a..b",
  "back\\slash",
  "star*question?[set]{a,b}",
  "$HOME $(id) ; & | < >",
  "C:",
  "memory:x",
  "é",
  "e\u0301",
  "Ａ",
  "日本語",
  "\u{1f333}\u{1f333}",
  "\u202egnp.exe",
  "\u200bzero",
  "\ufeffbom",
  "K",
  "\u212a",
  "i",
  "I",
  "ı",
  "İ",
  "%2f%00",
  "__proto__",
  "constructor",
  "0",
  "1",
  "10",
  "2",
  "x".repeat(255),
  "ü".repeat(127),
].filter((name) => name !== "..");

describe("compare.md 1.5, names:", () => {
  test("odd names are all kept apart, and their order is that of their bytes", async () => {
    // Object.fromEntries makes a field of "__proto__" too.
    const tree = (content: string): Tree =>
      Object.fromEntries(
        oddNames.flatMap((name) => [
          [name, "same"],
          [`in/${name}`, content],
        ]),
      );
    const [left, right] = [tree("left"), tree("fite")];
    const paths = oddNames
      .map((name) => `in/${name}`)
      .toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    for (const ground of [memory, file]) {
      const [l, r] = [await ground.plant(left), await ground.plant(right)];
      const nothing = await ground.plant({});
      for (const way of ways) {
        expect(facts(await way.compare(l, r))).toEqual(
          paths.map((path) => `differs content@0 ${path}`),
        );
        const answer = await way.compare(l, nothing);
        expect(answer.differences).toHaveLength(2 * oddNames.length + 1);
        for (const row of answer.differences) expect(row).not.toHaveProperty("pathBytes");
      }
    }
  });

  test("names are compared by bytes: no Unicode or case folding", async () => {
    for (const ground of [memory, file]) {
      const [l, r] = [
        await ground.plant({ é: "1", readme: "1" }),
        await ground.plant({ "e\u0301": "1", README: "1" }),
      ];
      for (const way of ways)
        expect(facts(await way.compare(l, r))).toEqual([
          "only-right file README",
          "only-right file e\u0301",
          "only-left file readme",
          "only-left file é",
        ]);
    }
  });

  test("names with a long common beginning are paired right", async () => {
    const left: Record<string, string> = {};
    const right: Record<string, string> = {};
    for (let i = 0; i < 300; i++) {
      left[`IMG_20240101_${String(i).padStart(4, "0")}.jpg`] = "x";
      right[`IMG_20240101_${String(i + (i % 50 === 0 ? 1000 : 0)).padStart(4, "0")}.jpg`] = "x";
    }
    for (const name of [
      "IMG_20240101",
      "IMG_20240101_",
      "IMG_20240101_0001",
      "IMG_20240101_0001.jpg.bak",
    ])
      left[name] = right[name] = "y";
    for (const ground of [memory, file]) {
      const [l, r] = [await ground.plant(left), await ground.plant(right)];
      for (const way of ways) {
        const { differences } = await way.compare(l, r);
        expect(differences.filter((row) => row.kind === "only-left")).toHaveLength(6);
        expect(differences.filter((row) => row.kind === "only-right")).toHaveLength(6);
        expect(differences).toHaveLength(12);
      }
    }
  });
});

describe("compare.md 2.9:", () => {
  // Latin-1 on an UTF-8 machine, cut sequences, overlong forms, a surrogate: none of it UTF-8, all of it different.
  const raw = [
    "caf\xe9",
    "caf\xe8",
    "\xff",
    "\xfe",
    "\xc3",
    "\xe2\x82",
    "\xc0\xaf",
    "\xed\xa0\x80",
    "ok\xffend",
  ];

  test("names that are not UTF-8 are kept apart and given back losslessly, and the rest is intact", async () => {
    for (const side of ["raw-left", "raw-right"]) {
      mkdirSync(scratch.at(side));
      for (const name of raw)
        writeFileSync(
          scratch.bytes(`${side}/${name}`),
          side === "raw-left" && name.startsWith("caf") ? "1" : "2",
        );
      writeFileSync(scratch.at(side, "plain"), side);
    }
    mkdirSync(scratch.bytes("raw-left/d\xe9"));
    writeFileSync(scratch.bytes("raw-left/d\xe9/under"), "x");
    for (const way of ways) {
      const { differences } = await way.compare(scratch.at("raw-left"), scratch.at("raw-right"));
      const said = differences.map((row) => [
        row.kind,
        row.pathBytes === undefined ? undefined : Buffer.from(row.pathBytes).toString("latin1"),
        row.path,
      ]);
      expect(said).toEqual([
        ["differs", "caf\xe8", "caf\ufffd"],
        ["differs", "caf\xe9", "caf\ufffd"],
        ["only-left", "d\xe9", "d\ufffd"],
        ["only-left", "d\xe9/under", "d\ufffd/under"],
        ["differs", undefined, "plain"],
      ]);
      const [, first, only] = differences;
      if (first?.kind !== "differs" || only?.kind !== "only-left") throw new Error("other rows");
      expect(first.left.pathBytes).toEqual(new Uint8Array(Buffer.from("caf\xe9", "latin1")));
      expect(first.right.pathBytes).toEqual(first.left.pathBytes);
      expect(only.left.pathBytes).toEqual(new Uint8Array(Buffer.from("d\xe9", "latin1")));
    }
  });

  test("a name with a replacement character in it is no name that is not UTF-8", async () => {
    const [l, r] = [await file.plant({ "a\ufffdb": "1" }), await file.plant({})];
    writeFileSync(Buffer.concat([Buffer.from(`${r}/`), Buffer.from("a\xffb", "latin1")]), "1");
    for (const way of ways) {
      const { differences } = await way.compare(l, r);
      expect(differences.map(fact)).toEqual([
        "only-left file a\ufffdb",
        "only-right file a\ufffdb",
      ]);
      expect(differences[0]).not.toHaveProperty("pathBytes");
      expect(differences[1]).toHaveProperty("pathBytes");
    }
  });

  test("link targets that are not UTF-8 are compared by their bytes", async () => {
    for (const [side, target] of [
      ["target-left", "t\xfe"],
      ["target-right", "t\xff"],
    ] as const) {
      mkdirSync(scratch.at(side));
      symlinkSync(Buffer.from(target, "latin1"), scratch.at(side, "l"));
      symlinkSync(Buffer.from("same\xff", "latin1"), scratch.at(side, "same"));
    }
    for (const way of ways)
      expect(
        facts(await way.compare(scratch.at("target-left"), scratch.at("target-right"))),
      ).toEqual(["differs target l"]);
  });

  test("a moved file keeps the bytes of both names", async () => {
    for (const [side, name] of [
      ["moved-left", "from\xe9"],
      ["moved-right", "to\xe8"],
    ] as const) {
      mkdirSync(scratch.at(side));
      writeFileSync(scratch.bytes(`${side}/${name}`), "the same in both");
    }
    for (const way of ways) {
      const { differences } = await way.compare(
        scratch.at("moved-left"),
        scratch.at("moved-right"),
        { moves: true },
      );
      const [row] = differences;
      if (row?.kind !== "moved") throw new Error("not moved");
      expect(Buffer.from(row.pathBytes ?? []).toString("latin1")).toBe("to\xe8");
      expect(Buffer.from(row.right.pathBytes ?? []).toString("latin1")).toBe("to\xe8");
      expect(Buffer.from(row.left.pathBytes ?? []).toString("latin1")).toBe("from\xe9");
    }
  });

  test("globs see names that are not UTF-8", async () => {
    mkdirSync(scratch.at("globs"));
    mkdirSync(scratch.at("globs-none"));
    writeFileSync(scratch.bytes("globs/a\xffb.txt"), "1");
    writeFileSync(scratch.bytes("globs/a\xffb.bin"), "1");
    for (const way of ways)
      for (const glob of ["*.txt", "a?b.txt", "a*.txt", "**/*.txt"])
        expect(
          facts(
            await way.compare(scratch.at("globs"), scratch.at("globs-none"), { include: [glob] }),
          ),
        ).toEqual(["only-left file a\ufffdb.txt"]);
  });
});

describe("compare.md 2.7 and 2.8:", () => {
  const long = "long-directory-name-".repeat(10); // 200 bytes

  test("2.7: a leaf below a path longer than PATH_MAX that differs is `differs`, with its whole path", async () => {
    const depth = 40;
    const path = `${`${long}/`.repeat(depth)}leaf`;
    expect(path.length).toBeGreaterThan(2 * 4096 - 200);
    plantDeep(scratch.at("path-left"), long, depth, {
      leaf: "abc",
      same: "s",
      link: { kind: "link", target: "x" },
    });
    plantDeep(scratch.at("path-right"), long, depth, {
      leaf: "abd",
      same: "s",
      link: { kind: "link", target: "x" },
    });
    plantDeep(scratch.at("path-again"), long, depth, {
      leaf: "abc",
      same: "s",
      link: { kind: "link", target: "x" },
    });
    for (const way of ways)
      for (const options of [
        {},
        { concurrency: 1 },
        { links: "follow" },
        { by: "hash" },
      ] as const) {
        const answer = await way.compare(
          scratch.at("path-left"),
          scratch.at("path-right"),
          options,
        );
        expect(answer.differences).toMatchObject([{ kind: "differs", path, reason: "content" }]);
        expect(
          await way.compare(scratch.at("path-left"), scratch.at("path-again"), options),
        ).toMatchObject({ equal: true, files: 2 });
      }
  });

  test("2.7: a subtree below PATH_MAX that one side lacks has a row for each entry", async () => {
    plantDeep(scratch.at("one-left"), long, 30, { leaf: "abc" });
    mkdirSync(scratch.at("one-right"));
    for (const way of ways) {
      const { differences } = await way.compare(scratch.at("one-left"), scratch.at("one-right"));
      expect(differences).toHaveLength(31);
      expect(differences.at(-1)).toMatchObject({
        kind: "only-left",
        path: `${`${long}/`.repeat(30)}leaf`,
        left: { size: 3 },
      });
      const moved = await way.compare(
        scratch.at("one-left"),
        scratch.plant(`moved-${way.name}`, { here: "abc" }),
        { moves: true },
      );
      expect(moved.differences[0]).toMatchObject({
        kind: "moved",
        path: "here",
        from: `${`${long}/`.repeat(30)}leaf`,
      });
    }
  });

  for (const depth of isSanitized ? [300, 1000] : [300, 10_000])
    test(`2.8: depth ${depth} works`, async () => {
      using scratch = new Scratch(quickFolder(2 * depth));
      plantDeep(scratch.at(`deep-left-${depth}`), "d", depth, { leaf: "abc" });
      plantDeep(scratch.at(`deep-right-${depth}`), "d", depth, { leaf: "abd" });
      for (const way of ways) {
        const answer = await way.compare(
          scratch.at(`deep-left-${depth}`),
          scratch.at(`deep-right-${depth}`),
        );
        expect(facts(answer)).toEqual([`differs content@2 ${"d/".repeat(depth)}leaf`]);
      }
    });

  test("2.8: thousands of levels work with few open files", async () => {
    const depth = isSanitized ? 300 : 3000;
    using scratch = new Scratch(quickFolder(2 * depth));
    plantDeep(scratch.at("few-left"), "d", depth, { leaf: "abc", other: "x" });
    plantDeep(scratch.at("few-right"), "d", depth, { leaf: "abd", other: "x" });
    const script = `import { compareSync } from ${JSON.stringify(`${import.meta.dir}/../lib/index.ts`)};
      const { differences, complete } = compareSync(${JSON.stringify(scratch.at("few-left"))}, ${JSON.stringify(scratch.at("few-right"))});
      console.log(JSON.stringify([complete, differences.map((row) => row.kind + " " + row.path.length)]));`;
    writeFileSync(scratch.at("few.ts"), script);
    const child = Bun.spawnSync([
      "bash",
      "-c",
      'ulimit -n 64; exec "$0" "$1"',
      process.execPath,
      scratch.at("few.ts"),
    ]);
    expect(child.stderr.toString()).toBe("");
    expect(JSON.parse(child.stdout.toString())).toEqual([true, [`differs ${2 * depth + 4}`]]);
  });
});

describe("compare.md 1.5, width:", () => {
  const count = isSanitized ? 5000 : 100_000;

  test(`a directory with ${count} entries`, async () => {
    using scratch = new Scratch(quickFolder(3 * count));
    const script = 'mkdir -p "$1" && cd "$1" && seq "$2" | xargs touch';
    for (const side of ["wide-left", "wide-right"])
      run("sh", "-c", script, "sh", scratch.at(side), String(count));
    writeFileSync(scratch.at("wide-left", "77"), "x");
    run("rm", scratch.at("wide-right", "4711"));
    for (const way of ways) {
      const answer = await way.compare(scratch.at("wide-left"), scratch.at("wide-right"));
      expect(facts(answer)).toEqual(["only-left file 4711", "differs size 77"]);
      expect(answer.files).toBe(count);
    }
    // Every entry a row: more pages than may be unread at once.
    mkdirSync(scratch.at("wide-none"));
    const seen = new Set<string>();
    const task = compare(scratch.at("wide-left"), scratch.at("wide-none"));
    for await (const batch of task.batches())
      for (const row of batch as readonly Difference[]) seen.add(row.path);
    expect(seen.size).toBe(count);
    expect(await task).toMatchObject({ equal: false, complete: true, files: count });
  });

  test("many directories in one, and in each other", async () => {
    const left: Record<string, Tree[string]> = {};
    for (let i = 0; i < 400; i++) left[`${i % 20}/${i % 7}/${i}`] = i % 2 === 0 ? directory : "x";
    const right = { ...left, "3/3/3": "y" };
    const [l, r] = [await file.plant(left), await file.plant(right)];
    for (const way of ways)
      expect(facts(await way.compare(l, r))).toEqual(["differs content@0 3/3/3"]);
  });
});
