// Packing, verifying and unpacking: against tar and zstd, and against znippy where it was built.
//
// Three seeded workloads in memory: 20,000 small files, a mixed tree of 240 MB and one file of 200 MB.
// copse runs in process; a rival is a whole command. znippy is not part of this project: name a program
// that takes `compress DIR FILE`, `verify FILE` and `decompress FILE DIR` in COPSE_BENCH_ZNIPPY.

import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compareSync, listSync, pack, unpack, verify } from "../lib/index.ts";
import { benchOptions } from "./arguments.ts";
import { machine } from "./machine.ts";
import { interleave, judge, type Contestant, type Run, type Target } from "./measure.ts";
import { mebibytes, number, say, table, write } from "./report.ts";
import { timed } from "./rivals.ts";

const parts = ["small", "mixed", "one"];
const options = benchOptions(parts);
const scale = options.quick ? 20 : 1;
const folder = join(
  process.env["COPSE_BENCH_DIR"] ?? (existsSync("/dev/shm") ? "/dev/shm" : tmpdir()),
  options.quick ? "copse-pack-quick" : "copse-pack",
);
const at = (name: string): string => join(folder, name);
const znippy = process.env["COPSE_BENCH_ZNIPPY"];
/** How many files a process may open at most. */
const descriptors = (() => {
  const said = Bun.spawnSync(["sh", "-c", "ulimit -Hn"]).stdout.toString().trim();
  return said === "unlimited" ? 1 << 20 : Number(said);
})();

// ── Workloads ───────────────────────────────────────────────────────────────────────────────────

let state = 20260101;
function next(below: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}

const words = Array.from({ length: 3000 }, () =>
  Array.from({ length: 2 + next(9) }, () => String.fromCharCode(97 + next(26))).join(""),
);
const lines = Array.from({ length: 30_000 }, () => {
  const line = Array.from({ length: 2 + next(7) }, () => words[next(words.length)]!);
  return `${"  ".repeat(next(4))}${line.join(" ")};\n`;
});

/** Lines that come again, as in source code, the first of them more often. */
function text(size: number): string {
  const chosen: string[] = [];
  let length = 0;
  while (length < size) {
    const line = lines[Math.floor((next(1000) / 1000) ** 2 * lines.length)]!;
    chosen.push(line);
    length += line.length;
  }
  return chosen.join("");
}

function noise(size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = next(256);
  return bytes;
}

function plant(root: string, path: string, bytes: string | Uint8Array): void {
  mkdirSync(join(root, path, ".."), { recursive: true });
  writeFileSync(join(root, path), bytes);
}

const workloads: Record<string, { title: string; make(root: string): void }> = {
  small: {
    title: "20,000 small files",
    make(root) {
      for (let i = 0; i < 20_000 / scale; i++)
        plant(root, `d${i % 100}/e${i % 7}/f${i}.txt`, text(512 + next(3200)));
    },
  },
  mixed: {
    title: "A mixed tree of 240 MB",
    make(root) {
      for (let i = 0; i < 8000 / scale; i++)
        plant(root, `src/d${i % 90}/f${i}.ts`, text(2000 + next(30_000)));
      for (let i = 0; i < 60 / scale; i++) plant(root, `bin/p${i}`, noise(500_000 + next(500_000)));
      for (let i = 0; i < 40 / scale; i++)
        plant(root, `log/l${i}.log`, text(1_000_000 + next(1_500_000)));
    },
  },
  one: {
    title: "One file of 200 MB",
    make(root) {
      plant(root, "data.tar", text(200_000_000 / scale));
    },
  },
};

// ── Contestants ─────────────────────────────────────────────────────────────────────────────────

async function ours(name: string, work: () => Promise<boolean>): Promise<Run> {
  const cpu = process.cpuUsage();
  const began = Bun.nanoseconds();
  const equal = await work();
  const milliseconds = (Bun.nanoseconds() - began) / 1e6;
  const used = process.cpuUsage(cpu);
  if (!equal) say(`${name}: wrong`);
  return { equal, milliseconds, cpuMilliseconds: (used.user + used.system) / 1000, diskBytes: 0 };
}

function shell(name: string, script: string, prepare?: () => void): Contestant {
  return {
    name,
    isOurs: false,
    ...(prepare ? { prepare } : {}),
    run(): Run {
      const { code, output, run } = timed(["sh", "-c", script]);
      if (code !== 0) throw new Error(`${name}: exit code ${code}: ${output}`);
      return { ...run, equal: true };
    },
  };
}

