// Does listing a tree keep up with every walker there is? 188,000 entries in 19,000 directories: names as they cross
// the FFI, names as strings, sizes and times; a tree 1,500 levels deep; how soon the first names come, what a walk
// holds in memory, and what it does to a timer.
//
//   npm run bench walk [-- --rounds N --quick --only names,deep,stat,first,memory,gap]

import { createRequire } from "node:module";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { readdir } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { list } from "../lib/index.ts";
import { parseLocation } from "../lib/location.ts";
import { listRequest } from "../lib/request.ts";
import { engineOf } from "../lib/runtime.ts";
import { NativeTask } from "../lib/task.ts";
import { Row } from "../lib/native/abi.ts";
import { benchOptions } from "./arguments.ts";
import { copseVersion, load, machine } from "./machine.ts";
import { interleave, judge, median, type Contestant, type Run, type Target } from "./measure.ts";
import { number, say, table, write } from "./report.ts";
import { npmRivals, timed, walkRival } from "./rivals.ts";

const options = benchOptions(["names", "deep", "stat", "first", "memory", "gap"]);
const data = join(process.env["COPSE_BENCH_DIR"] ?? join(tmpdir(), "copse-bench"), "walk-1");

// ── Trees ──

/** Made once; it gets its name when it is whole. */
function once(name: string, plant: (root: string) => void): string {
  const root = join(data, options.quick ? `${name}-quick` : name);
  if (existsSync(root)) return root;
  say(`planting ${name}`);
  const partial = `${root}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  plant(partial);
  renameSync(partial, root);
  return root;
}

// 19,200 directories at the bottom, nine or ten entries in each.
function plantBroad(root: string): void {
  for (let a = 0; a < (options.quick ? 1 : 24); a++)
    for (let b = 0; b < 25; b++)
      for (let c = 0; c < 32; c++) {
        const at = join(root, `part-${a}`, `group-${b}`, `item-${String(c).padStart(3, "0")}`);
        mkdirSync(at, { recursive: true });
        for (let f = 0; f < 8; f++)
          writeFileSync(join(at, `file_${f}_${(a * b * c * 7 + f) % 1000}.dat`), "");
        for (const more of ["README.txt", "notes.md"].slice((a + b + c) % 3))
          writeFileSync(join(at, more), "");
      }
}

const LEVELS = 1500;

// No call names more than one piece of the chain, whose paths are longer than any call takes.
function plantDeep(root: string): void {
  const name = "d";
  let below = "";
  for (let level = 0; level < LEVELS; level += 100) {
    const piece = join(root, `.piece-${level}`);
    let at = piece;
    for (let i = 0; i < 100; i++) {
      at = join(at, name);
      mkdirSync(at, { recursive: true });
      for (const file of ["one", "two"]) writeFileSync(join(at, file), "");
    }
    if (below) renameSync(join(below, name), join(at, name));
    if (below) rmSync(below, { recursive: true });
    below = piece;
  }
  renameSync(join(below, name), join(root, name));
  rmSync(below, { recursive: true });
}

const empty = once("empty", () => {});

// ── Contestants ──

type Count = () => number | Promise<number>;

function here(name: string, isOurs: boolean, expected: number, count: Count): Contestant {
  return {
    name,
    isOurs,
    async run(): Promise<Run> {
      const cpu = process.cpuUsage();
      const began = performance.now();
      const found = await count();
      const milliseconds = performance.now() - began;
      const { user, system } = process.cpuUsage(cpu);
      if (found !== expected) say(`${name} sees ${found}, not ${expected}`);
      return {
        equal: found === expected,
        milliseconds,
        cpuMilliseconds: (user + system) / 1000,
        diskBytes: 0,
      };
    },
  };
}

/** A program as a whole; its time with an empty directory is taken off. Its answer is looked at once. */
function program(
  name: string,
  command: (root: string) => readonly string[],
  root: string,
  check: (output: string) => boolean,
): Contestant {
  let isRight: boolean | undefined;
  return {
    name,
    isOurs: false,
    run() {
      isRight ??= check(timed(command(root), true).output);
      return { ...timed(command(root)).run, equal: isRight };
    },
    startUp: () => ({ ...timed(command(empty)).run, equal: true }),
  };
}

const lines = (output: string): number => output.split("\n").length - 1;

/** Pages as they come over the FFI: every entry is counted by the row of its directory, no string is made. */
async function flat(root: string): Promise<number> {
  let count = 0;
  const request = listRequest(parseLocation(root), {}, {}, false);
  await new NativeTask<void, never>(
    engineOf(undefined),
    {
      request,
      decode(buffer, rows) {
        const view = new DataView(buffer);
        for (let i = 0; i < rows; i++) count += view.getUint32(i * Row.size + Row.extra, true);
        return [];
      },
      whole: () => {},
    },
    {},
  );
  return count;
}

async function batches(root: string, stat = false): Promise<number> {
  let count = 0;
  for await (const batch of list(root, { stat }).batches()) count += batch.length;
  return count;
}

interface Part {
  readonly title: string;
  readonly contestants: readonly Contestant[];
  readonly targets: readonly Target[];
  readonly missing: readonly string[];
}

type Fdir = new () => {
  withFullPaths(): { withDirs(): { crawl(root: string): { withPromise(): Promise<string[]> } } };
};

function namesPart(): Part {
  const root = once("broad", plantBroad);
  const entries = readdirSync(root, { recursive: true }).length;
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  ).length;
  // The package's own types are not installed with the checkout.
  const { fdir: FDir } = createRequire(npmRivals())("fdir") as { fdir: Fdir };
  const missing: string[] = [];
  const rust = walkRival();
  const fd = Bun.which("fdfind") ?? Bun.which("fd");
  const rg = Bun.which("rg");
  if (typeof rust === "string") missing.push(`jwalk, ignore, walkdir: ${rust}`);
  if (!fd) missing.push("fd is not installed");
  if (!rg) missing.push("rg is not installed");
  const all = (output: string): boolean => lines(output) === entries;
  const walkers =
    typeof rust === "string"
      ? []
      : ["jwalk", "ignore", "walkdir"].map((name) =>
          program(
            `Rust ${name}`,
            (at) => [rust.program, name, at],
            root,
            (output) => Number(output.split(" ")[0]) === entries,
          ),
        );
  return {
    title: `Names: ${entries.toLocaleString("en")} entries`,
    missing,
    contestants: [
      here("copse, flat pages", true, entries, () => flat(root)),
      here("copse, strings in batches", true, entries, () => batches(root)),
      here(
        "copse, awaited, unsorted",
        true,
        entries,
        async () => (await list(root, { sort: "none" })).length,
      ),
      here("copse, awaited, sorted", true, entries, async () => (await list(root)).length),
      here(
        "readdir, recursive",
        false,
        entries,
        async () => (await readdir(root, { recursive: true })).length,
      ),
      here(
        "readdirSync, withFileTypes",
        false,
        entries,
        () => readdirSync(root, { recursive: true, withFileTypes: true }).length,
      ),
      here("Bun.Glob.scan", false, entries, async () => {
        let count = 0;
        for await (const _ of new Bun.Glob("**/*").scan({ cwd: root, dot: true, onlyFiles: false }))
          count++;
        return count;
      }),
      // It counts the root, too.
      here(
        "fdir",
        false,
        entries + 1,
        async () => (await new FDir().withFullPaths().withDirs().crawl(root).withPromise()).length,
      ),
      ...walkers,
      ...(fd ? [program("fd", (at) => [fd, "-uu", ".", at], root, all)] : []),
      ...(rg
        ? [
            program(
              "rg --files",
              (at) => [rg, "--files", "-uuu", at],
              root,
              (output) => lines(output) === files,
            ),
          ]
        : []),
      program("find", (at) => ["find", at, "-mindepth", "1"], root, all),
    ],
    targets: [
      { ours: ["copse, flat pages"], against: "readdir, recursive", atMost: 0.83 },
      { ours: ["copse, flat pages"], against: "Rust jwalk", atMost: 0.66 },
      { ours: ["copse, flat pages"], against: "Rust ignore", atMost: 0.66 },
      { ours: ["copse, flat pages"], against: "fd", atMost: 0.5 },
      { ours: ["copse, flat pages"], against: "rg --files", atMost: 0.5 },
      { ours: ["copse, flat pages"], against: "Bun.Glob.scan", atMost: 0.5 },
      { ours: ["copse, flat pages"], against: "readdirSync, withFileTypes", atMost: 0.5 },
      { ours: ["copse, strings in batches"], against: "readdir, recursive", atMost: 1 },
      { ours: ["copse, strings in batches"], against: "fdir", atMost: 0.71 },
    ],
  };
}

function deepPart(): Part {
  const root = once("deep", plantDeep);
  const entries = 3 * LEVELS;
  return {
    title: `Depth: ${LEVELS} levels, ${entries.toLocaleString("en")} entries, all of them`,
    missing: [],
    contestants: [
      here("copse, flat pages", true, entries, () => flat(root)),
      here(
        "copse, awaited, unsorted",
        true,
        entries,
        async () => (await list(root, { sort: "none" })).length,
      ),
      program(
        "find",
        (at) => ["find", at, "-mindepth", "1"],
        root,
        (output) => lines(output) === entries,
      ),
    ],
    targets: [
      { ours: ["copse, flat pages", "copse, awaited, unsorted"], against: "find", atMost: 0.67 },
    ],
  };
}

function statPart(): Part {
  const root = once("broad", plantBroad);
  const entries = readdirSync(root, { recursive: true }).length;
  let sum = 0;
  const loop = (at: string): number => {
    let count = 0;
    for (const entry of readdirSync(at, { withFileTypes: true })) {
      const path = `${at}/${entry.name}`;
      const { size, mtimeMs } = lstatSync(path);
      sum += size + mtimeMs;
      count += 1 + (entry.isDirectory() ? loop(path) : 0);
    }
    return count;
  };
  return {
    title: `Names, sizes and times: ${entries.toLocaleString("en")} entries`,
    missing: [],
    contestants: [
      here("copse, batches", true, entries, () => batches(root, true)),
      here(
        "copse, awaited, unsorted",
        true,
        entries,
        async () => (await list(root, { stat: true, sort: "none" })).length,
      ),
      here("readdirSync and lstatSync", false, entries, () => loop(root)),
      program(
        "find -printf",
        (at) => ["find", at, "-mindepth", "1", "-printf", "%s %T@ %p\n"],
        root,
        (output) => lines(output) === entries,
      ),
    ],
    targets: [
      { ours: ["copse, batches"], against: "find -printf", atMost: 0.67 },
      { ours: ["copse, batches"], against: "readdirSync and lstatSync", atMost: 0.67 },
    ],
  };
}

async function timesOf(part: Part): Promise<string> {
  // Once to warm the page cache and the compiler, not counted.
  await interleave(part.contestants, 1, true);
  const rows = await interleave(part.contestants, options.rounds, true);
  const ours = Math.min(...rows.filter((row) => row.isOurs).map((row) => row.median));
  const times = table(
    ["walker", "fastest ms", "median ms", "slowest ms", "CPU ms", "of ours"],
    rows.map((row) => [
      row.name,
      number(row.min),
      number(row.median),
      number(row.max),
      number(row.cpu),
      number(row.median / ours),
    ]),
  );
  const goals = table(
    ["ours / it", "at most", "fastest", "median", "verdict"],
    part.targets.map((target) => {
      const { min, median: middle, verdict } = judge(target, rows);
      return [
        `${target.ours.join(", ")} / ${target.against}`,
        number(target.atMost),
        number(min),
        number(middle),
        verdict,
      ];
    }),
  );
  const left = part.missing.map((sentence) => `Left out: ${sentence}.\n\n`).join("");
  return `## ${part.title}\n\n${times}\n\n${goals}\n\n${left}`;
}

