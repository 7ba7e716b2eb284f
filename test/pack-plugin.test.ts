// Plugins look into files while a pack is made, and what they find is in columns of its index, as the
// original has them. COPSE_PYTHON names a Python with pyarrow, COPSE_ZNIPPY the original: each is asked
// when it is there.

import { afterAll, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  compareSync,
  copySync,
  CopseError,
  list,
  listSync,
  pack,
  packSync,
  repairSync,
  Runtime,
  verifySync,
} from "../lib/index.ts";
import type { PackPlugin, PluginFields } from "../lib/index.ts";
import maven from "../examples/plugins/maven.ts";
import npm from "../examples/plugins/npm.ts";
import { gzip, tarOf, zipOf } from "./archives.ts";
import { commandPlace } from "./command.ts";
import { samples } from "./packs.ts";
import { Random, Scratch } from "./trees.ts";
import { codeOfSync, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const python = process.env["COPSE_PYTHON"] ?? "";
const znippy = process.env["COPSE_ZNIPPY"] ?? "";
let number = 0;
let file = "";
beforeEach(() => {
  file = scratch.at(`${++number}.znippy`);
});

/** What an independent reader finds in the columns of the index, by path. */
function columnsOf(pack: string): Record<string, Record<string, unknown>> {
  const program = `
import json, struct, sys
import pyarrow.ipc
data = open(sys.argv[1], "rb").read()
(at,) = struct.unpack("<Q", data[-8:])
found = {}
for group in pyarrow.ipc.open_stream(data[at:-16]).read_all().to_pylist():
    table = pyarrow.ipc.open_stream(data[group["index_offset"]:group["index_offset"] + group["index_len"]]).read_all()
    names = [name for name in table.column_names[8:] if not name.startswith("copse_")]
    for row in table.to_pylist():
        found[row["relative_path"]] = {"manifest": group["pkg_type"], **{name: row[name] for name in names}}
print(json.dumps(found))`;
  const { exitCode, stdout, stderr } = Bun.spawnSync([python, "-c", program, pack]);
  expect([exitCode, stderr.toString()]).toEqual([0, ""]);
  return JSON.parse(stdout.toString()) as Record<string, Record<string, unknown>>;
}

/** The same without one: the texts must at least be there. */
function hasTexts(pack: string, texts: readonly string[]): void {
  const bytes = readFileSync(pack);
  for (const text of texts) expect(bytes.includes(Buffer.from(text)), text).toBe(true);
}

const lengths = (typeId: number, ...match: string[]): PackPlugin => ({
  typeId,
  match,
  fields: { name: "utf8", length: "uint32" },
  extract: (path, bytes) => ({ name: `<${path}>`, length: bytes.length }),
});

describe("plugins", () => {
  test("see each file once and whole, from a tree, entries and another pack", async () => {
    const noise = new Random(1).bytes(9_000_000);
    const files = {
      "a/x.bin": noise,
      "a/empty.bin": new Uint8Array(),
      "b/y.bin": new TextEncoder().encode("text ".repeat(40_000)),
      "z.txt": new TextEncoder().encode("not asked for"),
    };
    const root = scratch.plant("whole", files);
    const sources = [
      root,
      Object.entries(files).map(([path, data]) => ({ path, data })),
      `pack:${scratch.at("source.znippy")}`,
    ];
    packSync(root, scratch.at("source.znippy"));
    for (const source of sources) {
      const seen: string[] = [];
      const plugin: PackPlugin = {
        ...lengths(3, "*.bin"),
        extract(path, bytes) {
          seen.push(path);
          expect(Buffer.from(bytes).equals(files[path as keyof typeof files]), path).toBe(true);
          return { name: path };
        },
      };
      for (const work of [
        () => pack(source, file, { plugins: [plugin] }),
        async () => packSync(source, file, { plugins: [plugin] }),
      ]) {
        seen.length = 0;
        expect(await work()).toMatchObject({ errors: 0, copied: 4, complete: true });
        expect(seen.toSorted()).toEqual(["a/empty.bin", "a/x.bin", "b/y.bin"]);
        expect(verifySync(file)).toMatchObject({ ok: true, files: 4 });
        expect(compareSync(root, `pack:${file}`, { by: "content" }).differences).toEqual([]);
      }
    }
  });

  test("several at once: one reading of a file, in their order, with columns of their own", async () => {
    const root = scratch.plant("several", { "a.x": "aaa", "b.y": "bb", "c.z": "c", d: "none" });
    let readings: Uint8Array | undefined;
    const second: PackPlugin = {
      typeId: 9,
      match: ["*.x", "*.y"],
      fields: { name: "utf8", other: "uint32" },
      async extract(path, bytes) {
        await Bun.sleep(1);
        if (path === "a.x") expect(bytes).toBe(readings!);
        return path === "b.y" ? null : { name: "later", other: 4_294_967_295 };
      },
    };
    const first: PackPlugin = {
      ...lengths(2, "*.x", "*.z"),
      extract(path, bytes) {
        if (path === "a.x") readings = bytes;
        return { name: `<${path}>`, length: bytes.length };
      },
    };
    await pack(root, file, { plugins: [first, second] });
    expect(verifySync(file).ok).toBe(true);
    hasTexts(file, ["pkg_type", "name", "length", "other", "<a.x><c.z>"]);
    const listed = await list(`pack:${file}`, { stat: true, columns: true });
    expect(Object.fromEntries(listed.map(({ path, columns }) => [path, columns]))).toEqual({
      "a.x": { pkg_type: 2, name: "<a.x>", length: 3, other: 4_294_967_295 },
      "b.y": undefined,
      "c.z": { pkg_type: 2, name: "<c.z>", length: 1 },
      d: undefined,
    });
    // They are not asked for otherwise, and nothing but a pack has any.
    for (const [place, columns] of [
      [`pack:${file}`, false],
      [root, true],
    ] as const)
      expect(listSync(place, { stat: true, columns }).some((row) => row.columns)).toBe(false);
    expect(() => listSync(root, { columns: true })).toThrow("wants stat");
    if (!python) return;
    expect(columnsOf(file)).toEqual({
      "a.x": { manifest: 0, pkg_type: 2, name: "<a.x>", length: 3, other: 4_294_967_295 },
      "b.y": { manifest: 0, pkg_type: null, name: null, length: null, other: null },
      "c.z": { manifest: 0, pkg_type: 2, name: "<c.z>", length: 1, other: null },
      d: { manifest: 0, pkg_type: null, name: null, length: null, other: null },
    });
  });

  test("of one kind the pack is of that kind; sub-indexes have the same columns", async () => {
    const entries = [
      { path: "a.x", data: "1" },
      { path: "b.x", data: "2", pkgType: 7, repo: "r" },
    ];
    await using runtime = new Runtime();
    await pack(entries, file, { plugins: [lengths(5, "*.x")], runtime });
    expect(runtime.stats.bytesWritten).toBe(2); // content, as of any other copy
    expect(verifySync(file).ok).toBe(true);
    hasTexts(file, ["<a.x>", "<b.x>"]);
    if (!python) return;
    expect(columnsOf(file)).toEqual({
      "a.x": { manifest: 5, pkg_type: 5, name: "<a.x>", length: 1 },
      "b.x": { manifest: 7, pkg_type: 5, name: "<b.x>", length: 1 },
    });
  });

  test("what one throws is an error row about a file that is packed all the same", async () => {
    const root = scratch.plant("throws", { "bad.x": "bad", "good.x": "good", "wrong.x": "wrong" });
    const plugin: PackPlugin = {
      ...lengths(1, "*.x"),
      extract(path, bytes): PluginFields {
        if (path === "bad.x") throw new CopseError("UNSUPPORTED", "no such thing");
        return path === "wrong.x" ? { colour: "red" } : { name: path, length: bytes.length };
      },
    };
    const result = await pack(root, file, { plugins: [plugin] });
    expect(result).toMatchObject({ errors: 2, copied: 3, complete: false });
    expect(result.actions.filter(({ kind }) => kind === "error")).toMatchObject([
      { path: "bad.x", error: { code: "UNSUPPORTED" } },
      { path: "wrong.x", error: { code: "ARGUMENT" } },
    ]);
    expect(verifySync(file)).toMatchObject({ ok: true, files: 3 });
    for (const value of [{ length: -1 }, { length: 2 ** 32 }, { length: "1" }, { name: 1 }])
      expect(packSync(root, file, { plugins: [{ ...plugin, extract: () => value }] }).errors).toBe(
        3,
      );
  });

  test("a worker never waits for one: another pack goes on, and a cancel ends it", async () => {
    const root = scratch.plant("waits", { "a.x": "1" });
    using runtime = new Runtime({ workers: 1, ioWorkers: 1 });
    const gate = Promise.withResolvers<null>();
    let isAsked = false;
    const plugin: PackPlugin = {
      ...lengths(1, "*.x"),
      extract() {
        isAsked = true;
        return gate.promise;
      },
    };
    const work = pack(root, file, { runtime, plugins: [plugin] });
    while (!isAsked) await Bun.sleep(1);
    expect((await pack(root, scratch.at("other.znippy"), { runtime })).errors).toBe(0);
    gate.resolve(null);
    expect((await work).errors).toBe(0);
    const controller = new AbortController();
    const never = { ...plugin, extract: () => new Promise<null>(() => {}) };
    isAsked = false;
    const cut = pack(root, scratch.at("cut.znippy"), {
      runtime,
      plugins: [never],
      signal: controller.signal,
    });
    setTimeout(() => controller.abort("stop"), 20);
    expect(
      await cut.then(
        () => "done",
        (error: unknown) => error,
      ),
    ).toBe("stop");
  });

  test("a Sync form takes no promise, and bad plugins are refused before any work", () => {
    const root = scratch.plant("refused", { "a.x": "1" });
    const good = lengths(1, "*.x");
    const code = (plugin: unknown): string =>
      codeOfSync(() => packSync(root, file, { plugins: [plugin as PackPlugin] }));
    for (const wrong of [
      { ...good, extract: async () => null },
      { ...good, typeId: 128 },
      { ...good, match: "*.x" },
      { ...good, match: ["["] },
      { ...good, extract: 7 },
      { ...good, fields: { a: "float" } },
      { ...good, fields: { blob_size: "uint32" } },
      { ...good, fields: { copse_mode: "uint32" } },
      7,
    ])
      expect(code(wrong)).toBe("ARGUMENT");
    expect(code(good)).toBe("none");
    expect(() =>
      packSync(root, file, { plugins: [good, { ...good, fields: { name: "uint32" } }] }),
    ).toThrow("two kinds");
  });

  test("files of an old pack are looked into, too", () => {
    packSync([{ path: "old.x", data: "old" }], scratch.at("old.znippy"));
    const plugins = [lengths(1, "*.x")];
    packSync([{ path: "new.x", data: "new" }], file, {
      append: scratch.at("old.znippy"),
      plugins,
    });
    hasTexts(file, ["<new.x>", "<old.x>"]);
  });
});

describe("what plugins found stays", () => {
  const formats = ["znippy", "copse"] as const;
  type Columns = Record<string, Record<string, string | number> | undefined>;

  function found(pack: string): Columns {
    const rows = listSync(`pack:${pack}`, { stat: true, columns: true });
    return Object.fromEntries(
      rows.flatMap(({ path, type, columns }) =>
        type === "file" ? [[path, columns && { ...columns }]] : [],
      ),
    );
  }

  /** Of two plugins, over files of several chunks, without any, and without an answer. */
  function first(name: string, format: (typeof formats)[number]): string {
    const plugins: PackPlugin[] = [
      lengths(2, "*.x", "*.z"),
      {
        typeId: 9,
        match: ["*.x", "*.y"],
        fields: { other: "utf8", last: "uint32" },
        extract: (path) =>
          path === "b/none.y" ? null : { other: `ö ${path}`, last: 4_294_967_295 },
      },
    ];
    const root = scratch.plant(`stays-${name}-${format}`, {
      "a/long.x": new Random(3).bytes(9_000_000),
      "a/small.x": "small",
      "a/same.z": "small",
      "b/empty.z": "",
      "b/none.y": "none",
      "b/some.y": "some",
      plain: "plain",
    });
    const file = scratch.at(`stays-${name}.${format}`);
    packSync(root, file, { plugins, format });
    expect(found(file)).toEqual({
      "a/long.x": {
        pkg_type: 2,
        name: "<a/long.x>",
        length: 9_000_000,
        other: "ö a/long.x",
        last: 4_294_967_295,
      },
      "a/small.x": {
        pkg_type: 2,
        name: "<a/small.x>",
        length: 5,
        other: "ö a/small.x",
        last: 4_294_967_295,
      },
      "a/same.z": { pkg_type: 2, name: "<a/same.z>", length: 5 },
      "b/empty.z": { pkg_type: 2, name: "<b/empty.z>", length: 0 },
      "b/none.y": undefined,
      "b/some.y": { pkg_type: 9, other: "ö b/some.y", last: 4_294_967_295 },
      plain: undefined,
    });
    return file;
  }

  test("from pack to pack, in both formats: the same bytes", () => {
    for (const format of formats) {
      const old = first("again", format);
      packSync(`pack:${old}`, file, { format });
      expect(readFileSync(file).equals(readFileSync(old))).toBe(true);
      // By way of the other format, and with a kind of its own, which is not the plugins'.
      const other = scratch.at("stays-other");
      packSync(`pack:${old}`, other, { format: format === "copse" ? "znippy" : "copse" });
      expect(found(other)).toEqual(found(old));
      packSync(`pack:${other}`, file, { format });
      expect(readFileSync(file).equals(readFileSync(old))).toBe(true);
      packSync(`pack:${old}`, other, { format, repo: "own" });
      expect(found(other)).toEqual(found(old));
      copySync(`pack:${old}#b`, `pack:${other}`);
      expect(found(other)).toEqual({
        "empty.z": found(old)["b/empty.z"],
        "none.y": undefined,
        "some.y": found(old)["b/some.y"],
      });
      if (!python || format === "copse") continue;
      packSync(`pack:${old}`, other);
      expect(columnsOf(other)).toEqual(columnsOf(old));
    }
  });

  test("beside what plugins find now, which comes first", () => {
    for (const format of formats) {
      const old = first("now", format);
      const plugin: PackPlugin = {
        typeId: 4,
        match: ["*.x", "*.y"],
        fields: { fresh: "utf8", length: "uint32" },
        extract: (path) => (path === "b/some.y" ? { fresh: "new" } : { length: 1 }),
      };
      packSync(`pack:${old}`, file, { format, plugins: [plugin] });
      const before = found(old);
      expect(found(file)).toEqual({
        ...before,
        "a/long.x": { ...before["a/long.x"], pkg_type: 4, length: 1 },
        "a/small.x": { ...before["a/small.x"], pkg_type: 4, length: 1 },
        "b/none.y": { pkg_type: 4, length: 1 },
        "b/some.y": { ...before["b/some.y"], pkg_type: 4, fresh: "new" },
      });
    }
  });

  test("of files that are appended to; a new one of the same name has none", () => {
    for (const format of formats) {
      const old = first("append", format);
      const entries = [
        { path: "a/small.x", data: "small" },
        { path: "c.w", data: "w" },
      ];
      packSync(entries, file, { format, append: old });
      const { "a/small.x": _, ...before } = found(old);
      expect(found(file)).toEqual({ ...before, "a/small.x": undefined, "c.w": undefined });
      packSync(entries, file, { format, append: old, plugins: [lengths(8, "*.w")] });
      const now = { pkg_type: 8, name: "<c.w>", length: 1 };
      expect(found(file)).toEqual({ ...before, "a/small.x": undefined, "c.w": now });
      expect(verifySync(file).ok).toBe(true);
    }
  });

  test("through repair: from the index, from its copies, from an index without a manifest", () => {
    for (const format of formats) {
      const old = first("repair", format);
      const whole = readFileSync(old);
      const cut = scratch.at("stays-cut");
      const copy = whole.lastIndexOf("COPSE-INDEX-COPY");
      const end = copy + Number(whole.readBigUInt64LE(copy + 24));
      for (const at of [whole.length, whole.length - 1, end + 1, end]) {
        writeFileSync(cut, whole.subarray(0, at));
        expect(repairSync(cut, file, { format }).errors).toBe(0);
        expect(readFileSync(file).equals(whole), `cut at ${at}`).toBe(true);
      }
      // A damaged file is left out, and the others keep theirs.
      const damaged = Buffer.from(whole);
      damaged[Math.floor(whole.length / 2)]! ^= 1;
      writeFileSync(cut, damaged);
      expect(repairSync(cut, file, { format }).errors).toBe(1);
      const { "a/long.x": _, ...others } = found(old);
      expect(found(file)).toEqual(others);
      if (format === "copse") continue; // whose index is in a frame
      const lone = Buffer.from(whole);
      for (
        let at = lone.indexOf("COPSE-INDEX-COPY");
        at >= 0;
        at = lone.indexOf("COPSE-INDEX-COPY")
      )
        lone.write("X", at);
      writeFileSync(cut, lone.subarray(0, -20));
      expect(repairSync(cut, file).recovered).toMatchObject({ kindsLost: true });
      expect(found(file)).toEqual(found(old));
    }
  });

  test("of every kind that others have, in indexes with columns of their own", () => {
    // s1.znippy in two sub-indexes, with such columns, as pyarrow writes them.
    const old = join(samples, "columns.znippy");
    const before = found(old);
    expect(Object.values(before)).toContainEqual({
      pkg_type: 3,
      i8: -2,
      i16: -2000,
      i32: -200_000,
      u8: 253,
      u16: 65_533,
      u32: 4_294_967_293,
      note: "é2",
      mixed: 2,
    });
    expect(Object.values(before)).toContainEqual({ pkg_type: 3, mixed: 3 });
    for (const format of formats) {
      packSync(`pack:${old}`, file, { format });
      expect(found(file)).toEqual(before);
      expect(verifySync(file).ok).toBe(true);
      const cut = scratch.at("stays-others");
      writeFileSync(cut, readFileSync(file).subarray(0, -1));
      expect(repairSync(cut, scratch.at("stays-mended"), { format }).errors).toBe(0);
      expect(readFileSync(scratch.at("stays-mended")).equals(readFileSync(file))).toBe(true);
    }
  });

  test("more columns than an index can have are LIMIT, and nothing stands there", () => {
    const wide = (typeId: number, name: string): PackPlugin => ({
      typeId,
      match: ["*.x"],
      fields: Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`${name}${i}`, "utf8"])),
      extract: () => ({ [`${name}0`]: name }),
    });
    const old = scratch.at("stays-wide");
    packSync([{ path: "a.x", data: "a" }], old, { plugins: [wide(1, "one")] });
    const again = { plugins: [wide(2, "two")] };
    expect(codeOfSync(() => packSync(`pack:${old}`, file, again))).toBe("LIMIT");
    expect(existsSync(file)).toBe(false);
  });
});

