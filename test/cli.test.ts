// The command as people and scripts meet it: reports, flags, JSON, help. What a terminal adds, and what
// can go wrong on the way out, is in cli-terminal.test.ts.

import { beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { commands } from "../lib/cli/commands.ts";
import { commandPlace, main, paths, rows } from "./command.ts";

const { folder, copse, shell, plant } = commandPlace();
const text = (letter: string, length: number): string => letter.repeat(length);

beforeAll(() => {
  const shared = { "same.txt": "same", "deep/down/same.txt": text("s", 5000) };
  plant("left", {
    ...shared,
    "content.txt": `${text("a", 51)}b${text("a", 48)}`,
    "size.txt": text("a", 1100),
    current: "→ releases/1",
    type: "a file",
    "old name.txt": "content that moved",
    "only/here/a": text("a", 1000),
    "only/here/b": text("b", 2000),
    "only/c": "",
    "only.txt": "beside it",
  });
  plant("right", {
    ...shared,
    "content.txt": text("a", 100),
    "size.txt": text("a", 1300),
    current: "→ releases/2",
    "type/is/a/directory": "",
    "new/name.txt": "content that moved",
    "added.txt": text("n", 56),
  });
  plant("copy", shared);
  plant("twin", shared);
  // Enough rows to fill any pipe.
  plant("wide", Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`dir/file-${i}`, ""])));
  plant("empty", { "nothing/": "" });
});

describe("copse compare, for a person", () => {
  test("says equal in one line and exits 0", async () => {
    const { status, out, err } = await copse("compare", "copy", "twin");
    expect(out).toMatch(/^equal · 2 files, 5\.0 kB compared in (?:under 1|[\d.]+) m?s\n$/);
    expect({ status, err }).toEqual({ status: 0, err: "" });
  });

  test("groups by kind, counts, shows a missing directory once, ends with the summary", async () => {
    const { status, out, err } = await copse("compare", "left", "right", "--moves");
    expect(out.replace(/· \d+ files, .+ compared in (?:under 1|[\d.]+) m?s/, "· WORK"))
      .toBe(`4 changed
  ~ content.txt  content, offset 51
  ~ current      link, releases/1 → releases/2
  ~ size.txt     size, 1.1 kB → 1.3 kB
  ~ type         file → directory

6 only in left
  - only/     4 entries, 3.0 kB
  - only.txt  9 B

2 only in right
  + added.txt  56 B
  + new/       directory

1 moved
  > old name.txt → new/name.txt

4 changed, 6 only left, 2 only right, 1 moved · WORK
`);
    expect({ status, err }).toEqual({ status: 1, err: "" });
  });

  test("names both files when they are what is compared", async () => {
    const { status, out } = await copse("compare", "left/content.txt", "right/content.txt");
    expect(out).toStartWith(
      "1 changed\n  ~ left/content.txt ↔ right/content.txt  content, offset 51\n\n1 changed · 1 file,",
    );
    expect(status).toBe(1);
  });

  test("puts errors last, with side, code and next move, and exits 2", async () => {
    const failing = "fault:read=1,sticky,code=DENIED:copy";
    const { status, out } = await copse("compare", failing, "twin");
    expect(out.replace(/· .*/, "· WORK")).toBe(`2 could not be compared
  ! ${failing} › deep/down/same.txt  DENIED
  ! ${failing} › same.txt  DENIED
    made to fail by a test: read

2 errors · WORK
`);
    expect(status).toBe(2);
  });

  test("shows mode and time when they are asked for", async () => {
    plant("metadata-left", { "run.sh": "x", "note.txt": "y" });
    plant("metadata-right", { "run.sh": "x", "note.txt": "y" });
    chmodSync(join(folder, "metadata-left/run.sh"), 0o644);
    chmodSync(join(folder, "metadata-right/run.sh"), 0o755);
    utimesSync(join(folder, "metadata-right/note.txt"), 1_700_000_001, 1_700_000_001);
    const names = ["metadata-left", "metadata-right"] as const;
    // The roots are looked at as well.
    for (const name of names) utimesSync(join(folder, name), 1, 1);
    expect((await copse("compare", ...names)).status).toBe(0);
    const { out } = await copse("compare", ...names, "--metadata", "mode,mtime");
    expect(out).toContain("~ note.txt  mtime, 2023-11-14 22:13:20 → 22:13:21\n");
    expect(out).toContain("~ run.sh    mode, 0644 → 0755\n");
  });

  test("does not shorten names outside a terminal", async () => {
    const long = `${text("long", 20)}/${text("name", 30)}.txt`;
    plant("long-left", { [long]: "1" });
    plant("long-right", { [long]: "2" });
    const { out } = await copse("compare", "long-left", "long-right");
    expect(out).toContain(`  ~ ${long}  content, offset 0\n`);
  });
});

