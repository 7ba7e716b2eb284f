// pump_any: content that comes in parts and in any order, into a file that takes it so; and what
// all ways to copy say and count.
#pragma once
#include "engine/runtime.h"
#include "verb/run.h"

// After scatter() on the reader. What came is kept in the writer's journal as it comes, and when it
// ends early, too.
// *counted: bytes that it added to the task's totals.
int32_t pump_any(struct spot *spot, struct reader *reader, struct writer *writer, uint64_t *counted,
                 struct fault *fault);

static inline int32_t pump_cancelled(struct fault *fault) {
  return fault_set(fault, COPSE_E_CANCELLED, "cancelled while copying");
}
static inline int32_t pump_changed(struct fault *fault) {
  return fault_set(fault, COPSE_E_CHANGED, "the file changed while it was copied; run again");
}
static inline void pump_count(struct spot *spot, uint64_t *counted, uint64_t bytes) {
  task_count(spot->run->task, 0, bytes);
  atomic_fetch_add_explicit(&spot->run->task->runtime->bytes_read, bytes, memory_order_relaxed);
  *counted += bytes;
}
