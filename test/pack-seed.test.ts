// A new pack with an old one as its seed: what has the same content is not compressed again, and what is
// damaged in the old one never comes into the new one. COPSE_FLIPS=all looks at every byte.

import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compareSync, listSync, pack, packSync, unpackSync, verifySync } from "../lib/index.ts";
import type { CopseError, PackOptions } from "../lib/index.ts";
import { commandPlace } from "./command.ts";
import { samples, text } from "./packs.ts";
import { asTree, link, Random, randomTree, Scratch } from "./trees.ts";
import { codeOfSync, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const step = process.env["COPSE_FLIPS"] === "all" ? 1 : 29;
let number = 0;
let [old, file] = ["", ""];
beforeEach(() => {
  old = scratch.at(`${++number}-old.znippy`);
  file = scratch.at(`${number}.znippy`);
});

describe("seed", () => {
  test("what did not change is taken from it, and the bytes are those of a pack without it", () => {
    const root = scratch.plant("tree", {
      "big.log": text(400_000),
      "noise.bin": new Random(1).bytes(500_000),
      "a/b.txt": text(100),
      "photo.jpeg": text(10),
    });
    packSync(root, old);
    const same = packSync(root, file, { seed: old });
    expect(readFileSync(file).equals(readFileSync(old))).toBe(true);
    // All but what is stored by its name, which costs nothing.
    expect(same.report).toMatchObject({
      reusedBytes: same.report!.bytesIn - text(10).length,
      compressedFiles: 3,
    });
    writeFileSync(join(root, "a/b.txt"), text(101));
    writeFileSync(join(root, "a/new.txt"), text(7, "thing"));
    const { report } = packSync(root, file, { seed: old });
    expect(report!.reusedBytes).toBe(text(400_000).length + 500_000);
    const plain = scratch.at("plain.znippy");
    packSync(root, plain);
    expect(readFileSync(file).equals(readFileSync(plain))).toBe(true);
    expect(verifySync(file).ok).toBe(true);
  });

  test("content counts, not its name or time; a level that is asked for is that of what is new", async () => {
    const root = scratch.plant("moved", { was: text(3000), other: text(10) });
    packSync(root, old, { level: 1 });
    const moved = scratch.plant("moved-to", { is: text(3000), fresh: text(5000, "novel") });
    utimesSync(join(moved, "is"), 5, 6);
    const { report } = await pack(moved, file, { seed: `pack:${old}`, level: 19 });
    expect(report!.reusedBytes).toBe(text(3000).length);
    expect(compareSync(moved, `pack:${file}`, { metadata: ["mode", "mtime"] }).equal).toBe(true);
  });

  test("compress: never takes nothing; entries take from it as trees do", () => {
    const root = scratch.plant("never", { a: text(3000) });
    packSync(root, old);
    expect(packSync(root, file, { seed: old, compress: "never" }).report!.reused).toBe(0);
    const entries = [{ path: "x/y", data: text(3000) }];
    expect(packSync(entries, file, { seed: old }).report!.reusedBytes).toBe(text(3000).length);
    expect(verifySync(file).ok).toBe(true);
  });

  test("a pack of znippy's own is one as well", () => {
    const out = scratch.at("sample");
    unpackSync(join(samples, "s1.znippy"), out);
    const { report } = packSync(out, file, { seed: join(samples, "s1.znippy") });
    expect(report!.reusedBytes).toBeGreaterThan(0);
    expect(compareSync(out, `pack:${file}`)).toMatchObject({ equal: true, files: 14 });
  });

  test("a damaged one: what is damaged is compressed again, the rest is taken", () => {
    const root = scratch.plant("damaged", { a: text(500), b: new Random(2).bytes(700), c: "c" });
    packSync(root, old);
    const whole = readFileSync(old);
    const plain = scratch.at("plain-2.znippy");
    packSync(root, plain);
    let less = 0;
    for (let at = 0; at < whole.length; at += step) {
      const bytes = Buffer.from(whole);
      bytes[at]! ^= 1 << (at % 8);
      writeFileSync(old, bytes);
      let report;
      try {
        ({ report } = packSync(root, file, { seed: old }));
      } catch (error) {
        // What is no pack any more by its end is a wrong location.
        expect((error as CopseError).code).toBe("UNSUPPORTED");
        continue;
      }
      expect(readFileSync(file).equals(readFileSync(plain)), `byte ${at}`).toBe(true);
      if (report!.reusedBytes < text(500).length + 701) less++;
    }
    expect(less).toBeGreaterThan(0);
  });

  test("one that is not there, or no pack, is said before anything is made", () => {
    const root = scratch.plant("none", { a: "1" });
    expect(codeOfSync(() => packSync(root, file, { seed: scratch.at("nothing") }))).toBe(
      "NOT_FOUND",
    );
    expect(codeOfSync(() => packSync(root, file, { seed: join(root, "a") }))).toBe("UNSUPPORTED");
    expect(codeOfSync(() => packSync(root, file, { seed: "memory:x/y" }))).toBe("NOT_FOUND");
    expect(codeOfSync(() => packSync(root, file, { seed: old, append: old }))).toBe("ARGUMENT");
    expect(codeOfSync(() => packSync(root, file, { seed: 7 as never } as PackOptions))).toBe(
      "ARGUMENT",
    );
    expect(existsSync(file)).toBe(false);
  });

  test("the pack that is replaced may be its own seed", () => {
    const root = scratch.plant("own", { a: text(2000), b: "b" });
    packSync(root, file);
    const bytes = readFileSync(file);
    expect(packSync(root, file, { seed: file }).report!.reusedBytes).toBe(text(2000).length + 1);
    expect(readFileSync(file).equals(bytes)).toBe(true);
  });
});

describe("append", () => {
  test("the new pack holds what the old one held and what is new; what is new wins", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const before = scratch.plant(`before-${seed}`, asTree(randomTree(new Random(seed))));
      packSync(before, old);
      const entries = [
        { path: "new/one", data: text(seed) },
        { path: "new/two", data: "2" },
      ];
      const { report } = packSync(entries, file, { append: old });
      expect(verifySync(file)).toMatchObject({ ok: true, errors: 0 });
      const { differences } = compareSync(`pack:${old}`, `pack:${file}`, {
        metadata: ["mode", "mtime"],
      });
      const paths = differences.map((row) => [row.kind, row.path]);
      expect(paths.filter(([kind]) => kind !== "only-right")).toEqual([]);
      expect(paths.map(([, path]) => path)).toContain("new");
      // All of the old one, and nothing of what is new.
      const sizes = listSync(before, { stat: true }).map(({ size, type }) =>
        type === "file" ? size! : 0,
      );
      expect(report!.reusedBytes).toBe(sizes.reduce((sum, size) => sum + size, 0));
    }
  });

  test("a file takes the place of what had its name, and of what was below it", () => {
    const root = scratch.plant("places", {
      file: "old",
      "dir/below": "old",
      "deep/a/b": "old",
      kept: "old",
      to: link("kept"),
    });
    packSync(root, old);
    const entries = [
      { path: "file", data: "new" },
      { path: "dir", data: "new" },
      { path: "deep/a/c", data: "new" },
      { path: "kept2", data: "new" },
    ];
    packSync(entries, file, { append: old });
    const out = scratch.at("places-out");
    expect(unpackSync(file, out).errors).toBe(0);
    const read = (path: string): string => readFileSync(join(out, path), "utf8");
    expect(["file", "dir", "deep/a/b", "deep/a/c", "kept", "kept2"].map(read)).toEqual([
      "new",
      "new",
      "old",
      "new",
      "old",
      "new",
    ]);
    expect(listSync(out).find(({ path }) => path === "to")?.type).toBe("link");
  });

  test("again and again, to the bytes of one pack of all", () => {
    const one = { path: "a/1", data: text(100), mode: 0o644, mtime: new Date(1000) };
    const two = { path: "a/2", data: text(100), mode: 0o644, mtime: new Date(1000) };
    const three = {
      path: "b",
      data: new Random(3).bytes(5_000_000),
      mode: 0o600,
      mtime: new Date(5),
    };
    packSync([one], old);
    packSync([two], file, { append: old });
    packSync([three], file, { append: file });
    const all = scratch.at("all.znippy");
    packSync([three, one, two], all);
    expect(readFileSync(file).equals(readFileSync(all))).toBe(true);
  });

  test("kinds and origins of the old one are kept", () => {
    const old1 = { path: "x", data: text(50), pkgType: 5, repo: "five" };
    const old2 = { path: "y", data: text(60), pkgType: 2, repo: "two" };
    const fresh = { path: "z", data: text(70), pkgType: 5, repo: "five" };
    packSync([old1, old2], old);
    packSync([fresh], file, { append: old });
    const all = scratch.at("kinds.znippy");
    packSync([fresh, old2, old1], all);
    expect(readFileSync(file).equals(readFileSync(all))).toBe(true);
  });

  test("what is damaged in the old one is an error row and left out; its index must be whole", () => {
    const root = scratch.plant("broken", { a: text(500), b: new Random(4).bytes(800) });
    packSync(root, old);
    const bytes = readFileSync(old);
    bytes[60]! ^= 4; // in the blob of a
    writeFileSync(old, bytes);
    const result = packSync([{ path: "c", data: "c" }], file, { append: old });
    expect(result).toMatchObject({ errors: 1, complete: false });
    expect(result.actions.find(({ kind }) => kind === "error")).toMatchObject({
      path: "a",
      error: { code: "CORRUPT" },
    });
    expect(listSync(`pack:${file}`).map(({ path }) => path)).toEqual(["b", "c"]);
    expect(verifySync(file).ok).toBe(true);
    writeFileSync(old, bytes.subarray(0, -1));
    rmSync(file);
    expect(codeOfSync(() => packSync([], file, { append: old }))).toBe("CORRUPT");
    expect(existsSync(file)).toBe(false);
  });
});

const { copse } = commandPlace();

test("copse pack --seed and --append", async () => {
  const root = scratch.plant("command", { a: text(3000) });
  packSync(root, old);
  const seeded = await copse("pack", root, file, "--seed", old, "--json");
  expect(seeded.status).toBe(0);
  expect(JSON.parse(seeded.out)).toMatchObject({ report: { reusedBytes: text(3000).length } });
  const more = scratch.plant("command-more", { b: "b" });
  const said = await copse("pack", more, file, "--append", old);
  expect([said.status, said.out]).toEqual([0, expect.stringContaining("taken from the old pack")]);
  expect(listSync(`pack:${file}`).map(({ path }) => path)).toEqual(["a", "b"]);
  expect(statSync(file).size).toBeGreaterThan(0);
  expect((await copse("pack", root, file, "--seed", join(root, "a"))).status).toBe(2);
});
