// Part of the preload (build.ts), at work under .ci/sanitize.mjs only.

import { dlopen } from "bun:ffi";
import { afterAll } from "bun:test";

const {
  COPSE_SANITIZER: kind,
  COPSE_SANITIZER_BUN: bun,
  COPSE_SANITIZER_RUNTIME: runtime,
} = process.env;

// Each Bun that a test starts is watched as well; other programs are not (.ci/preload.c).
if (bun) process.execPath = bun;

if (kind === "asan" && runtime) {
  // LeakSanitizer is asked for its report once all tests are over, because Bun ends without the exit
  // handlers that would ask. The report goes to a file and is judged over there.
  afterAll(() => {
    // What JavaScript still holds would be found through it; what it has let go is freed by now.
    Bun.gc(true);
    const { symbols } = dlopen(runtime, {
      __lsan_do_recoverable_leak_check: { args: [], returns: "i32" },
    });
    symbols.__lsan_do_recoverable_leak_check();
  });
}
