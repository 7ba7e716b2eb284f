// compare: what is no plain file: pipes, sockets, devices, files of /proc and /sys, empty directories, types that do
// not agree (compare.md 2.1, 2.3, 2.4, 2.10).

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { tied } from "./servers/tied.ts";
import { device, directory, groundsIn, isRoot, link, pipe, Scratch, type Tree } from "./trees.ts";
import { facts, leaveNothingOpen, ways } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file } = groundsIn(() => scratch);

function because(condition: boolean, reason: string): boolean {
  if (condition) console.log(`skipped: ${reason}`);
  return condition;
}

describe("compare.md 2.1, files whose size is not known:", () => {
  const noProc = because(
    !existsSync("/proc/version"),
    "files of /proc, because there is no /proc here",
  );

  test.skipIf(noProc)(
    "two different files whose st_size is 0 but which have content: differs, content, with the offset",
    async () => {
      const [version, cpus] = [readFileSync("/proc/version"), readFileSync("/proc/cpuinfo")];
      expect(statSync("/proc/version").size).toBe(0);
      let at = 0;
      while (version[at] === cpus[at]) at++;
      for (const way of ways)
        for (const options of [
          {},
          { sizeCheck: false },
          { chunkSize: 3 },
          { concurrency: 1 },
          { stopAtFirst: true },
        ])
          expect(facts(await way.compare("/proc/version", "/proc/cpuinfo", options))).toEqual([
            `differs content@${at} `,
          ]);
    },
  );

  test.skipIf(noProc)(
    "a file of /proc against a copy of its content is equal, and against another it differs by content",
    async () => {
      const version = readFileSync("/proc/version");
      const root = scratch.plant("copies", {
        version,
        changed: Buffer.concat([version.subarray(0, -1), Buffer.from("!")]),
        longer: Buffer.concat([version, version]),
        empty: "",
      });
      for (const way of ways)
        for (const options of [{}, { chunkSize: 1 }, { chunkSize: 64 }, { by: "hash" } as const]) {
          expect(facts(await way.compare("/proc/version", `${root}/version`, options))).toEqual([]);
          expect(facts(await way.compare(`${root}/version`, "/proc/version", options))).toEqual([]);
          for (const other of ["changed", "longer", "empty"]) {
            const answer = await way.compare("/proc/version", `${root}/${other}`, options);
            expect(answer).toMatchObject({
              equal: false,
              complete: true,
              differences: [{ kind: "differs", path: "" }],
            });
          }
        }
    },
  );

  test.skipIf(noProc)(
    "a large file of /proc against a copy of its content is equal, whatever the chunk",
    async () => {
      // Long enough for several reads, which /proc answers a page at a time, and the same each time it is read.
      const large = ["/proc/kallsyms", "/proc/crypto", "/proc/filesystems"].find(
        (path) =>
          existsSync(path) &&
          readFileSync(path).length > 0 &&
          readFileSync(path).equals(readFileSync(path)),
      );
      if (large === undefined) throw new Error("no file of /proc stays the same");
      const content = readFileSync(large);
      const changed = Buffer.from(content);
      const at = content.length - 2;
      changed[at] = (changed[at] ?? 0) ^ 1;
      const root = scratch.plant("large-copies", {
        same: content,
        changed,
        shorter: content.subarray(0, -1),
      });
      for (const way of ways)
        for (const options of [{}, { chunkSize: 5000 }]) {
          expect(facts(await way.compare(large, `${root}/same`, options))).toEqual([]);
          expect(facts(await way.compare(`${root}/same`, large, options))).toEqual([]);
          expect(facts(await way.compare(large, `${root}/changed`, options))).toEqual([
            `differs content@${at} `,
          ]);
          expect(await way.compare(large, `${root}/shorter`, options)).toMatchObject({
            equal: false,
            complete: true,
          });
        }
    },
  );

  // A file of /sys is said to be a page long, and mostly is not.
  const claimed = [
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/notes",
    "/sys/kernel/uevent_seqnum",
    "/sys/devices/system/cpu/online",
  ].find((path) => existsSync(path) && statSync(path).size > readFileSync(path).length);
  test.skipIf(
    because(claimed === undefined, "files of /sys, because none claims another size than it has"),
  )("a file that claims a larger size than it has is compared by what it has", async () => {
    const path = claimed ?? "";
    const content = readFileSync(path);
    const root = scratch.plant("claims", { same: content, other: `${content.toString()}x` });
    for (const way of ways)
      for (const options of [{}, { chunkSize: 1 }, { by: "hash" } as const]) {
        expect(facts(await way.compare(path, `${root}/same`, options))).toEqual([]);
        expect(facts(await way.compare(`${root}/same`, path, options))).toEqual([]);
        expect(await way.compare(path, `${root}/other`, options)).toMatchObject({ equal: false });
      }
  });

  test.skipIf(noProc)(
    "followed links from a disk into /proc are read to their end too",
    async () => {
      // One directory, two file systems: what a short read means is not the directory's affair.
      const path =
        readFileSync("/proc/cpuinfo").length > 100 ? "/proc/filesystems" : "/proc/version";
      const left = scratch.plant("into-proc", { a: "on disk", b: link(path) });
      const right = scratch.plant("from-proc", { a: "on disk", b: readFileSync(path) });
      for (const way of ways)
        for (const options of [{}, { metadata: [] }])
          expect(facts(await way.compare(left, right, { links: "follow", ...options }))).toEqual(
            [],
          );
    },
  );
});

