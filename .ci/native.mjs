// Runs the native tests: `node .ci/native.mjs [plain|asan|tsan|valgrind] [name ...]`. Each is a program
// that exits 0 when all is well; one that says "N passed" counts as N. Ends with a line of totals.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { buildPrograms, sanitizerEnvironment } from "./clang.mjs";
import { installPrograms } from "./packages.mjs";
import { build, setup } from "./setup.mjs";
import { main, root } from "./tools.mjs";

const wrapper = {
  valgrind: [
    "valgrind",
    "-q",
    "--leak-check=full",
    "--errors-for-leak-kinds=definite,indirect",
    "--error-exitcode=9",
    // Runtimes that are opened by the dozen have more threads than its default of 500.
    "--max-threads=4000",
    // valgrind runs one thread at a time. Its own lock lets a thread that polls take every turn: a test
    // of seconds was seen to take minutes, or not to end.
    "--fair-sched=yes",
  ],
};

// The slowest takes 20 s here, and a slower machine may be busy. One that hangs is named, and the others
// still run.
const TIMEOUT_MS = 600_000;

main(async () => {
  const [kind = "plain", ...names] = process.argv.slice(2);
  setup();
  if (kind === "valgrind") installPrograms(["valgrind"]);
  const all = kind === "plain" ? programsOfZig() : await buildPrograms(kind);
  const unknown = names.filter((name) => !all.some((path) => basename(path) === name));
  if (unknown.length > 0) throw new Error(`there is no native test ${unknown.join(", ")}`);
  const programs = all.filter((path) => names.length === 0 || names.includes(basename(path)));
  let passed = 0;
  let failed = 0;
  for (const program of programs) {
    const [command, ...args] = [...(wrapper[kind] ?? []), program];
    const began = performance.now();
    const { status, signal, stdout, stderr } = spawnSync(command, args, {
      cwd: root,
      encoding: "utf8",
      timeout: TIMEOUT_MS,
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 64 << 20,
      env: { ...process.env, ...sanitizerEnvironment() },
    });
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const count = Number(/(\d+) passed/.exec(stdout)?.[1] ?? 1);
    if (status === 0) passed += count;
    else failed++;
    console.log(`${status === 0 ? "pass" : "FAIL"} ${basename(program)} (${count}, ${seconds} s)`);
    if (status !== 0)
      console.log(`${stdout}${stderr}${signal ? `ended by ${signal}` : `exit code ${status}`}`);
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
});

function programsOfZig() {
  const folder = join(root, "zig-out", "test");
  // A test that is gone from the sources must not be run.
  rmSync(folder, { recursive: true, force: true });
  build(["test-programs"]);
  return existsSync(folder)
    ? readdirSync(folder)
        .toSorted()
        .map((name) => join(folder, name))
    : [];
}
