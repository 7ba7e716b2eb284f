// What is inside archives, against directories and against each other. Real tools make the
// archives; names of tests are the rows of the acceptance table.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import {
  compare,
  compareSync,
  copy,
  CopseError,
  list,
  Store,
  type CompareOptions,
  type Comparison,
  type Location,
} from "../lib/index.ts";
import { gzip, isThere, pax, tarEntry, tarOf, tools, zipOf, type Tool } from "./archives.ts";
import { link, run, Scratch, type Tree } from "./trees.ts";

let scratch: Scratch;
beforeAll(() => void (scratch = new Scratch()));
afterAll(() => scratch[Symbol.dispose]());

/** Bytes that repeat in no block size anybody uses, and are not quite random. */
function bytesOf(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < size; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = (state >>> 24) & 0x7f;
  }
  return bytes;
}

let files = 0;
function save(content: Uint8Array, ending = "bin"): string {
  const path = scratch.at(`made-${++files}.${ending}`);
  writeFileSync(path, content);
  return path;
}

/** Differences as short text: what a test says about an answer. */
function shortly({ differences }: Comparison): string[] {
  return differences.map((row) =>
    row.kind === "differs"
      ? `${row.path} ${row.reason}`
      : row.kind === "error"
        ? `${row.path} ${row.error.code}`
        : `${row.path} ${row.kind}`,
  );
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

const tree: Tree = {
  "a.txt": "hello, world\n",
  empty: "",
  "dir/one": "1",
  "dir/deep/er/file": "deep",
  "dir/nothing/": { kind: "directory" },
  "name with spaces": "x",
  "naïve-日本-🌳": "unicode",
  "quo'te\"s": "y",
  ".hidden": "h",
  link: link("dir/one"),
  dangling: link("nowhere"),
  "block-512": bytesOf(512, 2),
  "large.bin": bytesOf(700_000, 3),
};

function locate(tool: Tool, file: string): Location {
  return tool.formats ? { archive: file, formats: tool.formats } : `archive:${file}`;
}

describe.each(tools.map((tool) => [tool.name, tool] as const))("%s", (name, tool) => {
  const has = isThere(tool);
  let directory: string, changed: string, file: string, place: Location;

  beforeAll(() => {
    if (!has) return;
    const part = name.replaceAll(/\W/g, "-");
    const kept = Object.fromEntries(
      Object.entries(tree).filter(
        ([, plant]) =>
          !(tool.lacks?.includes("links") && typeof plant === "object" && "target" in plant),
      ),
    );
    directory = scratch.plant(`${part}-tree`, kept);
    changed = scratch.plant(`${part}-changed`, {
      ...kept,
      "dir/one": "2",
      "a.txt": "hallo, world\n",
    });
    file = scratch.at(`${part}.${tool.ending}`);
    tool.make(directory, file);
    place = locate(tool, file);
  });

  test.skipIf(!has)("archive against directory: the tree it was made of is equal", async () => {
    const result = await compare(place, directory);
    expect(shortly(result)).toEqual([]);
    expect(result).toMatchObject({ equal: true, complete: true });
    expect(compareSync(directory, place).equal).toBe(true);
  });

  test.skipIf(!has)("a changed byte of the same size is content, on either side", async () => {
    expect(shortly(await compare(place, changed))).toEqual(["a.txt content", "dir/one content"]);
    expect(shortly(await compare(changed, place))).toEqual(["a.txt content", "dir/one content"]);
  });

  test.skipIf(!has)("by hash and stopAtFirst give the same answer", async () => {
    expect((await compare(place, directory, { by: "hash" })).equal).toBe(true);
    expect(shortly(await compare(place, changed, { by: "hash" }))).toHaveLength(2);
    expect((await compare(place, changed, { stopAtFirst: true })).equal).toBe(false);
  });

  test.skipIf(!has)("entries are read one by one, in any order", async () => {
    const store = new Store(place);
    for (const path of ["large.bin", "a.txt", "dir/one", "a.txt", "empty"])
      expect(Buffer.from(await new Response(store.read(path)).bytes())).toEqual(
        readFileSync(`${directory}/${path}`),
      );
  });

  test.skipIf(!has)("a truncated archive is CORRUPT, also against itself", async () => {
    const cut = save(readFileSync(file).subarray(0, Math.floor(readFileSync(file).length * 0.6)));
    const where = locate(tool, cut);
    const error = await failure(compare(where, where));
    expect(error.code).toBe("CORRUPT");
  });
});

describe("any two archive formats", () => {
  test("tar.gz against zip, in any order of entries", async () => {
    const directory = scratch.plant("formats", tree);
    const [one, two] = [scratch.at("formats.tar.gz"), scratch.at("formats.zip")];
    run(
      "tar",
      "-czf",
      one,
      "-C",
      directory,
      ...Object.keys(tree).map((path) => `./${path}`.replace(/\/$/, "")),
    );
    run(
      "sh",
      "-c",
      'cd "$1" && zip -qry "$2" $(ls -Ar | grep -v "[ \'\\"]") *" "* quo*',
      "sh",
      directory,
      two,
    );
    expect(shortly(await compare(`archive:${one}`, `archive:${two}`))).toEqual([]);
  });

  const entries = [
    { name: "a", content: "1" },
    { name: "b/c", content: "2" },
  ];
  test("`./` in front is normalised", async () => {
    const plain = save(gzip(tarOf(...entries)));
    const dotted = save(
      tarOf({ name: "./", type: "5" }, ...entries.map((e) => ({ ...e, name: `./${e.name}` }))),
    );
    expect(shortly(await compare(`archive:${plain}`, `archive:${dotted}`))).toEqual([]);
  });

  test("a bare path to an archive is compared as bytes; against a directory it is opened", async () => {
    const directory = scratch.plant("bare", { a: "1", b: { kind: "directory" }, "b/c": "2" });
    const one = save(gzip(tarOf(...entries)), "tar.gz");
    const two = save(zipOf(entries), "zip");
    expect(shortly(await compare(one, two))).toEqual([" size"]);
    expect(shortly(await compare(one, directory))).toEqual([]);
    expect(shortly(await compare(directory, two))).toEqual([]);
  });

  test("`#sub/dir` is a root of its own, and a wrapper is stripped on request", async () => {
    const directory = scratch.plant("wrapped", { a: "1", "b/c": "2" });
    const file = save(gzip(tarOf(...entries.map((e) => ({ ...e, name: `wrap/in/${e.name}` })))));
    expect(shortly(await compare(`archive:${file}#wrap/in`, directory))).toEqual([]);
    expect(shortly(await compare({ archive: file, strip: 2 }, directory))).toEqual([]);
    expect(shortly(await compare({ archive: file, strip: 9, path: "wrap" }, directory))).toEqual(
      [],
    );
    expect((await failure(list(`archive:${file}#nowhere`))).code).toBe("NOT_FOUND");
    const single = await list(`archive:${file}#wrap/in/a`);
    expect(single).toMatchObject([{ path: "", type: "file", size: 1 }]);
  });

  test("an archive in an archive", async () => {
    const directory = scratch.plant("nested", { a: "1", "b/c": "2" });
    const outer = save(zipOf([{ name: "in.tar.gz", content: gzip(tarOf(...entries)) }]));
    const inner = { archive: `archive:${outer}#in.tar.gz` };
    expect(shortly(await compare(inner, directory))).toEqual([]);
    const error = await failure(compare(inner, directory, { limits: { nested: 1 } }));
    expect(error).toMatchObject({ code: "LIMIT" });
  });

  test("identical archives are read all the same: damage is never equal", async () => {
    const damaged = gzip(tarOf(...entries));
    damaged[damaged.length - 5]! ^= 1;
    const file = save(damaged);
    expect((await failure(compare(`archive:${file}`, `archive:${file}`))).code).toBe("CORRUPT");
  });
});

describe("compare.md 2, wrong answers that must be right:", () => {
  const ask = async (left: Uint8Array, right: Uint8Array, options?: CompareOptions) =>
    shortly(await compare(`archive:${save(left)}`, `archive:${save(right)}`, options));

  test("11: a tar cut inside a later header, against itself, is CORRUPT", async () => {
    const whole = tarOf({ name: "a", content: "1" }, { name: "b", content: "2" });
    const file = `archive:${save(whole.subarray(0, 1024 + 100))}`;
    expect((await failure(compare(file, file))).code).toBe("CORRUPT");
  });

  test("12: a Unicode name does not hide what comes after it, whatever the locale", async () => {
    const [left, right] = ["1", "2"].map((content) =>
      save(
        tarOf(
          pax({ path: Buffer.from("naïve-日本").toString("latin1") }),
          { name: "n" },
          { name: "z", content },
        ),
      ),
    );
    const script = `import { compareSync } from "${import.meta.dir}/../lib/index.ts";
      const { differences } = compareSync("archive:${left}", "archive:${right}");
      console.log(differences.map((row) => row.path).join());`;
    for (const locale of ["C", "C.UTF-8"]) {
      const { stdout, exitCode } = Bun.spawnSync([process.execPath, "-e", script], {
        env: { ...process.env, LC_ALL: locale },
      });
      expect(exitCode).toBe(0);
      expect(stdout.toString().trim()).toBe("z");
    }
  });

  test("names are bytes", async () => {
    const entries = await list(
      `archive:${save(tarOf({ name: "\xff\xfe" }, pax({ path: "\xfe" }), { name: "n" }))}`,
    );
    expect(entries.map((entry) => Array.from(entry.pathBytes ?? []))).toEqual([
      [0xfe],
      [0xff, 0xfe],
    ]);
  });

  test("13: a link entry only in one tar is only-left", async () => {
    const plain = { name: "a", content: "1" };
    expect(await ask(tarOf(plain, { name: "l", type: "2", target: "a" }), tarOf(plain))).toEqual([
      "l only-left",
    ]);
  });

  test("links are compared by target, and followed only inside the archive", async () => {
    const made = (target: string): Buffer =>
      tarOf({ name: "a", content: "1" }, { name: "l", type: "2", target });
    expect(await ask(made("a"), made("b"))).toEqual(["l target"]);
    expect(
      await ask(made("a"), tarOf({ name: "a", content: "1" }, { name: "l", content: "1" }), {
        links: "follow",
      }),
    ).toEqual([]);
    expect(await ask(made("/etc/passwd"), made("../x"), { links: "follow" })).toEqual(["l target"]);
  });

  test("a loop of links stays a link", async () => {
    const loop = tarOf(
      { name: "d", type: "5" },
      { name: "d/up", type: "2", target: ".." },
      { name: "one", type: "2", target: "two" },
      { name: "two", type: "2", target: "one" },
    );
    const listed = await list(`archive:${save(loop)}`, { links: "follow" });
    expect(listed.map((entry) => `${entry.path} ${entry.type}`)).toEqual([
      "d directory",
      "d/up link",
      "one link",
      "two link",
    ]);
  });

  test("14: a tar hard link is equal to a plain copy of the same bytes", async () => {
    const first = { name: "a", content: "same" };
    const linked = [first, { name: "b", type: "1", target: "./a" }];
    const copied = [first, { name: "b", content: "same" }];
    for (const pack of [gzip, (content: Uint8Array) => content])
      expect(await ask(pack(tarOf(...linked)), pack(tarOf(...copied)))).toEqual([]);
    expect(
      shortly(
        await compare(
          `archive:${save(tarOf(...linked))}`,
          scratch.plant("hard", { a: "same", b: "same" }),
        ),
      ),
    ).toEqual([]);
  });

  test("14: a hard link keeps what its target was then", async () => {
    const left = tarOf(
      { name: "a", content: "old" },
      { name: "b", type: "1", target: "a" },
      { name: "a", content: "new" },
    );
    expect(
      await ask(left, tarOf({ name: "a", content: "new" }, { name: "b", content: "old" })),
    ).toEqual([]);
  });

  test("15: of an entry that is there twice the last one counts", async () => {
    const twice = tarOf(
      { name: "a", content: "first" },
      { name: "b", content: "b" },
      { name: "./a", content: "last!" },
    );
    expect(
      await ask(twice, tarOf({ name: "b", content: "b" }, { name: "a", content: "last!" })),
    ).toEqual([]);
    expect(
      await ask(
        zipOf([
          { name: "a", content: "1" },
          { name: "a", content: "2" },
        ]),
        zipOf([{ name: "a", content: "2" }]),
      ),
    ).toEqual([]);
  });

  test("16: unsafe names are rows of errors, and the rest goes on", async () => {
    const made = (content: string): Buffer =>
      tarOf({ name: "/abs", content }, { name: "../x", content }, { name: "ok", content: "1" });
    const result = await compare(`archive:${save(made("1"))}`, `archive:${save(made("2"))}`);
    expect(result).toMatchObject({ equal: false, complete: false });
    expect(new Set(shortly(result))).toEqual(new Set(["../x UNSAFE_PATH", "/abs UNSAFE_PATH"]));
  });

  test("sparse entries: the same data at another place is content", async () => {
    const [one, two] = [scratch.plant("sparse-1", {}), scratch.plant("sparse-2", {})];
    for (const [directory, at] of [
      [one, 4096],
      [two, 81920],
    ] as const) {
      run(
        "sh",
        "-c",
        `truncate -s 200000 "$1/f" && printf data | dd of="$1/f" bs=1 seek=${at} conv=notrunc 2>/dev/null`,
        "sh",
        directory,
      );
    }
    for (const format of ["gnu", "posix"]) {
      const [left, right] = [one, two].map((directory) => {
        const file = scratch.at(`sparse-${format}-${directory.slice(-1)}.tar`);
        run("tar", `--format=${format}`, "-S", "-cf", file, "-C", directory, "f");
        return file;
      });
      expect(shortly(await compare(`archive:${left}`, one))).toEqual([]);
      expect(shortly(await compare(`archive:${left}`, `archive:${right}`))).toEqual(["f content"]);
      const read = await new Response(new Store(`archive:${left}`).read("f")).bytes();
      expect(Buffer.compare(read, readFileSync(`${one}/f`))).toBe(0);
    }
  });
});

describe("offsets", () => {
  const [one, two] = [bytesOf(20_000_000, 5), bytesOf(20_000_000, 5)];
  two[17_654_321]! ^= 1;
  test("in zip and in a plain tar the first differing byte is told", async () => {
    const made = [one, two].map((content) => [
      zipOf([{ name: "f", content }]),
      tarOf({ name: "f", content }),
    ]);
    for (const i of [0, 1]) {
      const [left, right] = made.map((pair) => `archive:${save(pair[i]!)}`);
      const { differences } = await compare(left!, right!);
      expect(differences).toMatchObject([
        { kind: "differs", reason: "content", offset: 17_654_321 },
      ]);
    }
  });
});

describe("equal packed bytes", () => {
  const entries = [
    { name: "a", content: bytesOf(100_000, 7) },
    { name: "big", content: bytesOf(3_000_000, 8) },
  ];
  const lying = zipOf(
    entries.map((entry) => ({ ...entry, local: { crc: 1 }, central: { crc: 1 } })),
  );

  test("one side is unpacked and its checksum proved, so damage is never equal", async () => {
    const file = `archive:${save(lying)}`;
    expect(shortly(await compare(file, `archive:${save(lying)}`))).toEqual([
      "a CORRUPT",
      "big CORRUPT",
    ]);
  });

  test("rawEqual: neither is unpacked", async () => {
    const place = { archive: save(lying), rawEqual: true };
    expect((await compare(place, `archive:${save(lying)}`)).equal).toBe(true);
    const other = zipOf([entries[0]!, { ...entries[1]!, content: bytesOf(3_000_000, 9) }]);
    expect(
      shortly(
        await compare({ archive: save(zipOf(entries)), rawEqual: true }, `archive:${save(other)}`),
      ),
    ).toEqual(["big content"]);
  });
});

describe("encrypted entries", () => {
  test.skipIf(!Bun.which("zip"))("need the password, else they say so", async () => {
    const directory = scratch.plant("secret", {
      a: "hush",
      "b/c": bytesOf(5000).toString("latin1"),
    });
    const file = scratch.at("secret.zip");
    run("sh", "-c", 'cd "$1" && zip -qr -P swordfish "$2" .', "sh", directory, file);
    expect(shortly(await compare({ archive: file, password: "swordfish" }, directory))).toEqual([]);
    expect(shortly(await compare(`archive:${file}`, directory))).toEqual(["a AUTH", "b/c AUTH"]);
    const wrong = await compare({ archive: file, password: "herring" }, directory);
    expect(wrong.equal).toBe(false);
    expect(JSON.stringify(wrong)).not.toContain("herring");
  });
});

describe("locations", () => {
  test.each([
    [{ archive: "a.zip", strip: -1 }],
    [{ archive: "a.zip", strip: 0.5 }],
    [{ archive: "a.zip", formats: ["arj"] }],
    [{ archive: "a.zip", formats: "zip" }],
    [{ archive: "a.zip", password: "" }],
    [{ archive: "a.zip", rawEqual: 1 }],
    [{ archive: "a.zip", colour: "red" }],
    [{ archive: "" }],
    ["archive:"],
    ["archive:#x"],
  ])("%j is an ARGUMENT", async (location) => {
    // The wrong types are the point.
    const work = async (): Promise<unknown> => await list(location as Location);
    expect((await failure(work())).code).toBe("ARGUMENT");
  });

  test.each(["archive:a.zip#../x", "archive:a.zip#/x", "archive:a.zip#a//b"])(
    "%s is UNSAFE_PATH",
    async (location) => {
      expect((await failure(list(location))).code).toBe("UNSAFE_PATH");
    },
  );

  test("a format that is off by default is UNSUPPORTED and says how to have it", async () => {
    const error = await failure(
      list(`archive:${save(Buffer.from("7z\xbc\xaf'\x1c\0\x04", "latin1"))}`),
    );
    expect(error).toMatchObject({ code: "UNSUPPORTED" });
    expect(error.message).toContain("formats");
    expect((await failure(list({ archive: save(zipOf([])), formats: ["tar"] }))).code).toBe(
      "UNSUPPORTED",
    );
  });

  test("what is no archive is CORRUPT, what is not there NOT_FOUND, a directory UNSUPPORTED", async () => {
    expect((await failure(list(`archive:${save(Buffer.from("just text"))}`))).code).toBe("CORRUPT");
    expect((await failure(list(`archive:${scratch.at("missing.zip")}`))).code).toBe("NOT_FOUND");
    expect((await failure(list(`archive:${scratch.path}`))).code).toBe("UNSUPPORTED");
  });

  test("a file of no bytes is CORRUPT, an archive of no entries is empty", async () => {
    expect((await failure(list(`archive:${save(Buffer.alloc(0))}`))).code).toBe("CORRUPT");
    expect((await failure(list(`archive:${save(gzip(Buffer.alloc(0)))}`))).code).toBe("CORRUPT");
    for (const made of [zipOf([]), tarOf(), gzip(tarOf())])
      expect(await list(`archive:${save(made)}`)).toHaveLength(0);
  });

  test("an archive that is written to is CHANGED or damaged, never half of it", async () => {
    const file = save(tarOf({ name: "a", content: bytesOf(100_000) }));
    const store = new Store(`archive:${file}`);
    expect((await store.list()).length).toBe(1);
    appendFileSync(file, "x");
    // Each call opens it anew: what follows the end is not looked at by tar itself, but by us.
    truncateSync(file, 50_000);
    expect((await failure(store.list())).code).toBeOneOf(["CORRUPT", "CHANGED"]);
    rmSync(file);
    expect((await failure(store.list())).code).toBe("NOT_FOUND");
  });

  test("an archive in memory", async () => {
    await using store = new Store("memory:archives");
    await store.write("x.zip", zipOf([{ name: "a", content: "1" }]));
    expect(
      shortly(
        await compare("archive:memory:archives/x.zip", scratch.plant("in-memory", { a: "1" })),
      ),
    ).toEqual([]);
  });

  test("metadata: mode, mtime and owner of tar are compared", async () => {
    const directory = scratch.plant("meta", { a: "1" });
    const file = scratch.at("meta.tar.gz");
    run("tar", "--format=posix", "-czf", file, "-C", directory, "a");
    expect(
      shortly(
        await compare(`archive:${file}#a`, `${directory}/a`, {
          metadata: ["mode", "mtime", "owner"],
        }),
      ),
    ).toEqual([]);
    run("chmod", "600", `${directory}/a`);
    expect(
      shortly(await compare(`archive:${file}#a`, `${directory}/a`, { metadata: ["mode"] })),
    ).toEqual([" mode"]);
  });

  test("a directory that no entry tells of has the mode of a new one", async () => {
    const [directory] = await list(`archive:${save(tarOf({ name: "d/f", content: "1" }))}`, {
      include: ["d"],
      stat: true,
    });
    expect(directory).toMatchObject({ path: "d", type: "directory", mode: 0o755 });
  });

  test("what is inside is only read", async () => {
    await using store = new Store(`archive:${save(zipOf([]))}`);
    expect(store.can).toMatchObject({ list: true, write: false, delete: false, hash: true });
    expect((await failure(store.write("a", "1"))).code).toBe("UNSUPPORTED");
    expect((await failure(store.remove("a"))).code).toBe("UNSUPPORTED");
  });
});

describe("an archive on a web server", () => {
  const entries = [
    { name: "a", content: "1" },
    { name: "b/c", content: bytesOf(400_000, 6) },
  ];
  const bodies: Record<string, Buffer> = {
    "/x.tar.gz": gzip(tarOf(...entries)),
    "/x.tar": tarOf(...entries),
    "/x.zip": zipOf(entries),
  };

  test.each(Object.keys(bodies))("%s, with ranges", async (path) => {
    const directory = scratch.plant(`web${path.slice(2)}`, { a: "1", "b/c": bytesOf(400_000, 6) });
    const file = save(bodies[path]!);
    using server = Bun.serve({
      port: 0,
      fetch: (request) => {
        const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.get("range") ?? "") ?? [];
        const body = bodies[path]!;
        const headers = { etag: '"1"', "accept-ranges": "bytes" };
        if (from === undefined) return new Response(body, { headers });
        const end = Math.min(to ? Number(to) + 1 : body.length, body.length);
        return new Response(body.subarray(Number(from), end), {
          status: 206,
          headers: { ...headers, "content-range": `bytes ${from}-${end - 1}/${body.length}` },
        });
      },
    });
    const url = new URL(path, server.url).href;
    expect(shortly(await compare(`archive:${url}`, directory))).toEqual([]);
    expect(shortly(await compare(url, directory))).toEqual([]);
    expect(shortly(await compare(`archive:${url}`, `archive:${file}`))).toEqual([]);
  });

  test("what is read once from front to back is asked for once", async () => {
    const asked: string[] = [];
    using server = Bun.serve({
      port: 0,
      fetch: (request) => {
        asked.push(`${request.method} ${request.headers.get("range") ?? "all"}`);
        return new Response(bodies[new URL(request.url).pathname]!);
      },
    });
    const url = `archive:${new URL("/x.tar.gz", server.url).href}`;
    expect(await list(url)).toHaveLength(3);
    expect(asked.splice(0)).toEqual(["GET all"]);
    expect((await compare(url, `archive:${save(bodies["/x.tar.gz"]!)}`)).equal).toBe(true);
    expect(asked).toEqual(["GET all"]);
  });

  test("without ranges a tar.gz is read all the same, and a zip says what it needs", async () => {
    const directory = scratch.plant("web-plain", { a: "1", "b/c": bytesOf(400_000, 6) });
    using server = Bun.serve({
      port: 0,
      fetch: (request) => new Response(bodies[new URL(request.url).pathname]!),
    });
    const at = (path: string): string => `archive:${new URL(path, server.url).href}`;
    expect(shortly(await compare(at("/x.tar.gz"), directory))).toEqual([]);
    expect(shortly(await compare(at("/x.tar"), directory))).toEqual([]);
    const zip = async (): Promise<unknown> => await compare(at("/x.zip"), directory);
    const found = await zip().then(
      (result) => (result as Comparison).equal,
      (error: CopseError) => error.code,
    );
    expect(found).toBeOneOf([true, "UNSUPPORTED"]);
  });
});

