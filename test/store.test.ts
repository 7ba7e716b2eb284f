// One suite, every store (test/stores.ts). Each test gets an empty place of its own and a runtime
// of its own, so that what is left over can be counted.

import { describe, expect, test } from "bun:test";
import { CopseError, Runtime, Store, type Location } from "../lib/index.ts";
import { isSanitized } from "./patience.ts";
import { stores, type StoreUnderTest } from "./stores.ts";
import { atRest } from "./ways.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Bytes that repeat in no block size anybody uses. */
function bytesOf(size: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

function streamOf(chunks: Iterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = chunks[Symbol.iterator]();
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      const { done, value } = iterator.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
}

async function readAll(
  store: Store,
  path: string,
  range?: { start?: number; end?: number },
): Promise<Uint8Array> {
  return await new Response(store.read(path, range)).bytes();
}

async function failure(work: PromiseLike<unknown>): Promise<CopseError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof CopseError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

async function names(store: Store): Promise<string[]> {
  return (await store.list()).map((entry) => entry.path);
}

class Bench implements AsyncDisposable {
  readonly runtime = new Runtime();
  readonly store: Store;
  /** Puts things where the store sees them: itself, unless it is only read. */
  readonly filler: Store;
  readonly location: Location;
  readonly #stack = new AsyncDisposableStack();

  constructor(under: StoreUnderTest) {
    const { location, source } = this.#stack.use(under.place());
    this.location = location;
    this.#stack.use(this.runtime);
    this.store = this.#stack.use(new Store(this.location, { runtime: this.runtime }));
    this.filler =
      source === undefined
        ? this.store
        : this.#stack.use(new Store(source, { runtime: this.runtime }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

describe.each(stores.map((under) => [under.scheme, under] as const))("%s", (scheme, under) => {
  const abilities = (() => {
    using place = under.place();
    return new Store(place.location).can;
  })();

  test("the store says what it is and what it can", async () => {
    await using bench = new Bench(under);
    expect(bench.store.scheme).toBe(scheme);
    for (const able of Object.values(bench.store.can)) expect(able).toBeBoolean();
  });

  describe.skipIf(!abilities.write)("writing", () => {
    const sizes = [
      0,
      1,
      4095,
      64 * KIB - 1,
      64 * KIB,
      64 * KIB + 1,
      MIB,
      isSanitized ? 2 * MIB + 7 : 9 * MIB + 7,
    ];
    test.each(sizes)("%d bytes come back as they were", async (size) => {
      await using bench = new Bench(under);
      const bytes = bytesOf(size, size);
      const entry = await bench.store.write("file.bin", bytes);
      expect(entry).toMatchObject({ path: "file.bin", type: "file", size });
      expect(Buffer.compare(await readAll(bench.store, "file.bin"), bytes)).toBe(0);
      expect(await bench.store.stat("file.bin")).toEqual(entry);
    });

    const bytes = bytesOf(100_000, 3);
    const bodies: readonly [string, () => Parameters<Store["write"]>[1], Uint8Array][] = [
      ["a string", () => "naïve 日本 🌳", new TextEncoder().encode("naïve 日本 🌳")],
      ["an ArrayBuffer", () => bytes.slice().buffer, bytes],
      ["a part of a larger buffer", () => bytes.subarray(10, 5000), bytes.subarray(10, 5000)],
      ["a DataView", () => new DataView(bytes.buffer, 3, 77), bytes.subarray(3, 80)],
      ["wide numbers", () => new Uint32Array(bytes.buffer, 4, 100), bytes.subarray(4, 404)],
      ["a Blob", () => new Blob([bytes]), bytes],
      ["a Response", () => new Response(bytes), bytes],
      ["a Response without a body", () => new Response(null), new Uint8Array()],
      ["a stream", () => streamOf([bytes.subarray(0, 7), bytes.subarray(7)]), bytes],
      [
        "a stream with empty chunks",
        () => streamOf([new Uint8Array(), bytes, new Uint8Array()]),
        bytes,
      ],
      ["an empty stream", () => streamOf([]), new Uint8Array()],
    ];
    test.each(bodies)("takes %s", async (_, body, expected) => {
      await using bench = new Bench(under);
      const entry = await bench.store.write("x", body());
      expect(entry.size).toBe(expected.length);
      expect(Buffer.compare(await readAll(bench.store, "x"), expected)).toBe(0);
    });

    test("makes the directories above", async () => {
      await using bench = new Bench(under);
      await bench.store.write("a/b/c/file", "x");
      expect(await names(bench.store)).toEqual(["a", "a/b", "a/b/c", "a/b/c/file"]);
    });

    test("replaces what was there, longer or shorter", async () => {
      await using bench = new Bench(under);
      for (const text of ["first", "the second is longer", "3rd"]) {
        await bench.store.write("x", text);
        expect(await new Response(bench.store.read("x")).text()).toBe(text);
      }
      expect(await names(bench.store)).toEqual(["x"]);
    });

    test("gives a reader that began earlier what it opened", async () => {
      await using bench = new Bench(under);
      const old = bytesOf(MIB, 1);
      await bench.store.write("x", old);
      const reader = bench.store.read("x").getReader();
      const first = await reader.read();
      await bench.store.write("x", bytesOf(MIB, 2));
      const chunks = [first.value!];
      for (let next = await reader.read(); !next.done; next = await reader.read())
        chunks.push(next.value);
      expect(Buffer.compare(Buffer.concat(chunks), old)).toBe(0);
    });

    test("takes names of every kind", async () => {
      await using bench = new Bench(under);
      const odd = [
        " ",
        "a b",
        "ü",
        "日本",
        "🌳",
        "line\nbreak",
        "\u0001",
        'quo"te',
        "back\\slash",
        "*",
        "[x]",
        "-",
        "...",
        "a:b",
        "%41",
        "\u202e",
        "x".repeat(255),
      ];
      for (const name of odd) await bench.store.write(name, name);
      for (const name of odd) expect(await new Response(bench.store.read(name)).text()).toBe(name);
      expect((await names(bench.store)).toSorted()).toEqual(odd.toSorted());
    });

    test("a body that fails rejects with its error and leaves nothing", async () => {
      await using bench = new Bench(under);
      await bench.store.write("kept", "old");
      const broken = new Error("the source broke");
      const body = (): ReadableStream<Uint8Array> =>
        new ReadableStream<Uint8Array>({
          pull(controller) {
            controller.enqueue(bytesOf(100_000));
            controller.error(broken);
          },
        });
      expect(await bench.store.write("new/er/x", body()).catch((error: unknown) => error)).toBe(
        broken,
      );
      expect(await bench.store.write("kept", body()).catch((error: unknown) => error)).toBe(broken);
      expect(await new Response(bench.store.read("kept")).text()).toBe("old");
      await atRest(bench.runtime);
      // Not even a temporary, nor the directories that were made for it.
      expect(await names(bench.store)).toEqual(["kept"]);
      expect(bench.runtime.stats).toMatchObject({ running: 0, queued: 0 });
    });

    test("a write that does not end leaves directories that another one is in", async () => {
      await using bench = new Bench(under);
      for (let round = 0; round < 30; round++) {
        const source = new AbortController();
        const { location, runtime } = bench;
        const store = new Store(location, { runtime, signal: source.signal });
        const endless = new ReadableStream<Uint8Array>({
          pull: (controller) => controller.enqueue(bytesOf(1000)),
        });
        const ended = store.write(`d${round}/e/x`, endless).catch(() => "stopped");
        const others = [1, 2, 3].map((i) => bench.store.write(`d${round}/e/${i}`, "kept"));
        if (round % 3) await Bun.sleep(round % 3 === 1 ? 0 : 1);
        source.abort();
        await Promise.all(others);
        await ended;
      }
      const kept = (await bench.store.list()).filter(({ path }) => /[123]$/.test(path));
      expect(kept.filter(({ type }) => type === "file").length).toBe(90);
    });

    test("a body of something else is an ARGUMENT", async () => {
      await using bench = new Bench(under);
      // @ts-expect-error not a body
      expect((await failure(bench.store.write("x", 5))).code).toBe("ARGUMENT");
      // @ts-expect-error not a body
      expect((await failure(bench.store.write("x", { text: "x" }))).code).toBe("ARGUMENT");
      const wrong = new ReadableStream({ start: (controller) => controller.enqueue(5) });
      expect((await failure(bench.store.write("x", wrong))).code).toBe("ARGUMENT");
      expect(await bench.store.exists("x")).toBe(false);
    });

    test("asks a stream for more only as fast as it writes", async () => {
      await using bench = new Bench(under);
      let ahead = 0;
      const total = isSanitized ? 8 * MIB : 32 * MIB;
      const chunk = bytesOf(64 * KIB);
      let given = 0;
      const body = new ReadableStream<Uint8Array>(
        {
          pull(controller) {
            ahead = Math.max(ahead, given - bench.runtime.stats.bytesWritten);
            if (given >= total) controller.close();
            else controller.enqueue(chunk);
            given += chunk.length;
          },
        },
        { highWaterMark: 0 },
      );
      const entry = await bench.store.write("large", body);
      expect(entry.size).toBe(total);
      // The native queue takes 1 MiB, and a few blocks are on their way.
      expect(ahead).toBeLessThan(4 * MIB);
    });

    test("many at once", async () => {
      await using bench = new Bench(under);
      const count = isSanitized ? 20 : 100;
      const contents = Array.from({ length: count }, (_, i) => bytesOf(i * 1000, i));
      await Promise.all(
        contents.map((content, i) => bench.store.write(`d${i % 7}/f${i}`, content)),
      );
      const read = await Promise.all(
        contents.map((_, i) => readAll(bench.store, `d${i % 7}/f${i}`)),
      );
      expect(read.every((content, i) => Buffer.compare(content, contents[i]!) === 0)).toBe(true);
    });

    test("two writers of one name: one of them wins whole", async () => {
      await using bench = new Bench(under);
      const one = bytesOf(3 * MIB, 1);
      const two = bytesOf(2 * MIB, 2);
      await Promise.all([bench.store.write("x", one), bench.store.write("x", two)]);
      const got = await readAll(bench.store, "x");
      expect([one, two].some((content) => Buffer.compare(content, got) === 0)).toBe(true);
      expect(await names(bench.store)).toEqual(["x"]);
    });

    test("a directory is not replaced by a file", async () => {
      await using bench = new Bench(under);
      await bench.store.write("d/x", "x");
      expect((await failure(bench.store.write("d", "x"))).path).toBe("d");
      expect(await names(bench.store)).toEqual(["d", "d/x"]);
    });

    test("a file is no directory", async () => {
      await using bench = new Bench(under);
      await bench.store.write("f", "x");
      await failure(bench.store.write("f/x", "x"));
      expect(await names(bench.store)).toEqual(["f"]);
      expect(await bench.store.stat("f/x")).toBeNull();
    });
  });

  describe.skipIf(!abilities.range)("reading a part", () => {
    const bytes = bytesOf(200_000, 5);
    test.each([
      [{ start: 0, end: 10 }],
      [{ start: 10 }],
      [{ end: 10 }],
      [{ start: 65_535, end: 65_537 }],
      [{ start: 100, end: 100 }],
      [{ start: 199_999 }],
      [{ start: 200_000 }],
      [{ start: 300_000 }],
      [{ start: 199_000, end: 5_000_000 }],
      [{ end: 0 }],
      [{ start: 0, end: 2 ** 52 }],
      [{}],
    ])("%j is what slice gives", async (range: { start?: number; end?: number }) => {
      await using bench = new Bench(under);
      await bench.filler.write("x", bytes);
      const expected = bytes.subarray(range.start ?? 0, range.end ?? bytes.length);
      expect(Buffer.compare(await readAll(bench.store, "x", range), expected)).toBe(0);
    });

    test.each([
      [{ start: -1 }],
      [{ end: -1 }],
      [{ start: 2, end: 1 }],
      [{ start: 0.5 }],
      [{ start: NaN }],
      [{ end: 2 ** 60 }],
      [{ start: "1" }],
      [{ from: 1 }],
    ])("%j is an ARGUMENT", async (range) => {
      await using bench = new Bench(under);
      await bench.filler.write("x", bytes);
      // The wrong types are the point.
      const work = async (): Promise<unknown> =>
        await readAll(bench.store, "x", range as { start?: number });
      expect((await failure(work())).code).toBe("ARGUMENT");
    });
  });

  describe("reading", () => {
    test("what is not there is NOT_FOUND, with its name", async () => {
      await using bench = new Bench(under);
      await bench.filler.write("other", "x");
      const error = await failure(readAll(bench.store, "a/missing"));
      expect(error).toMatchObject({ code: "NOT_FOUND", path: "a/missing", retryable: false });
      expect(error.message).toContain("a/missing");
    });

    test("a directory is refused", async () => {
      await using bench = new Bench(under);
      await bench.filler.write("d/x", "x");
      expect((await failure(readAll(bench.store, "d"))).code).toBe("UNSUPPORTED");
    });

    test("fills the caller's own buffer (bytes streams)", async () => {
      await using bench = new Bench(under);
      const bytes = bytesOf(150_000, 9);
      await bench.filler.write("x", bytes);
      const reader = bench.store.read("x").getReader({ mode: "byob" });
      const got: Uint8Array[] = [];
      for (;;) {
        const { done, value } = await reader.read(new Uint8Array(40_000));
        if (value) got.push(value.slice());
        if (done) break;
      }
      expect(Buffer.compare(Buffer.concat(got), bytes)).toBe(0);
    });

    test("an unread stream holds two pages, not the file, and can be left at any time", async () => {
      await using bench = new Bench(under);
      const size = 16 * MIB;
      await bench.filler.write("large", bytesOf(size));
      const before = bench.runtime.stats;
      const reader = bench.store.read("large").getReader();
      expect((await reader.read()).value!.length).toBeGreaterThan(0);
      // Other tasks go through the same workers, so by then the reading has stopped.
      for (let i = 0; i < 20; i++) await bench.store.list();
      // The first page has 64 KiB, each of the two that wait 512 KiB at most.
      expect(bench.runtime.stats.bytesRead - before.bytesRead).toBeLessThanOrEqual(MIB + 64 * KIB);
      expect(bench.runtime.stats.running).toBe(1);
      await reader.cancel();
      await atRest(bench.runtime);
      expect(bench.runtime.stats).toMatchObject({ running: 0, queued: 0 });
    });

    test("aborting the store's signal stops what runs and refuses what comes", async () => {
      using place = under.place();
      await using runtime = new Runtime();
      const controller = new AbortController();
      const store = new Store(place.location, { runtime, signal: controller.signal });
      await new Store(place.source ?? place.location, { runtime }).write("x", bytesOf(4 * MIB));
      const reader = store.read("x").getReader();
      await reader.read();
      const reason = new Error("enough");
      controller.abort(reason);
      const drained = (async () => {
        while (!(await reader.read()).done);
      })();
      expect(drained).rejects.toBe(reason);
      expect(store.stat("x")).rejects.toBe(reason);
      expect(store.write("y", "y")).rejects.toBe(reason);
      await atRest(runtime);
      expect(runtime.stats).toMatchObject({ running: 0, queued: 0 });
    });
  });

  describe.skipIf(!abilities.list)("looking", () => {
    test("stat tells a file, a directory and nothing apart", async () => {
      await using bench = new Bench(under);
      await bench.filler.write("d/x", "abc");
      expect(await bench.store.stat("d/x")).toMatchObject({ path: "d/x", type: "file", size: 3 });
      expect(await bench.store.stat("d")).toMatchObject({ path: "d", type: "directory" });
      for (const path of ["y", "d/y", "d/x/y", "y/x"])
        expect(await bench.store.stat(path)).toBeNull();
      expect(await bench.store.exists("d/x")).toBe(true);
      expect(await bench.store.exists("d")).toBe(true);
      expect(await bench.store.exists("d/y")).toBe(false);
    });

    test.skipIf(!abilities.mtime)("the time of a new file is now", async () => {
      await using bench = new Bench(under);
      const before = Date.now();
      const { mtime } = await bench.filler.write("x", "x");
      // File systems take theirs from a coarser clock.
      expect(mtime!.getTime()).toBeWithin(before - 20, Date.now() + 20);
    });

    test("list gives everything below, sorted by the bytes of the path", async () => {
      await using bench = new Bench(under);
      for (const path of ["b", "a/x", "a", "a!", "B", "ü", "a/é/1", "\u{10000}", "\uffee"].filter(
        (p) => p !== "a",
      ))
        await bench.filler.write(path, path);
      const listed = await bench.store.list();
      const expected = ["B", "a", "a!", "a/x", "a/é", "a/é/1", "b", "ü", "\uffee", "\u{10000}"];
      expect(listed.map((entry) => entry.path)).toEqual(expected);
      expect(listed.errors).toEqual([]);
      expect(listed.complete).toBe(true);
    });

    test("list of a directory gives paths below it, and of nothing is NOT_FOUND", async () => {
      await using bench = new Bench(under);
      await bench.filler.write("a/b/c", "x");
      await bench.filler.write("d", "x");
      const below = await bench.store.list("a");
      expect(below.map((entry) => entry.path)).toEqual(["a/b", "a/b/c"]);
      expect((await failure(bench.store.list("missing"))).code).toBe("NOT_FOUND");
    });

    test("list takes the options of every verb", async () => {
      await using bench = new Bench(under);
      for (const path of ["a.txt", "b.log", "d/c.txt", "d/e.log"])
        await bench.filler.write(path, "x");
      const listed = await bench.store.list("", { include: ["*.txt"], exclude: ["d"] });
      expect(listed.map((entry) => entry.path)).toEqual(["a.txt"]);
      // @ts-expect-error no such option
      expect(() => bench.store.list("", { colour: "red" })).toThrow("colour");
    });

    test("an entry found by list is found by stat, the same", async () => {
      await using bench = new Bench(under);
      for (const path of ["a", "b/c", "b/d/e"]) await bench.filler.write(path, path);
      for (const entry of await bench.store.list())
        expect(await bench.store.stat(entry.path)).toEqual(entry);
    });
  });

  describe.skipIf(!abilities.delete || !abilities.write)("removing", () => {
    test("a file, then the empty directory", async () => {
      await using bench = new Bench(under);
      await bench.store.write("d/x", "x");
      await bench.store.remove("d/x");
      expect(await names(bench.store)).toEqual(["d"]);
      await bench.store.remove("d");
      expect(await names(bench.store)).toEqual([]);
    });

    test("a directory that holds something stays", async () => {
      await using bench = new Bench(under);
      await bench.store.write("d/x", "x");
      expect(await failure(bench.store.remove("d"))).toMatchObject({ code: "EXISTS", path: "d" });
      expect(await names(bench.store)).toEqual(["d", "d/x"]);
    });

    test("nothing is NOT_FOUND", async () => {
      await using bench = new Bench(under);
      await bench.store.write("x", "x");
      expect((await failure(bench.store.remove("y"))).code).toBe("NOT_FOUND");
      expect((await failure(bench.store.remove("x/y"))).code).toBe("NOT_FOUND");
    });

    test("what is read stays readable", async () => {
      await using bench = new Bench(under);
      const bytes = bytesOf(MIB);
      await bench.store.write("x", bytes);
      const reader = bench.store.read("x").getReader();
      const chunks = [(await reader.read()).value!];
      await bench.store.remove("x");
      for (let next = await reader.read(); !next.done; next = await reader.read())
        chunks.push(next.value);
      expect(Buffer.compare(Buffer.concat(chunks), bytes)).toBe(0);
    });
  });

  describe("a path that leaves its root, or is none", () => {
    test.each([
      "..",
      "../x",
      "a/../../x",
      "a/..",
      "/etc/passwd",
      ".",
      "a/./b",
      "a//b",
      "a/",
      "/",
      "a\0b",
    ])("%j is refused before anything is done", async (path) => {
      await using bench = new Bench(under);
      const { started } = bench.runtime.stats;
      const works = [
        () => bench.store.stat(path),
        () => bench.store.exists(path),
        () => bench.store.write(path, "x"),
        () => bench.store.remove(path),
        () => readAll(bench.store, path),
        async () => await bench.store.list(path),
      ];
      // A verb that returns a task may throw at once.
      for (const work of works)
        expect((await failure((async () => await work())())).code).toBeOneOf([
          "UNSAFE_PATH",
          "ARGUMENT",
        ]);
      expect(bench.runtime.stats.started).toBe(started);
    });
  });

  test("after its disposal it takes nothing more", async () => {
    await using bench = new Bench(under);
    const store = new Store(bench.location, { runtime: bench.runtime });
    await store[Symbol.asyncDispose]();
    await store[Symbol.asyncDispose]();
    expect((await failure((async () => await store.stat("x"))())).code).toBe("CLOSED");
  });
});

describe("memory", () => {
  test("a tree lives as long as its runtime, and runtimes do not share", async () => {
    await using one = new Runtime();
    await using two = new Runtime();
    await new Store("memory:shared", { runtime: one }).write("x", "x");
    expect(await new Store("memory:shared", { runtime: one }).exists("x")).toBe(true);
    expect(await new Store("memory:shared", { runtime: two }).exists("x")).toBe(false);
  });

  test("a sub-path is a place of its own", async () => {
    await using runtime = new Runtime();
    await new Store("memory:t", { runtime }).write("a/b/c", "x");
    expect(await names(new Store("memory:t/a", { runtime }))).toEqual(["b", "b/c"]);
  });
});

describe("making a store", () => {
  test("of a scheme that is not built in is UNSUPPORTED", () => {
    expect(() => new Store("s3://bucket")).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED" }),
    );
  });

  test("with an unknown option is an ARGUMENT", () => {
    // @ts-expect-error no such option
    expect(() => new Store("memory:x", { include: ["x"] })).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
  });
});
