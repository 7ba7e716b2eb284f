// What does copse cost an event loop: throughput of many small tasks, the longest pause, the CPU of
// waiting, the time to stop? Rows marked "must" are the issue's, the others are the goals of the design.
//
// Everything runs in this process, against what Bun's own `node:fs` does in the same process, in turns.

import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { compare, list, Runtime, Store } from "../lib/index.ts";
import { benchOptions } from "./arguments.ts";
import type { BenchOptions } from "./arguments.ts";
import { canEvict, evict, warm } from "./cache.ts";
import { copseVersion, fileSystem, load, machine } from "./machine.ts";
import { median } from "./measure.ts";
import { number, say, table, write } from "./report.ts";
import { workloads } from "./workloads.ts";
import type { Workload } from "./workloads.ts";

interface Row {
  readonly question: string;
  readonly ours: string;
  readonly other: string;
  readonly ratio: string;
  readonly goal: string;
  readonly isMust: boolean;
  readonly isMet: boolean;
}

interface Place {
  readonly options: BenchOptions;
  readonly small: Workload;
  readonly tiny: Workload;
  readonly emptyDirectory: string;
  /** Paths below both trees of `small`. */
  readonly smallPaths: readonly string[];
  readonly tinyPaths: readonly string[];
}

type Question = (place: Place) => Promise<readonly Row[]>;

const questions: Readonly<Record<string, Question>> = {
  pairs: pairsPerSecond,
  gap: timerGap,
  waiting: waitingCost,
  cancel: cancelLatency,
  stat: statsPerSecond,
  noop: noopsPerSecond,
  completions: completionGap,
  rows: rowsPerSecond,
  pool: coldPool,
  response: responseRate,
  runtimes: hundredRuntimes,
};

/** Runs the whole bench. Throws when an answer is wrong; a slow one is a row like any other. */
async function main(): Promise<void> {
  const options = benchOptions(Object.keys(questions));
  const made = workloads(options.quick);
  const loadBefore = load();
  const { small, tiny } = made;
  warm([small.left, small.right, tiny.left, tiny.right]);
  const place: Place = {
    options,
    small,
    tiny,
    emptyDirectory: made.nothing.tree[0],
    smallPaths: filesBelow(small.left),
    tinyPaths: filesBelow(tiny.left),
  };
  const rows: Row[] = [];
  for (const [id, question] of Object.entries(questions)) {
    if (options.only.length > 0 && !options.only.includes(id)) continue;
    say(`async: ${id}`);
    rows.push(...(await question(place)));
  }
  const text = rowsText(rows, !options.quick);
  process.stdout.write(`\n${text}\n`);
  if (options.quick || options.only.length > 0) return;
  write(
    "async.md",
    `# async: what copse costs an event loop

Made by \`bun run bench async\` on ${new Date().toISOString().slice(0, 10)}; do not edit.

- Machine: ${machine(small.left)}; load before the start ${loadBefore}.
- copse ${copseVersion()} on Bun ${Bun.version}; medians of ${options.rounds} rounds in turns, or of what the row says.

${text}

"must" is the issue's; the other goals are the design's. Warm unless the row says cold. One operation at a
time is not a row: a futex more than a Worker's echo, it is no win and none is claimed.
`,
  );
}

// ── Must ────────────────────────────────────────────────────────────────────────────────────────

/** Many small tasks against the obvious way: read both, compare. */
async function pairsPerSecond({ options, small, smallPaths }: Place): Promise<readonly Row[]> {
  const pairs = smallPaths
    .slice(0, 5000)
    .map((path): [string, string] => [join(small.left, path), join(small.right, path)]);
  const byCopse = async ([left, right]: [string, string]): Promise<void> => {
    expectEqual((await compare(left, right)).equal);
  };
  const byNode = async ([left, right]: [string, string]): Promise<void> => {
    const [a, b] = await Promise.all([readFile(left), readFile(right)]);
    expectEqual(Buffer.compare(a, b) === 0);
  };
  const [ours, theirs] = await inTurns(options.rounds, [
    () => atDepth(64, pairs, byCopse),
    () => atDepth(64, pairs, byNode),
  ]);
  return [
    faster("pairs of 4 KiB per second, depth 64, against readFile ×2 + Buffer.compare", {
      ours: pairs.length / ours!,
      other: pairs.length / theirs!,
      atLeast: 1.5,
      isMust: true,
    }),
  ];
}

