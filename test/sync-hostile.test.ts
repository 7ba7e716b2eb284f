// Hostile trees, copied as root and as uid 65534 (security.md, trees): nothing outside the destination
// changes, what cannot be copied is an error of its own, and the rest is there.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chownSync, mkdirSync, readFileSync, readlinkSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { sync } from "../lib/index.ts";
import { isSanitized } from "./patience.ts";
import { mountIll } from "./servers/fuse.ts";
import { tied } from "./servers/tied.ts";
import { nobody } from "./somebody.ts";
import { said, shape } from "./synced.ts";
import { device, hard, isRoot, link, pipe, plantDeep, run, Scratch, type Tree } from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();

const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const library = join(import.meta.dir, "..", "lib", "index.ts");

interface User {
  readonly name: string;
  readonly uid: number;
  readonly prefix: readonly string[];
}

const me: User = { name: isRoot ? "root" : "oneself", uid: process.getuid!(), prefix: [] };
const another: User = {
  name: "uid 65534",
  uid: 65534,
  prefix: nobody,
};
const isReadable =
  isRoot &&
  Bun.spawnSync([...another.prefix, process.execPath, "-e", `await import("${library}")`], {
    cwd: "/",
  }).success;
if (!isReadable) console.log("skipped: as uid 65534, which nobody can become or read this here");
const users = isReadable ? [me, another] : [me];

interface Said {
  readonly rows: readonly string[];
  readonly deleted: number;
  readonly kept: number;
  readonly errors: number;
}

/** A sync by somebody, in a process of his. */
function syncAs(user: User, from: string, to: string, options: object = {}): Said {
  const script = `const { syncSync } = await import(${JSON.stringify(library)});
    let told;
    try {
      const { actions, errors, deleted, kept } = syncSync(process.argv[1], process.argv[2], JSON.parse(process.argv[3]));
      const rows = actions.map((a) => a.kind + " " + a.path + (a.error ? " " + a.error.code : ""));
      told = { rows, errors, deleted, kept };
    } catch (error) {
      told = { rows: ["failed " + error.code], errors: 1, deleted: 0, kept: 0 };
    }
    console.log(JSON.stringify(told));`;
  const { stdout, stderr, success } = Bun.spawnSync(
    [...user.prefix, process.execPath, "-e", script, from, to, JSON.stringify(options)],
    { cwd: "/" },
  );
  if (!success) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString()) as Said;
}

/** What of a tree anybody could have changed: names, types, modes, owners, sizes, times, content. */
const stateOf = (root: string): string =>
  run("find", root, "-printf", "%P %y %m %U %G %s %T@ %l\\n") +
  run("sh", "-c", 'find "$1" -type f -exec cksum {} +', "sh", root);

const wide = isSanitized ? 300 : 1000;
const deep = isSanitized ? 60 : 200;

const tree: Tree = {
  plain: "plain",
  "new\nline": "1",
  "\u001b]52;c;AAAA\u0007": "2",
  "\u202etxt.exe": "3",
  "e\u0301": "decomposed",
  "\u00e9": "composed",
  ["n".repeat(255)]: "5",
  "-rf": "6",
  "~": "7",
  "in/side": "8",
  "links/in": link("../in/side"),
  "links/out": link("../../outside/secret"),
  "links/absolute": link("/etc/passwd"),
  "links/self": link("self"),
  "links/a": link("b"),
  "links/b": link("a"),
  "links/up": link("../.."),
  "links/directory": link("../../outside"),
  one: "two names",
  two: hard("one"),
  pipe,
  closed: "nobody reads this",
  "shut/in": "nor this",
  empty: "",
  special: "set-user-ID",
  ...(isRoot ? { device: device(1, 3) } : {}),
};
/** Where the destination has traps before the first run. */
const traps: Tree = {
  in: link("../outside"),
  plain: link("../outside/secret"),
  "links/in/below": "a directory where a link will be",
  one: pipe,
  empty: "not so",
  gone: link("../outside"),
  "gone-too/through": link("../../outside"),
  ".copse-0011223344556677.part": link("../outside/secret"),
};

let from = "";
let count = 0;

beforeAll(() => {
  from = scratch.plant("from", tree);
  run("sh", "-c", `cd "$1" && printf 8 > "$(printf 'bad\\377name')"`, "sh", from);
  run("sh", "-c", `mkdir "$1/wide" && cd "$1/wide" && seq ${wide} | xargs touch`, "sh", from);
  plantDeep(join(from, "deep"), "d", deep, { leaf: "deep" });
  run("touch", "-h", "-d", "1901-12-14T00:00:00.5Z", join(from, "-rf"));
  run("touch", "-h", "-d", "2107-01-01T00:00:00Z", join(from, "~"));
  run("truncate", "-s", "3G", join(from, "sparse"));
  utimesSync(join(from, "in"), 5, 5);
  for (const [name, mode] of [
    ["closed", "0"],
    ["shut", "0"],
    ["special", "6755"],
  ])
    run("chmod", mode!, join(from, name!));
});

