// Packs that go to a stream, and packs of files that come one after the other: whole or not there, with
// memory that does not grow with them, and an index for each kind and origin. COPSE_LONG asks for a
// gigabyte.

import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  compareSync,
  listSync,
  pack,
  packSync,
  Runtime,
  unpackSync,
  verify,
  verifySync,
} from "../lib/index.ts";
import type { PackEntry, PackOptions } from "../lib/index.ts";
import { commandPlace } from "./command.ts";
import { text } from "./packs.ts";
import { isLong, isSanitized } from "./patience.ts";
import { asTree, Random, randomTree, Scratch } from "./trees.ts";
import { atRest, codeOf, codeOfSync, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
let number = 0;
let file = "";
beforeEach(() => {
  file = scratch.at(`${++number}.znippy`);
});

/** What goes into a stream, and how it ended. */
function collector(): { stream: WritableStream<Uint8Array>; bytes: () => Buffer; state: string[] } {
  const pieces: Uint8Array[] = [];
  const state: string[] = [];
  const stream = new WritableStream<Uint8Array>({
    write: (piece) => void pieces.push(piece),
    close: () => void state.push("closed"),
    abort: (reason) => void state.push(`aborted: ${String((reason as Error)?.message ?? reason)}`),
  });
  return { stream, bytes: () => Buffer.concat(pieces), state };
}

describe("to a stream", () => {
  test("has the bytes that a file has, and is closed when they are all there", async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const root = scratch.plant(`tree-${seed}`, asTree(randomTree(new Random(seed))));
      packSync(root, file);
      const { stream, bytes, state } = collector();
      const { report, errors } = await pack(root, stream);
      expect(errors).toBe(0);
      expect(state).toEqual(["closed"]);
      expect(bytes().equals(readFileSync(file))).toBe(true);
      expect(report!.bytesOut).toBe(bytes().length);
    }
  });

  test("a slow one is waited for, and others go on meanwhile", async () => {
    const root = scratch.plant("slow", { noise: new Random(1).bytes(1_500_000), a: "1" });
    const gate = Promise.withResolvers<void>();
    let written = 0;
    const stream = new WritableStream<Uint8Array>({
      async write(piece) {
        written += piece.length;
        await gate.promise;
      },
    });
    using runtime = new Runtime({ workers: 1, ioWorkers: 1 });
    const work = pack(root, stream, { runtime });
    while (written === 0) await Bun.sleep(1);
    // Two pages are on their way, and no worker waits: another pack comes to its end.
    expect((await pack(root, file, { runtime })).errors).toBe(0);
    expect(written).toBeLessThanOrEqual(64 * 1024);
    gate.resolve();
    expect((await work).report!.bytesOut).toBe(written);
  });

  test("that fails ends the pack with its own error", async () => {
    const root = scratch.plant("failing", { noise: new Random(2).bytes(800_000) });
    const error = new Error("the other end is gone");
    const stream = new WritableStream<Uint8Array>({
      write() {
        throw error;
      },
    });
    await expect(Promise.resolve(pack(root, stream))).rejects.toBe(error);
  });

  test("is aborted when the pack fails or is cancelled; what it got is no pack", async () => {
    const { stream, state } = collector();
    expect(await codeOf(pack(scratch.at("nothing"), stream))).toBe("NOT_FOUND");
    expect(state).toEqual([expect.stringContaining("aborted")]);

    const root = scratch.plant("cancelled", { noise: new Random(3).bytes(2_000_000) });
    const controller = new AbortController();
    const part = collector();
    let count = 0;
    const through = new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, out) {
        out.enqueue(piece);
        if (++count === 3) controller.abort("stop");
      },
    });
    const piped = through.readable.pipeTo(part.stream).catch(() => {});
    expect(await codeOf(pack(root, through.writable, { signal: controller.signal }))).toBe("stop");
    await piped;
    writeFileSync(file, part.bytes());
    expect(await codeOf(verify(file))).toMatch(/CORRUPT|UNSUPPORTED/);
  });

  test("packSync refuses one, and so does sign", async () => {
    const root = scratch.plant("refused", { a: "1" });
    expect(() => packSync(root, collector().stream)).toThrow(
      expect.objectContaining({ code: "ARGUMENT" }),
    );
    expect(await codeOf(() => pack(root, collector().stream, { sign: "x" }))).toBe("UNSUPPORTED");
  });

  test("dryRun leaves it alone", async () => {
    const root = scratch.plant("dry", { a: "1" });
    const { stream, bytes, state } = collector();
    expect(await pack(root, stream, { dryRun: true })).toMatchObject({ copied: 1 });
    expect([bytes().length, state]).toEqual([0, []]);
  });
});

