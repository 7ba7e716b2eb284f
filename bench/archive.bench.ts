// Does comparing two archives take a fraction of what unpacking both and `diff -rq` takes?
//
// 11,000 files of lines, 240 MiB: tar.gz of level 6 against level 1, zip of level 6 against level 1,
// and zip against a copy of the same streams in another order. copse runs in process in a long-lived
// child; the rival is a whole shell command: both unpacked at once, side by side, then `diff -rq`.

import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { benchOptions } from "./arguments.ts";
import { machine } from "./machine.ts";
import { interleave, judge, type Contestant, type Run, type Target } from "./measure.ts";
import { Ours, type Question } from "./ours.ts";
import { mebibytes, number, say, table, write } from "./report.ts";
import { timed } from "./rivals.ts";

const parts = ["targz", "zip", "streams", "memory"];
const options = benchOptions(parts);
const folder = join(
  process.env["COPSE_BENCH_DIR"] ?? join(tmpdir(), "copse-bench"),
  options.quick ? "archives-quick" : "archives",
);
const files = options.quick ? 500 : 11_000;

function sh(script: string): void {
  const { code, output } = timed(["sh", "-c", script], true);
  if (code !== 0) throw new Error(`${script}: exit code ${code}: ${output}`);
}

/** Lines by a seed: text that packs about as source code does. */
function makeTree(root: string): void {
  let state = 12345;
  const next = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const words = Array.from({ length: 2000 }, () =>
    Array.from({ length: 2 + next(9) }, () => String.fromCharCode(97 + next(26))).join(""),
  );
  // Lines come again, as they do in source code, the first of them more often.
  const lines = Array.from({ length: 20_000 }, () => {
    const line = Array.from({ length: 2 + next(7) }, () => words[next(words.length)]!);
    return `${"  ".repeat(next(4))}${line.join(" ")};\n`;
  });
  for (let i = 0; i < files; i++) {
    const directory = join(root, `d${i % 97}`, `e${i % 11}`);
    mkdirSync(directory, { recursive: true });
    const size = i % 50 === 0 ? 200_000 : 4000 + next(30_000);
    let text = "";
    while (text.length < size) text += lines[Math.floor((next(1000) / 1000) ** 3 * lines.length)]!;
    writeFileSync(join(directory, `f${i}.txt`), text);
  }
}

if (!existsSync(folder)) {
  say("making the archives");
  const making = `${folder}.making`;
  rmSync(making, { recursive: true, force: true });
  mkdirSync(making, { recursive: true });
  makeTree(join(making, "tree"));
  sh(
    `cd ${making} && tar -cf t.tar -C tree . && gzip -6 -c t.tar > 6.tar.gz && gzip -1 -c t.tar > 1.tar.gz && rm t.tar` +
      " && cd tree && zip -6qr ../6.zip . && zip -1qr ../1.zip . && find . -mindepth 1 | sort -r | zip -6q ../6r.zip -@",
  );
  rmSync(join(making, "tree"), { recursive: true });
  renameSync(making, folder);
}

const scratch = existsSync("/dev/shm") ? "/dev/shm/copse-bench" : join(folder, "scratch");
const at = (name: string): string => join(folder, name);

function extractAndDiff(left: string, right: string): Contestant {
  const unpack = (file: string, side: string): string =>
    file.endsWith(".zip")
      ? `unzip -q ${at(file)} -d ${scratch}/${side}`
      : `tar -xzf ${at(file)} -C ${scratch}/${side}`;
  return {
    name: "extract both + diff -rq",
    isOurs: false,
    prepare: () => {
      rmSync(scratch, { recursive: true, force: true });
      mkdirSync(join(scratch, "a"), { recursive: true });
      mkdirSync(join(scratch, "b"));
    },
    run(): Run {
      const script = `${unpack(left, "a")} & ${unpack(right, "b")} && wait && diff -rq ${scratch}/a ${scratch}/b`;
      const { code, run } = timed(["sh", "-c", script]);
      return { ...run, equal: code === 0 };
    },
  };
}