describe("copying out of an archive", () => {
  const entries = [
    { name: "d/a", content: "hello" },
    { name: "hard", type: "1", target: "d/a" },
    { name: "l", type: "2", target: "d/a" },
    { name: "../bad", content: "x" },
    { name: "d/a", content: "hello, again" },
    { name: "z", content: bytesOf(300_000, 4) },
  ];

  test("reads in its order, whatever that is, and tells of unsafe names", async () => {
    for (const made of [tarOf(...entries), gzip(tarOf(...entries))]) {
      const target = scratch.at(`copied-${++files}`);
      const { actions } = await copy(`archive:${save(made)}`, target);
      const errors = actions.filter((row) => row.kind === "error");
      expect(errors.map((row) => [row.path, row.error.code])).toEqual([["../bad", "UNSAFE_PATH"]]);
      expect(
        shortly(
          await compare(
            target,
            scratch.plant(`expected-${files}`, {
              "d/a": "hello, again",
              hard: "hello",
              l: link("d/a"),
              z: bytesOf(300_000, 4),
            }),
          ),
        ),
      ).toEqual([]);
    }
  });

  test("nothing is written when the archive is damaged", async () => {
    const damaged = gzip(tarOf(...entries));
    damaged[damaged.length - 6]! ^= 1;
    const target = scratch.at("damaged-copy");
    expect((await failure(copy(`archive:${save(damaged)}`, target))).code).toBe("CORRUPT");
    expect(existsSync(target)).toBe(false);
  });
});

test("a header that says another entry is there is told of, though its checksum fits", async () => {
  const file = save(
    Buffer.concat([
      tarEntry({ name: "a", content: "1" }),
      Buffer.alloc(512, 1),
      Buffer.alloc(1024),
    ]),
  );
  expect((await failure(list(`archive:${file}`))).code).toBe("CORRUPT");
});
