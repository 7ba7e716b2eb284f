// snapshot: a listing that is kept, and is a location like any other.

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  compare,
  CopseError,
  list,
  listSync,
  Runtime,
  scan,
  scanSync,
  shuffle,
  snapshot,
  snapshotSync,
  Store,
  type Snapshot,
} from "../lib/index.ts";
import { isSanitized } from "./patience.ts";
import {
  asTree,
  groundsIn,
  link,
  pipe,
  plantDeep,
  quickFolder,
  Random,
  randomTree,
  Scratch,
} from "./trees.ts";
import { codeOf, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file, memory } = groundsIn(() => scratch);

const paths = (rows: readonly { path: string }[]): string[] => rows.map(({ path }) => path);
const pattern = { name: "run-*", files: ["*.csv"], directories: [{ name: "raw" }] };

describe.each([memory, file])("of a tree in $name", (ground) => {
  const tree = { "a/run-1/x.csv": "12", "a/run-1/raw/y": "1", "a/run-2/x.csv": "1", b: "333" };

  test("it lists and scans as the tree itself does", async () => {
    const place = await ground.plant(tree);
    await using held = await snapshot(place);
    expect(held).toMatchObject({ root: place, entries: 8, complete: true, errors: [] });
    expect(held.bytes).toBeGreaterThan(8 * 64);
    expect(await list(held, { stat: true })).toEqual(await list(place, { stat: true }));
    expect(listSync(held)).toEqual(listSync(place));
    expect(await scan(held, pattern)).toEqual(await scan(place, pattern));
    using again = snapshotSync(held);
    expect(again.root).toBe(place);
    expect(listSync(again, { stat: true })).toEqual(listSync(place, { stat: true }));
  });

  test("options decide what is in it, and what was left out is not taken for empty", async () => {
    const place = await ground.plant(tree);
    using few = snapshotSync(place, { exclude: ["run-2"], include: ["*.csv"] });
    expect(paths(listSync(few))).toEqual(["a", "a/run-1", "a/run-1/raw", "a/run-1/x.csv"]);
    using shallow = snapshotSync(place, { maxDepth: 1 });
    expect(paths(listSync(shallow, { maxDepth: 1 }))).toEqual(["a", "b"]);
    const { errors } = listSync(shallow);
    expect(errors.map(({ path, error }) => `${path} ${error.code}`)).toEqual(["a UNSUPPORTED"]);
  });

  test("what came later is not in it", async () => {
    const place = await ground.plant({ a: "1" });
    await using held = await snapshot(place);
    await using store = new Store(place);
    await store.write("new", "22");
    expect(paths(await list(held))).toEqual(["a"]);
    const { differences } = await compare(held, place, { by: "stat" });
    expect(differences.map(({ kind, path }) => `${kind} ${path}`)).toEqual(["only-right new"]);
  });
});

test("once taken it does no I/O: the tree may be gone", async () => {
  const place = scratch.plant("gone", {
    "run-1/x.csv": "1",
    "run-1/raw/": "",
    "run-1/l": link("x.csv"),
  });
  const [names, rows] = [listSync(place), listSync(place, { stat: true })];
  const matches = scanSync(place, pattern);
  using held = snapshotSync(place);
  rmSync(place, { recursive: true });
  for (let i = 0; i < 3; i++) {
    expect(listSync(held)).toEqual(names);
    expect(await list(held, { stat: true })).toEqual(rows);
    expect(await scan(held, pattern)).toEqual(matches);
  }
  expect(matches).toHaveLength(1);
  expect(matches[0]!.location).toBe(join(place, "run-1"));
});

test("equals the tree on 200 random trees, links kept, followed and skipped", async () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = new Random(seed);
    const place = scratch.plant(`random-${seed}`, asTree(randomTree(random)));
    for (const links of ["keep", "follow", "skip"] as const) {
      await using held = await snapshot(place, { links });
      const real = listSync(place, { links, stat: true });
      expect(listSync(held, { stat: true })).toEqual(real);
      expect(held.entries).toBe(real.length);
      const patterns = { files: ["*a*"], directories: [{ files: ["*"] }] };
      expect(scanSync(held, [pattern, patterns])).toEqual(
        scanSync(place, [pattern, patterns], { links }),
      );
    }
    rmSync(place, { recursive: true });
  }
});

