// Damaged packs that are repaired: what is whole comes back, by its name where any copy of the index
// is left. COPSE_LONG=1 cuts and damages at every byte.

import { afterAll, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  compare,
  compareSync,
  list,
  listSync,
  packSync,
  repair,
  repairSync,
  unpackSync,
  verify,
  verifySync,
  type CopseError,
} from "../lib/index.ts";
import { commandPlace } from "./command.ts";
import { sample, samples, text } from "./packs.ts";
import { isLong } from "./patience.ts";
import { directory, link, Random, Scratch } from "./trees.ts";
import { codeOfSync } from "./ways.ts";

const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const step = isLong ? 1 : 29;

interface Made {
  readonly root: string;
  readonly file: string;
  readonly whole: Buffer;
  /** Where the index begins. */
  readonly index: number;
}
let made: Made | undefined;

function small(): Made {
  return (made ??= make());
}

function make(): Made {
  const root = scratch.plant("small", {
    "a/text.log": text(200),
    "b.bin": new Random(1).bytes(300),
    "photo.png": new Random(2).bytes(200),
    c: link("a"),
    d: directory,
    "e.txt": "",
    f: "same",
    g: "same",
  });
  const file = scratch.at("small.znippy");
  packSync(root, file);
  const whole = readFileSync(file);
  const manifest = Number(whole.readBigUInt64LE(whole.length - 8));
  // The sub-index begins with the first stream after the blobs.
  const index = whole.indexOf(Buffer.from([0xff, 0xff, 0xff, 0xff, 0xf8]));
  const first = index < 0 ? whole.indexOf(Buffer.from([0xff, 0xff, 0xff, 0xff])) : index;
  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThan(manifest);
  return { root, file, whole, index: first };
}

const metadata = ["mode", "mtime"] as const;