describe("compare.md 2.3, special files:", () => {
  const left = scratch.plant("special-left", {
    "all/p": pipe,
    both: pipe,
    mixed: pipe,
    file: pipe,
    dir: pipe,
    link: pipe,
  });
  const right = scratch.plant("special-right", {
    "all/": directory,
    both: pipe,
    file: "",
    "dir/": directory,
    link: link("file"),
  });
  const servers: { stop(): void }[] = [];
  beforeAll(() => {
    for (const path of [`${left}/all/s`, `${left}/socket`, `${right}/socket`, `${right}/mixed`])
      servers.push(Bun.listen({ unix: path, socket: { data() {} } }));
  });
  afterAll(() => {
    for (const server of servers) server.stop();
  });

  test("a pipe or a socket on one side only is only-left, type other, and nothing blocks", async () => {
    const says = [
      "differs type dir",
      "differs type file",
      "differs type link",
      "differs type mixed",
    ];
    for (const way of ways)
      for (const options of [
        {},
        { links: "follow" } as const,
        { by: "hash" } as const,
        { by: "stat" } as const,
        { moves: true },
      ]) {
        expect(facts(await way.compare(left, right, options))).toEqual([
          "only-left other all/p",
          "only-left other all/s",
          ...says,
        ]);
        expect(facts(await way.compare(right, left, options))).toEqual([
          "only-right other all/p",
          "only-right other all/s",
          ...says,
        ]);
      }
  });

  test("a pipe on both sides is equal, a pipe and a socket are a type difference", async () => {
    for (const way of ways) {
      const answer = await way.compare(left, right, { include: ["both", "socket", "mixed"] });
      expect(facts(answer)).toEqual(["differs type mixed"]);
      expect(answer.differences).toMatchObject([
        { left: { type: "other" }, right: { type: "other" } },
      ]);
      expect(answer.files).toBe(0);
    }
  });

  test.skipIf(because(!isRoot, "device files, because only root can make them"))(
    "devices are equal when kind and number agree, and are never opened",
    async () => {
      const tree: Tree = { same: device(1, 3), other: device(1, 3), only: device(1, 5) };
      const l = await file.plant(tree);
      const r = await file.plant({ same: device(1, 3), other: device(1, 5) });
      for (const way of ways)
        expect(facts(await way.compare(l, r))).toEqual([
          "only-left other only",
          "differs type other",
        ]);
    },
  );

  test("nothing special was opened, not even for a moment", async () => {
    // Whoever opened a pipe for writing would be woken by a reader: the writer below stays blocked until it is ended.
    const l = scratch.plant("opened-left", { p: pipe });
    const r = scratch.plant("opened-right", { p: pipe });
    await using writer = Bun.spawn(tied(["sh", "-c", 'echo opened > "$1"', "sh", `${l}/p`]));
    for (const way of ways) expect(facts(await way.compare(l, r))).toEqual([]);
    expect(writer.exitCode).toBeNull();
    writer.kill("SIGKILL"); // a sanitizer holds other signals back until the call returns
    await writer.exited;
  });
});

describe("compare.md 2.4 and 2.10, directories and types:", () => {
  test("every pair of types that do not agree is one row of reason type", async () => {
    const kinds: readonly (readonly [string, Tree])[] = [
      ["file", { x: "1" }],
      ["directory", { "x/y/z": "1" }],
      ["link", { x: link("to") }],
      ["other", { x: pipe }],
    ];
    for (const [leftKind, leftTree] of kinds)
      for (const [rightKind, rightTree] of kinds) {
        if (leftKind === rightKind) continue;
        const [l, r] = [await file.plant(leftTree), await file.plant(rightTree)];
        for (const way of ways)
          for (const options of [
            {},
            { by: "hash" } as const,
            { by: "stat" } as const,
            { metadata: ["mode"] as const },
            { moves: true },
          ]) {
            const answer = await way.compare(l, r, options);
            expect(facts(answer)).toEqual(["differs type x"]);
            expect(answer.differences).toMatchObject([
              { left: { type: leftKind }, right: { type: rightKind } },
            ]);
          }
      }
  });

  test("a link to a directory against the directory, followed: what differs in the type below is told", async () => {
    const l = await file.plant({ "real/x/y": "1", l: link("real") });
    const r = await file.plant({ "real/x/y": "1", "l/x": "1" });
    for (const way of ways)
      expect(facts(await way.compare(l, r, { links: "follow" }))).toEqual(["differs type l/x"]);
  });

  test("empty directories on both sides are equal; inside each other they are one-sided", async () => {
    const l = await file.plant({ "a/": directory, "b/c/d/": directory });
    const r = await file.plant({ "a/": directory, "b/": directory });
    for (const way of ways)
      expect(facts(await way.compare(l, r))).toEqual([
        "only-left directory b/c",
        "only-left directory b/c/d",
      ]);
  });
});

describe("compare.md 1.5, whole system directories:", () => {
  test("/proc/self/fdinfo, whose files come and go, ends without harm", async () => {
    if (!existsSync("/proc/self/fdinfo")) return;
    expect(readdirSync("/proc/self/fdinfo").length).toBeGreaterThan(0);
    const right = await file.plant({ "0": "not this" });
    for (const way of ways) {
      const answer = await way.compare("/proc/self/fdinfo", right);
      expect(answer.equal).toBe(false);
      facts(answer);
    }
  });
});
