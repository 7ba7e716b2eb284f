// Does copse compare two trees, or two large files, in less time than the programs people use for it?
//
// Per workload: all contestants answer first, and must agree; then they run in turn, round by round.
// copse runs in process, warm, in the same long-lived child (ours.ts). A rival is a whole process,
// less what it takes to compare two empty trees or files, measured in the same rounds. The command is
// measured as a whole process against `diff -rq` as a whole process, nothing taken off.

import { join } from "node:path";
import { benchOptions } from "./arguments.ts";
import { canEvict, evict, warm } from "./cache.ts";
import { chart } from "./chart.ts";
import type { ChartGroup } from "./chart.ts";
import { copseVersion, fileSystem, load, machine } from "./machine.ts";
import { interleave, judge, wrongAnswer } from "./measure.ts";
import type { Contestant, Judgement, Measured, Run, Target, Verdict } from "./measure.ts";
import { Ours } from "./ours.ts";
import type { Answer, Form, Question } from "./ours.ts";
import { mebibytes, number, say, table, write } from "./report.ts";
import { findRivals, runRival, timed } from "./rivals.ts";
import type { Rival } from "./rivals.ts";
import { workloads } from "./workloads.ts";
import type { Workload, Workloads } from "./workloads.ts";

interface Section {
  readonly id: string;
  readonly workload: Workload;
  /** After the workload's title: "cold cache", "as commands". */
  readonly what?: string;
  readonly note?: string;
  readonly mode: "warm" | "cold" | "command";
  readonly ours: readonly Variant[];
  readonly rivals: (rival: Rival) => boolean;
  readonly targets: readonly Target[];
}

interface Variant {
  readonly name: string;
  readonly form: Form;
  readonly options?: NonNullable<Question["options"]>;
}

interface SectionResult {
  readonly id: string;
  readonly title: string;
  readonly note: string | undefined;
  readonly rows: readonly Measured[];
  readonly judgements: readonly Judgement[];
  readonly diskNote: string | undefined;
}

interface Memory {
  readonly form: string;
  readonly peaks: readonly number[];
  readonly verdict: Verdict;
}

const partNames = [
  "small",
  "mixed",
  "tiny",
  "identical",
  "last-byte",
  "within",
  "sparse",
  "cold",
  "command-small",
  "command-mixed",
  "command-tiny",
  "memory",
];
const both: readonly Variant[] = [
  { name: "copse, await", form: "await" },
  { name: "copse, sync", form: "sync" },
];
const yesOrNo: readonly Variant[] = [
  { name: "copse, await, stopAtFirst", form: "await", options: { stopAtFirst: true } },
  { name: "copse, sync, stopAtFirst", form: "sync", options: { stopAtFirst: true } },
  { name: "copse, await, first offset", form: "await" },
];
const command = "copse compare";
const memoryLimit = 64 * 2 ** 20;
const program = join(import.meta.dir, "..", "lib", "cli", "main.ts");