/** A destination with traps, and what lies outside of it. */
function trapped(user: User): { to: string; outside: string; before: string } {
  const place = scratch.at(`place${count++}`);
  mkdirSync(place);
  const outside = join(place, "outside");
  scratch.plant(join(`place${count - 1}`, "outside"), { secret: "secret", "below/f": "f" });
  const to = scratch.plant(join(`place${count - 1}`, "to"), traps);
  // The file of one name inside and one outside.
  run("ln", join(outside, "secret"), join(to, "special"));
  // Links too: whoever is not root may only replace what is his where the directory is sticky.
  run("chown", "-hR", `${user.uid}:${user.uid}`, to);
  // Also theirs, so that only care keeps them as they are.
  run("chown", "-hR", `${user.uid}:${user.uid}`, outside);
  return { to, outside, before: stateOf(outside) };
}

const relevant = (rows: readonly string[]): string[] =>
  rows.filter((row) => row.startsWith("error") || row.startsWith("failed"));

describe.each(users)("as $name", (user) => {
  const isClosed = user.uid !== 0;

  test("a hostile tree onto a hostile one: nothing outside changes, the rest is there", () => {
    const { to, outside, before } = trapped(user);
    const first = syncAs(user, from, to);
    expect(stateOf(outside)).toBe(before);
    // Who may not read all of the source does not delete; root does.
    expect(relevant(first.rows)).toEqual(
      isClosed
        ? [
            "error  CHANGED",
            "error closed DENIED",
            "error in EXISTS",
            "error links/in EXISTS",
            "error shut DENIED",
          ].filter((row) => first.rows.includes(row))
        : [],
    );
    if (isClosed) {
      expect(first.rows).toContain("error closed DENIED");
      expect(first.rows.some((row) => row.startsWith("error shut DENIED"))).toBe(true);
      expect(first.rows.some((row) => row.startsWith("deleted"))).toBe(false);
    }
    // Nothing special came over.
    expect(run("find", to, "-type", "b", "-o", "-type", "c", "-o", "-type", "s")).toBe("");
    expect(run("find", to, "-perm", "/7000")).toBe("");
    expect(run("find", to, "-name", ".copse-*")).toBe("");
    for (const name of ["plain", "new\nline", "e\u0301", "\u00e9", "n".repeat(255), "-rf", "~"])
      expect(readFileSync(join(to, name), "utf8")).toBe(String(tree[name]));
    expect(run("find", join(to, "wide"), "-type", "f", "-printf", "x")).toHaveLength(wide);
    expect(run("find", join(to, "deep"), "-name", "leaf", "-printf", "x")).toBe("x");
    expect(statSync(join(to, "sparse")).size).toBe(3 * 2 ** 30);
    expect(statSync(join(to, "sparse")).blocks).toBeLessThan(1000);
    for (const name of ["-rf", "~"])
      expect(run("stat", "-c", "%y", join(to, name))).toBe(
        run("stat", "-c", "%y", join(from, name)),
      );
    const again = syncAs(user, from, to, { dryRun: true });
    const steps = again.rows.filter((row) => !/^(error|skipped)/.test(row));
    if (!isClosed) expect(steps).toEqual([]);
    expect(stateOf(outside)).toBe(before);
  });

  test("copy replaces no directory and follows no link of the destination", () => {
    const { to, outside, before } = trapped(user);
    const first = syncAs(user, from, to, { delete: false });
    expect(stateOf(outside)).toBe(before);
    expect(readlinkSync(join(to, "gone"))).toBe("../outside");
    expect(statSync(join(to, "links/in")).isDirectory()).toBe(true);
    expect(readFileSync(join(to, "plain"), "utf8")).toBe("plain");
    expect(relevant(first.rows)).toContain("error links/in EXISTS");
  });

  test("a source that cannot be listed, is missing or is empty deletes nothing", () => {
    const to = scratch.plant(`kept${count++}`, { a: "a", "d/b": "b" });
    run("chown", "-R", `${user.uid}`, to);
    const before = stateOf(to);
    const empty = scratch.plant(`empty${count++}`, {});
    const codes = [`${empty}-missing`, empty].map((source) => syncAs(user, source, to).rows[0]);
    expect(codes).toEqual(["failed NOT_FOUND", "error  ARGUMENT"]);
    if (isClosed) {
      run("chmod", "0", empty);
      expect(syncAs(user, empty, to).rows).toEqual(["failed DENIED"]);
    }
    const names = (state: string): string => state.split("\n").slice(1).join("\n");
    expect(names(stateOf(to))).toBe(names(before)); // the root itself may get its mode
  });
});

