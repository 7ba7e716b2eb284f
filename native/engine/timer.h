// timer: deadlines. One min-heap and one thread, started with the first timer, asleep until the
// earliest one. Callbacks run on the timer thread without the heap's lock and must not block.
#pragma once
#include <stddef.h>
#include <stdint.h>

struct timers;
struct timer {
  uint64_t at_ns;  // as of clock_now
  size_t place;    // index in the heap + 1; 0: not set. Guarded by the heap's lock
  void (*fire)(struct timer *timer);
};

int32_t timers_begin(struct timers **out);
void timers_end(
    struct timers *timers);  // waits for the thread and a running callback; null is fine
// Sets or moves. False: out of memory, or no thread could be started; then it is not set.
[[nodiscard]] bool timer_set(struct timers *timers, struct timer *timer, uint64_t at_ns);
// After this returns, the callback is not running and will not run. Never call it from a callback
// of the same timer, nor holding a lock a callback takes.
void timer_clear(struct timers *timers, struct timer *timer);
