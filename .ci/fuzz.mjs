// Runs the fuzz targets: `node .ci/fuzz.mjs [seconds each] [name ...]`. A target is a file
// test/fuzz/<name>_fuzz.c with LLVMFuzzerTestOneInput; its seeds are the files of
// test/fuzz/seeds/<name>/, and for readers of archives what libarchive's own tests read. What it finds
// out is kept in build/fuzz/corpus/<name>/ for the next run, an input that breaks it in
// build/fuzz/broken/. Ends with a line of totals. An input may take 10 seconds; by the clock, so that
// COPSE_FUZZ_PATIENCE=600 says more where the machine has other things to do. In CI it is 100, and each
// run tries what the one before it tried: something new is looked for where somebody looks on.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { buildFuzzers, sanitizerEnvironment } from "./clang.mjs";
import { fetchCorpus } from "./corpus.mjs";
import { setup } from "./setup.mjs";
import { main, root } from "./tools.mjs";

// Which of libarchive's test archives a target begins with, and how long its inputs may become.
const archives = {
  archive_any: {
    names: /\.(tar|tgz|tbz|txz|pax|cpio|rpm|ar|iso|lz4|zst|gz|xz|bz2)$/,
    longest: 65536,
  },
  archive_gzip: { names: /\.(tgz|gz)$/, longest: 16384 },
  archive_rare: { names: /\.(7z|rar|lzh|cab)$/, longest: 32768 },
  archive_tar: { names: /\.(tar|pax)$/, longest: 16384 },
  archive_zip: { names: /\.(zip|zipx|jar|xps)$|_sfx$/, longest: 16384 },
};

// Targets that begin with files of test/fixtures, and how long their inputs may become.
const fixtures = {
  crypt_form: { folder: "crypt", longest: 8192 },
  pack_index: { folder: "packs", longest: 32768 },
  pack_recover: { folder: "packs", longest: 32768 },
};

main(async () => {
  const [seconds = "20", ...names] = process.argv.slice(2);
  setup();
  const programs = (await buildFuzzers()).filter(
    (path) => names.length === 0 || names.includes(basename(path, "_fuzz")),
  );
  const theirs = fetchCorpus({ required: Boolean(process.env.CI) });
  const broken = join(root, "build", "fuzz", "broken", "/");
  mkdirSync(broken, { recursive: true });
  let passed = 0;
  for (const program of programs) {
    const name = basename(program, "_fuzz");
    const corpus = join(root, "build", "fuzz", "corpus", name);
    const seeds = join(root, "test", "fuzz", "seeds", name);
    mkdirSync(corpus, { recursive: true });
    // The first one is written to.
    const folders = [corpus, ...(existsSync(seeds) ? [seeds] : [])];
    if (theirs && archives[name]) folders.push(pick(theirs, name));
    if (fixtures[name]) folders.push(join(root, "test", "fixtures", fixtures[name].folder));
    const longest = (archives[name] ?? fixtures[name])?.longest ?? 4096;
    const limits = [
      `-max_len=${longest}`,
      `-timeout=${process.env.COPSE_FUZZ_PATIENCE ?? (process.env.CI ? 100 : 10)}`,
      ...(process.env.CI ? ["-seed=1"] : []),
      "-rss_limit_mb=1024",
      "-malloc_limit_mb=16384",
    ];
    const { status, stderr } = spawnSync(
      program,
      [`-max_total_time=${seconds}`, `-artifact_prefix=${broken}`, ...limits, ...folders],
      { cwd: root, encoding: "utf8", maxBuffer: 64 << 20, env: environment() },
    );
    const runs = /Done (\d+) runs/.exec(stderr)?.[1] ?? "0";
    if (status === 0) passed++;
    console.log(`${status === 0 ? "pass" : "FAIL"} ${name} (${runs} runs)`);
    if (status !== 0) console.log(stderr.split("\n").slice(-60).join("\n"));
  }
  console.log(`${passed} passed, ${programs.length - passed} failed`);
  return passed === programs.length ? 0 : 1;
});

/** The files of libarchive's that a target begins with, in a folder of their own. */
function pick(from, name) {
  const folder = join(root, "build", "fuzz", "theirs", name);
  const { names, longest } = archives[name];
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(from).filter((file) => names.test(file)))
    if (statSync(join(from, file)).size <= longest)
      copyFileSync(join(from, file), join(folder, file));
  return folder;
}

function environment() {
  const { LD_PRELOAD: _, ...rest } = process.env;
  const { ASAN_OPTIONS, ...others } = sanitizerEnvironment();
  // libarchive asks for what an archive says it needs; who has no memory says so by a null.
  return { ...rest, ...others, ASAN_OPTIONS: `${ASAN_OPTIONS}:allocator_may_return_null=1` };
}
