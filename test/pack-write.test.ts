// Packs that are made here: what goes in comes out, the same tree gives the same bytes, and no damage
// goes unseen. COPSE_PACK_ROUNDS=1000 and COPSE_FLIPS=all are the long forms.

import { afterAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import {
  compare,
  compareSync,
  copy,
  CopseError,
  pack,
  packSync,
  Runtime,
  unpack,
  unpackSync,
  verify,
  verifySync,
} from "../lib/index.ts";
import type { PackOptions, PackReport } from "../lib/index.ts";
import { missedDamage, samples, text } from "./packs.ts";
import { within } from "./patience.ts";
import {
  asTree,
  directory,
  isRoot,
  link,
  Random,
  randomTree,
  run,
  Scratch,
  type Plant,
} from "./trees.ts";
import { atRest } from "./ways.ts";

const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const rounds = Number(process.env["COPSE_PACK_ROUNDS"] ?? 25);
const step = process.env["COPSE_FLIPS"] === "all" ? 1 : 17;

const isLink = (plant: Plant): plant is { kind: "link"; target: string } =>
  typeof plant === "object" && "kind" in plant && plant.kind === "link";

async function failure(work: PromiseLike<unknown>): Promise<CopseError> {
  try {
    await work;
  } catch (error) {
    expect(error).toBeInstanceOf(CopseError);
    return error as CopseError; // so it was just said
  }
  throw new Error("it did not fail");
}

test("a compressed archive becomes a pack, its hard links and all", async () => {
  const root = scratch.plant("archived", { a: "a", "d/b": "b", "d/e/c": "c" });
  run("ln", join(root, "a"), join(root, "d", "twin"));
  run("tar", "-C", root, "-czf", scratch.at("archived.tar.gz"), ".");
  for (const format of ["znippy", "copse"] as const) {
    const file = scratch.at(`archived.${format}`);
    const result = await pack(`archive:${scratch.at("archived.tar.gz")}`, file, { format });
    expect(result).toMatchObject({ copied: 4, errors: 0 });
    expect(verifySync(file).ok).toBe(true);
    expect(compareSync(root, `pack:${file}`).equal).toBe(true);
  }
});

test("a compressed archive in any order becomes the pack of its tree, and is read twice", async () => {
  const random = new Random(20);
  const plants: Record<string, Plant> = { empty: directory, link: link("d0/s0/f0") };
  for (let i = 0; i < 3000; i++)
    plants[`d${i % 7}/s${i % 31}/f${i}`] = `${random.below(2 ** 31)} `.repeat(1 + random.below(40));
  plants["d1/large"] = text(200_000);
  const root = scratch.plant("any-order", plants);
  chmodSync(join(root, "d2"), 0o711);
  chmodSync(join(root, "d0/s0/f0"), 0o640);
  for (let i = 0; i < 40; i++)
    linkSync(join(root, `d${i % 7}/s${i % 31}/f${i}`), join(root, `twin${i}`));
  const names = readdirSync(root, { recursive: true, encoding: "utf8" }).map((name) => `./${name}`);
  names.push(".");
  for (let i = names.length - 1; i > 0; i--) {
    const other = random.below(i + 1);
    [names[i], names[other]] = [names[other]!, names[i]!];
  }
  const folders = run("find", root, "-type", "d").trim().split("\n").length;
  const [list, archive] = [scratch.at("any-order.list"), scratch.at("any-order.tar.gz")];
  writeFileSync(list, names.join("\n"));
  run("tar", "-C", root, "--mtime=@1700000000", "--no-recursion", "-T", list, "-czf", archive);
  const twice = `archive:fault:open=3,sticky:${archive}`; // each time it is read, it is opened
  const tree = scratch.plant("any-order-tree", {});
  run("tar", "-C", tree, "-xpzf", archive);
  run("find", tree, "-type", "d", "-exec", "touch", "-d", "@1700000000", "{}", "+");
  for (const format of ["znippy", "copse"] as const) {
    const wanted = scratch.at(`any-order-tree.${format}`);
    await pack(tree, wanted, { format });
    for (const workers of [1, 4]) {
      const file = scratch.at(`any-order-${workers}.${format}`);
      using runtime = new Runtime({ workers });
      const result = await pack(twice, file, { format, runtime });
      expect(result).toMatchObject({
        copied: names.length - folders,
        errors: 0,
      });
      expect(readFileSync(file).equals(readFileSync(wanted))).toBe(true);
    }
  }
}, 60_000);

describe("pack and unpack", () => {
  test(
    `${rounds} random trees come out as they went in`,
    async () => {
      for (let seed = 1; seed <= rounds; seed++) {
        const grown = randomTree(new Random(seed));
        // Links that lead out are not unpacked, which is another test.
        for (const [path, plant] of grown)
          if (isLink(plant) && plant.target === "..") grown.set(path, link("."));
        const root = scratch.plant(`random-${seed}`, asTree(grown));
        const file = scratch.at(`random-${seed}.znippy`);
        const packed = await pack(root, file);
        expect(packed.errors).toBe(0);
        expect((await verify(file)).ok).toBe(true);
        const metadata = ["mode", "mtime"] as const;
        expect(await compare(root, `pack:${file}`, { metadata })).toMatchObject({ equal: true });
        const out = scratch.at(`random-${seed}-out`);
        expect((await unpack(file, out)).errors).toBe(0);
        const result = await compare(root, out, { metadata });
        expect(result.differences, `seed ${seed}`).toEqual([]);
      }
    },
    within(120_000),
  );

  test("modes, times to the nanosecond, links, empty directories and names of any bytes are kept", () => {
    const root = scratch.plant("kept", {
      "a.txt": "a",
      "b/run.sh": "#!/bin/sh",
      empty: directory,
      to: link("b/run.sh"),
      nothing: "",
    });
    chmodSync(`${root}/b/run.sh`, 0o755);
    chmodSync(`${root}/empty`, 0o700);
    run("touch", "-d", "2001-02-03 04:05:06.123456789", `${root}/a.txt`);
    utimesSync(`${root}/b`, 5, 6);
    writeFileSync(Buffer.concat([Buffer.from(`${root}/bad`), Buffer.from([0xff])]), "bytes");
    const file = scratch.at("kept.znippy");
    expect(packSync(root, file).errors).toBe(0);
    const out = scratch.at("kept-out");
    expect(unpackSync(file, out).errors).toBe(0);
    expect(run("rsync", "-a", "-i", "-n", "--checksum", "--delete", `${root}/`, `${out}/`)).toBe(
      "",
    );
    const exact = (path: string): bigint => statSync(path, { bigint: true }).mtimeNs;
    expect(exact(`${out}/a.txt`)).toBe(exact(`${root}/a.txt`));
  });

  test("names that are not UTF-8 get names of their own in the index, and come out as they were", () => {
    const root = scratch.plant("names", { "a\ufffd": "0", "a\ufffd~1": "1" });
    const raw = [[0xff], [0xfe], [0xc3], [0xff, 0x7e, 0x31]];
    for (const [i, bytes] of raw.entries())
      writeFileSync(Buffer.concat([Buffer.from(`${root}/a`), Buffer.from(bytes)]), `bad ${i}`);
    const file = scratch.at("names.znippy");
    expect(packSync(root, file)).toMatchObject({ errors: 0, copied: 6 });
    expect(compareSync(root, `pack:${file}`)).toMatchObject({ equal: true, files: 6 });
    const index = readFileSync(file).toString("latin1");
    const named = ["a\ufffd~2", "a\ufffd~3", "a\ufffd~4", "a\ufffd~1~1"];
    for (const name of named) expect(index).toContain(Buffer.from(name).toString("latin1"));
    const out = scratch.at("names-out");
    expect(unpackSync(file, out).errors).toBe(0);
    expect(compareSync(root, out)).toMatchObject({ equal: true, files: 6 });
  });

  test("the same bytes for any number of workers, and again", async () => {
    const random = new Random(7);
    const root = scratch.plant("same", {
      "big.log": text(300_000),
      "noise.bin": random.bytes(5_000_000),
      ...Object.fromEntries(
        Array.from({ length: 200 }, (_, i) => [`d${i % 7}/f${i}`, text(i)] as const),
      ),
    });
    const bytes: Buffer[] = [];
    for (const [i, options] of [
      {},
      { workers: 1, ioWorkers: 1 },
      { io: "blocking" as const },
      {},
    ].entries()) {
      using runtime = new Runtime(options);
      const file = scratch.at(`same-${i}.znippy`);
      await pack(root, file, { runtime });
      bytes.push(readFileSync(file));
    }
    for (const other of bytes.slice(1)) expect(other.equals(bytes[0]!)).toBe(true);
  });

  test("one blob for equal contents; levels and ways to compress", () => {
    const content = new Random(3).bytes(1_000_000);
    const once = scratch.plant("once", { a: content, text: text(20_000) });
    const twice = scratch.plant("twice", {
      a: content,
      b: content,
      c: content,
      text: text(20_000),
    });
    const size = (root: string, name: string, options: PackOptions = {}): number => {
      const file = scratch.at(`${name}.znippy`);
      packSync(root, file, options);
      expect(verifySync(file).ok).toBe(true);
      return statSync(file).size;
    };
    const plain = size(once, "once");
    expect(size(twice, "twice")).toBeLessThan(plain + 2000);
    const never = size(once, "never", { compress: "never" });
    expect(never).toBeGreaterThan(1_000_000 + text(20_000).length);
    expect(size(once, "nineteen", { level: 19 })).toBeLessThan(never);
    expect(size(once, "always", { compress: "always" })).toBeLessThan(never);
  });

  test("what does not become smaller is stored as it is, at any level, and always tries", () => {
    const root = scratch.plant("probe", {
      "noise.bin": new Random(11).bytes(3_000_000),
      "text.log": text(50_000),
      "photo.jpeg": text(100),
    });
    const made = (options: PackOptions): PackReport => {
      const { report } = packSync(root, scratch.at("probe.znippy"), options);
      expect(verifySync(scratch.at("probe.znippy")).ok).toBe(true);
      expect(report?.bytesOut).toBe(statSync(scratch.at("probe.znippy")).size);
      return report!; // a pack has one
    };
    const nineteen = made({ level: 19 });
    const bytesIn = 3_000_000 + text(50_000).length + text(100).length;
    expect(nineteen).toMatchObject({
      files: 3,
      directories: 1,
      compressedFiles: 2,
      storedFiles: 1,
      bytesIn,
      storedBytes: text(100).length,
      compressedBytes: bytesIn - text(100).length,
      chunks: 3,
      ratio: nineteen.bytesOut / bytesIn,
    });
    expect(made({ compress: "always" }).storedFiles).toBe(0);
    expect(made({ compress: "always" }).bytesOut).toBeGreaterThan(3_000_000);
  });

  test("copy into pack: is pack; what was there is replaced whole", async () => {
    const root = scratch.plant("into", { x: "1", y: "2" });
    const file = scratch.at("into.znippy");
    writeFileSync(file, "something else");
    await copy(root, `pack:${file}`);
    expect(await compare(root, `pack:${file}`)).toMatchObject({ equal: true, files: 2 });
    await pack(root, file, { exclude: ["y"] });
    expect((await compare(root, `pack:${file}`)).differences.map(({ path }) => path)).toEqual([
      "y",
    ]);
  });

  test("a pack in the tree that it is made of is left out of itself", async () => {
    const root = scratch.plant("itself", { a: "1", "b/c": "2" });
    const file = `${root}/b/x.znippy`;
    for (let round = 0; round < 3; round++)
      expect(await pack(root, file)).toMatchObject({ copied: 2, errors: 0 });
    expect((await verify(file)).files).toBe(2);
  });

  test("packageType and repo are kept in the manifest", () => {
    const root = scratch.plant("kinds", { a: "1" });
    const file = scratch.at("kinds.znippy");
    packSync(root, file, { packageType: 7, repo: "https://example.org/répo" });
    const bytes = readFileSync(file);
    const manifest = bytes.subarray(Number(bytes.readBigUInt64LE(bytes.length - 8)), -16);
    expect(manifest.includes(Buffer.from("https://example.org/répo"))).toBe(true);
    expect(verifySync(file).ok).toBe(true);
    for (const options of [{ packageType: 128 }, { packageType: -1 }, { repo: "a\0b" }])
      expect(() => packSync(root, file, options)).toThrow(
        expect.objectContaining({ code: "ARGUMENT" }),
      );
  });

  test("what is packed is not read again while it is packed: that is said before anything is", async () => {
    const root = scratch.plant("again", { a: "1" });
    const to = `pack:${scratch.at("again.znippy")}`;
    for (const verb of [copy, pack])
      expect(await failure(verb(root, to, { verify: true } as object))).toMatchObject({
        code: "UNSUPPORTED",
        location: to,
      });
    expect(existsSync(scratch.at("again.znippy"))).toBe(false);
  });

  test("dryRun makes no pack", async () => {
    const root = scratch.plant("dry", { a: "1", b: "2" });
    const file = scratch.at("dry.znippy");
    const said = await pack(root, file, { dryRun: true });
    expect(said).toMatchObject({ copied: 2, errors: 0 });
    expect(said.report).toBeUndefined();
    expect(existsSync(file)).toBe(false);
  });

  test("a pack of what a real znippy packed holds the same", async () => {
    const file = scratch.at("again.znippy");
    const source = `pack:${samples}/s1.znippy`;
    expect((await pack(source, file)).errors).toBe(0);
    expect(await compare(source, `pack:${file}`)).toMatchObject({ equal: true });
  });

  test("parts of a pack, by globs and by #", async () => {
    const root = scratch.plant("parts", { "a/x.txt": "1", "a/y.bin": "2", "b/z.txt": "3" });
    const file = scratch.at("parts.znippy");
    await pack(root, file);
    await unpack(file, scratch.at("parts-glob"), { include: ["**/*.txt"] });
    expect(readdirSync(scratch.at("parts-glob"), { recursive: true }).toSorted()).toEqual([
      "a",
      "a/x.txt",
      "b",
      "b/z.txt",
    ]);
    await unpack(`pack:${file}#a`, scratch.at("parts-sub"));
    expect(readdirSync(scratch.at("parts-sub")).toSorted()).toEqual(["x.txt", "y.bin"]);
  });
});

/** Whether this process has the file open. */
const isOpen = (path: string): boolean =>
  readdirSync("/proc/self/fd").some((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false; // closed meanwhile
    }
  });

