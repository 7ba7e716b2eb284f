// Loaded before every test run (bunfig.toml): makes a clean clone ready and builds the library when
// a source is newer. COPSE_LIB names a library someone else built, a sanitizer's for instance.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import "./sanitizer.ts";

const root = join(import.meta.dir, "..");

if (!process.env.COPSE_LIB) {
  const wasEmpty = !existsSync(join(root, "node_modules"));
  const { status } = spawnSync(process.execPath, [join(root, ".ci", "build.mjs")], {
    stdio: ["ignore", 2, 2],
  });
  if (status !== 0) {
    process.stderr.write("copse: no tests without a build\n");
    process.exit(status ?? 1);
  }
  if (wasEmpty) startAgain();
}

// This process has seen that there is no node_modules and remembers it, so the tests could not
// import their packages: a new one can. process.argv does not hold the arguments of `bun test`.
function startAgain(): never {
  const line = existsSync("/proc/self/cmdline")
    ? readFileSync("/proc/self/cmdline", "utf8").split("\0").slice(1, -1)
    : ["test"];
  process.exit(spawnSync(process.execPath, line, { stdio: "inherit" }).status ?? 1);
}
