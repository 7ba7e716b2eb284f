// Do many globs at once keep up with Rust's globset and with a loop over Bun.Glob? 30 globs over the 245,000 names of
// a walk: in the core, and through globSet on JavaScript strings.
//
//   npm run bench globs [-- --rounds N --quick]

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { globSet } from "../lib/index.ts";
import { GlobsAnswer, GlobsKey, GlobsKind } from "../lib/native/abi.ts";
import { native } from "../lib/native/ffi.ts";
import { Record } from "../lib/native/record.ts";
import { benchOptions } from "./arguments.ts";
import { copseVersion, load, machine } from "./machine.ts";
import { interleave, judge, type Contestant, type Target } from "./measure.ts";
import { number, say, table, write } from "./report.ts";
import { walkRival } from "./rivals.ts";

const options = benchOptions([]);

// What a data set and its neighbours ask for: suffixes, prefixes, both, sets, alternatives, several stars.
const globs: readonly string[] = [
  ..."*.ts *.js *.json *.md *.txt *.nii *.nii.gz *.tsv *.csv *.dat *.png *.{jpg,jpeg} *.{yaml,yml} *.c *.h".split(
    " ",
  ),
  ..."sub-* ses-* *_bold.* *_T1w.* *_events.tsv run-[0-9]* README* LICENSE* .* *~ *.tmp".split(" "),
  ..."*a*b* file_[0-4]_*.dat ?????.txt [A-Z]*".split(" "),
];

/** The same names everywhere: words that occur in trees, with numbers, by a fixed seed. */
function namesOf(count: number): string[] {
  let seed = 20261127;
  const below = (limit: number): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((seed / 2 ** 32) * limit);
  };
  const pick = (from: readonly string[]): string => from[below(from.length)]!;
  const words =
    "index main util test-data README LICENSE config sub-01 ses-2 run-3 anat func table a_b draft .hidden Module".split(
      " ",
    );
  const middles = ["", "", "_bold", "_T1w", "_events", "-old", "_part"];
  const ends =
    ".ts .js .json .md .txt .nii .nii.gz .tsv .csv .dat .png .jpg .yml .c .h .o .py .rs .tmp ~".split(
      " ",
    );
  return Array.from({ length: count }, (_, i) =>
    i % 7 === 0
      ? `file_${below(9)}_${below(1000)}.dat`
      : `${pick(words)}${pick(middles)}-${below(500)}${pick(ends)}`,
  );
}

const names = namesOf(options.quick ? 20_000 : 245_000);

/** How often globs match, all globs of all names counted. */
type Hits = () => number | { readonly hits: number; readonly milliseconds: number };

function contestant(name: string, isOurs: boolean, expected: number, work: Hits): Contestant {
  return {
    name,
    isOurs,
    run() {
      const cpu = process.cpuUsage();
      const began = performance.now();
      const found = work();
      const took = performance.now() - began;
      const { user, system } = process.cpuUsage(cpu);
      const { hits, milliseconds } =
        typeof found === "number" ? { hits: found, milliseconds: took } : found;
      if (hits !== expected) say(`${name} finds ${hits} matches, not ${expected}`);
      return {
        equal: hits === expected,
        milliseconds,
        cpuMilliseconds: (user + system) / 1000,
        diskBytes: 0,
      };
    },
  };
}

/** One call of the core for all names, which are bytes already: the automaton and nothing else. */
function core(): Hits {
  const record = new Record().number(GlobsKey.KIND, GlobsKind.NAMES).number(GlobsKey.DOT, 1);
  for (const glob of globs) record.text(GlobsKey.PATTERN, glob);
  const request = record.end();
  const id = new BigUint64Array(1);
  const sentence = new Uint8Array(256);
  const { copse_globs_open, copse_globs_match } = native();
  if (copse_globs_open(request, request.length, id, sentence, sentence.length) < 0)
    throw new Error("no globs");
  const text = new TextEncoder().encode(names.join("\0"));
  const answers = new Uint32Array(names.length * 2);
  const bytes = new Uint8Array(answers.buffer);
  return () => {
    const began = performance.now();
    const code = copse_globs_match(
      Number(id[0]),
      text,
      text.length,
      names.length,
      GlobsAnswer.BITS,
      bytes,
      bytes.length,
    );
    const milliseconds = performance.now() - began;
    if (code < 0) throw new Error(`the core says ${code}`);
    let hits = 0;
    for (const word of answers) for (let bits = word; bits !== 0; bits &= bits - 1) hits++;
    return { hits, milliseconds };
  };
}