describe("the examples: npm packages and Java archives", () => {
  const plugins = [maven, npm] as readonly PackPlugin[];
  const lines = [
    "left.jar org.example:tool:1.2.3",
    "org/example/lib/4.5/lib-4.5.jar org.example:lib:4.5",
    "plain.tgz :left-pad:1.3.0",
    "scoped.tgz types:node:22.0.1",
  ];

  function plant(name: string): string {
    const properties = "groupId=org.example\r\nartifactId=tool\nversion=1.2.3\n";
    const tgz = (name: string, content: string): Uint8Array => gzip(tarOf({ name, content }));
    return scratch.plant(name, {
      "left.jar": zipOf([
        { name: "META-INF/maven/org.example/tool/pom.properties", content: properties },
        { name: "other.txt", content: "text" },
      ]),
      "org/example/lib/4.5/lib-4.5.jar": "PK no zip at all",
      "plain.tgz": tgz("package/package.json", '{"name":"left-pad","version":"1.3.0"}'),
      "scoped.tgz": tgz("node/package.json", '{"name":"@types/node","version":"22.0.1"}'),
      "none.tgz": tgz("readme", "nothing"),
      "readme.md": "text",
    });
  }

  test("group, artifact and version in columns", async () => {
    const root = plant("examples");
    expect(await pack(root, file, { plugins })).toMatchObject({ errors: 0, copied: 6 });
    hasTexts(file, ["group_id", "artifact_id", "version", "org.example", "left-pad", "22.0.1"]);
    for (const format of ["znippy", "copse"] as const) {
      await pack(root, file, { plugins, format });
      const said = (await list(`pack:${file}`, { stat: true, columns: true })).flatMap(
        ({ path, columns: of }) =>
          of ? [`${path} ${of["group_id"]}:${of["artifact_id"]}:${of["version"]}`] : [],
      );
      expect(said.toSorted()).toEqual(lines);
    }
    await pack(root, file, { plugins });
    if (!python) return;
    const found = Object.entries(columnsOf(file))
      .filter(([, row]) => row["pkg_type"] !== null)
      .map(([path, row]) => `${path} ${row["group_id"]}:${row["artifact_id"]}:${row["version"]}`);
    expect(found.toSorted()).toEqual(lines);
  });

  test.skipIf(!znippy)("as the original lists and verifies them", async () => {
    const root = plant("original");
    await pack(root, file, { plugins });
    const again = scratch.at("original-again");
    await pack(`pack:${file}`, again);
    const ask = (...words: string[]): string => Bun.spawnSync([znippy, ...words]).stdout.toString();
    for (const one of [file, again]) {
      const listed = ask("list", one)
        .trimEnd()
        .split("\n")
        .map((line) => line.split("\t"))
        .filter(([, , what]) => what !== undefined)
        .map(([path, , what]) => `${path} ${what}`);
      expect(listed.toSorted()).toEqual(lines);
      expect(ask("verify", one)).toContain("corrupt_files: 0");
    }
  });

  test("copse pack --plugin FILE --repo --package-type", async () => {
    const root = plant("command");
    const { copse } = place;
    const [one, two] = ["maven", "npm"].map((name) =>
      join(import.meta.dir, "..", "examples", "plugins", `${name}.ts`),
    );
    const words = ["pack", root, file, "--plugin", one!, "--plugin", two!, "--repo", "central"];
    const { status, err } = await copse(...words, "--package-type", "4");
    expect([status, err]).toEqual([0, ""]);
    hasTexts(file, ["group_id", "org.example", "left-pad", "central"]);
    const shown = await copse("list", `pack:${file}`, "--columns");
    expect(shown.out).toMatch(/plain\.tgz  pkg_type=\d+ .*artifact_id=left-pad/);
    const rows = await copse("list", `pack:${file}`, "--columns", "--jsonl");
    expect(rows.out).toContain('"artifact_id":"left-pad"');
    for (const wrong of [join(root, "none.ts"), join(root, "readme.md")])
      expect((await copse("pack", root, file, "--plugin", wrong)).status).toBe(2);
  });
});

const place = commandPlace();
