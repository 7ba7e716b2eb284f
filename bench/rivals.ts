// The programs that copse is measured against: how they are built, found, run and understood.
//
// Sources are in rivals/; they are copied to build/rivals and built there, again when a source changed.
// A rival whose compiler or interpreter is missing is left out, and the results name it.

import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { readdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Run } from "./measure.ts";
import type { Workload } from "./workloads.ts";

const sources = join(import.meta.dir, "rivals");
const built = join(import.meta.dir, "..", "build", "rivals");

export interface Rival {
  readonly name: string;
  /** "rustc 1.95.0" */
  readonly version: string;
  readonly kinds: readonly Workload["kind"][];
  command(left: string, right: string, kind: Workload["kind"]): readonly string[];
  /** Default: exit code 0 is equal, 1 is different. */
  isEqual?(code: number, output: string): boolean | undefined;
}

export interface Found {
  readonly rivals: readonly Rival[];
  /** Sentences: which rival is left out and why. */
  readonly missing: readonly string[];
}

interface Candidate {
  readonly name: string;
  /** Its rivals, or the reason why it cannot run here. */
  find(): readonly Rival[] | string;
}

const candidates: readonly Candidate[] = [
  { name: "Rust", find: rust },
  { name: "Go", find: go },
  { name: "diff", find: diff },
  { name: "cmp", find: cmp },
  { name: "rsync", find: rsync },
  { name: "Bun JS", find: bunJavaScript },
  { name: "dir-compare", find: dirCompare },
  { name: "filecmp", find: filecmp },
];

/** Builds what is out of date and returns all rivals that run on this machine. */
export function findRivals(): Found {
  stage();
  const rivals: Rival[] = [];
  const missing: string[] = [];
  for (const candidate of candidates) {
    const found = unlessBroken(candidate.find);
    if (typeof found === "string") missing.push(`${candidate.name}: ${found}`);
    else rivals.push(...found);
  }
  return { rivals, missing };
}

/** A compiler that fails, for want of a network perhaps, leaves out its rival and no other. */
function unlessBroken(find: Candidate["find"]): readonly Rival[] | string {
  try {
    return find();
  } catch (error) {
    if (error instanceof BuildError) return error.message;
    throw error;
  }
}

/** Runs a rival as a whole process and times it from outside. */
export function runRival(rival: Rival, left: string, right: string, kind: Workload["kind"]): Run {
  const { code, output, run } = timed(
    rival.command(left, right, kind),
    rival.isEqual !== undefined,
  );
  const equal = rival.isEqual ? rival.isEqual(code, output) : yesOrNo(code);
  if (equal === undefined)
    throw new Error(`${rival.name} failed with exit code ${code}: ${output}`);
  return { ...run, equal };
}

/** One process from start to end. Its output is read only if someone wants it. */
export function timed(
  command: readonly string[],
  wantsOutput = false,
): { readonly code: number; readonly output: string; readonly run: Omit<Run, "equal"> } {
  const began = Bun.nanoseconds();
  const child = Bun.spawnSync([...command], {
    stdin: "ignore",
    stdout: wantsOutput ? "pipe" : "ignore",
    stderr: "pipe",
    env: { ...process.env, LC_ALL: "C", NO_COLOR: "1" },
  });
  const milliseconds = (Bun.nanoseconds() - began) / 1e6;
  const usage = child.resourceUsage;
  return {
    code: child.exitCode,
    output: `${child.stdout?.toString() ?? ""}${child.stderr.toString()}`,
    run: {
      milliseconds,
      cpuMilliseconds: Number(usage?.cpuTime.total ?? 0) / 1000,
      // getrusage counts 512-byte blocks.
      diskBytes: Number(usage?.ops.in ?? 0) * 512,
    },
  };
}

function yesOrNo(code: number): boolean | undefined {
  return code === 0 ? true : code === 1 ? false : undefined;
}

// ── Each rival ──────────────────────────────────────────────────────────────────────────────────