describe("options", () => {
  const rest = ["compare", "left", "right"] as const;

  test("--include and --exclude are repeatable", async () => {
    const some = await copse(
      ...rest,
      "--include",
      "size.txt",
      "--include",
      "content.txt",
      "--jsonl",
    );
    expect(paths(some.out)).toEqual(["content.txt", "size.txt"]);
    const less = await copse(...rest, "--exclude", "*.txt", "--exclude", "only", "--jsonl");
    expect(paths(less.out)).toEqual(["current", "new", "type"]);
  });

  test("--by, --links, --stop-at-first, --no-size-check and --no-empty-directories do what they say", async () => {
    const hashed = rows((await copse(...rest, "--by", "hash", "--jsonl")).out);
    expect(hashed.find(({ path }) => path === "content.txt").left.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(paths((await copse(...rest, "--links=skip", "--jsonl")).out)).not.toContain("current");
    const first = await copse(...rest, "--stop-at-first", "--json");
    expect(JSON.parse(first.out)).toMatchObject({ equal: false, complete: false });
    expect(JSON.parse(first.out).differences).toHaveLength(1);
    expect(first.status).toBe(1);
    const unmeasured = rows((await copse(...rest, "--no-size-check", "--jsonl")).out);
    expect(unmeasured.find(({ path }) => path === "size.txt").reason).toBe("content");
    expect((await copse("compare", "empty", "copy", "--json")).out).toContain('"nothing"');
    const without = await copse("compare", "empty", "copy", "--no-empty-directories", "--json");
    expect(without.out).not.toContain('"nothing"');
  });

  test("sizes, times, counts, limits and the runtime's shape are taken in their forms", async () => {
    const forms = [
      "--chunk-size 128K --concurrency 2 --timeout 30s --priority low --no-sample",
      "--chunk-size=1MiB --timeout 5m --limits entries=1000,bytes=1G --limits depth=none",
      "--workers 1 --io-workers 2 --io threads --memory 64M",
      "--io blocking --memory low-memory",
    ];
    for (const form of forms) {
      const { status, err } = await copse("compare", "copy", "twin", ...form.split(" "));
      expect({ form, status, err }).toEqual({ form, status: 0, err: "" });
    }
    const limited = await copse("compare", "copy", "twin", "--limits", "entries=1");
    expect(limited.status).toBe(2);
    expect(limited.err).toMatch(/^copse: .*limit/i);
    const late = await copse("compare", "fault:delay=2000:copy", "twin", "--timeout", "50ms");
    expect(late.status).toBe(2);
    expect(late.err).toContain("timeout");
  });

  test("letters of other programs of this kind are short for flags, alone and together", async () => {
    const verbose = async (...line: string[]): Promise<Record<string, unknown>> => {
      const { err } = await copse(...line, "-vv");
      return JSON.parse(/options (.*)/.exec(err)?.[1] ?? "{}");
    };
    const to = ["left", "nowhere"];
    expect(await verbose("copy", ...to, "-nLu", "-Rr", "-Ce", "x", "-p", "3")).toMatchObject({
      dryRun: true,
      links: "follow",
      overwrite: "newer",
      resume: true,
      verify: true,
      exclude: ["x"],
      streams: 3,
    });
    expect(await verbose("copy", ...to, "-nf", "--bwlimit=1M")).toMatchObject({
      overwrite: "different",
      bandwidth: 1 << 20,
    });
    expect(await verbose("sync", ...to, "-ncd", "--bwlimit", "2M")).toMatchObject({
      by: "content",
      delete: true,
      bandwidth: 2 << 20,
    });
    // The place itself has a name, too.
    const one = await copse("copy", "left/content.txt", "elsewhere.txt", "-n");
    expect(one.out).toStartWith("+ .  100 B\n");
    // What is long and said wins by its place, as with any flag that is said twice.
    expect(await verbose("sync", ...to, "-nc", "--by", "hash")).toMatchObject({ by: "hash" });
    for (const [line, said] of [
      [["copy", ...to, "-c"], "say --by content, or --chunk-size"],
      [["sync", ...to, "-w", "-n"], "unknown option '-n'"],
      [["sync", ...to, "-w", "--settle", "x"], "--settle"],
      [["compare", "left", "left", "-u"], "unknown option '-u'"],
    ] as const)
      expect((await copse(...line)).err).toContain(said);
  });

  test("-- ends the flags", async () => {
    plant("--odd", { a: "1" });
    expect((await copse("compare", "--", "--odd", "--odd")).status).toBe(0);
  });

  test("a wrong one is a sentence, a hint and status 2", async () => {
    const wrong = [
      ["compare left right --foo", "unknown option '--foo'", "copse compare --help"],
      ["compare left right --exlude x", "Did you mean --exclude?", "copse compare --help"],
      ["compare left", "missing required argument 'right'", "copse compare --help"],
      ["compare left right more", "too many arguments", "copse compare --help"],
      [
        "compare left right --by size",
        "Allowed choices are content, hash, stat.",
        "copse compare --help",
      ],
      ["compare left right --timeout soon", "Give a time", "copse compare --help"],
      ["compare left right --chunk-size big", "Give a number of bytes", "copse compare --help"],
      ["compare left right --limits x=1", "Give name=value", "copse compare --help"],
      ["compare left right --metadata colour", "mode, mtime, owner, xattr", "copse compare --help"],
      ["compare left right --json --jsonl", "cannot be used with", "copse compare --help"],
      ["compare left right -q --json", "cannot be used with", "copse compare --help"],
      ["list", "missing required argument 'location'", "copse list --help"],
      ["cmpare left right", "Did you mean compare?", "copse --help"],
      ["help cmpare", "help knows no command of that name", "copse --help"],
      ["completion tcsh", "Allowed choices are bash, zsh, fish.", "copse completion --help"],
    ] as const;
    for (const [line, sentence, hint] of wrong) {
      const { status, out, err } = await copse(...line.split(" "));
      expect({ line, status, out }).toEqual({ line, status: 2, out: "" });
      expect(err).toContain(sentence);
      expect(err).toEndWith(`copse: try: ${hint}\n`);
      expect(err.trimEnd().split("\n")).toHaveLength(2);
    }
  });

  test("a value the library refuses is named", async () => {
    const { status, err } = await copse("compare", "copy", "twin", "--concurrency", "1000");
    expect({ status, err }).toEqual({
      status: 2,
      err: expect.stringMatching(/^copse: --concurrency must be /),
    });
    expect((await copse("compare", "copy", "twin", "--io-workers", "0")).err).toContain(
      "--io-workers must be",
    );
    for (const [line, said] of [
      ["--conflict newer", "--conflict newer needs backupDir (--backup-dir)"],
      ["--by content", '--by cannot be "content" with twoWay'],
      ["--hard-links", "--hard-links cannot be true with twoWay"],
      ["--state left/state", "--state lies in one of the two trees"],
    ] as const)
      expect(
        (await copse("sync", "left", "right", "--two-way", "-n", ...line.split(" "))).err,
      ).toStartWith(`copse: ${said}`);
  });
});

describe("trouble", () => {
  test("is said of the place it concerns, with the next move", async () => {
    await shell("tar -czf some.tgz left; echo '{}' > some.json");
    for (const [line, said] of [
      [
        ["copy", "left", "http://127.0.0.1:1/x"],
        "copse: http://127.0.0.1:1/x: http locations are never written to",
      ],
      [
        ["apply", "some.json"],
        "copse: some.json: it is no plan: give what --dry-run --json printed",
      ],
      [["cat", "left/content.txt/x", "y"], "a part of the path is no directory: check the path"],
      [["cat", "left", "deep"], "copse: left › deep: it is a directory: name a file"],
      [
        ["cat", "left", "current"],
        "copse: left › current: it is a link: name the file it leads to",
      ],
      [["cat", "archive:some.tgz", "nothing"], "holds nothing of that name: list it"],
      [
        ["dl", "http://127.0.0.1:1/x", "some.tgz"],
        "copse: some.tgz: it, or what is above it, is no directory",
      ],
    ] as const) {
      const { status, err } = await copse(...line);
      expect({ line, status }).toEqual({ line, status: 2 });
      expect(err).toContain(said);
    }
  });
});

describe("for programs", () => {
  test("--json is one document with the API's names", async () => {
    const { status, out, err } = await copse("compare", "left", "right", "--moves", "--json");
    const document = JSON.parse(out);
    expect({ status, err }).toEqual({ status: 1, err: "" });
    expect(Object.keys(document)).toEqual([
      "equal",
      "complete",
      "sameByRule",
      "files",
      "bytes",
      "errors",
      "milliseconds",
      "differences",
    ]);
    expect(document).toMatchObject({ equal: false, complete: true, errors: 0 });
    const byPath = new Map(document.differences.map((row: { path: string }) => [row.path, row]));
    expect([...byPath.keys()]).toEqual([...byPath.keys()].toSorted());
    expect(byPath.get("content.txt")).toMatchObject({
      kind: "differs",
      reason: "content",
      offset: 51,
      left: { type: "file", size: 100, mtime: "2023-11-14T22:13:20.000Z" },
    });
    expect(byPath.get("current")).toMatchObject({
      reason: "target",
      left: { target: "releases/1" },
    });
    expect(byPath.get("new/name.txt")).toMatchObject({ kind: "moved", from: "old name.txt" });
    // Every entry below a missing directory has its row here.
    for (const path of ["only", "only/c", "only/here", "only/here/a", "only/here/b"]) {
      expect(byPath.get(path)).toMatchObject({ kind: "only-left" });
    }
    expect(JSON.parse((await copse("compare", "copy", "twin", "--json")).out)).toMatchObject({
      equal: true,
      complete: true,
      differences: [],
    });
  });

  test("--jsonl is a row per line, the summary last", async () => {
    const { status, out } = await copse("compare", "left", "right", "--jsonl");
    const found = rows(out);
    expect(status).toBe(1);
    expect(found.at(-1)).toMatchObject({
      kind: "summary",
      equal: false,
      complete: true,
      errors: 0,
    });
    expect(found.filter(({ kind }) => kind === "summary")).toHaveLength(1);
    const equal = await copse("compare", "copy", "twin", "--jsonl");
    expect(rows(equal.out)).toMatchObject([{ kind: "summary", equal: true }]);
  });

  test("an error row has its code and sentence", async () => {
    const { status, out } = await copse(
      "compare",
      "fault:read=1,code=DENIED:copy",
      "twin",
      "--json",
    );
    const document = JSON.parse(out);
    expect(status).toBe(2);
    expect(document).toMatchObject({ equal: false, complete: false, errors: 1 });
    expect(document.differences).toMatchObject([
      { kind: "error", error: { code: "DENIED", message: expect.any(String), retryable: false } },
    ]);
  });

  test("a failure of the whole is a sentence for people and a document for programs", async () => {
    for (const form of ["--json", "--jsonl"]) {
      const { status, out, err } = await copse("compare", "nowhere", "copy", form);
      expect({ status, err }).toEqual({
        status: 2,
        err: expect.stringMatching(/^copse: nowhere: .+\n$/),
      });
      expect(JSON.parse(out)).toMatchObject({
        equal: false,
        complete: false,
        error: { code: "NOT_FOUND", location: "nowhere", errno: "ENOENT" },
      });
    }
    const plain = await copse("compare", "nowhere", "copy");
    expect(plain).toMatchObject({ status: 2, out: "" });
  });

  test("large documents arrive whole at a slow reader", async () => {
    const { status, out } = await shell("copse compare wide empty --json | (sleep 0.3; cat)");
    expect(status).toBe(0);
    // 3,000 files, their directory, and `nothing`.
    expect(JSON.parse(out).differences).toHaveLength(3002);
  });

  test("-q prints nothing: the exit status is the answer", async () => {
    for (const [right, status] of [
      ["twin", 0],
      ["left", 1],
      ["nowhere", 2],
    ] as const) {
      expect(await copse("compare", "copy", right, "-q")).toEqual({ status, out: "", err: "" });
    }
  });
});

describe("archives", () => {
  test("archive:, --archives, --strip, --raw-equal and --formats look inside", async () => {
    await shell("tar -czf twin.tgz -C twin . && tar -cf wrapped.tar twin && zip -qr twin.zip twin");
    const both = ["--raw-equal", "--formats", "tar,zip"];
    for (const line of [
      ["archive:twin.tgz", "twin"],
      ["twin.tgz", "twin"],
      ["twin.tgz", "archive:wrapped.tar#twin", "--archives"],
      ["twin.tgz", "wrapped.tar", "--archives", "--strip", "1"],
      ["archive:wrapped.tar", "archive:twin.zip", ...both],
    ]) {
      const { status, err } = await copse("compare", ...line);
      expect({ line, status, err }).toEqual({ line, status: 0, err: "" });
    }
    const listed = await copse("list", "archive:wrapped.tar#twin/deep", "-0");
    expect(listed.out).toBe("down\0down/same.txt\0");
  });

  test("flags about archives also mean one that is opened without archive: before it", async () => {
    const same = async (to: string): Promise<void> =>
      expect(await copse("compare", "twin", to, "-q")).toMatchObject({ status: 0, err: "" });
    expect((await copse("compare", "wrapped.tar", "twin", "--strip", "1", "-q")).status).toBe(0);
    expect((await copse("compare", "twin", "wrapped.tar", "--strip", "1", "-q")).status).toBe(0);
    // Two files are compared as files.
    const [files, tree] = [
      ["compare", "wrapped.tar", "wrapped.tar", "--strip", "1"],
      ["copy", "wrapped.tar", "elsewhere", "--strip", "1"],
    ];
    for (const line of [files, tree]) {
      const { status, err } = await copse(...line!);
      expect(status).toBe(2);
      expect(err).toContain("no location is an archive");
    }
    expect((await copse("unpack", "wrapped.tar", "bare", "--strip", "1", "-q")).status).toBe(0);
    await same("bare");
    expect((await copse("verify", "wrapped.tar", "--formats", "tar", "-q")).status).toBe(0);
    expect((await copse("verify", "wrapped.tar", "--formats", "zip", "-q")).status).toBe(2);
  });

  test("bytes are those of one side, whichever of them is an archive", async () => {
    for (const sides of [
      ["archive:twin.tgz", "twin"],
      ["twin", "archive:twin.tgz"],
    ]) {
      const { out } = await copse("compare", ...sides, "--json");
      expect(JSON.parse(out).bytes).toBeGreaterThan(0);
    }
  });

  test("damage and limits are trouble, and flags for archives want one", async () => {
    await shell("head -c 200 twin.tgz > cut.tgz");
    for (const [line, said] of [
      [["compare", "archive:cut.tgz", "twin"], "truncated"],
      [["compare", "archive:twin.tgz", "twin", "--limits", "bytes=10"], "limits.bytes"],
      [["compare", "twin", "twin", "--strip", "1"], "--strip"],
      [["list", "archive:twin.tgz", "--formats", "arj"], "tar"],
    ] as const) {
      const { status, err } = await copse(...line);
      expect(err).toContain(said);
      expect(status).toBe(2);
    }
  });

  test("--password-file opens encrypted entries", async () => {
    await shell("echo swordfish > word && cd twin && zip -qr -P swordfish ../locked.zip .");
    const locked = ["compare", "archive:locked.zip", "twin"];
    expect((await copse(...locked)).status).toBe(2);
    const opened = await copse(...locked, "--password-file", "word");
    expect(opened.status).toBe(0);
    expect(JSON.stringify(opened)).not.toContain("swordfish");
    for (const line of [
      ["unpack", "locked.zip", "unlocked"],
      ["copy", "archive:locked.zip", "copied"],
      ["sync", "archive:locked.zip", "synced"],
      ["pack", "archive:locked.zip", "unlocked.znippy"],
      ["verify", "locked.zip"],
      ["cat", "locked.zip", "deep/down/same.txt"],
    ]) {
      const shut = await copse(...line);
      expect({ line, status: shut.status }).toEqual({ line, status: 2 });
      const { status, err } = await copse(...line, "--password-file", "word");
      expect({ line, status, err }).toEqual({ line, status: 0, err: "" });
    }
    // A plan holds neither password nor how its archive is read: whoever applies it says it again.
    const archive = ["--password-file", "word", "--strip", "1"];
    await shell("rm -f wrapped.zip && zip -qr -P swordfish wrapped.zip twin");
    const plan = await copse("sync", "archive:wrapped.zip", "planned", "-n", "--json", ...archive);
    expect(plan.out).not.toContain("swordfish");
    writeFileSync(join(folder, "plan.json"), plan.out);
    expect((await copse("apply", "plan.json", "-q")).status).toBe(2);
    await shell("rm -rf planned");
    expect((await copse("apply", "plan.json", "-q", ...archive)).status).toBe(0);
    for (const place of ["unlocked", "copied", "synced", "planned", "pack:unlocked.znippy"])
      expect(await copse("compare", "twin", place, "-q")).toMatchObject({ status: 0 });
  });
});

describe("copse list", () => {
  test("shows type, size, time and path, sorted", async () => {
    const { status, out, err } = await copse("list", "left", "--exclude", "only*");
    const lines = out.trimEnd().split("\n");
    expect({ status, err }).toEqual({ status: 0, err: "" });
    expect(lines).toContain("file   100 B  2023-11-14 22:13  content.txt");
    expect(lines.find((line) => line.includes("current"))).toMatch(
      /^link       -  \d{4}-\d\d-\d\d \d\d:\d\d  current → releases\/1$/,
    );
    expect(lines.find((line) => line.endsWith("deep/"))).toMatch(/^dir        -  /);
    const names = lines.map((line) => line.slice(33 - 2).replace(/( → .*|\/)$/, ""));
    expect(names).toEqual(names.toSorted());
  });

  test("--json, --jsonl and the status of trouble", async () => {
    const { out } = await copse("list", "copy", "--json");
    const document = JSON.parse(out);
    expect(Object.keys(document)).toEqual(["complete", "errors", "entries"]);
    expect(document.entries.map(({ path }: { path: string }) => path)).toEqual([
      "deep",
      "deep/down",
      "deep/down/same.txt",
      "same.txt",
    ]);
    const lines = rows((await copse("list", "copy", "--jsonl")).out);
    expect(lines.at(-1)).toEqual({ kind: "summary", complete: true, entries: 4, errors: 0 });
    expect(lines.slice(0, -1).every(({ kind }) => kind === "entry")).toBe(true);
    const trouble = await copse("list", "fault:list=2,code=DENIED:copy");
    expect(trouble.status).toBe(2);
    expect(trouble.err).toMatch(/^copse: .+\n$/);
    expect(trouble.out).not.toBe("");
    expect(await copse("list", "nowhere")).toMatchObject({ status: 2, out: "" });
  });

  test("-l has permissions and exact bytes, -h sizes for people, ls is another name", async () => {
    const long = await copse("ls", "left/content.txt", "-l");
    expect(long.out).toMatch(/^-rw-r--r--     100  2023-11-14 22:13  left\/content.txt\n$/);
    expect((await copse("ls", "left/content.txt", "-lh")).out).toContain("   100 B  ");
    expect((await copse("ls", "--help")).out).toContain("-h, --human");
  });

  test("--sort, --max-depth, --ignore-files and --on-error are the library's", async () => {
    const names = async (...args: string[]): Promise<string[]> =>
      (await copse("list", ...args, "-0")).out.split("\0").slice(0, -1);
    expect(await names("copy", "--max-depth", "1")).toEqual(["deep", "same.txt"]);
    expect(await names("copy", "-R", "-s", "name")).toEqual([
      "deep",
      "deep/down",
      "deep/down/same.txt",
      "same.txt",
    ]);
    expect(await names("copy", "-s", "size", "--include", "*.txt")).toHaveLength(2);
    expect(
      await names("copy", "--ignore-files", ".gitignore,.none", "--one-file-system"),
    ).toHaveLength(4);
    expect(await names("copy", "--ignore-files", ".none")).toHaveLength(4);
    const stopped = await copse("list", "fault:list=2,code=DENIED:copy", "--on-error", "stop");
    expect(stopped).toMatchObject({ status: 2, out: "" });
  });

  test("a reader that leaves after a line is nothing to speak of", async () => {
    const shell = `"$0" "$1" list /usr/include -0 | head -c 1 | wc -c; echo "\${PIPESTATUS[0]}"`;
    const { stdout, stderr } = Bun.spawnSync(["bash", "-c", shell, process.execPath, main]);
    expect(stderr.toString()).toBe("");
    expect(stdout.toString().split("\n")[0]!.trim()).toBe("1");
  });

  test("a file is its own only entry", async () => {
    expect((await copse("list", "left/content.txt")).out).toBe(
      "file   100 B  2023-11-14 22:13  left/content.txt\n",
    );
  });
});

describe("-v", () => {
  test("tells on standard error, more with more of it", async () => {
    const sizes: number[] = [];
    for (const level of ["-v", "-vv", "-vvv"]) {
      const { status, out, err } = await copse("compare", "copy", "twin", level, "--by", "hash");
      expect(status).toBe(0);
      expect(out.split("\n")).toHaveLength(2);
      expect(err).toContain("comparing copy with twin by hash");
      expect(err).toMatch(/^copse +[\d.]+ ms {2}/);
      sizes.push(err.length);
    }
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b));
    const { err } = await copse("compare", "copy", "twin", "-v", "-v", "-v");
    expect(err).toContain("kernel");
    expect(err).toContain("bytesRead");
  });
});