describe("an index that is lost", () => {
  test("cut off at any byte: every entry comes back by its name, links and directories too", () => {
    const { root, whole, index } = small();
    const cut = scratch.at("cut.znippy");
    const mended = scratch.at("mended.znippy");
    let cuts = 0;
    for (let at = index; at < whole.length; at += step) {
      writeFileSync(cut, whole.subarray(0, at));
      // Where it ends with a number that leads to the index it looks like one of version 0.6.
      const code = expect.stringMatching(/^(CORRUPT|UNSUPPORTED)$/);
      expect(() => verifySync(cut)).toThrow(expect.objectContaining({ code }));
      const result = repairSync(cut, mended);
      expect(result).toMatchObject({ errors: 0, complete: true, copied: 7 });
      expect(result.recovered).toEqual({ numbered: 0, folder: "recovered" });
      expect(compareSync(root, `pack:${mended}`, { metadata }).differences).toEqual([]);
      expect(verifySync(mended).ok).toBe(true);
      cuts += 1;
    }
    expect(cuts).toBeGreaterThan(50);
  });

  test("files keep their package types and repos, as in any pack of a pack", () => {
    const entries = [
      { path: "a/x", data: text(50), pkgType: 5, repo: "five" },
      { path: "a/y", data: text(60), pkgType: 2, repo: "two" },
      { path: "b/z", data: "z", pkgType: 5, repo: "five" },
      { path: "plain", data: "plain" },
    ];
    for (const format of ["znippy", "copse"] as const) {
      // Entries bring no directories, which trees have: so the second one is what the others are like.
      const first = scratch.at("kinds-first");
      const file = scratch.at("kinds-second");
      packSync(entries, first, { format });
      packSync(`pack:${first}`, file, { format });
      const whole = readFileSync(file);
      const manifestAt = Number(whole.readBigUInt64LE(whole.length - 8));
      expect(whole.toString("latin1", manifestAt)).toContain("twofive");
      const again = scratch.at("kinds-again");
      packSync(`pack:${file}`, again, { format });
      expect(readFileSync(again).equals(whole)).toBe(true);
      const cut = scratch.at("kinds-cut");
      const mended = scratch.at("kinds-mended");
      const copyEnd = whole.lastIndexOf("COPSE-INDEX-COPY");
      const size = Number(whole.readBigUInt64LE(copyEnd + 24));
      for (let at = copyEnd + size; at < whole.length; at += 37) {
        writeFileSync(cut, whole.subarray(0, at));
        const { errors, recovered } = repairSync(cut, mended, { format });
        expect([errors, recovered]).toEqual([0, { numbered: 0, folder: "recovered" }]);
        expect(readFileSync(mended).equals(whole), `cut at ${at}`).toBe(true);
      }
      // What is said wins.
      packSync(`pack:${file}`, again, { format, repo: "own" });
      packSync(
        entries.map(({ path, data }) => ({ path, data })),
        first,
        { format },
      );
      packSync(`pack:${first}`, mended, { format, repo: "own" });
      expect(readFileSync(again).equals(readFileSync(mended))).toBe(true);
    }
    // Without copies nothing but the manifest said it.
    const cut = scratch.at("kinds-sample");
    const sample = readFileSync(join(samples, "s1.znippy"));
    writeFileSync(cut, sample.subarray(0, -20));
    const { recovered } = repairSync(cut, scratch.at("kinds-sample-mended"));
    expect(recovered).toMatchObject({ numbered: 0, kindsLost: true });
  });

  test("cut off in the blobs: the frames that are whole come back by number, with their content", () => {
    const { root, whole } = small();
    const copyAt = whole.indexOf("COPSE-INDEX-COPY");
    const cut = scratch.at("cut-blobs.znippy");
    const mended = scratch.at("mended-blobs.znippy");
    const contents = (place: string): string[] =>
      listSync(place)
        .filter(({ type }) => type === "file")
        .map(({ path }) => path);
    for (let at = copyAt; at > 4; at -= step) {
      writeFileSync(cut, whole.subarray(0, at));
      let result;
      try {
        result = repairSync(cut, mended);
      } catch (error) {
        // Not even the first frame is whole.
        expect((error as CopseError).code).toBe("CORRUPT");
        continue;
      }
      expect(result.errors).toBe(0);
      expect(result.recovered?.numbered).toBe(result.copied);
      for (const path of contents(`pack:${mended}`)) {
        expect(path).toMatch(/^recovered\/\d{6}$/);
        const same = ["a/text.log", "b.bin", "e.txt", "f", "g"].filter(
          (name) => compareSync(`${root}/${name}`, `pack:${mended}#${path}`).equal,
        );
        expect(same.length).toBeGreaterThan(0);
      }
      if (at === copyAt) expect(result.copied).toBe(4); // f and g are one blob, the photo is no frame
    }
  });

  test("several copies: what the last one told of is numbered, the rest has its name", () => {
    const root = scratch.plant("large", {
      "f0.log": text(1000).repeat(1000),
      "f1.bin": new Random(1).bytes(9_000_000),
    });
    const file = scratch.at("large.znippy");
    packSync(root, file, { compress: "always" });
    const whole = readFileSync(file);
    const first = whole.indexOf("COPSE-INDEX-COPY");
    const second = whole.indexOf("COPSE-INDEX-COPY", first + 1);
    expect(second).toBeGreaterThan(first);
    const cut = scratch.at("large-cut.znippy");
    writeFileSync(cut, whole.subarray(0, second));
    const result = repairSync(cut, scratch.at("large-mended.znippy"));
    expect(result.recovered).toEqual({ numbered: 3, folder: "recovered" }); // chunks of f1.bin
    const again = compareSync(root, `pack:${scratch.at("large-mended.znippy")}`);
    expect(again.differences.map(({ path }) => path)).toEqual([
      "f1.bin",
      "recovered",
      "recovered/000001",
      "recovered/000002",
      "recovered/000003",
    ]);
    // The chunks in order are the file.
    const chunks = listSync(`pack:${scratch.at("large-mended.znippy")}#recovered`, { stat: true });
    expect(chunks.reduce((sum, { size }) => sum + (size ?? 0), 0)).toBe(9_000_000);
  });

  test("a pack in a pack: its own copies and index are content", () => {
    const inner = small();
    const root = scratch.plant("outer", {
      "0.znippy": inner.whole,
      "a.txt": text(10),
      "b.znippy": inner.whole,
      "c.txt": text(12),
    });
    const file = scratch.at("outer.znippy");
    packSync(root, file);
    const whole = readFileSync(file);
    writeFileSync(scratch.at("outer-cut.znippy"), whole.subarray(0, -20));
    const result = repairSync(scratch.at("outer-cut.znippy"), scratch.at("outer-mended.znippy"));
    expect(result).toMatchObject({ copied: 4, errors: 0, recovered: { numbered: 0 } });
    expect(compareSync(root, `pack:${scratch.at("outer-mended.znippy")}`).equal).toBe(true);
  });

  test("a folder of that name is left alone", () => {
    const root = scratch.plant("taken", { "recovered/x": "x", y: text(20) });
    const file = scratch.at("taken.znippy");
    packSync(root, file);
    const whole = readFileSync(file);
    writeFileSync(scratch.at("taken-cut.znippy"), whole.subarray(0, -1));
    const result = repairSync(scratch.at("taken-cut.znippy"), scratch.at("taken-mended.znippy"));
    expect(result.recovered).toEqual({ numbered: 0, folder: "recovered~1" });
  });

  test("a pack that has very many of such folders costs no more than one of others", () => {
    const count = 100_000;
    const pack = (name: (i: number) => string): string => {
      const file = scratch.at("folders");
      packSync(
        Array.from({ length: count }, (_, i) => ({ path: name(i), data: "" })),
        file,
        { format: "copse" },
      );
      writeFileSync(file, readFileSync(file).subarray(0, -20));
      return file;
    };
    const mended = scratch.at("folders-mended");
    const time = (file: string, folder: string): number => {
      const before = process.cpuUsage();
      expect(repairSync(file, mended).recovered).toEqual({ numbered: 0, folder });
      const { user, system } = process.cpuUsage(before);
      return user + system;
    };
    const plain = time(
      pack((i) => `recoverex~${i}/x`),
      "recovered",
    );
    // All but one number are taken, and names that only look like it take none.
    const names = (i: number): string =>
      i === 0 ? "recovered" : i === count - 9 ? `recovered~0${i}` : `recovered~${i}/x`;
    // Looking through all paths for each number takes more than ten seconds.
    expect(time(pack(names), `recovered~${count - 9}`)).toBeLessThan(3 * plain + 1e6);
  });

  test("of an archive that znippy made: named while its index is whole, else numbered", async () => {
    const bytes = sample("s1");
    const cut = scratch.at("s1-cut.znippy");
    const mended = scratch.at("s1-mended.znippy");
    writeFileSync(cut, bytes.subarray(0, 15_600)); // in the manifest
    expect((await repair(cut, mended)).recovered?.numbered).toBe(0);
    expect((await compare(`pack:${join(samples, "s1.znippy")}`, `pack:${mended}`)).equal).toBe(
      true,
    );
    writeFileSync(cut, bytes.subarray(0, 14_000)); // in the rows
    const result = await repair(cut, mended);
    expect(result.copied).toBe(12); // all that are frames
    expect(result.recovered).toEqual({ numbered: 12, folder: "recovered" });
  });
});

