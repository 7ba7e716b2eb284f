// Every function of komparu in its copse form, what is left of its wrong answers (the others are in the
// files of their subject), and docs/api.md's table of it, in which each row names its test.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  compare,
  compareAll,
  compareAllSync,
  compareSync,
  CopseError,
  Runtime,
  type Comparison,
  type HttpLocation,
  type Location,
} from "../lib/index.ts";
import { nginxMissing, startNginx, type Nginx } from "./servers/nginx.ts";
import { answer, startUnruly } from "./servers/unruly.ts";
import { run } from "./trees.ts";
import { fact } from "./ways.ts";

let folder: string;
let nginx: Nginx;

const parameters = [
  "chunk_size",
  "size_precheck",
  "quick_check",
  "headers",
  "timeout",
  "follow_redirects",
  "verify_ssl",
  "proxy",
  "follow_symlinks",
  "max_workers",
  "ignore",
  "max_decompressed_size",
  "max_compression_ratio",
  "max_archive_entries",
  "max_entry_name_length",
  "comparison_timeout",
  "allow_private_redirects",
  "hash_compare",
];

const here = (path: string): string => join(folder, path);
const facts = ({ differences }: Comparison): string[] => differences.map(fact);

function plant(root: string, files: Readonly<Record<string, string | Uint8Array>>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
}

/** Awaited and blocking; they agree. */
async function both(left: Location, right: Location, options = {}): Promise<Comparison> {
  const awaited = await compare(left, right, options);
  const { milliseconds: _, ...blocking } = compareSync(left, right, options);
  expect(awaited).toMatchObject(blocking);
  return awaited;
}

const tree = { "a.txt": "a", "b/c.txt": "c", "b/d.bin": new Uint8Array([0, 255, 10]) };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "copse-komparu-"));
  plant(here("left"), tree);
  plant(here("copy"), tree);
  plant(here("right"), { "a.txt": "A", "b/c.txt": "cc", "e.txt": "e" });
  run("tar", "-czf", here("left.tar.gz"), "-C", here("left"), "a.txt", "b");
  // The same in another format and another order.
  run("tar", "-cf", here("left.tar"), "-C", here("left"), "b/d.bin", "b/c.txt", "a.txt");
  run("tar", "-cJf", here("right.tar.xz"), "-C", here("right"), ".");
  if (nginxMissing) return;
  nginx = await startNginx();
  plant(nginx.root, { ...tree, "right.txt": "A" });
});