const gone = (path: string) => (): void => rmSync(path, { recursive: true, force: true });

function peakOfOurs(...words: string[]): number {
  const child = Bun.spawnSync([process.execPath, join(import.meta.dir, "peak.ts"), ...words]);
  return child.exitCode === 0 ? Number(child.stdout.toString()) : NaN;
}

/**
 * The most that one of a script's processes held, as peak.ts counts. Not what the system says of a child that ended: that
 * counts the process it was spawned from, which is this one, too.
 */
async function peakOf(script: string): Promise<number> {
  const child = Bun.spawn(["sh", "-c", script], { stdout: "ignore", stderr: "ignore" });
  const read = (path: string): string => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return ""; // it ended meanwhile
    }
  };
  const family = (pid: number): number[] => {
    const below = read(`/proc/${pid}/task/${pid}/children`).trim();
    return [pid, ...(below ? below.split(" ").flatMap((id) => family(Number(id))) : [])];
  };
  let most = 0;
  while (child.exitCode === null) {
    for (const pid of family(child.pid)) {
      const fields = read(`/proc/${pid}/status`).matchAll(/^Rss(?:Anon|Shmem):\s+(\d+) kB/gm);
      const held = fields.reduce((sum, [, kilobytes]) => sum + Number(kilobytes) * 1024, 0);
      most = Math.max(most, held);
    }
    await Bun.sleep(2);
  }
  return most;
}

/** What came out is what went in. */
function checked(tree: string, out: string): void {
  const { equal } = compareSync(tree, out);
  if (!equal) throw new Error(`${out} is not what was packed`);
}

const report: string[] = [];
const judged: string[] = [];

async function part(
  title: string,
  contestants: readonly Contestant[],
  targets: readonly Target[],
): Promise<void> {
  const rows = await interleave(contestants, options.rounds, true);
  report.push(
    `### ${title}\n\n${table(
      ["", "fastest ms", "median ms", "slowest ms", "CPU ms"],
      rows.map((row) => [row.name, ...[row.min, row.median, row.max, row.cpu].map(number)]),
    )}`,
  );
  for (const target of targets) {
    if (!rows.some(({ name }) => name === target.against)) continue;
    const { min, median, verdict } = judge(target, rows);
    const line = `- ${title}: ${target.ours.join()} against ${target.against}: ${number(min)} (fastest), ${number(median)} (median); at most ${target.atMost}: ${verdict}`;
    report.push(line);
    judged.push(line);
  }
}

