// Patterns as objects, as text, in files, and in the form of pathvein.

import Ajv from "ajv/dist/2020";
import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  CopseError,
  inferPattern,
  inferPatternSync,
  loadPattern,
  parsePattern,
  pattern,
  samePattern,
  scanSync,
  toPathveinJSON,
  type Pattern,
} from "../lib/index.ts";
import { randomPattern } from "./scan-oracle.ts";
import { Random, Scratch } from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

function messageOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(CopseError);
    expect((error as CopseError).code).toBe("ARGUMENT");
    return (error as CopseError).message;
  }
  throw new Error("nothing was thrown");
}

describe("the old form", () => {
  test("row 5: to_json of a leaf, byte for byte", () => {
    expect(toPathveinJSON({ name: "a", files: ["*.txt", "é\u007f\n"] })).toBe(
      String.raw`{"directory_name": "a", "files": ["*.txt", "\u00e9\u007f\n"], "directories": [], "optional_files": [], "optional_directories": []}`,
    );
    expect(toPathveinJSON({})).toBe(
      '{"directory_name": "*", "files": [], "directories": [], "optional_files": [], "optional_directories": []}',
    );
  });

  test("directories are JSON strings, encoded once more on each level", () => {
    const inner = toPathveinJSON({ name: "b" });
    expect(toPathveinJSON({ name: "a", directories: [{ name: "b" }] })).toBe(
      `{"directory_name": "a", "files": [], "directories": [${JSON.stringify(inner)}], "optional_files": [], "optional_directories": []}`,
    );
  });

  test("four levels come back as they were, and are written the same again", () => {
    let deep: Pattern = { name: "d", files: ["é"], optionalFiles: ["*.x"] };
    for (const name of ["c", "b", "a"]) deep = { name, files: [], directories: [deep] };
    const text = toPathveinJSON(deep);
    expect(samePattern(parsePattern(text), deep)).toBe(true);
    expect(toPathveinJSON(parsePattern(text))).toBe(text);
  });

  test("a null name survives, and means any", () => {
    const text = toPathveinJSON({ name: null });
    expect(text).toStartWith('{"directory_name": null, ');
    expect(parsePattern(text).name).toBeNull();
    expect(toPathveinJSON(parsePattern(text))).toBe(text);
  });

  test("row 6: children as strings and as objects, mixed; unknown keys are ignored", () => {
    const read = parsePattern({
      directory_name: "a",
      surprise: 1,
      directories: ['{"directory_name": "b"}', { name: "c" }],
      optional_directories: [{ directory_name: "d", optional_files: ["x"] }],
    });
    expect(read).toEqual({
      name: "a",
      directories: [{ name: "b" }, { name: "c" }],
      optionalDirectories: [{ name: "d", optionalFiles: ["x"] }],
    });
  });

  test("what it has no words for is ARGUMENT", () => {
    const table: readonly [Pattern, RegExp][] = [
      [{ forbidden: ["x"] }, /pattern\.forbidden/],
      [{ directories: [{ count: { min: 2 } }] }, /pattern\.directories\[0\]\.count/],
      [{ files: [{ name: "x", count: { max: 2 } }] }, /pattern\.files/],
    ];
    for (const [given, says] of table) expect(messageOf(() => toPathveinJSON(given))).toMatch(says);
  });

  test("random patterns survive the way there and back", () => {
    const random = new Random(7);
    for (let i = 0; i < 200; i++) {
      const one = randomPattern(random, true);
      expect(samePattern(parsePattern(toPathveinJSON(one)), one)).toBe(true);
    }
  });
});

describe("errors name the field and the reason:", () => {
  const table: readonly [string, unknown, RegExp][] = [
    ["no object", "[]", /pattern must be an object/],
    ["no JSON", "{", /pattern is no JSON/],
    ["a slip of the pen", { optionalFile: [] }, /has no field "optionalFile"/],
    ["files that are no array", { files: "x" }, /files must be an array/],
    ["a glob that is no text", { files: [1] }, /files\[0\] must be a glob, not 1/],
    ["an empty glob", { files: [""] }, /files\[0\] must not be empty/],
    ["a path", { files: ["a/b"] }, /files\[0\] is matched against one name/],
    [
      "deep down",
      { directories: [{}, { files: [{ name: 3 }] }] },
      /directories\[1\]\.files\[0\]\.name/,
    ],
    ["a name twice", { name: "a", directory_name: "b" }, /directory_name is given twice/],
    ["a count that is none", { directories: [{ count: 3 }] }, /directories\[0\]\.count must be/],
    ["a count below zero", { directories: [{ count: { min: -1 } }] }, /count\.min must be a whole/],
    [
      "more than at most",
      { directories: [{ count: { min: 3, max: 2 } }] },
      /at least 3 and at most 2/,
    ],
    ["a bad child as text", { directories: ["{"] }, /directories\[0\] is no JSON/],
  ];
  for (const [name, given, says] of table)
    test(name, () => expect(messageOf(() => parsePattern(given as object))).toMatch(says));

  test("a pattern in itself, too deep, or too much of it", () => {
    const self: { directories: Pattern[] } = { directories: [] };
    self.directories.push(self);
    expect(messageOf(() => parsePattern(self))).toMatch(/contains itself/);
    let deep: Pattern = {};
    for (let i = 0; i < 300; i++) deep = { directories: [deep] };
    expect(messageOf(() => parsePattern(deep))).toMatch(/deeper than 256/);
    let wide: Pattern = {};
    for (let i = 0; i < 40; i++) wide = { directories: [wide, wide] };
    expect(messageOf(() => scanSync(".", wide))).toMatch(/more than 65536/);
  });
});

