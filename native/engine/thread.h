// thread: the few things we want of pthreads, with errors that cannot be ignored taken out. A mutex
// or condition that cannot be made is a broken system: we stop there.
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdint.h>

typedef pthread_mutex_t mutex;
typedef pthread_cond_t condition;  // waits on CLOCK_MONOTONIC

void mutex_begin(mutex *lock);
void mutex_end(mutex *lock);
static inline void mutex_lock(mutex *lock) { pthread_mutex_lock(lock); }
static inline void mutex_unlock(mutex *lock) { pthread_mutex_unlock(lock); }

void condition_begin(condition *condition);
void condition_end(condition *condition);
static inline void condition_wait(condition *condition, mutex *lock) {
  pthread_cond_wait(condition, lock);
}
// False when the time is over. `deadline_ns` as of clock_now.
bool condition_wait_until(condition *condition, mutex *lock, uint64_t deadline_ns);
static inline void condition_one(condition *condition) { pthread_cond_signal(condition); }
static inline void condition_all(condition *condition) { pthread_cond_broadcast(condition); }

uint64_t clock_now(void);  // CLOCK_MONOTONIC, nanoseconds
int64_t clock_wall(void);  // CLOCK_REALTIME, nanoseconds: only to hold file times against

// Names a thread that somebody has to join; zeroed it names none.
struct thread {
  pthread_t id;
  bool is_set;
};

// A thread named `name` (15 characters) with all signals blocked and a small stack (512 KiB). It is
// to be joined once, by whoever it told its thread_self(). False when the system refuses.
[[nodiscard]] bool thread_start(const char *name, void (*run)(void *), void *argument);
struct thread thread_self(void);
// Waits until the thread is gone (its entry in /proc goes a moment later); none is fine. After it
// none is named.
void thread_join(struct thread *thread);

// A moment in a loop that looks at memory; and a turn for another thread.
static inline void thread_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}
static inline void thread_yield(void) { sched_yield(); }
void thread_sleep(uint64_t ns);

// One pointer that belongs to the calling thread; nullptr until it is set. When the thread ends,
// `ended` is called with it there. Every call passes the same function. False: the system refuses.
void *thread_own(void);
bool thread_own_set(void *value, void (*ended)(void *));
