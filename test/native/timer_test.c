// timer: timers fire once, in order, not before their time; a cleared one does not fire, nor is it
// firing when the clearing returns.
#include "engine/timer.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/fault.h"
#include "check.h"

constexpr uint64_t MILLISECOND = 1'000'000;
constexpr uint64_t LATER = 3600ull * 1000 * MILLISECOND;

struct note {
  struct timer timer;
  struct timers *timers;
  struct gate *gate;
  uint64_t due_ns;
  _Atomic int fired;
  bool early, again;
};

static _Atomic uint64_t last_due;
static _Atomic int misordered;

static struct note *note_of(struct timer *timer) {
  return (struct note *)(void *)((uint8_t *)timer - offsetof(struct note, timer));
}

static void note_fire(struct timer *timer) {
  struct note *note = note_of(timer);
  note->early = clock_now() < note->due_ns;
  if (note->due_ns < atomic_load(&last_due)) atomic_fetch_add(&misordered, 1);
  atomic_store(&last_due, note->due_ns);
  atomic_fetch_add(&note->fired, 1);
  gate_step(note->gate);
}

static void fire_in_order(void) {
  enum { NOTES = 1000 };
  static struct note notes[NOTES];
  struct timers *timers;
  CHECK(timers_begin(&timers) == 0);
  struct gate gate;
  gate_begin(&gate, NOTES / 2);
  uint64_t begin = clock_now() + 20 * MILLISECOND;
  uint32_t random = 7;
  for (size_t i = 0; i < NOTES; i++) {
    random = random * 1664525u + 1013904223u;
    notes[i] = (struct note){.timer.fire = note_fire, .gate = &gate};
    notes[i].due_ns = begin + (random >> 8) % 1000 * 20'000;
    CHECK(timer_set(timers, &notes[i].timer, i % 3 ? notes[i].due_ns : LATER + begin));
  }
  for (size_t i = 0; i < NOTES; i += 3)
    CHECK(timer_set(timers, &notes[i].timer, notes[i].due_ns));  // moved
  for (size_t i = 1; i < NOTES; i += 2) timer_clear(timers, &notes[i].timer);
  gate_wait(&gate);
  for (size_t i = 0; i < NOTES; i++) {
    CHECK(atomic_load(&notes[i].fired) == (i % 2 == 0));
    CHECK(!notes[i].early);
  }
  CHECK(atomic_load(&misordered) == 0);
  gate_end(&gate);
  timers_end(timers);
}

// The thread sleeps for a late timer; an earlier one is not missed.
static void an_earlier_one_wakes_the_thread(void) {
  struct timers *timers;
  CHECK(timers_begin(&timers) == 0);
  struct gate gate;
  gate_begin(&gate, 1);
  struct note late = {.timer.fire = note_fire, .gate = &gate, .due_ns = clock_now() + LATER};
  CHECK(timer_set(timers, &late.timer, late.due_ns));
  for (int i = 0; i < 100; i++) {
    struct gate once;
    gate_begin(&once, 1);
    struct note soon = {.timer.fire = note_fire, .gate = &once, .due_ns = clock_now()};
    atomic_store(&last_due, 0);
    CHECK(timer_set(timers, &soon.timer, soon.due_ns));
    gate_wait(&once);
    timer_clear(timers, &soon.timer);
    gate_end(&once);
  }
  CHECK(atomic_load(&late.fired) == 0);
  timer_clear(timers, &late.timer);
  timer_clear(timers, &late.timer);
  gate_end(&gate);
  timers_end(timers);
}

static struct gate entered, leave;
static _Atomic bool left;
static struct thread opener;

static void slow_fire(struct timer *timer) {
  struct note *note = note_of(timer);
  if (atomic_fetch_add(&note->fired, 1) > 0) return;  // once more before it is cleared is fine
  // Sets itself again, as progress does: clearing has to take that back too.
  CHECK(timer_set(note->timers, timer, clock_now()));
  gate_step(&entered);
  gate_wait(&leave);
  atomic_store(&left, true);
}

static void open_leave(void *argument) {
  (void)argument;
  opener = thread_self();
  gate_step(&leave);
}

static void clearing_waits_for_the_callback(void) {
  for (int round = 0; round < 200 / SHRINK; round++) {
    struct timers *timers;
    CHECK(timers_begin(&timers) == 0);
    gate_begin(&entered, 1);
    gate_begin(&leave, 1);
    atomic_store(&left, false);
    struct note note = {.timer.fire = slow_fire, .timers = timers};
    CHECK(timer_set(timers, &note.timer, clock_now()));
    gate_wait(&entered);
    CHECK(thread_start("opener", open_leave, nullptr));
    timer_clear(timers, &note.timer);
    CHECK(atomic_load(&left));
    int fired = atomic_load(&note.fired);
    CHECK(note.timer.place == 0);
    thread_join(&opener);
    timers_end(timers);
    CHECK(atomic_load(&note.fired) == fired);
    gate_end(&leave);
    gate_end(&entered);
  }
}

static void self_clear_fire(struct timer *timer) {
  struct note *note = note_of(timer);
  timer_clear(note->timers, timer);
  gate_step(note->gate);
}

static void a_callback_may_clear_itself(void) {
  struct timers *timers;
  CHECK(timers_begin(&timers) == 0);
  struct gate gate;
  gate_begin(&gate, 1);
  struct note note = {.timer.fire = self_clear_fire, .timers = timers, .gate = &gate};
  CHECK(timer_set(timers, &note.timer, clock_now()));
  gate_wait(&gate);
  timers_end(timers);
  gate_end(&gate);
}

static void nothing_is_left(void) {
  int before = -1;
  for (int i = 0; i < 50; i++) {
    if (i == 2) before = count_threads();  // a sanitizer may have started one of its own
    struct timers *timers;
    CHECK(timers_begin(&timers) == 0);
    struct timer never = {.fire = note_fire};
    if (i % 2) CHECK(timer_set(timers, &never, clock_now() + LATER));
    timers_end(timers);  // one that is still set does not fire any more
  }
  timers_end(nullptr);
  CHECK(threads_come_to(before));
}

int main(void) {
  nothing_is_left();
  fire_in_order();
  an_earlier_one_wakes_the_thread();
  clearing_waits_for_the_callback();
  a_callback_may_clear_itself();
}
