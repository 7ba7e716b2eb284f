// Both ways with `moves`: what one side renamed is renamed on the other, not copied and deleted.

import { expect, test } from "bun:test";
import { mkdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { apply, sync, type Plan, type SyncOptions, type Transfer } from "../lib/index.ts";
import { patience } from "./patience.ts";
import { putFile, said, shape } from "./synced.ts";
import { leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();
patience(60_000);

const scratch = scratchForEach();

const tree = { a: "content of a", "d/x": "content of x", "d/y": "content of y", e: "" };

async function pair(): Promise<[string, string, (options?: SyncOptions) => Promise<Transfer>]> {
  const [left, right] = [scratch.plant("left", tree), scratch.plant("right", {})];
  const twoWay = { state: scratch.at("both.state") };
  const run = async (options: SyncOptions = {}): Promise<Transfer> =>
    await sync(left, right, { twoWay, moves: true, ...options });
  await run();
  return [left, right, run];
}

const inode = (...path: string[]): number => statSync(join(...path)).ino;

test("a file and a directory, each on one side, in the same run", async () => {
  const [left, right, run] = await pair();
  const before = [inode(right, "a"), inode(left, "d", "x")];
  mkdirSync(join(left, "new"));
  renameSync(join(left, "a"), join(left, "new", "b"));
  renameSync(join(right, "d"), join(right, "dir"));
  const plan = await run({ dryRun: true });
  const done = await run();
  expect(said(done)).toEqual(said(plan));
  expect(done).toMatchObject({ errors: 0, renamed: 3, copied: 0, transferred: 0, saved: 36 });
  expect(done.actions).toContainEqual(
    expect.objectContaining({ kind: "renamed", path: "new/b", from: "a", to: "right" }),
  );
  expect([inode(right, "new", "b"), inode(left, "dir", "x")]).toEqual(before);
  const wanted = {
    dir: "/",
    "dir/x": "content of x",
    "dir/y": "content of y",
    e: "",
    new: "/",
    "new/b": "content of a",
  };
  expect(shape(left)).toEqual(wanted);
  expect(shape(right)).toEqual(wanted);
  expect(await run()).toMatchObject({ planned: 0, errors: 0 });
});

test("without the option it is copied and deleted", async () => {
  const [left, right, run] = await pair();
  renameSync(join(left, "a"), join(left, "b"));
  expect(await run({ moves: false })).toMatchObject({ renamed: 0, copied: 1, deleted: 1 });
  expect(shape(right)).toEqual(shape(left));
});

test("what was changed, too, is no rename, and a change on the other side is kept", async () => {
  const [left, right, run] = await pair();
  renameSync(join(left, "a"), join(left, "b"));
  putFile(left, "b", "CONTENT OF A", 2_000_000_000);
  renameSync(join(left, "d", "x"), join(left, "moved"));
  putFile(right, "d/x", "changed here", 2_000_000_000);
  const done = await run();
  expect(done).toMatchObject({ errors: 0, renamed: 0, copied: 3, deleted: 1 });
  expect(shape(left)).toEqual(shape(right));
  expect(shape(left)).toMatchObject({
    b: "CONTENT OF A",
    moved: "content of x",
    "d/x": "changed here",
  });
});

test("the same file renamed on both sides: both names stay", async () => {
  const [left, right, run] = await pair();
  renameSync(join(left, "a"), join(left, "b"));
  renameSync(join(right, "a"), join(right, "c"));
  expect(await run()).toMatchObject({ errors: 0, renamed: 0, copied: 2 });
  expect(shape(left)).toEqual(shape(right));
  expect(shape(left)).toMatchObject({ b: "content of a", c: "content of a" });
});

test("a touched file that was renamed is found by its content, and gets its time", async () => {
  const [left, right, run] = await pair();
  const before = inode(right, "a");
  renameSync(join(left, "a"), join(left, "b"));
  utimesSync(join(left, "b"), 2_000_000_000, 2_000_000_000);
  expect(await run()).toMatchObject({ errors: 0, renamed: 1, copied: 0 });
  expect([inode(right, "b"), statSync(join(right, "b")).mtimeMs]).toEqual([before, 2e12]);
  expect(await run()).toMatchObject({ planned: 0 });
});

test("a plan has renames, and what is not as it was is left", async () => {
  const [left, right, run] = await pair();
  renameSync(join(left, "a"), join(left, "b"));
  renameSync(join(left, "d", "x"), join(left, "z"));
  const plan = JSON.parse(JSON.stringify(await run({ dryRun: true }))) as Plan;
  expect(said(plan as Transfer)).toEqual(["renamed b", "renamed z"]);
  putFile(right, "d/x", "changed here", 2_000_000_000);
  const done = await apply(plan, { state: scratch.at("both.state") });
  expect(said(done)).toEqual(["renamed b", "error d/x CHANGED", "copied z"]);
  expect(shape(right)).toMatchObject({
    b: "content of a",
    z: "content of x",
    "d/x": "changed here",
  });
  await run();
  expect(shape(left)).toEqual(shape(right));
  expect(shape(left)["d/x"]).toBe("changed here");
});

test("maxDelete and an empty side forbid renames as they forbid deleting", async () => {
  const [left, right, run] = await pair();
  const before = shape(right);
  renameSync(join(left, "a"), join(left, "b"));
  const done = await run({ maxDelete: 0 });
  expect(said(done)).toEqual(["error  LIMIT", "copied b"]);
  expect(shape(right)).toEqual({ ...before, b: "content of a" });
  rmSync(join(left), { recursive: true });
  mkdirSync(left);
  writeFileSync(join(right, "since"), "");
  expect((await run()).actions).toContainEqual(expect.objectContaining({ kind: "error" }));
});
