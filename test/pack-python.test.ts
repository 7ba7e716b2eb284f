// Our packs, read by a program that was written from docs/formats.md alone. COPSE_PYTHON names a Python
// that has pyarrow, zstandard, xxhash and blake3; without it there is nobody to ask. COPSE_ORACLE=1000 is
// the long form.

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { listSync, packSync } from "../lib/index.ts";
import { within } from "./patience.ts";
import { asTree, Random, randomTree, Scratch } from "./trees.ts";

const python = process.env["COPSE_PYTHON"] ?? "";
const rounds = Number(process.env["COPSE_ORACLE"] ?? 20);

interface Known {
  type: string;
  size?: number;
  mode: number;
  mtime: number;
  target?: string;
  sha256?: string;
}

function ask(files: readonly string[]): (Record<string, Known> | { error: string })[] {
  const program = join(import.meta.dir, "pack_reader.py");
  const { exitCode, stdout, stderr } = Bun.spawnSync([python, program, ...files]);
  expect([exitCode, stderr.toString()]).toEqual([0, ""]);
  return stdout
    .toString()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, Known>);
}

const sha256 = (bytes: Uint8Array): string =>
  new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
const hex = (text: string | Uint8Array): string => Buffer.from(text as string).toString("hex");

test.skipIf(!python)(
  `${rounds} packs of random trees are read by their specification`,
  () => {
    using scratch = new Scratch();
    const files: string[] = [];
    const expected: Record<string, Partial<Known>>[] = [];
    for (let seed = 1; seed <= rounds; seed++) {
      const root = scratch.plant(`tree-${seed}`, asTree(randomTree(new Random(seed))));
      const file = scratch.at(`${seed}.znippy`);
      const compress = (["auto", "always", "never"] as const)[seed % 3]!;
      const format = seed % 2 ? "znippy" : "copse";
      packSync(root, file, { level: 1 + (seed % 19), compress, format });
      files.push(file);
      const entries: Record<string, Partial<Known>> = {};
      for (const entry of listSync(root, { stat: true })) {
        const path = hex(entry.pathBytes ?? entry.path);
        if (entry.type === "directory") entries[path] = { type: "directory" };
        if (entry.type === "link") entries[path] = { type: "link", target: hex(entry.target!) };
        if (entry.type === "file") {
          const bytes = readFileSync(
            entry.pathBytes
              ? Buffer.concat([Buffer.from(`${root}/`), entry.pathBytes])
              : `${root}/${entry.path}`,
          );
          entries[path] = { type: "file", size: bytes.length, sha256: sha256(bytes) };
        }
      }
      expected.push(entries);
    }
    const read = ask(files);
    for (const [i, entries] of expected.entries()) {
      const { "": root, ...found } = read[i] as Record<string, Known>;
      expect(root?.type, JSON.stringify(read[i]).slice(0, 200)).toBe("directory");
      expect(Object.keys(found).toSorted()).toEqual(Object.keys(entries).toSorted());
      for (const [path, entry] of Object.entries(entries))
        expect(found[path]).toMatchObject(entry as Known);
    }
  },
  within(600_000),
);

test.skipIf(!python)("a pack with a dictionary is read by its specification", () => {
  using scratch = new Scratch();
  const random = new Random(5);
  const words = Array.from({ length: 300 }, (_, i) => `word${i * 7919}`);
  const text = (): string =>
    Array.from({ length: 400 }, () => words[random.below(words.length)]!).join(" ");
  const root = scratch.plant(
    "tree",
    Object.fromEntries(Array.from({ length: 1500 }, (_, i) => [`f${i}`, text()] as const)),
  );
  const file = scratch.at("x.pack");
  packSync(root, file, { format: "copse" });
  const [read] = ask([file]) as [Record<string, Known>];
  expect(Object.keys(read)).toHaveLength(1501);
  for (const name of ["f0", "f700", "f1499"])
    expect(read[hex(name)]?.sha256).toBe(sha256(readFileSync(`${root}/${name}`)));
});

test.skipIf(!python)("a damaged pack is refused by that reader as well", () => {
  using scratch = new Scratch();
  const root = scratch.plant("tree", { a: "text ".repeat(100), b: "more" });
  const file = scratch.at("x.znippy");
  packSync(root, file);
  const whole = readFileSync(file);
  const files = Array.from({ length: 40 }, (_, i) => {
    const copy = Buffer.from(whole);
    copy[Math.floor((i * whole.length) / 40)]! ^= 1 << (i % 8);
    writeFileSync(scratch.at(`${i}.znippy`), copy);
    return scratch.at(`${i}.znippy`);
  });
  for (const answer of ask(files)) expect(Object.keys(answer)).toEqual(["error"]);
});
