// Preloaded beside a sanitizer's runtime.

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>

__attribute__((constructor)) static void begin(void) {
  // The runtime is in this program by now, and not meant for those that it starts: a server, rsync or
  // git would be watched as well, and end otherwise than they do. Another Bun gets it from its launcher
  // (sanitize.mjs). Done here because Bun.spawn hands on the environment that `bun test` began with,
  // whatever became of process.env.
  unsetenv("LD_PRELOAD");
#ifdef UNBLOCK
  // Most programs that Bun starts under ThreadSanitizer begin with all signals blocked (seen with Bun
  // 1.4.5 and clang 19, without a library of ours), so that a test which ends its child with SIGTERM
  // would wait for ever.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
#endif
}