describe("help and versions", () => {
  test("--help has examples and the exit status, at 80 columns", async () => {
    for (const args of [["--help"], ...commands.map(({ name }) => [name, "--help"])]) {
      const { status, out, err } = await copse(...args);
      expect({ status, err }).toEqual({ status: 0, err: "" });
      expect(out).toContain("Examples:\n  ");
      expect(out).toContain("Exit status: 0");
      expect(Math.max(...out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
    }
  });

  test("no arguments are the help, and status 2", async () => {
    const { status, out } = await copse();
    expect(status).toBe(2);
    expect(out).toContain("copse compare");
  });

  test("--version names copse, Bun and the libraries", async () => {
    const { status, out } = await copse("--version");
    const own = JSON.parse(readFileSync(join(import.meta.dir, "..", "package.json"), "utf8"));
    expect(status).toBe(0);
    expect(out).toStartWith(`copse ${own.version}\nbun ${Bun.version}\n`);
    for (const library of ["blake3", "curl", "archive", "zstd"])
      expect(out).toMatch(new RegExp(`^${library} \\d`, "m"));
  });

  test("doctor looks at everything and says that all is well", async () => {
    const { status, out } = await copse("doctor");
    expect(status).toBe(0);
    for (const word of ["library", "core", "system", "engine", "places", "trial"]) {
      expect(out).toMatch(new RegExp(`^✓ ${word} `, "m"));
    }
    const document = JSON.parse((await copse("doctor", "--json")).out);
    expect(document.ok).toBe(true);
    expect(document.findings[0]).toMatchObject({ name: "copse" });
  });

  test("without its library the command says what to do", async () => {
    const missing = { COPSE_LIB: join(folder, "no-such.so") };
    for (const line of ["compare copy twin", "list copy"]) {
      const { status, out, err } = await shell(`copse ${line}`, missing);
      expect({ status, out }).toEqual({ status: 2, out: "" });
      expect(err).toMatch(/^copse: the copse library .*COPSE_LIB.*\n$/);
    }
    const doctor = await shell("copse doctor", missing);
    expect(doctor.status).toBe(2);
    expect(doctor.out).toMatch(/✗ library .*not loaded/);
    const version = await shell("copse --version", missing);
    expect(version.status).toBe(2);
    expect(version.out).toStartWith("copse ");
  });

  test("docs/cli.md explains every flag", () => {
    const page = readFileSync(join(import.meta.dir, "..", "docs", "cli.md"), "utf8");
    const flags = commands.flatMap(({ groups }) => Object.values(groups).flat());
    const names = flags.map(({ flags }) => /--[a-z0-9-]+/.exec(flags)![0]);
    expect(
      names.filter((name) => !page.includes(`\`${name}`) && !page.includes(`${name}\``)),
    ).toEqual([]);
  });
});

describe("completion", () => {
  test("bash completes commands, flags, values and paths", async () => {
    const ask = (words: string): string =>
      `COMP_WORDS=(${words}); COMP_CWORD=$((\${#COMP_WORDS[@]} - 1)); _copse; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const complete = async (words: string): Promise<string[]> => {
      const { out, err } = await shell(`eval "$(copse completion bash)"\n${ask(words)}`);
      expect(err).toBe("");
      return out.trimEnd().split("\n").toSorted();
    };
    expect(await complete("copse co")).toEqual([
      "compare",
      "compare-all",
      "completion",
      "config",
      "copy",
    ]);
    expect(await complete("copse compare --li")).toEqual(["--limits", "--links"]);
    expect(await complete("copse compare a b --by ''")).toEqual(["content", "hash", "stat"]);
    expect(await complete("copse manifest --format ''")).toEqual(["b3sum", "jsonl", "sha256"]);
    expect(await complete("copse pack --format ''")).toEqual(["copse", "znippy"]);
    expect(await complete("copse cp --by ''")).toEqual(["content", "hash", "stat"]);
    expect(await complete("copse compare lef")).toEqual(["left"]);
    expect(await complete("copse completion ''")).toContain("zsh");
  });

  test("zsh and fish get scripts that name every flag", async () => {
    for (const [shell, long] of [
      ["zsh", (name: string) => `--${name}`],
      ["fish", (name: string) => `-l ${name}`],
    ] as const) {
      const { status, out } = await copse("completion", shell);
      expect(status).toBe(0);
      for (const { groups } of commands) {
        for (const { flags } of Object.values(groups).flat()) {
          expect(out).toContain(long(/--([a-z0-9-]+)/.exec(flags)![1]!));
        }
      }
      const program = Bun.which(shell);
      if (!program) continue;
      const file = join(folder, `completion.${shell}`);
      writeFileSync(file, out);
      expect(Bun.spawnSync([program, "-n", file]).exitCode).toBe(0);
    }
  });
});
