// How a tree is walked: depth, file systems, errors, order, batches, few descriptors, very deep and
// very wide ones, and trees that change under the walk.

import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CopseError, list, listSync, Runtime, type ListOptions } from "../lib/index.ts";
import { groundsIn, isRoot, link, pipe, plantDeep, quickFolder, run, Scratch } from "./trees.ts";
import { codeOf, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);
const root = join(import.meta.dir, "..");

const paths = (rows: readonly { path: string }[]): string[] => rows.map(({ path }) => path);

describe.each([memory, file])("in $name", (ground) => {
  const tree = { "a/b/c/d": "1234", "a/b/e": "1", "a/f": "22", g: "333" };

  test("without stat there are paths and types, and nothing else", async () => {
    const place = await ground.plant(tree);
    const expected = [
      { path: "a", type: "directory" },
      { path: "a/b", type: "directory" },
      { path: "a/b/c", type: "directory" },
      { path: "a/b/c/d", type: "file" },
      { path: "a/b/e", type: "file" },
      { path: "a/f", type: "file" },
      { path: "g", type: "file" },
    ] as const;
    expect([...(await list(place))]).toEqual([...expected]);
    expect([...listSync(place)]).toEqual([...expected]);
    const rows: unknown[] = [];
    for await (const row of list(place)) rows.push(row);
    expect(rows).toHaveLength(7);
    expect(rows).toEqual(expect.arrayContaining([...expected]));
  });

  test("with stat there are sizes too", async () => {
    const entries = await list(await ground.plant(tree), { stat: true });
    expect(entries.map(({ size }) => size).filter((size) => size > 0 && size < 5)).toEqual(
      expect.arrayContaining([4, 1, 2, 3]),
    );
    expect(entries.every(({ mode }) => mode !== undefined)).toBe(true);
  });

  test("maxDepth leaves out what lies deeper", async () => {
    const place = await ground.plant(tree);
    expect(paths(listSync(place, { maxDepth: 1 }))).toEqual(["a", "g"]);
    expect(paths(listSync(place, { maxDepth: 2 }))).toEqual(["a", "a/b", "a/f", "g"]);
    expect(listSync(place, { maxDepth: 4 })).toHaveLength(7);
    expect(listSync(place, { maxDepth: Infinity }).complete).toBe(true);
    expect(listSync(place, { maxDepth: 1 }).complete).toBe(true);
    for (const maxDepth of [0, -1, 1.5, Number.NaN])
      expect(await codeOf((async () => await list(place, { maxDepth }))())).toBe("ARGUMENT");
  });

  test("sort orders what is awaited", async () => {
    const place = await ground.plant({ "z/a": "1", "a/c": "4444", b: "333", "z/d": "22" });
    const files = (options: ListOptions): string[] =>
      listSync(place, options)
        .filter(({ type }) => type === "file")
        .map(({ path }) => path);
    expect(files({})).toEqual(["a/c", "b", "z/a", "z/d"]);
    expect(files({ sort: "path" })).toEqual(["a/c", "b", "z/a", "z/d"]);
    expect(files({ sort: "name" })).toEqual(["z/a", "b", "a/c", "z/d"]);
    expect(files({ sort: "size", stat: true })).toEqual(["a/c", "b", "z/d", "z/a"]);
    expect(files({ sort: "none" }).toSorted()).toEqual(["a/c", "b", "z/a", "z/d"]);
    expect(await codeOf((async () => await list(place, { sort: "size" }))())).toBe("ARGUMENT");
    // @ts-expect-error no order
    expect(await codeOf((async () => await list(place, { sort: "mode" }))())).toBe("ARGUMENT");
  });
});

test("sort by time has the newest first", () => {
  const place = scratch.plant("times", { old: "", new: "", middle: "" });
  for (const [name, time] of Object.entries({ old: 1000, middle: 2000, new: 3000 }))
    utimesSync(join(place, name), time, time);
  expect(paths(listSync(place, { sort: "time", stat: true }))).toEqual(["new", "middle", "old"]);
});

describe("what cannot be looked at", () => {
  // As root no directory is closed; the store that fails stands in for it.
  const place = scratch.plant("gaps", { "a/x": "", "b/y": "", c: "" });

  test("is collected, and the rest goes on", async () => {
    const found = await list(fault("enter=1,code=DENIED", place));
    expect(found.complete).toBe(false);
    expect(found.errors).toHaveLength(1);
    expect(found.errors[0]!.error.code).toBe("DENIED");
    expect(paths(found)).toEqual(expect.arrayContaining(["a", "b", "c"]));
    expect(found).toHaveLength(4);
  });

  test("stops the task with onError: stop", async () => {
    const where = fault("enter=1,code=DENIED", place);
    const error = await list(where, { onError: "stop" }).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(CopseError);
    if (!(error instanceof CopseError)) throw error;
    expect(error.code).toBe("DENIED");
    expect(["a", "b"]).toContain(error.path ?? "");
    expect(await codeOf((async () => listSync(where, { onError: "stop" }))())).toBe("DENIED");
    expect((await list(place, { onError: "stop" })).complete).toBe(true);
    // @ts-expect-error no way
    expect(await codeOf((async () => await list(place, { onError: "skip" }))())).toBe("ARGUMENT");
  });

  test.skipIf(isRoot)("a closed directory is one error", async () => {
    const closed = scratch.plant("closed", { "a/x": "", "b/y": "" });
    chmodSync(join(closed, "a"), 0);
    const found = await list(closed);
    chmodSync(join(closed, "a"), 0o755);
    expect(paths(found)).toEqual(["a", "b", "b/y"]);
    expect(found.errors.map(({ path, error }) => [path, error.code])).toEqual([["a", "DENIED"]]);
  });
});

