// Run by faults.test.ts under LD_PRELOAD: fails each call that the core makes to the system, one after the other,
// in this one process, and says on stdout what it found. The state file names the step it is at, for the case
// that a step takes the process down.
//
// What must hold after every step: the task settled, with a CopseError or with an answer that is right as far as
// it goes; what is missing from an answer lies at or below one of its error rows; nothing is still open or
// allocated; the same runtime gives the right answer to the next question.

import { CString, dlopen } from "bun:ffi";
import { closeSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { constants } from "node:os";
import {
  blocks,
  compare,
  compareSync,
  CopseError,
  list,
  listSync,
  Runtime,
  scan,
  scanSync,
  snapshot,
  Store,
  type CompareOptions,
  type Difference,
  type Entry,
  type Failure,
  type ListOptions,
  type Pattern,
  type ScanResult,
} from "../lib/index.ts";
import { faultTrees } from "./fault-trees.ts";
import { plantArchived, plantArchives, startWeb, writeScenarios } from "./fault-writes.ts";
import { Scratch } from "./trees.ts";

const { COPSE_PRELOAD, COPSE_FAULT_STATE, COPSE_FAULTS, COPSE_FAULT_ONLY = "" } = process.env;
if (!COPSE_PRELOAD || !COPSE_FAULT_STATE) throw new Error("faults.test.ts starts this");
delete process.env["LD_PRELOAD"]; // this process has it; programs that it starts would only end of it
const isLong = COPSE_FAULTS === "all";
const PATIENCE_MS = 10_000;

const { symbols: preload } = dlopen(COPSE_PRELOAD, {
  preload_arm: { args: ["u32", "u32", "i32", "bool"], returns: "i32" },
  preload_disarm: { args: [], returns: "void" },
  preload_count: { args: [], returns: "u32" },
  preload_failed: { args: [], returns: "u32" },
  preload_name: { args: [], returns: "ptr" },
  preload_sticky: { args: [], returns: "bool" },
  preload_live: { args: [], returns: "i64" },
  preload_watch: { args: ["u32"], returns: "bool" },
});

const Kind = { MEMORY: 1, FILES: 2, THREADS: 4, SHORT: 8, FOREIGN: 16 } as const;

// ── What is asked, and what came out ──

/** One sentence for each row of an answer, and one for how it ended. */
interface Outcome {
  readonly facts: ReadonlyMap<string, string>; // fact → path
  readonly failures: readonly Failure[];
  readonly complete: boolean;
  readonly equal?: boolean;
  /** What is said of a directory depends on what is below it. */
  readonly isFromBelow?: boolean;
}

interface Scenario {
  readonly name: string;
  run(runtime: Runtime): Promise<Outcome> | Outcome;
  /** The answer is one row of what this one says. */
  readonly whole?: (runtime: Runtime) => Outcome;
  /** An error may have one of these besides. */
  readonly codes?: readonly string[];
  /** What may be said besides when something failed: an ignore file that nobody could read. */
  readonly more?: (runtime: Runtime) => Outcome;
  /** With moves: a file that could not be hashed is two one-sided rows. */
  readonly hasMoves?: boolean;
}

function factOf(row: Exclude<Difference, Failure>): string {
  switch (row.kind) {
    case "only-left":
      return `only-left ${row.left.type} ${row.left.size} ${row.left.target ?? ""} ${row.path}`;
    case "only-right":
      return `only-right ${row.right.type} ${row.right.size} ${row.right.target ?? ""} ${row.path}`;
    case "moved":
      return `moved ${row.from} to ${row.path}`;
    case "same-by-rule":
      return `same-by-rule ${row.rule} ${row.path}`;
    case "differs":
      return `differs ${row.reason} ${row.offset ?? ""} ${row.left.hash ?? ""} ${row.path}`;
  }
}

function compared(answer: {
  equal: boolean;
  complete: boolean;
  errors: number;
  differences: readonly Difference[];
}): Outcome {
  const { differences, errors, equal, complete } = answer;
  const failures = differences.filter((row) => row.kind === "error");
  if (failures.length !== errors) throw new Error(`${errors} errors, but ${failures.length} rows`);
  const facts = new Map<string, string>();
  for (const row of differences) if (row.kind !== "error") facts.set(factOf(row), row.path);
  return { facts, failures, complete, equal };
}

function listed(
  entries: readonly Entry[],
  failures: readonly Failure[],
  complete: boolean,
): Outcome {
  const facts = new Map<string, string>();
  for (const { path, type, size, target } of entries)
    facts.set(`${type} ${size} ${target ?? ""} ${path}`, path);
  return { facts, failures, complete };
}

const shapes: readonly Pattern[] = [
  { files: ["*"] },
  { directories: [{ files: ["*"] }] },
  { files: ["?*"], directories: [{ directories: [{}] }], forbidden: ["nothing"] },
];

/** A directory that could not be seen whole fits less, and so do those above it. */
function scanned(found: ScanResult): Outcome {
  const facts = new Map<string, string>();
  for (const { path, pattern } of found)
    facts.set(`match ${shapes.indexOf(pattern)} ${path}`, path);
  const { errors, complete } = found;
  return { facts, failures: errors, complete, isFromBelow: true };
}

async function iterated(left: string, right: string, options: CompareOptions): Promise<Outcome> {
  const task = compare(left, right, options);
  const differences: Difference[] = [];
  for await (const row of task) differences.push(row);
  return compared({ ...(await task), differences });
}

function listOf(root: string, options: ListOptions & { stat: true }): Outcome {
  const found = listSync(root, options);
  return listed(found, found.errors, found.complete);
}

async function readAndWritten(root: string, runtime: Runtime): Promise<Outcome> {
  await using store = new Store(root, { runtime });
  const facts = new Map<string, string>();
  const remember = (what: string, value: unknown): unknown =>
    facts.set(`${what} ${String(value)}`, "");
  let failure: unknown;
  try {
    await store.write("new/file", "new content");
    remember("read", await new Response(store.read("new/file")).text());
    await store.write("new/file", "other content");
    remember("read", await new Response(store.read("new/file", { start: 6 })).text());
    remember("size", (await store.stat("new/file"))?.size);
  } catch (error) {
    failure = error;
  }
  preload.preload_disarm();
  await clearPublished(root);
  if (failure) throw failure;
  return { facts, failures: [], complete: true };
}

/** What was published is one of the two whole contents, whatever failed; and nothing else is there. */
async function clearPublished(root: string): Promise<void> {
  const stored = Bun.file(`${root}/new/file`);
  if (await stored.exists()) {
    const text = await stored.text();
    if (text !== "new content" && text !== "other content") throw new Error(`torn file: ${text}`);
    await stored.delete();
  }
  const left = [...new Bun.Glob("**/*").scanSync({ cwd: root, dot: true })];
  for (const name of left) await Bun.file(`${root}/${name}`).delete();
  // A part that nobody could remove may stay, under a name of ours.
  const isStuck =
    preload.preload_sticky() && left.every((name) => /^new\/\.copse-.*\.part$/.test(name));
  if (left.length > 0 && !isStuck) throw new Error(`left behind: ${left.join(", ")}`);
}

function scenarios(trees: ReturnType<typeof faultTrees>): readonly Scenario[] {
  const { left, right, twin, small, writable } = trees;
  const metadata = ["mode", "owner", "mtime", "xattr"] as const;
  const some: readonly Scenario[] = [
    {
      name: "compareSync, different trees",
      run: (runtime) => compared(compareSync(left, right, { runtime })),
    },
    {
      name: "compareSync, equal trees",
      run: (runtime) => compared(compareSync(left, twin, { runtime, metadata })),
    },
    {
      name: "compare, moves and metadata",
      hasMoves: true,
      run: async (runtime) =>
        compared(await compare(left, right, { runtime, moves: true, metadata })),
    },
    {
      name: "compare, by hash, filtered, iterated",
      run: (runtime) =>
        iterated(left, right, {
          runtime,
          by: "hash",
          include: ["*", "sub/**"],
          exclude: ["large", "sub/*/x*"],
        }),
    },
    {
      name: "compareSync, links followed, equal trees",
      run: (runtime) => compared(compareSync(left, twin, { runtime, links: "follow" })),
    },
    {
      name: "compare, stopAtFirst, with a deadline and progress",
      whole: (runtime) => compared(compareSync(left, right, { runtime })),
      run: async (runtime) =>
        compared(
          await compare(left, right, {
            runtime,
            stopAtFirst: true,
            timeout: 60_000,
            onProgress: () => {},
          }),
        ),
    },
    {
      name: "list",
      run: async (runtime) => {
        const found = await list(left, { runtime, stat: true });
        return listed(found, found.errors, found.complete);
      },
    },
    {
      name: "listSync, links followed, filtered",
      run: (runtime) => {
        const found = listSync(left, { runtime, links: "follow", exclude: ["b*"], stat: true });
        return listed(found, found.errors, found.complete);
      },
    },
    {
      name: "scan, explained",
      run: async (runtime) => scanned(await scan(left, shapes, { runtime, explain: true })),
    },
    {
      name: "scanSync, links followed, filtered",
      run: (runtime) =>
        scanned(scanSync(left, shapes, { runtime, links: "follow", exclude: ["b*"] })),
    },
    {
      name: "list, with ignore files",
      more: (runtime) => listOf(left, { runtime, stat: true }),
      run: async (runtime) => {
        const ignoreFiles = [".copseignore", ".gitignore"];
        const found = await list(left, { runtime, stat: true, ignoreFiles });
        return listed(found, found.errors, found.complete);
      },
    },
    {
      name: "scanSync, with ignore files",
      more: (runtime) => scanned(scanSync(left, shapes, { runtime })),
      run: (runtime) => scanned(scanSync(left, shapes, { runtime, ignoreFiles: [".copseignore"] })),
    },
    {
      name: "snapshot, listed",
      run: async (runtime) => {
        await using held = await snapshot(left, { runtime });
        const found = await list(held, { runtime, stat: true });
        return listed(found, [...held.errors, ...found.errors], found.complete && held.complete);
      },
    },
    {
      name: "blocks",
      // A buffer that the system does not give might as well be one that the budget has no room for.
      codes: ["LIMIT"],
      run: async (runtime) => {
        const { blocks: rows, complete } = await blocks(left, {
          runtime,
          size: 4096,
          exclude: ["large"],
        });
        const facts = new Map<string, string>();
        const failures: Failure[] = [];
        for (const row of rows)
          if (row.kind === "error") failures.push(row);
          else facts.set([row.path, row.offset, row.size, row.hash].join(), row.path);
        return { facts, failures, complete };
      },
    },
    { name: "Store", run: (runtime) => readAndWritten(writable, runtime) },
    ...Object.entries(archives).map(([kind, path]) => ({
      name: `compareSync, ${kind} against a tree`,
      run: (runtime: Runtime) =>
        compared(compareSync(`archive:${path}`, archived, { runtime, emptyDirectories: false })),
    })),
    {
      name: "compare, a web server against a tree",
      codes: ["NETWORK", "TIMEOUT", "MEMORY"], // MEMORY: no channel to the thread of transfers
      run: async (runtime) =>
        compared(await compare({ url: web.url, retries: 0 }, archived, { runtime })),
    },
    ...writeScenarios(scratch, {
      disarm: preload.preload_disarm,
      mayLeaveParts: () => preload.preload_failed() > 0 && current.kinds !== MEMORY,
      wasLiedTo: () => current.mayVanish === true,
    }),
  ];
  const others: readonly Scenario[] = [
    {
      name: "compare, equal trees, one worker",
      run: async (runtime) => compared(await compare(left, twin, { runtime, concurrency: 1 })),
    },
    {
      name: "compareSync, by stat",
      run: (runtime) => compared(compareSync(left, right, { runtime, by: "stat" })),
    },
    {
      name: "compareSync, by hash, equal trees",
      run: (runtime) => compared(compareSync(left, twin, { runtime, by: "hash" })),
    },
    {
      name: "compare, links followed, iterated",
      run: (runtime) => iterated(left, right, { runtime, links: "follow" }),
    },
    {
      name: "compareSync, chunks of 1000 bytes",
      run: (runtime) =>
        compared(compareSync(`${left}/sub`, `${right}/sub`, { runtime, chunkSize: 1000 })),
    },
    {
      name: "compareSync, no rows for empty directories, links skipped",
      run: (runtime) =>
        compared(compareSync(left, right, { runtime, emptyDirectories: false, links: "skip" })),
    },
    {
      name: "compareSync, two files",
      run: (runtime) => compared(compareSync(`${left}/block`, `${right}/block`, { runtime })),
    },
    {
      name: "compareSync, stopAtFirst, equal trees",
      whole: (runtime) => compared(compareSync(left, twin, { runtime })),
      run: (runtime) => compared(compareSync(left, twin, { runtime, stopAtFirst: true })),
    },
    {
      name: "compare, many rows, iterated",
      run: (runtime) => iterated(small, trees.many, { runtime }),
    },
    {
      name: "compare, trees in memory",
      run: async (runtime) => {
        for (const side of ["a", "b"]) {
          await using store = new Store(`memory:${side}`, { runtime });
          await store.write("d/same", "same");
          await store.write("other", side);
        }
        return compared(await compare("memory:a", "memory:b", { runtime }));
      },
    },
  ];
  return (isLong ? [...some, ...others] : some).filter(({ name }) =>
    name.includes(COPSE_FAULT_ONLY),
  );
}

// ── Failing ──

interface Mode {
  readonly name: string;
  readonly kinds: number;
  readonly errno: number;
  readonly isSticky: boolean;
  /** The codes that an error may have then. */
  readonly codes: readonly string[];
  /** Nothing but the right answer will do. */
  readonly isHarmless?: boolean;
  /** Rows may say of something that it is not there: nobody can tell this failure from the truth. */
  readonly mayVanish?: boolean;
}

const { errno } = constants;
const { MEMORY, FILES, THREADS, SHORT, FOREIGN } = Kind;
const files = (
  name: keyof typeof errno,
  codes: readonly string[],
  mayVanish = false,
): readonly Mode[] => [
  // What fails once and is asked again says what is now.
  {
    name: `${name} once`,
    kinds: FILES,
    errno: errno[name],
    isSticky: false,
    codes: [...codes, "CHANGED", "NOT_FOUND", "IO"],
    mayVanish,
  },
  {
    name: `${name} sticky`,
    kinds: FILES,
    errno: errno[name],
    isSticky: true,
    codes: [...codes, "IO"],
    mayVanish,
  },
];
const usual: readonly Mode[] = [
  { name: "no memory once", kinds: MEMORY, errno: 0, isSticky: false, codes: ["MEMORY"] },
  { name: "no memory sticky", kinds: MEMORY, errno: 0, isSticky: true, codes: ["MEMORY"] },
  ...files("EIO", ["IO"]),
  { name: "no thread once", kinds: THREADS, errno: 0, isSticky: false, codes: ["MEMORY"] },
  { name: "no thread sticky", kinds: THREADS, errno: 0, isSticky: true, codes: ["MEMORY"] },
  // A file system that may stop short anywhere: nothing may be read into that.
  {
    name: "short reads",
    kinds: SHORT | FOREIGN,
    errno: 0,
    isSticky: true,
    codes: [],
    isHarmless: true,
  },
];
const rare: readonly Mode[] = [
  ...files("EMFILE", ["LIMIT"]),
  ...files("EACCES", ["DENIED"]),
  // EXISTS: what is not there is made, and then is.
  ...files("ENOENT", ["NOT_FOUND", "CHANGED", "EXISTS"], true),
  // IO: what has its name is not made once more because closing it failed.
  ...files("ENOMEM", ["MEMORY", "IO"]),
  ...files("ENOSPC", ["NO_SPACE"]),
  ...files("EINVAL", ["IO", "CHANGED"]),
  {
    name: "EINTR once",
    kinds: FILES,
    errno: errno.EINTR,
    isSticky: false,
    codes: ["IO"],
    isHarmless: true,
  },
  {
    name: "one short read",
    kinds: SHORT | FOREIGN,
    errno: 0,
    isSticky: false,
    codes: [],
    isHarmless: true,
  },
  // As a page does that cannot be read, where a short read is taken for the end.
  {
    name: "a read cut short",
    kinds: SHORT,
    errno: 0,
    isSticky: false,
    codes: [],
    isHarmless: true,
  },
];

// ── Judging ──

const wrong: string[] = [];
let loose: unknown;
process.on("unhandledRejection", (reason) => (loose = reason));

const isAtOrBelow = (path: string, above: string): boolean =>
  above === "" || path === above || path.startsWith(`${above}/`);

/** What is wrong with an answer, if anything. */
function judge(scenario: Scenario, mode: Mode, right: Outcome, now: Outcome): string | undefined {
  const more = known.get(scenario);
  const { facts, failures, complete, equal } = now;
  if (!complete && failures.length === 0 && !scenario.whole)
    return "not complete, and nothing says why";
  if (equal && (right.facts.size > 0 || facts.size > 0 || !complete)) return "a false equal";
  if (failures.length > 0 && complete) return "complete in spite of error rows";
  for (const { error } of failures) {
    const complaint = judgeError(scenario, mode, error);
    if (complaint) return complaint;
  }
  const isFine = (fact: string): boolean =>
    right.facts.has(fact) ||
    (scenario.hasMoves === true && fact.startsWith("only-")) ||
    (failures.length > 0 && more?.facts.has(fact) === true) ||
    mode.mayVanish === true;
  for (const fact of facts.keys()) if (!isFine(fact)) return `a row that is wrong: ${fact}`;
  if (scenario.whole)
    return facts.size === 0 && complete && right.facts.size > 0 ? "nothing found" : undefined;
  for (const [fact, path] of mode.mayVanish ? [] : right.facts) {
    if (facts.has(fact) || failures.some((failure) => isAtOrBelow(path, failure.path))) continue;
    if (now.isFromBelow && failures.some((failure) => isAtOrBelow(failure.path, path))) continue;
    // Its two halves, or one of them and an error.
    if (fact.startsWith("moved") && [...facts.values()].includes(path)) continue;
    return `a row is missing: ${fact}`;
  }
  if (mode.isHarmless && failures.length > 0) return `an error: ${failures[0]?.error.message}`;
  return undefined;
}

/** What each scenario's `more` says. */
const known = new Map<Scenario, Outcome>();

function judgeError(scenario: Scenario, mode: Mode, error: unknown): string | undefined {
  if (!(error instanceof CopseError)) return `no CopseError: ${String(error)}`;
  if (error.message.length < 10) return `an error without a sentence: ${error.message}`;
  return mode.codes.includes(error.code) || scenario.codes?.includes(error.code)
    ? undefined
    : `a code of its own: ${error.code} ${error.message}`;
}

const openFiles = (): number => readdirSync("/proc/self/fd").length;

/** Of ours: Bun starts and ends threads when it likes. */
function threads(): number {
  let count = 0;
  for (const id of readdirSync("/proc/self/task")) {
    try {
      if (readFileSync(`/proc/self/task/${id}/comm`, "utf8").startsWith("copse")) count++;
    } catch {
      // It ended meanwhile.
    }
  }
  return count;
}

/** How much is still held after a step, once what ends by itself has ended. */
async function held(base: Held): Promise<string | undefined> {
  let said: string | undefined;
  for (let looks = 0; looks < 500; looks++) {
    const now = measure();
    if (now.files > base.files) said = `${now.files - base.files} descriptors leaked`;
    else if (now.live > base.live) said = `${now.live - base.live} allocations leaked`;
    else if (now.threads > base.threads) said = `${now.threads - base.threads} threads leaked`;
    else return undefined;
    // Pages that JavaScript keeps go with the collector.
    if (looks % 100 === 20) Bun.gc(true);
    await Bun.sleep(2);
  }
  return said;
}

interface Held {
  readonly files: number;
  readonly live: number;
  readonly threads: number;
}

const measure = (): Held => ({
  files: openFiles(),
  live: Number(preload.preload_live()),
  threads: threads(),
});

// ── The sweep ──

const state = openSync(COPSE_FAULT_STATE, "w");

async function step(
  scenario: Scenario,
  mode: Mode,
  at: number,
  right: Outcome | undefined,
): Promise<Outcome | undefined> {
  writeSync(state, `${scenario.name}: ${mode.name}, call ${at}`.padEnd(120), 0);
  if (preload.preload_arm(mode.kinds, at, mode.errno, mode.isSticky) !== 0)
    throw new Error("libcopse.so is not loaded");
  current = mode;
  let runtime: Runtime | undefined;
  let answer: Outcome | undefined;
  let complaint: string | undefined;
  try {
    runtime = new Runtime({ ioWorkers: 2, workers: 2 });
    answer = await scenario.run(runtime);
    if (right) complaint = judge(scenario, mode, right, answer);
  } catch (error) {
    complaint = mode.isHarmless ? `failed: ${String(error)}` : judgeError(scenario, mode, error);
  }
  preload.preload_disarm();
  if (runtime) {
    const after = compareSync(trees.small, trees.smallTwin, { runtime });
    if (!after.equal) complaint ??= "the runtime is of no use any more";
    runtime.close();
  }
  const failed = preload.preload_failed() > 0;
  if (complaint && (failed || !right)) {
    const pointer = preload.preload_name();
    const name = pointer ? new CString(pointer).toString() : "";
    wrong.push(`${scenario.name}: ${mode.name}, call ${at} (${name}): ${complaint}`);
  }
  return answer;
}

using scratch = new Scratch();
const trees = faultTrees(scratch);
const archives = plantArchives(scratch);
const archived = plantArchived(scratch);
const web = await startWeb();
const counts = { once: 0, sticky: 0 };
let current: Mode;
const calls: Record<string, number> = {};
const none: Mode = {
  name: "nothing fails",
  kinds: MEMORY | FILES | THREADS,
  errno: 0,
  isSticky: false,
  codes: [],
};

compareSync(trees.small, trees.smallTwin); // loads the library
Runtime.default.close();
preload.preload_watch(PATIENCE_MS);
for (const scenario of scenarios(trees)) {
  let right: Outcome | undefined;
  for (let warm = 0; warm < 3; warm++) right = await step(scenario, none, 0, undefined);
  if (scenario.more) {
    using runtime = new Runtime();
    known.set(scenario, scenario.more(runtime));
  }
  if (scenario.whole) {
    using runtime = new Runtime();
    right = scenario.whole(runtime);
  }
  if (!right) throw new Error(`${scenario.name} fails by itself: ${wrong.join("; ")}`);
  calls[scenario.name] = preload.preload_count();
  Bun.gc(true);
  await Bun.sleep(50);
  let base = measure();
  for (const mode of isLong ? [...usual, ...rare] : usual) {
    // How many calls there are varies a little with the threads: the end is where three numbers in a row were
    // not reached.
    for (let at = 1, missed = 0; missed < 3 && wrong.length < 40; at++) {
      await step(scenario, mode, at, right);
      const failed = preload.preload_failed();
      missed = failed > 0 ? 0 : missed + 1;
      if (failed > 0) counts[mode.isSticky ? "sticky" : "once"]++;
      if (!(await held(base))) continue;
      // The process keeps a few buffers for the next task, and more of them the more were in use at
      // once. That grows once; what a call leaks it leaks again.
      for (let again = 0; again < 2; again++) {
        base = measure();
        await step(scenario, mode, at, right);
        const leak = await held(base);
        if (leak)
          wrong.push(`${scenario.name}: ${mode.name}, call ${at} (${failed} failed): ${leak}`);
      }
      base = measure();
    }
  }
  if (loose) wrong.push(`${scenario.name}: an unhandled rejection: ${String(loose)}`);
  loose = undefined;
}
web.stop();
closeSync(state);
process.stdout.write(`${JSON.stringify({ ...counts, calls, wrong })}\n`);
