// Trees that somebody changes, or has made to be troublesome. Nothing may be read outside of a tree, nothing that
// differs may be called equal, and nothing may hang.
//
// COPSE_HOSTILE=all makes the races longer.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { chmodSync, readdirSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { compare, compareSync, Store, type CompareOptions, type Difference } from "../lib/index.ts";
import { isSanitized, within } from "./patience.ts";
import { tied } from "./servers/tied.ts";
import { nobody } from "./somebody.ts";
import {
  device,
  isRoot,
  link,
  pipe,
  plantDeep,
  quickFolder,
  run,
  Scratch,
  type Tree,
} from "./trees.ts";
import { codeOf, fact, leaveNothingOpen } from "./ways.ts";

leaveNothingOpen();

const scratch = new Scratch();
afterAll(() => scratch[Symbol.dispose]());
const isLong = process.env.COPSE_HOSTILE === "all";
const rounds = isLong ? 10_000 : isSanitized ? 100 : 400;

// ── Races ──

const RACE_MS = within(isLong ? 600_000 : 60_000);

/** Somebody who changes the tree as long as the block lasts. */
async function racer(...what: readonly string[]): Promise<Disposable> {
  const child = Bun.spawn(tied([process.execPath, join(import.meta.dir, "racer.ts"), ...what]), {
    stdout: "pipe",
    stderr: "inherit",
    env: { ...process.env, COPSE_SANITIZER: "" },
  });
  const reader = child.stdout.getReader();
  const { done } = await reader.read();
  if (done) throw new Error("the racer did not start");
  await reader.cancel();
  return {
    [Symbol.dispose]() {
      if (child.exitCode !== null) throw new Error("the racer fell over");
      child.kill("SIGKILL");
    },
  };
}

const variants: readonly CompareOptions[] = [
  {},
  { by: "hash" },
  { metadata: ["mode"] },
  { moves: true },
  { stopAtFirst: true },
  { links: "skip" },
];

/** Compares again and again, in turn by every variant, sync and async, and gives each answer's rows to `look`. */
async function repeatedly(
  left: string,
  right: string,
  look: (rows: readonly Difference[], equal: boolean, options: CompareOptions) => void,
  isEnough: () => boolean = () => true,
): Promise<void> {
  const until = performance.now() + 60_000;
  for (let round = 0; round < rounds || (!isEnough() && performance.now() < until); round++) {
    const options = variants[round % variants.length] ?? {};
    const isSync = round % 2 === 0;
    const answer = isSync ? compareSync(left, right, options) : await compare(left, right, options);
    look(answer.differences, answer.equal, options);
    if (answer.equal) expect(answer.differences).toEqual([]);
    if (answer.differences.some((row) => row.kind === "error")) expect(answer.complete).toBeFalse();
  }
}

/** What may be said of an entry that was another one a moment ago. */
const moment =
  /^error (CHANGED|NOT_FOUND) |^(differs (type|target|mode)|only-left (link|directory)|only-right (link|directory)) /;

const inside: Tree = Object.fromEntries(
  Array.from({ length: 20 }, (_, i) => [
    `f${i}`,
    i % 5 === 0 ? "i".repeat(300_000) : `inside ${i}`,
  ]),
);
const outside: Tree = Object.fromEntries(
  Object.entries(inside).map(([name, content]) => [name, String(content).replaceAll("i", "o")]),
);
const under = (above: string, tree: Tree): Tree =>
  Object.fromEntries(Object.entries(tree).map(([name, plant]) => [`${above}/${name}`, plant]));