function rust(): readonly Rival[] | string {
  const version = firstLine(["rustc", "--version"]);
  if (!version || !firstLine(["cargo", "--version"])) return "cargo is not installed";
  const program = cargo("rust", "cmprs");
  const manifest = readFileSync(join(sources, "rust", "Cargo.toml"), "utf8");
  const pinned = /^rayon = "=([^"]+)"/m.exec(manifest)?.[1];
  const words = version.split(" ").slice(0, 2).join(" ");
  return [
    {
      name: "Rust",
      version: `${words}, rayon ${pinned}`,
      kinds: ["tree", "file"],
      command: (left, right) => [program, left, right],
    },
    {
      name: "Rust, mmap",
      version: words,
      kinds: ["file"],
      command: (left, right) => [program, left, right, "m"],
    },
  ];
}

/** Builds the Rust program of a folder of rivals/ and says where it is. */
function cargo(name: string, binary: string): string {
  const folder = join(built, name);
  const program = join(folder, "target", "release", binary);
  if (existsSync(program)) return program;
  // A Cargo.lock would spell the registry's host in this repository. Instead Cargo.toml pins every
  // crate, and what cargo resolves is held against the checksums of crates.sha256.
  const lock = join(folder, "Cargo.lock");
  build(["cargo", "generate-lockfile"], folder);
  const locked = [
    ...readFileSync(lock, "utf8").matchAll(
      /name = "([^"]+)"\nversion = "([^"]+)"\nsource = [^\n]*\nchecksum = "([^"]+)"/g,
    ),
  ].map(([, crate, version, checksum]) => `${checksum}  ${crate}-${version}\n`);
  if (locked.join("") !== readFileSync(join(folder, "crates.sha256"), "utf8"))
    throw new Error(`cargo resolved other crates than bench/rivals/${name}/crates.sha256 lists`);
  build(["cargo", "build", "--release", "--locked"], folder);
  return program;
}

/** Rust's walkers and globset in one program (rivals/walk), or the reason why it cannot run here. */
export function walkRival(): { readonly program: string } | string {
  if (!firstLine(["cargo", "--version"])) return "cargo is not installed";
  stage();
  try {
    return { program: cargo("walk", "walkrs") };
  } catch (error) {
    if (error instanceof BuildError) return error.message;
    throw error;
  }
}

function go(): readonly Rival[] | string {
  const version = firstLine(["go", "version"]);
  if (!version) return "go is not installed";
  const folder = join(built, "go");
  const program = join(folder, "cmpgo");
  if (!existsSync(program)) build(["go", "build", "-trimpath", "-o", program, "."], folder);
  return [
    {
      name: "Go",
      version: version.replace(/^go version (\S+).*/, "$1"),
      kinds: ["tree", "file"],
      command: (left, right) => [program, left, right],
    },
  ];
}

function diff(): readonly Rival[] | string {
  const version = firstLine(["diff", "--version"]);
  if (!version) return "diff is not installed";
  return [
    {
      name: "diff -rq",
      version,
      kinds: ["tree"],
      command: (left, right) => ["diff", "-rq", left, right],
    },
  ];
}

function cmp(): readonly Rival[] | string {
  const version = firstLine(["cmp", "--version"]);
  if (!version) return "cmp is not installed";
  return [
    {
      name: "cmp -s",
      version,
      kinds: ["file"],
      command: (left, right) => ["cmp", "-s", left, right],
    },
  ];
}

function rsync(): readonly Rival[] | string {
  const version = firstLine(["rsync", "--version"]);
  if (!version) return "rsync is not installed";
  return [
    {
      name: "rsync -rcn",
      version: version.replace(/\s+protocol.*/, "").replace(/\s+/g, " "),
      kinds: ["tree", "file"],
      // --delete, so that a file that only the right side has is named too.
      command: (left, right, kind) =>
        kind === "tree"
          ? ["rsync", "-rcn", "--delete", "--out-format=%n", `${left}/`, `${right}/`]
          : ["rsync", "-cn", "--out-format=%n", left, right],
      // It exits 0 when trees differ: the answer is what it names.
      isEqual: (code, output) => (code === 0 ? output.trim() === "" : undefined),
    },
  ];
}

