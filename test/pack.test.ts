// Packs are read as znippy-format.md says, and nothing in one is believed that was not checked.

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { compare, compareSync, CopseError, list, Store, unpack, verify } from "../lib/index.ts";
import { Folder, sample, samples } from "./packs.ts";
import { isLong } from "./patience.ts";

async function failure(work: PromiseLike<unknown>): Promise<CopseError> {
  try {
    await work;
  } catch (error) {
    expect(error).toBeInstanceOf(CopseError);
    return error as CopseError; // so it was just said
  }
  throw new Error("it did not fail");
}

const s1 = `pack:${join(samples, "s1.znippy")}`;
const expected: readonly (readonly [path: string, size: number])[] = [
  ["a/b/with space & 'quote'.txt", 3],
  ["a/empty.png", 0],
  ["a/rand.bin", 3000],
  ["a/text.log", 13_834],
  ["a/text.log.gz", 2382],
  ["bad\ufffd.txt", 3],
  ["dïr/日本/ファイル.txt", 7],
  ["empty.txt", 0],
  ["hard.txt", 5],
  ["nums.u32", 20_000],
  ["one.bin", 1],
  ["periodic.bin", 40_000],
  ["tiny.txt", 5],
  ["zeros.dat", 100_000],
];

/** Where in the record batch of s1's index the values of a column begin, by znippy-format.md. */
function column(bytes: Buffer, buffer: number): number {
  const message = 13_706;
  return message + 512 + Number(bytes.readBigUInt64LE(message + 224 + 16 * buffer));
}
const buffers = { offsets: 1, text: 2, seq: 4, at: 6, size: 10, blobAt: 12, blobSize: 14 };

/** s1 with something changed, listed. */
async function changed(change: (bytes: Buffer) => unknown): Promise<CopseError> {
  using folder = new Folder();
  const bytes = sample("s1");
  const result = change(bytes);
  const file = folder.put("x.znippy", Buffer.isBuffer(result) ? result : bytes);
  return await failure(list(`pack:${file}`));
}

describe("the given archives", () => {
  test.each(["s1", "s1noskip"])(
    "%s lists its files with the size of the whole file",
    async (name) => {
      const found = await list(`pack:${join(samples, `${name}.znippy`)}`, { stat: true });
      const files = found.filter((entry) => entry.type === "file");
      expect(files.map(({ path, size }) => [path, size])).toEqual(expected.map((row) => [...row]));
      const directories = found.filter((entry) => entry.type === "directory");
      expect(directories.map(({ path }) => path)).toEqual(["a", "a/b", "dïr", "dïr/日本"]);
      expect(found.complete).toBe(true);
    },
  );

  test.each(["s1", "s1noskip"])(
    "%s has the contents of the tree it was made from",
    async (name) => {
      using folder = new Folder();
      const options = { exclude: ["bad*", "emptydir", "dangling", "link"] };
      const tree = folder.unpackTree();
      const pack = `pack:${join(samples, `${name}.znippy`)}`;
      const result = await compare(tree, pack, options);
      expect(result.differences).toEqual([]);
      expect(result).toMatchObject({ equal: true, files: 13 });
      expect(compareSync(pack, tree, options).equal).toBe(true);
      // The one whose name the archive has lost.
      expect(await new Response(new Store(pack).read("bad\ufffd.txt")).text()).toBe("bad");
    },
  );

  test("the corrupt one fails by the name of its damaged file, and gives the others", async () => {
    const store = new Store(`pack:${join(samples, "corrupt_frame.znippy")}`);
    for (const [path, size] of expected) {
      const read = new Response(store.read(path)).bytes();
      if (path === "a/text.log") {
        const error = await failure(read);
        expect(error).toMatchObject({ code: "CORRUPT", path: "a/text.log" });
        expect(error.message).toContain("damaged");
      } else expect((await read).length).toBe(size);
    }
  });

  test("compare by hash reads no content: the index has the hashes", async () => {
    using folder = new Folder();
    const tree = folder.unpackTree();
    const options = { by: "hash", exclude: ["bad*", "emptydir", "dangling", "link"] } as const;
    const result = await compare(s1, tree, options);
    expect(result.equal).toBe(true);
    expect(result.bytes).toBe(0); // of the left side
  });
});