function sections(made: Workloads): Section[] {
  const target = (against: string, atMost: number, ours = both): Target => ({
    ours: ours.slice(0, 2).map((variant) => variant.name),
    against,
    atMost,
  });
  const all = (): boolean => true;
  const diffOnly = (rival: Rival): boolean => rival.name === "diff -rq";
  const asCommand = (id: string, workload: Workload): Section => ({
    id,
    workload,
    what: "as commands",
    mode: "command",
    ours: [],
    rivals: diffOnly,
    targets: [{ ours: [command], against: "diff -rq", atMost: 1 }],
  });
  const stop =
    "`stopAtFirst: true` asks what `cmp -s` answers: are they the same? Up to five samples of the file " +
    "are read first. Without it copse looks for the first differing offset, which must be read up to.";
  return [
    {
      id: "small",
      workload: made.small,
      mode: "warm",
      ours: both,
      rivals: all,
      targets: [target("Rust", 0.87), target("diff -rq", 0.36), target("dir-compare", 0.22)],
    },
    {
      id: "mixed",
      workload: made.mixed,
      mode: "warm",
      ours: both,
      rivals: all,
      targets: [target("Rust", 0.95), target("diff -rq", 0.4), target("dir-compare", 0.29)],
    },
    {
      id: "tiny",
      workload: made.tiny,
      mode: "warm",
      ours: both,
      rivals: all,
      targets: [target("Rust", 0.83), target("diff -rq", 0.33)],
    },
    {
      id: "identical",
      workload: made.identical,
      mode: "warm",
      ours: both,
      rivals: all,
      targets: [target("Rust", 0.87), target("Go", 0.87), target("cmp -s", 0.4)],
    },
    {
      id: "last-byte",
      workload: made.lastByte,
      note: stop,
      mode: "warm",
      ours: yesOrNo,
      rivals: all,
      targets: [target("cmp -s", 0.01, yesOrNo)],
    },
    {
      id: "within",
      workload: made.within,
      note: "No sample falls on this byte: both forms have to read up to it. No target.",
      mode: "warm",
      ours: yesOrNo,
      rivals: all,
      targets: [],
    },
    {
      id: "sparse",
      workload: made.sparse,
      note: "copse asks for the holes of both sides and skips what both lack.",
      mode: "warm",
      ours: both,
      rivals: (rival) => !["rsync -rcn", "Python filecmp"].includes(rival.name),
      targets: [target("cmp -s", 0.02)],
    },
    {
      id: "cold",
      workload: made.small,
      what: "cold",
      note:
        "The data of each file was dropped with POSIX_FADV_DONTNEED before every run; names and inodes " +
        "stay cached. Disks of virtual machines have bursts: read the spread.",
      mode: "cold",
      ours: both,
      rivals: (rival) => ["Rust", "Go", "diff -rq", "Bun JS, async"].includes(rival.name),
      targets: [target("Rust", 0.67), target("Go", 0.67)],
    },
    asCommand("command-small", made.small),
    asCommand("command-mixed", made.mixed),
    asCommand("command-tiny", made.tiny),
  ];
}

/** Runs the whole bench. Throws when an answer is wrong; a slow one is a row like any other. */
async function main(): Promise<void> {
  const options = benchOptions(partNames);
  const made = workloads(options.quick);
  const { rivals, missing } = findRivals();
  for (const sentence of missing) say(`left out: ${sentence}`);
  const loadBefore = load();
  const isWanted = (id: string): boolean => options.only.length === 0 || options.only.includes(id);
  const isCold = canEvict && fileSystem(made.small.left) !== "tmpfs";

  const done: SectionResult[] = [];
  for (const section of sections(made)) {
    if (!isWanted(section.id) || (section.mode === "cold" && !isCold)) continue;
    done.push(await runSection(section, rivals, made, options.rounds));
    process.stdout.write(`\n${sectionText(done.at(-1)!, !options.quick)}\n`);
  }
  const memory = isWanted("memory") && process.platform === "linux" ? await memoryOf(made) : [];
  if (memory.length > 0) process.stdout.write(`\n${memoryText(memory, !options.quick)}\n`);

  const checked = "every answer was the expected one";
  say(options.quick ? `quick form: ${checked}; no ratio is judged` : checked);
  if (options.quick || options.only.length > 0) return;
  const text = resultText(done, memory, {
    missing,
    loadBefore,
    machine: machine(made.small.left),
    versions: [...new Set(rivals.map((rival) => rival.version))],
    rounds: options.rounds,
  });
  write("compare.md", text);
  write(
    "compare.svg",
    chart("Time relative to copse, median of all rounds (shorter is faster)", done.map(group)),
  );
}

async function runSection(
  section: Section,
  rivals: readonly Rival[],
  made: Workloads,
  rounds: number,
): Promise<SectionResult> {
  const { workload, mode } = section;
  const title = workload.title + (section.what ? `, ${section.what}` : "");
  say(`${section.id}: ${title}`);
  const { left, right, kind } = workload;
  const taking = rivals.filter((rival) => rival.kinds.includes(kind) && section.rivals(rival));
  using ours = new Ours();
  if (mode !== "cold") warm([left, right]);

  const contestants: Contestant[] = [
    ...section.ours.map((variant) => inProcess(variant, workload, ours)),
    ...(mode === "command" ? [asCommand(left, right)] : []),
    ...taking.map((rival): Contestant => ({
      name: rival.name,
      isOurs: false,
      run: () => runRival(rival, left, right, kind),
      ...(mode === "command"
        ? {}
        : { startUp: () => runRival(rival, ...made.nothing[kind], kind) }),
    })),
  ];
  await checkAnswers(section, taking, ours);
  for (const contestant of contestants) {
    // The first run compiles and faults in; the second is like all that follow.
    for (let i = 0; i < 2; i++) {
      const { equal } = await contestant.run();
      if (equal !== workload.equal) throw new Error(wrongAnswer(contestant.name, equal));
    }
    if (mode === "cold") Object.assign(contestant, { prepare: () => evict([left, right]) });
  }
  const rows = await interleave(contestants, rounds, workload.equal);
  // The next workload may need the memory.
  if (kind === "file") evict([left, right]);
  return {
    id: section.id,
    title,
    note: section.note,
    rows,
    judgements: section.targets.map((target) => judge(target, rows)),
    diskNote: diskNote(mode, workload, rows),
  };
}