test("pipes, devices, dangling links and links to a parent are what they are", async () => {
  const place = scratch.plant("odd", {
    fifo: pipe,
    gone: link("nowhere"),
    "a/up": link(".."),
    f: "",
  });
  expect((await list(place)).map(({ path, type }) => `${type} ${path}`)).toEqual([
    "directory a",
    "link a/up",
    "file f",
    "other fifo",
    "link gone",
  ]);
  expect(paths(await list(place, { links: "skip" }))).toEqual(["a", "f", "fifo"]);
  // The loop ends where it would come back to an ancestor, and the link stays one.
  const followed = await list(place, { links: "follow" });
  expect(followed.map(({ path, type }) => `${type} ${path}`)).toEqual([
    "directory a",
    "link a/up",
    "file f",
    "other fifo",
    "link gone",
  ]);
  expect(followed.complete).toBe(true);
});

test("two links to one directory are both walked", async () => {
  const place = scratch.plant("twice", { "real/x": "", one: link("real"), two: link("real") });
  expect(paths(await list(place, { links: "follow" }))).toEqual([
    "one",
    "one/x",
    "real",
    "real/x",
    "two",
    "two/x",
  ]);
});

describe("a root", () => {
  const place = scratch.plant("roots", { "d/x": "", f: "1" });
  symlinkSync("d", join(place, "l"));
  const from = process.cwd();

  test("may end in a slash, be relative, '.', or a link", async () => {
    try {
      process.chdir(place);
      for (const name of ["d", "d/", "./d", "l", "l/", join(place, "d"), "d/../d"])
        expect(paths(await list(name))).toEqual(["x"]);
      process.chdir("d");
      for (const name of [".", "./", "../d"]) expect(paths(await list(name))).toEqual(["x"]);
    } finally {
      process.chdir(from);
    }
  });

  test("that is a file is its one entry; that is missing is NOT_FOUND", async () => {
    expect(
      (await list(join(place, "f"), { stat: true })).map(({ path, size }) => [path, size]),
    ).toEqual([["", 1]]);
    expect(paths(await list(join(place, "f")))).toEqual([""]);
    expect(await codeOf((async () => await list(join(place, "gone")))())).toBe("NOT_FOUND");
  });
});

test.skipIf(process.platform !== "linux" || !isRoot)(
  "oneFileSystem tells of a mount point and does not enter it",
  async () => {
    const place = scratch.plant("mounts", { "here/x": "", "there/": "" });
    const mounted =
      Bun.spawnSync(["mount", "-t", "tmpfs", "none", join(place, "there")]).exitCode === 0;
    if (!mounted) return; // not allowed in this container; /proc below is always another one
    try {
      writeFileSync(join(place, "there", "y"), "");
      expect(paths(await list(place))).toEqual(["here", "here/x", "there", "there/y"]);
      expect(paths(await list(place, { oneFileSystem: true }))).toEqual([
        "here",
        "here/x",
        "there",
      ]);
    } finally {
      run("umount", join(place, "there"));
    }
  },
);

test.skipIf(process.platform !== "linux")(
  "oneFileSystem does not enter what is mounted in /",
  () => {
    const top = listSync("/", {
      oneFileSystem: true,
      maxDepth: 2,
      exclude: ["/tmp", "/home", "/root", "/work"],
    });
    expect(paths(top)).toContain("proc");
    expect(paths(top).filter((path) => path.startsWith("proc/"))).toEqual([]);
  },
);

describe("names", () => {
  test("with newlines, of 255 bytes and beyond ASCII come as they are", async () => {
    const names = ["a\nb", "x".repeat(255), "é😀", " ", "\u0001", "a\u007f"];
    const place = scratch.plant(
      "names",
      Object.fromEntries(names.map((name) => [`d/${name}`, ""])),
    );
    const found = await list(place);
    expect(paths(found).toSorted()).toEqual(["d", ...names.map((name) => `d/${name}`)].toSorted());
    expect(found.every(({ pathBytes }) => pathBytes === undefined)).toBe(true);
  });

  test.skipIf(process.platform === "darwin")(
    "that are not UTF-8 keep their bytes, also as directories",
    async () => {
      const place = scratch.at("bytes");
      mkdirSync(place);
      mkdirSync(scratch.bytes("bytes/d\xff"));
      writeFileSync(scratch.bytes("bytes/d\xff/f\xfe"), "");
      writeFileSync(scratch.bytes("bytes/d\xff/é"), "");
      writeFileSync(join(place, "plain"), "");
      const found = await list(place);
      const bytes = found.map(({ path, pathBytes }) =>
        Buffer.from(pathBytes ?? Buffer.from(path)).toString("latin1"),
      );
      expect(bytes.toSorted()).toEqual(["d\xff", "d\xff/f\xfe", "d\xff/\xe9", "plain"].toSorted());
      expect(found.find(({ path }) => path === "plain")!.pathBytes).toBeUndefined();
    },
  );
});

