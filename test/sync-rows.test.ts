// The rows of copy and sync: many wait until somebody asks for them, and those that nobody wants are
// not told.

import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  copy,
  copySync,
  packSync,
  rowsOf,
  sync,
  syncSync,
  type Action,
  type Transfer,
} from "../lib/index.ts";
import { said } from "./synced.ts";
import { quickFolder } from "./trees.ts";
import { codeOf, codeOfSync, leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();
const FILES = 4000; // more than a last page and those that are made at once
const scratch = scratchForEach(quickFolder(4 * FILES));
const fsync = false; // what is tested is said either way

/** In four directories, with a name that is not ASCII. */
function many(name: string): string {
  const root = scratch.at(name);
  for (let i = 0; i < 4; i++) mkdirSync(join(root, `d${i}`), { recursive: true });
  for (let i = 0; i < FILES; i++) writeFileSync(join(root, `d${i % 4}`, `f${i}`), "");
  writeFileSync(join(root, "d1", "fü"), "ü");
  return root;
}

const copiedOf = (actions: readonly Action[]): string[] =>
  actions.flatMap((action) => (action.kind === "copied" ? [action.path] : []));

function isLate(transfer: Transfer): boolean {
  return Object.getOwnPropertyDescriptor(transfer, "actions")?.get !== undefined;
}

describe("many rows", () => {
  test("are there when they are asked for: all of them, in order, once", async () => {
    const from = many("from");
    for (const transfer of [
      await copy(from, scratch.at("one"), { fsync }),
      copySync(from, scratch.at("two"), { fsync }),
    ]) {
      expect(isLate(transfer)).toBe(true);
      expect(transfer).toMatchObject({ copied: FILES + 1, created: 4, errors: 0 });
      const { actions } = transfer;
      expect(transfer.actions).toBe(actions);
      expect(actions).toHaveLength(FILES + 5);
      const paths = actions.map(({ path }) => path);
      expect(paths).toEqual(
        paths.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
      );
      expect(new Set(copiedOf(actions)).size).toBe(FILES + 1);
      expect(paths).toContain("d1/fü");
    }
  });

  test("rowsOf gives them in the same order, and makes no array", async () => {
    const transfer = await copy(many("from"), scratch.at("to"), { fsync });
    const rows = [...rowsOf(transfer)];
    expect(isLate(transfer)).toBe(true);
    expect([...rowsOf(transfer)]).toEqual(rows);
    expect(transfer.actions).toEqual(rows);
    expect([...rowsOf(transfer)]).toEqual(rows);
    const few = await copy(scratch.plant("few", { a: "a" }), scratch.at("other"));
    expect(rowsOf(few)).toBe(few.actions);
  });

  test("few are made at once", async () => {
    const from = scratch.plant("from", { a: "a", b: "b" });
    expect(isLate(await copy(from, scratch.at("to")))).toBe(false);
  });

  test("an iteration gets them, before the end or after it", async () => {
    const from = many("from");
    const before: Action[] = [];
    const iterated = copy(from, scratch.at("one"), { fsync });
    for await (const row of iterated) before.push(row);
    expect(new Set(copiedOf(before)).size).toBe(FILES + 1);
    expect((await iterated).actions).toEqual([]);

    const after: Action[] = [];
    const task = copy(from, scratch.at("two"), { fsync });
    const transfer = await task;
    for await (const row of task) after.push(row);
    expect(after).toHaveLength(FILES + 5);
    expect(transfer.actions).toHaveLength(FILES + 5);
  });

  test("what reads every field has them: JSON, a copy of the object", async () => {
    const transfer = await copy(many("from"), scratch.at("to"), { fsync });
    expect(JSON.parse(JSON.stringify(transfer)).actions).toHaveLength(FILES + 5);
    expect(structuredClone({ ...transfer }).actions).toHaveLength(FILES + 5);
    transfer.actions = [];
    expect(transfer.actions).toEqual([]);
  });

  test("errors are among them", async () => {
    const from = many("from");
    const result = await copy(`fault:read=1,code=DENIED:${from}`, scratch.at("to"), { fsync });
    expect(isLate(result)).toBe(true);
    expect(result.errors).toBe(1);
    expect(result.actions.filter(({ kind }) => kind === "error")).toHaveLength(1);
  });
});

describe('actions: "trouble"', () => {
  const ways = [
    ["sync", async (...args: Parameters<typeof sync>) => await sync(...args)],
    ["syncSync", async (...args: Parameters<typeof sync>) => syncSync(...args)],
  ] as const;

  test.each(ways)("%s: counts are whole, and rows are what went wrong", async (_, run) => {
    const from = scratch.plant("from", { a: "a", "d/b": "b", c: "c" });
    const to = scratch.plant("to", { gone: "x", "d/other": "y" });
    const broken = `fault:writer=2,code=DENIED:${to}`;
    const result = await run(from, broken, { actions: "trouble", concurrency: 1 });
    expect(result).toMatchObject({ copied: 2, deleted: 2, errors: 1 });
    expect(result.actions.map(({ kind }) => kind)).toEqual(["error"]);
    const again = await run(from, to, { actions: "trouble" });
    expect(again).toMatchObject({ copied: 1, errors: 0, actions: [] });
  });

  test("each kind of row that is no trouble is left out", async () => {
    const from = scratch.plant("from", { same: "s", old: "1", "new/a": "a" });
    const to = scratch.plant("to", { old: "22", gone: "g" });
    await copy(join(from, "same"), join(to, "same"));
    chmodSync(join(to, "same"), 0o600);
    const rows = said(await sync(from, to, { dryRun: true }));
    expect(rows.map((row) => row.split(" ")[0]).toSorted()).toEqual(
      ["copied", "copied", "created", "deleted", "updated"].toSorted(),
    );
    const result = await sync(from, to, { actions: "trouble" });
    expect(result).toMatchObject({ copied: 2, created: 1, updated: 1, deleted: 1, actions: [] });
    const kept = await copy(from, to, { overwrite: "never", by: "content", actions: "trouble" });
    expect(kept).toMatchObject({ errors: 0, actions: [] });
  });

  test("both ways: conflicts are told, and what was brought is not", async () => {
    const left = scratch.plant("left", { a: "1", only: "o" });
    const right = scratch.plant("right", { a: "22" });
    const twoWay = { state: scratch.at("both.state") };
    const result = await sync(left, right, { twoWay, actions: "trouble" });
    expect(result.twoWay?.conflicts).toBe(1);
    expect(result.copied).toBeGreaterThan(1);
    expect(result.actions.map(({ kind }) => kind)).toEqual(["conflict"]);
  });

  test("packs too", () => {
    const from = scratch.plant("from", { a: "a", b: "b" });
    const result = packSync(from, scratch.at("x.znippy"), { actions: "trouble" });
    expect(result).toMatchObject({ copied: 2, actions: [] });
    expect(result.report?.files).toBe(2);
    const given = packSync([{ path: "a", data: "a" }], scratch.at("y.znippy"), {
      actions: "trouble",
    });
    expect(given).toMatchObject({ copied: 1, actions: [] });
  });

  test("a dry run refuses it, and what it does not know", async () => {
    const from = scratch.plant("from", { a: "a" });
    const to = scratch.at("to");
    for (const twoWay of [false, { state: scratch.at("s") }]) {
      mkdirSync(to, { recursive: true });
      const options = { dryRun: true, actions: "trouble", twoWay } as const;
      expect(await codeOf(async () => await sync(from, to, options))).toBe("ARGUMENT");
      expect(codeOfSync(() => syncSync(from, to, options))).toBe("ARGUMENT");
      rmSync(to, { recursive: true });
    }
    const wrong = { actions: "none" } as unknown as { actions: "all" };
    expect(codeOfSync(() => copySync(from, to, wrong))).toBe("ARGUMENT");
  });
});