describe("what a crafted index says", () => {
  /** Where the 14 rows of s1 have what they say of a column, by its buffer (pack-rows.test.ts). */
  const column = (bytes: Buffer, buffer: number): number =>
    14_218 + Number(bytes.readBigUInt64LE(13_706 + 224 + 16 * buffer));

  test("a row that says more bytes than its frame can hold is not believed, and read no further", () => {
    const bytes = sample("s1").subarray(0, 15_600); // in the manifest
    for (let row = 0; row < 14; row++)
      bytes.writeBigUInt64LE(2n ** 30n, column(bytes, 10) + 8 * row);
    // Rows of what is no frame have two sizes then.
    bytes.fill(0xff, column(bytes, 8), column(bytes, 8) + 2);
    const file = scratch.at("more.znippy");
    writeFileSync(file, bytes);
    const result = repairSync(file, scratch.at("more-mended.znippy"));
    expect(result.recovered).toEqual({ numbered: 12, folder: "recovered" });
  });

  test("one false row hides no other", () => {
    const bytes = sample("s1").subarray(0, 15_600);
    bytes.writeBigUInt64LE(2n ** 30n, column(bytes, 10));
    const file = scratch.at("false.znippy");
    writeFileSync(file, bytes);
    const result = repairSync(file, scratch.at("false-mended.znippy"));
    expect(result).toMatchObject({ errors: 1, copied: 13, recovered: { numbered: 0 } });
  });
});

