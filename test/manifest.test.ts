// A manifest: what it says, what other programs read of it, and what it is worth on one side of a
// comparison.

import { afterAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compare,
  compareSync,
  CopseError,
  formatManifest,
  list,
  manifest,
  manifestSync,
  Store,
  type Difference,
  type ManifestFormat,
} from "../lib/index.ts";
import { main } from "./command.ts";
import { fact } from "./ways.ts";

const base = mkdtempSync(join(tmpdir(), "copse-manifest-"));
afterAll(() => rmSync(base, { recursive: true, force: true }));
let trees = 0;

function folder(files: Readonly<Record<string, string | Buffer>>): string {
  const root = join(base, `tree-${++trees}`);
  mkdirSync(root);
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(root, path, ".."), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

const files = {
  a: "alpha",
  "a.txt": "beta",
  "d/e/f": "deep",
  "d/e.txt": "beside",
  "d/empty": "",
  "back\\slash": "odd",
  "line\nbreak": "odder",
  "carriage\rreturn": "oddest",
  "space  two": "s",
  "-dash": "d",
  "ü€😀": "wide",
};

async function errorOf(task: PromiseLike<unknown>): Promise<unknown> {
  try {
    return await task;
  } catch (error) {
    return error;
  }
}

function facts(rows: readonly Difference[]): string[] {
  return rows.map(fact);
}

async function written(root: string, format: ManifestFormat): Promise<string> {
  const algorithm = format === "sha256" ? "sha256" : "blake3";
  const path = join(base, `list-${++trees}.${format}`);
  await Bun.write(path, formatManifest(await manifest(root, { algorithm }), format));
  return path;
}

describe("what a manifest says", () => {
  test("hashes are those of the named algorithm, of small and large files", async () => {
    const large = Buffer.alloc(3_000_001, "copse");
    const root = folder({ small: "abc", large, none: "" });
    const hashes = (found: Awaited<ReturnType<typeof manifest>>) =>
      Object.fromEntries(found.map(({ path, hash }) => [path, hash]));
    const sha256 = (data: string | Buffer) =>
      new Bun.CryptoHasher("sha256").update(data).digest("hex");
    const found = await manifest(root, { algorithm: "sha256" });
    expect(hashes(found)).toEqual({ small: sha256("abc"), large: sha256(large), none: sha256("") });
    expect(found.algorithm).toBe("sha256");
    expect(hashes(manifestSync(root))["small"]).toBe(
      "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
    );
    expect(found.files).toBe(3);
    expect(found.bytes).toBe(3_000_004);
  });

  test("sha256sum checks the list, whatever the names are", async () => {
    const root = folder(files);
    const path = await written(root, "sha256");
    const checked = spawnSync("sha256sum", ["--check", "--strict", "--quiet", path], { cwd: root });
    expect(checked.stderr.toString() + checked.stdout.toString()).toBe("");
    expect(checked.status).toBe(0);
  });

  test("what sha256sum writes is what we write", async () => {
    const { "carriage\rreturn": _, ...plain } = files; // older ones do not escape it
    const root = folder(plain);
    const names = Object.keys(plain).toSorted((l, r) =>
      Buffer.compare(Buffer.from(l), Buffer.from(r)),
    );
    const theirs = spawnSync("sha256sum", ["--", ...names], { cwd: root });
    const ours = formatManifest(await manifest(root, { algorithm: "sha256" }), "sha256");
    expect(Buffer.from(ours).toString()).toBe(theirs.stdout.toString());
  });

  test("a format wants its own algorithm", () => {
    const found = manifestSync(folder({ a: "1" }));
    expect(() => formatManifest(found, "sha256")).toThrow('wants algorithm: "sha256"');
    expect(() => formatManifest(found, "md5" as ManifestFormat)).toThrow("must be one of");
    expect(() => manifestSync(".", { algorithm: "md5" as "blake3" })).toThrow("must be one of");
  });
});

describe("a manifest on one side of a comparison", () => {
  test.each(["jsonl", "sha256", "b3sum"] as const)(
    "%s: the tree it was made of is equal",
    async (format) => {
      const root = folder(files);
      const path = await written(root, format);
      for (const pair of [
        [root, `manifest:${path}`],
        [`manifest:${path}`, root],
        [`manifest:${path}`, `manifest:${path}`],
      ] as const) {
        const { equal, complete, differences } = await compare(pair[0], pair[1]);
        expect({ equal, complete, facts: facts(differences) }).toEqual({
          equal: true,
          complete: true,
          facts: [],
        });
        expect(compareSync(pair[0], pair[1], { by: "hash" }).equal).toBe(true);
      }
    },
  );

  test("every kind of difference has its row", async () => {
    const root = folder({ same: "s", size: "long", content: "abc", gone: "g", "d/x": "1" });
    const path = await written(root, "jsonl");
    writeFileSync(join(root, "size"), "longer");
    writeFileSync(join(root, "content"), "abd");
    rmSync(join(root, "gone"));
    writeFileSync(join(root, "new"), "n");
    rmSync(join(root, "d/x"));
    mkdirSync(join(root, "d/x"));
    const { differences, equal } = await compare(`manifest:${path}`, root);
    expect(equal).toBe(false);
    expect(facts(differences)).toEqual([
      "differs content content",
      "differs type d/x",
      "only-left file gone",
      "only-right file new",
      "differs size size",
    ]);
    const content = differences.find((row) => row.path === "content");
    expect(content).toMatchObject({ left: { hash: expect.any(String) } });
  });

  test("links and empty directories are in JSON lines, and one-sided against a list", async () => {
    const root = folder({ f: "1" });
    mkdirSync(join(root, "empty"));
    symlinkSync("f", join(root, "link"));
    expect((await compare(root, `manifest:${await written(root, "jsonl")}`)).equal).toBe(true);
    const against = await compare(root, `manifest:${await written(root, "sha256")}`);
    expect(facts(against.differences)).toEqual([
      "only-left directory empty",
      "only-left link link",
    ]);
  });

  test("a moved file is found by its hash", async () => {
    const root = folder({ old: "moved content", kept: "k" });
    const path = await written(root, "sha256");
    writeFileSync(join(root, "new"), "moved content");
    rmSync(join(root, "old"));
    const { differences } = await compare(`manifest:${path}`, root, { moves: true });
    expect(facts(differences).toSorted()).toEqual(["only-left file old", "only-right file new"]);
    const sized = await compare(
      `manifest:${await written(root, "jsonl")}`,
      folder({ kept: "k", other: "moved content" }),
      {
        moves: true,
      },
    );
    expect(facts(sized.differences)).toEqual(["moved new to other"]);
  });

  test("names that are not UTF-8 come back as they were", async () => {
    const root = folder({});
    const name = Buffer.from([0x66, 0xff, 0xfe]);
    writeFileSync(Buffer.concat([Buffer.from(`${root}/`), name]), "bytes");
    for (const format of ["jsonl", "sha256"] as const)
      expect((await compare(root, `manifest:${await written(root, format)}`)).equal).toBe(true);
  });

  test("the list may lie in any store", async () => {
    const root = folder({ a: "1" });
    await using store = new Store("memory:manifests");
    await store.write("list.jsonl", formatManifest(await manifest(root)));
    expect((await compare(root, "manifest:memory:manifests/list.jsonl")).equal).toBe(true);
  });

  test("it can be listed, and has no content and no times", async () => {
    const root = folder({ "a/b": "1", "a/c": "22" });
    const location = `manifest:${await written(root, "jsonl")}`;
    const found = await list(location, { stat: true });
    expect(found.map(({ path, type, size }) => `${type} ${size} ${path}`)).toEqual([
      "directory 0 a",
      "file 1 a/b",
      "file 2 a/c",
    ]);
    expect(await errorOf(compare(root, location, { by: "stat" }))).toMatchObject({
      code: "UNSUPPORTED",
    });
    expect(await errorOf(compare(root, location, { metadata: ["mode"] }))).toMatchObject({
      code: "UNSUPPORTED",
    });
    await using store = new Store(location);
    expect(await errorOf(new Response(store.read("a/b")).text())).toMatchObject({
      code: "UNSUPPORTED",
    });
  });
});

describe("what could not be checked is never equal", () => {
  const hash = "0".repeat(64);
  const row = (fields: object) => `${JSON.stringify(fields)}\n`;
  const good = row({ path: "a", size: 1, hash });

  test.each([
    ["a cut line", good.slice(0, -2), "CORRUPT"],
    ["a cut last line", good + '{"path":"b","hash":"', "CORRUPT"],
    ["a short hash", row({ path: "a", hash: "00" }), "CORRUPT"],
    ["no hash", row({ path: "a", size: 1 }), "CORRUPT"],
    ["no path", row({ hash }), "CORRUPT"],
    ["a path twice", good + good, "CORRUPT"],
    ["a file that is a directory", good + row({ path: "a/b", hash }), "CORRUPT"],
    ["two algorithms", good + row({ path: "b", hash, algorithm: "sha256" }), "CORRUPT"],
    ["an unknown algorithm", row({ path: "a", hash, algorithm: "md5" }), "CORRUPT"],
    ["a negative size", row({ path: "a", size: -1, hash }), "CORRUPT"],
    ["a nested value", row({ path: "a", hash, x: [] }), "CORRUPT"],
    ["a lone surrogate", `{"path":"\\ud800","hash":"${hash}"}\n`, "CORRUPT"],
    ["an error row", row({ kind: "error", path: "x" }), "CORRUPT"],
    ["an incomplete one", good + row({ kind: "summary", entries: 1, complete: false }), "CORRUPT"],
    ["a line missing", row({ kind: "summary", entries: 1, complete: true }), "CORRUPT"],
    [
      "more after the summary",
      row({ kind: "summary", entries: 0, complete: true }) + good,
      "CORRUPT",
    ],
    ["a list with a word", "sha256 of a file\n", "CORRUPT"],
    ["a list with a bad escape", `\\${hash}  a\\x\n`, "CORRUPT"],
    ["a path that climbs", `${hash}  ../a\n`, "UNSAFE_PATH"],
    ["an absolute path", row({ path: "/etc/passwd", hash }), "UNSAFE_PATH"],
  ])("%s", async (_, text, code) => {
    const path = join(base, `bad-${++trees}`);
    writeFileSync(path, text);
    const root = folder({});
    for (const pair of [
      [root, `manifest:${path}`],
      [`manifest:${path}`, `manifest:${path}`],
    ] as const)
      expect(await errorOf(compare(pair[0], pair[1]))).toMatchObject({ code });
  });

  test("two manifests of different algorithms are an error for each file", async () => {
    const root = folder({ a: "1" });
    const left = await written(root, "sha256");
    const right = await written(root, "b3sum");
    const result = await compare(`manifest:${left}`, `manifest:${right}`);
    expect(result).toMatchObject({ equal: false, complete: false, errors: 1 });
    expect(facts(result.differences)).toEqual(["error UNSUPPORTED a"]);
  });

  test("a file that cannot be read makes a manifest that is refused", async () => {
    const root = folder({ a: "1", b: "2" });
    const found = await manifest(`fault:read=2:${root}`);
    expect(found.complete).toBe(false);
    expect(found.errors).toHaveLength(1);
    const path = join(base, "incomplete.jsonl");
    writeFileSync(path, formatManifest(found));
    expect(await errorOf(compare(root, `manifest:${path}`))).toMatchObject({
      message: expect.stringContaining("not everything was seen"),
    });
  });

  test("a location of another shape is refused", () => {
    expect(() => compareSync(".", { manifest: "x", algorithm: "md5" as "sha256" })).toThrow(
      CopseError,
    );
    expect(() => compareSync(".", { manifest: "x", other: 1 } as never)).toThrow("has no field");
  });
});

test("the command writes what it can compare with, and says when it could not see all", async () => {
  const copse = async (...args: string[]): Promise<{ status: number; out: string }> => {
    const ran = Bun.spawn([process.execPath, main, ...args], { stdout: "pipe", stderr: "ignore" });
    return { out: await new Response(ran.stdout).text(), status: await ran.exited };
  };
  const root = folder({ a: "1", b: "2" });
  const written = await copse("manifest", root, "--format", "sha256");
  expect(written.status).toBe(0);
  const path = join(base, "SUMS");
  writeFileSync(path, written.out);
  expect((await copse("compare", root, `manifest:${path}`, "-q")).status).toBe(0);
  writeFileSync(join(root, "a"), "x");
  expect((await copse("compare", root, `manifest:${path}`, "-q")).status).toBe(1);
  expect((await copse("manifest", `fault:read=2:${root}`)).status).toBe(2);
  expect((await copse("compare-all", root, root, "-q")).status).toBe(0);
  expect((await copse("compare-all", root, `${root}/a`, "-q")).status).toBe(1);
  const cache = join(base, "command-cache");
  expect((await copse("compare", root, root, `--cache=${cache}`)).status).toBe(0);
});