describe("what goes wrong", () => {
  test("a link that leads out is packed, and not unpacked", async () => {
    const root = scratch.plant("leads", { a: "1", out: link("../../etc"), b: "2" });
    const file = scratch.at("leads.znippy");
    expect((await pack(root, file)).errors).toBe(0);
    expect(await compare(root, `pack:${file}`)).toMatchObject({ equal: true });
    const result = await unpack(file, scratch.at("leads-out"));
    expect(result).toMatchObject({ errors: 1, copied: 2 });
    expect(result.actions.find(({ kind }) => kind === "error")).toMatchObject({
      path: "out",
      error: { code: "UNSAFE_PATH" },
    });
    expect(readdirSync(scratch.at("leads-out")).toSorted()).toEqual(["a", "b"]);
  });

  test.skipIf(isRoot)(
    "a file that cannot be read is an error row, and the rest is packed",
    async () => {
      const root = scratch.plant("denied", { good: "1", bad: "2" });
      chmodSync(`${root}/bad`, 0);
      const file = scratch.at("denied.znippy");
      expect(await pack(root, file)).toMatchObject({ errors: 1, copied: 1, complete: false });
      expect((await verify(file)).ok).toBe(true);
    },
  );

  test("a directory, a pipe or where a link leads to one or to a device is no name for a pack", async () => {
    const root = scratch.plant("name-of", { a: "1" });
    const [inside, pipe] = [scratch.plant("names", {}), scratch.at("names", "pipe")];
    run("mkfifo", pipe);
    const links = { null: "/dev/null", pipe, directory: root };
    for (const [name, target] of Object.entries(links))
      symlinkSync(target, join(inside, `to-${name}`));
    const before = readdirSync(inside).map((name) => lstatSync(join(inside, name)).ino);
    for (const name of ["pipe", "to-null", "to-pipe"]) {
      const error = await failure(pack(root, join(inside, name)));
      expect([error.code, error.message]).toEqual([
        "UNSUPPORTED",
        expect.stringContaining("name a file"),
      ]);
    }
    for (const name of [inside, join(inside, "to-directory")])
      expect((await failure(pack(root, name))).code).toBe("EXISTS");
    expect(readdirSync(inside).map((name) => lstatSync(join(inside, name)).ino)).toEqual(before);
  });

  test("a reader that fails half-way leaves that file out of the pack", async () => {
    const root = scratch.plant("failing", { a: "1", b: text(10), c: "3" });
    const file = scratch.at("failing.znippy");
    const packed = await pack(`fault:read=2:${root}`, file, { retries: 0 });
    expect(packed).toMatchObject({ copied: 2, errors: 1, complete: false });
    expect(await verify(file)).toMatchObject({ ok: true, files: 2 });
  });

  test("a file that changes while it is packed is CHANGED and not in the pack, or packed as it is then", async () => {
    const [size, steps] = [3_000_000, { shrinks: 1000, grows: 5_000_000 }];
    const root = scratch.plant("changing", {
      ...Object.fromEntries(Object.keys(steps).map((name) => [name, new Random(8).bytes(size)])),
      stays: "stays",
    });
    const file = scratch.at("changing.znippy");
    for (const format of ["znippy", "copse"] as const) {
      for (const name of Object.keys(steps)) writeFileSync(join(root, name), new Uint8Array(size));
      // Slow enough to be met on the way.
      const work = pack(root, file, { bandwidth: 2_000_000, retries: 0, format });
      while (!Object.keys(steps).some((name) => isOpen(join(root, name)))) await Bun.sleep(1);
      await Bun.sleep(50); // it is measured as soon as it is open
      for (const [name, length] of Object.entries(steps)) truncateSync(join(root, name), length);
      const { actions } = await work;
      const errors = actions.flatMap((row) =>
        row.kind === "error" ? [`${row.path} ${row.error.code}`] : [],
      );
      // One that was not begun yet is packed as it is then.
      expect(errors.length).toBeGreaterThan(0);
      expect(errors.every((error) => error.endsWith(" CHANGED"))).toBe(true);
      expect((await verify(file)).ok).toBe(true);
      const missing = compareSync(root, `pack:${file}`).differences.map(
        ({ kind, path }) => `${path} ${kind}`,
      );
      expect(missing).toEqual(errors.map((error) => error.replace("CHANGED", "only-left")));
    }
  });

  test("the event loop has its turns while a pack is made", async () => {
    const root = scratch.plant("turns", { big: new Random(9).bytes(500_000).toHex() });
    for (const format of ["znippy", "copse"] as const) {
      let turns = 0;
      const timer = setInterval(() => turns++, 1);
      const began = performance.now();
      await pack(root, scratch.at("turns.pack"), { level: 19, format });
      const took = performance.now() - began;
      clearInterval(timer);
      // Far from one a millisecond on a busy machine; none at all if anything were done there.
      expect(turns).toBeGreaterThan(Math.min(10, took / 40));
    }
  });

  test("a cancelled pack leaves nothing, and what was there stays", async () => {
    const root = scratch.plant("cancelled", {
      // Ten, because a worker that is in the midst of one at this level is so for a while.
      ...Object.fromEntries(
        Array.from({ length: 10 }, (_, i) => [`big${i}`, new Random(i).bytes(300_000).toHex()]),
      ),
      ...Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`f${i}`, text(500)] as const)),
    });
    const file = scratch.at("out", "old.znippy");
    scratch.plant("out", { "old.znippy": "old" });
    for (const after of [0, 1, 5, 10]) {
      const controller = new AbortController();
      const work = pack(root, file, { signal: controller.signal, level: 19 });
      setTimeout(() => controller.abort("stop"), after);
      expect(
        await work.then(
          () => "done",
          (error: unknown) => error,
        ),
      ).toBe("stop");
      await atRest();
      expect(readFileSync(file, "utf8")).toBe("old");
      expect(readdirSync(dirname(file))).toEqual(["old.znippy"]);
    }
  });

  test("no room is NO_SPACE, and nothing is left, whoever finds out", async () => {
    // Enough for several workers to bring into the file.
    const root = scratch.plant("full", { big: new Random(6).bytes(14_000_000), small: text(9) });
    const out = scratch.plant("full-out", {});
    let failed = 0;
    for (const write of [1, 2, 3, 5, 8, 13, 21, 34, 55]) {
      const work = pack(root, `pack:fault:write=${write},code=NO_SPACE:${out}/x.znippy`);
      const error = await work.then(
        () => undefined,
        (cause: unknown) => cause as CopseError,
      );
      if (!error) break;
      await atRest();
      expect(error.code).toBe("NO_SPACE");
      expect(readdirSync(out)).toEqual([]);
      failed++;
    }
    expect(failed).toBeGreaterThan(5);
    // Or when it is to get its name, while what it was made of goes.
    for (const call of ["commit", "settle"]) {
      const error = await failure(pack(root, `pack:fault:${call}=1,code=NO_SPACE:${out}/x.znippy`));
      expect(error.code).toBe("NO_SPACE");
      await atRest();
      if (call === "commit") expect(readdirSync(out)).toEqual([]);
    }
    const file = `${out}/x.znippy`;
    expect(await pack(root, file)).toMatchObject({ errors: 0, complete: true });
    expect((await verify(file)).ok).toBe(true);
  });

  test("a pack that is cancelled while workers put it together leaves nothing, or is said to be whole", async () => {
    const root = scratch.plant("cut-short", { big: new Random(10).bytes(40_000_000) });
    const out = scratch.plant("cut-short-out", {});
    const options = { compress: "never" } as const;
    const began = performance.now();
    await pack(root, `${out}/x.znippy`, options);
    const took = performance.now() - began;
    rmSync(`${out}/x.znippy`);
    for (let share = 0.3; share < 1; share += 0.1) {
      const controller = new AbortController();
      const work = pack(root, `${out}/x.znippy`, { ...options, signal: controller.signal });
      setTimeout(() => controller.abort("stop"), took * share);
      const answer = await work.then(
        () => "done",
        (error: unknown) => error,
      );
      expect(answer === "stop" || answer === "done").toBe(true);
      await atRest();
      // One that had its name already when it was told to stop did not stop.
      expect(readdirSync(out)).toEqual(answer === "done" ? ["x.znippy"] : []);
      if (answer === "done") expect((await verify(`${out}/x.znippy`)).ok).toBe(true);
      rmSync(`${out}/x.znippy`, { force: true });
    }
  });

  test("whoever is told that a pack was cancelled finds none, whenever that was", async () => {
    const root = scratch.plant("met", { big: new Random(11).bytes(3_000_000), small: text(9) });
    const out = scratch.plant("met-out", {});
    const file = `${out}/x.znippy`;
    let late = 0;
    for (let round = 0; round < 30; round++) {
      const controller = new AbortController();
      const options = { compress: "never", timeout: 60_000 } as const;
      const work = pack(root, file, { ...options, signal: controller.signal });
      const answer = work.then(
        ({ copied }) => copied,
        (error: unknown) => error,
      );
      // As soon as it can be seen, the call not having ended.
      while (work.state === "running" || work.state === "queued") {
        if (existsSync(file)) break;
        await new Promise((resolve) => setImmediate(resolve));
      }
      late += Number(work.state === "running");
      // By the signal, or by itself.
      if (round % 2) work.cancel("stop");
      else controller.abort("stop");
      expect(await answer).toBe(2);
      expect((await verify(file)).ok).toBe(true);
      rmSync(file);
    }
    // It was met in between, or this tests nothing.
    expect(late).toBeGreaterThan(0);
  });

  test("bad options and places are refused before any work", async () => {
    const root = scratch.plant("refused", { a: "1" });
    const to = scratch.at("refused.znippy");
    for (const level of [0, 23, 1.5, "3"])
      expect((await failure(run2({ level } as PackOptions))).message).toContain("level");
    // @ts-expect-error no such way
    expect((await failure(run2({ compress: "some" }))).code).toBe("ARGUMENT");
    expect((await failure(pack(root, `pack:${to}#sub`))).code).toBe("UNSUPPORTED");
    expect((await failure(pack(root, "pack:http://127.0.0.1:1/x.znippy"))).code).toBe(
      "UNSUPPORTED",
    );
    expect((await failure(pack(scratch.at("missing"), to))).code).toBe("NOT_FOUND");
    expect(existsSync(to)).toBe(false);

    async function run2(options: PackOptions): Promise<unknown> {
      return pack(root, to, options);
    }
  });

  test(`every flipped byte and every cut of a pack of our own is found (every ${step}th)`, async () => {
    const root = scratch.plant("flips", {
      "a/text.log": text(200),
      "b.bin": new Random(1).bytes(300),
      c: link("a"),
      d: directory,
      "e.txt": "",
      f: "same",
      g: "same",
    });
    const file = scratch.at("flips.znippy");
    packSync(root, file);
    expect(await missedDamage(readFileSync(file), step)).toEqual([]);
  }, 1_200_000);

  test("unpacking a damaged pack writes none of the damaged files", async () => {
    const root = scratch.plant("spoilt", { good: "good", bad: text(1000) });
    const file = scratch.at("spoilt.znippy");
    packSync(root, file);
    const bytes = readFileSync(file);
    bytes[100]! ^= 1;
    writeFileSync(file, bytes);
    const out = scratch.at("spoilt-out");
    const result = await unpack(file, out, { retries: 0 });
    expect(result.errors).toBe(1);
    expect(compareSync(root, out).differences).toHaveLength(1);
  });
});
