// The stages of row 29 of the acceptance table: checksum, compress, encrypt, and back. `test/crypt-form.ts`
// is the second opinion on every byte.

import { describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import {
  apply,
  compare,
  copy,
  copySync,
  CopseError,
  list,
  parseLocation,
  Runtime,
  Store,
  sync,
  type Encryption,
  type Location,
  type SyncOptions,
} from "../lib/index.ts";
import { makeFile, openFile, withRightCheck } from "./crypt-form.ts";
import { isLong } from "./patience.ts";
import { nginxMissing, startNginx } from "./servers/nginx.ts";
import { said, shape } from "./synced.ts";
import { codeOf, leaveNothingOpen, scratchForEach } from "./ways.ts";

leaveNothingOpen();

const scratch = scratchForEach();
const fixtures = join(import.meta.dir, "fixtures", "crypt");

const key = Uint8Array.from({ length: 32 }, (_, i) => i + 1);
const otherKey = new Uint8Array(32);
const part = 256 * 1024;

/** Bytes that no compressor makes smaller, and that repeat nowhere. */
function noise(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < size; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state & 255;
  }
  return bytes;
}

const text = (size: number): Buffer => Buffer.alloc(size, "the same words again and again, ");

type Stages = Pick<SyncOptions, "compress" | "encrypt">;
const pairs: readonly [name: string, stages: Stages, secret: Encryption][] = [
  ["neither", {}, {}],
  ["compressed", { compress: true }, {}],
  ["encrypted", { encrypt: { key } }, { key }],
  ["compressed and encrypted", { compress: 5, encrypt: { key } }, { key }],
];

const tree = {
  empty: "",
  one: "1",
  words: text(20_000),
  "d/noise": noise(70_000),
  "d/before": noise(part - 1, 2),
  "d/even": noise(part, 3),
  "d/after": text(part + 1),
  "d/e/three parts": text(2 * part + 5),
};