// ── Single figures ──

interface Fact {
  readonly question: string;
  readonly figure: string;
  readonly goal: string;
  readonly isMet: boolean;
}

async function firstBatch(): Promise<Fact> {
  const root = once("broad", plantBroad);
  const times: number[] = [];
  for (let i = 0; i < 6; i++) {
    const began = performance.now();
    for await (const batch of list(root).batches()) {
      if (batch.length === 0) throw new Error("a batch is never empty");
      times.push(performance.now() - began);
      break;
    }
  }
  const middle = median(times.slice(1)); // the first one loads the library
  return {
    question: "first batch, median of 5",
    figure: `${number(middle)} ms (${times.slice(1).map(number).join(", ")})`,
    goal: "< 5 ms",
    isMet: middle < 5,
  };
}

/** In a child: how far resident memory rises above what a walk of nothing takes, no JavaScript object made. */
function memoryHeld(): Fact {
  const root = once("broad", plantBroad);
  const child = Bun.spawnSync([process.execPath, import.meta.path], {
    env: { ...process.env, COPSE_WALK_CHILD: root },
    stderr: "inherit",
  });
  const { entries, names, bytes } = JSON.parse(child.stdout.toString()) as Record<string, number>;
  const each = (bytes! - names!) / entries!;
  return {
    question: `memory of a streamed walk at its peak, beyond ${number(names! / 2 ** 20)} MiB of names`,
    figure: `${number(bytes! / 2 ** 20)} MiB, ${number(Math.max(0, each))} bytes an entry`,
    goal: "< 40 bytes",
    isMet: each < 40,
  };
}

