// Both ways: what each side changed since the last run is brought to the other, and no version is lost.

import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { apply, sync, syncSync, type Plan, type SyncOptions, type Transfer } from "../lib/index.ts";
import { putFile, putLink, said, shape } from "./synced.ts";
import { run } from "./trees.ts";
import { codeOf, leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();

const scratch = scratchForEach();

interface Pair {
  readonly left: string;
  readonly right: string;
  readonly state: string;
  run(options?: SyncOptions): Promise<Transfer>;
}

/** Two trees and the place of their state. */
function pair(left: Record<string, string>, right: Record<string, string> = {}): Pair {
  const state = scratch.at("state", "both.state");
  const [l, r] = [scratch.plant("left", left), scratch.plant("right", right)];
  const run = async ({ twoWay, ...options }: SyncOptions = {}): Promise<Transfer> =>
    await sync(l, r, {
      ...options,
      twoWay: { state, ...(typeof twoWay === "object" ? twoWay : {}) },
    });
  return { left: l, right: r, state, run };
}

/** Both sides hold this, and a second run has nothing to do. */
async function ends(
  { left, right, run }: Pair,
  expected: Record<string, string>,
  options: SyncOptions = {},
): Promise<void> {
  expect(shape(left)).toEqual(expected);
  expect(shape(right)).toEqual(expected);
  const again = await run(options);
  expect([said(again), again.errors, again.complete]).toEqual([[], 0, true]);
}

const LEFT_NEW = 2_000_000_000; // 2033-05-18 03:33:20
const RIGHT_NEW = 2_000_000_060;
const ofLeft = "f.conflict-left-20330518-033320";

describe("one name, each change on each side", () => {
  type Change = "same" | "changed" | "created" | "deleted";
  // `created` is new, or, where there was something before, something of another type.
  const table: readonly [Change, Change, Record<string, string>][] = [
    ["same", "same", { f: "base" }],
    ["same", "changed", { f: "right" }],
    ["same", "created", { f: "-> right" }],
    ["same", "deleted", {}],
    ["changed", "same", { f: "left" }],
    ["changed", "changed", { f: "right", [ofLeft]: "left" }],
    ["changed", "created", { f: "-> right", [ofLeft]: "left" }],
    ["changed", "deleted", { f: "left" }],
    ["created", "same", { f: "-> left" }],
    ["created", "changed", { f: "right", [ofLeft]: "-> left" }],
    ["created", "created", { f: "right", [ofLeft]: "left" }],
    ["created", "deleted", { f: "-> left" }],
    ["deleted", "same", {}],
    ["deleted", "changed", { f: "right" }],
    ["deleted", "created", { f: "-> right" }],
    ["deleted", "deleted", {}],
  ];

  const change = (root: string, what: Change, name: string, at: number, isNew: boolean): void => {
    if (what === "changed" || (what === "created" && isNew)) putFile(root, "f", name, at);
    else if (what === "created") putLink(root, "f", name, at);
    else if (what === "deleted") rmSync(join(root, "f"));
  };

  const both = table.flatMap((row) => [
    [...row, "run"] as const,
    [...row, "applied plan"] as const,
  ]);

  test.each(both)("left %s, right %s", async (left, right, expected, way) => {
    const both = pair({ other: "o" });
    const isNew = left === "created" && right === "created";
    if (!isNew) putFile(both.left, "f", "base", 1_000_000_000);
    await both.run();
    change(both.left, left, "left", LEFT_NEW, isNew);
    change(both.right, right, "right", RIGHT_NEW, isNew);
    const plan = await both.run({ dryRun: true });
    const asFile = JSON.parse(JSON.stringify(plan)) as Plan;
    const done = way === "run" ? await both.run() : await apply(asFile, { state: both.state });
    expect(said(plan)).toEqual(said(done));
    expect(done.errors).toBe(0);
    const isMet = ["changed", "created", "deleted"];
    const meets =
      Object.keys(expected).length > 1 ||
      (isMet.includes(left) && isMet.includes(right) && [left, right].includes("changed"));
    expect(done.twoWay).toEqual({ conflicts: meets ? 1 : 0, state: "known" });
    await ends(both, { ...expected, other: "o" });
  });

  // Without a state everything there is was created.
  test("neither side has a state: the same is the same, the rest meets", async () => {
    const both = pair({ only: "left" }, { "also/only": "right" });
    putFile(both.left, "f", "left", LEFT_NEW);
    putFile(both.right, "f", "right", RIGHT_NEW);
    for (const root of [both.left, both.right]) putFile(root, "d", "x", LEFT_NEW);
    putFile(both.left, "equal", "content", LEFT_NEW);
    putFile(both.right, "equal", "content", RIGHT_NEW);
    const first = await both.run();
    expect(said(first)).toEqual([
      "created also",
      "copied also/only",
      "updated equal",
      "conflict f",
      "copied f",
      `copied ${ofLeft}`,
      "copied only",
    ]);
    expect(first).toMatchObject({ twoWay: { conflicts: 1, state: "new" }, errors: 0 });
    expect(statSync(join(both.left, "equal")).mtimeMs / 1000).toBe(RIGHT_NEW);
    await ends(both, {
      also: "/",
      "also/only": "right",
      d: "x",
      equal: "content",
      f: "right",
      [ofLeft]: "left",
      only: "left",
    });
  });
});

describe("conflicts", () => {
  const meet = async (): Promise<Pair> => {
    const both = pair({ f: "base" });
    await both.run();
    putFile(both.left, "f", "left", LEFT_NEW);
    putFile(both.right, "f", "right", RIGHT_NEW);
    return both;
  };

  test.each([
    ["newer", "right", "left"],
    ["left", "left", "right"],
    ["right", "right", "left"],
  ] as const)(
    "%s: %s keeps the name, the other one is in backupDir",
    async (conflict, won, lost) => {
      const both = await meet();
      const options = { backupDir: scratch.at("kept"), twoWay: { conflict } };
      const done = await both.run(options);
      expect(done.actions[0]).toMatchObject({ kind: "conflict", path: "f", kept: won });
      expect(readFileSync(scratch.at("kept", "f"), "utf8")).toBe(lost);
      await ends(both, { f: won }, options);
    },
  );

  test("a version is never given up for nothing: newer, left and right need backupDir", async () => {
    const both = await meet();
    for (const conflict of ["newer", "left", "right"] as const)
      expect(await codeOf(both.run({ twoWay: { conflict } }).then())).toBe("ARGUMENT");
    expect(readFileSync(join(both.left, "f"), "utf8")).toBe("left");
  });

  test("the row says what both had", async () => {
    const both = await meet();
    const [row] = (await both.run()).actions;
    expect(row).toEqual({
      kind: "conflict",
      path: "f",
      kept: "both",
      as: ofLeft,
      left: { type: "file", size: 4, mtime: "2000000000000000000" },
      right: { type: "file", size: 5, mtime: "2000000060000000000" },
    });
  });

  test("both made the same change: nothing meets", async () => {
    const both = await meet();
    putFile(both.left, "f", "right", LEFT_NEW);
    expect(await both.run()).toMatchObject({ updated: 1, copied: 0, twoWay: { conflicts: 0 } });
    await ends(both, { f: "right" });
  });

  test("the name for the other version is taken: it gets a number", async () => {
    const both = await meet();
    putFile(both.left, ofLeft, "mine", 1_000_000_000);
    await both.run();
    await ends(both, { f: "right", [ofLeft]: "mine", [`${ofLeft}-2`]: "left" });
  });

  test("endings stay, names of 255 bytes are cut between characters", async () => {
    const long = "é".repeat(127);
    const both = pair({ "a.tar": "0", [long]: "0", ".hidden": "0" });
    await both.run();
    for (const name of ["a.tar", long, ".hidden"]) {
      putFile(both.left, name, "left", LEFT_NEW);
      putFile(both.right, name, "right", RIGHT_NEW);
    }
    expect((await both.run()).errors).toBe(0);
    const names = readdirSync(both.left);
    expect(names).toContain("a.conflict-left-20330518-033320.tar");
    expect(names).toContain(".hidden.conflict-left-20330518-033320");
    const cut = names.find((name) => name.startsWith("é") && name.includes("conflict"))!;
    expect(cut).toMatch(/^é+\.conflict-left-20330518-033320$/);
    expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(255);
    await ends(both, shape(both.left));
  });
});

describe("directories and other types", () => {
  test("a directory that one side deleted goes when nothing in it was changed", async () => {
    const both = pair({ "d/a": "a", "d/e/b": "b", keep: "k" });
    await both.run();
    rmSync(join(both.right, "d"), { recursive: true });
    expect(said(await both.run())).toEqual([
      "deleted d",
      "deleted d/a",
      "deleted d/e",
      "deleted d/e/b",
    ]);
    await ends(both, { keep: "k" });
  });

  test("what is new or changed in it stays, and comes back with its directories", async () => {
    const both = pair({ "d/a": "a", "d/e/b": "b", "d/gone/c": "c", keep: "k" });
    await both.run();
    rmSync(join(both.right, "d"), { recursive: true });
    putFile(both.left, "d/e/new", "new", LEFT_NEW);
    putFile(both.left, "d/a", "changed", LEFT_NEW);
    const done = await both.run();
    expect(done).toMatchObject({ errors: 0, twoWay: { conflicts: 1 } });
    await ends(both, {
      d: "/",
      "d/a": "changed",
      "d/e": "/",
      "d/e/new": "new",
      keep: "k",
    });
  });

  test("an empty directory is made, and goes", async () => {
    const both = pair({ "d/": "", keep: "k" });
    mkdirSync(join(both.left, "d"), { recursive: true });
    await both.run();
    expect(shape(both.right)).toEqual({ d: "/", keep: "k" });
    rmSync(join(both.left, "d"), { recursive: true });
    await both.run();
    await ends(both, { keep: "k" });
  });

  test("a file that became a directory, and the reverse", async () => {
    const both = pair({ f: "file", "d/a": "a", "d/b": "b" });
    await both.run();
    rmSync(join(both.left, "f"));
    putFile(both.left, "f/in", "in", LEFT_NEW);
    rmSync(join(both.right, "d"), { recursive: true });
    putFile(both.right, "d", "now a file", RIGHT_NEW);
    expect((await both.run()).errors).toBe(0);
    await ends(both, { d: "now a file", f: "/", "f/in": "in" });
  });

  test("a directory became a link while something in it changed: both are kept", async () => {
    const both = pair({ "f/a": "a", other: "o" });
    await both.run();
    rmSync(join(both.left, "f"), { recursive: true });
    putLink(both.left, "f", "other", LEFT_NEW);
    putFile(both.right, "f/a", "changed", RIGHT_NEW);
    expect(await both.run()).toMatchObject({ errors: 0, twoWay: { conflicts: 2 } });
    await ends(both, { f: "/", "f/a": "changed", [ofLeft]: "-> other", other: "o" });
  });

  test("a new directory there and a new file here: both are kept", async () => {
    const both = pair({ other: "o" });
    await both.run();
    putFile(both.left, "f", "file", LEFT_NEW);
    putFile(both.right, "f/in", "in", RIGHT_NEW);
    expect(await both.run()).toMatchObject({ errors: 0, twoWay: { conflicts: 1 } });
    await ends(both, { f: "/", "f/in": "in", [ofLeft]: "file", other: "o" });
  });

  test("links are brought over as they are", async () => {
    const both = pair({ a: "a" });
    putLink(both.left, "l", "a", LEFT_NEW);
    await both.run();
    putLink(both.right, "l", "nowhere", RIGHT_NEW);
    await both.run();
    await ends(both, { a: "a", l: "-> nowhere" });
  });

  test("modes of files and directories go where they were not changed", async () => {
    const both = pair({ f: "f", "d/x": "x" });
    await both.run();
    chmodSync(join(both.left, "f"), 0o600);
    chmodSync(join(both.right, "d"), 0o700);
    // A change in the directory must not take its mode along.
    putFile(both.left, "d/x", "changed", LEFT_NEW);
    expect(await both.run()).toMatchObject({ updated: 2, copied: 1, errors: 0 });
    for (const root of [both.left, both.right]) {
      expect(statSync(join(root, "f")).mode & 0o777).toBe(0o600);
      expect(statSync(join(root, "d")).mode & 0o777).toBe(0o700);
    }
    await ends(both, { d: "/", "d/x": "changed", f: "f" });
  });
});

describe("the state", () => {
  test("is that of one pair, though a side was reached by a link and was not there yet", async () => {
    const left = scratch.plant("left", { a: "1" });
    scratch.plant("real", {});
    symlinkSync("real", scratch.at("link"));
    const right = scratch.at("link", "new");
    const twoWay = { state: scratch.at("one.state") };
    expect(await sync(left, right, { twoWay })).toMatchObject({ copied: 1, errors: 0 });
    expect(await sync(left, right, { twoWay })).toMatchObject({
      planned: 0,
      twoWay: { state: "known" },
    });
  });

  const deleted = async (): Promise<Pair> => {
    const both = pair({ a: "a", "d/b": "b" });
    await both.run();
    rmSync(join(both.right, "a"));
    rmSync(join(both.left, "d"), { recursive: true });
    return both;
  };

  test("lost: nothing is deleted", async () => {
    const both = await deleted();
    rmSync(both.state);
    expect(await both.run()).toMatchObject({ deleted: 0, errors: 0, twoWay: { state: "new" } });
    await ends(both, { a: "a", d: "/", "d/b": "b" });
  });

  test.each([
    ["cut", (path: string) => truncateSync(path, statSync(path).size - 1)],
    ["empty", (path: string) => truncateSync(path, 0)],
    [
      "one bit turned",
      (path: string) => {
        const bytes = readFileSync(path);
        bytes[bytes.length >> 1]! ^= 4;
        writeFileSync(path, bytes);
      },
    ],
  ])("damaged (%s): nothing is deleted, it says so, and the next run knows", async (_, damage) => {
    const both = await deleted();
    damage(both.state);
    const done = await both.run();
    expect(done).toMatchObject({ deleted: 0, complete: false, twoWay: { state: "damaged" } });
    expect(said(done)).toContain("error  CORRUPT");
    await ends(both, { a: "a", d: "/", "d/b": "b" });
  });

  test("of two other places: refused, and left as it is", async () => {
    const both = await deleted();
    const before = readFileSync(both.state);
    const third = scratch.plant("third", {});
    const other = sync(both.left, third, { twoWay: { state: both.state } });
    expect(await codeOf(other.then())).toBe("ARGUMENT");
    expect(readFileSync(both.state).equals(before)).toBe(true);
    expect(shape(third)).toEqual({});
  });

  test("a file, pipe or device that is no state is refused and left as it is", async () => {
    const both = await deleted();
    const notes = scratch.at("notes");
    const pipe = scratch.at("pipe");
    writeFileSync(notes, "of the user's");
    run("mkfifo", pipe);
    for (const state of [notes, pipe]) {
      const { ino } = statSync(state);
      expect(await codeOf(sync(both.left, both.right, { twoWay: { state } }).then())).toBe(
        "ARGUMENT",
      );
      expect(statSync(state).ino).toBe(ino);
    }
    expect(readFileSync(notes, "utf8")).toBe("of the user's");
    expect(existsSync(`${notes}.new`)).toBe(false);
  });

  test("by default it lies in the user's state directory, one for each pair", async () => {
    const before = process.env["XDG_STATE_HOME"];
    process.env["XDG_STATE_HOME"] = scratch.at("home");
    try {
      const [a, b] = [scratch.plant("a", { f: "1" }), scratch.plant("b", {})];
      syncSync(a, b, { twoWay: true });
      syncSync(a, scratch.plant("c", {}), { twoWay: true });
      expect(readdirSync(scratch.at("home", "copse", "two-way"))).toHaveLength(2);
      expect(readdirSync(scratch.at("home", "copse", "two-way"))[0]).toMatch(
        /^[0-9a-f]{32}\.state$/,
      );
      // However it is named.
      symlinkSync(a, scratch.at("name"));
      const again = syncSync(`${scratch.at("name")}/`, b, { twoWay: true });
      expect(again).toMatchObject({ planned: 0, twoWay: { state: "known" } });
    } finally {
      if (before === undefined) delete process.env["XDG_STATE_HOME"];
      else process.env["XDG_STATE_HOME"] = before;
    }
  });

  test("where no directory for it can be made, that is said, and nothing is done", async () => {
    const both = pair({ a: "a" });
    const file = scratch.at("no-home");
    writeFileSync(file, "");
    const state = join(file, "state");
    const error = new Promise((found) => {
      try {
        sync(both.left, both.right, { twoWay: { state } }).then(found, found);
      } catch (thrown) {
        found(thrown);
      }
    });
    expect(await error).toMatchObject({ code: "EXISTS", location: file });
    expect(shape(both.right)).toEqual({});
  });

  test("it may not lie in one of the trees", async () => {
    const both = pair({ a: "a" });
    const state = join(both.right, "s", "state");
    expect(() => sync(both.left, both.right, { twoWay: { state } })).toThrow("lies in one");
    expect(existsSync(dirname(state))).toBe(false);
  });

  test("a run with nothing to do leaves it as it is", async () => {
    const both = pair({ a: "a" });
    await both.run();
    const before = statSync(both.state);
    await both.run();
    expect(statSync(both.state)).toMatchObject({ ino: before.ino, mtimeMs: before.mtimeMs });
    expect(readdirSync(dirname(both.state))).toEqual(["both.state"]);
  });
});

describe("what is not deleted", () => {
  test("an empty side deletes nothing without force, on either side", async () => {
    for (const side of ["left", "right"] as const) {
      scratch[Symbol.dispose]();
      const both = pair({ a: "a", "d/b": "b" });
      await both.run();
      for (const name of readdirSync(both[side]))
        rmSync(join(both[side], name), { recursive: true });
      const done = await both.run();
      expect(done).toMatchObject({ deleted: 0, kept: 3, errors: 1, complete: false });
      const forced = await both.run({ force: true });
      expect(forced).toMatchObject({ deleted: 3, errors: 0 });
      await ends(both, {});
    }
  });

  test("the right side is gone altogether: nothing is deleted on the left", async () => {
    const both = pair({ a: "a" });
    await both.run();
    rmSync(both.right, { recursive: true });
    expect(await both.run()).toMatchObject({ deleted: 0, kept: 1, errors: 1 });
    expect(shape(both.left)).toEqual({ a: "a" });
  });

  test("maxDelete holds for each side by itself; the rest is done", async () => {
    const both = pair({ a: "a", b: "b", c: "c", d: "d" });
    await both.run();
    rmSync(join(both.left, "a"));
    rmSync(join(both.left, "b"));
    rmSync(join(both.right, "c"));
    putFile(both.left, "new", "new", LEFT_NEW);
    const done = await both.run({ maxDelete: 1 });
    expect(done).toMatchObject({ deleted: 1, copied: 1, kept: 2, errors: 1 });
    expect(shape(both.left)).toEqual({ d: "d", new: "new" });
    expect(shape(both.right)).toEqual({ a: "a", b: "b", d: "d", new: "new" });
    // It is still known that they were deleted.
    expect(await both.run()).toMatchObject({ deleted: 2, errors: 0 });
    await ends(both, { d: "d", new: "new" });
  });

  test("what the filters leave out is protected, and is neither new nor gone later", async () => {
    const both = pair({ "d/a.log": "log", "d/b": "b", c: "c" });
    await both.run();
    rmSync(join(both.right, "d"), { recursive: true });
    const done = await both.run({ exclude: ["*.log"] });
    expect(done).toMatchObject({ deleted: 1, errors: 0 });
    expect(shape(both.left)).toEqual({ c: "c", d: "/", "d/a.log": "log" });
    expect(shape(both.right)).toEqual({ c: "c" });
    expect(said(await both.run())).toEqual(["deleted d", "deleted d/a.log"]);
    await ends(both, { c: "c" });
  });

  test("a directory that cannot be listed: nothing is deleted on the other side", async () => {
    for (const [left, right] of [
      ["fault:list=2,code=DENIED:", ""],
      ["", "fault:list=2,code=DENIED:"],
    ] as const) {
      scratch[Symbol.dispose]();
      const both = pair({ "d/a": "a", b: "b", c: "c" });
      await both.run();
      rmSync(join(left ? both.left : both.right, "b"));
      putFile(left ? both.right : both.left, "new", "new", LEFT_NEW);
      const twoWay = { state: both.state };
      const done = await sync(`${left}${both.left}`, `${right}${both.right}`, { twoWay });
      expect(said(done)).toEqual(["error  CHANGED", "error d DENIED", "copied new"]);
      expect(done).toMatchObject({ deleted: 0, kept: 1, complete: false, errors: 2 });
      // What was below it stays known.
      rmSync(join(both.left, "d"), { recursive: true });
      expect(said(await both.run())).toEqual(["deleted b", "deleted d", "deleted d/a"]);
      await ends(both, { c: "c", new: "new" });
    }
  });

  test("what changes while the other side's version is brought to it is left, and meets it later", async () => {
    const both = pair({ f: "base" });
    await both.run();
    putFile(both.left, "f", "l".repeat(600_000), LEFT_NEW);
    const twoWay = { state: both.state };
    const task = sync(`fault:delay=1000:${both.left}`, both.right, { twoWay });
    while (!readdirSync(both.right).some((name) => name.includes(".copse-"))) await Bun.sleep(5);
    putFile(both.right, "f", "right", RIGHT_NEW);
    expect(said(await task)).toEqual(["error f CHANGED"]);
    expect(shape(both.right)).toEqual({ f: "right" });
    expect(await both.run()).toMatchObject({ errors: 0, twoWay: { conflicts: 1 } });
    await ends(both, { f: "right", [ofLeft]: "l".repeat(600_000) });
  });

  test("a copy that fails is an error, and is done by the next run", async () => {
    const both = pair({ a: "a" });
    await both.run();
    putFile(both.left, "a", "left", LEFT_NEW);
    putFile(both.left, "b", "new", LEFT_NEW);
    const twoWay = { state: both.state };
    const right = `fault:write=1,code=NO_SPACE:${both.right}`;
    const done = await sync(both.left, right, { twoWay, retries: 0, concurrency: 1 });
    expect(done).toMatchObject({ errors: 1, copied: 1, complete: false });
    expect(await both.run()).toMatchObject({ errors: 0, copied: 1, twoWay: { conflicts: 0 } });
    await ends(both, { a: "left", b: "new" });
  });

  test("pipes are left alone and said so", async () => {
    const both = pair({ a: "a" });
    Bun.spawnSync(["mkfifo", join(both.left, "pipe")]);
    expect(said(await both.run())).toEqual(["copied a", "skipped pipe"]);
    expect(existsSync(join(both.right, "pipe"))).toBe(false);
  });
});

describe("options", () => {
  test("dryRun changes nothing, the state neither", async () => {
    const both = pair({ a: "a" }, { b: "b" });
    const plan = await both.run({ dryRun: true });
    expect(plan).toMatchObject({ copied: 2, transferred: 2, planned: 2 });
    expect(plan.actions).toMatchObject([
      { kind: "copied", path: "a", to: "right" },
      { kind: "copied", path: "b", to: "left" },
    ]);
    expect(existsSync(both.state)).toBe(false);
    expect(shape(both.right)).toEqual({ b: "b" });
  });

  test("what makes no sense is refused", () => {
    const [a, b] = [scratch.plant("a", {}), scratch.plant("b", {})];
    for (const options of [
      { by: "content" },
      { overwrite: "never" },
      { delete: false },
      { hardLinks: true },
      { links: "follow" },
      { compress: true },
      { preserve: ["mode"] },
      { twoWay: { conflict: "older" } },
      { twoWay: { sate: "x" } },
      { twoWay: "yes" },
      { nonsense: 1 },
    ])
      expect(() => sync(a, b, { twoWay: true, ...(options as SyncOptions) })).toThrow();
  });

  test("one tree in the other, and a tree with itself, are refused", async () => {
    const both = pair({ "in/a": "a" });
    const inside = join(both.left, "in");
    const state = scratch.at("state", "x");
    for (const [from, to] of [
      [both.left, inside],
      [inside, both.left],
      [both.left, both.left],
    ] as const)
      expect(await codeOf(sync(from, to, { twoWay: { state } }).then())).toBe("ARGUMENT");
    expect(shape(both.left)).toEqual({ in: "/", "in/a": "a" });
  });

  test("places that cannot be renamed in are refused", async () => {
    const a = scratch.plant("a", { f: "1" });
    const task = sync(a, "memory:two-way/x", { twoWay: { state: scratch.at("s") } });
    expect(await codeOf(task.then())).not.toBe("none");
  });

  test("iterated, each row comes once", async () => {
    const both = pair({ a: "a" }, { b: "b" });
    const rows: string[] = [];
    for await (const row of sync(both.left, both.right, { twoWay: { state: both.state } }))
      rows.push(`${row.kind} ${row.path}`);
    expect(rows.toSorted()).toEqual(["copied a", "copied b"]);
  });

  test("a cancelled run keeps the old state", async () => {
    const both = pair({ a: "a" });
    await both.run();
    const before = readFileSync(both.state);
    putFile(both.left, "b", "b", LEFT_NEW);
    const stop = new AbortController();
    const task = sync(both.left, both.right, {
      twoWay: { state: both.state },
      signal: stop.signal,
    });
    stop.abort();
    expect(await codeOf(task.then())).not.toBe("none");
    expect(readFileSync(both.state).equals(before)).toBe(true);
    await both.run();
    await ends(both, { a: "a", b: "b" });
  });

  test("a renamed directory is the same on both sides afterwards", async () => {
    const both = pair({ "d/a": "a", "d/e/b": "b" });
    await both.run();
    renameSync(join(both.left, "d"), join(both.left, "moved"));
    putFile(both.right, "d/new", "new", RIGHT_NEW);
    await both.run();
    await ends(both, {
      d: "/",
      "d/new": "new",
      moved: "/",
      "moved/a": "a",
      "moved/e": "/",
      "moved/e/b": "b",
    });
  });
});