describe("29: every on/off pair", () => {
  test.each(pairs)("%s: there and back; a second run writes nothing", async (_, stages, secret) => {
    const from = scratch.plant("from", tree);
    const to = scratch.at("to");
    const back = scratch.at("back");
    expect(await sync(from, to, stages)).toMatchObject({ copied: 8, errors: 0 });
    const before = shape(to);
    expect(await sync(from, to, stages)).toMatchObject({ planned: 0, skipped: 8, errors: 0 });
    expect(shape(to)).toEqual(before);
    const isPlain = Object.keys(stages).length === 0;
    const source: Location = isPlain ? to : { crypt: to, ...secret };
    expect((await compare(from, source, { metadata: ["mode", "mtime"] })).equal).toBe(true);
    expect(await copy(source, back, { verify: true })).toMatchObject({ copied: 8, errors: 0 });
    expect(shape(back)).toEqual(shape(from));
    for (const [path, content] of Object.entries(tree)) {
      const file = readFileSync(join(to, path));
      const opened = isPlain ? { content: file } : openFile(file, secret);
      expect(Buffer.compare(opened.content, Buffer.from(content))).toBe(0);
      if (stages.encrypt && content.length > 100)
        expect(file.includes(content.slice(0, 100))).toBe(false);
    }
    if (stages.compress) expect(statSync(join(to, "words")).size).toBeLessThan(600);
  });

  test("a pair of neither, asked for by name, is only checksummed", async () => {
    const from = scratch.plant("from", tree);
    const to = scratch.at("to");
    const place: Location = { crypt: to, compress: false };
    expect(await copy(from, place)).toMatchObject({ copied: 8, errors: 0 });
    expect((await compare(from, `crypt:${to}`)).equal).toBe(true);
    expect(openFile(readFileSync(join(to, "words")))).toMatchObject({ stages: 0, parts: 1 });
  });

  test("sizes, times and modes are those of the source; only content is another", async () => {
    const from = scratch.plant("from", tree);
    const to = scratch.at("to");
    await sync(from, to, { compress: 1, encrypt: { key } });
    const sizes = async (place: Location): Promise<object[]> =>
      (await list(place, { stat: true }))
        .filter(({ type }) => type === "file")
        .map(({ path, size, mtime, mode }) => ({ path, size, mtime, mode }));
    expect(await sizes({ crypt: to, key })).toEqual(await sizes(from));
    expect(await sizes(to)).not.toEqual(await sizes(from));
  });

  test("what changed is written again, what went is deleted, what moved is renamed", async () => {
    const from = scratch.plant("from", tree);
    const to = scratch.at("to");
    const options: SyncOptions = { encrypt: { key } };
    await sync(from, to, options);
    writeFileSync(join(from, "one"), "two");
    writeFileSync(join(from, "new"), "new");
    const { renameSync, rmSync } = await import("node:fs");
    rmSync(join(from, "words"));
    renameSync(join(from, "d", "noise"), join(from, "moved"));
    const done = await sync(from, to, { ...options, moves: true });
    expect(
      said(done)
        .filter((line) => !line.startsWith("updated"))
        .toSorted(),
    ).toEqual(["copied new", "copied one", "deleted words", "renamed moved"]);
    expect((await compare(from, { crypt: to, key })).equal).toBe(true);
  });

  test("by content: a changed byte under an unchanged time is seen", async () => {
    const from = scratch.plant("from", { a: "first", b: "same" });
    const to = scratch.at("to");
    await sync(from, to, { encrypt: { key } });
    const { mtime } = statSync(join(from, "a"));
    const { utimesSync } = await import("node:fs");
    writeFileSync(join(from, "a"), "other");
    utimesSync(join(from, "a"), mtime, mtime);
    utimesSync(join(to, "a"), mtime, mtime);
    const done = await sync(from, to, { encrypt: { key }, by: "content" });
    expect(said(done)).toContain("copied a");
    expect((await compare(from, { crypt: to, key })).equal).toBe(true);
  });

  test("holes become zeros, and a file of one hole is one", async () => {
    const from = scratch.plant("from", { sparse: "begin" });
    truncateSync(join(from, "sparse"), 3 * part + 7);
    writeFileSync(join(from, "hole"), "");
    truncateSync(join(from, "hole"), part);
    const to = scratch.at("to");
    expect(await sync(from, to, { compress: true })).toMatchObject({ errors: 0, copied: 2 });
    expect((await compare(from, `crypt:${to}`)).equal).toBe(true);
    expect(openFile(readFileSync(join(to, "hole"))).content.equals(Buffer.alloc(part))).toBe(true);
  });

  test("Sync forms, stores in memory, single files and reading at an offset", async () => {
    const from = scratch.plant("from", tree);
    const memory: Location = { crypt: "memory:crypt-test", compress: 3, key };
    expect(copySync(from, memory)).toMatchObject({ copied: 8, errors: 0 });
    await using store = new Store(memory);
    const { length } = tree["d/e/three parts"];
    for (const [start, end] of [
      [0, 3],
      [part - 2, part + 2],
      [2 * part, length],
      [length, length],
    ] as const) {
      const bytes = await new Response(store.read("d/e/three parts", { start, end })).bytes();
      expect(Buffer.compare(bytes, tree["d/e/three parts"].subarray(start, end))).toBe(0);
    }
    await store.write("written", "by hand");
    expect(await new Response(store.read("written")).text()).toBe("by hand");
    const file = scratch.at("single");
    await copy(join(from, "words"), file, { encrypt: { key } });
    expect(openFile(readFileSync(file), { key }).content.equals(tree.words)).toBe(true);
    await copy({ crypt: file, key }, scratch.at("single back"));
    expect(readFileSync(scratch.at("single back")).equals(tree.words)).toBe(true);
  });
});

