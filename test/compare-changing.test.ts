// compare: files and directories that change while they are compared (compare.md section 2, "a file that shrinks, grows
// or is replaced", and security.md 3.13). Reads are slowed down by the fault store; the change is made by a shell that waits
// until copse has the file open, so nothing depends on luck or on the clock.

import { afterAll, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { Runtime } from "../lib/index.ts";
import { tied } from "./servers/tied.ts";
import { directory, groundsIn, Scratch, type Tree } from "./trees.ts";
import { awaited, facts, leaveNothingOpen, sync, type Way } from "./ways.ts";

leaveNothingOpen();
const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const { file } = groundsIn(() => scratch);

// Marks the change as made in time when the file is still open after it.
const waitAndChange = `
  is_open() { ls -l "/proc/$1/fd" 2>/dev/null | grep -qF -- "$2"; }
  until is_open "$1" "$2"; do kill -0 "$1" 2>/dev/null || exit; done
  (cd "$3" && eval "$4")
  if is_open "$1" "$2"; then : > "$3.in-time"; fi`;

/** Changes a tree as soon as this process has one of its files open. */
function meddle(
  root: string,
  when: string,
  change: string,
): Disposable & { settled(): Promise<boolean> } {
  const child = Bun.spawn(
    tied(["sh", "-c", waitAndChange, "sh", String(process.pid), `${root}/${when}`, root, change]),
    { stderr: "inherit" },
  );
  return {
    // Whoever looks too late waits for a file that is never open again.
    settled: async () => {
      const inTime = existsSync(`${root}.in-time`);
      child.kill();
      await child.exited;
      return inTime;
    },
    [Symbol.dispose]: () => child.kill(),
  };
}

interface Scene {
  readonly tree: Tree;
  /** The file that is open when the change is made. */
  readonly when: string;
  /** A shell command, run in the left tree. */
  readonly change: string;
  /** Reads on the left while `when` is open. */
  readonly reads: number;
  readonly by?: "content" | "hash";
}

/** What compare says of two equal trees, the left one of which is changed meanwhile. */
async function watch(way: Way, scene: Scene): Promise<string[]> {
  // Milliseconds that the file is open for: mostly the first is enough, on a busy machine the shell is late.
  for (const milliseconds of [300, 1000, 4000, 16_000]) {
    const [left, right] = [await file.plant(scene.tree), await file.plant(scene.tree)];
    using meddler = meddle(left, scene.when, scene.change);
    const delay = Math.ceil(milliseconds / scene.reads);
    // One of its own: a slow read keeps the worker that makes it.
    await using runtime = new Runtime({ workers: 1, ioWorkers: 1 });
    const answer = await way.compare(`fault:delay=${delay}:${left}`, right, {
      runtime,
      concurrency: 1,
      ...(scene.by === undefined ? {} : { by: scene.by }),
    });
    if (!(await meddler.settled())) continue;
    expect(answer.equal).toBe(false);
    for (const row of answer.differences)
      if (row.kind === "error") expect(row.error.location).toContain(left);
    return facts(answer);
  }
  throw new Error("the shell was late each time");
}

const medium = Buffer.alloc(900_000, 1);
/** Content, and how many reads on a side it takes: a file in blocks, one in several reads, one in a single read. */
const contents = [
  ["large", Buffer.alloc(17 << 20, 1), { content: 136, hash: 68 }],
  ["medium", medium, { content: 6, hash: 4 }],
  ["small", Buffer.alloc(1000, 1), { content: 1, hash: 1 }],
] as const;
const asked = [
  [sync, "content"],
  [awaited, "content"],
  [awaited, "hash"],
] as const;

describe("compare.md 2, a file that changes while it is compared is different or CHANGED, never equal:", () => {
  const changes: readonly [string, string, RegExp][] = [
    ["grows", "printf x >> f", /^(differs size|error CHANGED) f$/],
    ["shrinks", "truncate -s -1 f", /^(differs size|error CHANGED) f$/],
    ["shrinks to nothing", ": > f", /^(differs (size|content@\d+)|error CHANGED) f$/],
    [
      "is written to",
      "printf xyz | dd of=f bs=1 seek=990 conv=notrunc status=none",
      /^(differs content@\d+|error CHANGED) f$/,
    ],
  ];
  for (const [what, change, allowed] of changes)
    for (const [size, content, reads] of contents)
      test.concurrent(`a ${size} file that ${what}`, async () => {
        for (const [way, by] of asked) {
          const says = await watch(way, {
            tree: { f: content },
            when: "f",
            change,
            reads: reads[by],
            by,
          });
          expect(says).toEqual([
            expect.stringMatching(
              by === "hash" ? /^(differs (size|content)|error CHANGED) f$/ : allowed,
            ),
          ]);
        }
      });

  for (const [what, change] of [
    ["is replaced by another file", "printf x > ../new$$; mv ../new$$ f"],
    ["is replaced by a copy of itself", "cp f ../new$$; mv ../new$$ f"],
    ["vanishes", "rm f"],
  ] as const)
    for (const [size, content, reads] of contents) {
      // What was read in one go was whole when it was read.
      if (size === "small") continue;
      test.concurrent(`a ${size} file that ${what}`, async () => {
        for (const [way, by] of asked) {
          const says = await watch(way, {
            tree: { f: content },
            when: "f",
            change,
            reads: reads[by],
            by,
          });
          expect(says).toEqual([
            expect.stringMatching(/^(differs (size|content@?\d*)|error (CHANGED|NOT_FOUND)) f$/),
          ]);
        }
      });
    }

  test.concurrent("a root that is a file and shrinks", async () => {
    const left = scratch.plant("root", { f: medium, same: medium });
    using meddler = meddle(left, "f", "truncate -s 800000 f");
    const answer = await awaited.compare(`fault:delay=100:${left}/f`, `${left}/same`);
    if (await meddler.settled())
      expect(facts(answer)).toEqual([expect.stringMatching(/^(differs size|error CHANGED) $/)]);
  });
});

describe("compare.md 2, an entry that is something else by the time it is looked at:", () => {
  // While `a` is read, slowly, what was listed after it is changed.
  const after: readonly [string, Tree, string, RegExp][] = [
    ["a file that vanished", { b: "1" }, "rm b", /^error NOT_FOUND b$/],
    ["a file that is a pipe now", { b: "1" }, "rm b; mkfifo b", /^error CHANGED b$/],
    ["an empty file that is a pipe now", { b: "" }, "rm b; mkfifo b", /^error CHANGED b$/],
    [
      "a file that is a link now",
      { b: "1" },
      "mv b ../elsewhere$$; ln -s ../elsewhere$$ b",
      /^error CHANGED b$/,
    ],
    ["a file that is a directory now", { b: "1" }, "rm b; mkdir b", /^error CHANGED b$/],
    ["a file with other content now", { b: "1" }, "printf 2 > b", /^differs content@0 b$/],
    ["a directory that vanished", { "b/c": "1" }, "rm -r b", /^error NOT_FOUND b$/],
    ["a directory that is a file now", { "b/c": "1" }, "rm -r b; : > b", /^error CHANGED b$/],
    [
      "a directory that is a link to itself elsewhere now",
      { "b/c": "1" },
      "mv b ../moved$$; ln -s ../moved$$ b",
      /^error CHANGED b$/,
    ],
    [
      "an empty directory that is a pipe now",
      { b: directory },
      "rmdir b; mkfifo b",
      /^error CHANGED b$/,
    ],
  ];
  for (const [what, tree, change, says] of after)
    test.concurrent(what, async () => {
      for (const way of [sync, awaited])
        expect(
          await watch(way, { tree: { a: "slow", ...tree }, when: "a", change, reads: 1 }),
        ).toEqual([expect.stringMatching(says)]);
    });

  test.concurrent("a file that is a socket now", async () => {
    const [left, right] = [
      await file.plant({ a: "slow", b: "1" }),
      await file.plant({ a: "slow", b: "1" }),
    ];
    const server = Bun.listen({ unix: `${left}.socket`, socket: { data() {} } });
    using meddler = meddle(left, "a", `mv "${left}.socket" b`);
    const answer = await awaited.compare(`fault:delay=300:${left}`, right, { concurrency: 1 });
    if (await meddler.settled()) expect(facts(answer)).toEqual(["error CHANGED b"]);
    server.stop();
  });

  test("what vanished on one side before it was looked at has the code NOT_FOUND, and the rest goes on", async () => {
    const tree: Tree = { a: "1", b: "2", "c/d": "3", e: "4" };
    const [left, right] = [await file.plant(tree), await file.plant({ ...tree, e: "5" })];
    for (const way of [sync, awaited]) {
      const answer = await way.compare(`fault:open=1,enter=1,vanish:${left}`, right, {
        concurrency: 1,
      });
      expect(facts(answer).toSorted()).toEqual(
        ["differs content@0 e", "error NOT_FOUND a", "error NOT_FOUND c"].toSorted(),
      );
    }
  });

  test("a short read is not the end: content that is cut off in the midst is never equal", async () => {
    const tree: Tree = { f: medium };
    const [left, right] = [await file.plant(tree), await file.plant(tree)];
    for (const way of [sync, awaited])
      for (const read of [1, 2, 3]) {
        const answer = await way.compare(`fault:read=${read},cut=10:${left}`, right);
        expect(answer).toMatchObject({ equal: false });
        expect(facts(answer)).toHaveLength(1);
        // Cut on both sides alike: the size says that something is missing.
        const both = await way.compare(
          `fault:read=${read},cut=10:${left}`,
          `fault:read=${read},cut=10:${right}`,
        );
        if (read > 1) expect(both.equal).toBe(false);
      }
  });
});