describe("the builder", () => {
  test("row 3: makes what an object says, and leaves what it began with", () => {
    const anat = pattern("anat").withFiles("*.nii");
    const begun = pattern("sub-*").withFiles("a", "a").withDirectories(anat);
    const built = begun
      .withOptionalFiles("b", { name: "c", count: { max: 2 } })
      .withOptionalDirectories(pattern("func"))
      .withForbidden("*.tmp");
    const said: Pattern = {
      name: "sub-*",
      files: ["a", "a"],
      directories: [{ name: "anat", files: ["*.nii"] }],
      optionalFiles: ["b", { name: "c", count: { max: 2 } }],
      optionalDirectories: [{ name: "func" }],
      forbidden: ["*.tmp"],
    };
    expect({ ...built }).toMatchObject(said);
    expect(samePattern(built, said)).toBe(true);
    expect(begun.forbidden).toBeUndefined();
    expect(built.withName(null).withCount({ min: 2 })).toMatchObject({
      name: null,
      count: { min: 2 },
    });
  });

  test("row 4: all files and all directories: the ordered union, each once", () => {
    const built = pattern()
      .withFiles("b", "a")
      .withOptionalFiles("a", "c")
      .withDirectories(pattern("x"))
      .withOptionalDirectories(pattern("x"), pattern("y"));
    expect(built.allFiles).toEqual(["b", "a", "c"]);
    expect(built.allDirectories.map(({ name }) => name)).toEqual(["x", "y"]);
  });

  test("a pattern can be added to itself", () => {
    const one = pattern("a").withFiles("f");
    const two = one.withDirectories(one);
    expect(
      samePattern(two, { name: "a", files: ["f"], directories: [{ name: "a", files: ["f"] }] }),
    ).toBe(true);
  });

  test("equality: the order counts", () => {
    expect(samePattern({ files: ["a", "b"] }, { files: ["b", "a"] })).toBe(false);
    expect(samePattern({ name: "*", files: [] }, {})).toBe(true);
  });
});

