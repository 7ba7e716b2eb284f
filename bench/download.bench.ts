// Does a download use a far server as well as curl and aria2c do? One file of 256 MiB from an nginx of
// the bench's own: 50 ms away with the window that Linux allows one connection, 50 ms away with a
// narrow one, and on loopback; and how much of the processor goes into hashing and compressing.
//
// The distance is a proxy (test/servers/far.ts) as a process of its own. All write to memory, so that no
// disk decides, and none waits for it. Commands are whole processes; every result is hashed.

import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { copy, pack, type CopyOptions } from "../lib/index.ts";
import { nginxMissing, startNginx, type Nginx } from "../test/servers/nginx.ts";
import { benchOptions } from "./arguments.ts";
import { copseVersion, load, machine } from "./machine.ts";
import {
  interleave,
  judge,
  median,
  type Contestant,
  type Measured,
  type Target,
} from "./measure.ts";
import { number, say, table, write } from "./report.ts";

const MIB = 2 ** 20;
const dl = "copse dl";
const inProcess = "copse, await";
const curl = "curl";
const aria = "aria2c -x16 -s16 -k1M";

interface Part {
  readonly title: string;
  readonly roundTripMs: number;
  readonly window: number;
  readonly isJudged: boolean;
}

const parts: Readonly<Record<string, Part | undefined>> = {
  far: {
    title: "50 ms away, 4 MiB in flight over one connection",
    roundTripMs: 50,
    window: 4 * MIB,
    isJudged: true,
  },
  narrow: {
    title: "50 ms away, 1 MiB in flight over one connection",
    roundTripMs: 50,
    window: MIB,
    isJudged: true,
  },
  near: { title: "on loopback", roundTripMs: 0, window: 0, isJudged: false },
  cpu: undefined,
};

interface Bench {
  readonly server: Nginx;
  readonly folder: string;
  readonly bytes: number;
  readonly hash: number | bigint;
}