describe("29: one byte that is not right", () => {
  /** A tree of copies of one file, each damaged in its own way; gives what copying it back says. */
  async function damaged(
    file: Buffer,
    secret: Encryption,
    damages: readonly (readonly [name: string, bytes: Uint8Array])[],
  ): Promise<Map<string, string>> {
    const place = scratch.at(`damaged-${Math.random()}`);
    mkdirSync(place);
    for (const [name, bytes] of damages) writeFileSync(join(place, name), bytes);
    writeFileSync(join(place, "good"), file);
    const back = scratch.at(`back-${Math.random()}`);
    const done = await copy({ crypt: place, ...secret }, back, { fsync: false });
    const errors = new Map(
      done.actions.flatMap((action) =>
        action.kind === "error" ? [[action.path, action.error.code] as const] : [],
      ),
    );
    expect(readdirSync(back)).toEqual(["good"]);
    return errors;
  }

  const kinds = [
    ["encrypted", { key }, false],
    ["compressed and encrypted", { key }, true],
    ["only compressed", {}, true],
  ] as const;

  test.each(kinds)(
    "%s: every byte flipped and every length cut fails, and nothing is written",
    async (_, secret, compresses) => {
      const content = compresses ? text(300) : Buffer.from("some content of a small file");
      const file = makeFile(content, secret, compresses);
      // One bit of each byte, or with COPSE_LONG every bit.
      const step = isLong ? 1 : 9;
      const flips = Array.from({ length: Math.ceil((file.length * 8) / step) }, (_, i) => {
        const bit = i * step;
        const bytes = Buffer.from(file);
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        return [`flip ${bit}`, bytes] as const;
      });
      const cuts = Array.from(
        { length: file.length },
        (_, length) => [`cut ${length}`, file.subarray(0, length)] as const,
      );
      const more = [["one more", Buffer.concat([file, Buffer.alloc(1)])]] as const;
      const errors = await damaged(file, secret, [...flips, ...cuts, ...more]);
      expect(errors.size).toBe(flips.length + cuts.length + 1);
      expect([...new Set(errors.values())]).toEqual(["CORRUPT"]);
    },
  );

  test.each(pairs.slice(1))(
    "%s: parts swapped, repeated, removed, cut at an edge, or of another file",
    async (_, stages, secret) => {
      const from = scratch.plant("from", { a: noise(3 * part, 5), b: noise(3 * part, 6) });
      const to = scratch.at("to");
      await sync(from, to, stages);
      const [a, b] = [readFileSync(join(to, "a")), readFileSync(join(to, "b"))];
      expect(openFile(a, secret).parts).toBe(3);
      const size = a.readUInt32LE(a.length - 64 - 12) % 2 ** 31; // all three are of one size
      const cut = (file: Buffer): Buffer[] => [
        file.subarray(0, 128),
        ...[0, 1, 2].map((i) => file.subarray(128 + i * size, 128 + (i + 1) * size)),
        file.subarray(128 + 3 * size),
      ];
      const [head, one, two, three, end] = cut(a) as [Buffer, Buffer, Buffer, Buffer, Buffer];
      const others = cut(b) as [Buffer, Buffer, Buffer, Buffer, Buffer];
      const errors = await damaged(a, secret, [
        ["swapped", Buffer.concat([head, two, one, three, end])],
        ["last first", Buffer.concat([head, three, two, one, end])],
        ["repeated", Buffer.concat([head, one, one, three, end])],
        ["removed", Buffer.concat([head, one, three, end])],
        ["cut at an edge", Buffer.concat([head, one, two])],
        ["cut at an edge, with its end", Buffer.concat([head, one, two, end])],
        ["one more", Buffer.concat([head, one, two, three, three, end])],
        ["part of another", Buffer.concat([head, others[1], two, three, end])],
        ["head of another", Buffer.concat([others[0], one, two, three, end])],
        ["end of another", Buffer.concat([head, one, two, three, others[4]])],
        ["not ours", noise(1000)],
        ["nothing", Buffer.alloc(0)],
      ]);
      expect(errors.size).toBe(12);
      expect([...new Set(errors.values())]).toEqual(["CORRUPT"]);
    },
  );

  test("the error says which part, and a reader that came so far gets no byte of it", async () => {
    const from = scratch.plant("from", { a: noise(3 * part) });
    const to = scratch.at("to");
    await sync(from, to, { encrypt: { key } });
    const file = readFileSync(join(to, "a"));
    file[128 + part + 500]! ^= 1;
    writeFileSync(join(to, "a"), file);
    await using store = new Store({ crypt: to, key });
    let got = 0;
    const error = await (async () => {
      for await (const chunk of store.read("a")) got += chunk.length;
    })().catch((error: unknown) => error);
    expect(error).toBeInstanceOf(CopseError);
    expect(error).toMatchObject({ code: "CORRUPT", path: "a" });
    expect((error as CopseError).message).toContain("part 1 ");
    expect(got).toBeLessThanOrEqual(part);
  });

  test("a damaged or foreign file of a destination is replaced by the next run", async () => {
    const from = scratch.plant("from", { a: "first", b: "second", c: "third" });
    const to = scratch.at("to");
    const options: SyncOptions = { encrypt: { key } };
    await sync(from, to, options);
    const file = readFileSync(join(to, "a"));
    file[40]! ^= 1;
    writeFileSync(join(to, "a"), file);
    writeFileSync(join(to, "b"), "second");
    expect(said(await sync(from, to, options)).toSorted()).toEqual(["copied a", "copied b"]);
    expect((await compare(from, { crypt: to, key })).equal).toBe(true);
  });
});