function inProcess(variant: Variant, workload: Workload, ours: Ours): Contestant {
  const { left, right } = workload;
  const { form, options } = variant;
  return {
    name: variant.name,
    isOurs: true,
    run: async () => {
      const answer = await ours.ask({ form, left, right, ...(options ? { options } : {}) });
      checkDetails(variant, workload, answer);
      return answer;
    },
  };
}

/** More than yes or no: everything was seen, and the first difference is where it was put. */
function checkDetails(variant: Variant, workload: Workload, answer: Answer): void {
  const problem = workload.equal
    ? (!answer.complete || answer.files !== workload.files) &&
      `saw ${answer.files} of ${workload.files} files`
    : variant.options?.stopAtFirst
      ? answer.differences !== 1 && `found ${answer.differences} differences in one file`
      : answer.offset !== workload.offset && `found the difference at ${answer.offset}`;
  if (problem) throw new Error(`${variant.name} ${problem} (${workload.id})`);
}

function asCommand(left: string, right: string): Contestant {
  return {
    name: command,
    isOurs: true,
    run: (): Run => {
      const { code, output, run } = timed([process.execPath, program, "compare", left, right]);
      if (code !== 0 && code !== 1) throw new Error(`${command} failed with ${code}: ${output}`);
      return { ...run, equal: code === 0 };
    },
  };
}

/** A program that reads nothing would win: each must also see one changed byte, same size and time. */
async function checkAnswers(section: Section, rivals: readonly Rival[], ours: Ours): Promise<void> {
  const { proof } = section.workload;
  if (!proof) return;
  const [left, right] = proof;
  const answers: [string, boolean][] = rivals.map((rival) => [
    rival.name,
    runRival(rival, left, right, "tree").equal,
  ]);
  for (const { name, form } of section.ours)
    answers.push([name, (await ours.ask({ form, left, right })).equal]);
  if (section.mode === "command") {
    answers.push([command, (await asCommand(left, right).run()).equal]);
  }
  const wrong = answers.find(([, equal]) => equal);
  if (wrong) throw new Error(wrongAnswer(wrong[0], true));
}

/** Says so when a warm run read from the disk, or a cold one did not. */
function diskNote(
  mode: Section["mode"],
  workload: Workload,
  rows: readonly Measured[],
): string | undefined {
  const wanted = 2 * workload.bytes;
  if (mode === "cold") {
    const told = rows.map((row) => `${row.name} ${mebibytes(row.diskBytes)}`).join("; ");
    return `Read from the disk in a run: ${told}.`;
  }
  const reading = rows.filter((row) => row.diskBytes > wanted / 100);
  if (reading.length === 0) return;
  return `Not all warm: ${reading.map((row) => `${row.name} read ${mebibytes(row.diskBytes)}`).join("; ")}.`;
}

/** Peak of the resident memory while 1 GiB is compared, above what Bun held before copse was loaded. */
async function memoryOf(made: Workloads): Promise<Memory[]> {
  const { left, right } = made.identical;
  warm([left, right]);
  const found: Memory[] = [];
  for (const form of ["await", "sync"] as const) {
    const peaks: number[] = [];
    for (let i = 0; i < 3; i++) {
      using fresh = new Ours();
      const { memoryBytes, equal } = await fresh.ask({ form, left, right, memory: true });
      if (!equal) throw new Error(wrongAnswer(`copse, ${form}`, equal));
      peaks.push(memoryBytes ?? NaN);
    }
    const isMet = Math.max(...peaks) < memoryLimit;
    found.push({ form: `copse, ${form}`, peaks, verdict: isMet ? "met" : "missed" });
  }
  evict([left, right]);
  return found;
}