/** How long a 1 ms timer had to wait at most, while a whole tree is compared. */
async function timerGap({ tiny, emptyDirectory }: Place): Promise<readonly Row[]> {
  const rows: Row[] = [];
  const cases: readonly [string, string, boolean][] = [
    [tiny.right, `${tiny.files.toLocaleString("en")} equal files`, true],
    [emptyDirectory, `${tiny.files.toLocaleString("en")} files that one side lacks`, false],
  ];
  for (const [right, what, equal] of cases) {
    const gaps: number[] = [];
    const idle: number[] = [];
    for (let i = 0; i < 5; i++) {
      Bun.gc(true);
      const busy = await longestGap(async () => {
        const result = await compare(tiny.left, right);
        if (result.equal !== equal || !result.complete) throw new Error(`a wrong answer: ${what}`);
      });
      gaps.push(busy.gap);
      idle.push((await longestGap(() => Bun.sleep(busy.milliseconds))).gap);
    }
    rows.push({
      question: `longest gap of a 1 ms timer while ${what} are compared, median of 5`,
      ours: milliseconds(median(gaps)),
      other: `${milliseconds(median(idle))} while nothing runs`,
      ratio: `highest ${milliseconds(Math.max(...gaps))}`,
      goal: "< 5 ms",
      isMust: true,
      isMet: median(gaps) < 5,
    });
  }
  return rows;
}

/** A task that waits must not poll: one parked by an unread page, one by a slow store. */
async function waitingCost({ options, tiny, small, smallPaths }: Place): Promise<readonly Row[]> {
  const second = options.quick ? 100 : 1000;
  const parked: number[] = [];
  const slow: number[] = [];
  const idle: number[] = [];
  const [path] = smallPaths;
  for (let i = 0; i < (options.quick ? 1 : 3); i++) {
    idle.push(await cpuOf(() => Bun.sleep(second)));
    const entries = list(tiny.left)[Symbol.asyncIterator]();
    await entries.next();
    // What the first pages cost is not the price of waiting.
    await Bun.sleep(100);
    parked.push(await cpuOf(() => Bun.sleep(second)));
    await entries.return?.();
    const delayed = `fault:delay=${second}:${join(small.left, path!)}`;
    slow.push(
      await cpuOf(async () => {
        expectEqual((await compare(delayed, join(small.right, path!))).equal);
      }),
    );
  }
  const row = (question: string, measured: readonly number[]): Row => ({
    question,
    ours: `${milliseconds(median(measured))} CPU`,
    other: `${milliseconds(median(idle))} while nothing runs`,
    ratio: `highest ${milliseconds(Math.max(...measured))}`,
    goal: "< 50 ms",
    isMust: true,
    isMet: Math.max(...measured) < 50,
  });
  return [
    row("one task in flight for 1 s: a list nobody reads on", parked),
    row("one task in flight for 1 s: a compare whose store is slow (fault: delay)", slow),
  ];
}

/** From abort to the rejection, and until no worker is busy with the task any more. */
async function cancelLatency({ options, tiny }: Place): Promise<readonly Row[]> {
  let whole = Infinity;
  for (let i = 0; i < 3; i++) {
    const began = performance.now();
    await compare(tiny.left, tiny.right);
    whole = Math.min(whole, performance.now() - began);
  }
  const rejected: number[] = [];
  const stopped: number[] = [];
  const runs = options.quick ? 5 : 40;
  for (let i = 0; i < runs; i++) {
    const controller = new AbortController();
    const task = compare(tiny.left, tiny.right, { signal: controller.signal });
    // From nearly at once to nearly done: the same points in every run of the bench.
    await Bun.sleep((whole * (i + 0.5)) / (runs + 2));
    const outcome = task.then(
      () => "done",
      () => "rejected",
    );
    const at = performance.now();
    controller.abort();
    if ((await outcome) === "done") continue;
    rejected.push(performance.now() - at);
    const deadline = at + 5000;
    while (Runtime.default.stats.running > 0 && performance.now() < deadline) await Bun.sleep(0);
    stopped.push(performance.now() - at);
  }
  const row = (question: string, measured: readonly number[]): Row => ({
    question: `${question}, ${measured.length} of ${runs} times`,
    ours: `median ${milliseconds(median(measured))}`,
    other: "",
    ratio: `highest ${milliseconds(Math.max(...measured))}`,
    goal: "≤ 10 ms",
    isMust: true,
    // A run that ended before its abort says nothing.
    isMet: measured.length > runs / 2 && Math.max(...measured) <= 10,
  });
  return [
    row("abort to rejection in the middle of a large compare", rejected),
    row("abort until no worker runs it", stopped),
  ];
}