for (const [id, { title, make }] of Object.entries(workloads)) {
  if (options.only.length > 0 && !options.only.includes(id)) continue;
  say(title);
  rmSync(folder, { recursive: true, force: true });
  const tree = at("tree");
  make(tree);
  const packed = at("ours.znippy");
  const own = at("ours.pack");
  const tar = at("tree.tar.zst");
  const theirs = at("theirs.znippy");
  report.push(`## ${title}`);

  await part(
    "pack, level 3",
    [
      {
        name: "copse",
        isOurs: true,
        run: () => ours("pack", async () => (await pack(tree, packed)).errors === 0),
      },
      {
        name: "copse, its own format",
        isOurs: true,
        run: () =>
          ours("pack", async () => (await pack(tree, own, { format: "copse" })).errors === 0),
      },
      shell("tar | zstd -T0 -3", `tar -C ${tree} -cf - . | zstd -q -f -T0 -3 -o ${tar}`),
    ],
    [{ ours: ["copse"], against: "tar | zstd -T0 -3", atMost: 1.4 }],
  );
  const memory = peakOfOurs("pack", tree, packed);
  const memoryOfTar = await peakOf(`tar -C ${tree} -cf - . | zstd -q -f -T0 -3 -o ${tar}`);
  report.push(
    `Sizes: copse ${mebibytes(statSync(packed).size)}, its own format ${mebibytes(statSync(own).size)}, tar.zst ${mebibytes(statSync(tar).size)}. Memory: copse ${mebibytes(memory)} above Bun's own, the larger of tar and zstd ${mebibytes(memoryOfTar)}: ${number(memory / memoryOfTar)}, at most 0.6: ${memory / memoryOfTar <= 0.6 ? "met" : "missed"}.`,
  );

  if (id === "small") {
    const ratio = statSync(own).size / statSync(tar).size;
    const line = `- ${title}: size of copse's own format against tar.zst: ${number(ratio)}; at most 1: ${ratio <= 1 ? "met" : "missed"}`;
    report.push(line);
    judged.push(line);
  }

  const out = at("out");
  const files = listSync(tree).filter(({ type }) => type === "file").length;
  if (znippy && files + 100 >= descriptors)
    report.push(
      `znippy opens all ${files} files at once to unpack them, and no more than ${descriptors} may be open here: it is left out of that.`,
    );
  await part(
    "unpack",
    [
      {
        name: "copse",
        isOurs: true,
        prepare: gone(out),
        run: () => ours("unpack", async () => (await unpack(packed, out)).errors === 0),
      },
      shell(
        "zstd -d | tar x",
        `mkdir -p ${at("out-tar")} && zstd -dcq ${tar} | tar -C ${at("out-tar")} -xf -`,
        gone(at("out-tar")),
      ),
      // It opens all files at once.
      ...(znippy && files + 100 < descriptors
        ? [
            shell(
              "znippy",
              `ulimit -n ${descriptors}; ${znippy} decompress ${packed} ${at("out-znippy")}`,
              gone(at("out-znippy")),
            ),
          ]
        : []),
    ],
    [
      { ours: ["copse"], against: "zstd -d | tar x", atMost: 1.25 },
      { ours: ["copse"], against: "znippy", atMost: 0.95 },
    ],
  );
  checked(tree, out);
  checked(tree, at("out-tar"));
  for (const name of readdirSync(folder)) if (name.startsWith("out")) gone(at(name))();

  await part(
    "verify",
    [
      {
        name: "copse",
        isOurs: true,
        run: () => ours("verify", async () => (await verify(packed)).ok),
      },
      shell("zstd -t (one XXH64)", `zstd -tq ${tar}`),
      ...(znippy ? [shell("znippy", `${znippy} verify ${packed}`)] : []),
    ],
    [{ ours: ["copse"], against: "znippy", atMost: id === "small" ? 0.5 : 0.9 }],
  );

  if (znippy && id !== "one") {
    say("znippy packs (level 19)");
    const nineteen = at("nineteen.znippy");
    const rounds = options.quick ? 1 : 3;
    const took: [number[], number[], number[]] = [[], [], []];
    for (let round = 0; round < rounds; round++) {
      rmSync(theirs, { force: true });
      took[0].push(timed(["sh", "-c", `${znippy} compress ${tree} ${theirs}`]).run.milliseconds);
      for (const [which, path, level] of [
        [1, packed, 3],
        [2, nineteen, 19],
      ] as const) {
        const run = await ours(
          "pack",
          async () => (await pack(tree, path, { level })).errors === 0,
        );
        took[which].push(run.milliseconds);
      }
    }
    const [run, mine, same] = took.map((times) => Math.min(...times)) as [number, number, number];
    const memoryOfTheirs = await peakOf(`exec ${znippy} compress ${tree} ${theirs}`);
    const bytes = [packed, nineteen, theirs].map((path) => statSync(path).size);
    const line = `- pack against znippy's (level 19, fastest of ${rounds} interleaved): level 3 ${number(mine / run)} of its time at ${number(bytes[0]! / bytes[2]!)} of its size (at most 0.125 and 1.15); level 19 ${number(same / run)} of its time at ${number(bytes[1]! / bytes[2]!)} of its size (at most 1)`;
    const memoryOfOurs = peakOfOurs("pack", tree, nineteen, "19");
    const share = memoryOfOurs / memoryOfTheirs;
    const peaks = `- memory at level 19: copse ${mebibytes(memoryOfOurs)} above Bun's own, znippy ${mebibytes(memoryOfTheirs)}: ${number(share)}, at most 0.3: ${share <= 0.3 ? "met" : "missed"}`;
    report.push(line, peaks);
    judged.push(line, peaks);
  }
}
rmSync(folder, { recursive: true, force: true });

const document = `# Packs

\`npm run bench pack\`. All in memory (tmpfs), warm, ${options.rounds} interleaved rounds; copse in process, a rival as a whole command. What was unpacked is compared with what was packed. Bytes are the same for any number of workers.${znippy ? " znippy 0.7 was built outside of this project." : " znippy was not there."}

${machine(tmpdir())}

${report.join("\n\n")}
`;
console.log(document);
if (!options.quick && options.only.length === 0) write("pack.md", document);
