// Is comparing with a web server as fast as the network of this machine allows? A 256 MiB file with its
// URL, against `curl | cmp` and against Bun's fetch; a directory with a table of 1,000 URLs, and with
// the server's index of it, against a 64-way loop of fetch.
//
// The server is an nginx of the bench's own on loopback. All contestants run here or as processes of
// ours, warm, in turns; every run must give the right answer.

import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compare, compareSync, type FilesLocation } from "../lib/index.ts";
import { nginxMissing, startNginx, type Nginx } from "../test/servers/nginx.ts";
import { benchOptions } from "./arguments.ts";
import { copseVersion, load, machine } from "./machine.ts";
import { interleave, judge, type Contestant, type Measured, type Target } from "./measure.ts";
import { number, say, table, write } from "./report.ts";

interface Part {
  readonly title: string;
  readonly contestants: readonly Contestant[];
  readonly targets: readonly Target[];
}

const await_ = "copse, await";
const sync = "copse, sync";
const byIndex = "copse, the server's index";
const curl = "curl | cmp";
const bunFetch = "Bun fetch + Buffer.compare";
const fetchLoop = "Bun fetch, 64 at once";

const parts: Readonly<Record<string, (folder: string, server: Nginx, isQuick: boolean) => Part>> = {
  file,
  many,
};

async function main(): Promise<void> {
  const options = benchOptions(Object.keys(parts));
  if (nginxMissing) throw new Error(nginxMissing);
  const loadBefore = load().toFixed(2);
  const folder = mkdtempSync(join(process.env.COPSE_BENCH_DIR ?? tmpdir(), "copse-bench-http-"));
  const server = await startNginx();
  const texts: string[] = [];
  try {
    for (const [id, make] of Object.entries(parts)) {
      if (options.only.length > 0 && !options.only.includes(id)) continue;
      say(`http: ${id}`);
      const part = make(folder, server, options.quick);
      const rows = await interleave(part.contestants, options.rounds, true);
      texts.push(textOf(part, rows, !options.quick));
    }
  } finally {
    server[Symbol.dispose]();
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write(`\n${texts.join("\n\n")}\n`);
  if (options.quick || options.only.length > 0) return;
  write(
    "http.md",
    `# http: a web server on this machine

Made by \`bun run bench http\` on ${new Date().toISOString().slice(0, 10)}; do not edit.

- Machine: ${machine(tmpdir())}; load before the start ${loadBefore}.
- copse ${copseVersion()} on Bun ${Bun.version}; ${options.rounds} rounds in turns; milliseconds.

${texts.join("\n\n")}
`,
  );
}

function textOf({ title, targets }: Part, rows: readonly Measured[], isJudged: boolean): string {
  const lines = rows.map((row) => [row.name, number(row.min), number(row.median), number(row.max)]);
  const verdicts = targets.map((target) => {
    const { min, median, verdict } = judge(target, rows);
    return `- ${target.ours.join(" and ")} at most ${target.atMost} × ${target.against}: ${number(min)} by the fastest, ${number(median)} by the middle round${isJudged ? `: **${verdict}**` : ""}`;
  });
  return `## ${title}\n\n${table(["", "fastest", "middle", "slowest"], lines)}\n\n${verdicts.join("\n")}`;
}

// ── A large file ──

function file(folder: string, server: Nginx, isQuick: boolean): Part {
  const mebibytes = isQuick ? 16 : 256;
  const here = join(folder, "large");
  writeFileSync(here, pseudoRandom(mebibytes * 2 ** 20));
  copyFileSync(here, join(server.root, "large"));
  settle(here);
  const url = `${server.http}/large`;
  return {
    title: `a file of ${mebibytes} MiB and its URL`,
    contestants: [
      ours(await_, async () => (await compare(here, url)).equal),
      ours(sync, () => compareSync(here, url).equal),
      rival(curl, () => {
        const line = `curl -s --noproxy '*' '${url}' | cmp -s - '${here}'`;
        return spawnSync("sh", ["-c", line]).status === 0;
      }),
      rival(bunFetch, async () => {
        const [there, local] = await Promise.all([
          fetch(url, { proxy: "" }).then((answer) => answer.arrayBuffer()),
          Bun.file(here).arrayBuffer(),
        ]);
        return Buffer.compare(Buffer.from(there), Buffer.from(local)) === 0;
      }),
    ],
    targets: [
      { ours: [await_, sync], against: curl, atMost: 0.77 },
      { ours: [await_, sync], against: bunFetch, atMost: 0.5 },
    ],
  };
}

// ── Many small files ──

function many(folder: string, server: Nginx, isQuick: boolean): Part {
  const count = isQuick ? 100 : 1000;
  const here = join(folder, "many");
  mkdirSync(here);
  mkdirSync(join(server.root, "many"));
  const names = Array.from({ length: count }, (_, i) => `file-${i}`);
  const files: Record<string, string> = {};
  for (const [i, name] of names.entries()) {
    writeFileSync(join(here, name), pseudoRandom(4096, i + 1));
    copyFileSync(join(here, name), join(server.root, "many", name));
    settle(join(here, name));
    files[name] = `${server.http}/many/${name}`;
  }
  const location: FilesLocation = { files };
  return {
    title: `a directory of ${count} files of 4 KiB and a table of their URLs`,
    contestants: [
      ours(await_, async () => (await compare(here, location)).equal),
      ours(sync, () => compareSync(here, location).equal),
      ours(byIndex, async () => (await compare(here, `${server.http}/many/`)).equal),
      rival(fetchLoop, async () => {
        let next = 0;
        let isEqual = true;
        const worker = async (): Promise<void> => {
          for (let name; (name = names[next++]) !== undefined;) {
            const [there, local] = await Promise.all([
              fetch(files[name]!, { proxy: "" }).then((answer) => answer.arrayBuffer()),
              Bun.file(join(here, name)).arrayBuffer(),
            ]);
            isEqual &&= Buffer.compare(Buffer.from(there), Buffer.from(local)) === 0;
          }
        };
        await Promise.all(Array.from({ length: 64 }, worker));
        return isEqual;
      }),
    ],
    targets: [{ ours: [await_, sync], against: fetchLoop, atMost: 1 }],
  };
}

// ── Both ──

function ours(name: string, ask: () => boolean | Promise<boolean>): Contestant {
  return { ...rival(name, ask), isOurs: true };
}

function rival(name: string, ask: () => boolean | Promise<boolean>): Contestant {
  return {
    name,
    isOurs: false,
    async run() {
      Bun.gc(true);
      const cpu = process.cpuUsage();
      const begin = performance.now();
      const equal = await ask();
      const milliseconds = performance.now() - begin;
      const { user, system } = process.cpuUsage(cpu);
      return { equal, milliseconds, cpuMilliseconds: (user + system) / 1000, diskBytes: 0 };
    },
  };
}

/** The same bytes in every run of the bench. */
function pseudoRandom(size: number, seed = 1): Uint8Array {
  const words = new Uint32Array(size / 4);
  let state = seed;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = state;
  }
  return new Uint8Array(words.buffer);
}

/** Old enough to be believed at the first reading, and in the page cache. */
function settle(path: string): void {
  const old = new Date("2024-05-06T07:08:09Z");
  utimesSync(path, old, old);
  readFileSync(path);
}

main().catch((error: unknown) => {
  say(error instanceof Error ? error.message : String(error));
  process.exit(1);
});
