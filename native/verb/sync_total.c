// sync_total: how much there will be to copy, for whoever watches. Copies are decided while the
// trees are walked, and done there and then; where somebody watches they wait until the walk is
// through, so that the total is known when the first of them begins. What waits holds on to its
// directories' listings, so there is a bound.
#include "verb/sync.h"

constexpr uint32_t LATER_MAX = 1 << 16;

void sync_total_begin(struct run *run) {
  struct sync *sync = sync_of(run);
  struct task *task = run->task;
  if (sync->plan && !sync->is_dry) {
    sync->plans_ahead = false;
    atomic_store_explicit(&task->total_bytes, sync_plan_bytes(sync->plan), memory_order_relaxed);
  } else if (sync->plans_ahead) {
    atomic_store_explicit(&task->total_grows, true, memory_order_relaxed);
    atomic_store_explicit(&task->total_bytes, 0, memory_order_relaxed);
  }
}

void sync_total_add(struct run *run, const struct entry *entry) {
  struct sync *sync = sync_of(run);
  if (!sync->plans_ahead) return;
  // Of this machine's files only those of the system itself have no size, and empty ones might be
  // such.
  if ((entry->has & HAS_SIZE) || (run->store[LEFT].can & IS_LOCAL))
    atomic_fetch_add_explicit(&run->task->total_bytes, entry->size, memory_order_relaxed);
  else
    atomic_store_explicit(&sync->has_unsized, true, memory_order_relaxed);
}

void sync_total_drop(struct run *run, uint64_t size) {
  if (sync_of(run)->plans_ahead)
    atomic_fetch_sub_explicit(&run->task->total_bytes, size, memory_order_relaxed);
}

bool sync_total_waits(struct run *run) {
  struct sync *sync = sync_of(run);
  return sync->plans_ahead &&
         atomic_load_explicit(&sync->later_count, memory_order_relaxed) < LATER_MAX;
}

void sync_total_look(struct run *run) {
  struct sync *sync = sync_of(run);
  struct task *task = run->task;
  if (!atomic_load_explicit(&task->total_grows, memory_order_relaxed)) return;
  if (atomic_load_explicit(&sync->has_unsized, memory_order_relaxed)) return;
  // A job is counted here after it was added and until just before it ends: never more than there
  // are, so that when both are the same nobody else is there.
  if (group_pending(&task->group) != atomic_load_explicit(&sync->later_count, memory_order_relaxed))
    return;
  // Nobody adds to these any more: what may have moved is decided later.
  if (sync->stage <= STAGE_MOVE && (sync->left_only.count > 0 || sync->moves)) return;
  atomic_store_explicit(&task->total_grows, false, memory_order_release);
}
