// Runs `bun test` on a core built with a sanitizer: `node .ci/sanitize.mjs asan|tsan [arguments]`.
//
// Bun itself is not instrumented, so the runtime is preloaded: into Bun alone, and not into the programs
// that tests start besides (preload.c). Reports go to files as well, because a
// child process that a test starts may keep its stderr to itself. Bun ends without atexit, so leaks
// are looked for by test/sanitizer.ts after the last test, and judged here: only those of our own library.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { buildLibrary, preloads, sanitizerEnvironment } from "./clang.mjs";
import { setup } from "./setup.mjs";
import { bun, jobEnvironment, main, root, run, Trouble } from "./tools.mjs";

main(async () => {
  const [kind, ...args] = process.argv.slice(2);
  if (kind !== "asan" && kind !== "tsan") throw new Trouble("say asan or tsan");
  setup();
  const library = await buildLibrary(kind);
  const reports = join(root, "build", kind, "reports");
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });

  const preloaded = await preloads(kind);
  const environment = sanitizerEnvironment(join(reports, "report"));
  const programs = join(root, "build", kind, "bin");
  const watched = writeLaunchers(programs, preloaded);
  const { PATH, ...others } = jobEnvironment();
  const code = run(bun(), ["test", "--timeout", "300000", ...args], {
    stdio: "inherit",
    env: {
      ...others,
      PATH: [programs, PATH].join(delimiter),
      COPSE_LIB: library,
      COPSE_SANITIZER: kind,
      COPSE_SANITIZER_BUN: watched,
      COPSE_SANITIZER_RUNTIME: preloaded[0],
      LD_PRELOAD: preloaded.join(":"),
      ...environment,
      // Bun's collector stops the main thread by a signal, which TSan may hold back for ever.
      ...(kind === "tsan" ? { BUN_JSC_useConcurrentGC: "0" } : {}),
      // With the module in each line, so that a leak can be told to be ours.
      ASAN_OPTIONS: `leak_check_at_exit=0:stack_trace_format='    #%n %F %S (%m)':${environment.ASAN_OPTIONS}`,
    },
  });
  const serious = readdirSync(reports)
    .flatMap((name) => recordsOf(readFileSync(join(reports, name), "utf8")))
    .filter((record) => !/leak of/.test(record) || record.includes("libcopse.so"));
  if (serious.length === 0) return code;
  process.stdout.write(`${serious.join("\n")}\n${serious.length} sanitizer reports\n`);
  return code || 1;
});

/**
 * Bun with the runtime in it, under both of its names. Whoever sets COPSE_SANITIZER to nothing has said
 * that this Bun is not to be watched.
 */
function writeLaunchers(folder, preloaded) {
  mkdirSync(folder, { recursive: true });
  for (const [name, first] of [
    ["bun", ""],
    ["bunx", " x"],
  ])
    writeFileSync(
      join(folder, name),
      `#!/bin/sh
if [ "$COPSE_SANITIZER" ]; then
  export LD_PRELOAD="${preloaded.join(":")}\${LD_PRELOAD:+:$LD_PRELOAD}"
fi
exec "${bun()}"${first} "$@"
`,
      { mode: 0o755 },
    );
  return join(folder, "bun");
}

/** A leak report holds one record per leak, of which Bun's own are not our business. */
function recordsOf(text) {
  const leaks = text.match(/^(Direct|Indirect) leak of[^]*?(?=\n\n|$(?![^]))/gm);
  return leaks ?? (/ERROR|WARNING|runtime error/.test(text) ? [text] : []);
}
