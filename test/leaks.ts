// Part of the preload (build.ts), at work under .ci/sanitize.mjs only: asks LeakSanitizer for its report
// once all tests are over, because Bun ends without the exit handlers that would ask. The report goes
// to a file and is judged over there.

import { dlopen } from "bun:ffi";
import { afterAll } from "bun:test";

const runtime = process.env.COPSE_SANITIZER_RUNTIME;

if (process.env.COPSE_SANITIZER === "asan" && runtime) {
  afterAll(() => {
    // What JavaScript still holds would be found through it; what it has let go is freed by now.
    Bun.gc(true);
    const { symbols } = dlopen(runtime, {
      __lsan_do_recoverable_leak_check: { args: [], returns: "i32" },
    });
    symbols.__lsan_do_recoverable_leak_check();
  });
}