test("links lead where they led", async () => {
  const place = scratch.plant("links", {
    "real/f": "123",
    to: link("real"),
    "f.csv": link("real/f"),
    gone: link("nowhere"),
    fifo: pipe,
  });
  using held = snapshotSync(place);
  const csv = { files: ["*.csv"] };
  expect(paths(scanSync(held, csv))).toEqual([""]);
  expect(scanSync(held, { files: ["gone"] })).toHaveLength(0);
  expect(scanSync(held, { files: ["fifo"] })).toHaveLength(0);
  expect(listSync(held, { stat: true }).find(({ path }) => path === "to")?.target).toBe("real");
  // To walk through a link that was not followed would be to guess.
  const { errors } = listSync(held, { links: "follow" });
  expect(errors.map(({ path, error }) => `${path} ${error.code}`)).toEqual(["to UNSUPPORTED"]);
  using followed = snapshotSync(place, { links: "follow" });
  expect(paths(listSync(followed))).toEqual([
    "f.csv",
    "fifo",
    "gone",
    "real",
    "real/f",
    "to",
    "to/f",
  ]);
});

test("an error stays one: what could not be looked at is told again", async () => {
  const place = scratch.plant("denied", { "a/x": "", "b/y": "", c: "" });
  const held = await snapshot(`fault:enter=1,code=DENIED:${place}`);
  expect(held.complete).toBe(false);
  expect(held.errors).toHaveLength(1);
  const [failure] = held.errors;
  for (const found of [await list(held), listSync(held), scanSync(held, { name: "none" })]) {
    expect(found.complete).toBe(false);
    expect(found.errors.map(({ path, error }) => [path, error.code])).toEqual([
      [failure!.path, "DENIED"],
    ]);
  }
  await held[Symbol.asyncDispose]();
  const seen: string[] = [];
  const task = snapshot(`fault:enter=1,code=DENIED:${place}`);
  for await (const row of task) seen.push(row.kind);
  expect(seen).toEqual(["error"]);
  await using iterated = await task;
  expect(iterated.entries).toBe(4);
  expect(iterated.complete).toBe(false);
});

test.skipIf(process.platform === "darwin")("names that are not UTF-8 keep their bytes", () => {
  const place = scratch.at("bytes");
  mkdirSync(place);
  mkdirSync(scratch.bytes("bytes/d\xff"));
  writeFileSync(scratch.bytes("bytes/d\xff/f\xfe"), "");
  using held = snapshotSync(place);
  expect(listSync(held)).toEqual(listSync(place));
});

test("1500 levels are kept and given back without a deep stack", async () => {
  plantDeep(scratch.at("deep"), "level", 1500, { leaf: "" });
  await using held = await snapshot(scratch.at("deep"));
  expect(held.entries).toBe(1501);
  const found = listSync(held, { sort: "none" });
  expect(found).toHaveLength(1501);
  expect(found.complete).toBe(true);
});

describe("closing", () => {
  const place = scratch.plant("closing", { "d/x": "1" });

  test("is said by CLOSED, and again is nothing", async () => {
    const held = await snapshot(place);
    const running = list(held);
    held.close();
    held.close();
    await held[Symbol.asyncDispose]();
    expect(await running).toHaveLength(2); // it goes on
    expect(await codeOf((async () => await list(held))())).toBe("CLOSED");
    expect(await codeOf((async () => snapshotSync(held))())).toBe("CLOSED");
  });

  test("what was asked for before it is answered, also when it has to wait", async () => {
    await using runtime = new Runtime({ workers: 1, ioWorkers: 1 });
    const held = await snapshot(place, { runtime });
    const low = { runtime, priority: "low" } as const;
    const waiting = Array.from({ length: 50 }, () => list(held, low));
    held.close(); // its removal goes before them
    for (const rows of await Promise.all(waiting)) expect(rows).toHaveLength(2);
    expect(await codeOf((async () => await list(held, low))())).toBe("CLOSED");
  });

  test("comes with the runtime it belongs to; another one has no such snapshot", async () => {
    let held: Snapshot;
    {
      await using runtime = new Runtime();
      held = await snapshot(place, { runtime });
      expect(await list(held, { runtime })).toHaveLength(2);
      expect(await codeOf((async () => await list(held))())).toBe("CLOSED");
    }
    held.close();
  });

  // ASan keeps what was freed for a while.
  test.skipIf(isSanitized)(
    "gives the memory back: 30 snapshots of 20,000 entries are not kept",
    async () => {
      using quick = new Scratch(quickFolder(20_000));
      const wide = quick.at("wide");
      for (let i = 0; i < 20; i++) {
        mkdirSync(join(wide, `d${i}`), { recursive: true });
        for (let j = 0; j < 1000; j++)
          writeFileSync(join(wide, `d${i}`, `${"name".repeat(20)}${j}`), "");
      }
      await using runtime = new Runtime();
      const take = async (): Promise<number> => {
        await using held = await snapshot(wide, { runtime });
        return held.bytes;
      };
      for (let i = 0; i < 5; i++) await take();
      const before = process.memoryUsage.rss();
      let bytes = 0;
      for (let i = 0; i < 30; i++) bytes += await take();
      expect(bytes).toBeGreaterThan(60 * 2 ** 20);
      expect(process.memoryUsage.rss() - before).toBeLessThan(bytes / 2);
    },
  );
});

