// Is copying and syncing trees as fast as the tools people use: rsync, cp, rclone, Bun's own fs.cp?
//
// Every contestant is a process of its own; the time of the same process with nothing to do is taken
// off, and of copse's what it says itself from its call to its answer. Nobody waits for the disk (`--no-fsync`), everybody keeps modes and times. Destinations are
// fresh and go when all rounds are over: deleting between rounds would help whoever comes next. What
// was made is compared with its source after every round.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compareSync, syncSync } from "../lib/index.ts";
import { benchOptions, type BenchOptions } from "./arguments.ts";
import { onLoop } from "./loop.ts";
import { copseVersion, fileSystem, load, machine } from "./machine.ts";
import { interleave, judge, median, type Contestant, type Run, type Target } from "./measure.ts";
import { say, table, write } from "./report.ts";
import { changedInPlace, inserted } from "./sync-delta.ts";

const copse = [process.execPath, join(import.meta.dir, "..", "lib", "cli", "main.ts")];
const mebibyte = 1024 * 1024;

type Cells = readonly string[];
interface Place {
  readonly options: BenchOptions;
  /** On a file system in memory, where there is one. */
  readonly memory: string;
  readonly disk: string;
}

const parts: Readonly<Record<string, (place: Place) => Promise<readonly Cells[]>>> = {
  "small-memory": smallInMemory,
  "small-disk": smallOnDisk,
  nothing: nothingToDo,
  large: oneLarge,
  reflink: sharedBlocks,
  delta: deltas,
  discovery: discoveryTime,
  start: startTime,
  peak: peakMemory,
};

async function main(): Promise<void> {
  const options = benchOptions(Object.keys(parts));
  const loadBefore = load();
  const hasShm = existsSync("/dev/shm") && free("/dev/shm") > 6 * 1024 * mebibyte;
  const [memory, disk] = [hasShm ? "/dev/shm" : tmpdir(), tmpdir()].map((folder) =>
    mkdtempSync(join(folder, "copse-bench-sync-")),
  ) as [string, string]; // of two
  const rows: Cells[] = [];
  try {
    for (const [name, part] of Object.entries(parts)) {
      if (options.only.length > 0 && !options.only.includes(name)) continue;
      say(`sync: ${name}`);
      rows.push(...(await part({ options, memory, disk })));
    }
  } finally {
    for (const folder of [memory, disk]) rmSync(folder, { recursive: true, force: true });
  }
  const head = ["workload", "copse", "other", "ratio", "goal", "verdict"];
  const text = table(head, rows);
  process.stdout.write(`\n${text}\n`);
  if (options.quick || options.only.length > 0) return;
  write(
    "sync.md",
    `# sync: how fast trees are copied and kept the same

Made by \`node .ci/bench.mjs sync\` on ${new Date().toISOString().slice(0, 10)}; do not edit.

- Machine: ${machine(tmpdir())}; load before the start ${loadBefore}.
- copse ${copseVersion()} on Bun ${Bun.version}, as the command; medians of ${options.rounds} rounds in turns, start-up taken off, without fsync on every side. What was made was compared with its source every time.

${text}
`,
  );
}