// ── The design's goals ──────────────────────────────────────────────────────────────────────────

async function statsPerSecond({ options, small, smallPaths }: Place): Promise<readonly Row[]> {
  await using store = new Store(small.left);
  const rows: Row[] = [];
  for (const depth of [64, 4096]) {
    const runtime = Runtime.default;
    let wakes = 0;
    const [ours, theirs] = await inTurns(options.rounds, [
      async () => {
        const before = runtime.stats.wakes;
        await atDepth(depth, smallPaths, async (path) => {
          expectEqual((await store.stat(path))?.type === "file");
        });
        wakes = runtime.stats.wakes - before;
      },
      () =>
        atDepth(depth, smallPaths, async (path) => {
          expectEqual((await stat(join(small.left, path))).isFile());
        }),
    ]);
    rows.push(
      faster(`stat per second, depth ${depth}, against fs.promises.stat`, {
        ours: smallPaths.length / ours!,
        other: smallPaths.length / theirs!,
        atLeast: 1.4,
        isMust: true,
      }),
    );
    if (depth !== 64) continue;
    const each = wakes / smallPaths.length;
    rows.push({
      question: "wakes per stat, depth 64",
      ours: number(each),
      other: "",
      ratio: "",
      goal: "≤ 0.05",
      isMust: true,
      isMet: each <= 0.05,
    });
  }
  return rows;
}

async function completionGap({ options, tiny, tinyPaths }: Place): Promise<readonly Row[]> {
  await using store = new Store(tiny.left);
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < Math.min(5, options.rounds); round++) {
    const all = async (one: (path: string) => Promise<unknown>): Promise<void> => {
      await Promise.all(tinyPaths.map(one));
    };
    Bun.gc(true);
    ours.push((await longestGap(() => all((path) => store.stat(path)))).gap);
    Bun.gc(true);
    theirs.push((await longestGap(() => all((path) => stat(join(tiny.left, path))))).gap);
  }
  const ratio = median(ours) / median(theirs);
  return [
    {
      question: `longest loop gap of ${tinyPaths.length.toLocaleString("en")} stats at once, against fs.promises.stat`,
      ours: milliseconds(median(ours)),
      other: milliseconds(median(theirs)),
      ratio: number(ratio),
      goal: "≤ 0.2",
      isMust: true,
      isMet: ratio <= 0.2,
    },
  ];
}

async function rowsPerSecond({ options, tiny, tinyPaths }: Place): Promise<readonly Row[]> {
  const [streamed, single] = await inTurns(options.rounds, [
    async () => {
      const entries = await list(tiny.left);
      const files = entries.filter((entry) => entry.type === "file").length;
      if (files !== tiny.files) throw new Error(`list found ${files} files of ${tiny.files}`);
    },
    () =>
      atDepth(1024, tinyPaths, async (path) => {
        const entries = await list(join(tiny.left, path));
        expectEqual(entries.length === 1);
      }),
  ]);
  return [
    faster("rows per second of one list, against one task per entry", {
      ours: tinyPaths.length / streamed!,
      other: tinyPaths.length / single!,
      atLeast: 4,
      isMust: false,
    }),
  ];
}

async function coldPool({ options, small }: Place): Promise<readonly Row[]> {
  if (!canEvict || fileSystem(small.left) === "tmpfs") return [];
  using narrow = new Runtime({ io: "threads", ioWorkers: availableParallelism() });
  using eight = new Runtime({ io: "threads", ioWorkers: 8 });
  using ring = new Runtime({ io: "uring" });
  using usual = new Runtime({ io: "threads" });
  const sides = [small.left, small.right];
  const cpu = new Map<Runtime, number[]>();
  const cold = (runtime: Runtime) => async (): Promise<void> => {
    const before = process.cpuUsage();
    expectEqual((await compare(small.left, small.right, { runtime })).equal);
    const { user, system } = process.cpuUsage(before);
    cpu.set(runtime, [...(cpu.get(runtime) ?? []), (user + system) / 1000]);
  };
  const runtimes = [usual, narrow, eight, ...(ring.info.backend === "uring" ? [ring] : [])];
  const times = await inTurns(options.rounds, runtimes.map(cold), () => evict(sides));
  warm(sides);
  const rate = (at: number): number => small.files / times[at]!;
  const rows = [
    faster("cold files per second, default I/O workers against one per core", {
      ours: rate(0),
      other: rate(1),
      atLeast: 1.5,
      isMust: true,
    }),
  ];
  if (runtimes.length < 4) return rows;
  const spent = (runtime: Runtime): number => median(cpu.get(runtime)!);
  rows.push(
    faster("cold files per second, io: uring against eight threads", {
      ours: rate(3),
      other: rate(2),
      atLeast: 1.2,
      isMust: true,
    }),
    {
      question: "CPU of the same",
      ours: milliseconds(spent(ring)),
      other: milliseconds(spent(eight)),
      ratio: number(spent(ring) / spent(eight)),
      goal: "< 1",
      isMust: false,
      isMet: spent(ring) < spent(eight),
    },
  );
  return rows;
}

