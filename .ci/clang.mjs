// Builds the core with clang for the tools that zig's own clang does not serve: its sanitizers do not
// load inside Bun, and valgrind does not read its debug information. Everything lands in
// build/<kind>/: libcopse.so, and one program per native test. An object is compiled again when a
// file it was made from is newer.

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, dirname, join } from "node:path";
import { installPrograms, nativeSources, systemFlags } from "./packages.mjs";
import { ask, programPath, root, run, Trouble } from "./tools.mjs";

const compiler = "clang-19";
const kinds = {
  // UBSan stops at the first report as ASan does: a report nobody sees is no report.
  asan: ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
  tsan: ["-fsanitize=thread"],
  fuzz: ["-fsanitize=fuzzer-no-link,address,undefined", "-fno-sanitize-recover=undefined"],
  // valgrind 3.19 reads DWARF 4.
  valgrind: ["-gdwarf-4", "-DUNDER_VALGRIND=1"],
};
const blake3 = "native/third_party/blake3";
const shared = [
  "-g",
  "-O1",
  "-fPIC",
  "-fno-omit-frame-pointer",
  "-D_GNU_SOURCE",
  "-DCOPSE_FAULT_STORE=1",
];
// Warnings are zig's job: another clang has other ones.
const ours = ["-std=c23", "-fvisibility=hidden", "-fno-strict-aliasing", "-w"];
const includes = ["-Inative", "-Inative/include", "-Itest/native", "-isystem", blake3];

/** build/<kind>/libcopse.so */
export async function buildLibrary(kind) {
  const { objects, flags, system } = await compileCore(kind);
  const library = join(root, "build", kind, "libcopse.so");
  await link(library, objects, [
    ...flags,
    "-shared",
    "-shared-libsan",
    "-Wl,--version-script=native/exports.map",
    ...system.link,
  ]);
  return library;
}

/** One program per native test, in build/<kind>/. */
export async function buildPrograms(kind) {
  return await buildEach(kind, "test/native", "_test.c", []);
}

/** One program per fuzz target, in build/fuzz/. */
export async function buildFuzzers() {
  return await buildEach("fuzz", "test/fuzz", "_fuzz.c", ["-fsanitize=fuzzer"]);
}

async function buildEach(kind, where, ending, linked) {
  const { objects, flags, cFlags, system } = await compileCore(kind);
  const folder = join(root, where);
  const tests = existsSync(folder)
    ? readdirSync(folder)
        .filter((name) => name.endsWith(ending))
        .toSorted()
        .map((name) => object(kind, `${where}/${name}`, cFlags))
    : [];
  await compile(tests);
  // From an archive a program takes what it uses: a test of one module needs no other to be ready.
  const archive = join(root, "build", kind, "core.a");
  rmSync(archive, { force: true });
  if (run("ar", ["rcs", archive, ...objects]) !== 0) throw new Trouble("ar failed");
  const programs = [];
  for (const { path, source } of tests) {
    const program = join(root, "build", kind, basename(source, ".c"));
    await link(program, [path, archive], [...flags, ...linked, "-pthread", ...system.link]);
    programs.push(program);
  }
  return programs;
}

async function compileCore(kind) {
  if (!kinds[kind]) throw new Trouble(`no such build: ${kind} (${Object.keys(kinds).join(", ")})`);
  installPrograms(["clang", "symbolizer"]);
  // The table of calls of another system is not for this one.
  const sources = nativeSources().filter(
    (path) => path.endsWith(".c") && path !== "engine/io_macos.c",
  );
  const system = systemFlags(sources);
  const flags = [...shared, ...kinds[kind]];
  const cFlags = [...flags, ...ours, ...includes, ...system.compile];
  const theirFlags = (path) => (path.endsWith(".S") ? [] : [...flags, "-w", "-std=c11"]);
  const objects = [
    ...blake3Sources().map((path) => object(kind, path, theirFlags(path))),
    ...sources.toSorted().map((path) => object(kind, `native/${path}`, cFlags)),
  ];
  await compile(objects);
  return { objects: objects.map(({ path }) => path), flags, cFlags, system };
}

