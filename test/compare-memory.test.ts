// What a comparison by hashes holds of a directory of very many entries, measured in a process of its
// own for each size: how far its resident memory rises above what it was before.

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { tarOf } from "./archives.ts";
import { Script } from "./script.ts";
import { quickFolder, run, Scratch } from "./trees.ts";

// Hundreds of thousands of files are made, and taken away again.
setDefaultTimeout(600_000);
const FEW = 10_000;
// Of this machine's kernel, and of memory that no sanitizer keeps an account of.
const isMeasured = process.platform === "linux" && process.env["COPSE_SANITIZER"] === undefined;

let scratch: Scratch;
const nameOf = (i: number): string => `file-${i}.txt`;

/** One directory of so many files of one line. */
function makeDirectory(path: string, count: number): string {
  mkdirSync(path);
  run(
    "sh",
    "-c",
    'cd "$1" && seq 0 "$2" | split -l 1 -a 5 --additional-suffix=.txt - file-',
    "sh",
    path,
    `${count - 1}`,
  );
  return path;
}

/** The same in an archive, below the directory that those of a release have. */
function makeArchive(path: string, count: number): string {
  const fd = openSync(`${path}.tar`, "w");
  for (let at = 0; at < count; at += 1000) {
    const entries = Array.from({ length: 1000 }, (_, i) => ({
      name: `release-1.0.0/${nameOf(at + i)}`,
      content: Buffer.from(`${at + i}\n`),
    }));
    const whole = tarOf(...entries);
    // Without the two blocks at the end, but for the last one.
    writeSync(fd, at + 1000 < count ? whole.subarray(0, entries.length * 1024) : whole);
  }
  closeSync(fd);
  run("gzip", "-1", `${path}.tar`);
  return `archive:${path}.tar.gz`;
}

/** The least of three: what was at the top for reasons of its own is not what is measured. */
async function least(left: string, right: string, count: number): Promise<number> {
  const peaks: number[] = [];
  for (let i = 0; i < 3; i++) peaks.push(await peak(left, right, count));
  return Math.min(...peaks);
}

/** How many bytes the peak of a comparison by hashes lies above what was there before. */
async function peak(left: string, right: string, count: number): Promise<number> {
  await using script = new Script(`
    import { readFileSync, writeFileSync } from "node:fs";
    const statusOf = (field) =>
      Number(new RegExp("^" + field + ":\\\\s+(\\\\d+) kB", "m").exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
    compareSync(import.meta.dir, import.meta.dir, { by: "hash" });
    Bun.gc(true);
    writeFileSync("/proc/self/clear_refs", "5");
    const before = statusOf("VmRSS");
    const { equal, files } = compareSync(${JSON.stringify(left)}, ${JSON.stringify(right)}, { by: "hash", limits: { entries: ${2 * count} } });
    console.log(JSON.stringify({ equal, files, peak: statusOf("VmHWM") - before }));
  `);
  const answer = JSON.parse(await script.line()) as { equal: boolean; files: number; peak: number };
  expect(answer).toMatchObject({ equal: true, files: count });
  return answer.peak;
}

beforeAll(() => {
  scratch = new Scratch(quickFolder(220_000));
});
afterAll(() => scratch[Symbol.dispose]());

describe.skipIf(!isMeasured)(
  "by: hash, at most 64 bytes per entry beyond its name, 100,000 entries under 20 MB:",
  () => {
    // So many that a peak which is now half a megabyte more, now less, does not count.
    const kinds = [
      ["two directories", makeDirectory, 100_000, "file-aaaaa.txt".length],
      ["two tar.gz", makeArchive, 300_000, "release-1.0.0/file-123456.txt".length],
    ] as const;
    test.each(kinds)("%s with all in one directory", async (kind, make, most, name) => {
      const peaks: number[] = [];
      for (const count of [FEW, most]) {
        const at = scratch.at(`${kind.replaceAll(" ", "-")}-${count}`);
        const [left, right] = [make(`${at}-left`, count), make(`${at}-right`, count)];
        peaks.push(await least(left, right, count));
      }
      const [few = NaN, many = NaN] = peaks;
      // Two sides; what does not grow with the entries is in both.
      const each = (many - few) / (2 * (most - FEW));
      expect(each - name).toBeLessThanOrEqual(64);
      expect(each * 100_000).toBeLessThan(20_000_000);
    });
  },
);
