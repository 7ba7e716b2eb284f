// Does finding directories by structure keep up with pathvein, and with what one would write by hand in Bun? A data
// set of about 91,000 entries, a nested pattern of three levels and a flat one, matches as strings.
//
//   npm run bench scan [-- --rounds N --quick]
//
// pathvein 0.9.0 is installed below build/rivals, where python3 can make a place for it; COPSE_PATHVEIN names a
// Python that has it already. Without it that row is left out. All give the same matches, or the bench fails.

import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { scan, scanSync, toPathveinJSON, type Pattern } from "../lib/index.ts";
import { benchOptions } from "./arguments.ts";
import { copseVersion, load, machine } from "./machine.ts";
import { median } from "./measure.ts";
import { number, say, table, write } from "./report.ts";

const { quick, rounds } = benchOptions([]);
const python = process.env["COPSE_PATHVEIN"] ?? installed();

/** A Python of its own with pathvein in it, made once. */
function installed(): string | undefined {
  const folder = join(import.meta.dir, "..", "build", "pathvein");
  const program = join(folder, "bin", "python");
  const has = (): boolean =>
    existsSync(program) && Bun.spawnSync([program, "-c", "import pathvein"]).exitCode === 0;
  if (has()) return program;
  say("installing pathvein 0.9.0");
  if (Bun.which("python3")) {
    Bun.spawnSync(["python3", "-m", "venv", folder]);
    if (existsSync(program))
      Bun.spawnSync([program, "-m", "pip", "install", "-q", "pathvein==0.9.0"]);
  }
  return has() ? program : undefined;
}

const session: Pattern = {
  name: "ses-*",
  directories: [
    { name: "anat", files: ["*_T1w.nii", "*_T1w.json"] },
    { name: "func", files: ["*_bold.nii", "*_events.tsv"] },
  ],
};
const anatomy: Pattern = { name: "anat", files: ["*_T2w.nii"] };
const patterns = [session, anatomy];

function plant(root: string): number {
  let entries = 0;
  const subjects = quick ? 20 : 1250;
  for (let s = 0; s < subjects; s++)
    for (let v = 0; v < 2; v++) {
      const at = join(root, `sub-${s}`, `ses-${v}`);
      entries += v === 0 ? 2 : 1;
      for (const folder of ["anat", "func", "extra"]) {
        mkdirSync(join(at, folder), { recursive: true });
        entries++;
      }
      const id = `sub-${s}_ses-${v}`;
      const names = [
        ...Array.from({ length: 12 }, (_, i) => `anat/${id}_run-${i}_scan.nii`),
        `anat/${id}_T1w.nii`,
        `anat/${id}_T1w.json`,
        ...(s % 3 === 0 ? [`anat/${id}_T2w.nii`] : []),
        ...Array.from({ length: 10 }, (_, i) => `func/${id}_run-${i}_physio.tsv`),
        `func/${id}_bold.nii`,
        ...(s % 5 === 0 ? [] : [`func/${id}_events.tsv`]),
        ...Array.from({ length: 6 }, (_, i) => `extra/${id}_note-${i}.txt`),
      ];
      for (const name of names) writeFileSync(join(at, name), "");
      entries += names.length;
    }
  return entries;
}

// What one writes by hand: one walk, from below, names by regular expressions.
function byHand(root: string): string[] {
  const [t1, t1json, t2] = [/_T1w\.nii$/, /_T1w\.json$/, /_T2w\.nii$/];
  const [bold, events, ses] = [/_bold\.nii$/, /_events\.tsv$/, /^ses-/];
  const found: string[] = [];
  const look = (path: string): { anat: boolean; func: boolean } => {
    let has = [false, false, false, false, false];
    let [anat, func] = [false, false];
    for (const entry of readdirSync(path === "" ? root : join(root, path), {
      withFileTypes: true,
    })) {
      const { name } = entry;
      if (entry.isDirectory()) {
        const below = look(path === "" ? name : `${path}/${name}`);
        anat ||= below.anat;
        func ||= below.func;
      } else has = [t1, t1json, t2, bold, events].map((one, i) => has[i]! || one.test(name));
    }
    const name = basename(path);
    if (ses.test(name) && anat && func) found.push(`${path}|0`);
    if (name === "anat" && has[2]) found.push(`${path}|1`);
    return {
      anat: name === "anat" && has[0]! && has[1]!,
      func: name === "func" && has[3]! && has[4]!,
    };
  };
  look("");
  return found;
}