function zipcmp(left: string, right: string): Contestant {
  return {
    name: "zipcmp (checksums only)",
    isOurs: false,
    run(): Run {
      const { code, run } = timed(["zipcmp", "-q", at(left), at(right)]);
      return { ...run, equal: code === 0 };
    },
  };
}

using ours = new Ours();
const copse = (name: string, left: Question["left"], right: Question["right"]): Contestant => ({
  name,
  isOurs: true,
  run: () => ours.ask({ form: "await", left, right, options: { emptyDirectories: false } }),
});
const whole = (file: string): string => `archive:${at(file)}`;

const sections: Record<string, { title: string; contestants: Contestant[]; targets: Target[] }> = {
  targz: {
    title: "tar.gz, level 6 against level 1",
    contestants: [
      copse("copse", whole("6.tar.gz"), whole("1.tar.gz")),
      extractAndDiff("6.tar.gz", "1.tar.gz"),
    ],
    targets: [{ ours: ["copse"], against: "extract both + diff -rq", atMost: 0.2 }],
  },
  zip: {
    title: "zip, level 6 against level 1",
    contestants: [copse("copse", whole("6.zip"), whole("1.zip")), extractAndDiff("6.zip", "1.zip")],
    targets: [{ ours: ["copse"], against: "extract both + diff -rq", atMost: 0.17 }],
  },
  streams: {
    title: "zip, the same streams in reverse order",
    contestants: [
      copse("copse", whole("6.zip"), whole("6r.zip")),
      copse("copse, rawEqual", { archive: at("6.zip"), rawEqual: true }, whole("6r.zip")),
      extractAndDiff("6.zip", "6r.zip"),
      ...(Bun.which("zipcmp") ? [zipcmp("6.zip", "6r.zip")] : []),
    ],
    targets: [
      { ours: ["copse"], against: "extract both + diff -rq", atMost: 0.2 },
      { ours: ["copse, rawEqual"], against: "zipcmp (checksums only)", atMost: 0.67 },
    ],
  },
};

const text: string[] = [];
for (const [id, { title, contestants, targets }] of Object.entries(sections)) {
  if (options.only.length > 0 && !options.only.includes(id)) continue;
  say(title);
  await ours.ask({ form: "await", left: whole("6.zip"), right: whole("6r.zip") }); // warm
  const rows = await interleave(contestants, options.rounds, true);
  const shown = table(
    ["", "fastest ms", "median ms", "slowest ms", "CPU ms"],
    rows.map((row) => [row.name, ...[row.min, row.median, row.max, row.cpu].map(number)]),
  );
  const judged = targets.map((target) => {
    const { min, median, verdict } = judge(target, rows);
    return `- ${target.ours.join()} against ${target.against}: ${number(min)} (fastest), ${number(median)} (median); at most ${target.atMost}: ${verdict}`;
  });
  text.push(`## ${title}\n\n${shown}\n\n${judged.join("\n")}`);
}
rmSync(scratch, { recursive: true, force: true });

if (options.only.length === 0 || options.only.includes("memory")) {
  const peaks: string[] = [];
  for (const [left, right] of [
    ["6.tar.gz", "1.tar.gz"],
    ["6.zip", "1.zip"],
  ] as const) {
    using fresh = new Ours();
    const { memoryBytes = NaN } = await fresh.ask({
      form: "await",
      left: whole(left),
      right: whole(right),
      options: { emptyDirectories: false },
      memory: true,
    });
    const verdict = memoryBytes <= 64 * 2 ** 20 ? "met" : "missed";
    peaks.push(`- ${left} against ${right}: ${mebibytes(memoryBytes)}; at most 64 MiB: ${verdict}`);
  }
  text.push(`## Resident memory above Bun's own\n\n${peaks.join("\n")}`);
}

const report = `# Archives

${files.toLocaleString("en")} files of lines, warm cache, \`npm run bench archive\`. copse in process; the rival is a whole command that unpacks both at once into memory and runs \`diff -rq\`. Every run's answer was checked.

${machine(folder)}

${text.join("\n\n")}
`;
console.log(report);
if (!options.quick && options.only.length === 0) write("archive.md", report);