afterAll(() => {
  nginx?.[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

describe("compare.md 1.1: komparu's functions", () => {
  test.skipIf(nginxMissing !== undefined)(
    "compare: any kind of source on either side",
    async () => {
      const same: readonly Location[] = [
        here("left/a.txt"),
        `file://${here("copy/a.txt")}`,
        `${nginx.http}/a.txt`,
        { url: `${nginx.https}/a.txt`, ca: nginx.ca },
        `archive:${here("left.tar.gz")}#a.txt`,
      ];
      const other: readonly Location[] = [here("right/a.txt"), `${nginx.http}/right.txt`];
      for (const left of same) {
        for (const right of same)
          expect((await both(left, right, { stopAtFirst: true })).equal).toBe(true);
        for (const right of other) {
          expect((await both(left, right, { stopAtFirst: true })).equal).toBe(false);
          expect((await both(right, left, { stopAtFirst: true })).equal).toBe(false);
        }
      }
    },
  );

  test("compare_dir: files by their paths, and swapping the sides swaps only the sides", async () => {
    const result = await both(here("left"), here("right"));
    expect(result).toMatchObject({ equal: false, complete: true });
    expect(facts(result)).toEqual([
      "differs content@0 a.txt",
      "differs size b/c.txt",
      "only-left file b/d.bin",
      "only-right file e.txt",
    ]);
    expect(facts(await both(here("right"), here("left")))).toEqual([
      "differs content@0 a.txt",
      "differs size b/c.txt",
      "only-right file b/d.bin",
      "only-left file e.txt",
    ]);
    expect((await both(here("left"), here("copy"))).equal).toBe(true);
    for (const concurrency of [1, 2, 7])
      expect(facts(await both(here("left"), here("right"), { concurrency }))).toEqual(
        facts(result),
      );
  });

  test("compare_archive: two formats, any order of entries", async () => {
    const [gzip, plain, xz] = ["left.tar.gz", "left.tar", "right.tar.xz"].map(
      (name) => `archive:${here(name)}`,
    ) as [string, string, string];
    expect((await both(gzip, plain, { emptyDirectories: false })).equal).toBe(true);
    expect(facts(await both(gzip, xz)).map((row) => row.replace(/@0/, ""))).toEqual([
      "differs content a.txt",
      "differs size b/c.txt",
      "only-left file b/d.bin",
      "only-right file e.txt",
    ]);
  });

  test("compare_archive with hash_compare: by digests, which are BLAKE3", async () => {
    const left = `archive:${here("left.tar.gz")}`;
    expect((await both(left, here("copy"), { by: "hash" })).equal).toBe(true);
    const { differences } = await both(left, `archive:${here("right.tar.xz")}`, { by: "hash" });
    expect(differences[0]).toMatchObject({
      kind: "differs",
      path: "a.txt",
      // b3sum of "a".
      left: { hash: "17762fddd969a453925d65717ac3eea21320b66b54342fde15128d6caf21215f" },
    });
  });

  test("an archive against a directory, which komparu does not have", async () => {
    expect((await both(`archive:${here("left.tar.gz")}`, here("copy"))).equal).toBe(true);
    expect((await both(here("left.tar.gz"), here("right"))).equal).toBe(false);
  });

  test("compare_all: whether all are equal", async () => {
    const packed = `archive:${here("left.tar.gz")}`;
    expect((await compareAll([here("left"), here("copy"), packed])).equal).toBe(true);
    expect(compareAllSync([here("left"), here("copy"), here("right")]).equal).toBe(false);
    expect(compareAllSync([])).toMatchObject({ equal: true, groups: [] });
    expect(compareAllSync([here("left")])).toMatchObject({ equal: true, groups: [[0]] });
  });

  test("compare_many: groups of equal ones, by number", async () => {
    const left = here("left");
    const { equal, groups, table } = await compareAll([left, here("right"), here("copy"), left]);
    expect({ equal, groups }).toEqual({ equal: false, groups: [[0, 2, 3], [1]] });
    expect(table[0]).toEqual([true, false, true, true]);
  });

  test.skipIf(nginxMissing !== undefined)(
    "compare_dir_urls: a directory against a table of URLs; one that fails is a row",
    async () => {
      const files = Object.fromEntries(
        Object.keys(tree).map((path) => [path, `${nginx.http}/${path}`]),
      );
      expect((await both(here("left"), { files })).equal).toBe(true);
      const broken = { files: { ...files, "a.txt": `${nginx.http}/nothing` } };
      const result = await both(here("left"), broken);
      expect(result).toMatchObject({ equal: false, complete: false, errors: 1 });
      expect(facts(result)).toEqual(["error NOT_FOUND a.txt"]);
    },
  );

  test("configure, get_config, reset_config: each runtime has its own, and nobody else's change", async () => {
    using one = new Runtime({ defaults: { exclude: ["*.txt"] } });
    using other = new Runtime({ defaults: { exclude: ["*.bin"] } });
    const [left, right] = [here("left"), here("right")];
    expect(facts(await both(left, right, { runtime: one }))).toEqual(["only-left file b/d.bin"]);
    expect(facts(await both(left, right, { runtime: other }))).toHaveLength(3);
    expect(facts(await both(left, right))).toHaveLength(4);
  });

  test.skipIf(nginxMissing !== undefined)(
    "Source: each of its settings counts, and only for it",
    async () => {
      const own: HttpLocation = {
        url: `${nginx.closed}/key/a.txt`,
        headers: { "X-Key": "k" },
        timeout: 20_000,
        redirects: 0,
        insecure: false,
        proxy: "",
        retries: 0,
      };
      expect((await both(own, here("left/a.txt"))).equal).toBe(true);
      const { headers: _, ...without } = own;
      expect(() => compareSync(without, here("left/a.txt"))).toThrow("403");
      const redirected = { ...own, url: `${nginx.closed}/moved/a.txt` };
      expect(() => compareSync(redirected, here("left/a.txt"))).toThrow(CopseError);
      expect((await both({ ...redirected, redirects: 1 }, here("left/a.txt"))).equal).toBe(true);
      const proxied = { ...without, proxy: nginx.proxy };
      expect((await both(proxied, here("left/a.txt"))).equal).toBe(true);
    },
  );

  test("komparu.aio: the same function, awaited, iterated, and stopped by a signal", async () => {
    const kinds: string[] = [];
    for await (const { kind } of compare(here("left"), here("right"))) kinds.push(kind);
    expect(kinds.toSorted()).toEqual(["differs", "differs", "only-left", "only-right"]);
    const controller = new AbortController();
    const slow = `fault:delay=20000:${here("left")}`;
    const task = compare(slow, here("right"), { signal: controller.signal });
    const begin = performance.now();
    setTimeout(() => controller.abort(new Error("enough")), 50);
    await expect(task.then()).rejects.toThrow("enough");
    // Not after the 20 seconds that the call in the midst of it takes.
    expect(performance.now() - begin).toBeLessThan(10_000);
    expect(task.state).toBe("cancelled");
  });
});

describe("compare.md 2: wrong answers that must be right", () => {
  test("20: the headers of one location are not sent for the other", async () => {
    using first = startUnruly({ "/a": answer("same") });
    using second = startUnruly({ "/a": answer("same") });
    const secret = { url: `${first.url}/a`, headers: { Authorization: "Bearer canary-20" } };
    const open = `${second.url}/a`;
    expect((await compare(secret, open)).equal).toBe(true);
    expect((await compare(open, secret)).equal).toBe(true);
    const files = { x: secret, y: open };
    await compare({ files }, { files: {} }, { by: "hash", moves: true });
    expect(first.asked.every(({ headers }) => headers["authorization"])).toBe(true);
    expect(second.asked.length).toBeGreaterThan(0);
    expect(JSON.stringify(second.asked)).not.toContain("canary-20");
  });

  test("1.5: user files are read, never mapped", async () => {
    plant(here("mapped"), { left: Buffer.alloc(40 << 20, 1), right: Buffer.alloc(40 << 20, 1) });
    const task = compare(`fault:delay=2:${here("mapped/left")}`, here("mapped/right"));
    let looks = 0;
    let done = false;
    void task.then(() => (done = true));
    while (!done) {
      expect(readFileSync("/proc/self/maps", "utf8")).not.toContain("/mapped/");
      looks += 1;
      await Bun.sleep(1);
    }
    expect(looks).toBeGreaterThan(1);
    expect((await task).equal).toBe(true);
  });
});

describe("docs/api.md has a row for everything of komparu, with its test", () => {
  const root = join(import.meta.dir, "..");
  const page = readFileSync(join(root, "docs", "api.md"), "utf8");
  const section = /^## Coming from komparu\n([^]*?)(?=^## |$(?![^]))/m.exec(page)?.[1] ?? "";
  const rows = section
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\| (komparu|#) \|/.test(line))
    .map((line) => line.split(" | ").map((cell) => cell.replace(/^\| | \|$/g, "").trim()));
  const names = new Map<string, string>();
  for (const name of readdirSync(join(root, "test")))
    if (name.endsWith(".ts")) names.set(name, readFileSync(join(root, "test", name), "utf8"));

  test("all functions, all 18 parameters, all 22 wrong answers", () => {
    const first = rows.map(([cell = ""]) => cell);
    for (const name of [
      "compare",
      "compare_dir",
      "compare_archive",
      "compare_all",
      "compare_many",
      "compare_dir_urls",
      "configure",
      "get_config",
      "reset_config",
      "Source",
      "komparu.aio",
      ...parameters,
    ])
      expect(first.some((cell) => cell.includes(`\`${name}`))).toBe(true);
    for (let number = 1; number <= 22; number++) expect(first).toContain(String(number));
  });

  test.each(rows.map((row) => [row[0]!, row.at(-1)!] as const))(
    "%s: its test is there",
    (_, cell) => {
      const [, file = "", name = ""] = /^`([^`]+)`: (.+)$/.exec(cell) ?? [];
      expect(names.has(file)).toBe(true);
      expect(names.get(file)).toContain(name.replaceAll("\\|", "|"));
    },
  );
});
