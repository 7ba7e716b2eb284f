// Preloaded beside ThreadSanitizer's runtime: most programs that Bun starts under it begin with all
// signals blocked (seen with Bun 1.4.5 and clang 19, without a library of ours), so that a test which
// ends its child with SIGTERM would wait for ever.

#include <signal.h>
#include <stddef.h>

__attribute__((constructor)) static void unblock(void) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
}
