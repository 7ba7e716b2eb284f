// Compiles for macOS what needs no library besides the system's: base, engine, tree, verb and the
// stores of this machine, for both processors. Nothing is linked or run, there being no macOS here;
// ends with a line of totals.

import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { nativeSources } from "./packages.mjs";
import { setup } from "./setup.mjs";
import { main, root, zig } from "./tools.mjs";

const targets = ["aarch64-macos", "x86_64-macos"];
// Linux's tables of calls, and what includes a library's header.
const not = /^engine\/io_(plain|uring)\.c$|^base\/(hash|seal)\.c$/;
const wanted =
  /^(base|engine|tree|verb)\/|^store\/(store|memory|open|paths|file|files|limited)\.c$/;
const flags = [
  "-std=c23",
  "-D_GNU_SOURCE",
  "-DCOPSE_WAKE_PIPE=1",
  "-fno-strict-aliasing",
  "-O1",
  "-Wall",
  "-Wextra",
  "-Wconversion",
  "-Wshadow",
  "-Werror",
  "-Inative",
  "-Inative/include",
  "-isystem",
  "native/third_party/blake3",
];

main(() => {
  setup();
  const { program, env } = zig();
  mkdirSync(join(root, "build", "macos"), { recursive: true });
  const sources = nativeSources().filter(
    (path) => path.endsWith(".c") && wanted.test(path) && !not.test(path),
  );
  let passed = 0;
  let failed = 0;
  for (const target of targets)
    for (const source of sources) {
      const out = join("build", "macos", "object.o");
      const { status, stderr } = spawnSync(
        program,
        ["cc", "-target", target, ...flags, "-c", `native/${source}`, "-o", out],
        { cwd: root, env, encoding: "utf8" },
      );
      if (status === 0) passed++;
      else {
        failed++;
        console.log(`FAIL ${target} native/${source}\n${stderr}`);
      }
    }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
});