function free(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

// ── Contestants ──

let made = 0;

interface Program {
  readonly name: string;
  /** The command that makes `to` like `from`. */
  command(from: string, to: string): readonly string[];
}

const ours: Program = {
  name: "copse",
  command: (from, to) => [...copse, "sync", from, to, "--no-fsync", "--json", "--force"],
};
const rsync: Program = {
  name: "rsync -aW",
  command: (from, to) => ["rsync", "-aW", "--delete", `${from}/`, `${to}/`],
};
const cp: Program = { name: "cp -a", command: (from, to) => ["cp", "-a", `${from}/.`, to] };
const rclone: Program = {
  name: "rclone sync",
  command: (from, to) => ["rclone", "sync", "-q", "--metadata", from, to],
};
const bunCp: Program = {
  name: "fs.cp of Bun",
  command: (from, to) => [
    process.execPath,
    "-e",
    `await require("fs/promises").cp(process.argv[1], process.argv[2], { recursive: true, preserveTimestamps: true, errorOnExist: false })`,
    from,
    to,
  ],
};

async function timed(command: readonly string[], saysItself = false): Promise<Run> {
  const began = Bun.nanoseconds();
  const child = Bun.spawn([...command], { stdout: "pipe", stderr: "pipe" });
  const [text, status] = await Promise.all([child.stdout.text(), child.exited]);
  const milliseconds = saysItself
    ? (JSON.parse(text) as { milliseconds: number }).milliseconds
    : (Bun.nanoseconds() - began) / 1e6;
  if (status !== 0) throw new Error(`${command.join(" ")}: ${await child.stderr.text()}`);
  const cpu = child.resourceUsage()?.cpuTime.total ?? 0n;
  return { equal: true, milliseconds, cpuMilliseconds: Number(cpu) / 1000, diskBytes: 0 };
}

interface Race {
  readonly from: string;
  /** Where destinations are made. */
  readonly into: string;
  readonly programs: readonly Program[];
  readonly targets: readonly Omit<Target, "ours">[];
  readonly rounds: number;
  /** The destination is there already, and the same. */
  readonly isDone?: boolean;
  /** Each destination goes when it was looked at. */
  readonly hasNoRoom?: boolean;
}

/** One row for each rival. */
async function race(workload: string, race: Race): Promise<readonly Cells[]> {
  const empty = join(race.into, "empty");
  mkdirSync(empty, { recursive: true });
  const programs = race.programs.filter(({ command }) => Bun.which(command("", "")[0]!));
  const ready = new Map<Program, string>();
  const contestants = programs.map((program): Contestant => {
    const fresh = (): string => {
      const to = join(race.into, `to${made++}`);
      mkdirSync(to);
      return to;
    };
    if (race.isDone) ready.set(program, fresh());
    let to = "";
    const contestant: Contestant = {
      name: program.name,
      isOurs: program === ours,
      async prepare() {
        to = ready.get(program) ?? fresh();
        if (race.isDone) await timed(program.command(race.from, to));
      },
      async run() {
        const run = await timed(program.command(race.from, to), program === ours);
        // Who keeps times is held to them: rclone and fs.cp do not keep those of directories.
        const equal = compareSync(race.from, to, { by: "stat" }).equal;
        if (race.hasNoRoom) rmSync(to, { recursive: true });
        return { ...run, equal };
      },
    };
    if (program === ours) return contestant;
    contestant.startUp = () => timed(program.command(empty, fresh()));
    return contestant;
  });
  const measured = await interleave(contestants, race.rounds, true);
  const own = measured.find(({ isOurs }) => isOurs)!;
  return race.targets.map((target) => {
    const rival = measured.find(({ name }) => name === target.against);
    const judged = judge({ ...target, ours: [ours.name] }, measured);
    return [
      workload,
      ms(own.median),
      rival ? `${rival.name} ${ms(rival.median)}` : `${target.against}: not here`,
      ratio(judged.median),
      `≤ ${target.atMost}`,
      judged.verdict,
    ];
  });
}

const ms = (milliseconds: number): string =>
  `${milliseconds.toFixed(milliseconds < 100 ? 1 : 0)} ms`;
const ratio = (n: number): string => (Number.isNaN(n) ? "-" : `${n.toFixed(2)} x`);

// ── Workloads ──

function plantSmall(root: string, files: number, bytes: (i: number) => number): void {
  for (let i = 0; i < files; i++) {
    const folder = join(root, `d${i % 200}`);
    if (i < 200) mkdirSync(folder, { recursive: true });
    const path = join(folder, `file-${i}.txt`);
    writeFileSync(path, new Uint8Array(bytes(i)).fill(i));
    utimesSync(path, 1_700_000_000, 1_700_000_000 + i);
  }
}

async function small(
  folder: string,
  place: Place,
  targets: Race["targets"],
): Promise<readonly Cells[]> {
  const files = place.options.quick ? 2000 : 20_000;
  const from = join(folder, "small");
  plantSmall(from, files, (i) => 500 + ((i * 37) % 3500));
  const into = join(folder, "small-into");
  const kind = fileSystem(folder) ?? "unknown";
  const rows = await race(`${files.toLocaleString("en")} small files, ${kind}`, {
    from,
    into,
    programs: [ours, rsync, cp, bunCp],
    targets,
    rounds: place.options.rounds,
  });
  for (const path of [from, into]) rmSync(path, { recursive: true });
  return rows;
}

function smallInMemory(place: Place): Promise<readonly Cells[]> {
  return small(place.memory, place, [
    { against: rsync.name, atMost: 0.5 },
    { against: cp.name, atMost: 0.8 },
    { against: bunCp.name, atMost: 0.2 },
  ]);
}

/** The disk itself where it is ext4, else a file that holds one. */
async function smallOnDisk(place: Place): Promise<readonly Cells[]> {
  const targets = [{ against: rsync.name, atMost: 1 }];
  if (fileSystem(place.disk) === "ext4") return small(place.disk, place, targets);
  return onLoop(place.disk, "ext4", 5120, (folder) => small(folder, place, targets));
}

async function nothingToDo(place: Place): Promise<readonly Cells[]> {
  const files = place.options.quick ? 5000 : 100_000;
  const from = join(place.memory, "many");
  plantSmall(from, files, () => 10);
  const rows = await race(`nothing to do, ${files.toLocaleString("en")} files`, {
    from,
    into: join(place.memory, "many-into"),
    programs: [ours, rsync, rclone],
    targets: [
      { against: rsync.name, atMost: 1 },
      { against: rclone.name, atMost: 0.4 },
    ],
    rounds: place.options.rounds,
    isDone: true,
  });
  for (const path of [from, join(place.memory, "many-into")]) rmSync(path, { recursive: true });
  return rows;
}

function plantLarge(root: string, bytes: number): void {
  mkdirSync(root, { recursive: true });
  const random = new Uint32Array(bytes / 4).map((_, i) => Math.imul(i, 2654435761) ^ (i >>> 7));
  writeFileSync(join(root, "large"), random);
}

async function oneLarge(place: Place): Promise<readonly Cells[]> {
  const size = (place.options.quick ? 128 : 1024) * mebibyte;
  const from = join(place.memory, "large");
  const into = join(place.memory, "large-into");
  plantLarge(from, size);
  const rows = await race(`${size / mebibyte} MiB file, ${fileSystem(place.memory)}`, {
    from,
    into,
    programs: [ours, rsync, cp],
    targets: [
      { against: rsync.name, atMost: 0.4 },
      { against: cp.name, atMost: 1.1 },
    ],
    rounds: place.options.rounds,
    hasNoRoom: true,
  });
  for (const path of [from, into]) rmSync(path, { recursive: true });
  return rows;
}

async function sharedBlocks(place: Place): Promise<readonly Cells[]> {
  const size = (place.options.quick ? 64 : 1024) * mebibyte;
  for (const kind of ["xfs", "btrfs"]) {
    const rows = await onLoop(place.disk, kind, (size / mebibyte) * 3 + 512, (folder) => {
      const from = join(folder, "from");
      plantLarge(from, size);
      const plain: Program = {
        name: "cp --reflink=never",
        command: (source, to) => ["cp", "-a", "--reflink=never", `${source}/.`, to],
      };
      return race(`${size / mebibyte} MiB file, ${kind} shares blocks`, {
        from,
        into: join(folder, "into"),
        programs: [ours, plain],
        targets: [{ against: plain.name, atMost: 0.02 }],
        rounds: place.options.rounds,
        hasNoRoom: true,
      });
    });
    if (!rows[0]?.at(-1)?.startsWith("not measured") || kind === "btrfs") return rows;
  }
  return [];
}

/** What is sent and written of a large file that changed a little. */
async function deltas({ options, memory, disk }: Place): Promise<readonly Cells[]> {
  const size = (options.quick ? 16 : 256) * mebibyte;
  const program = [...copse, "sync"];
  return [
    ...(await inserted(program, memory, size)),
    ...(await changedInPlace(program, memory, disk, size)),
  ];
}

/** The whole command, with nothing to do: what is taken off elsewhere. */
async function startTime({ options, memory }: Place): Promise<readonly Cells[]> {
  const [from, to] = [join(memory, "nothing"), join(memory, "nothing-to")];
  for (const folder of [from, to]) mkdirSync(folder);
  const programs = [ours, rsync, cp, rclone].filter(({ command }) =>
    Bun.which(command("", "")[0]!),
  );
  const measured = await interleave(
    programs.map((program): Contestant => ({
      name: program.name,
      isOurs: program === ours,
      run: () => timed(program.command(from, to)),
    })),
    options.rounds,
    true,
  );
  const [own, ...others] = measured;
  return others.map((other) => [
    "a command with nothing to do",
    ms(own!.median),
    `${other.name} ${ms(other.median)}`,
    ratio(own!.median / other.median),
    "-",
    "for information",
  ]);
}

async function discoveryTime(place: Place): Promise<readonly Cells[]> {
  const from = join(place.memory, "thousand");
  const to = join(place.memory, "thousand-to");
  plantSmall(from, 1000, () => 100);
  syncSync(from, to, { fsync: false });
  const times = Array.from({ length: Math.max(5, place.options.rounds) }, () => {
    const { milliseconds, planned } = syncSync(from, to, { dryRun: true });
    if (planned !== 0) throw new Error("there is nothing to do");
    return milliseconds;
  });
  const took = median(times);
  return [
    [
      "discovery of 1,000 files, both sides",
      ms(took),
      "-",
      "-",
      "< 50 ms",
      took < 50 ? "met" : "missed",
    ],
  ];
}

// Asked of the kernel while it runs: what it says at the end has the memory in it of whoever started
// the process, which is this bench.
function highWater(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/status`, "utf8");
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // it has ended
  }
}

async function peakOf(command: readonly string[]): Promise<number> {
  const child = Bun.spawn([...command], { stdout: "ignore", stderr: "pipe" });
  let most = 0;
  const timer = setInterval(() => {
    most = Math.max(most, highWater(child.pid));
  }, 2);
  const code = await child.exited;
  clearInterval(timer);
  if (code !== 0) throw new Error(await child.stderr.text());
  return most;
}

/** Of the whole command: Bun itself is some 60 MB of it. */
async function peakMemory(place: Place): Promise<readonly Cells[]> {
  const files = place.options.quick ? 20_000 : 1_000_000;
  const rows: Cells[] = [];
  const row = (what: string, bytes: number, atMost: number): void => {
    const mb = Math.round(bytes / 1e6);
    rows.push([what, `${mb} MB`, "-", "-", `< ${atMost} MB`, mb < atMost ? "met" : "missed"]);
  };
  const [from, to] = [join(place.memory, "million"), join(place.memory, "million-to")];
  plantSmall(from, files, () => 0);
  const low = [...copse, "sync", from, to, "--no-fsync", "-q", "--memory", "low-memory"];
  row(`peak, ${files.toLocaleString("en")} files copied, low-memory`, await peakOf(low), 256);
  row(`peak, ${files.toLocaleString("en")} files the same, low-memory`, await peakOf(low), 256);
  const iterated = `const { sync, Runtime } = await import(${JSON.stringify(join(import.meta.dir, "..", "lib", "index.ts"))});
    await using runtime = new Runtime({ memory: "low-memory" });
    const [from, to] = process.argv.slice(1);
    let count = 0;
    for await (const rows of sync(from, to, { fsync: false, runtime }).batches()) count += rows.length;
    if (count === 0) throw new Error("there was something to do");`;
  rmSync(to, { recursive: true });
  row(
    `peak, ${files.toLocaleString("en")} files copied, iterated by batches, low-memory`,
    await peakOf([process.execPath, "-e", iterated, from, to]),
    256,
  );
  for (const path of [from, to]) rmSync(path, { recursive: true });
  plantLarge(from, (place.options.quick ? 64 : 1024) * mebibyte);
  for (const [profile, most] of [
    ["256M", 256],
    ["1G", 1000],
  ] as const) {
    const command = [
      ...copse,
      "sync",
      from,
      `${to}-${profile}`,
      "--no-fsync",
      "-q",
      "--memory",
      profile,
    ];
    row(`peak, a large file, --memory ${profile}`, await peakOf(command), most);
  }
  return rows;
}

await main();
