// A new pack with an old one as its seed: what has the same content is not compressed again, and what is
// damaged in the old one never comes into the new one. COPSE_FLIPS=all looks at every byte.

import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  compareSync,
  listSync,
  pack,
  packSync,
  repairSync,
  unpackSync,
  verify,
  verifySync,
} from "../lib/index.ts";
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
    expect(() => packSync(root, file, { seed: scratch.at("nothing") })).toThrow("the seed: ");
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

describe("copse's own format", () => {
  const format = "copse";
  const metadata = ["mode", "mtime"] as const;
  const random = new Random(11);
  const words = Array.from({ length: 900 }, (_, i) => `${(i * 7919).toString(36)}${i} `);
  const prose = (size: number): string => {
    let said = "";
    while (said.length < size) said += words[random.below(words.length)]!;
    return said;
  };
  const plants = (count: number, size: number): Record<string, string> =>
    Object.fromEntries(
      Array.from({ length: count }, (_, i) => [`d${i % 9}/f${i}`, prose(size)] as const),
    );
  /** Of each file of a pack: where its group is. */
  const groupsOf = (pack: string): Set<string> => {
    const bytes = readFileSync(pack);
    const frames = new Set<string>();
    for (let at = bytes.indexOf(magic); at >= 0; at = bytes.indexOf(magic, at + 1))
      frames.add(bytes.subarray(at, at + 64).toString("hex"));
    return frames;
  };
  const magic = Buffer.from([0xd9, 0xa5, 0xb1, 0xd7, 3, 1]);

  test("nothing changed: all is taken, and the bytes are the old ones", () => {
    for (const [name, count] of [
      ["few", 40],
      ["many", 2500],
    ] as const) {
      const root = scratch.plant(`own-${name}`, {
        ...plants(count, 2500),
        "big.log": text(20_000),
      });
      const first = packSync(root, old, { format });
      const again = packSync(root, file, { format, seed: old });
      expect(again.report!.reusedBytes).toBe(first.report!.bytesIn);
      expect(readFileSync(file).equals(readFileSync(old))).toBe(true);
      // A level that is asked for is that of what is new, which is nothing.
      packSync(root, scratch.at("level.pack"), { format, seed: old, level: 19 });
      const more = statSync(scratch.at("level.pack")).size - statSync(old).size;
      expect(Math.abs(more)).toBeLessThan(16); // the level in the index
    }
  });

  test("groups none of whose files changed are taken as they are, the others are made anew", async () => {
    const root = scratch.plant("some", plants(2500, 2500));
    packSync(root, old, { format });
    writeFileSync(join(root, "d3/f3"), prose(2500));
    writeFileSync(join(root, "d4/new"), prose(2500));
    rmSync(join(root, "d7/f7"));
    const { report } = packSync(root, file, { format, seed: old });
    const size = 2500 * 2500;
    expect(report!.reusedBytes).toBeGreaterThan(size / 2);
    expect(report!.reusedBytes).toBeLessThan(size - 2_000_000);
    const before = groupsOf(old);
    const same = [...groupsOf(file)].filter((frame) => before.has(frame));
    expect(same.length).toBeGreaterThan(3);
    expect((await verify(file)).ok).toBe(true);
    expect(compareSync(root, `pack:${file}`, { metadata }).differences).toEqual([]);
    // The new one is a seed as well, and what is repaired of it, too.
    packSync(root, old, { format, seed: file });
    expect(compareSync(root, `pack:${old}`, { metadata }).differences).toEqual([]);
    writeFileSync(file, readFileSync(old).subarray(0, -20));
    const mended = scratch.at("some-mended.pack");
    expect(repairSync(file, mended, { format })).toMatchObject({ errors: 0 });
    expect(compareSync(root, `pack:${mended}`, { metadata }).differences).toEqual([]);
  });

  test("what is mostly new gets a dictionary of its own", () => {
    packSync(scratch.plant("little", plants(2000, 2500)), old, { format });
    const all = scratch.plant("little", plants(6000, 2500));
    const { report } = packSync(all, file, { format, seed: old });
    packSync(all, scratch.at("plain.pack"), { format });
    expect(report!.reusedBytes).toBe(0);
    expect(readFileSync(file).equals(readFileSync(scratch.at("plain.pack")))).toBe(true);
    // Few files had none, and many want one.
    packSync(scratch.plant("tiny", plants(30, 2500)), old, { format });
    expect(packSync(all, file, { format, seed: old }).report!.reusedBytes).toBe(0);
    expect(readFileSync(file).equals(readFileSync(scratch.at("plain.pack")))).toBe(true);
  });

  test("append keeps the groups that it can, and nothing of the rest is lost", () => {
    for (const count of [60, 2500]) {
      const root = scratch.plant(`grown-${count}`, {
        ...plants(count, 2500),
        "same-1": "same",
        "same-2": "same",
        empty: "",
        "big.log": text(20_000),
        "pic.png": random.bytes(3000),
        link: link("empty"),
      });
      packSync(root, old, { format });
      const entries = [
        { path: "d1/f1", data: "new" },
        { path: "d2/a-new-one", data: prose(2500) },
        { path: "copy", data: readFileSync(join(root, "d5/f5")) },
      ];
      const { report } = packSync(entries, file, { format, append: old });
      expect(report!.reusedBytes).toBeGreaterThan(count > 100 ? 4_000_000 : 0);
      expect(verifySync(file)).toMatchObject({ ok: true, errors: 0 });
      for (const { path, data } of entries) {
        scratch.plant(`grown-${count}`, {});
        writeFileSync(join(root, path), data);
      }
      const { differences } = compareSync(root, `pack:${file}`);
      expect(differences).toEqual([]);
      // To the other format, and from it.
      const other = scratch.at("other.znippy");
      packSync([{ path: "x", data: "x" }], other, { append: file });
      const changed = compareSync(`pack:${file}`, `pack:${other}`, { metadata }).differences;
      expect(changed.map(({ path }) => path)).toEqual(["x"]);
      packSync([{ path: "y", data: "y" }], file, { format, append: other });
      expect(
        compareSync(`pack:${file}`, `pack:${other}`).differences.map(({ path }) => path),
      ).toEqual(["y"]);
      expect(verifySync(file).ok).toBe(true);
    }
  });

  test("plugins are asked of what is kept, too", () => {
    packSync(scratch.plant("asked", plants(50, 2500)), old, { format });
    const seen: string[] = [];
    const plugin = {
      typeId: 9,
      match: ["**/f1*"],
      fields: { first: "utf8" as const },
      extract(path: string, bytes: Uint8Array) {
        seen.push(path);
        return { first: Buffer.from(bytes.subarray(0, 4)).toString() };
      },
    };
    packSync([{ path: "d0/f1x", data: "fresh" }], file, { format, append: old, plugins: [plugin] });
    expect(seen.length).toBe(12);
    expect(verifySync(file).ok).toBe(true);
  });

  test("a damaged one: what is damaged is packed again, or is an error row where it is kept", () => {
    const root = scratch.plant("hurt", { ...plants(30, 700), z: "z", "n.png": random.bytes(300) });
    packSync(root, old, { format });
    const bytes = readFileSync(old);
    let [less, lost] = [0, 0];
    for (let at = 0; at < bytes.length; at += step === 1 ? 1 : 6 * step) {
      const bad = Buffer.from(bytes);
      bad[at]! ^= 1 << (at % 8);
      writeFileSync(old, bad);
      for (const way of ["seed", "append"] as const) {
        const from = way === "seed" ? root : [{ path: "fresh", data: "fresh" }];
        let done;
        try {
          done = packSync(from, file, { format, [way]: old });
        } catch (error) {
          expect((error as CopseError).code).toBeOneOf(["UNSUPPORTED", "CORRUPT"]);
          continue;
        }
        expect(verifySync(file).ok, `byte ${at}`).toBe(true);
        const against = compareSync(root, `pack:${file}`).differences;
        const wrong = against.filter(({ kind }) => kind !== "only-left" && kind !== "only-right");
        expect(wrong).toEqual([]);
        if (way === "seed") expect(against).toEqual([]);
        else expect(against.filter(({ kind }) => kind === "only-left").length).toBe(done.errors);
        if (way === "seed" && done.report!.reusedBytes < done.report!.bytesIn) less++;
        if (done.errors) lost++;
      }
    }
    expect(less).toBeGreaterThan(0);
    expect(lost).toBeGreaterThan(0);
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