const program = `
import json, sys, time
from pathlib import Path
from pathvein import FileStructurePattern, scan
root = Path(sys.argv[1])
patterns = [FileStructurePattern.from_json(text) for text in json.loads(sys.argv[2])]
began = time.perf_counter()
found = [(str(one.source), one.pattern) for one in scan(root, patterns)]
took = time.perf_counter() - began
print(json.dumps({"took": took * 1000, "found": [[path, patterns.index(pattern)] for path, pattern in found]}))
`;

interface Run {
  readonly milliseconds: number;
  readonly found: readonly string[];
}

async function timed(work: () => string[] | Promise<string[]>): Promise<Run> {
  const began = performance.now();
  const found = await work();
  return { milliseconds: performance.now() - began, found: found.toSorted() };
}

async function pathvein(root: string): Promise<Run> {
  const texts = JSON.stringify(patterns.map(toPathveinJSON));
  const child = Bun.spawn([python!, "-c", program, root, texts], { stderr: "inherit" });
  const { took, found } = JSON.parse(await child.stdout.text()) as {
    took: number;
    found: [string, number][];
  };
  return {
    milliseconds: took,
    found: found.map(([path, at]) => `${path.slice(root.length + 1)}|${at}`).toSorted(),
  };
}

const facts = (matches: readonly { path: string; pattern: Pattern }[]): string[] =>
  matches.map(({ path, pattern }) => `${path}|${patterns.indexOf(pattern)}`);

const before = load();
const root = mkdtempSync(join(process.env["COPSE_BENCH_DIR"] ?? tmpdir(), "copse-scan-"));
try {
  const entries = plant(root);
  const contestants: [string, () => Promise<Run>][] = [
    ["copse, awaited", () => timed(async () => facts(await scan(root, patterns)))],
    ["copse, sync", () => timed(() => facts(scanSync(root, patterns)))],
    ["by hand: readdirSync and RegExp", () => timed(() => byHand(root))],
    ...(python ? [["pathvein 0.9.0", () => pathvein(root)] as [string, () => Promise<Run>]] : []),
  ];
  const times = new Map(contestants.map(([name]) => [name, [] as number[]]));
  let wanted: readonly string[] | undefined;
  // One more round, whose times are thrown away, makes all of it warm.
  for (let round = -1; round < rounds; round++)
    for (const [name, work] of contestants) {
      const { milliseconds, found } = await work();
      wanted ??= found;
      if (!Bun.deepEquals(found, wanted)) throw new Error(`${name} gives another answer`);
      if (round >= 0) times.get(name)!.push(milliseconds);
    }
  const goals = new Map([
    ["by hand: readdirSync and RegExp", 1 / 2],
    ["pathvein 0.9.0", 1 / 15],
  ]);
  const ours = Math.max(
    ...["copse, awaited", "copse, sync"].map((name) => median(times.get(name)!)),
  );
  const rows = [...times].map(([name, list]) => {
    const goal = goals.get(name);
    const ratio = ours / median(list);
    const figures = [
      name,
      number(Math.min(...list)),
      number(median(list)),
      number(Math.max(...list)),
    ];
    if (goal === undefined) return figures.concat("", "", "");
    return figures.concat(number(ratio), number(goal), ratio <= goal ? "met" : "missed");
  });
  const head = ["scan", "min ms", "median ms", "max ms", "copse / it", "at most", "verdict"];
  const text = table(head, rows);
  console.log(text);
  say(`${entries} entries, ${wanted!.length} matches, ${rounds} rounds, warm`);
  if (!quick) {
    const missing = python ? "" : " pathvein could not be installed.";
    const busy = before > availableParallelism() / 2 ? " The machine had other things to do." : "";
    write(
      "scan.md",
      `# scan: directories that fit a pattern\n\n\`npm run bench scan\` · copse ${copseVersion()} · ${machine(tmpdir())}, load ${before} · a BIDS-like tree of ${entries.toLocaleString("en")} entries, ${wanted!.length.toLocaleString("en")} matches as strings, ${rounds} rounds in turns, warm, the same answers checked; the slower of our two forms is judged by medians. pathvein's time is taken inside its process.${missing}${busy}\n\n${text}\n`,
    );
  }
} finally {
  rmSync(root, { recursive: true });
}
