// What the stages of a copy cost: the checksum of each part, compressing and encrypting it. The shares
// are of the processor time of the whole copy, from a file in memory to one in memory, so that no disk
// has a part in it; the same file is copied with one stage more each time, in turns.

import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compareSync, copySync, Runtime, Store, type Location } from "../lib/index.ts";
import { benchOptions } from "./arguments.ts";
import { copseVersion, load, machine } from "./machine.ts";
import { interleave, type Contestant, type Measured } from "./measure.ts";
import { number, say, table, write } from "./report.ts";

const options = benchOptions(["stages"]);
const loadBefore = load();
const size = (options.quick ? 16 : 256) * 2 ** 20;
const shared = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const folder = mkdtempSync(join(shared, "copse-bench-"));
process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
using runtime = new Runtime();
const key = new Uint8Array(32).fill(5);

// Half of it is words, which a compressor makes a quarter of, half is noise.
const content = Buffer.alloc(size);
let state = 1;
const words = Array.from({ length: 512 }, (_, i) => ` ${(i * 7919).toString(36)}`);
for (let at = 0; at < size;) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  const isWords = Math.floor(at / 2 ** 18) % 2 === 0;
  at += isWords
    ? content.write(words[state >>> 23]!, at, "latin1")
    : (content.writeUInt32LE(state, Math.min(at, size - 4)), 4);
}
const source = "memory:stages";
await new Store(source, { runtime }).write("file", content);

interface Way {
  readonly name: string;
  readonly folder: string;
  readonly target: Location;
  readonly back: Location;
}
const way = (name: string, more?: { compress?: boolean | number; key?: Uint8Array }): Way => {
  const own = mkdtempSync(join(folder, "way-"));
  return more
    ? { name, folder: own, target: { crypt: own, ...more }, back: { crypt: own, ...more } }
    : { name, folder: own, target: own, back: own };
};
const ways: readonly Way[] = [
  way("copied"),
  way("checksummed", { compress: false }),
  way("compressed, level 1", { compress: 1 }),
  way("compressed, level 3", { compress: 3 }),
  way("encrypted", { key }),
  way("compressed 3, encrypted", { compress: 3, key }),
];

const contestants = (read: boolean): Contestant[] =>
  ways.map(({ name, folder: own, target, back }) => ({
    name,
    isOurs: true,
    prepare: () => {
      if (!read) rmSync(join(own, "file"), { force: true });
    },
    run: () => {
      const began = performance.now();
      const cpu = process.cpuUsage();
      const done = read
        ? compareSync(source, back, { runtime })
        : copySync(source, target, { runtime, fsync: false });
      const used = process.cpuUsage(cpu);
      return {
        equal: "equal" in done ? done.equal : done.copied === 1,
        milliseconds: performance.now() - began,
        cpuMilliseconds: (used.user + used.system) / 1000,
        diskBytes: 0,
      };
    },
  }));

const before = (name: string): string =>
  ({
    checksummed: "copied",
    "compressed, level 1": "checksummed",
    "compressed, level 3": "checksummed",
    encrypted: "checksummed",
    "compressed 3, encrypted": "compressed, level 3",
  })[name] ?? "";

function rows(measured: readonly Measured[], sizes: ReadonlyMap<string, number>): string[][] {
  const cpu = new Map(measured.map((one) => [one.name, one.cpu]));
  return measured.map(({ name, median, cpu: own }) => {
    const base = cpu.get(before(name));
    const share = base === undefined ? "" : `${number((100 * Math.max(0, own - base)) / own)} %`;
    const stored = sizes.get(name) ?? size;
    return [name, number(median), number(own), share, `${number((100 * stored) / size)} %`];
  });
}

say("writing");
const written = await interleave(contestants(false), options.rounds, true);
const sizes = new Map(
  ways.map(({ name, folder: own }) => [name, statSync(join(own, "file")).size]),
);
say("reading back");
const read = await interleave(contestants(true), options.rounds, true);
const head = ["stages", "ms", "CPU ms", "share of the last stage", "stored"];
const text = `## Written\n\n${table(head, rows(written, sizes))}\n\n## Read back and compared\n\n${table(head, rows(read, sizes))}\n`;
process.stdout.write(text);

if (!options.quick)
  write(
    "stages.md",
    `# stages: what checksum, compressing and encrypting cost

Made by \`bun run bench stages\` on ${new Date().toISOString().slice(0, 10)}; do not edit.

- Machine: ${machine(folder)}; load before the start ${loadBefore}.
- copse ${copseVersion()} on Bun ${Bun.version}; ${options.rounds} rounds in turns; a file of ${size / 2 ** 20} MiB, half words and half noise, from memory to memory; one worker, as one file has.
- The share is what the last stage adds, of the processor time of the whole: the checksum of what is copied, compressing or encrypting of what is checksummed, encrypting of what is compressed.

${text}`,
  );