describe("46: file encryption", () => {
  test("what the second writer made is read, with every kind of secret", async () => {
    const place = scratch.at("made");
    mkdirSync(place);
    const contents = [Buffer.alloc(0), Buffer.from("x"), text(900), noise(900)];
    for (const [name, secret] of [
      ["key", { key }],
      ["passphrase", { passphrase: "naïve 🌳" }],
      ["none", {}],
    ] as const) {
      for (const [i, content] of contents.entries())
        for (const compresses of [false, true])
          writeFileSync(join(place, `${i} ${compresses}`), makeFile(content, secret, compresses));
      const found = await copy({ crypt: place, ...secret }, scratch.at(name));
      expect(found).toMatchObject({ copied: 8, errors: 0 });
      for (const [i, content] of contents.entries())
        for (const compresses of [false, true])
          expect(readFileSync(scratch.at(name, `${i} ${compresses}`)).equals(content)).toBe(true);
    }
  });

  test("files that an earlier version wrote are read", async () => {
    const read = async (name: string, secret: Encryption): Promise<string> => {
      await using store = new Store({ crypt: fixtures, ...secret });
      return await new Response(store.read(name)).text();
    };
    const content = "a file of the first version\n".repeat(40);
    expect(await read("compressed", {})).toBe(content);
    expect(await read("encrypted", { key })).toBe(content);
    expect(await read("both", { key })).toBe(content);
    expect(await read("passphrase", { passphrase: "correct horse" })).toBe(content);
    expect(openFile(readFileSync(join(fixtures, "both")), { key }).content.toString()).toBe(
      content,
    );
  });

  test("a passphrase: one salt for all that is written, also by later runs; scrypt as documented", async () => {
    const from = scratch.plant("from", { a: "first", b: "second" });
    const to = scratch.at("to");
    const passphraseFile = scratch.at("phrase");
    writeFileSync(passphraseFile, "correct horse\nnot this line\n");
    const options: SyncOptions = { encrypt: { passphraseFile } };
    await sync(from, to, options);
    writeFileSync(join(from, "c"), "third");
    await sync(from, to, options);
    const heads = ["a", "b", "c"].map((name) => readFileSync(join(to, name)).subarray(0, 128));
    expect(new Set(heads.map((head) => head.subarray(19, 22).toString("hex")))).toEqual(
      new Set(["100802"]),
    );
    expect(new Set(heads.map((head) => head.subarray(64, 80).toString("hex"))).size).toBe(1);
    expect(new Set(heads.map((head) => head.subarray(32, 64).toString("hex"))).size).toBe(3);
    const opened = openFile(readFileSync(join(to, "c")), { passphrase: "correct horse" });
    expect(opened.content.toString()).toBe("third");
  });

  test("another key, none, or one too many", async () => {
    const from = scratch.plant("from", { a: "first" });
    const to = scratch.at("to");
    await sync(from, to, { encrypt: { key } });
    const codes = async (place: Location): Promise<string[]> =>
      said(await copy(place, scratch.at("never")));
    expect(await codes({ crypt: to, key: otherKey })).toEqual(["error a AUTH"]);
    expect(await codes({ crypt: to, passphrase: "x" })).toEqual(["error a AUTH"]);
    expect(await codes(`crypt:${to}`)).toEqual(["error a AUTH"]);
    // Whoever put a file there that is not encrypted did not have the key.
    await sync(from, scratch.at("open"), { compress: true });
    expect(await codes({ crypt: scratch.at("open"), key })).toEqual(["error a CORRUPT"]);
    expect(existsSync(scratch.at("never", "a"))).toBe(false);
    const several = { crypt: to, key, passphrase: "x" };
    expect(() => parseLocation(several)).toThrow("takes one of key, keyFile");
  });

  test("nothing is put beside files of another key", async () => {
    const from = scratch.plant("from", { a: "first" });
    const to = scratch.at("to");
    await sync(from, to, { encrypt: { key } });
    const before = shape(to);
    writeFileSync(join(from, "b"), "second");
    for (const encrypt of [{ key: otherKey }, { passphrase: "x" }]) {
      const done = await sync(from, to, { encrypt, concurrency: 1 });
      expect(said(done)).toContain("error a AUTH");
      expect(done.copied).toBe(0);
      expect(shape(to)).toEqual(before);
    }
  });

  test("a stranger's file cannot ask for more memory or time than there is", async () => {
    const place = scratch.at("hostile");
    mkdirSync(place);
    const file = makeFile(Buffer.from("x"), { passphrase: "x" }, false);
    // n, r, p: 2^30; 2^20 with r 8 (a GiB); r and p of 255; none at all.
    for (const [i, [n, r, p]] of [
      [30, 8, 1],
      [20, 8, 1],
      [16, 255, 255],
      [10, 0, 1],
      [16, 8, 0],
    ].entries()) {
      const bytes = Buffer.from(file);
      bytes.set([n!, r!, p!], 19);
      writeFileSync(join(place, String(i)), withRightCheck(bytes));
    }
    const done = await copy({ crypt: place, passphrase: "x" }, scratch.at("never"));
    expect(said(done)).toEqual([0, 1, 2, 3, 4].map((i) => `error ${i} LIMIT`));
  });

  test("a large file that is interrupted begins anew, under another key, and leaves nothing", async () => {
    const from = scratch.at("large");
    const to = scratch.at("sealed");
    const content = noise(20 * 2 ** 20);
    writeFileSync(from, content);
    const plain = scratch.at("plain");
    // What a plain copy leaves, so that the next one goes on, would be half a file of a used key.
    for (const [place, stages, left] of [
      [plain, {}, 1],
      [to, { encrypt: { key } }, 0],
      [to, { compress: 1 }, 0],
    ] as const) {
      mkdirSync(place, { recursive: true });
      const stop = new AbortController();
      // A plain copy says that a part of it is there.
      const onProgress = ({ bytes }: { bytes: number }): void => {
        if (bytes > 0) stop.abort();
      };
      const options = { ...stages, onProgress, signal: stop.signal, bandwidth: 8 * 2 ** 20 };
      const task = copy(from, join(place, "large"), options);
      if (left === 0) setTimeout(() => stop.abort(), 1500);
      expect(await task.catch(() => "stopped")).toBe("stopped");
      while (readdirSync(place).length !== left) await Bun.sleep(5);
    }
    const salts = new Set<string>();
    for (let round = 0; round < 2; round++) {
      const done = await copy(from, join(to, "large"), { encrypt: { key } });
      expect(done).toMatchObject({ copied: 1, resumed: 0, errors: 0 });
      salts.add(readFileSync(join(to, "large")).toString("hex", 32, 64));
      expect((await compare(from, { crypt: join(to, "large"), key })).equal).toBe(true);
      rmSync(join(to, "large"));
    }
    expect(salts.size).toBe(2);
  });

  test("a large file is decrypted by several workers, all of it the file that was opened", async () => {
    const content = Buffer.concat([noise(9 * 2 ** 20, 7), text(9 * 2 ** 20), noise(part + 5)]);
    const other = noise(content.length, 8);
    const [one, two] = [content, other].map((bytes, i) => {
      writeFileSync(scratch.at(`plain-${i}`), bytes);
      const to = scratch.at(`sealed-${i}`);
      copySync(scratch.at(`plain-${i}`), to, { compress: 1, encrypt: { key } });
      return to;
    }) as [string, string];
    const out = scratch.at("out");
    const isContent = (): boolean => readFileSync(out).equals(content);
    for (const ioWorkers of [1, 2, 6]) {
      await using runtime = new Runtime({ ioWorkers });
      const done = await copy({ crypt: one, key }, out, { runtime });
      expect([done.errors, done.transferred, isContent()]).toEqual([0, content.length, true]);
      rmSync(out);
    }
    const damaged = readFileSync(one);
    damaged[damaged.length >> 1]! ^= 1;
    writeFileSync(scratch.at("damaged"), damaged);
    const broken = await copy({ crypt: scratch.at("damaged"), key }, scratch.at("broken"));
    expect(said(broken)).toEqual(["error  CORRUPT"]);
    expect(existsSync(scratch.at("broken"))).toBe(false);
    // Whoever joins when the name means another file already does not bring parts of that.
    await using runtime = new Runtime({ ioWorkers: 2 });
    writeFileSync(scratch.at("small"), "x");
    const slow = copy({ crypt: `fault:delay=10:${one}`, key }, out, { runtime });
    const beside = copy(`fault:delay=200:${scratch.at("small")}`, scratch.at("x"), { runtime });
    await Bun.sleep(100);
    renameSync(two, one);
    expect(await beside).toMatchObject({ copied: 1 });
    expect([(await slow).copied, isContent()]).toEqual([1, true]);
  });

  test("parts of files are in the runtime's account of memory, whatever a file asks for", async () => {
    const place = scratch.at("account");
    mkdirSync(place);
    for (const log of [18, 24])
      writeFileSync(join(place, String(log)), makeFile(Buffer.from("x"), { key }, false, log));
    await using runtime = new Runtime({ memory: 24 * 2 ** 20, ioWorkers: 1 });
    const readBoth = async (): Promise<readonly string[]> =>
      said(await copy({ crypt: place, key }, scratch.at("out"), { runtime }));
    await readBoth();
    const before = runtime.stats.memory;
    for (let round = 0; round < 5; round++) expect(await readBoth()).toEqual(["error 24 LIMIT"]);
    // A worker may have it a moment longer than whoever waits for the task.
    for (let i = 0; i < 1000 && runtime.stats.memory > before; i++) await Bun.sleep(10);
    expect(runtime.stats.memory).toBeLessThanOrEqual(before);
    expect(readFileSync(scratch.at("out", "18"), "utf8")).toBe("x");
    await using large = new Runtime({ memory: 128 * 2 ** 20, ioWorkers: 1 });
    const done = await copy({ crypt: place, key }, scratch.at("all"), { runtime: large });
    expect(done).toMatchObject({ copied: 2, errors: 0 });
  });

  test("key files of another length, that are missing, and directories", async () => {
    const from = scratch.plant("from", { a: "first", short: "x", long: "x".repeat(33), empty: "" });
    const code = async (encrypt: Encryption): Promise<string> => {
      const done = await copy(join(from, "a"), scratch.at("to"), { encrypt }).catch(
        (error: CopseError) => error,
      );
      const [action] = done instanceof CopseError ? [] : done.actions;
      const error =
        done instanceof CopseError ? done : action?.kind === "error" ? action.error : undefined;
      expect(error!.message).toMatch(/key file|passphrase file/);
      return error!.code;
    };
    expect(await code({ keyFile: join(from, "short") })).toBe("ARGUMENT");
    expect(await code({ keyFile: join(from, "long") })).toBe("ARGUMENT");
    expect(await code({ passphraseFile: join(from, "empty") })).toBe("ARGUMENT");
    expect(await code({ keyFile: join(from, "missing") })).toBe("NOT_FOUND");
    expect(existsSync(scratch.at("to"))).toBe(false);
  });

  test("a tree is never written over itself", async () => {
    const from = scratch.plant("from", { a: "first", "d/b": "second" });
    const before = shape(from);
    expect(await codeOf(sync(from, from, { encrypt: { key } }).then())).toBe("ARGUMENT");
    const done = await copy(from, from, { encrypt: { key } });
    expect(said(done).toSorted()).toEqual(["error a ARGUMENT", "error d/b ARGUMENT"]);
    const back = await copy({ crypt: from, key }, from);
    expect(back.copied).toBe(0);
    expect(shape(from)).toEqual(before);
  });

  test("what is kept of a destination is encrypted like it", async () => {
    const from = scratch.plant("from", { a: "first" });
    const to = scratch.at("to");
    const options: SyncOptions = { encrypt: { key }, backupDir: scratch.at("kept") };
    await sync(from, to, options);
    writeFileSync(join(from, "a"), "the second");
    await sync(from, to, options);
    expect(openFile(readFileSync(scratch.at("kept", "a")), { key }).content.toString()).toBe(
      "first",
    );
  });

  test("a plan holds no key, and is applied with one", async () => {
    const from = scratch.plant("from", { a: "first" });
    const to = scratch.at("to");
    const plan = await sync(from, to, { encrypt: { key }, dryRun: true });
    expect(plan.plan?.to).toBe(`crypt:${to}`);
    expect(JSON.stringify(plan)).not.toContain(Buffer.from(key).toString("base64"));
    expect(() => apply(plan)).toThrow("a plan holds no keys");
    expect(await apply(plan, { to: { crypt: to, key } })).toMatchObject({ copied: 1, errors: 0 });
    expect(openFile(readFileSync(join(to, "a")), { key }).content.toString()).toBe("first");
  });

  test("secrets are shown by nothing", async () => {
    const passphrase = "canary-passphrase";
    const place = parseLocation({ crypt: scratch.at("nowhere"), passphrase });
    const keyed = parseLocation({
      crypt: scratch.at("nowhere"),
      key: Buffer.from("canary-key-canary-key-canary-key"),
    });
    const failed = await copy({ crypt: scratch.at("nowhere"), passphrase }, scratch.at("to")).catch(
      (error: unknown) => error,
    );
    for (const shown of [place, keyed, failed])
      expect(`${inspect(shown, { depth: 9 })}${JSON.stringify(shown)}`).not.toMatch(
        /canary|99,\s*97,\s*110/,
      );
    expect(() => parseLocation({ crypt: "x", key: Buffer.from("canary") })).toThrow(
      /^location.key must be a Uint8Array of 32 bytes$/,
    );
  });
});

