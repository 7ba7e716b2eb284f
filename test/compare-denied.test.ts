// compare and list: what may not be read, seen as a user who is not root (compare.md 1.3, 1.4, 1.5, 2.17).

import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, existsSync } from "node:fs";
import { join } from "node:path";
import { nobody } from "./somebody.ts";
import { hard, isRoot, link, Scratch, type Tree } from "./trees.ts";
import { leaveNothingOpen } from "./ways.ts";
import type { Answer, Question } from "./fixtures/questions.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());

const child = join(import.meta.dir, "fixtures", "questions.ts");

/** Sync and async answers, which the child finds to be the same. Root reads everything, so it asks as nobody. */
function ask(questions: readonly Question[]): Answer[] {
  const command = [...(isRoot ? nobody : []), process.execPath, child, JSON.stringify(questions)];
  const { stdout, stderr, exitCode } = Bun.spawnSync(command, {
    env: { ...process.env, HOME: scratch.path },
  });
  if (exitCode !== 0) throw new Error(stderr.toString());
  return JSON.parse(stdout.toString()) as Answer[];
}

/** Why the tests of this file cannot run here. */
function whyNot(): string | undefined {
  if (!isRoot) return undefined;
  if (!Bun.which("setpriv")) return "setpriv is missing and root may read everything";
  try {
    ask([]);
  } catch (error) {
    return `uid 65534 cannot run the library from this folder: ${String(error).split("\n")[0]}`;
  }
  return undefined;
}

const reason = whyNot();
if (reason !== undefined) console.log(`skipped: everything about denied access, because ${reason}`);

/** Plants a tree and takes access away: paths in `closed` lose all permissions, the lowest first. */
function planted(name: string, tree: Tree, closed: readonly string[]): string {
  const root = scratch.plant(name, tree);
  for (const path of closed.toSorted().toReversed()) {
    if (isRoot) chownSync(join(root, path), 0, 0);
    chmodSync(join(root, path), 0);
  }
  return root;
}

const tree: Tree = { a: "1", secret: "s", "closed/x": "1", "closed/y/z": "2", z: "1" };

