// pack_sink: the bytes of a pack on their way into its file. What is at hand goes through a buffer.
// What lies in the spool is copied at once where the file takes bytes only onward; else it is
// noted, and workers copy it while the rest is made.
#pragma once
#include "base/fault.h"
#include "base/span.h"
#include "engine/pool.h"
#include "engine/thread.h"

struct making;
struct task;
struct writer;

// Bytes of the spool that lie together in the pack, too.
struct sink_run {
  uint64_t from, to;
  uint32_t size;
};

struct sink {
  struct making *making;
  struct task *task;
  struct writer *writer;
  uint64_t at;
  uint8_t *buffer;
  size_t filled;
  bool is_shared;   // by workers
  bool was_shared;  // jobs were added: who ends it is called again
  mutex lock;       // guards what follows
  struct sink_run *runs;
  size_t count, capacity, next;
  uint64_t noted;    // bytes of those that nobody took
  uint32_t copying;  // jobs
};

// Before anything is read: what has the pack's name now. A file is kept in mind, that it is not
// packed into itself; what a pack must not take the place of is a fault.
int32_t sink_look(struct making *, struct fault *);
// The writer is set when there is one; sink_end does not end it. False: out of memory.
[[nodiscard]] bool sink_begin(struct sink *sink, struct making *making, struct task *task);
void sink_end(struct sink *sink);
int32_t sink_put(struct sink *sink, span bytes, struct fault *fault);
int32_t sink_put_spooled(struct sink *sink, uint64_t from, uint64_t size, struct fault *fault);
// All that was put is written, or jobs were added that do so.
int32_t sink_flush(struct sink *sink, struct fault *fault);