function bunJavaScript(): readonly Rival[] {
  const program = join(built, "cmpbun.js");
  const version = `Bun ${Bun.version}`;
  return [
    {
      name: "Bun JS, async",
      version,
      kinds: ["tree", "file"],
      command: (left, right) => [process.execPath, program, left, right],
    },
    {
      name: "Bun JS, sync",
      version,
      kinds: ["tree"],
      command: (left, right) => [process.execPath, program, left, right, "sync"],
    },
  ];
}

/** The manifest of the folder in which the npm packages that benches compare against are installed. */
export function npmRivals(): string {
  stage();
  if (!existsSync(join(built, "node_modules", "fdir"))) {
    if (firstLine(["npm", "--version"])) build(["npm", "ci", "--loglevel=error"], built);
    else build([process.execPath, "install", "--frozen-lockfile", "--no-save"], built);
  }
  return join(built, "package.json");
}

function dirCompare(): readonly Rival[] | string {
  const program = join(built, "cmpdc.cjs");
  const manifest = join(dirname(npmRivals()), "node_modules", "dir-compare", "package.json");
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
  return [
    {
      name: "dir-compare",
      version: `dir-compare ${version} on Bun ${Bun.version}`,
      kinds: ["tree", "file"],
      command: (left, right) => [process.execPath, program, left, right],
    },
  ];
}

/** dircmp compares content since Python 3.13 only; an older one would win by not reading. */
function filecmp(): readonly Rival[] | string {
  const script = "import sys; print(sys.executable, *sys.version_info[:3])";
  for (const python of pythons()) {
    const [executable, major, minor, patch] = firstLine([python, "-c", script])?.split(" ") ?? [];
    if (!executable || Number(major) !== 3 || Number(minor) < 13) continue;
    const program = join(built, "cmpfc.py");
    return [
      {
        name: "Python filecmp",
        version: `Python ${major}.${minor}.${patch}`,
        kinds: ["tree", "file"],
        // -S -E: no site packages, which are half of its start-up.
        command: (left, right) => [executable, "-S", "-E", program, left, right],
      },
    ];
  }
  return "Python 3.13 or newer is not installed (COPSE_BENCH_PYTHON names one)";
}

function pythons(): readonly string[] {
  const given = process.env["COPSE_BENCH_PYTHON"];
  if (given) return [given];
  // pyenv's shims answer only for the version that is chosen, so its versions are looked at directly.
  const versions = join(
    process.env["PYENV_ROOT"] ?? join(process.env["HOME"] ?? "", ".pyenv"),
    "versions",
  );
  const installed = existsSync(versions)
    ? readdirSync(versions).map((name) => join(versions, name, "bin", "python3"))
    : [];
  return ["python3", "python3.14", "python3.13", ...installed];
}

// ── Building ────────────────────────────────────────────────────────────────────────────────────

class BuildError extends Error {}

/** Copies the sources to build/rivals; a change of any of them throws away what was built. */
function stage(): void {
  const digest = createHash("sha256");
  for (const path of readdirSync(sources, { recursive: true, encoding: "utf8" }).toSorted()) {
    const at = join(sources, path);
    if (statSync(at).isFile()) digest.update(path).update(readFileSync(at));
  }
  const expected = digest.digest("hex");
  const stamp = join(built, "stamp");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === expected) return;
  rmSync(built, { recursive: true, force: true });
  mkdirSync(built, { recursive: true });
  cpSync(sources, built, { recursive: true });
  writeFileSync(stamp, expected);
}

function build(command: readonly string[], folder: string): void {
  process.stderr.write(`building a rival: ${command[0]} ${command[1]}\n`);
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], {
    cwd: folder,
    stdout: "pipe",
    stderr: "pipe",
    // Go would fetch another compiler otherwise, when one is asked for.
    env: { ...process.env, GOTOOLCHAIN: "local" },
  });
  if (exitCode === 0) return;
  process.stderr.write(`${stdout}${stderr}`);
  throw new BuildError(`${command.slice(0, 2).join(" ")} failed`);
}

function firstLine(command: readonly string[]): string | undefined {
  try {
    const { exitCode, stdout } = Bun.spawnSync([...command], { stderr: "ignore" });
    return exitCode === 0 ? stdout.toString().split("\n")[0]!.trim() : undefined;
  } catch {
    return undefined;
  }
}
