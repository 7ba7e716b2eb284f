// Edge cases of scan.md, section 2.6, and of its options that take more than a folder: devices, mount points, a full
// disk, files that may not be read, a walk that is stopped half-way.

import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import {
  list,
  listSync,
  scan,
  scanSync,
  shuffle,
  type Pattern,
  type ScanOptions,
} from "../lib/index.ts";
import { asSomebody, canBeSomebody } from "./somebody.ts";
import { device, isRoot, link, run, Scratch } from "./trees.ts";
import { codeOf, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const root = join(import.meta.dir, "..");
const library = JSON.stringify(join(root, "lib/index.ts"));

const paths = (rows: readonly { path: string }[]): string[] => rows.map(({ path }) => path);

// ── Mounts of a process's own: nothing of them is left, whatever happens ──

/** What a program prints after `mounts`, a shell script that has `place` as $1. */
function mounted(place: string, mounts: string, program: string): string {
  const { stdout, stderr } = Bun.spawnSync(
    [
      "unshare",
      "-m",
      "sh",
      "-ec",
      `${mounts}\nexec "$2" -e "$3"`,
      "sh",
      place,
      process.execPath,
      `const { list, scan, scanSync, shuffle } = await import(${library});\n${program}`,
    ],
    { env: { ...process.env, NO_COLOR: "1" } },
  );
  if (stderr.length > 0) throw new Error(stderr.toString());
  return stdout.toString();
}

const canMount = ((): boolean => {
  if (process.platform !== "linux" || !isRoot) return false;
  mkdirSync(scratch.at("mount"));
  const { exitCode } = Bun.spawnSync([
    "unshare",
    "-m",
    "sh",
    "-ec",
    'mount -t tmpfs none "$1"',
    "sh",
    scratch.at("mount"),
  ]);
  return exitCode === 0;
})();
if (!canMount) console.log("skipped: mount points and full disks, because nothing can be mounted");

const canMakeDevices = ((): boolean => {
  if (!isRoot) return false;
  const made = Bun.spawnSync(["mknod", scratch.at("null"), "c", "1", "3"]);
  return made.exitCode === 0;
})();
if (!canMakeDevices) console.log("skipped: devices, because none can be made here");

describe("scan.md, 2.6, trees:", () => {
  test.skipIf(!canMakeDevices)(
    "devices, and links to them: never matched, never opened, listed as other",
    async () => {
      // Numbers that no driver has: whoever opened one would get an error.
      const place = scratch.plant("devices", {
        "d/character": device(240, 7),
        "d/f": "",
        "d/to-it": link("character"),
      });
      run("mknod", join(place, "d/block"), "b", "240", "7");
      for (const links of ["keep", "follow", "skip"] as const) {
        for (const name of ["character", "block", "to-it"]) {
          const found = await scan(place, [{ files: [name] }, { directories: [{ name }] }], {
            links,
          });
          expect([...found]).toEqual([]);
          expect([found.complete, found.errors]).toEqual([true, []]);
        }
        expect(paths(scanSync(place, { files: ["*"] }, { links }))).toEqual(["d"]);
        // Forbidden are files and directories, and it is neither.
        expect(
          paths(scanSync(place, { files: ["f"], forbidden: ["character"] }, { links })),
        ).toEqual(["d"]);
      }
      expect((await list(place)).map(({ type, path }) => `${type} ${path}`)).toEqual([
        "directory d",
        "other d/block",
        "other d/character",
        "file d/f",
        "link d/to-it",
      ]);
      expect(
        listSync(place, { links: "follow" }).find(({ path }) => path === "d/to-it")!.type,
      ).toBe("other");
    },
  );

  test.skipIf(!canMount)(
    "mount points: entered, and with oneFileSystem seen and not entered, by list and scan",
    () => {
      const place = scratch.plant("mounts", {
        "here/f": "",
        "there/": "",
        "same/": "",
      });
      const said = mounted(
        place,
        // What is bound from the same file system is the same file system.
        'mount -t tmpfs none "$1/there"; mkdir "$1/there/d"; touch "$1/there/f" "$1/there/d/f"; mount --bind "$1/here" "$1/same"',
        `const place = ${JSON.stringify(place)};
         const of = (rows) => rows.map(({ path }) => path);
         const rows = [];
         for (const oneFileSystem of [false, true]) {
           const found = await scan(place, { files: ["f"] }, { oneFileSystem });
           rows.push(of(found), of(scanSync(place, { directories: [{ name: "there" }] }, { oneFileSystem })));
           rows.push(of(await list(place, { oneFileSystem })), found.complete);
         }
         rows.push(of(await scan(place + "/there", { files: ["f"] }, { oneFileSystem: true })));
         console.log(JSON.stringify(rows));`,
      );
      expect(JSON.parse(said)).toEqual([
        ["here", "same", "there", "there/d"],
        [""],
        ["here", "here/f", "same", "same/f", "there", "there/d", "there/d/f", "there/f"],
        true,
        ["here", "same"],
        [""],
        ["here", "here/f", "same", "same/f", "there"],
        true,
        ["", "d"],
      ]);
    },
  );
});

describe("scan takes what list takes:", () => {
  const place = scratch.plant("options", {
    ".gitignore": "out/\n*.log\n!keep.log\n",
    "a/f": "",
    "a/x.log": "",
    "a/keep.log": "",
    "a/.gitignore": "f2\n",
    "a/f2": "",
    "out/f": "",
    "b/c/f": "",
  });
  const found = async (pattern: Pattern, options: ScanOptions): Promise<string[]> => {
    const awaited = await scan(place, pattern, options);
    expect(paths(scanSync(place, pattern, options))).toEqual(paths(awaited));
    return paths(awaited);
  };

  test("ignoreFiles: what git would leave out is not there, and not entered", async () => {
    const ignoreFiles = [".gitignore"];
    expect(await found({ files: ["f"] }, {})).toEqual(["a", "b/c", "out"]);
    expect(await found({ files: ["f"] }, { ignoreFiles })).toEqual(["a", "b/c"]);
    expect(await found({ files: ["x.log"] }, { ignoreFiles })).toEqual([]);
    expect(await found({ files: ["keep.log"] }, { ignoreFiles })).toEqual(["a"]);
    expect(await found({ files: ["f2"] }, { ignoreFiles })).toEqual([]);
    expect(await found({ name: "out" }, { ignoreFiles })).toEqual([]);
    expect(await found({ files: ["f"], forbidden: ["*.log"] }, { ignoreFiles })).toEqual(["b/c"]);
  });

  test("maxDepth: a directory that is not entered counts by its name, and more is not claimed", async () => {
    const options = { maxDepth: 1 };
    const above = (...directories: Pattern["directories"] & object): Pattern => ({ directories });
    expect(await found({}, options)).toEqual([""]);
    expect(await found(above({ name: "b" }), options)).toEqual([""]);
    expect(await found(above({ name: "b", directories: [{ name: "c" }] }), options)).toEqual([]);
    expect(await found(above({ name: "b", count: { max: 0 } }), options)).toEqual([]);
    expect(await found(above({ name: "b", files: ["f"], count: { max: 0 } }), options)).toEqual([]);
    expect(await found(above({ name: "x", files: ["f"], count: { max: 0 } }), options)).toEqual([
      "",
    ]);
    // What lies below the levels that a pattern speaks of does not matter.
    const deeper = above({ name: "b", count: { max: 0 } });
    expect(await found(deeper, { maxDepth: 2 })).toEqual(["a", "b", "out"]);
    expect(await found(deeper, { maxDepth: 2 })).toEqual(
      (await found(deeper, {})).filter((path) => !path.includes("/")),
    );
  });

  test("onError: collect goes on and says so, stop ends there", async () => {
    const broken = `fault:enter=1,code=DENIED:${place}`;
    const collected = await scan(broken, { files: ["f"] });
    expect([collected.complete, collected.errors.map(({ error }) => error.code)]).toEqual([
      false,
      ["DENIED"],
    ]);
    expect(await codeOf(scan(broken, {}, { onError: "stop" }))).toBe("DENIED");
    expect(await codeOf((async () => scanSync(broken, {}, { onError: "stop" }))())).toBe("DENIED");
  });

  test("batches, and entry by entry", async () => {
    const wanted = paths(scanSync(place, {})).toSorted();
    const batched: string[] = [];
    for await (const rows of scan(place, {}).batches()) batched.push(...paths(rows));
    expect(batched.toSorted()).toEqual(wanted);
    const single: string[] = [];
    for await (const row of scan(place, {})) single.push(row.path);
    expect(single.toSorted()).toEqual(wanted);
  });
});

test("scan.md, 2.6, streaming: an AbortSignal in mid-walk, of one that is iterated and one that is awaited", async () => {
  const place = scratch.plant(
    "aborted",
    Object.fromEntries(
      Array.from({ length: 3000 }, (_, i) => [`${"long".repeat(20)}-${i % 60}/d${i}/`, ""]),
    ),
  );
  const controller = new AbortController();
  let seen = 0;
  const iterated = (async () => {
    for await (const row of scan(place, {}, { signal: controller.signal }))
      if (row.kind === "match" && ++seen === 1) controller.abort(new Error("enough"));
  })();
  expect(await codeOf(iterated)).toBe("Error: enough");
  expect(seen).toBeGreaterThan(0);
  expect(seen).toBeLessThan(3061); // two pages were on their way, the rest was never made
  const other = new AbortController();
  const task = scan(
    place,
    {},
    {
      signal: other.signal,
      onProgress: () => {},
    },
  );
  const ended = codeOf(task);
  queueMicrotask(() => queueMicrotask(() => other.abort(new Error("at once"))));
  expect(await ended).toBe("Error: at once");
  expect(task.state).toBe("cancelled");
});

describe("scan.md, 2.6, shuffle:", () => {
  test.skipIf(!canMount)("ENOSPC on one file is a row for that file, and the rest is there", () => {
    const place = scratch.plant("full", {
      "from/m/a": "small",
      "from/m/large": new Uint8Array(3_000_000).fill(1),
      "from/m/z": "small, too",
      "from/n/a": "another match",
      "to/": "",
    });
    const said = mounted(
      join(place, "to"),
      'mount -t tmpfs -o size=1m none "$1"',
      `const [from, to] = ${JSON.stringify([join(place, "from"), join(place, "to")])};
       const { readdirSync } = await import("node:fs");
       const done = await shuffle(await scan(from, { name: "[mn]", files: ["*"] }), to + "/out");
       const errors = done.actions.filter(({ kind }) => kind === "error");
       console.log(JSON.stringify([errors.map(({ path, error }) => [path, error.code, error.errno]), done.complete, done.errors, done.copied,
         readdirSync(to, { recursive: true }).toSorted()]));`,
    );
    expect(JSON.parse(said)).toEqual([
      [["m/large", "NO_SPACE", "ENOSPC"]],
      false,
      1,
      3,
      ["out", "out/m", "out/m/a", "out/m/z", "out/n", "out/n/a"],
    ]);
  });

  test.skipIf(!canBeSomebody(scratch.path))(
    "EACCES on one file is a row for that file, and the rest is there",
    () => {
      const place = scratch.plant("closed", {
        "from/m/a": "1",
        "from/m/shut": "2",
        "from/m/z": "3",
        "to/": "",
      });
      if (isRoot) {
        chownSync(join(place, "to"), 65534, 65534);
        chownSync(join(place, "from/m/shut"), 0, 0);
      }
      chmodSync(join(place, "from/m/shut"), 0);
      const said = asSomebody(
        `const [from, to] = ${JSON.stringify([join(place, "from"), join(place, "to/out")])};
         const done = await copse.shuffle(await copse.scan(from, { name: "m", files: ["*"] }), to);
         const errors = done.actions.filter(({ kind }) => kind === "error");
         console.log(JSON.stringify([errors.map(({ path, error }) => [path, error.code]), done.complete, done.copied]));`,
        scratch.path,
      );
      expect(JSON.parse(said)).toEqual([[["m/shut", "DENIED"]], false, 2]);
      expect(readdirSync(join(place, "to/out/m")).toSorted()).toEqual(["a", "z"]);
    },
  );

  test("a store that fails at one file gives one row, with and without it the same rest", async () => {
    const place = scratch.plant("failing", { "m/a": "1", "m/b": "2", "m/c": "3" });
    for (const code of ["NO_SPACE", "DENIED"]) {
      const to = scratch.at(`failing-${code}`);
      mkdirSync(to);
      const done = await shuffle(
        await scan(place, { name: "m", files: ["*"] }),
        ({ path }) => `fault:writer=2,code=${code}:${to}/${path}`,
        { concurrency: 1 },
      );
      expect(done.actions.filter(({ kind }) => kind === "error")).toHaveLength(1);
      expect([done.complete, done.errors, done.copied]).toEqual([false, 1, 2]);
      expect(readdirSync(join(to, "m"))).toHaveLength(2);
    }
  });
});