describe.skipIf(reason !== undefined)("compare.md, denied access:", () => {
  test("1.5: an unreadable file on one side is an error row of that side, the rest goes on", () => {
    const open = planted("file-open", { a: "1", secret: "s", z: "2" }, []);
    const shut = planted("file-shut", { a: "1", secret: "s", z: "1" }, ["secret"]);
    const options = { by: "hash" } as const;
    const says = (side: string): Answer => ({
      equal: false,
      complete: false,
      rows: [`error DENIED EACCES ${side} secret`, "differs content z"],
    });
    expect(
      ask([
        { verb: "compare", left: open, right: shut },
        { verb: "compare", left: shut, right: open },
        { verb: "compare", left: open, right: shut, options },
        { verb: "compare", left: shut, right: open, options },
      ]),
    ).toEqual([says("right"), says("left"), says("right"), says("left")]);
  });

  test("2.17: permission errors on both sides: not equal, not complete, an error row for each side", () => {
    const left = planted("both-left", tree, ["secret", "closed"]);
    const right = planted("both-right", tree, ["secret", "closed"]);
    const rows = [
      "error DENIED EACCES left closed",
      "error DENIED EACCES right closed",
      "error DENIED EACCES left secret",
      "error DENIED EACCES right secret",
    ];
    for (const by of ["content", "hash"] as const) {
      const [answer] = ask([{ verb: "compare", left, right, options: { by } }]);
      expect(answer).toMatchObject({ equal: false, complete: false });
      expect(answer?.rows.toSorted()).toEqual(rows.toSorted());
    }
  });

  test("2.17: the same unreadable tree on both sides is not equal either", () => {
    const root = planted("same", tree, ["secret", "closed"]);
    const [answer] = ask([{ verb: "compare", left: root, right: root }]);
    expect(answer).toMatchObject({ equal: false, complete: false });
    expect(answer?.rows.some((row) => row.endsWith(" secret"))).toBe(true);
    expect(answer?.rows.some((row) => row.endsWith(" closed"))).toBe(true);
  });

  test("1.5: an unreadable directory on one side is an error row; nothing is said of what is below on the other", () => {
    const open = planted("directory-open", tree, []);
    const shut = planted("directory-shut", tree, ["closed"]);
    expect(ask([{ verb: "compare", left: open, right: shut }])).toEqual([
      { equal: false, complete: false, rows: ["error DENIED EACCES right closed"] },
    ]);
  });

  test("1.5: what one side lacks is told, even when it cannot be looked into", () => {
    const left = planted("only-left", tree, ["secret", "closed"]);
    const right = planted("only-right", { a: "1", z: "1" }, []);
    const [answer] = ask([{ verb: "compare", left, right }]);
    expect(answer).toMatchObject({ equal: false, complete: false });
    // A name and a type are known of a file that cannot be opened; what a directory holds is not.
    expect(answer?.rows.toSorted()).toEqual([
      "error DENIED EACCES left closed",
      "only-left closed",
      "only-left secret",
    ]);
  });

  test("1.5: a hard link to the same unreadable file cannot be opened, so it is an error and not equal", () => {
    const left = planted("hard-left", { f: "1", g: "1" }, ["f"]);
    const right = planted("hard-right", { f: hard("../hard-left/f"), g: "1" }, []);
    const [answer] = ask([{ verb: "compare", left, right, options: { metadata: ["mode"] } }]);
    expect(answer).toMatchObject({ equal: false, complete: false });
    for (const row of answer?.rows ?? []) expect(row).toStartWith("error DENIED EACCES");
  });

  test("1.2: a followed link to what may not be looked at is an error, never equal", () => {
    const hidden = planted("hidden", { "d/f": "1", "e/g/h": "1" }, ["d", "e"]);
    const trees = ["follow-left", "follow-right"].map((name) =>
      scratch.plant(name, { l: link(`${hidden}/d/f`), m: link(`${hidden}/e/g`), ok: "1" }),
    );
    const [left = "", right = ""] = trees;
    const [kept, followed, alone] = ask([
      { verb: "compare", left, right },
      { verb: "compare", left, right, options: { links: "follow" } },
      {
        verb: "compare",
        left,
        right: scratch.plant("follow-none", { ok: "1" }),
        options: { links: "follow" },
      },
    ]);
    expect(kept).toEqual({ equal: true, complete: true, rows: [] });
    expect(followed).toMatchObject({ equal: false, complete: false });
    expect(followed?.rows.toSorted()).toEqual([
      "error DENIED EACCES left l",
      "error DENIED EACCES left m",
      "error DENIED EACCES right l",
      "error DENIED EACCES right m",
    ]);
    expect(alone).toMatchObject({ equal: false, complete: false });
    expect(
      alone?.rows.every((row) => /^error DENIED EACCES left [lm]$|^only-left [lm]$/.test(row)),
    ).toBe(true);
  });

  test("1.4: a root that may not be read is DENIED", () => {
    const shut = planted("root-shut", { "d/x": "1", f: "1" }, ["d", "f"]);
    const open = planted("root-open", { "d/x": "1", f: "1" }, []);
    const denied: Answer = { code: "DENIED", errno: "EACCES", rows: [] };
    expect(
      ask([
        { verb: "compare", left: `${shut}/d`, right: `${open}/d` },
        { verb: "compare", left: `${open}/d`, right: `${shut}/d` },
        { verb: "compare", left: `${shut}/d`, right: `${shut}/d` },
        { verb: "compare", left: `${shut}/d/x`, right: `${open}/d/x` },
        { verb: "compare", left: `${shut}/f`, right: `${open}/f` },
        { verb: "compare", left: `${open}/f`, right: `${shut}/f` },
        { verb: "compare", left: `${shut}/f`, right: `${shut}/f` },
        { verb: "list", left: `${shut}/d` },
      ]),
    ).toEqual(Array.from({ length: 8 }, () => denied));
  });

  test("1.5: a directory that can be listed but not entered: rows for what it names", () => {
    const left = scratch.plant("listed", { "d/f": "1", "d/l": link("x") });
    const right = scratch.plant("listed-right", { "d/f": "1", "d/l": link("x") });
    if (isRoot) chownSync(`${left}/d`, 0, 0);
    chmodSync(`${left}/d`, 0o444);
    const [answer] = ask([{ verb: "compare", left, right }]);
    expect(answer).toMatchObject({ equal: false, complete: false });
    expect(answer?.rows.toSorted()).toEqual([
      "error DENIED EACCES left d/f",
      "error DENIED EACCES left d/l",
    ]);
  });

  test("moves: a candidate that cannot be read stays one-sided, and nothing is called complete that was not seen", () => {
    const left = planted("moves-left", { from: "12345" }, ["from"]);
    const right = planted("moves-right", { to: "12345" }, []);
    const [answer] = ask([{ verb: "compare", left, right, options: { moves: true } }]);
    expect(answer?.equal).toBe(false);
    expect(answer?.rows.filter((row) => !row.startsWith("error")).toSorted()).toEqual([
      "only-left from",
      "only-right to",
    ]);
  });

  test("by: stat needs no right to read, and says nothing about what it did not need", () => {
    const left = planted("stat-left", { f: "1", g: "12" }, ["f"]);
    const right = planted("stat-right", { f: "1", g: "1" }, ["f"]);
    const [answer] = ask([
      { verb: "compare", left, right, options: { by: "stat", include: ["g"] } },
    ]);
    expect(answer).toEqual({ equal: false, complete: true, rows: ["differs size g"] });
  });

  test("list: what cannot be entered is in errors, and the listing is not complete", () => {
    const root = planted("list", tree, ["secret", "closed"]);
    expect(ask([{ verb: "list", left: root }])).toEqual([
      { complete: false, rows: ["a", "closed", "secret", "z", "error DENIED EACCES left closed"] },
    ]);
    expect(ask([{ verb: "list", left: root, options: { exclude: ["closed"] } }])).toEqual([
      { complete: true, rows: ["a", "secret", "z"] },
    ]);
  });

  test("the probe itself: uid 65534 reads what is open", () => {
    const root = planted("probe", { a: "1" }, []);
    expect(existsSync(root)).toBe(true);
    expect(ask([{ verb: "compare", left: root, right: root }])).toEqual([
      { equal: true, complete: true, rows: [] },
    ]);
  });
});
