// The fault sweep: every allocation, every call on files and every thread start of the core fails once,
// and once for good, in a child process (fault-child.ts) under a preloaded library (native/fault_preload.c).
//
// COPSE_FAULTS=all adds scenarios, system errors, interrupted calls and short reads: a quarter of an hour.
// COPSE_FAULT_ONLY takes the scenarios whose names hold it.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isSanitized, within } from "./patience.ts";

const root = join(import.meta.dir, "..");
const folder = join(root, "build", "faults");
const preload = join(folder, "fault_preload.so");
const stateFile = join(folder, `state-${process.pid}`);
const isLong = process.env.COPSE_FAULTS === "all";

// A sanitizer brings its own malloc, and two preloaded ones do not agree.
const isPossible = !isSanitized && process.platform === "linux";
if (!isPossible) console.log("skipped: the fault sweep, which needs Linux and no sanitizer");

interface Sweep {
  readonly once: number;
  readonly sticky: number;
  readonly calls: Readonly<Record<string, number>>;
  readonly wrong: readonly string[];
}

function build(): void {
  mkdirSync(folder, { recursive: true });
  const home = join(root, "node_modules", "@zigc");
  const { status, stderr } = spawnSync(
    join(home, `${process.platform}-${process.arch}`, "bin", "zig"),
    [
      "cc",
      "-std=c23",
      "-D_GNU_SOURCE",
      "-O2",
      "-fPIC",
      "-shared",
      "-fvisibility=hidden",
      "-Wall",
      "-Wextra",
      "-Wpedantic",
      "-Werror",
      join(root, "test", "native", "fault_preload.c"),
      "-o",
      preload,
    ],
    { env: { ...process.env, ZIG_LIB_DIR: join(home, "lib") }, encoding: "utf8" },
  );
  if (status !== 0) throw new Error(stderr);
}

describe.skipIf(!isPossible)("when a call to the system fails", () => {
  let sweep: Sweep;

  beforeAll(
    () => {
      build();
      const { status, signal, stdout, stderr } = spawnSync(
        process.execPath,
        [join(import.meta.dir, "fault-child.ts")],
        {
          cwd: root,
          encoding: "utf8",
          maxBuffer: 64 << 20,
          env: {
            ...process.env,
            LD_PRELOAD: preload,
            COPSE_PRELOAD: preload,
            COPSE_FAULT_STATE: stateFile,
          },
        },
      );
      if (status !== 0) {
        const at = readFileSync(stateFile, "utf8").trim();
        throw new Error(`the child ended with ${signal ?? status} at "${at}"\n${stderr}`);
      }
      // One line of JSON, made by fault-child.ts.
      sweep = JSON.parse(stdout) as Sweep;
      const calls = Object.values(sweep.calls).reduce((sum, count) => sum + count, 0);
      console.log(
        `fault sweep: ${sweep.once} calls failed once, ${sweep.sticky} for good ` +
          `(${Object.keys(sweep.calls).length} scenarios of ${calls} calls in all)`,
      );
    },
    within(isLong ? 3_600_000 : 300_000),
  );

  afterAll(() => spawnSync("rm", ["-f", stateFile]));

  test("the answer is right as far as it goes, typed, and nothing leaks", () => {
    expect(sweep.wrong).toEqual([]);
  });

  test("every scenario made calls, and they were made to fail", () => {
    const counts = Object.values(sweep.calls);
    expect(Math.min(...counts)).toBeGreaterThan(30);
    const all = counts.reduce((sum, count) => sum + count, 0);
    // A call less here or there: threads do not share the work alike each time.
    expect(sweep.once).toBeGreaterThan(all * 0.9);
    expect(sweep.sticky).toBeGreaterThan(all * 0.9);
  });
});