test("29: a web server gives back what was put there, with ranges and without", async () => {
  if (nginxMissing) return console.log(`skipped: ${nginxMissing}`);
  using server = await startNginx();
  await using runtime = new Runtime(); // its connections end with it
  const from = scratch.plant("from", tree);
  const encrypt = { key };
  await sync(from, join(server.root, "vault"), { compress: true, encrypt });
  for (const url of [server.http, server.plain]) {
    const place: Location = { crypt: `${url}/vault/`, key };
    expect((await compare(from, place, { runtime })).equal).toBe(true);
    const back = scratch.at(`back-${url === server.http}`);
    expect(await copy(place, back, { runtime })).toMatchObject({ copied: 8, errors: 0 });
    expect(shape(back)).toEqual(shape(from));
  }
});

describe("options", () => {
  const wrong: readonly [SyncOptions, string][] = [
    [{ compress: 0 }, "compress must be true, false or a level from 1 to 22, not 0"],
    [{ compress: 23 }, "compress must be true"],
    [{ encrypt: {} }, "encrypt needs one of key, keyFile, passphrase, passphraseFile"],
    [{ encrypt: { key: new Uint8Array(31) } }, "encrypt.key must be a Uint8Array of 32 bytes"],
    [{ encrypt: { passphrase: "" } }, "encrypt.passphrase must be a string of 1 to 1024 bytes"],
    [{ encrypt: { keyFile: "" } }, "encrypt.keyFile must be a path"],
    [{ encrypt: { secret: "x" } as Encryption }, 'encrypt has no field "secret"'],
  ];
  test.each(wrong)("%#: what is wrong is said", (options, sentence) => {
    expect(() => sync("a", "b", options)).toThrow(sentence);
  });

  test("a crypt location says for itself how it is written, and must", async () => {
    expect(() => sync("a", "crypt:b", { compress: true })).toThrow("is said by the crypt location");
    const from = scratch.plant("from", { a: "first" });
    const done = await copy(from, `crypt:${scratch.at("to")}`);
    expect(said(done)).toEqual(["error a ARGUMENT"]);
  });
});