describe("while somebody changes the tree,", () => {
  test(
    "a directory that trades places with a link out of the tree is never left",
    async () => {
      const away = scratch.plant("away", { ...outside, canary: "never to be seen" });
      const plant = { ...under("sub", inside), ...under("sub/deeper", inside), link: link(away) };
      const left = scratch.plant("swapped", plant);
      const right = scratch.plant("swapped-right", plant);
      const seen = { still: 0, moved: 0 };
      using _ = await racer("exchange", `${left}/sub`, `${left}/link`);
      await repeatedly(
        left,
        right,
        (rows, _equal, { links }) => {
          seen[rows.length === 0 ? "still" : "moved"]++;
          for (const row of rows) {
            expect(JSON.stringify(row)).not.toContain("canary");
            if (links === "skip") continue; // one side may have the directory alone
            // Below it only errors: content was never another one inside of the tree.
            expect(fact(row)).toMatch(moment);
            if (row.kind !== "error") expect(row.path).toMatch(/^(sub|link)$/);
          }
        },
        () => seen.still > 0 && seen.moved > 0,
      );
      // Both were met, or it was no race.
      expect(seen.still).toBeGreaterThan(0);
      expect(seen.moved).toBeGreaterThan(0);
    },
    RACE_MS,
  );

  test(
    "a store neither reads, lists, writes nor removes through a link that takes a directory's place",
    async () => {
      const away = scratch.plant("store-away", outside);
      const root = scratch.plant("store", { ...under("sub", inside), link: link("../store-away") });
      const before = readdirSync(away).toSorted();
      const seen = { answers: 0, refusals: 0 };
      const refusal = /^(UNSAFE_PATH|CHANGED|NOT_FOUND|EXISTS|IO|UNSUPPORTED)$/;
      await using store = new Store(root);
      {
        using _ = await racer("exchange", `${root}/sub`, `${root}/link`);
        const attempts = [
          async () => expect(await new Response(store.read("sub/f1")).text()).toBe("inside 1"),
          async () => expect((await store.stat("sub/f5"))?.size ?? 300_000).toBe(300_000),
          async () => {
            const found = await store.list("sub");
            for (const { path, type } of found)
              expect([path, type]).not.toEqual(["sub/canary", "file"]);
          },
          async () => expect((await store.write("sub/written", "new")).size).toBe(3),
          async () => await store.remove("sub/written"),
        ];
        const until = performance.now() + 60_000;
        const isEnough = (): boolean => seen.answers > 0 && seen.refusals > 0;
        for (let i = 0; i < rounds * 5 || (!isEnough() && performance.now() < until); i++) {
          const code = await codeOf(attempts[i % attempts.length]!());
          if (code === "none") seen.answers++;
          else {
            expect(code).toMatch(refusal);
            seen.refusals++;
          }
        }
      }
      expect(readdirSync(away).toSorted()).toEqual(before);
      for (const name of before)
        expect(await Bun.file(`${away}/${name}`).text()).toBe(String(outside[name]));
      expect(seen.answers).toBeGreaterThan(0);
      expect(seen.refusals).toBeGreaterThan(0);
    },
    RACE_MS,
  );

  test(
    "a file that trades places with a link out of the tree is never read through it",
    async () => {
      const away = scratch.plant("file-away", { secret: "X".repeat(300_000) });
      const plant = { file: "i".repeat(300_000), link: link(`${away}/secret`) };
      const left = scratch.plant("traded", plant);
      const right = scratch.plant("traded-right", plant);
      using _ = await racer("exchange", `${left}/file`, `${left}/link`);
      await repeatedly(left, right, (rows) => {
        for (const row of rows) {
          if (fact(row).startsWith("moved")) continue; // the very file, under its other name
          expect(fact(row)).toMatch(
            /^error (CHANGED|NOT_FOUND) |^differs (type|target|mode) |^only-(left|right) (file|link) /,
          );
        }
      });
    },
    RACE_MS,
  );

  test(
    "a pipe that takes a file's place blocks nobody",
    async () => {
      const plant = { file: "content", pipe };
      const left = scratch.plant("piped", plant);
      const right = scratch.plant("piped-right", plant);
      const seen = new Set<string>();
      using _ = await racer("exchange", `${left}/file`, `${left}/pipe`);
      const until = performance.now() + 60_000;
      for (let round = 0; round < rounds || (seen.size < 3 && performance.now() < until); round++) {
        // Never sync: a worker that hangs would take this thread with it.
        const task = compare(left, right, variants[round % variants.length]);
        const answer = await Promise.race([task, Bun.sleep(60_000)]);
        if (!answer) throw new Error("it hangs");
        for (const row of answer.differences) {
          seen.add(fact(row));
          expect(fact(row)).toMatch(
            /^error (CHANGED|NOT_FOUND) |^differs (type|mode) |^only-|^moved /,
          );
        }
      }
      expect(seen.size).toBeGreaterThan(2);
    },
    RACE_MS,
  );

  test(
    "a file that is written, cut, replaced and removed is never equal to one it never was",
    async () => {
      const left = scratch.plant("churned", { file: "?", other: "same" });
      const right = scratch.plant("churned-right", { file: "!".repeat(400 * 1024), other: "same" });
      using _ = await racer("churn", `${left}/file`, `${right}/file`);
      const kinds = new Set<string>();
      await repeatedly(
        left,
        right,
        (rows, equal, { links }) => {
          // Skipped links: then there may be nothing on the left, and never anything equal on both sides.
          expect(equal).toBeFalse();
          for (const row of rows) {
            kinds.add(row.kind === "differs" ? `${row.kind} ${row.reason}` : row.kind);
            expect(row.path).toMatch(/^file(\.new)?$/);
            if (row.kind === "error") expect(row.error.code).toMatch(/^(CHANGED|NOT_FOUND)$/);
          }
          expect(links === "skip" || rows.length > 0).toBeTrue();
        },
        () => kinds.size > 3,
      );
      expect(kinds.size).toBeGreaterThan(3);
    },
    RACE_MS,
  );
});

// ── Trees that are odd ──

// compare-names.test.ts has the 100,000.
const wideCount = isSanitized ? 5_000 : isLong ? 100_000 : 20_000;
const deepLevels = isSanitized ? 500 : 2_000;
const odd: Tree = {
  "new\nline": "1",
  "\u001b[31mred\u001b[0m": "2",
  "\u202etxt.exe": "3",
  "\u200b": "4",
  ["n".repeat(255)]: "5",
  "-rf": "6",
  "*": "7",
  "loop/self": link("self"),
  "loop/a": link("b"),
  "loop/b": link("a"),
  "loop/up": link(".."),
  "loop/here": link("."),
  "loop/deep/again": link("../../loop"),
  pipe,
  ...(isRoot ? { device: device(1, 3), terminal: device(5, 0) } : {}),
};

