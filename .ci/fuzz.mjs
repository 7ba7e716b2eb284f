// Runs the fuzz targets: `node .ci/fuzz.mjs [seconds each] [name ...]`. A target is a file
// test/fuzz/<name>_fuzz.c with LLVMFuzzerTestOneInput; its seeds are the files of
// test/fuzz/seeds/<name>/. What it finds out is kept in build/fuzz/corpus/<name>/ for the next run, an
// input that breaks it in build/fuzz/broken/. Ends with a line of totals.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { buildFuzzers, sanitizerEnvironment } from "./clang.mjs";
import { setup } from "./setup.mjs";
import { main, root } from "./tools.mjs";

main(async () => {
  const [seconds = "20", ...names] = process.argv.slice(2);
  setup();
  const programs = (await buildFuzzers()).filter(
    (path) => names.length === 0 || names.includes(basename(path, "_fuzz")),
  );
  const broken = join(root, "build", "fuzz", "broken", "/");
  mkdirSync(broken, { recursive: true });
  let passed = 0;
  for (const program of programs) {
    const name = basename(program, "_fuzz");
    const corpus = join(root, "build", "fuzz", "corpus", name);
    const seeds = join(root, "test", "fuzz", "seeds", name);
    mkdirSync(corpus, { recursive: true });
    const folders = existsSync(seeds) && readdirSync(seeds).length > 0 ? [corpus, seeds] : [corpus];
    const limits = ["-max_len=4096", "-timeout=10", "-rss_limit_mb=1024"];
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

function environment() {
  const { LD_PRELOAD: _, ...rest } = process.env;
  return { ...rest, ...sanitizerEnvironment() };
}