describe("a pack is a store", () => {
  test("ranges are what slice gives", async () => {
    const store = new Store(s1);
    const whole = await new Response(store.read("nums.u32")).bytes();
    expect(whole.length).toBe(20_000);
    for (const [start, end] of [
      [0, 1],
      [19_999, 20_000],
      [1000, 9000],
      [20_000, 30_000],
    ] as const) {
      const part = await new Response(store.read("nums.u32", { start, end })).bytes();
      expect(Buffer.compare(part, whole.subarray(start, end))).toBe(0);
    }
  });

  test("stat, exists, a directory, and what is not there", async () => {
    const store = new Store(s1);
    expect(await store.stat("a/b")).toMatchObject({ type: "directory" });
    expect(await store.stat("a/rand.bin")).toMatchObject({ type: "file", size: 3000 });
    expect(await store.stat("a/rand.bin/x")).toBeNull();
    expect(await store.exists("nothing")).toBe(false);
    expect((await store.list("dïr")).map(({ path }) => path)).toEqual([
      "dïr/日本",
      "dïr/日本/ファイル.txt",
    ]);
    expect((await failure(new Response(store.read("a")).bytes())).code).toBe("UNSUPPORTED");
    expect((await failure(store.write("x", "x"))).code).toBe("UNSUPPORTED");
  });

  test("#path names a directory or file in it", async () => {
    expect((await list(`${s1}#a/b`)).map(({ path }) => path)).toEqual(["with space & 'quote'.txt"]);
    expect((await list(`${s1}#a/rand.bin`, { stat: true }))[0]).toMatchObject({
      path: "",
      size: 3000,
    });
    expect((await failure(list(`${s1}#b`))).code).toBe("NOT_FOUND");
    expect(() => list(`${s1}#a/../b`)).toThrow(expect.objectContaining({ code: "UNSAFE_PATH" }));
    const inner = new Store(`${s1}#a`);
    expect(await new Response(inner.read("b/with space & 'quote'.txt")).text()).toHaveLength(3);
  });

  test("filters decide before anything is read", async () => {
    const found = await list(s1, { include: ["*.bin"], exclude: ["a"] });
    expect(found.map(({ path }) => path)).toEqual(["one.bin", "periodic.bin"]);
  });

  test("errors of the inner store are the pack's", async () => {
    expect((await failure(list("pack:/nowhere/x.znippy"))).code).toBe("NOT_FOUND");
    expect((await failure(list(`pack:${samples}`))).code).toBe("UNSUPPORTED");
    expect((await failure(list(`pack:fault:read=1:${s1.slice(5)}`))).code).toBe("IO");
  });
});

describe("what is no pack, or was cut", () => {
  test("other files are UNSUPPORTED", async () => {
    using folder = new Folder();
    for (const bytes of ["", "x", "hello, world, this is text", "ZNPYMIDX"])
      expect((await failure(list(`pack:${folder.put("x", bytes)}`))).code).toBe("UNSUPPORTED");
  });

  test("an archive of version 0.6 says so", async () => {
    const error = await changed((bytes) => {
      const old = Buffer.from(bytes.subarray(0, 15_578));
      old.writeBigUInt64LE(12_682n, 15_570);
      return old;
    });
    expect(error.code).toBe("UNSUPPORTED");
    expect(error.message).toContain("0.6");
  });

  test("cut at any length it is CORRUPT, and never lists", async () => {
    using folder = new Folder();
    const bytes = sample("s1");
    const step = isLong ? 1 : 97;
    for (let size = 4; size < bytes.length; size += step) {
      const file = folder.put("x", bytes.subarray(0, size));
      const error = await failure(list(`pack:${file}`));
      expect([size, error.code]).toEqual([size, "CORRUPT"]);
    }
  });

  test("bytes added at the end are found", async () => {
    expect((await changed((bytes) => Buffer.concat([bytes, Buffer.from("x")]))).code).toBe(
      "CORRUPT",
    );
  });
});

