// Copy and sync where the ground gives way: full and read-only disks, rights that are missing, names
// that are taken, directories that are swapped while they are written to. COPSE_SWAPS=10000 asks for
// that many syncs under swapping.

import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { compareSync, copy, copySync, sync, syncSync } from "../lib/index.ts";
import { patience } from "./patience.ts";
import { tied } from "./servers/tied.ts";
import { nobody } from "./somebody.ts";
import { said, shape, strays } from "./synced.ts";
import { isRoot, link, Scratch } from "./trees.ts";
import { codeOf, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const swaps = Number(process.env["COPSE_SWAPS"] ?? 60);
patience(60_000 + swaps * 100);

const library = join(import.meta.dir, "..", "lib", "index.ts");
const main = join(import.meta.dir, "..", "lib", "cli", "main.ts");

let scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
beforeEach(() => {
  scratch[Symbol.dispose]();
  scratch = new Scratch();
});

function ask(...command: string[]): { status: number; said: string } {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
  return { status: exitCode, said: `${stdout.toString()}${stderr.toString()}` };
}

/** With something mounted at `at`; a sentence where that cannot be done here. */
async function mounted(
  at: string,
  args: readonly string[],
  work: () => Promise<void>,
): Promise<void> {
  mkdirSync(at, { recursive: true });
  const { status, said: why } = ask("mount", ...args, at);
  if (status !== 0) {
    console.log(`skipped: mount ${args.join(" ")}: ${why.trim()}`);
    return;
  }
  try {
    await work();
  } finally {
    ask("umount", at);
  }
}

/** A new file system of that size in a file, mounted at `at`; a sentence where there can be none. */
async function formatted(
  at: string,
  size: string,
  [program, ...args]: readonly [string, ...string[]],
  work: () => Promise<void>,
): Promise<void> {
  const image = scratch.at("image");
  const made =
    Bun.which(program) &&
    ask("truncate", "-s", size, image).status === 0 &&
    ask(program, ...args, image).status === 0;
  if (made) await mounted(at, ["-o", "loop", image], work);
  else console.log(`skipped: ${program} makes no file system here`);
}

describe("the disk", () => {
  test.skipIf(!isRoot)(
    "that is full: NO_SPACE, what fits is there, nothing of ours stays",
    async () => {
      const from = scratch.plant("from", {
        a: "fits",
        large: new Uint8Array(3_000_000).fill(1),
        larger: new Uint8Array(20_000_000).fill(2),
        z: "fits, too",
      });
      const to = scratch.at("to");
      await mounted(to, ["-t", "tmpfs", "-o", "size=1m", "tmpfs"], async () => {
        writeFileSync(join(to, "large"), "old");
        const result = await sync(from, to);
        // The root's own mode and time may have to be set.
        expect(said(result).filter((line) => line !== "updated ")).toEqual([
          "copied a",
          "error large NO_SPACE",
          "error larger NO_SPACE",
          "copied z",
        ]);
        expect(shape(to)).toEqual({ a: "fits", large: "old", z: "fits, too" });
      });
    },
  );

  test.skipIf(!isRoot)(
    "that keeps whole seconds: the second run writes nothing, and a dry run says so",
    async () => {
      const to = scratch.at("to");
      const from = scratch.plant("from", { "d/even": "1", "d/odd": "2", "d/old": "3" });
      for (const [name, seconds] of [
        ["even", 1_700_000_000.123456],
        ["odd", 1_700_000_001.987654],
        ["old", 999_999_999.5],
      ] as const)
        utimesSync(join(from, "d", name), seconds, seconds);
      symlinkSync("even", join(from, "d/link"));
      // Inodes of 128 bytes have no room for nanoseconds.
      const ext3 = ["mke2fs", "-q", "-F", "-t", "ext3", "-I", "128"] as const;
      await formatted(to, "8M", ext3, async () => {
        const place = join(to, "tree");
        expect(await sync(from, place)).toMatchObject({ copied: 4, errors: 0 });
        expect(said(await sync(from, place, { dryRun: true }))).toEqual([]);
        const again = await sync(from, place);
        expect({ rows: said(again), skipped: again.skipped }).toEqual({ rows: [], skipped: 4 });
        // A whole second is another time.
        utimesSync(join(from, "d/odd"), 1_700_000_002, 1_700_000_002);
        expect(said(await sync(from, place, { dryRun: true }))).toEqual(["copied d/odd"]);
        expect(said(await sync(from, place))).toEqual(["copied d/odd"]);
      });
    },
  );

  test("that keeps nanoseconds: whole seconds that differ by one do, in a dry run, too", async () => {
    const [from, to] = [scratch.plant("from", { a: "new" }), scratch.plant("to", { a: "old" })];
    utimesSync(join(from, "a"), 1_000_000_001, 1_000_000_001);
    utimesSync(join(to, "a"), 1_000_000_000, 1_000_000_000);
    expect(said(await sync(from, to, { dryRun: true }))).toEqual(["copied a"]);
    expect(said(await sync(from, to))).toEqual(["copied a"]);
  });

  test.skipIf(!isRoot)("that is read-only: DENIED, nothing changes", async () => {
    const from = scratch.plant("from", { a: "new", b: "b" });
    const real = scratch.plant("real", { a: "old", c: "c" });
    utimesSync(from, 1000, 1000); // another time than the other one's
    const to = scratch.at("to");
    await mounted(to, ["--bind", real], async () => {
      expect(ask("mount", "-o", "remount,bind,ro", to).status).toBe(0);
      const result = await sync(from, to);
      const lines = ["error  DENIED", "error a DENIED", "error b DENIED", "error c DENIED"];
      expect(said(result)).toEqual(lines);
      // However much of the path is missing, it is not that which is said.
      for (const place of ["new", "new/deep/er"])
        expect(await codeOf(copy(from, join(to, place)).then())).toBe("DENIED");
    });
    expect(shape(real)).toEqual({ a: "old", c: "c" });
  });

  test("that answers EIO for one file: that file fails, the rest is done", async () => {
    const from = scratch.plant("from", { a: "a", b: "b", c: "c" });
    const to = scratch.plant("to", { a: "old", b: "old", c: "old" });
    const result = await sync(`fault:read=2,code=IO:${from}`, to, { concurrency: 1, retries: 0 });
    expect(result).toMatchObject({ errors: 1, copied: 2 });
    expect(said(result).filter((line) => line.endsWith(" IO"))).toHaveLength(1);
    expect(strays(to)).toEqual([]);
  });

  test.skipIf(!isRoot)(
    "without case: names that differ only in it clash, and it is said",
    async () => {
      const to = scratch.at("to");
      const from = scratch.plant("from", { name: "one", NAME: "two" });
      await formatted(to, "16M", ["mkfs.vfat"], async () => {
        const result = await copy(from, to);
        expect(result.errors + readdirSync(to).length).toBeGreaterThanOrEqual(2);
      });
    },
  );
});

describe("rights", () => {
  const script = `const { syncSync } = await import(${JSON.stringify(library)});
    const { actions, errors } = syncSync(process.argv[1], process.argv[2]);
    console.log(JSON.stringify({ errors, rows: actions.map((a) => a.kind + " " + a.path + (a.error ? " " + a.error.code : "")) }));`;
  const asNobody = (from: string, to: string): { errors: number; rows: string[] } | undefined => {
    const { status, said: text } = ask(...nobody, process.execPath, "-e", script, from, to);
    if (status === 0) return JSON.parse(text) as { errors: number; rows: string[] };
    console.log(`skipped: as uid 65534: ${text.split("\n")[0]}`);
    return undefined;
  };

  test.skipIf(!isRoot)("of somebody else: DENIED for what is closed, the rest is done", () => {
    chmodSync(scratch.path, 0o755);
    const from = scratch.plant("from", { a: "a", closed: "c", "d/x": "x", "shut/y": "y" });
    chmodSync(join(from, "closed"), 0);
    chmodSync(join(from, "shut"), 0);
    const to = scratch.plant("to", { "d/x": "old", old: "old", "own/z": "z" });
    for (const path of ["", "own"]) chownSync(join(to, path), 65534, 65534);
    const answer = asNobody(from, to);
    if (!answer) return;
    // Below d nothing may be written; shut cannot be listed, so nothing is deleted.
    expect(answer.rows).toContain("copied a");
    expect(answer.rows).toContain("error closed DENIED");
    expect(answer.rows).toContain("error d/x DENIED");
    expect(answer.rows.some((row) => row.startsWith("error shut DENIED"))).toBe(true);
    expect(answer.rows.some((row) => row.startsWith("deleted"))).toBe(false);
    expect(shape(to)).toMatchObject({ a: "a", "d/x": "old", old: "old", "own/z": "z" });
    expect(strays(to)).toEqual([]);
  });
});

describe("names", () => {
  test("of ours that are taken by a directory, a link or a pipe stay as they are", async () => {
    const from = scratch.plant("from", { f: "f", large: new Uint8Array(17_000_000).fill(3) });
    const outside = scratch.plant("outside", { secret: "s" });
    const to = scratch.plant("to", {
      ".copse-0011223344556677.part/in": "a directory",
      ".copse-0011223344556688.keep/in": "a directory",
      ".copse-0011223344556699.keep": link("../outside/secret"),
      ".copse-00112233445566aa.keep": "no journal",
    });
    expect((await sync(from, to)).errors).toBe(0);
    expect(shape(outside)).toEqual({ secret: "s" });
    expect(readFileSync(join(to, "f"), "utf8")).toBe("f");
    expect(shape(to)).toMatchObject({
      ".copse-0011223344556677.part/in": "a directory",
      ".copse-0011223344556688.keep/in": "a directory",
    });
  });

  test("that appear while they are written are not replaced, nor is what differs only in case", async () => {
    // Where names have no case, a twin appears in the same way: the listing did not have it.
    // A large one has a temporary beside it, a small one no name at all until it is whole. Those
    // between the first and it give time.
    for (const size of [3_000_000, 3]) {
      const names = ["a", ..."bcdefghijk", "z"];
      const from = scratch.plant(`from${size}`, {
        ...Object.fromEntries(names.map((name) => [name, "new"])),
        z: new Uint8Array(size).fill(1),
      });
      const to = scratch.plant(`to${size}`, {});
      const task = copy(`fault:delay=100:${from}`, to, { concurrency: 1 });
      while (!existsSync(join(to, "a"))) await Bun.sleep(1);
      writeFileSync(join(to, "z"), "theirs");
      const result = await task;
      expect(said(result)).toContain("error z EXISTS");
      expect(readFileSync(join(to, "z"), "utf8")).toBe("theirs");
      expect(strays(to)).toEqual([]);
    }
  });

  test("of 255 bytes, with a journal beside them", async () => {
    const from = scratch.plant("from", {
      ["x".repeat(255)]: new Uint8Array(17_000_000).fill(4),
      ["é".repeat(127)]: "accents",
    });
    const result = await sync(from, scratch.at("to"));
    expect(result).toMatchObject({ copied: 2, errors: 0 });
    expect(compareSync(from, scratch.at("to")).equal).toBe(true);
  });
});

test(`directories swapped for links during ${swaps} syncs lead nowhere`, async () => {
  const outside = scratch.plant("outside", {
    f: "outside",
    f1: "outside",
    "deep/g": "outside, too",
    "deep/f": "outside, too",
  });
  const before = shape(outside);
  const from = scratch.plant("from", {
    ...Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`d/f${i}`, `new ${i}`])),
    "d/deep/g": "new g",
    "d/deep/f": "new f",
    "e/f": "new f",
    swap: link(outside),
    other: link(join(outside, "deep")),
  });
  const to = scratch.at("to");
  syncSync(from, to);
  // Another process, so that it runs while this one is inside a sync. What a sync put right it swaps
  // again. It names nothing below what it swaps: it would be led astray itself.
  const swapper = Bun.spawn(
    tied([
      process.execPath,
      "-e",
      `const { dlopen } = require("bun:ffi");
       const { symbols } = dlopen("libc.so.6", {
         renameat2: { args: ["i32", "ptr", "i32", "ptr", "u32"], returns: "i32" },
       });
       const pairs = ["/d /swap", "/e /other"].map((pair) =>
         pair.split(" ").map((name) => Buffer.from(process.argv[1] + name + "\\0")));
       process.stdout.write("go");
       for (let i = 0; ; i++) {
         const [a, b] = pairs[i % 7 === 0 ? 1 : 0];
         symbols.renameat2(-100, a, -100, b, 2);
         for (let wait = i % 50; wait > 0; wait--) performance.now();
       }`,
      to,
    ]),
    { stdout: "pipe", stderr: "inherit" },
  );
  await swapper.stdout.getReader().read();
  let trouble = 0;
  let count = 0;
  try {
    // On until some were met, for a while.
    for (const end = Date.now() + 30_000; count < swaps || (trouble === 0 && Date.now() < end);) {
      const options = { fsync: false, moves: count % 3 === 0, force: true } as const;
      try {
        const result =
          count % 5 === 0 ? copySync(from, to, { fsync: false }) : syncSync(from, to, options);
        trouble += result.errors > 0 ? 1 : 0;
      } catch {
        trouble++;
      }
      writeFileSync(join(from, "d", `f${count % 12}`), `newer ${count}`);
      if (count++ % 10 === 0) expect(shape(outside)).toEqual(before);
    }
  } finally {
    swapper.kill("SIGKILL");
    await swapper.exited;
  }
  expect(shape(outside)).toEqual(before);
  expect(trouble).toBeGreaterThan(0);
  // Nobody is at it any more: it comes out right.
  expect(syncSync(from, to, { force: true }).errors).toBe(0);
  expect(shape(to)).toEqual(shape(from));
  console.log(`swaps: ${count} syncs, ${trouble} of them met one`);
});