describe("pattern files", () => {
  const wanted: Pattern = {
    name: "s-*",
    files: ["a"],
    directories: [{ name: "b", count: { min: 2 } }],
  };
  const forms: Readonly<Record<string, string>> = {
    "p.json": JSON.stringify({ $schema: "x", ...wanted }),
    "p.yaml": "name: s-*\nfiles: [a] # one\ndirectories:\n  - name: b\n    count: { min: 2 }\n",
    "p.yml": "name: s-*\nfiles:\n  - a\ndirectories:\n  - {name: b, count: {min: 2}}\n",
    "p.toml": 'name = "s-*"\nfiles = ["a"]\n[[directories]]\nname = "b"\ncount = { min = 2 }\n',
    old: '{"directory_name": "s-*", "files": ["a"], "directories": [{"name": "b", "count": {"min": 2}}]}',
  };
  for (const [name, text] of Object.entries(forms))
    test(`${name}`, async () => {
      writeFileSync(scratch.at(name), text);
      expect(await loadPattern(scratch.at(name))).toEqual(wanted);
    });

  test("row 7: errors name the file, the field and the reason", async () => {
    const table: readonly [string, string, RegExp][] = [
      ["bad.json", '{"files": 3}', /bad\.json: .*files must be an array/],
      ["bad.yaml", "files: [", /bad\.yaml: /],
      ["bad.toml", "name = ", /bad\.toml: /],
      ["list.json", "[]", /list\.json: .*must be an object/],
      ["text.yaml", "just text", /text\.yaml: .*must be an object/],
    ];
    for (const [name, text, says] of table) {
      writeFileSync(scratch.at(name), text);
      const error = await loadPattern(scratch.at(name)).catch((error: unknown) => error);
      expect(error).toMatchObject({ code: "ARGUMENT" });
      expect((error as Error).message).toMatch(says);
    }
    expect(
      await loadPattern(scratch.at("none.json")).catch((error: unknown) => error),
    ).toMatchObject({
      code: "NOT_FOUND",
    });
  });

  test("the schema knows the fields that are read, and the examples", async () => {
    const root = join(import.meta.dir, "..");
    const schema = JSON.parse(readFileSync(join(root, "lib/pattern.schema.json"), "utf8"));
    const fields = [
      ...Object.keys(schema.$defs.fields.properties),
      ...Object.keys(schema.$defs.child.properties),
    ];
    const all: Required<Pattern> = {
      name: "a",
      files: [],
      directories: [],
      optionalFiles: [],
      optionalDirectories: [],
      forbidden: [],
      count: {},
    };
    expect(fields.toSorted()).toEqual(Object.keys(all).toSorted());
    for (const name of ["subject.json", "dataset.yaml"])
      expect(await loadPattern(join(root, "examples/patterns", name))).toBeObject();
  });

  test("the schema takes what is read and refuses what is not, by a validator of others", async () => {
    const root = join(import.meta.dir, "..");
    const schema = JSON.parse(readFileSync(join(root, "lib/pattern.schema.json"), "utf8"));
    const ajv = new Ajv({ strictTypes: false, strictRequired: false });
    expect(ajv.validateSchema(schema)).toBe(true);
    const fits = ajv.compile(schema);
    const isRead = (value: unknown): boolean => {
      try {
        parsePattern(value as object);
        return true;
      } catch {
        return false;
      }
    };
    const good: readonly object[] = [
      {},
      { name: "sub-*" },
      { name: null },
      { name: "" },
      { $schema: "copse/pattern.schema.json", name: "a", files: [], directories: [] },
      { files: ["*.nii", { name: "*.tsv", count: { min: 1, max: 3 } }, { name: "x" }] },
      { directories: [{ name: "a", directories: [{ files: ["x"] }], count: { max: 2 } }] },
      { optionalFiles: ["x"], optionalDirectories: [{}], forbidden: ["*.tmp"] },
      JSON.parse(readFileSync(join(root, "examples/patterns/subject.json"), "utf8")),
      Bun.YAML.parse(readFileSync(join(root, "examples/patterns/dataset.yaml"), "utf8")) as object,
    ];
    for (const value of good)
      expect([value, fits(value), fits.errors, isRead(value)]).toEqual([value, true, null, true]);
    const bad: readonly unknown[] = [
      [],
      "a",
      null,
      { name: 1 },
      { name: "a/b" },
      { files: "x" },
      { files: [""] },
      { files: [{ count: { min: 1 } }] },
      { files: [{ name: "x", count: { least: 1 } }] },
      { files: [{ name: "x", count: { min: -1 } }] },
      { files: [{ name: "x", count: { min: 1.5 } }] },
      { directories: [{ name: 1 }] },
      { directories: {} },
      { forbidden: [1] },
      { forbidden: ["a/b"] },
      { file: ["x"] },
      { directories: [{ nmae: "x" }] },
    ];
    for (const value of bad)
      expect([value, fits(value), isRead(value)]).toEqual([value, false, false]);
    // parsePattern reads it, because it may be put into another; a file of it is of no use.
    expect(fits({ count: { min: 1 } })).toBe(false);
  });
});

describe("infer", () => {
  test("the directory fits what is inferred from it, and so do those like it", async () => {
    const root = scratch.plant("inferred", {
      "s-1/a-1.txt": "",
      "s-1/x/1.log": "",
      "s-2/a-22.txt": "",
      "s-2/x/7.log": "",
      "s-2/odd [1].txt": "",
      "e/": "",
    });
    const made = await inferPattern(root);
    expect(inferPatternSync(root)).toEqual(made);
    expect(scanSync(root, made).map(({ path }) => path)).toContain("");
    const [, subject] = made.directories ?? [];
    expect(subject).toEqual({
      name: "s-*",
      files: ["a-*.txt"],
      directories: [{ name: "x", files: ["*.log"] }],
      optionalFiles: [String.raw`odd \[1\].txt`],
    });
    expect(scanSync(root, subject!).map(({ path }) => path)).toEqual(["s-1", "s-2"]);
  });

  test("of a file: ARGUMENT", () => {
    expect(messageOf(() => inferPatternSync(import.meta.path))).toMatch(
      /a pattern describes a directory/,
    );
  });
});