/** What must be loaded into Bun before the library is: the sanitizer's runtime first. */
export async function preloads(kind) {
  const architecture = process.arch === "arm64" ? "aarch64" : "x86_64";
  const runtime = ask(compiler, [`-print-file-name=libclang_rt.${kind}-${architecture}.so`]).trim();
  const preload = object(kind, ".ci/preload.c", [
    "-O1",
    "-fPIC",
    ...(kind === "tsan" ? ["-DUNBLOCK"] : []),
  ]);
  await compile([preload]);
  const library = join(root, "build", kind, "preload.so");
  await link(library, [preload.path], ["-shared"]);
  return [runtime, library];
}

/** What a sanitized program needs in its environment; `log` sends the reports to files as well. */
export function sanitizerEnvironment(log = "") {
  const common = `:external_symbolizer_path=${programPath("llvm-symbolizer-19") ?? ""}${log && `:log_path=${log}`}`;
  return {
    // The exit codes are unlike any that copse has, so that a test of the command notices.
    ASAN_OPTIONS: `detect_leaks=1:exitcode=99${common}`,
    UBSAN_OPTIONS: `print_stacktrace=1${common}`,
    // Without halt_on_error a race leaves the exit code at 0. Bun is not instrumented: what its own
    // threads do with memcpy would be taken for races.
    TSAN_OPTIONS: `halt_on_error=1:exitcode=66:ignore_noninstrumented_modules=1${common}`,
  };
}

function blake3Sources() {
  const common = ["blake3.c", "blake3_dispatch.c", "blake3_portable.c"];
  const fast =
    process.arch === "arm64"
      ? ["blake3_neon.c"]
      : ["sse2", "sse41", "avx2", "avx512"].map((level) => `blake3_${level}_x86-64_unix.S`);
  return [...common, ...fast].map((name) => `${blake3}/${name}`);
}

function object(kind, source, flags) {
  const path = join(root, "build", kind, "objects", `${source.replaceAll("/", "_")}.o`);
  return { path, source, command: [compiler, "-MMD", ...flags, "-c", source, "-o", path] };
}

function isStale({ path, source }) {
  const made = modified(path);
  // The list of files that clang wrote with the object: "x.o: a.c b.h \\\n c.h".
  const list = path.replace(/\.o$/, ".d");
  const from = existsSync(list)
    ? readFileSync(list, "utf8")
        .split(/[\s\\]+/)
        .filter((word) => word && !word.endsWith(":"))
    : [source];
  return [...from, ".ci/clang.mjs"].some(
    (file) => modified(join(root, file.replace(`${root}/`, ""))) >= made,
  );
}

function modified(path) {
  return existsSync(path) ? statSync(path).mtimeMs : path.endsWith(".o") ? -1 : Infinity;
}

async function link(target, inputs, flags) {
  if (existsSync(target) && inputs.every((path) => modified(path) < statSync(target).mtimeMs))
    return;
  if (run(compiler, [...inputs, ...flags, "-o", target]) !== 0)
    throw new Trouble(`${target.replace(`${root}/`, "")} does not link`);
}

/** Compiles what is stale, as many at once as there are cores. */
async function compile(objects) {
  const queue = objects.filter(isStale);
  const worker = async () => {
    for (let next; (next = queue.shift());) {
      mkdirSync(dirname(next.path), { recursive: true });
      const [program, ...args] = next.command;
      const code = await new Promise((resolve, reject) =>
        spawn(program, args, { cwd: root, stdio: ["ignore", 2, 2] })
          .on("error", reject)
          .on("close", resolve),
      );
      if (code !== 0) throw new Trouble(`${next.source} does not compile with ${compiler}`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}