test.skipIf(!Bun.which("strace"))("run twice, it writes nothing the second time", () => {
  const from = scratch.plant("from", {
    ...Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`d${i % 4}/f${i}`, `${i}`])),
    large: new Uint8Array(17_000_000).fill(5),
    l: link("large"),
    "empty/": "",
  });
  const to = scratch.at("to");
  syncSync(from, to);
  const trace = scratch.at("trace");
  const changing =
    "write,pwrite64,writev,ftruncate,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,link,linkat,symlink,symlinkat,chmod,fchmod,fchmodat,chown,fchown,fchownat,utimensat,fsync,fdatasync,copy_file_range,setxattr,fsetxattr,removexattr,openat";
  const { status, said: text } = ask(
    "strace",
    "-f",
    "-y",
    "-qq",
    "-o",
    trace,
    "-e",
    `trace=${changing}`,
    process.execPath,
    main,
    "sync",
    from,
    to,
    "--json",
  );
  if (status !== 0 && !text.includes('"planned"')) {
    console.log(`skipped: strace: ${text.split("\n")[0]}`);
    return;
  }
  expect(JSON.parse(text)).toMatchObject({ planned: 0, errors: 0 });
  const lines = readFileSync(trace, "utf8").split("\n");
  const inTo = lines.filter((line) => line.includes(to));
  expect(inTo.length).toBeGreaterThan(0); // it was looked at
  const isChange = (line: string): boolean =>
    // What one thread's call was cut by has its flags in the line before.
    !/openat(?:\(| resumed)/.test(line) || /O_WRONLY|O_RDWR|O_CREAT|O_TRUNC/.test(line);
  expect(inTo.filter(isChange)).toEqual([]);
});

