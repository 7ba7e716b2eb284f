#include "engine/thread.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

// Deep enough for a listing's 64 KiB buffer and a good deal of calls; small enough that 40 of them
// do not matter.
constexpr size_t STACK_BYTES = 512 * 1024;

static void must(int code) {
  if (code != 0) abort();
}

// Every lock here is held for well under a microsecond, so whoever meets a held one tries a few
// times before it sleeps: a sleep and a wake-up cost some ten times as much as the wait.
void mutex_begin(mutex *lock) {
#ifdef PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP
  pthread_mutexattr_t attributes;
  must(pthread_mutexattr_init(&attributes));
  must(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ADAPTIVE_NP));
  must(pthread_mutex_init(lock, &attributes));
  pthread_mutexattr_destroy(&attributes);
#else
  must(pthread_mutex_init(lock, nullptr));
#endif
}
void mutex_end(mutex *lock) { must(pthread_mutex_destroy(lock)); }

void condition_begin(condition *condition) {
  pthread_condattr_t attributes;
  must(pthread_condattr_init(&attributes));
#ifndef __APPLE__
  must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
#endif
  must(pthread_cond_init(condition, &attributes));
  pthread_condattr_destroy(&attributes);
}

void condition_end(condition *condition) { must(pthread_cond_destroy(condition)); }

bool condition_wait_until(condition *condition, mutex *lock, uint64_t deadline_ns) {
#ifdef __APPLE__
  // Its conditions know only the wall clock, or how long from now.
  uint64_t now = clock_now(), left_ns = deadline_ns > now ? deadline_ns - now : 0;
  struct timespec left = {.tv_sec = (time_t)(left_ns / 1'000'000'000),
                          .tv_nsec = (long)(left_ns % 1'000'000'000)};
  return pthread_cond_timedwait_relative_np(condition, lock, &left) == 0;
#else
  struct timespec until = {.tv_sec = (time_t)(deadline_ns / 1'000'000'000),
                           .tv_nsec = (long)(deadline_ns % 1'000'000'000)};
  return pthread_cond_timedwait(condition, lock, &until) == 0;
#endif
}

int64_t clock_wall(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1'000'000'000 + (int64_t)now.tv_nsec;
}

uint64_t clock_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1'000'000'000 + (uint64_t)now.tv_nsec;
}

void thread_sleep(uint64_t ns) {
  struct timespec time = {.tv_sec = (time_t)(ns / 1'000'000'000),
                          .tv_nsec = (long)(ns % 1'000'000'000)};
  nanosleep(&time, nullptr);
}

struct start {
  void (*run)(void *);
  void *argument;
  char name[16];
};

// Our threads compute for long stretches; the program's own thread wakes for moments. A longer
// slice means a later deadline, so that whoever wakes comes first: a 1 ms timer beside a compare
// that keeps every core busy was late by 6 ms without it (bench/results/async.md). Kernels
// before 6.12 ignore it.
static void ask_for_long_slices(void) {
#if defined(__linux__) && defined(SYS_sched_setattr)
  constexpr uint64_t SLICE_NS = 20'000'000;
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes = {.size = 48, .flags = 0x08 /* SCHED_FLAG_KEEP_POLICY */, .runtime = SLICE_NS};
  // Refused: it stays as it was, which is no error.
  attributes.nice = getpriority(PRIO_PROCESS, 0);
  (void)!syscall(SYS_sched_setattr, 0, &attributes, 0);
#endif
}

static void *begin(void *argument) {
  struct start start = *(struct start *)argument;
  free(argument);
#ifdef __APPLE__
  pthread_setname_np(start.name);
#else
  pthread_setname_np(pthread_self(), start.name);
#endif
  ask_for_long_slices();
  start.run(start.argument);
  return nullptr;
}

bool thread_start(const char *name, void (*run)(void *), void *argument) {
  struct start *start = malloc(sizeof *start);
  if (!start) return false;
  *start = (struct start){.run = run, .argument = argument};
  for (size_t i = 0; i < sizeof start->name - 1 && name[i]; i++) start->name[i] = name[i];
  pthread_attr_t attributes;
  pthread_t thread;
  if (pthread_attr_init(&attributes) != 0) {
    free(start);
    return false;
  }
  // Signals are the program's affair: a worker must not be interrupted by its handlers.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0 &&
                 pthread_create(&thread, &attributes, begin, start) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (!started) free(start);
  return started;
}

struct thread thread_self(void) { return (struct thread){.id = pthread_self(), .is_set = true}; }

void thread_join(struct thread *thread) {
  if (thread->is_set) must(pthread_join(thread->id, nullptr));
  *thread = (struct thread){};
}

static pthread_key_t own;
static void (*_Atomic own_ended)(void *);
static pthread_once_t own_once = PTHREAD_ONCE_INIT;
static bool own_made;

static void own_end(void *value) { atomic_load (&own_ended)(value); }
static void own_make(void) { own_made = pthread_key_create(&own, own_end) == 0; }

void *thread_own(void) {
  pthread_once(&own_once, own_make);
  return own_made ? pthread_getspecific(own) : nullptr;
}

bool thread_own_set(void *value, void (*ended)(void *)) {
  pthread_once(&own_once, own_make);
  atomic_store(&own_ended, ended);
  return own_made && pthread_setspecific(own, value) == 0;
}
