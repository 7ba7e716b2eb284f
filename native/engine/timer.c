#include "engine/timer.h"

#include <stdlib.h>

#include "base/fault.h"
#include "engine/thread.h"

// A thread without timers ends after this long; the next timer starts one again.
constexpr uint64_t IDLE_NS = 5'000'000'000;

struct timers {
  mutex lock;
  condition changed;  // an earlier timer, or the end
  condition ended;    // the thread is gone, or a callback returned
  struct timer **heap;  // heap[0] is the earliest; all below guarded by lock
  size_t count, capacity;
  struct timer *firing;
  bool running, closing;
  pthread_t thread;   // while running
};

int32_t timers_begin(struct timers **out) {
  struct timers *timers = calloc(1, sizeof *timers);
  if (!timers) return COPSE_E_MEMORY;
  mutex_begin(&timers->lock);
  condition_begin(&timers->changed);
  condition_begin(&timers->ended);
  *out = timers;
  return 0;
}

static void put(struct timers *timers, size_t at, struct timer *timer) {
  timers->heap[at] = timer;
  timer->place = at + 1;
}

static void rise(struct timers *timers, size_t at, struct timer *timer) {
  while (at > 0 && timers->heap[(at - 1) / 2]->at_ns > timer->at_ns) {
    put(timers, at, timers->heap[(at - 1) / 2]);
    at = (at - 1) / 2;
  }
  put(timers, at, timer);
}

static void sink(struct timers *timers, size_t at, struct timer *timer) {
  for (;;) {
    size_t child = 2 * at + 1;
    if (child >= timers->count) break;
    if (child + 1 < timers->count && timers->heap[child + 1]->at_ns < timers->heap[child]->at_ns) child++;
    if (timers->heap[child]->at_ns >= timer->at_ns) break;
    put(timers, at, timers->heap[child]);
    at = child;
  }
  put(timers, at, timer);
}

static void take_out(struct timers *timers, struct timer *timer) {
  size_t at = timer->place - 1;
  timer->place = 0;
  struct timer *last = timers->heap[--timers->count];
  if (last == timer) return;
  if (at > 0 && timers->heap[(at - 1) / 2]->at_ns > last->at_ns) rise(timers, at, last);
  else sink(timers, at, last);
}

static void run(void *argument) {
  struct timers *timers = argument;
  mutex_lock(&timers->lock);
  timers->thread = pthread_self();
  uint64_t idle_since = clock_now();
  while (!timers->closing) {
    uint64_t now = clock_now();
    if (timers->count == 0) {
      if (now - idle_since >= IDLE_NS) break;
      condition_wait_until(&timers->changed, &timers->lock, idle_since + IDLE_NS);
      continue;
    }
    struct timer *first = timers->heap[0];
    if (first->at_ns > now) {
      condition_wait_until(&timers->changed, &timers->lock, first->at_ns);
      idle_since = clock_now();
      continue;
    }
    take_out(timers, first);
    timers->firing = first;
    void (*fire)(struct timer *) = first->fire;
    mutex_unlock(&timers->lock);
    fire(first);
    mutex_lock(&timers->lock);
    timers->firing = nullptr;
    condition_all(&timers->ended);
    idle_since = clock_now();
  }
  timers->running = false;
  condition_all(&timers->ended);
  mutex_unlock(&timers->lock);
}

void timers_end(struct timers *timers) {
  if (!timers) return;
  mutex_lock(&timers->lock);
  timers->closing = true;
  condition_all(&timers->changed);
  while (timers->running) condition_wait(&timers->ended, &timers->lock);
  mutex_unlock(&timers->lock);
  condition_end(&timers->ended);
  condition_end(&timers->changed);
  mutex_end(&timers->lock);
  free(timers->heap);
  free(timers);
}

bool timer_set(struct timers *timers, struct timer *timer, uint64_t at_ns) {
  bool set = true;
  mutex_lock(&timers->lock);
  if (timer->place) take_out(timers, timer);
  if (timers->count == timers->capacity) {
    size_t capacity = timers->capacity ? timers->capacity * 2 : 64;
    struct timer **heap = realloc(timers->heap, capacity * sizeof(struct timer *));
    if (heap) {
      timers->heap = heap;
      timers->capacity = capacity;
    }
    set = heap != nullptr;
  }
  if (set && !timers->running) {
    timers->running = true;
    set = thread_start("copse-timer", run, timers);
    timers->running = set;
  }
  if (set) {
    timer->at_ns = at_ns;
    rise(timers, timers->count++, timer);
    if (timer->place == 1) condition_one(&timers->changed);
  }
  mutex_unlock(&timers->lock);
  return set;
}

void timer_clear(struct timers *timers, struct timer *timer) {
  mutex_lock(&timers->lock);
  for (;;) {
    if (timer->place) take_out(timers, timer);  // a callback may have set it again
    // Cleared from its own callback: who runs it is on the way out.
    if (timers->firing != timer || pthread_equal(timers->thread, pthread_self())) break;
    condition_wait(&timers->ended, &timers->lock);
  }
  mutex_unlock(&timers->lock);
}