test.skipIf(!Bun.which("strace"))(
  "the thread of JavaScript opens, reads and writes nothing of a tree",
  () => {
    const from = scratch.plant("from", {
      "d/a": "1",
      "d/b": new Uint8Array(300_000),
      l: link("d"),
    });
    const [to, trace] = [scratch.at("to"), scratch.at("trace")];
    const program = `const { compare, copy, list } = await import(${JSON.stringify(library)});
      const [from, to] = process.argv.slice(-2);
      await copy(from, to);
      await list(from, { stat: true });
      process.stdout.write(String((await compare(from, to)).equal));`;
    const traced = ["strace", "-f", "-y", "-qq", "-o", trace, "-e", "trace=file,desc"];
    const { status, said: text } = ask(...traced, process.execPath, "-e", program, from, to);
    if (status !== 0) {
      console.log(`skipped: strace: ${text.split("\n")[0]}`);
      return;
    }
    expect(text).toBe("true");
    const lines = readFileSync(trace, "utf8").split("\n");
    const [main = ""] = lines[0]!.split(" ");
    const inTrees = lines.filter((line) => line.includes(`${from}/`) || line.includes(`${to}/`));
    expect(inTrees.length).toBeGreaterThan(10);
    expect(
      inTrees.filter((line) => line.startsWith(`${main} `) && !line.includes("execve")),
    ).toEqual([]);
  },
);
