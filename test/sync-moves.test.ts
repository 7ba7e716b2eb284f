// sync with moves: what has another path in the source is renamed, not copied.

import { expect, test } from "bun:test";
import { mkdirSync, renameSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { compare, sync, syncSync } from "../lib/index.ts";
import { patience, someSeed } from "./patience.ts";
import { said, shape } from "./synced.ts";
import { asTree, hard, mutated, plantOnDisk, Random, randomTree } from "./trees.ts";
import { leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();
patience(120_000);

const scratch = scratchForEach();

const inode = (path: string): number => statSync(path).ino;
const options = { moves: true } as const;

async function planted(): Promise<[string, string]> {
  const from = scratch.plant("from", {
    "old/a": "content a",
    "old/deep/b": "content b",
    keep: "kept",
    single: "single one",
  });
  const to = scratch.at("to");
  await sync(from, to);
  return [from, to];
}

test("a moved tree is renamed: no bytes move, and the files are the same ones", async () => {
  const [from, to] = await planted();
  const before = inode(join(to, "old", "deep", "b"));
  mkdirSync(join(from, "new"));
  renameSync(join(from, "old"), join(from, "new", "place"));
  renameSync(join(from, "single"), join(from, "renamed"));
  const plan = await sync(from, to, { ...options, dryRun: true });
  expect(shape(to)).toHaveProperty("old/a");
  const result = await sync(from, to, options);
  expect(said(result)).toEqual(said(plan));
  expect(result).toMatchObject({ renamed: 3, copied: 0, transferred: 0, errors: 0 });
  expect(result.actions).toContainEqual(
    expect.objectContaining({ kind: "renamed", path: "new/place/deep/b", from: "old/deep/b" }),
  );
  expect(shape(to)).toEqual(shape(from));
  expect(inode(join(to, "new", "place", "deep", "b"))).toBe(before);
  expect((await compare(from, to, { metadata: ["mode", "mtime"] })).equal).toBe(true);
  expect(await sync(from, to, options)).toMatchObject({ planned: 0 });
});

test("the same size and another content is copied; another time is set", async () => {
  const [from, to] = await planted();
  writeFileSync(join(from, "old", "a"), "CONTENT A");
  renameSync(join(from, "old", "a"), join(from, "a2"));
  renameSync(join(from, "single"), join(from, "s2"));
  utimesSync(join(from, "s2"), 1000, 1000);
  const result = await sync(from, to, options);
  expect(result).toMatchObject({ renamed: 1, copied: 1, errors: 0 });
  expect((await compare(from, to, { metadata: ["mtime"] })).equal).toBe(true);
});

test("swapped and rotated names are copied, nothing is lost", async () => {
  const from = scratch.plant("from", { x: "1111", y: "2222", z: "3333" });
  const to = scratch.at("to");
  await sync(from, to);
  renameSync(join(from, "x"), join(from, "t"));
  renameSync(join(from, "y"), join(from, "x"));
  renameSync(join(from, "z"), join(from, "y"));
  renameSync(join(from, "t"), join(from, "z"));
  expect((await sync(from, to, { ...options, by: "content" })).errors).toBe(0);
  expect(shape(to)).toEqual({ x: "2222", y: "3333", z: "1111" });
});

test("a directory moved into what was its own child, and a name that a directory has", async () => {
  const from = scratch.plant("from", { "a/b/f": "one", "c/g": "two" });
  const to = scratch.at("to");
  await sync(from, to);
  renameSync(join(from, "a", "b"), join(from, "b"));
  renameSync(join(from, "a"), join(from, "b", "a"));
  renameSync(join(from, "c", "g"), join(from, "h"));
  renameSync(join(from, "c"), join(from, "g"));
  const result = await sync(from, to, options);
  expect(result).toMatchObject({ errors: 0, renamed: 2, copied: 0 });
  expect(shape(to)).toEqual(shape(from));
});

test("of equal contents each becomes one; what the filters protect is not taken", async () => {
  const from = scratch.plant("from", { n1: "same", n2: "same", n3: "same", n4: "log" });
  const to = scratch.plant("to", { o1: "same", o2: "same", "o.log": "log" });
  const result = await sync(from, to, { ...options, exclude: ["*.log"] });
  expect(result).toMatchObject({ renamed: 2, copied: 2, deleted: 0, errors: 0 });
  expect(shape(to)).toEqual({ ...shape(from), "o.log": "log" });
});

test("nothing is renamed when not all of the source was seen", async () => {
  const from = scratch.plant("from", { "locked/x": "x", new: "moved" });
  const to = scratch.plant("to", { "locked/x": "x", old: "moved" });
  const result = await sync(`fault:list=2,code=DENIED:${from}`, to, options);
  expect(result).toMatchObject({ renamed: 0, copied: 1, deleted: 0 });
  expect(shape(to)).toMatchObject({ old: "moved", new: "moved" });
});

test("a file that moved and cannot be read is still there under its old name", async () => {
  const from = scratch.plant("from", { "b/new-name": "the only copy" });
  const to = scratch.plant("to", { "a/old-name": "the only copy" });
  const result = await sync(`fault:open=1,sticky,code=DENIED:${from}`, to, options);
  expect(result).toMatchObject({ deleted: 0, complete: false });
  expect(shape(to)["a/old-name"]).toBe("the only copy");
  expect(await sync(from, to, options)).toMatchObject({ errors: 0, complete: true });
  expect(shape(to)).toEqual(shape(from));
});

test("with hardLinks the names of a moved file stay names of one file", async () => {
  const both = { ...options, hardLinks: true } as const;
  const from = scratch.plant("from", { "old/x": "one file", "old/y": hard("old/x") });
  const to = scratch.at("to");
  await sync(from, to, both);
  renameSync(join(from, "old"), join(from, "new"));
  const plan = await sync(from, to, { ...both, dryRun: true });
  const result = await sync(from, to, both);
  expect(result).toMatchObject({ renamed: 1, linked: 1, copied: 0, transferred: 0, errors: 0 });
  expect([plan.renamed, plan.linked, plan.deleted]).toEqual([1, 1, result.deleted]);
  expect(inode(join(to, "new/x"))).toBe(inode(join(to, "new/y")));
  expect(await sync(from, to, both)).toMatchObject({ planned: 0 });
});

test("random trees come out the same with and without moves", () => {
  const seed = someSeed();
  let renamed = 0;
  for (let i = 0; i < 30; i++) {
    const random = new Random(seed + i);
    const tree = randomTree(random);
    const [from, to] = [scratch.at(`from${i}`), scratch.at(`to${i}`)];
    plantOnDisk(from, asTree(tree));
    plantOnDisk(to, asTree(mutated(random, tree)));
    const entries = Object.keys(shape(from)).filter((path) => !path.includes("/"));
    const moved = entries.length > 0 ? random.pick(entries) : undefined;
    if (moved !== undefined) renameSync(join(from, moved), join(from, `moved ${i}`));
    const by = random.pick(["stat", "content"] as const);
    const plan = syncSync(from, to, { ...options, by, force: true, dryRun: true });
    const result = syncSync(from, to, { ...options, by, force: true });
    renamed += result.renamed;
    expect({ seed: seed + i, said: said(result) }).toEqual({ seed: seed + i, said: said(plan) });
    expect({ seed: seed + i, shape: shape(to) }).toEqual({ seed: seed + i, shape: shape(from) });
    const again = syncSync(from, to, { ...options, by, force: true });
    expect({ seed: seed + i, planned: again.planned }).toEqual({ seed: seed + i, planned: 0 });
  }
  expect(renamed).toBeGreaterThan(0);
});
