// The order of a list's entries: that of the bytes of their paths, though no two of them are compared.

import { afterAll, expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { list, listSync, type Named } from "../lib/index.ts";
import { quickFolder, Random, Scratch } from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const bytesOf = ({ path, pathBytes }: Named): Uint8Array => pathBytes ?? Buffer.from(path);
const inOrder = (rows: readonly Named[]): Named[] =>
  rows.toSorted((left, right) => Buffer.compare(bytesOf(left), bytesOf(right)));

async function check(place: string, options: Parameters<typeof list>[1] = {}): Promise<Named[]> {
  const unordered: Named[] = [];
  for await (const row of list(place, options)) if (!("kind" in row)) unordered.push(row);
  const expected = inOrder(unordered);
  expect([...(await list(place, options))]).toEqual(expected);
  expect([...listSync(place, options)]).toEqual(expected);
  return expected;
}

// Short ones of few letters, around the slash: what sorts between a directory and what is in it.
const letters = ["a", "b", "-", ".", " ", "!", "0", "é", "\u{1f600}", "\uffee"];

function plant(random: Random, at: string, depth: number): void {
  mkdirSync(at, { recursive: true });
  for (let i = random.below(8); i > 0; i--) {
    let name = "";
    for (let j = 1 + random.below(3); j > 0; j--) name += random.pick(letters);
    if (name === "." || name === "..") continue;
    const path = join(at, name);
    try {
      if (depth < 5 && random.chance(2)) plant(random, path, depth + 1);
      else writeFileSync(path, "", { flag: "wx" });
    } catch (error) {
      // A file where a directory is, or the other way round.
      if (!["EEXIST", "EISDIR", "ENOTDIR"].includes((error as { code: string }).code)) throw error;
    }
  }
}

test("300 random trees whose names stand around the slash", async () => {
  using scratch = new Scratch(quickFolder(2000));
  let entries = 0;
  for (let seed = 0; seed < 300; seed++) {
    const place = scratch.at(`random-${seed}`);
    plant(new Random(seed), place, 0);
    entries += (await check(place)).length;
    await check(place, { include: ["*a*"] }); // directories that are not told of themselves
    await check(place, { exclude: ["*b"], links: "follow" });
    rmSync(place, { recursive: true });
  }
  expect(entries).toBeGreaterThan(5000);
});

test("what is between a directory and its entries, nested", async () => {
  const place = scratch.plant("between", {
    "a/x": "",
    "a!": "",
    "a-/y": "",
    "a-b/z": "",
    "a-/-/w": "",
    "a.txt": "",
    a0: "",
    b: "",
  });
  const paths = (await check(place)).map(({ path }) => path);
  expect(paths).toEqual("a,a!,a-,a-/-,a-/-/w,a-/y,a-b,a-b/z,a.txt,a/x,a0,b".split(","));
});

test("errors come after, sorted, and disturb nothing", async () => {
  const place = scratch.plant("errors", { "a/x": "", "a-b/y": "", "c/z/w": "", d: "" });
  const where = `fault:enter=2,code=DENIED:${place}`;
  for (let i = 0; i < 10; i++) {
    const found = await list(where);
    expect(found.errors).toHaveLength(1);
    expect([...found]).toEqual(inOrder(found));
  }
});

test.skipIf(process.platform === "darwin")(
  "names that are not UTF-8 stand where their bytes do",
  async () => {
    const place = scratch.at("bytes");
    mkdirSync(place);
    mkdirSync(scratch.bytes("bytes/d\xff"));
    for (const name of ["d\xff/f", "d\xff-", "d", "e\xfe"])
      writeFileSync(scratch.bytes(`bytes/${name}`), "");
    mkdirSync(join(place, "c"));
    writeFileSync(join(place, "c", "x"), "");
    expect(await check(place)).toHaveLength(7);
  },
);

test("large directories, in many rows and pages, and turns for the event loop in between", async () => {
  const place = scratch.at("large");
  for (const name of ["a", "a-", "b"]) {
    mkdirSync(join(place, name, "deep"), { recursive: true });
    for (let i = 0; i < 12_000; i++) writeFileSync(join(place, name, `file-${i}`), "");
  }
  const found = await check(place);
  expect(found).toHaveLength(36_006);
  const late: number[] = [];
  let last = performance.now();
  const timer = setInterval(() => {
    late.push(performance.now() - last);
    last = performance.now();
  }, 1);
  await list(place);
  clearInterval(timer);
  expect(late.length).toBeGreaterThan(2);
});