describe("of entries", () => {
  const small = (count: number): PackEntry[] =>
    Array.from({ length: count }, (_, i) => ({ path: `d${i % 7}/f${i}`, data: text(i % 50) }));

  test("for await, of every kind of data", async () => {
    const noise = new Random(4).bytes(9_000_000);
    const bodies: Record<string, PackEntry["data"]> = {
      "a/text": "hello",
      "a/bytes": new Uint8Array([1, 2, 3]),
      "a/view": new DataView(new Uint8Array([9, 8, 7, 6]).buffer, 1, 2),
      "a/buffer": new Uint8Array([5]).buffer,
      blob: new Blob(["blob ", "of two"]),
      response: new Response("response"),
      stream: new ReadableStream<Uint8Array>({
        start(out) {
          for (let at = 0; at < noise.length; at += 1_000_000)
            out.enqueue(noise.subarray(at, at + 1_000_000));
          out.close();
        },
      }),
      empty: "",
      "empty stream": new Blob([]).stream(),
    };
    async function* entries(): AsyncGenerator<PackEntry> {
      for (const [path, data] of Object.entries(bodies)) {
        await Bun.sleep(0);
        yield { path, data };
      }
    }
    const result = await pack(entries(), file);
    expect(result).toMatchObject({ errors: 0, copied: 9, complete: true });
    expect(result.actions.map(({ path }) => path)).toEqual(Object.keys(bodies).toSorted());
    expect(verifySync(file)).toMatchObject({ ok: true, files: 9 });
    const out = scratch.at("kinds");
    unpackSync(file, out);
    const read = (path: string): Buffer => readFileSync(join(out, path));
    expect(read("a/text").toString()).toBe("hello");
    expect([...read("a/bytes"), ...read("a/view"), ...read("a/buffer")]).toEqual([
      1, 2, 3, 8, 7, 5,
    ]);
    expect(read("blob").toString()).toBe("blob of two");
    expect(read("response").toString()).toBe("response");
    expect(read("stream").equals(noise)).toBe(true);
    expect([read("empty").length, read("empty stream").length]).toEqual([0, 0]);
  });

  test("one sub-index for each kind and origin, sorted, and the same bytes in any order", async () => {
    const entries = small(200).map(({ path, data }, i) => {
      return { path, data, pkgType: [5, 1, 3][i % 3]!, repo: ["b", "a"][i % 2]! };
    });
    await pack(entries, file);
    const bytes = readFileSync(file);
    const again = scratch.at("again.znippy");
    await pack(entries.toReversed(), again);
    expect(readFileSync(again).equals(bytes)).toBe(true);
    packSync(entries, again);
    expect(readFileSync(again).equals(bytes)).toBe(true);
    expect(verifySync(file)).toMatchObject({ ok: true, files: 200 });
    // The manifest: types, then origins with where each ends.
    const manifest = bytes.subarray(Number(bytes.readBigUInt64LE(bytes.length - 8)), -16);
    expect(manifest.includes(Buffer.from([1, 1, 3, 3, 5, 5]))).toBe(true);
    expect(manifest.includes(Buffer.from("ababab"))).toBe(true);
    expect(bytes.toString("latin1").split("copse_ext").length - 1).toBe(6);
    // Files of the same kind and origin as the pack itself stand in its own.
    await pack([{ path: "x", data: "1" }], file, { packageType: 9, repo: "own" });
    expect(readFileSync(file).includes(Buffer.from("own"))).toBe(true);
  });

  test("modes and times, where they are given", async () => {
    const mtime = new Date("2001-02-03T04:05:06.789Z");
    await pack(
      [
        { path: "a", data: "1", mode: 0o755, mtime },
        { path: "b", data: "2" },
      ],
      file,
    );
    const [a, b] = listSync(`pack:${file}`, { stat: true });
    expect(a).toMatchObject({ path: "a", mode: 0o755, mtime });
    expect([b?.mode, b?.mtime]).toEqual([undefined, undefined]);
  });

  test("the next one is asked for when there is room for it", async () => {
    using runtime = new Runtime({ workers: 1, ioWorkers: 1 });
    const count = 20_000;
    let made = 0;
    function* entries(): Generator<PackEntry> {
      for (; made < count; made++)
        yield { path: `f${made}`, data: new Uint8Array(2000).fill(made) };
    }
    let seen = 0;
    for await (const action of pack(entries(), file, { runtime })) {
      expect(action.kind).toBe("copied");
      if (++seen > 1) continue;
      // Whoever reads slowly holds those who write: two pages of rows are on their way and no more.
      for (let before = -1; before !== made; await Bun.sleep(100)) before = made;
      expect(made).toBeLessThan(count / 2);
    }
    expect([seen, made]).toEqual([count, count]);
    expect((await verify(file)).ok).toBe(true);
  });

  const wrong: readonly (readonly [name: string, entry: unknown, code: string])[] = [
    ["no path", { data: "1" }, "ARGUMENT"],
    ["an empty path", { path: "", data: "1" }, "ARGUMENT"],
    ["a path that leads out", { path: "../x", data: "1" }, "UNSAFE_PATH"],
    ["an absolute path", { path: "/x", data: "1" }, "UNSAFE_PATH"],
    ["a NUL", { path: "a\0b", data: "1" }, "ARGUMENT"],
    ["no data", { path: "x" }, "ARGUMENT"],
    ["a kind above 127", { path: "x", data: "1", pkgType: 128 }, "ARGUMENT"],
    ["a bad time", { path: "x", data: "1", mtime: new Date(Number.NaN) }, "ARGUMENT"],
    ["another field", { path: "x", data: "1", colour: 1 }, "ARGUMENT"],
    ["the same path twice", { path: "good", data: "2" }, "EXISTS"],
    ["a path through a file", { path: "good/below", data: "2" }, "EXISTS"],
    ["no object", 7, "ARGUMENT"],
  ];
  test.each(wrong)("%s: nothing is made", async (_name, entry, code) => {
    const entries = [{ path: "good", data: "1" }, entry as PackEntry];
    expect(await codeOf(pack(entries, file))).toBe(code);
    expect(codeOfSync(() => packSync(entries, file))).toBe(code);
    expect(existsSync(file)).toBe(false);
    expect(readdirSync(scratch.at()).filter((name) => name.startsWith(".copse"))).toEqual([]);
  });

  test("a source that throws ends the pack with its own error; one that is left is told", async () => {
    const error = new Error("no more");
    async function* entries(): AsyncGenerator<PackEntry> {
      yield { path: "a", data: text(100) };
      throw error;
    }
    await expect(Promise.resolve(pack(entries(), file))).rejects.toBe(error);
    const failing = new ReadableStream<Uint8Array>({
      pull() {
        throw error;
      },
    });
    const one = [{ path: "a", data: failing }];
    await expect(Promise.resolve(pack(one, file))).rejects.toBe(error);
    let isLeft = false;
    let given = 0;
    async function* endless(): AsyncGenerator<PackEntry> {
      try {
        for (; ; given++) yield { path: `f${given}`, data: text(200) };
      } finally {
        isLeft = true;
      }
    }
    const controller = new AbortController();
    const work = pack(endless(), file, { signal: controller.signal });
    const code = codeOf(work);
    while (given < 10) await Bun.sleep(1);
    controller.abort("stop");
    expect(await code).toBe("stop");
    while (!isLeft) await Bun.sleep(1);
    await atRest();
    expect(existsSync(file)).toBe(false);
  });

  test("packSync waits for nothing", () => {
    async function* entries(): AsyncGenerator<PackEntry> {
      yield { path: "a", data: "1" };
    }
    for (const source of [entries(), [{ path: "a", data: new Blob(["1"]) }]])
      expect(() => packSync(source as Iterable<PackEntry>, file)).toThrow(
        expect.objectContaining({ code: "ARGUMENT" }),
      );
    expect(packSync(small(3), file)).toMatchObject({ copied: 3 });
  });

  test("options about trees are refused", async () => {
    for (const options of [{ by: "stat" }, { overwrite: "never" }, { include: ["*"] }])
      expect(await codeOf(() => pack([], file, options as PackOptions))).toBe("ARGUMENT");
    expect(await pack([], file, { fsync: false })).toMatchObject({ copied: 0 });
    expect(verifySync(file)).toMatchObject({ ok: true, files: 0 });
  });

  test("entries to a stream: nothing but bytes goes in, and nothing but bytes comes out", async () => {
    const { stream, bytes, state } = collector();
    await pack(small(100), stream);
    await pack(small(100), file);
    expect(state).toEqual(["closed"]);
    expect(bytes().equals(readFileSync(file))).toBe(true);
  });
});