async function main(): Promise<void> {
  const options = benchOptions(Object.keys(parts));
  if (nginxMissing) throw new Error(nginxMissing);
  const loadBefore = load().toFixed(2);
  const memory = process.env.COPSE_BENCH_DIR ?? (existsSync("/dev/shm") ? "/dev/shm" : tmpdir());
  const folder = mkdtempSync(join(memory, "copse-bench-download-"));
  const where = machine(folder); // which is gone when the results are written
  const server = await startNginx();
  const content = pseudoRandom((options.quick ? 16 : 256) * MIB);
  const texts: string[] = [];
  try {
    writeFileSync(join(server.root, "large"), content);
    const bench: Bench = {
      server,
      folder,
      bytes: content.length,
      hash: Bun.hash(content),
    };
    for (const [id, part] of Object.entries(parts)) {
      if (options.only.length > 0 && !options.only.includes(id)) continue;
      say(`download: ${id}`);
      texts.push(
        part
          ? await compared(bench, part, options.rounds, options.quick)
          : await shares(bench, options.rounds),
      );
    }
  } finally {
    server[Symbol.dispose]();
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write(`\n${texts.join("\n\n")}\n`);
  if (options.quick || options.only.length > 0) return;
  write(
    "download.md",
    `# download: a large file of a web server

Made by \`bun run bench download\` on ${new Date().toISOString().slice(0, 10)}; do not edit.

- Machine: ${where}; load before the start ${loadBefore}.
- copse ${copseVersion()} on Bun ${Bun.version}, ${versionOf("curl")}, ${versionOf("aria2c")}; ${options.rounds} rounds in turns; milliseconds.
- Files go to memory; nobody waits for a disk.

${texts.join("\n\n")}
`,
  );
}

// ── Against others ──

async function compared(
  bench: Bench,
  part: Part,
  rounds: number,
  isQuick: boolean,
): Promise<string> {
  const port = Number(new URL(bench.server.http).port);
  const proxy = part.roundTripMs > 0 ? await startProxy(port, part) : undefined;
  const url = `http://127.0.0.1:${proxy?.port ?? port}/large`;
  try {
    const rows = await interleave(contestants(bench, url), rounds, true);
    const has = (name: string): boolean => rows.some((row) => row.name === name);
    const targets = [curl, aria]
      .filter(has)
      .map((against): Target => ({ ours: [dl, inProcess], against, atMost: 1 }));
    const lines = rows.map((row) => [
      row.name,
      number(row.min),
      number(row.median),
      number(row.max),
      number((bench.bytes / MIB / row.median) * 1000),
    ]);
    const verdicts = targets.map((target) => textOf(target, rows, part.isJudged && !isQuick));
    const head = ["", "fastest", "middle", "slowest", "MiB/s"];
    return `## ${bench.bytes / MIB} MiB ${part.title}\n\n${table(head, lines)}\n\n${verdicts.join("\n")}`;
  } finally {
    proxy?.child.kill();
  }
}

function textOf(target: Target, rows: readonly Measured[], isJudged: boolean): string {
  const { min, median: middle, verdict } = judge(target, rows);
  return `- ${target.ours.join(" and ")} at most ${target.atMost} × ${target.against}: ${number(min)} by the fastest, ${number(middle)} by the middle round${isJudged ? `: **${verdict}**` : ""}`;
}

function contestants(bench: Bench, url: string): Contestant[] {
  const program = join(import.meta.dir, "..", "lib", "cli", "main.ts");
  const out = join(bench.folder, "out");
  const all = [
    contestant(bench, dl, true, () =>
      command(process.execPath, [program, "dl", url, "-o", out, "--no-fsync", "-q"]),
    ),
    contestant(bench, inProcess, true, async () => {
      const { errors } = await copy(url, out, { fsync: false });
      return errors === 0;
    }),
  ];
  if (Bun.which("curl"))
    all.push(
      contestant(bench, curl, false, () =>
        command("curl", ["-s", "--noproxy", "*", "-o", out, url]),
      ),
    );
  if (Bun.which("aria2c")) {
    const how = ["-q", "-x16", "-s16", "-k1M", "--file-allocation=none", "--no-conf"];
    all.push(
      contestant(bench, aria, false, () =>
        command("aria2c", [...how, "-d", bench.folder, "-o", "out", url]),
      ),
    );
  } else say("aria2c is not installed and left out");
  return all;
}

function command(program: string, args: readonly string[]): boolean {
  const { http_proxy: _, HTTP_PROXY: __, all_proxy: ___, ...env } = process.env;
  return spawnSync(program, args, { env, stdio: "ignore" }).status === 0;
}

function contestant(
  bench: Bench,
  name: string,
  isOurs: boolean,
  fetchIt: () => boolean | Promise<boolean>,
): Contestant {
  return {
    name,
    isOurs,
    prepare() {
      for (const left of readdirSync(bench.folder)) rmSync(join(bench.folder, left));
      Bun.gc(true);
    },
    async run() {
      const cpu = process.cpuUsage();
      const begin = performance.now();
      const isDone = await fetchIt();
      const milliseconds = performance.now() - begin;
      const { user, system } = process.cpuUsage(cpu);
      const bytes = await Bun.file(join(bench.folder, "out")).bytes();
      const equal = isDone && Bun.hash(bytes) === bench.hash;
      return { equal, milliseconds, cpuMilliseconds: (user + system) / 1000, diskBytes: 0 };
    },
  };
}

async function startProxy(
  port: number,
  { roundTripMs, window }: Part,
): Promise<{ port: number; child: Bun.Subprocess }> {
  const script = join(import.meta.dir, "..", "test", "servers", "far.ts");
  const child = Bun.spawn([process.execPath, script, `${port}`, `${roundTripMs}`, `${window}`], {
    stdout: "pipe",
    stderr: "inherit",
  });
  for await (const chunk of child.stdout)
    return { port: Number(new TextDecoder().decode(chunk)), child };
  throw new Error("the proxy did not start");
}

function versionOf(program: string): string {
  const ran = spawnSync(program, ["--version"], { encoding: "utf8" });
  return ran.status === 0 ? ran.stdout.split("\n")[0]!.split(" (")[0]! : `no ${program}`;
}

// ── Where the processor's time goes ──

/**
 * The same download with and without each of the two, in turns. Hashing is what going on later needs
 * (`resume`); compressing is what a pack does with the content.
 */
async function shares(bench: Bench, rounds: number): Promise<string> {
  const url = `${bench.server.http}/large`;
  const text = join(bench.server.root, "text");
  writeFileSync(text, wordsOf(bench.bytes / 4));
  const textUrl = { files: { text: `${bench.server.http}/text` } };
  const cpu: Record<string, number[]> = {};
  async function used(name: string, work: () => PromiseLike<{ errors: number }>): Promise<void> {
    for (const left of readdirSync(bench.folder)) rmSync(join(bench.folder, left));
    Bun.gc(true);
    const before = process.cpuUsage();
    const { errors } = await work();
    const { user, system } = process.cpuUsage(before);
    if (errors > 0) throw new Error(`${name} failed`);
    (cpu[name] ??= []).push((user + system) / 1000);
  }
  const plain: CopyOptions = { fsync: false, resume: false };
  const out = join(bench.folder, "out");
  for (let round = 0; round < rounds; round++) {
    await used("hashed", () => copy(url, out, { ...plain, resume: true }));
    await used("not hashed", () => copy(url, out, plain));
    await used("compressed", () => pack(textUrl, out, { fsync: false, compress: "always" }));
    await used("stored", () => pack(textUrl, out, { fsync: false, compress: "never" }));
  }
  const of = (name: string): number => median(cpu[name]!);
  const share = (whole: string, without: string): string =>
    `${number(Math.max(0, 1 - of(without) / of(whole)) * 100)} %`;
  const rows = [
    ["download, hashed as it comes", number(of("hashed")), share("hashed", "not hashed")],
    ["download, resume: false", number(of("not hashed")), ""],
    ["pack of a download, zstd level 3", number(of("compressed")), share("compressed", "stored")],
    ["pack of a download, stored", number(of("stored")), ""],
  ];
  return `## Shares of the processor's time

Milliseconds of the process, middle of ${rounds} rounds. ${bench.bytes / MIB} MiB of noise are hashed with BLAKE3; ${bench.bytes / MIB / 4} MiB of text are compressed.

${table(["", "CPU", "share"], rows)}`;
}

/** Text that compresses as text does. */
function wordsOf(size: number): Uint8Array {
  const random = pseudoRandom(size / 4, 7);
  const words = ["elm ", "alder ", "hazel\n", "birch ", "rowan, ", "willow ", "yew. ", "oak "];
  const text: string[] = [];
  let length = 0;
  for (let i = 0; length < size; i++) {
    const word = words[random[i % random.length]! & 7]! + (i % 97 === 0 ? i : "");
    text.push(word);
    length += word.length;
  }
  return Buffer.from(text.join("").slice(0, size));
}

/** The same bytes in every run of the bench. */
function pseudoRandom(size: number, seed = 1): Uint8Array {
  const words = new Uint32Array(size / 4);
  let state = seed;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = state ^ (state >>> 15);
  }
  return new Uint8Array(words.buffer);
}

main().catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error));
  process.exit(1);
});
