// runtime: the thing that owns threads, buffers, timers, the wake channel and the list of tasks
// with events. Two runtimes in one process share nothing.
#pragma once
#include "base/fault.h"
#include "engine/buffer.h"
#include "engine/io.h"
#include "engine/pool.h"
#include "engine/task.h"
#include "engine/timer.h"
#include "engine/wake.h"

// Something a store keeps for as long as the runtime lives (the trees of memory:). Found by its
// key's address.
struct attachment {
  struct attachment *next;
  const void *key;
  void (*free)(struct attachment *attachment);
};

struct runtime {
  uint64_t id;
  struct pool *pool;
  struct buffers buffers;
  struct timers *timers;
  struct wake wake;
  const struct io_ops *io;
  struct io_ops io_own;  // where it is not io_plain
  uint32_t cores, io_workers, cpu_workers, connections,
      backend;                  // backend: enum copse_io, never AUTO
  uint64_t connection_idle_ns;  // so long a connection is kept that nobody uses
  _Atomic uint64_t bytes_read, bytes_written;
  struct limit limit;  // bytes a second of all tasks together

  mutex lock;  // guards all below; never taken while holding a task's lock
  uint64_t started, done, failed, cancelled, running, queued, wakes;
  struct task *all;                 // every task that is not freed
  struct task *ready, *ready_last;  // those with events, oldest first
  bool raised;  // the wake fd was written and the ready list has not been empty since
  uint32_t
      untold;  // rows and events since the list was empty, for which the fd was not written yet
  bool tell_timer_set;
  struct timer tell_timer;  // writes it at the latest
  _Atomic uint32_t tasks;
  condition tasks_gone;
  struct attachment *attachments;
};

// `options` is a record of enum copse_option that record_check passed. Bad values: ARGUMENT naming
// the option. A process that forks uses a runtime only in the parent: its threads and locks are not
// copied.
int32_t runtime_open(struct runtime **out, span options, struct fault *fault);
void runtime_close(struct runtime *runtime);  // cancels all, waits until every task is gone, frees

// The task has (more) to tell, so many rows or events: puts it on the ready list and raises the fd
// when the flag was clear, or, while more jobs wait, a few of them or a millisecond later: a
// wake-up costs the event loop more than most events do. Waited tasks wake their own waiter instead
// and never come here.
void runtime_ready(struct runtime *runtime, struct task *task, uint32_t count);
int32_t runtime_drain(struct runtime *runtime, copse_event *events, uint32_t capacity, bool behind);
int32_t runtime_cancel(struct runtime *runtime, uint32_t token);  // how many tasks carried it
void runtime_stats(struct runtime *runtime, copse_stats *out);

// A task's life as the counters see it: QUEUED from `add`, RUNNING from `begin`, over from `end` by
// its code.
void runtime_add(struct runtime *runtime, struct task *task);
void runtime_count_begin(struct runtime *runtime, struct task *task);
void runtime_count_end(struct runtime *runtime, struct task *task);
// Whether a task that was added before that turn has still to open its stores.
bool runtime_awaits_older(struct runtime *runtime, uint64_t turn);
void runtime_forget(struct runtime *runtime, struct task *task);  // off every list, when freed

// The attachment of that key, made by `make` when there is none yet (nullptr: out of memory).
struct attachment *runtime_attachment(struct runtime *runtime, const void *key,
                                      struct attachment *(*make)(struct runtime *runtime));

// The smaller of the cores this process may run on and its cgroups' quotas, at least 1.
uint32_t system_cores(void);
uint32_t system_umask(void);  // permission bits that new files do not get
