#include "engine/pool_width.h"

#include <time.h>

static uint64_t nanoseconds(struct timespec time) {
  return (uint64_t)time.tv_sec * 1'000'000'000 + (uint64_t)time.tv_nsec;
}

uint32_t pool_width_next(uint32_t width, uint32_t cores, uint32_t most, uint64_t cpu_ns,
                         uint64_t wall_ns) {
  uint64_t all = wall_ns * cores;
  if (all == 0) return width;
  if (cpu_ns * 100 < all * 70) return width < most / 2 ? width * 2 : most;
  if (cpu_ns * 100 > all * 95 && width > cores) return width - 1;
  return width;
}

uint64_t pool_width_cpu_now(void) {
  struct timespec now;
  return clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0 ? nanoseconds(now) : 0;
}

// The kernel adds what a running thread used only when the thread is switched or the scheduler
// ticks, so each core's part of the answer is up to one tick old. Over four ticks busy cores still
// show as 75 %.
uint64_t pool_width_while_ns(void) {
  constexpr uint64_t TICKS = 4, LEAST_NS = 4'000'000, MOST_NS = 40'000'000;
  uint64_t tick_ns = 4'000'000;
#ifdef CLOCK_MONOTONIC_COARSE
  struct timespec tick;  // this clock moves with the scheduler's tick
  if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0) tick_ns = nanoseconds(tick);
#endif
  uint64_t all = tick_ns * TICKS;
  return all < LEAST_NS ? LEAST_NS : all > MOST_NS ? MOST_NS : all;
}
