// The acceptance table of scan.md, section 2: rows and edge cases that no other file has by name.
// pattern.test.ts has rows 3 to 7, scan.test.ts 9 to 15, shuffle.test.ts 19 to 26, scan-cli.test.ts 27 and 28,
// scan-edges.test.ts what takes devices, mounts or a full disk, native/listed_type_test.c names without types.

import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  globSet,
  list,
  Runtime,
  scan,
  scanSync,
  shuffle,
  snapshot,
  Store,
  type Location,
  type Pattern,
} from "../lib/index.ts";
import { within } from "./patience.ts";
import { asSomebody, canBeSomebody } from "./somebody.ts";
import { isRoot, link, pipe, quickFolder, run, Scratch, type Tree } from "./trees.ts";
import { codeOf, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const root = join(import.meta.dir, "..");

let planted = 0;
const plant = (tree: Tree): string => scratch.plant(`tree-${planted++}`, tree);
const paths = (rows: readonly { path: string }[]): string[] => rows.map(({ path }) => path);
const where = (tree: Tree, ...patterns: Pattern[]): string[] =>
  paths(scanSync(plant(tree), patterns));

describe("scan.md, 2.1 and 2.2:", () => {
  test("row 1: the five fields of a pattern, all optional", () => {
    const tree = { "a/f": "", "a/d/g": "", "b/f": "" };
    expect(where(tree, {})).toEqual(["", "a", "a/d", "b"]);
    const all: Pattern = {
      name: "a*",
      files: ["f"],
      directories: [{ name: "d", files: ["g"] }],
      optionalFiles: ["not there"],
      optionalDirectories: [{ name: "nor there" }],
    };
    expect(where(tree, all)).toEqual(["a"]);
  });

  test("row 2: the object that was passed is the one in the match; equality is by the fields", async () => {
    const [one, same, other]: Pattern[] = [
      { files: ["a", "b"] },
      { files: ["a", "b"] },
      { files: ["b", "a"] },
    ];
    const place = plant({ a: "", b: "" });
    const found = await scan(place, [one!, other!]);
    expect(found.map(({ pattern }) => pattern)).toEqual([one!, other!]);
    expect(found[0]!.pattern).toBe(one!);
    expect(await scan(place, [one!, same!])).toHaveLength(1);
  });

  test("row 8: name, files here, directories immediately below; more is allowed, optional never counts", () => {
    const pattern: Pattern = {
      name: "r*",
      files: ["*.c", "m*"],
      directories: [{ name: "d" }, { files: ["x"] }],
      optionalFiles: ["o"],
    };
    // One file for two globs, one child for two nodes.
    expect(where({ "r1/main.c": "", "r1/d/x": "" }, pattern)).toEqual(["r1"]);
    expect(where({ "r1/main.c": "", "r1/e/d/x": "" }, pattern)).toEqual([]); // not immediately below
    expect(where({ "r1/sub/main.c": "", "r1/d/x": "" }, pattern)).toEqual([]);
    expect(where({ "s/main.c": "", "s/d/x": "" }, pattern)).toEqual([]);
    expect(where({ "r1/main.c": "", "r1/d/x": "", "r1/more": "", "r1/z/z": "" }, pattern)).toEqual([
      "r1",
    ]);
    expect(where({ "r/main.c": "", "r/d/": "", "r/e/x": "" }, pattern)).toEqual(["r"]);
  });

  test("row 11: root match, match in match, hidden ones, every pattern, sorted by path then pattern", () => {
    const [f, any]: Pattern[] = [{ files: ["f"] }, {}];
    const place = plant({ f: "", "a/f": "", "a/b/f": "", ".h/.i/f": "" });
    const found = scanSync(place, [f!, any!]).map(
      ({ path, pattern }) => `${path}|${pattern === f ? 0 : 1}`,
    );
    expect(found).toEqual([
      "|0",
      "|1",
      ".h|1",
      ".h/.i|0",
      ".h/.i|1",
      "a|0",
      "a|1",
      "a/b|0",
      "a/b|1",
    ]);
  });

  test("row 16: types and sizes by list, and a glob set's four questions", async () => {
    const place = plant({ "a/f": "123", l: link("a") });
    const found = await list(place, { stat: true });
    expect(found.map(({ path, type }) => `${type} ${path}`)).toEqual([
      "directory a",
      "file a/f",
      "link l",
    ]);
    expect(found[1]!.size).toBe(3);
    using set = globSet(["*.c", "a*"], { kind: "name" });
    expect([set.test("a.c"), set.match("a.c"), set.all("a.c"), set.length]).toEqual([
      true,
      [0, 1],
      true,
      2,
    ]);
  });

  test("row 17: what the runtime is made of", () => {
    const { backend, cores, library, schemes } = Runtime.default.info;
    expect([typeof backend, cores > 0, existsSync(library)]).toEqual(["string", true, true]);
    for (const scheme of ["file", "memory", "archive", "snapshot"])
      expect(schemes).toContain(scheme);
  });

  test("row 18: every store gives the same matches", async () => {
    const tree = { "s/run-1/x.csv": "1", "s/run-1/raw/y": "", "s/run-2/x.csv": "" };
    const pattern: Pattern = { name: "run-*", files: ["*.csv"], directories: [{ name: "raw" }] };
    const place = plant(tree);
    await using store = new Store("memory:row-18");
    for (const [path, content] of Object.entries(tree)) await store.write(path, content);
    const archive = (name: string, ...command: string[]): string => {
      run(...command, scratch.at(name), "-C", place, "s");
      return `archive:${scratch.at(name)}`;
    };
    await using held = await snapshot(place);
    const places: Location[] = [
      place,
      "memory:row-18",
      archive("row-18.tar", "tar", "cf"),
      archive("row-18.tar.gz", "tar", "czf"),
      { files: Object.fromEntries(Object.keys(tree).map((path) => [path, join(place, path)])) },
      held,
    ];
    for (const location of places) {
      expect(paths(await scan(location, pattern))).toEqual(["s/run-1"]);
      expect(paths(scanSync(location, pattern, { explain: true }).nearMisses ?? [])).toEqual([
        "s/run-2",
      ]);
    }
  });

  test("row 23: whatever the number of workers, all levels are copied", async () => {
    const place = plant({ "m/1/2/3/4/f": "deep", "m/f": "top" });
    const nest = (depth: number): Pattern => ({
      files: depth ? [] : ["f"],
      directories: depth ? [nest(depth - 1)] : [],
    });
    const pattern: Pattern = { name: "m", files: ["f"], directories: [nest(3)] };
    for (const concurrency of [1, 16]) {
      const to = scratch.at(`row-23-${concurrency}`);
      await shuffle(await scan(place, pattern), to, { concurrency });
      expect(await Bun.file(join(to, "m/1/2/3/4/f")).text()).toBe("deep");
    }
  });
});

describe("scan.md, 2.6, patterns:", () => {
  test("an empty directory fits what asks for nothing; the root's parent never appears", () => {
    expect(where({ "e/": "" }, {})).toEqual(["", "e"]);
    expect(where({}, { name: "tree-*" })).toEqual([""]);
    expect(scanSync(plant({ "a/": "" }), { name: "copse-test-*" })).toHaveLength(0);
  });

  test("the same pattern twice, no patterns, and a name alone", () => {
    const pattern: Pattern = { files: ["f"] };
    expect(where({ f: "" }, pattern, pattern)).toEqual([""]);
    expect(where({ f: "" })).toEqual([]);
    expect(where({ "x/y/x/": "" }, { name: "x" })).toEqual(["x", "x/y/x"]);
  });
});

describe("scan.md, 2.6, trees:", () => {
  test("fifo, socket, dangling link, link to a parent: never matched, never opened", () => {
    const place = plant({
      "d/fifo": pipe,
      "d/gone": link("nowhere"),
      "d/up": link(".."),
      "d/f": "",
    });
    using _ = Bun.listen({ unix: join(place, "d/socket"), socket: { data() {} } });
    for (const name of ["fifo", "socket", "gone", "up"])
      expect(scanSync(place, { files: [name] })).toHaveLength(0);
    expect(paths(scanSync(place, { directories: [{ name: "up" }] }))).toEqual([]);
    expect(paths(scanSync(place, { files: ["f"] }, { links: "follow" }))).toEqual(["d"]);
  });

  test("the root with a slash, relative, '.', through a link; missing; a file", async () => {
    const place = plant({ "d/f": "", l: link("d") });
    const from = process.cwd();
    try {
      process.chdir(place);
      for (const name of ["d", "d/", "./d", "l", "l/", "d/../d"])
        expect(paths(scanSync(name, { name: "d", files: ["f"] }))).toEqual([""]);
      process.chdir("d");
      expect(paths(scanSync(".", { name: "d", files: ["f"] }))).toEqual([""]);
    } finally {
      process.chdir(from);
    }
    expect(await codeOf(Promise.resolve(scan(join(place, "none"), {})))).toBe("NOT_FOUND");
    expect(await codeOf(Promise.resolve(scan(join(place, "d/f"), {})))).toBe("ARGUMENT");
  });

  test("names with a newline and of 255 bytes", () => {
    for (const name of ["a\nb", "x".repeat(255)]) {
      expect(where({ [`${name}/${name}`]: "" }, { files: [name] })).toEqual([name]);
      expect(where({ [`${name}/f`]: "" }, { name, files: ["f"] })).toEqual([name]);
    }
  });

  test("100,000 files in one directory, counted", () => {
    using scratch = new Scratch(quickFolder(100_000));
    const place = scratch.at("wide");
    mkdirSync(place);
    run("sh", "-c", `cd "$1" && seq -f 'file-%06.0f' 100000 | xargs touch`, "sh", place);
    const many = (min: number): Pattern => ({ files: [{ name: "file-*", count: { min } }] });
    expect(scanSync(place, [many(100_000), many(100_001)])).toHaveLength(1);
  });

  test("directories deleted, created and replaced meanwhile: each scan ends, and what stays is found", async () => {
    const place = scratch.at("changing");
    for (let i = 0; i < 40; i++) {
      mkdirSync(join(place, `stay${i}/d`), { recursive: true });
      writeFileSync(join(place, `stay${i}/d/f`), "");
    }
    await using runtime = new Runtime();
    let done = false;
    const churn = (async () => {
      for (let i = 0; !done; i++) {
        const at = join(place, `come-and-go${i % 5}`);
        mkdirSync(join(at, "d"), { recursive: true });
        writeFileSync(join(at, "d/f"), "");
        await Bun.sleep(0);
        rmSync(at, { recursive: true });
        writeFileSync(at, ""); // a file where a directory was
        rmSync(at);
      }
    })();
    for (let round = 0; round < 30; round++) {
      const pattern: Pattern = { directories: [{ name: "d", files: ["f"] }], name: "[sc]*" };
      const found = await scan(place, pattern, { runtime, explain: round % 2 === 0 });
      expect(paths(found).filter((path) => path.startsWith("stay"))).toHaveLength(40);
      for (const { path, error } of found.errors) {
        expect(["NOT_FOUND", "CHANGED"]).toContain(error.code);
        expect(path).toStartWith("come-and-go");
      }
      await using held = await snapshot(place, { runtime });
      expect(
        paths(await scan(held, pattern, { runtime })).filter((path) => path.startsWith("stay")),
      ).toHaveLength(40);
    }
    done = true;
    await churn;
  });

  test.skipIf(process.platform !== "linux")("ulimit -n 64 is enough", () => {
    const place = scratch.at("wide-and-deep");
    for (let i = 0; i < 30; i++)
      for (let j = 0; j < 10; j++)
        mkdirSync(join(place, `d${i}/e${j}/f/g/h/i`), { recursive: true });
    const program = `const { scan, snapshot } = await import(${JSON.stringify(join(root, "lib/index.ts"))});
      const found = await scan(${JSON.stringify(place)}, { name: "e*", directories: [{ name: "f" }] });
      await using held = await snapshot(${JSON.stringify(place)});
      console.log(found.length, found.complete, held.entries, held.complete);`;
    const { stdout, stderr } = Bun.spawnSync([
      "sh",
      "-c",
      'ulimit -n 64; exec "$0" -e "$1"',
      process.execPath,
      program,
    ]);
    expect(stdout.toString() + stderr.toString()).toBe("300 true 1530 true\n");
  });

  const canAsk = canBeSomebody(scratch.path);

  test.skipIf(!canAsk)(
    "mode 000 as a user who is not root: one failure, the rest complete, in a snapshot too",
    () => {
      const place = plant({ "a/f": "", "shut/d/f": "", "z/f": "" });
      if (isRoot) chownSync(join(place, "shut"), 0, 0);
      chmodSync(join(place, "shut"), 0);
      const said = asSomebody(
        `const { list, scan, snapshot } = copse;
      const at = ${JSON.stringify(place)}, rows = [];
      await using held = await snapshot(at);
      for (const where of [at, held])
        for (const found of [await list(where), await scan(where, { files: ["f"] })])
          rows.push([found.map(({ path }) => path), found.complete, found.errors.map(({ path, error }) => path + " " + error.code)]);
      console.log(JSON.stringify(rows));`,
        scratch.path,
      );
      chmodSync(join(place, "shut"), 0o755);
      const errors = [false, ["shut DENIED"]];
      const listed = [["a", "a/f", "shut", "z", "z/f"], ...errors];
      const scanned = [["a", "z"], ...errors];
      expect(JSON.parse(said)).toEqual([listed, scanned, listed, scanned]);
    },
  );
});

describe("scan.md, 2.6, streaming:", () => {
  test("leaving after the first row: the process exits by itself", () => {
    const place = plant(
      Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`d${i}/e/f`, ""])),
    );
    const program = `const { scan } = await import(${JSON.stringify(join(root, "lib/index.ts"))});
      for await (const { path } of scan(${JSON.stringify(place)}, { name: "e" })) { console.log(path !== ""); break; }`;
    const { stdout, exitCode } = Bun.spawnSync([process.execPath, "-e", program], {
      timeout: within(60_000),
    });
    expect([stdout.toString(), exitCode]).toEqual(["true\n", 0]);
  });

  test("a scan nobody reads holds no more than its pages", async () => {
    using scratch = new Scratch(quickFolder(10_000));
    const place = scratch.at("unread");
    for (let i = 0; i < 100; i++)
      for (let j = 0; j < 100; j++)
        mkdirSync(join(place, `${"long".repeat(20)}${i}/${j}`), { recursive: true });
    await using runtime = new Runtime();
    const task = scan(place, {}, { runtime });
    const rows = task[Symbol.asyncIterator]();
    await rows.next();
    await Bun.sleep(100);
    expect(runtime.stats.memory).toBeLessThan(2 * 2 ** 20);
    await rows.return?.();
  });
});

test("row 29: nothing is logged to a file", async () => {
  const temporary = scratch.at("row-29");
  mkdirSync(temporary);
  const place = plant({ f: "" });
  writeFileSync(join(temporary, "p.json"), '{"files":["f"]}');
  const { exitCode } = Bun.spawnSync(
    [
      process.execPath,
      join(root, "lib/cli/main.ts"),
      "scan",
      place,
      "-p",
      join(temporary, "p.json"),
      "-v",
    ],
    { env: { ...process.env, TMPDIR: temporary, HOME: temporary } },
  );
  expect(exitCode).toBe(0);
  expect(readdirSync(temporary).filter((name) => name !== ".bun")).toEqual(["p.json"]);
});

test("row 30: what the other lacks is there: assess, a destination by rule, depth, exclude, JSON, making patterns", async () => {
  const text = await Bun.file(join(root, "docs/cli.md")).text();
  for (const line of [
    "copse assess",
    "copse shuffle",
    "--max-depth",
    "--exclude",
    "--json",
    "copse pattern infer",
  ])
    expect(text).toContain(line);
  expect(existsSync(join(root, "lib/infer.ts"))).toBe(true);
});
