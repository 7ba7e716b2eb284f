#include "engine/timer.h"

#include <stdlib.h>

#include "base/fault.h"
#include "engine/thread.h"

// A thread without timers ends after this long; the next timer starts one again.
constexpr uint64_t IDLE_NS = 5'000'000'000;

struct timers {
  mutex lock;           // guards all below
  condition changed;    // an earlier timer, or the end
  condition returned;   // a callback returned, or the thread is on its way out
  struct timer **heap;  // heap[0] is the earliest
  size_t count, capacity;
  struct timer *firing;
  uint64_t asleep_until;  // the thread looks by itself then; zero: it is looking
  bool running, closing;
  struct thread thread;  // the running one, or the one that ended last and is not joined
};

int32_t timers_begin(struct timers **out) {
  struct timers *timers = calloc(1, sizeof *timers);
  if (!timers) return COPSE_E_MEMORY;
  mutex_begin(&timers->lock);
  condition_begin(&timers->changed);
  condition_begin(&timers->returned);
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
    if (child + 1 < timers->count && timers->heap[child + 1]->at_ns < timers->heap[child]->at_ns)
      child++;
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
  if (at > 0 && timers->heap[(at - 1) / 2]->at_ns > last->at_ns)
    rise(timers, at, last);
  else
    sink(timers, at, last);
}

static void sleep_until(struct timers *timers, uint64_t at_ns) {
  timers->asleep_until = at_ns;
  condition_wait_until(&timers->changed, &timers->lock, at_ns);
  timers->asleep_until = 0;
}

static void run(void *argument) {
  struct timers *timers = argument;
  mutex_lock(&timers->lock);
  timers->thread = thread_self();
  uint64_t idle_since = clock_now();
  while (!timers->closing) {
    uint64_t now = clock_now();
    if (timers->count == 0) {
      if (now - idle_since >= IDLE_NS) break;
      sleep_until(timers, idle_since + IDLE_NS);
      continue;
    }
    struct timer *first = timers->heap[0];
    if (first->at_ns > now) {
      sleep_until(timers, first->at_ns);
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
    condition_all(&timers->returned);
    idle_since = clock_now();
  }
  timers->running = false;
  condition_all(&timers->returned);
  mutex_unlock(&timers->lock);
}

void timers_end(struct timers *timers) {
  if (!timers) return;
  mutex_lock(&timers->lock);
  timers->closing = true;
  condition_all(&timers->changed);
  while (timers->running) condition_wait(&timers->returned, &timers->lock);
  mutex_unlock(&timers->lock);
  thread_join(&timers->thread);
  condition_end(&timers->returned);
  condition_end(&timers->changed);
  mutex_end(&timers->lock);
  free(timers->heap);
  free(timers);
}

static bool make_room(struct timers *timers) {
  if (timers->count < timers->capacity) return true;
  size_t capacity = timers->capacity ? timers->capacity * 2 : 64;
  struct timer **heap = realloc(timers->heap, capacity * sizeof(struct timer *));
  if (!heap) return false;
  timers->heap = heap;
  timers->capacity = capacity;
  return true;
}

static bool make_thread(struct timers *timers) {
  if (timers->running) return true;
  thread_join(&timers->thread);  // it gave up the lock as the last thing it did
  timers->running = thread_start("copse-timer", run, timers);
  return timers->running;
}

bool timer_set(struct timers *timers, struct timer *timer, uint64_t at_ns) {
  mutex_lock(&timers->lock);
  if (timer->place) take_out(timers, timer);
  bool set = make_room(timers) && make_thread(timers);
  if (set) {
    timer->at_ns = at_ns;
    rise(timers, timers->count++, timer);
    // Most timers are cleared before their time. The thread stays asleep for them: at the worst it
    // looks once for nothing.
    if (at_ns < timers->asleep_until) {
      timers->asleep_until = at_ns;  // told; who sets a later one need not tell again
      condition_one(&timers->changed);
    }
  }
  mutex_unlock(&timers->lock);
  return set;
}

void timer_clear(struct timers *timers, struct timer *timer) {
  mutex_lock(&timers->lock);
  for (;;) {
    if (timer->place) take_out(timers, timer);  // a callback may have set it again
    // Cleared from its own callback: who runs it is on the way out.
    if (timers->firing != timer || pthread_equal(timers->thread.id, pthread_self())) break;
    condition_wait(&timers->returned, &timers->lock);
  }
  mutex_unlock(&timers->lock);
}