test("one that is stopped, or left, leaves nothing behind", async () => {
  const place = scratch.plant("stopped", { "a/b/c": "", "d/e": "" });
  const reason = new Error("enough");
  expect(
    await codeOf(Promise.resolve(snapshot(place, { signal: AbortSignal.abort(reason) }))),
  ).toBe("Error: enough");
  for (let i = 0; i < 20; i++) {
    const controller = new AbortController();
    const task = snapshot(place, { signal: controller.signal });
    if (i % 2) await Promise.resolve();
    controller.abort(reason);
    await task.then(
      (held) => held.close(),
      (error: unknown) => expect(error).toBe(reason),
    );
    for await (const _ of snapshot(`fault:enter=1,code=DENIED:${place}`)) break;
  }
});

test("limits and refusals", async () => {
  const place = scratch.plant("limits", { "a/b": "1", c: "22" });
  expect(await codeOf(Promise.resolve(snapshot(place, { limits: { entries: 1 } })))).toBe("LIMIT");
  expect(await codeOf(Promise.resolve(snapshot(join(place, "c"))))).toBe("ARGUMENT");
  expect(await codeOf(Promise.resolve(snapshot(join(place, "none"))))).toBe("NOT_FOUND");
  // @ts-expect-error no such option
  expect(() => snapshot(place, { stat: true })).toThrow(CopseError);
  await using held = await snapshot(place);
  await using store = new Store(held);
  expect(store.can).toMatchObject({ list: true, write: false, delete: false });
  expect(await store.stat("a/b")).toMatchObject({ size: 1 });
  expect(await store.exists("a/none")).toBe(false);
  expect(paths(await store.list("a"))).toEqual(["a/b"]);
  expect(await codeOf(new Response(store.read("c")).text())).toBe("UNSUPPORTED");
  expect(await codeOf(store.remove("c"))).toBe("UNSUPPORTED");
  expect(await codeOf(store.write("new", "1"))).toBe("UNSUPPORTED");
  const { complete, differences } = await compare(held, place, { sizeCheck: true });
  expect(complete).toBe(false);
  expect(differences.map(({ kind }) => kind)).toEqual(["error", "error"]);
});

test("what a scan of one finds can be shuffled: its matches are in the tree", async () => {
  const place = scratch.plant("shuffled", { "in/run-1/x.csv": "12", "in/run-1/raw/": "" });
  await using held = await snapshot(place);
  const to = scratch.at("shuffled-to");
  await shuffle(await scan(held, pattern), to);
  expect(existsSync(join(to, "run-1", "x.csv"))).toBe(true);
});

test("of an archive: the second look does not read it again", async () => {
  const place = scratch.plant("packed", { "run-1/x.csv": "1", "run-1/raw/y": "" });
  const archive = scratch.at("packed.tar");
  expect(Bun.spawnSync(["tar", "cf", archive, "-C", place, "."]).exitCode).toBe(0);
  const before = await list(`archive:${archive}`, { stat: true });
  await using held = await snapshot(`archive:${archive}`);
  rmSync(archive);
  expect(await list(held, { stat: true })).toEqual(before);
  expect(paths(await scan(held, pattern))).toEqual(["run-1"]);
});