describe("of our own format", () => {
  test("what no copy tells of needs the dictionary that a copy tells of", () => {
    const tree: Record<string, string> = { "m.bin": "" };
    const contents: string[] = [];
    const random = new Random(7);
    for (let i = 0; i < 2600; i++) {
      const words = Array.from({ length: 300 }, () => `word${random.below(5000)}`);
      const content = `{"number": ${i}, "words": "${words.join(" ")}"}\n`;
      if (i >= 2000) contents.push(content);
      tree[`${i < 2000 ? "a" : "z"}/${i}.json`] = content;
    }
    const root = scratch.plant("own", tree);
    // A copy tells of so many bytes: the second one of what comes after this file.
    writeFileSync(join(root, "m.bin"), Buffer.alloc(40 << 20));
    const file = scratch.at("own.copse");
    packSync(root, file, { format: "copse" });
    const whole = readFileSync(file);
    const first = whole.indexOf("COPSE-INDEX-COPY");
    const second = whole.indexOf("COPSE-INDEX-COPY", first + 1);
    expect(second).toBeGreaterThan(first);
    const cut = scratch.at("own-cut.copse");
    const mended = scratch.at("own-mended.znippy");
    const back = (bytes: Buffer): string => {
      writeFileSync(cut, bytes);
      repairSync(cut, mended);
      const out = scratch.at("own-out");
      rmSync(out, { recursive: true, force: true });
      unpackSync(`pack:${mended}#recovered`, out);
      return readdirSync(out)
        .map((name) => readFileSync(join(out, name), "latin1"))
        .join("");
    };
    const all = contents.toSorted().join("");
    const sorted = (text: string): string => text.split("\n").slice(0, -1).toSorted().join("\n");
    expect(sorted(back(whole.subarray(0, second)))).toBe(sorted(all));
  });
});

test("looking for frames reads a damaged pack a few times, not once for each", () => {
  const random = new Random(3);
  const tree = Object.fromEntries(
    Array.from({ length: 400 }, (_, i) => [
      `${i}.txt`,
      `${Buffer.from(random.bytes(20)).toString("hex")} ${i}`,
    ]),
  );
  const file = scratch.at("many.znippy");
  packSync(scratch.plant("many", tree), file, { compress: "always" });
  const whole = readFileSync(file);
  writeFileSync(file, whole.subarray(0, whole.indexOf("COPSE-INDEX-COPY")));
  // Filled up with what is no frame, so that the window is as large as it gets.
  appendFileSync(file, random.bytes(2 << 20));
  const read = (): number =>
    Number(/rchar: (\d+)/.exec(readFileSync("/proc/self/io", "latin1"))?.[1]);
  const before = read();
  expect(repairSync(file, scratch.at("many-mended.znippy")).copied).toBe(400);
  expect(read() - before).toBeLessThan(60 << 20);
});

