// Store.stat and Store.exists: what is asked together is one task, and each has its own answer.

import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { list, Runtime, Store, type Entry } from "../lib/index.ts";
import { isLong, isSanitized } from "./patience.ts";
import { codeOf, leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();
const scratch = scratchForEach();

async function waitFor(isSo: () => boolean): Promise<void> {
  while (!isSo()) await Bun.sleep(1);
}

/** A tree of directories with files of different sizes, links and names of all sorts. */
function tree(files = 300): string {
  const root = scratch.at("tree");
  for (let i = 0; i < files; i++) {
    const directory = join(root, `d${i % 7}`, `é${i % 3}`);
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, `file ${i}`), "x".repeat(i));
  }
  symlinkSync("d0/é0", join(root, "link"));
  symlinkSync("nowhere", join(root, "dangling"));
  return root;
}

describe("questions asked together", () => {
  test("get what each of them gets alone, and few tasks are started for them", async () => {
    using runtime = new Runtime();
    const root = tree();
    const store = new Store(root, { runtime });
    const entries = await list(root, { stat: true, runtime });
    expect(entries.length).toBeGreaterThan(300);
    const before = runtime.stats.started;
    const asked = entries.flatMap(({ path }) => [
      store.stat(path),
      store.stat(`${path} no`),
      store.exists(path),
      store.exists(`no/${path}`),
    ]);
    const answers = await Promise.all(asked);
    const expected = entries.flatMap((entry) => [entry, null, true, false]);
    expect(answers).toEqual(expected);
    expect(runtime.stats.started - before).toBeLessThan(asked.length / 16);
    const { started, done, failed, cancelled, running, queued } = runtime.stats;
    expect(done + failed + cancelled + running + queued).toBe(started);
  });

  test("through links below the root, not out of it, and each with its own error", async () => {
    const root = tree(20);
    const outside = scratch.at("outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "x"), "x");
    symlinkSync(outside, join(root, "out"));
    mkdirSync(join(root, "closed"));
    writeFileSync(join(root, "closed", "x"), "x");
    const store = new Store(root);
    const asked = [
      store.stat("link/file 0"),
      store.stat("link"),
      store.stat("dangling"),
      store.stat("d0/é0"),
    ];
    const paths = ["out/x", "../x", "out/y"];
    const refused = Promise.all(paths.map((path) => codeOf(store.stat(path))));
    const [through, link, dangling, directory] = await Promise.all(asked);
    expect(through).toMatchObject({ path: "link/file 0", type: "file", size: 0 });
    expect(link).toMatchObject({ path: "link", type: "link", target: "d0/é0" });
    expect(dangling).toMatchObject({ type: "link", target: "nowhere" });
    expect(directory).toMatchObject({ type: "directory" });
    expect(await refused).toEqual(Array(3).fill("UNSAFE_PATH"));
    const error: unknown = await store.stat("out/x").catch((error: unknown) => error);
    expect(error).toMatchObject({ code: "UNSAFE_PATH", path: "out/x", location: root });
  });

  test.skipIf(process.getuid?.() === 0)("what may not be looked at is DENIED alone", async () => {
    const root = tree(2);
    mkdirSync(join(root, "closed"), { mode: 0o000 });
    const store = new Store(root);
    const [denied, there] = [codeOf(store.stat("closed/x")), store.exists("d0")];
    expect(await denied).toBe("DENIED");
    expect(await there).toBe(true);
    chmodSync(join(root, "closed"), 0o700);
  });

  test("the root itself, a root that is a file, and one that is not there", async () => {
    const root = tree(1);
    const file = join(root, "d0", "é0", "file 0");
    const asked: readonly (readonly [string, string, Partial<Entry> | null])[] = [
      [root, "", { path: "", type: "directory" }],
      [file, "", { path: "", type: "file", size: 0 }],
      [file, "x", null],
      [join(root, "none"), "", null],
      [join(root, "none"), "x", null],
    ];
    for (const [place, path, expected] of asked) {
      const store = new Store(place);
      const answers = await Promise.all([store.stat(path), store.stat(path)]);
      for (const answer of answers)
        if (expected) expect(answer).toMatchObject(expected);
        else expect(answer).toBeNull();
    }
  });

  test("see each other's directory anew the next time", async () => {
    const root = tree(1);
    const store = new Store(root);
    for (const name of ["a", "b"]) {
      writeFileSync(join(root, "d0", name), name);
      expect(await Promise.all([store.exists("d0/a"), store.exists(`d0/${name}`)])).toEqual([
        true,
        true,
      ]);
    }
  });

  test("more than one task's worth, and paths longer than a task takes", async () => {
    await using store = new Store("memory:look");
    await store.write("a", "1");
    const asked = Array.from({ length: isSanitized ? 2000 : 20_000 }, (_, i) =>
      store.exists(i % 3 === 0 ? "a" : i % 3 === 1 ? "b" : `${"long".repeat(100)}${i}`),
    );
    const answers = await Promise.all(asked);
    expect(answers.every((is, i) => is === (i % 3 === 0))).toBe(true);
  });

  test("share an end: an abort, a timeout, a runtime that is closed", async () => {
    const controller = new AbortController();
    await new Store("memory:look").write("a", "1");
    const aborted = new Store("memory:look", { signal: controller.signal });
    const asked = Array.from({ length: 100 }, () => aborted.exists("a"));
    const reason = new Error("enough");
    controller.abort(reason);
    for (const one of await Promise.allSettled(asked))
      expect(one).toEqual({ status: "rejected", reason });
    const runtime = new Runtime();
    const closed = new Store("memory:look", { runtime });
    const left = [closed.exists("a"), closed.exists("b")];
    runtime.close();
    expect(await Promise.all(left.map(codeOf))).toEqual(["CLOSED", "CLOSED"]);
    expect(await codeOf(closed.exists("a"))).toBe("CLOSED");
  });
});

describe("aborts at random", () => {
  const rounds = isLong ? 2000 : 40;
  test(`${rounds} times: each question settles once, and the counters balance`, async () => {
    using runtime = new Runtime();
    const root = tree(60);
    let settled = 0;
    let answered = 0;
    for (let round = 0; round < rounds; round++) {
      const controller = new AbortController();
      const store = new Store(root, { runtime, signal: controller.signal });
      const reason = new Error(`round ${round}`);
      const abort = (): void => controller.abort(reason);
      const asked = Array.from({ length: 150 }, (_, i) => {
        if (i === (round * 7) % 150 && round % 3 === 0) abort();
        return store.stat(`d${i % 7}/é${i % 3}/file ${i}`);
      });
      if (round % 3 === 1) setImmediate(abort);
      if (round % 3 === 2) setTimeout(abort, round % 5);
      for (const one of await Promise.allSettled(asked)) {
        settled++;
        if (one.status === "fulfilled") answered++;
        else expect(one.reason).toBe(reason);
      }
    }
    expect(settled).toBe(rounds * 150);
    expect(answered).toBeLessThan(settled);
    await waitFor(() => runtime.stats.running + runtime.stats.queued === 0);
    const { started, done, failed, cancelled } = runtime.stats;
    expect(done + failed + cancelled).toBe(started);
  });
});

describe("a place that is slow", () => {
  test("answers each when it is there, not one after the other", async () => {
    using runtime = new Runtime({ ioWorkers: 8 });
    await new Store("memory:slow", { runtime }).write("a", "1");
    const store = new Store("fault:delay=30:memory:slow", { runtime });
    const before = runtime.stats.started;
    const asked = Array.from({ length: 8 }, () => store.exists("a"));
    expect(await Promise.all(asked)).toEqual(Array(8).fill(true));
    expect(runtime.stats.started - before).toBe(8);
  });
});