function group({ title, rows }: SectionResult): ChartGroup {
  const bars = rows.map(({ name, median, isOurs }) => ({ name, milliseconds: median, isOurs }));
  return { title, bars };
}

// ── The text ────────────────────────────────────────────────────────────────────────────────────

interface Circumstances {
  readonly machine: string;
  readonly loadBefore: number;
  readonly versions: readonly string[];
  readonly missing: readonly string[];
  readonly rounds: number;
}

function resultText(
  done: readonly SectionResult[],
  memory: readonly Memory[],
  at: Circumstances,
): string {
  return `# compare: how long it takes, against others

Made by \`bun run bench compare\` on ${new Date().toISOString().slice(0, 10)}; do not edit.
${at.rounds} interleaved rounds per workload, after a check that all give the right answer.

- Machine: ${at.machine}; load before the start ${at.loadBefore}.
- copse ${copseVersion()} on Bun ${Bun.version}; ${at.versions.join("; ")}.
${at.missing.length > 0 ? `- Left out: ${at.missing.join("; ")}.\n` : ""}
copse runs in process, warm. A rival is a whole process less its start-up (the same program on two empty
trees or files, in the same rounds). The rivals count differences and build no result; copse builds its rows.
Ratios are copse's time divided by the rival's: fastest round by fastest round, median by median in
parentheses. A target is met when both forms of copse meet it by both. Trust ratios, not milliseconds.

![Time relative to copse](compare.svg)

## Targets

${summaryText(done, memory)}

${done.map((result) => sectionText(result, true)).join("\n\n")}

${memory.length > 0 ? memoryText(memory, true) : ""}
`.replace(/\n{3,}/g, "\n\n");
}

function summaryText(done: readonly SectionResult[], memory: readonly Memory[]): string {
  const rows = done.flatMap((result) =>
    result.judgements.map((target) => [
      result.title,
      target.against,
      `${target.atMost}`,
      `${number(target.min)} (${number(target.median)})`,
      target.verdict,
    ]),
  );
  for (const row of memory) {
    rows.push([
      "memory for 1 GiB",
      row.form,
      "64 MiB",
      mebibytes(Math.max(...row.peaks)),
      row.verdict,
    ]);
  }
  return table(["workload", "against", "at most", "measured", "target"], rows);
}

function sectionText(result: SectionResult, isJudged: boolean): string {
  const ours = result.rows.filter((row) => row.isOurs).slice(0, 2);
  const short = (row: Measured): string => row.name.replace(/^copse, (\w+).*/, "$1");
  const head = [
    "program",
    "fastest ms",
    "median",
    "slowest",
    "CPU ms",
    "start-up",
    ...ours.map((row) => `${short(row)} ÷ it`),
    ...(isJudged ? ["target", ""] : []),
  ];
  const rows = result.rows.map((row) => {
    const target = result.judgements.find((each) => each.against === row.name);
    return [
      row.name,
      number(row.min),
      number(row.median),
      number(row.max),
      number(row.cpu),
      row.startUp > 0 ? number(row.startUp) : "",
      ...ours.map((our) =>
        row.isOurs ? "" : `${number(our.min / row.min)} (${number(our.median / row.median)})`,
      ),
      ...(isJudged ? [target ? `${target.atMost}` : "", target?.verdict ?? ""] : []),
    ];
  });
  return [`## ${result.title}`, result.note, table(head, rows), result.diskNote]
    .filter((part) => part !== undefined)
    .join("\n\n");
}

function memoryText(memory: readonly Memory[], isJudged: boolean): string {
  const head = ["program", "highest", "all runs", ...(isJudged ? ["target", ""] : [])];
  const rows = memory.map((row) => [
    row.form,
    mebibytes(Math.max(...row.peaks)),
    row.peaks.map(mebibytes).join(", "),
    ...(isJudged ? ["64 MiB", row.verdict] : []),
  ]);
  return `## Memory while the large identical pair is compared

Peak of the resident size of a fresh process, less what Bun held before copse was loaded.

${table(head, rows)}`;
}

await main();
