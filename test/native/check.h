// check: what the native tests share. A failed check prints where and ends the program.
#pragma once
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/thread.h"

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(SANITIZED) || defined(UNDER_VALGRIND)
constexpr int SHRINK = 10;  // the same work takes many times as long there
#else
constexpr int SHRINK = 1;
#endif

// COPSE_LONG is set where hours are left for the tests: what is short in CI is done at full length.
static inline bool long_run(void) { return getenv("COPSE_LONG") != nullptr; }

// Entries of a directory such as /proc/self/fd, without "." and "..".
static inline int count_entries(const char *path) {
  DIR *directory = opendir(path);
  if (!directory) return -1;
  int count = -2;
  while (readdir(directory)) count++;
  closedir(directory);
  return count;
}

static inline int count_threads(void) { return count_entries("/proc/self/task"); }
// A thread that was joined is still in /proc for a moment, which on a busy machine can be a long
// one: it may be counted at first and gone later, never the other way round.
static inline bool threads_come_to(int count) {
  for (int i = 0; i < 10'000 && count_threads() > count; i++) usleep(1000);
  return count_threads() <= count;
}
static inline int count_descriptors(void) { return count_entries("/proc/self/fd"); }

// Opens when its count falls to zero; threads wait for that.
struct gate {
  mutex lock;
  condition opened;
  int count;
};

static inline void gate_begin(struct gate *gate, int count) {
  mutex_begin(&gate->lock);
  condition_begin(&gate->opened);
  gate->count = count;
}

static inline void gate_end(struct gate *gate) {
  condition_end(&gate->opened);
  mutex_end(&gate->lock);
}

static inline void gate_step(struct gate *gate) {
  mutex_lock(&gate->lock);
  if (--gate->count == 0) condition_all(&gate->opened);
  mutex_unlock(&gate->lock);
}

static inline void gate_wait(struct gate *gate) {
  mutex_lock(&gate->lock);
  while (gate->count > 0) condition_wait(&gate->opened, &gate->lock);
  mutex_unlock(&gate->lock);
}