async function heldByWalk(root: string, nothing: string): Promise<void> {
  const peak = (): number =>
    Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
  for (let i = 0; i < 50; i++) await flat(nothing);
  Bun.gc(true);
  writeFileSync("/proc/self/clear_refs", "5"); // the peak begins anew
  const before = peak();
  const entries = await flat(root);
  const bytes = peak() - before;
  const names = readdirSync(root, { recursive: true, withFileTypes: true }).reduce(
    (sum, { name }) => sum + name.length,
    0,
  );
  console.log(JSON.stringify({ entries, names, bytes }));
}

async function timerGap(name: string, work: () => Promise<unknown>): Promise<Fact> {
  const worst: number[] = [];
  for (let round = 0; round < (options.quick ? 1 : 5); round++) {
    let last = performance.now();
    let gap = 0;
    const timer = setInterval(() => {
      const now = performance.now();
      gap = Math.max(gap, now - last - 1);
      last = now;
    }, 1);
    await work();
    clearInterval(timer);
    worst.push(Math.max(gap, performance.now() - last - 1));
  }
  const middle = median(worst);
  return {
    question: `a 1 ms timer's worst delay while ${name}, median of ${worst.length}`,
    figure: `${number(middle)} ms`,
    goal: "< 5 ms",
    isMet: middle < 5,
  };
}