describe("an index that is whole", () => {
  test("what is damaged is named, the rest comes back", async () => {
    const file = join(samples, "corrupt_frame.znippy");
    const mended = scratch.at("mended-frame.znippy");
    const result = await repair(file, mended);
    expect(result).toMatchObject({ errors: 1, copied: 13, complete: false });
    expect(result.recovered).toBeUndefined();
    const failed = result.actions.find(({ kind }) => kind === "error");
    expect(failed).toMatchObject({ path: "a/text.log", error: { code: "CORRUPT" } });
    expect((await verify(mended)).files).toBe(13);
  });
});

test("damage anywhere: what comes back under its name is what was packed", () => {
  const { root, whole } = small();
  const random = new Random(99);
  const damaged = scratch.at("damaged.znippy");
  const mended = scratch.at("mended-any.znippy");
  const rounds = isLong ? 2000 : 60;
  let back = 0;
  for (let round = 0; round < rounds; round++) {
    const copy = Buffer.from(whole);
    for (let hits = 1 + random.below(3); hits > 0; hits--)
      copy[random.below(copy.length)]! ^= 1 << random.below(8);
    writeFileSync(damaged, copy);
    const result = repairSync(damaged, mended);
    back += result.copied;
    const { differences } = compareSync(root, `pack:${mended}`);
    for (const row of differences)
      if (row.kind !== "only-left" && !row.path.startsWith("recovered"))
        expect(row.path).toBe("nothing but what is missing differs");
  }
  expect(back).toBeGreaterThan(rounds * 5);
});

test("a copy of the index that is damaged is found by verify, and hides nothing", async () => {
  const { file, whole } = small();
  const copy = Buffer.from(whole);
  copy[whole.indexOf("COPSE-INDEX-COPY") + 60]! ^= 1;
  writeFileSync(file, copy);
  const found = await verify(file);
  expect(found).toMatchObject({ ok: false, files: 6, errors: 0 });
  expect(found.checks).toMatchObject([{ kind: "corrupt", path: "" }]);
  expect((await list(`pack:${file}`)).complete).toBe(true);
});

test("what is no pack is UNSUPPORTED, what has nothing left is CORRUPT, and no pack is made", () => {
  const out = scratch.at("none.znippy");
  const fails = (bytes: Uint8Array | string, name = "none.x"): string => {
    writeFileSync(scratch.at(name), bytes);
    return codeOfSync(() => repairSync(scratch.at(name), out));
  };
  expect(fails("some text that is no pack")).toBe("UNSUPPORTED");
  expect(fails(sample("s1").subarray(0, 10))).toBe("CORRUPT");
  expect(fails(Buffer.from("x"), "none.tar")).toBe("UNSUPPORTED");
  expect(existsSync(out)).toBe(false);
});

describe("copse repair", () => {
  const { copse } = commandPlace();
  test("0 when all came back, 1 for lost names, 2 for damaged files", async () => {
    const { root, whole } = small();
    const run = async (bytes: Uint8Array): Promise<[number, string]> => {
      writeFileSync(scratch.at("cli.znippy"), bytes);
      const { status, out } = await copse(
        "repair",
        scratch.at("cli.znippy"),
        scratch.at("cli-out.znippy"),
      );
      return [status, out];
    };
    const [all, said] = await run(whole.subarray(0, -1));
    expect([all, said]).toEqual([0, said]);
    expect(said).toContain("the index was lost: all names were found");
    expect(compareSync(root, `pack:${scratch.at("cli-out.znippy")}`).equal).toBe(true);
    const [some, names] = await run(whole.subarray(0, whole.indexOf("COPSE-INDEX-COPY")));
    expect(some).toBe(1);
    expect(names).toContain("4 files without a name in recovered");
    const damaged = Buffer.from(whole);
    damaged[20]! ^= 1;
    expect((await run(damaged))[0]).toBe(2);
    expect(statSync(scratch.at("cli-out.znippy")).size).toBeGreaterThan(100);
    expect(readdirSync(scratch.at("")).some((name) => name.includes(".copse-"))).toBe(false);
  });
});
