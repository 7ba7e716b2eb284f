// What sync keeps and says by option: hard links, a place for what is replaced, the report.

import { describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { compare, copy, sync, type SyncOptions } from "../lib/index.ts";
import { commandPlace } from "./command.ts";
import { said, shape } from "./synced.ts";
import { hard, link, run } from "./trees.ts";
import { atRest, codeOf, leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();

const scratch = scratchForEach();
const { copse: command } = commandPlace();

const inode = (path: string): number => statSync(path).ino;

describe("hard links", () => {
  const tree = { a: "one", "d/b": hard("a"), "d/e/c": hard("a"), other: "two" };

  test("names of one file stay names of one file; the second run has nothing to do", async () => {
    const from = scratch.plant("from", tree);
    const to = scratch.at("to");
    const result = await sync(from, to, { hardLinks: true });
    expect(result).toMatchObject({ copied: 2, linked: 2, errors: 0, transferred: 6, saved: 6 });
    expect(new Set(["a", "d/b", "d/e/c"].map((name) => inode(join(to, name)))).size).toBe(1);
    expect((await compare(from, to, { metadata: ["mode", "mtime"] })).equal).toBe(true);
    const again = await sync(from, to, { hardLinks: true });
    expect(again).toMatchObject({ planned: 0, skipped: 4 });
  });

  test("by default each name is a file of its own", async () => {
    const from = scratch.plant("from", tree);
    await sync(from, scratch.at("to"));
    expect(inode(scratch.at("to", "a"))).not.toBe(inode(scratch.at("to", "d", "b")));
  });

  test("what was a file of its own becomes a name; dry run says so and changes nothing", async () => {
    const from = scratch.plant("from", tree);
    const to = scratch.at("to");
    await sync(from, to);
    const plan = await sync(from, to, { hardLinks: true, dryRun: true });
    expect(plan.linked).toBe(2);
    expect(inode(join(to, "a"))).not.toBe(inode(join(to, "d", "b")));
    // Which of the names comes first, and is the file, is not fixed: several workers look.
    const done = await sync(from, to, { hardLinks: true });
    expect(done.linked).toBe(2);
    for (const line of [...said(done), ...said(plan)])
      expect(line).toMatch(/^linked (a|d\/b|d\/e\/c)$/);
    expect(inode(join(to, "a"))).toBe(inode(join(to, "d", "b")));
  });

  test("a directory in the way of a further name goes first", async () => {
    const from = scratch.plant("from", tree);
    const to = scratch.plant("to", { "d/b/x/y": "old" });
    expect(await sync(from, to, { hardLinks: true })).toMatchObject({ errors: 0, linked: 2 });
    expect(shape(to)).toEqual(shape(from));
    expect(inode(join(to, "a"))).toBe(inode(join(to, "d", "b")));
  });

  test("a further name of a file that could not be copied never gets the old content", async () => {
    const from = scratch.plant("from", { a: "new", b: hard("a") });
    for (const overwrite of ["different", "never"] as const) {
      const to = scratch.plant("to", { a: "old content", b: "old content" });
      rmSync(join(to, "b"));
      // Whichever of the names comes first: only one of them is there.
      const broken = overwrite === "never" ? to : `fault:writer=1,code=DENIED:${to}`;
      const result = await sync(from, broken, { hardLinks: true, overwrite, concurrency: 1 });
      expect(result.errors).toBe(overwrite === "never" ? 0 : 1);
      if (existsSync(join(to, "b"))) expect(readFileSync(join(to, "b"), "latin1")).toBe("new");
      rmSync(to, { recursive: true });
    }
  });

  test("rsync -aH finds nothing to do", async () => {
    const from = scratch.plant("from", tree);
    await sync(from, scratch.at("to"), { hardLinks: true });
    expect(
      run("rsync", "-aHin", "--delete", "--checksum", `${from}/`, `${scratch.at("to")}/`),
    ).toBe("");
  });
});

test("hard links of an archive in its own order: again there is nothing to do, and nothing left", async () => {
  const from = scratch.plant("from", { a: "one", "d/b": hard("a") });
  run("tar", "-C", from, "-czf", scratch.at("a.tar.gz"), ".");
  const [archive, to] = [`archive:${scratch.at("a.tar.gz")}`, scratch.at("to")];
  expect(await copy(archive, to)).toMatchObject({ copied: 2, errors: 0 });
  expect(inode(join(to, "a"))).toBe(inode(join(to, "d/b")));
  expect(await copy(archive, to)).toMatchObject({ copied: 0, skipped: 2, errors: 0 });
  expect(shape(to)).toEqual(shape(from));
});

test("hard links of an archive in its own order: none to a file that stayed as it was", async () => {
  const from = scratch.plant("from", { a: "new", b: hard("a"), c: hard("a") });
  run("tar", "-C", from, "-czf", scratch.at("a.tar.gz"), ".");
  const archive = `archive:${scratch.at("a.tar.gz")}`;
  // Whichever of the names comes first is kept, or cannot be written.
  for (const first of ["a", "b", "c"])
    for (const fails of [true, false]) {
      const to = scratch.plant("to", { [first]: "old content" });
      const broken = fails ? `fault:writer=1,code=DENIED:${to}` : to;
      const result = await copy(archive, broken, { overwrite: fails ? "different" : "never" });
      expect(result.errors).toBe(fails ? 1 : 0);
      const others = ["a", "b", "c"].filter((name) => name !== first);
      for (const name of others.filter((name) => existsSync(join(to, name))))
        expect([name, readFileSync(join(to, name), "latin1")]).toEqual([name, "new"]);
      if (!fails) expect(readdirSync(to)).toHaveLength(3);
      rmSync(to, { recursive: true });
    }
});

test("hard links of an archive in its own order: files of their own where there are none", async () => {
  const from = scratch.plant("from", { a: "one", b: hard("a"), "d/c": hard("a") });
  run("tar", "-C", from, "-czf", scratch.at("a.tar.gz"), ".");
  const [archive, to] = [`archive:${scratch.at("a.tar.gz")}`, "memory:no-hard-links"];
  expect(await copy(archive, to)).toMatchObject({ copied: 3, errors: 0 });
  expect(await compare(from, to)).toMatchObject({ equal: true });
  expect(await copy(archive, to)).toMatchObject({ copied: 0, skipped: 3, errors: 0 });
});

describe("batch", () => {
  const place = (name: string): string => scratch.plant(name, { file: name }) + "/file";

  test("the second of one name is EXISTS; in another directory or batch it is not", async () => {
    const [one, two, to] = [place("one"), place("two"), scratch.plant("to", { "sub/other": "" })];
    expect(await copy(one, to, { batch: 1 })).toMatchObject({ copied: 1 });
    expect(await codeOf(copy(two, to, { batch: 1 }))).toBe("EXISTS");
    expect(readFileSync(join(to, "file"), "latin1")).toBe("one");
    expect(await copy(two, join(to, "sub"), { batch: 1 })).toMatchObject({ copied: 1 });
    expect(await copy(two, to, { batch: 2 })).toMatchObject({ copied: 1 });
  });

  test("a copy that failed, or was cancelled, gives the name back", async () => {
    const [one, two, to] = [place("one"), place("two"), scratch.plant("to", {})];
    const failed = await copy(`fault:read=1,code=DENIED:${one}`, to, { batch: 3 }).then(
      ({ errors }) => errors,
      () => 1,
    );
    expect(failed).toBe(1);
    const stop = new AbortController();
    const slow = copy(`fault:delay=60000:${one}`, to, { batch: 3, signal: stop.signal });
    setTimeout(() => stop.abort(), 50);
    expect(await codeOf(slow)).toBe("20"); // that of an AbortError
    await atRest();
    expect(await copy(two, to, { batch: 3 })).toMatchObject({ copied: 1, errors: 0 });
    expect(await codeOf(copy(one, to, { batch: 3 }))).toBe("EXISTS");
    expect(shape(to)).toEqual({ file: "two" });
  });
});

describe("backupDir", () => {
  const plantPair = (): [string, string] => [
    scratch.plant("from", { a: "new", "d/b": "new b", dir: "now a file", l: link("new") }),
    scratch.plant("to", {
      a: "old",
      "d/b": "old b",
      "d/gone/x": "deleted",
      gone: "deleted too",
      "dir/in": "in the way",
      l: link("old"),
    }),
  ];
  const kept = {
    a: "old",
    d: "/",
    "d/b": "old b",
    "d/gone": "/",
    "d/gone/x": "deleted",
    dir: "/",
    "dir/in": "in the way",
    gone: "deleted too",
    l: "-> old",
  };

  test("what is replaced or deleted is kept under the path it had", async () => {
    const [from, to] = plantPair();
    const backupDir = scratch.at("kept", "today");
    const result = await sync(from, to, { backupDir });
    expect(result.errors).toBe(0);
    expect(shape(to)).toEqual(shape(from));
    expect(shape(backupDir)).toEqual(kept);
    expect(await sync(from, to, { backupDir })).toMatchObject({ planned: 0 });
    expect(shape(backupDir)).toEqual(kept);
  });

  test("inside the destination it is no part of it, in this run and the next", async () => {
    const [from, to] = plantPair();
    const backupDir = join(to, ".kept");
    for (let i = 0; i < 2; i++) {
      expect((await sync(from, to, { backupDir })).errors).toBe(0);
      expect(shape(backupDir)).toEqual(kept);
    }
    writeFileSync(join(from, "a"), "newest");
    await sync(from, to, { backupDir });
    expect(readFileSync(join(backupDir, "a"), "utf8")).toBe("new");
  });

  test("a dry run keeps nothing; memory keeps what a file was", async () => {
    const [from, to] = plantPair();
    await sync(from, to, { backupDir: scratch.at("kept"), dryRun: true });
    expect(existsSync(scratch.at("kept"))).toBe(false);
    rmSync(join(to, "l"));
    await sync(from, to, { backupDir: "memory:kept-for-backup" });
    await copy("memory:kept-for-backup", scratch.at("back"));
    const { l: _, ...files } = kept;
    expect(shape(scratch.at("back"))).toEqual(files);
  });

  test("what an archive in its own order replaces is kept, too", async () => {
    const from = scratch.plant("from", { a: "new", "d/b": "new b", "d/c": "c" });
    run("tar", "-C", from, "-czf", scratch.at("a.tar.gz"), ".");
    const to = scratch.plant("to", { a: "older", "d/b": "older b" });
    const kept = scratch.at("kept-of-archive");
    const result = await copy(`archive:${scratch.at("a.tar.gz")}`, to, { backupDir: kept });
    expect(result).toMatchObject({ copied: 3, errors: 0 });
    expect(shape(to)).toEqual(shape(from));
    expect(shape(kept)).toEqual({ a: "older", d: "/", "d/b": "older b" });
  });

  test("what was kept before stays when nothing can be kept in its place", async () => {
    const [from, to] = plantPair();
    const backup = scratch.plant("kept", { a: "older" });
    const full = `fault:writer=1,sticky,code=NO_SPACE:${backup}`;
    const result = await sync(from, to, { backupDir: full, retries: 0 });
    expect(said(result)).toContain("error a NO_SPACE");
    expect(shape(backup)).toMatchObject({ a: "older" });
    // What has the name there already may be the same file.
    run("ln", "-f", join(to, "a"), join(backup, "a"));
    expect(await sync(from, to, { backupDir: backup })).toMatchObject({ errors: 0 });
    expect(shape(backup)).toMatchObject({ a: "old" });
    expect(readdirSync(backup).filter((name) => name.includes(".copse"))).toEqual([]);
  });

  test("what cannot be kept is not replaced", async () => {
    const [from, to] = plantPair();
    mkdirSync(scratch.at("kept", "a"), { recursive: true });
    const result = await sync(from, to, { backupDir: scratch.at("kept") });
    expect(said(result)).toContain("error a EXISTS");
    expect(readFileSync(join(to, "a"), "utf8")).toBe("old");
    expect(shape(to)).toMatchObject({ "d/b": "new b", dir: "now a file" });
  });
});

describe("report", () => {
  test("counts, bytes, rate, phases and what was verified", async () => {
    const from = scratch.plant("from", { a: "alpha", "d/b": "beta", same: "same" });
    const to = scratch.plant("to", { old: "old" });
    await copy(join(from, "same"), to);
    const result = await sync(from, to, { verify: true });
    expect(result).toMatchObject({
      planned: 4,
      copied: 2,
      created: 1,
      deleted: 1,
      skipped: 1,
      errors: 0,
      transferred: 9,
      verified: 2,
      resumed: 0,
    });
    expect(result.rate).toBeGreaterThan(0);
    const { copy: copying, moves, delete: deleting } = result.phases;
    expect(copying).toBeGreaterThan(0);
    expect(deleting).toBeGreaterThan(0);
    expect(copying + moves + deleting).toBeLessThanOrEqual(result.milliseconds);
  });

  test("an archive in its own order is verified too", async () => {
    const from = scratch.plant("from", { a: "alpha", "d/b": new Uint8Array(700_000).fill(3) });
    run("tar", "-C", from, "-czf", scratch.at("a.tar.gz"), ".");
    const options: SyncOptions = { verify: true };
    const result = await copy(`archive:${scratch.at("a.tar.gz")}`, scratch.at("to"), options);
    expect(result).toMatchObject({ copied: 2, verified: 2, errors: 0 });
    expect((await compare(from, scratch.at("to"))).equal).toBe(true);
  });

  test("an archive in its own order: names of ours are left out, what is newer stays", async () => {
    const ours = ".copse-0123456789abcdef.part";
    const from = scratch.plant("from", { a: "a", [ours]: "x", [`d/${ours}`]: "x", "e/link": "" });
    rmSync(join(from, "e/link"));
    run("ln", "-s", "../a", join(from, "e/link"));
    run("tar", "-C", from, "-czf", scratch.at("a.tar.gz"), ".");
    const to = scratch.plant("to", {});
    mkdirSync(join(to, "e"), { recursive: true });
    run("ln", "-s", "newer", join(to, "e/link"));
    run("touch", "-h", "-d", "2099-01-01", join(to, "e/link"));
    const archive = `archive:${scratch.at("a.tar.gz")}`;
    const result = await copy(archive, to, { overwrite: "newer" });
    expect(result).toMatchObject({ copied: 1, errors: 0, skipped: 1 });
    expect(shape(to)).toEqual({ a: "a", d: "/", e: "/", "e/link": "-> newer" });
  });

  test("a dry run of a file into directories that are not there says what it would do", async () => {
    const from = scratch.plant("from", { f: "file" });
    const result = await copy(join(from, "f"), scratch.at("no", "such", "g"), { dryRun: true });
    expect(result).toMatchObject({ copied: 1, errors: 0 });
    expect(existsSync(scratch.at("no"))).toBe(false);
  });

  test("a directory of the destination that cannot be listed keeps nothing else from going", async () => {
    const from = scratch.plant("from", { "locked/x": "x", a: "a" });
    const to = scratch.plant("to", { "locked/y": "y", old: "old" });
    const result = await sync(from, `fault:list=2,code=DENIED:${to}`);
    expect(said(result)).toContain("error locked DENIED");
    expect(said(result)).toContain("deleted old");
    expect(shape(to)).toEqual({ a: "a", locked: "/", "locked/y": "y" });
  });
});

test("the command: --retries reaches every file that is copied, wherever it is from", async () => {
  const from = scratch.plant("from", { a: "a" });
  const broken = `fault:read=1,sticky,code=TIMEOUT:${from}`;
  for (const count of [0, 2]) {
    const to = scratch.at(`retried${count}`);
    const { status, out } = await command("copy", broken, to, "--retries", `${count}`, "--json");
    expect(status).toBe(2);
    expect(JSON.parse(out)).toMatchObject({ copied: 0, retries: count, errors: 1 });
  }
  // Where nothing is tried again but requests, it is refused as before.
  const compared = await command("compare", from, from, "--retries", "1");
  expect(compared).toMatchObject({ status: 2, err: expect.stringContaining("--retries") });
});