/**
 * What does next to nothing, in a tree in memory, against a Worker that answers what it is told: asked
 * together, as they are, and as a native task each.
 */
async function noopsPerSecond({ options }: Place): Promise<readonly Row[]> {
  await using store = new Store("memory:bench-noop");
  await store.write("a", "1");
  const source = "self.onmessage = ({ data }) => postMessage(data);";
  const url = URL.createObjectURL(new Blob([source], { type: "application/javascript" }));
  const worker = new Worker(url);
  const waiting = new Map<number, () => void>();
  worker.addEventListener("message", ({ data }: MessageEvent<number>) => {
    waiting.get(data)!();
    waiting.delete(data);
  });
  let last = 0;
  const echo = (): Promise<void> =>
    new Promise((resolve) => {
      const number = ++last;
      waiting.set(number, resolve);
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a Worker, no window
      worker.postMessage(number);
    });
  const rows: Row[] = [];
  const things = Array.from({ length: options.quick ? 2000 : 50_000 });
  for (const [depth, atLeast] of [
    [64, 3],
    [4096, 10],
  ] as const) {
    const [ours, theirs, single] = await inTurns(options.rounds, [
      () => atDepth(depth, things, async () => expectEqual(await store.exists("a"))),
      () => atDepth(depth, things, echo),
      () =>
        atDepth(depth, things, async () => {
          expectEqual((await list("memory:bench-noop/a")).length === 1);
        }),
    ]);
    rows.push(
      faster(`no-op tasks per second, depth ${depth}, against a Worker's postMessage echo`, {
        ours: things.length / ours!,
        other: things.length / theirs!,
        atLeast,
        isMust: true,
      }),
      faster(`the same with a native task for each, depth ${depth}`, {
        ours: things.length / single!,
        other: things.length / theirs!,
        atLeast,
        isMust: false,
      }),
    );
  }
  worker.terminate();
  URL.revokeObjectURL(url);
  return rows;
}

/** A gigabyte of zeros to a client of this machine: Store.read() as a body, against Bun.file. */
async function responseRate({ options, small }: Place): Promise<readonly Row[]> {
  const size = options.quick ? 16 * 2 ** 20 : 2 ** 30;
  const path = join(small.left, "..", "response.bin");
  writeFileSync(path, "");
  truncateSync(path, size);
  await using plain = new Store(dirname(path));
  await using direct = new Store(dirname(path), { direct: true });
  const bodies: Record<string, () => Response> = {
    plain: () => new Response(plain.read(basename(path))),
    direct: () => new Response(direct.read(basename(path))),
    file: () => new Response(Bun.file(path)),
  };
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: (request) => bodies[new URL(request.url).pathname.slice(1)]!(),
  });
  // Another process reads it, so that only the sending is measured here.
  const get = (body: string) => async (): Promise<void> => {
    const url = `http://127.0.0.1:${server.port}/${body}`;
    const child = Bun.spawn(["curl", "-s", "-o", "/dev/null", "-w", "%{size_download}", url]);
    if (Number(await new Response(child.stdout).text()) !== size) throw new Error("cut short");
  };
  const [ours, whole, theirs] = await inTurns(options.rounds, [
    get("plain"),
    get("direct"),
    get("file"),
  ]);
  await server.stop(true);
  rmSync(path);
  const mebibytes = size / 2 ** 20;
  const row = (question: string, seconds: number): Row =>
    faster(question, {
      ours: mebibytes / seconds,
      other: mebibytes / theirs!,
      atLeast: 0.8,
      isMust: true,
    });
  return [
    row("MiB per second of a response of Store.read(), direct, against Bun.file", whole!),
    row("the same without direct: one copy", ours!),
  ];
}