test("memory does not grow with what goes through", async () => {
  const megabytes = isLong ? 1024 : 192;
  const bytes = new Random(5).bytes(1 << 20);
  using runtime = new Runtime({ workers: 2, ioWorkers: 2 });
  let [written, most, mostOfAll] = [0, 0, 0];
  const look = (): void => {
    most = Math.max(most, runtime.stats.memory);
    mostOfAll = Math.max(mostOfAll, process.memoryUsage.rss());
  };
  // What is given is copied before the next one is asked for, so one array will do for all.
  async function* entries(): AsyncGenerator<PackEntry> {
    for (let i = 0; i < megabytes; i++) {
      bytes.set(new Random(i + 10).bytes(64), 0);
      bytes[i % bytes.length]! ^= 255;
      yield { path: `f${i}`, data: bytes };
      look();
    }
  }
  const sink = new WritableStream({
    write: (piece: Uint8Array) => {
      written += piece.length;
      look();
    },
  });
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  const { report } = await pack(entries(), sink, { runtime });
  expect(report!.bytesIn).toBe(megabytes << 20);
  expect(written).toBe(report!.bytesOut);
  // What native code holds of buffers, at any moment.
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThan(16 << 20);
  // And all that the process has: a sanitizer keeps what was freed.
  if (!isSanitized) expect(mostOfAll - before).toBeLessThan(128 << 20);
});

const { copse, shell, folder } = commandPlace();

test("copse pack DIR -: the pack to standard output, what is said to standard error", async () => {
  const root = scratch.plant("command", { a: text(1000), "b/c": "2" });
  const { status, err } = await shell(`copse pack ${root} - > out.znippy`);
  expect([status, err]).toEqual([0, expect.stringContaining("2 copied")]);
  expect(compareSync(root, `pack:${folder}/out.znippy`)).toMatchObject({ equal: true });
  const piped = await shell(`copse pack ${root} - --json 2> said.json | cat > piped.znippy`);
  expect(piped.status).toBe(0);
  expect(JSON.parse(readFileSync(join(folder, "said.json"), "utf8"))).toMatchObject({ copied: 2 });
  expect((await copse("verify", "piped.znippy")).status).toBe(0);
  // Somebody who reads no further: no whole pack, and no success.
  const noise = scratch.plant("noise", { a: new Random(6).bytes(3_000_000) });
  const cut = await shell(`set -o pipefail; copse pack ${noise} - | head -c 1000 > cut.znippy`);
  expect(cut.status).not.toBe(0);
  expect((await copse("verify", "cut.znippy")).status).toBeGreaterThan(0);
});