async function gaps(): Promise<Fact[]> {
  const root = once("broad", plantBroad);
  return [
    await timerGap("nothing is done", () => Bun.sleep(200)),
    await timerGap("a tree is iterated by batches", () => batches(root)),
    await timerGap("it is iterated by entries", async () => {
      let count = 0;
      for await (const _ of list(root)) count++;
      return count;
    }),
    await timerGap("its sorted list is awaited", async () => (await list(root)).length),
  ];
}

async function main(): Promise<void> {
  const wants = (id: string): boolean => options.only.length === 0 || options.only.includes(id);
  const before = load();
  const texts: string[] = [];
  const facts: Fact[] = [];
  // First, while the heap is small.
  if (wants("first")) facts.push(await firstBatch());
  if (wants("memory") && process.platform === "linux") facts.push(memoryHeld());
  if (wants("gap")) facts.push(...(await gaps()));
  const parts: Readonly<Record<string, () => Part>> = {
    names: namesPart,
    deep: deepPart,
    stat: statPart,
  };
  for (const [id, make] of Object.entries(parts)) {
    if (!wants(id)) continue;
    say(`walk: ${id}`);
    texts.push(await timesOf(make()));
  }
  if (facts.length > 0)
    texts.push(
      `## Single figures\n\n${table(
        ["question", "figure", "goal", "verdict"],
        facts.map(({ question, figure, goal, isMet }) => [
          question,
          figure,
          goal,
          isMet ? "met" : "missed",
        ]),
      )}\n`,
    );
  process.stdout.write(`${texts.join("\n")}\n`);
  if (options.quick || options.only.length > 0) return;
  const busy = before > availableParallelism() / 2 ? " The machine had other things to do." : "";
  // One blank line between parts, as the formatter of the repository wants it.
  const body = texts.map((text) => text.trimEnd()).join("\n\n");
  const head = `# walk: listing trees\n\n\`npm run bench walk\` · copse ${copseVersion()} · ${machine(dirname(data))}, load ${before} · ${options.rounds} rounds in turns, warm, every answer checked. Programs are timed whole, the same program's time in an empty directory taken off.${busy}`;
  write("walk.md", `${head}\n\n${body}\n`);
}

const held = process.env["COPSE_WALK_CHILD"];
if (held) await heldByWalk(held, empty);
else await main();