test("files that are replaced, vanish and trade places with a link are whole or not there", async () => {
  const away = scratch.plant("away", { secret: "never" });
  const churned = scratch.plant("churned", {
    file: "?",
    other: "same",
    link: link(`${away}/secret`),
    plain: "plain",
  });
  const to = scratch.at("churned-to");
  const racers = [
    ["churn", join(churned, "file"), `${away}/secret`],
    ["exchange", join(churned, "plain"), join(churned, "link")],
  ].map((what) =>
    Bun.spawn(tied([process.execPath, join(import.meta.dir, "racer.ts"), ...what]), {
      stdout: "pipe",
      env: { ...process.env, COPSE_SANITIZER: "" },
    }),
  );
  try {
    for (const racer of racers) await racer.stdout.getReader().read();
    for (let i = 0; i < (isSanitized ? 20 : 150); i++) {
      const result = await sync(churned, to, { fsync: false, retries: 1, force: true });
      for (const row of result.actions)
        if (row.kind === "error")
          expect({ message: row.error.message, code: row.error.code }).toMatchObject({
            code: expect.stringMatching(/^(CHANGED|NOT_FOUND|EXISTS|UNSAFE_PATH)$/),
          });
      const now = shape(to);
      expect(now["other"]).toBe("same");
      // Each is what it was at some moment; nothing of what the link leads to came over.
      for (const name of ["plain", "link"])
        expect([undefined, "plain", `-> ${away}/secret`]).toContain(now[name]);
      const { file = "" } = now;
      expect(/^\?*\0*\?*$|^\? short$|^-> |^\/$/.test(file)).toBe(true);
      expect(Object.values(now)).not.toContain("never");
    }
  } finally {
    for (const racer of racers) racer.kill("SIGKILL");
    for (const racer of racers) await racer.exited;
  }
  expect(shape(away)).toEqual({ secret: "never" });
});

test.skipIf(!isRoot)(
  "a disk that answers EIO: each such file fails, the rest is done, nothing is deleted",
  async () => {
    const at = scratch.at("ill");
    mkdirSync(at);
    const ill = await mountIll(at, {
      well: { size: 100_000 },
      "fails-at-once": { size: 5000, failsAt: 0 },
      "fails-in-the-middle": { size: 3_000_000, failsAt: 1_500_000 },
      unseen: { size: 5, isUnseen: true },
      shut: { isShut: true },
      zero: { size: 0 },
    });
    if (typeof ill === "string") {
      console.log(`skipped: EIO by a file system of our own: ${ill}`);
      return;
    }
    using _ = ill;
    const to = scratch.plant("ill-to", { extra: "stays", "fails-in-the-middle": "old" });
    const result = await sync(at, to, { retries: 0 });
    expect(said(result).filter((line) => line.startsWith("error"))).toEqual([
      "error  CHANGED", // why nothing is deleted
      "error fails-at-once IO",
      "error fails-in-the-middle IO",
      "error shut IO",
      "error unseen IO",
    ]);
    expect(result).toMatchObject({ deleted: 0, kept: 1, complete: false });
    expect(shape(to)).toMatchObject({
      extra: "stays",
      "fails-in-the-middle": "old",
      well: "A".repeat(100_000),
      zero: "",
    });
    expect(run("find", to, "-name", ".copse-*")).toBe("");
  },
);

test.skipIf(!isRoot)(
  "a disk that loses what is written says so at fsync: the old file stays",
  async () => {
    // A file system in a file in a memory that is too small for it.
    const [memory, disk] = [scratch.at("memory"), scratch.at("disk")];
    for (const folder of [memory, disk]) mkdirSync(folder);
    const tried = (...command: string[]): boolean => Bun.spawnSync(command).success;
    const isThere =
      tried("mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", memory) &&
      tried("truncate", "-s", "96M", join(memory, "image")) &&
      tried(
        "mkfs.ext4",
        "-qF",
        "-O",
        "^has_journal",
        "-E",
        "lazy_itable_init=1,nodiscard",
        join(memory, "image"),
      ) &&
      tried("mount", "-o", "loop", join(memory, "image"), disk);
    try {
      if (!isThere) {
        console.log("skipped: a disk that loses what is written: no loop mount of ext4 here");
        return;
      }
      const from = scratch.plant("lost", {
        small: "small",
        large: new Uint8Array(40 << 20).fill(9),
      });
      const to = join(disk, "to");
      mkdirSync(to);
      run("sh", "-c", 'printf old > "$1"/large; sync -f "$1"', "sh", to);
      const result = await sync(from, to, { retries: 0 });
      // The kernel's word for it depends on what is below.
      expect(said(result).some((line) => /^error large (IO|NO_SPACE)$/.test(line))).toBe(true);
      expect(readFileSync(join(to, "large"), "utf8")).toBe("old");
    } finally {
      tried("umount", "-l", disk);
      tried("umount", "-l", memory);
    }
  },
);

test.skipIf(!isRoot)("a directory of somebody else that is sticky keeps what is his", () => {
  if (!isReadable) return;
  const source = scratch.plant("sticky-from", { mine: "new", theirs: "new" });
  const to = scratch.plant("sticky-to", { mine: "old", theirs: "old" });
  run("chmod", "1777", to);
  chownSync(join(to, "mine"), 65534, 65534);
  const { rows } = syncAs(another, source, to, { preserve: ["mtime"] });
  expect(rows).toContain("copied mine");
  expect(rows).toContain("error theirs DENIED");
  expect(shape(to)).toEqual({ mine: "new", theirs: "old" });
});