describe("hostile indexes", () => {
  const big = 1n << 60n;
  const rename = (from: string, to: string) => (bytes: Buffer) => {
    const at = bytes.indexOf(from, column(bytes, buffers.text));
    bytes.write(to, at);
  };
  test.each<[name: string, code: CopseError["code"], change: (bytes: Buffer) => unknown]>([
    ["a size of 2^60", "LIMIT", (b) => b.writeBigUInt64LE(big, column(b, buffers.size))],
    [
      "a blob behind the index",
      "CORRUPT",
      (b) => b.writeBigUInt64LE(12_680n, column(b, buffers.blobAt)),
    ],
    [
      "an offset that overflows",
      "CORRUPT",
      (b) => b.writeBigUInt64LE(2n ** 64n - 8n, column(b, buffers.blobAt)),
    ],
    ["a blob size of 2^60", "CORRUPT", (b) => b.writeBigUInt64LE(big, column(b, buffers.blobSize))],
    [
      "a first chunk that is not at 0",
      "CORRUPT",
      (b) => b.writeBigUInt64LE(1n, column(b, buffers.at)),
    ],
    [
      "chunks that do not count from 0",
      "CORRUPT",
      (b) => b.writeUInt32LE(1, column(b, buffers.seq)),
    ],
    ["a path twice", "CORRUPT", rename("hard", "tiny")],
    [
      "text offsets that decrease",
      "CORRUPT",
      (b) => b.writeUInt32LE(0xffff, column(b, buffers.offsets) + 4),
    ],
    ["a name that is not UTF-8", "CORRUPT", (b) => void (b[column(b, buffers.text)] = 0xff)],
    [
      "a manifest outside of the file",
      "CORRUPT",
      (b) => b.writeBigUInt64LE(1n << 40n, b.length - 8),
    ],
    ["a manifest that is none", "CORRUPT", (b) => b.writeBigUInt64LE(3n, b.length - 8)],
  ])("%s is refused: %s", async (_, code, change) => {
    expect((await changed(change)).code).toBe(code);
  });

  test.each<[name: string, change: (bytes: Buffer) => unknown]>([
    ["a NUL in a name", (b) => void (b[column(b, buffers.text)] = 0)],
    ["..", rename("a/b/w", "../b/")],
    ["an absolute name", rename("a/b/w", "/a/b/")],
    ["a path through a file", rename("a/empty.png", "dïr/日本")],
  ])("%s refuses that entry, and the others are there", async (_, change) => {
    using folder = new Folder();
    const copy = Buffer.from(sample("s1"));
    change(copy);
    const file = folder.put("x", copy);
    const listed = await list(`pack:${file}`, { onError: "collect" });
    expect(listed.errors.map(({ error }) => error.code)).toEqual(["UNSAFE_PATH"]);
    expect(listed.complete).toBe(false);
    const checked = await verify(file);
    expect(checked.ok).toBe(false);
    const out = join(folder.path, "out");
    const result = await unpack(file, out);
    expect(result).toMatchObject({ errors: 1, copied: expected.length - 1, complete: false });
    expect(readdirSync(folder.path).toSorted()).toEqual(["out", "x"]);
  });

  test("every byte of the index at 0, 255 and inverted: an answer or one clear error", async () => {
    using folder = new Folder();
    const bytes = sample("s1");
    const step = isLong ? 1 : 41;
    const codes = new Map<string, number>();
    for (let at = 12_682; at < bytes.length; at += step)
      for (const value of [0, 255, bytes[at]! ^ 255]) {
        const copy = Buffer.from(bytes);
        copy[at] = value;
        const file = folder.put("x", copy);
        let code = "";
        try {
          const store = new Store(`pack:${file}`);
          for (const { path, type } of await store.list())
            if (type === "file") await new Response(store.read(path)).bytes();
        } catch (error) {
          expect(error).toBeInstanceOf(CopseError);
          ({ code } = error as CopseError);
        }
        codes.set(code, (codes.get(code) ?? 0) + 1);
      }
    for (const code of codes.keys())
      expect(code).toBeOneOf(["", "CORRUPT", "UNSUPPORTED", "UNSAFE_PATH", "LIMIT"]);
    expect(codes.get("CORRUPT")).toBeGreaterThan(10);
  });
});

test("every byte of every blob is proved: a flip is CORRUPT, in the file it belongs to", async () => {
  using folder = new Folder();
  const bytes = sample("s1");
  const step = isLong ? 1 : 53;
  for (let at = 0; at < 12_682; at += step) {
    const copy = Buffer.from(bytes);
    copy[at]! ^= 1 << (at % 8);
    const store = new Store(`pack:${folder.put("x", copy)}`);
    let damaged = 0;
    for (const [path] of expected) {
      const error = await new Response(store.read(path)).bytes().then(
        () => undefined,
        (error: CopseError) => error,
      );
      if (!error) continue;
      damaged += 1;
      expect(error.code).toBeOneOf(["CORRUPT", "UNSUPPORTED"]);
    }
    expect([at, damaged]).toEqual([at, 1]);
  }
  expect(readFileSync(join(samples, "s1.znippy")).equals(bytes)).toBe(true);
});