function globset(program: string, folder: string): Hits {
  writeFileSync(join(folder, "names"), names.join("\n"));
  writeFileSync(join(folder, "globs"), globs.join("\n"));
  return () => {
    // The first round warms it; the second one counts.
    const child = Bun.spawnSync([
      program,
      "globset",
      join(folder, "names"),
      join(folder, "globs"),
      "2",
    ]);
    const [hits, milliseconds] = child.stdout
      .toString()
      .trim()
      .split("\n")
      .at(-1)!
      .split(" ")
      .map(Number);
    return { hits: hits!, milliseconds: milliseconds! };
  };
}

async function main(): Promise<void> {
  const before = load();
  const rust = walkRival();
  const set = globSet(globs, { kind: "name" });
  const all = globs.map((glob) => new Bun.Glob(glob));
  let expected = 0;
  for (const name of names) for (const glob of all) if (glob.match(name)) expected++;
  const folder = mkdtempSync(join(tmpdir(), "copse-globs-"));
  try {
    const contestants: Contestant[] = [
      contestant("copse, in the core", true, expected, core()),
      contestant("copse, globSet on strings", true, expected, () => {
        let hits = 0;
        for (const list of set.match(names)) hits += list.length;
        return hits;
      }),
      contestant("Bun.Glob, a loop", false, expected, () => {
        let hits = 0;
        for (const name of names) for (const glob of all) if (glob.match(name)) hits++;
        return hits;
      }),
      ...(typeof rust === "string"
        ? []
        : [contestant("Rust globset", false, expected, globset(rust.program, folder))]),
    ];
    const targets: readonly Target[] = [
      { ours: ["copse, in the core"], against: "Rust globset", atMost: 0.2 },
      { ours: ["copse, in the core"], against: "Bun.Glob, a loop", atMost: 0.05 },
      { ours: ["copse, globSet on strings"], against: "Rust globset", atMost: 0.35 },
      { ours: ["copse, globSet on strings"], against: "Bun.Glob, a loop", atMost: 0.12 },
    ];
    await interleave(contestants, 1, true);
    const rows = await interleave(contestants, options.rounds, true);
    const times = table(
      ["engine", "fastest ms", "median ms", "slowest ms", "ns a name"],
      rows.map((row) => [
        row.name,
        number(row.min),
        number(row.median),
        number(row.max),
        number((row.median * 1e6) / names.length),
      ]),
    );
    const goals = table(
      ["ours / it", "at most", "fastest", "median", "verdict"],
      targets.map((target) => {
        const { min, median, verdict } = judge(target, rows);
        return [
          `${target.ours.join(", ")} / ${target.against}`,
          number(target.atMost),
          number(min),
          number(median),
          verdict,
        ];
      }),
    );
    const left = typeof rust === "string" ? `\nLeft out: Rust globset: ${rust}.\n` : "";
    const text = `${times}\n\n${goals}\n${left}`;
    process.stdout.write(text);
    if (options.quick) return;
    write(
      "globs.md",
      `# globs: many at once\n\n\`npm run bench globs\` · copse ${copseVersion()} · ${machine(import.meta.dir)}, load ${before} · ${globs.length} globs over ${names.length.toLocaleString("en")} names, ${expected.toLocaleString("en")} matches, all of them told; ${options.rounds} rounds in turns, warm, the same answers checked. Rust's time is taken inside its program.\n\n${text}`,
    );
  } finally {
    rmSync(folder, { recursive: true });
    set[Symbol.dispose]();
  }
}

await main();