const quick = new Scratch(quickFolder(3 * wideCount));
afterAll(() => quick[Symbol.dispose]());

function plantOdd(name: string): string {
  const root = quick.plant(name, odd);
  // A name that is no UTF-8; node and Bun would make it some.
  run("sh", "-c", `cd "$1" && printf 8 > "$(printf 'bad\\377name')"`, "sh", root);
  run("sh", "-c", `mkdir "$1/wide" && cd "$1/wide" && seq ${wideCount} | xargs touch`, "sh", root);
  plantDeep(join(root, "deep"), "d", deepLevels, { leaf: "deep" });
  run("touch", "-h", "-d", "1901-12-14T00:00:00Z", join(root, "-rf"));
  run("touch", "-h", "-d", "2107-01-01T00:00:00Z", join(root, "*"));
  utimesSync(join(root, "new\nline"), 0, 0);
  return root;
}

/** Entries below a root, counted by somebody else. */
const countOf = (root: string): number =>
  run("find", root, "-mindepth", "1", "-printf", "x").length;

const fewDescriptors = ["sh", "-c", 'ulimit -n 64; exec "$0" "$@"'];

interface Said {
  readonly listed: number;
  readonly complete: boolean;
  readonly equal: readonly string[];
  readonly followed: readonly string[];
  readonly changed: readonly string[];
  readonly messages: readonly string[];
  readonly processes: Readonly<Record<string, string>>;
}

function isReadableFor(prefix: readonly string[]): boolean {
  const library = JSON.stringify(join(import.meta.dir, "../lib/index.ts"));
  const script = `(await import(${library})).listSync(${JSON.stringify(import.meta.dir)})`;
  const [program, ...args] = [...prefix, process.execPath, "-e", script];
  return spawnSync(program!, args, { cwd: "/" }).status === 0;
}

describe("a tree of odd things", () => {
  let left = "";
  let right = "";
  let changed = "";
  beforeAll(() => {
    left = plantOdd("odd");
    right = plantOdd("odd-right");
    changed = plantOdd("odd-changed");
    run(
      "sh",
      "-c",
      `cd "$1" && printf 9 > "$(printf 'bad\\377name')" && printf x > wide/777 && rm pipe`,
      "sh",
      changed,
    );
    for (const root of [left, right, changed]) chmodSync(root, 0o755);
  }, within(120_000));

  function asked(prefix: readonly string[], ...more: readonly string[]): unknown {
    const [program, ...args] = [
      ...prefix,
      process.execPath,
      join(import.meta.dir, "hostile-child.ts"),
    ];
    const { status, signal, stdout, stderr } = spawnSync(
      program!,
      [...args, left, right, changed, ...more],
      {
        encoding: "utf8",
        timeout: within(60_000),
        killSignal: "SIGKILL",
        maxBuffer: 64 << 20,
      },
    );
    if (status !== 0) throw new Error(`ended with ${signal ?? status}: ${stderr}`);
    return JSON.parse(stdout);
  }

  // The runtime, the library and the tests have to be readable for others too.
  const canBeOthers = isRoot && isReadableFor(nobody);
  if (isRoot && !canBeOthers)
    console.log("skipped: hostile trees as uid 65534, which cannot read this checkout");

  const cases = [
    { name: "with what one has", prefix: [], can: true },
    { name: "with 64 descriptors", prefix: fewDescriptors, can: true },
    { name: "as uid 65534", prefix: nobody, can: canBeOthers },
    {
      name: "as uid 65534 with 64 descriptors",
      prefix: [...nobody, ...fewDescriptors],
      can: canBeOthers,
    },
  ];
  for (const { name, prefix, can } of cases)
    test.skipIf(!can)(
      `is compared, listed and followed ${name}`,
      () => {
        const said = asked(prefix) as Said; // printed by hostile-child.ts
        expect(said.listed).toBe(countOf(left));
        expect(said.complete).toBeTrue();
        expect(said.equal).toEqual([]);
        expect(said.followed).toEqual([]);
        expect(said.changed).toEqual(
          [
            "differs content@0 bad\ufffdname",
            "only-left other pipe",
            "differs size wide/777",
          ].toSorted(),
        );
        // Nothing in a message can steer a terminal.
        expect(said.messages.length).toBeGreaterThan(0);
        for (const message of said.messages)
          expect(message).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e]/);
        // Each came to an end; what it was does not matter, as long as it is none of ours that failed.
        for (const [place, end] of Object.entries(said.processes))
          expect(`${place}: ${end}`).not.toContain("INTERNAL");
      },
      within(90_000),
    );

  test("without a free descriptor a compare is LIMIT, and right again when there is one", () => {
    expect(asked(fewDescriptors, "full")).toEqual({ full: "LIMIT", after: true });
  });
});