async function hundredRuntimes({ small, smallPaths }: Place): Promise<readonly Row[]> {
  if (process.platform !== "linux") return [];
  const descriptors = (): number => readdirSync("/proc/self/fd").length;
  // Bun starts and ends threads of its own when it likes; ours are called so.
  const threads = (): number =>
    readdirSync("/proc/self/task").filter((id) => nameOfThread(id).startsWith("copse")).length;
  const once = async (): Promise<void> => {
    using runtime = new Runtime();
    const path = smallPaths[0]!;
    const both = [join(small.left, path), join(small.right, path)] as const;
    expectEqual((await compare(...both, { runtime })).equal);
  };
  // Bun starts threads of its own for the first ones.
  for (let i = 0; i < 5; i++) await once();
  await Bun.sleep(100);
  const before = [descriptors(), threads()] as const;
  for (let i = 0; i < 100; i++) await once();
  await Bun.sleep(100);
  const after = [descriptors(), threads()] as const;
  return [
    {
      question: "file descriptors and native threads after 100 runtimes were opened and closed",
      ours: `${after[0]} and ${after[1]}`,
      other: `${before[0]} and ${before[1]} before`,
      ratio: "",
      goal: "flat",
      isMust: false,
      isMet: after[0] <= before[0] && after[1] <= before[1],
    },
  ];
}

function nameOfThread(id: string): string {
  try {
    return readFileSync(`/proc/self/task/${id}/comm`, "utf8");
  } catch {
    return ""; // it has ended
  }
}

// ── How it is measured ──────────────────────────────────────────────────────────────────────────

/** Runs `one` for each thing, `depth` of them in flight. */
async function atDepth<T>(
  depth: number,
  things: readonly T[],
  one: (thing: T) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < things.length) await one(things[next++]!);
  };
  await Promise.all(Array.from({ length: Math.min(depth, things.length) }, lane));
}

/** Seconds of the median round of each; one warm-up round, the order turns. */
async function inTurns(
  rounds: number,
  works: readonly (() => Promise<void>)[],
  prepare?: () => void,
): Promise<number[]> {
  const times = works.map((): number[] => []);
  for (let round = -1; round < rounds; round++) {
    for (let i = 0; i < works.length; i++) {
      const at = (i + round + 1) % works.length;
      prepare?.();
      Bun.gc(true);
      const began = performance.now();
      await works[at]!();
      if (round >= 0) times[at]!.push((performance.now() - began) / 1000);
    }
  }
  return times.map(median);
}

/** The longest time between two ticks of a 1 ms timer, and how long the work took. */
async function longestGap(
  work: () => Promise<void>,
): Promise<{ readonly gap: number; readonly milliseconds: number }> {
  await Bun.sleep(20);
  let gap = 0;
  const began = performance.now();
  let last = began;
  const tick = (): void => {
    const now = performance.now();
    gap = Math.max(gap, now - last);
    last = now;
  };
  const timer = setInterval(tick, 1);
  await work();
  tick();
  clearInterval(timer);
  return { gap, milliseconds: last - began };
}

/** Milliseconds of CPU that all threads of this process used meanwhile. */
async function cpuOf(work: () => Promise<void>): Promise<number> {
  Bun.gc(true);
  const before = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function faster(
  question: string,
  rates: {
    readonly ours: number;
    readonly other: number;
    readonly atLeast: number;
    readonly isMust: boolean;
  },
): Row {
  const ratio = rates.ours / rates.other;
  return {
    question,
    ours: Math.round(rates.ours).toLocaleString("en"),
    other: Math.round(rates.other).toLocaleString("en"),
    ratio: `${number(ratio)}×`,
    goal: `≥ ${rates.atLeast}×`,
    isMust: rates.isMust,
    isMet: ratio >= rates.atLeast,
  };
}

function filesBelow(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .toSorted();
}

function expectEqual(isEqual: boolean): void {
  if (!isEqual) throw new Error("a wrong answer: no time of this run counts");
}

function milliseconds(value: number): string {
  return `${number(value)} ms`;
}

function rowsText(rows: readonly Row[], isJudged: boolean): string {
  const head = ["question", "copse", "other", "ratio", ...(isJudged ? ["goal", ""] : [])];
  return table(
    head,
    rows.map((row) => [
      row.question,
      row.ours,
      row.other,
      row.ratio,
      ...(isJudged
        ? [`${row.isMust ? "must " : ""}${row.goal}`, row.isMet ? "met" : "missed"]
        : []),
    ]),
  );
}

await main();