describe("large trees", () => {
  test("1500 levels, beyond every length a path may have, are complete", async () => {
    plantDeep(scratch.at("deep"), "level", 1500, { leaf: "" });
    const found = await list(scratch.at("deep"), { sort: "none" });
    expect(found).toHaveLength(1501);
    expect(found.complete).toBe(true);
    const longest = found.reduce((most, { path }) => Math.max(most, path.length), 0);
    expect(longest).toBe("level/".length * 1500 + 4);
  });

  test("100,000 entries in one directory, and the same in batches", async () => {
    const count = Number(process.env["COPSE_WIDE"] ?? 100_000);
    using scratch = new Scratch(quickFolder(count));
    const place = scratch.at("wide");
    mkdirSync(place);
    run("sh", "-c", `cd "$1" && seq -f 'file-%07.0f' ${count} | xargs touch`, "sh", place);
    const before = process.memoryUsage.rss();
    let seen = 0;
    let batches = 0;
    let last = "";
    for await (const batch of list(place).batches()) {
      batches++;
      for (const row of batch) {
        seen++;
        expect(row.path > last).toBe(true);
        last = row.path;
      }
    }
    expect(seen).toBe(count);
    expect(batches).toBeGreaterThan(10);
    if (process.env["COPSE_WIDE"])
      console.log(
        `${count} entries in ${batches} batches, ${Math.round((process.memoryUsage.rss() - before) / 2 ** 20)} MiB more`,
      );
  });

  test.skipIf(process.platform !== "linux")("need few descriptors: ulimit -n 64 is enough", () => {
    const place = scratch.at("wide-and-deep");
    for (let i = 0; i < 40; i++)
      for (let j = 0; j < 12; j++)
        mkdirSync(join(place, `d${i}/e${j}/f/g/h/i/j`), { recursive: true });
    const program = `const { list } = await import(${JSON.stringify(join(root, "lib/index.ts"))});
      const found = await list(${JSON.stringify(place)}, { stat: process.argv[1] === "stat" });
      const deep = await list(${JSON.stringify(scratch.at("deep"))});
      console.log(found.length, found.complete, deep.length, deep.complete);`;
    for (const what of ["names", "stat"]) {
      const { stdout, stderr } = Bun.spawnSync([
        "sh",
        "-c",
        'ulimit -n 64; exec "$0" -e "$1" "$2"',
        process.execPath,
        program,
        what,
      ]);
      expect(stdout.toString() + stderr.toString()).toBe("2920 true 1501 true\n");
    }
  });
});

test("a tree that changes under the walk: each walk ends, and what stays is always there", async () => {
  const place = scratch.at("changing");
  for (let i = 0; i < 60; i++) mkdirSync(join(place, `stay${i}/a/b`), { recursive: true });
  await using runtime = new Runtime();
  let done = false;
  const churn = (async () => {
    for (let i = 0; !done; i++) {
      const at = join(place, `come-and-go${i % 5}`);
      mkdirSync(join(at, "x/y"), { recursive: true });
      writeFileSync(join(at, "x/f"), "");
      await Bun.sleep(0);
      rmSync(at, { recursive: true });
      writeFileSync(at, ""); // a file where a directory was
      rmSync(at);
    }
  })();
  for (let round = 0; round < 40; round++) {
    const found = await list(place, { runtime, stat: round % 2 === 0 });
    const stayed = found.filter(({ path }) => path.startsWith("stay"));
    expect(stayed).toHaveLength(180);
    for (const { error } of found.errors) expect(["NOT_FOUND", "CHANGED"]).toContain(error.code);
    for (const { path } of found.errors) expect(path).toStartWith("come-and-go");
  }
  done = true;
  await churn;
});

test("the answer is the same with 1 to 16 threads, and again", async () => {
  const place = scratch.at("same");
  for (let i = 0; i < 30; i++)
    for (let j = 0; j < 5; j++) {
      mkdirSync(join(place, `d${i}/e${j}`), { recursive: true });
      writeFileSync(join(place, `d${i}/e${j}/f`), "");
    }
  const expected = [...listSync(place)];
  expect(expected).toHaveLength(330);
  for (const ioWorkers of [1, 2, 3, 16]) {
    await using runtime = new Runtime({ ioWorkers });
    for (let i = 0; i < 5; i++) expect([...(await list(place, { runtime }))]).toEqual(expected);
    const many = await Promise.all(Array.from({ length: 50 }, () => list(place, { runtime })));
    for (const found of many) expect(found).toHaveLength(330);
  }
});

function fault(spec: string, place: string): string {
  return `fault:${spec}:${place}`;
}
