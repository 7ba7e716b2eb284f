// sync_plan: a plan is the list of steps that a dry run told. With one, the walk is as always, and
// what it comes to is done when the plan has that step and both sides are still what they were.
// Nothing in a plan is ever resolved: its paths are only looked up, so it cannot lead anywhere.
#include <stdckdint.h>
#include <stdlib.h>

#include "base/record.h"
#include "verb/sync.h"

struct planned {
  span path, from;  // in the request
  uint8_t kind, left_type, right_type;
  _Atomic bool is_met;
  uint64_t left_size, right_size;
  int64_t left_mtime_ns, right_mtime_ns;
};

struct plan {
  size_t count;
  struct planned at[];  // by path, then kind
};

static int by_path(const void *left, const void *right) {
  const struct planned *a = left, *b = right;
  int order = span_compare(a->path, b->path);
  return order ? order : a->kind - b->kind;
}

static void read_step(span record, struct planned *step) {
  uint64_t types = record_number(record, COPSE_STEP_TYPES, 0);
  *step = (struct planned){
      .path = record_text(record, COPSE_STEP_PATH),
      .from = record_text(record, COPSE_STEP_FROM),
      .kind = (uint8_t)record_number(record, COPSE_STEP_KIND, 0),
      .left_type = types & 15,
      .right_type = types >> 4 & 15,
      .left_size = record_number(record, COPSE_STEP_LEFT_SIZE, COPSE_UNKNOWN),
      .right_size = record_number(record, COPSE_STEP_RIGHT_SIZE, COPSE_UNKNOWN),
      .left_mtime_ns = (int64_t)record_number(record, COPSE_STEP_LEFT_MTIME, 1ull << 63),
      .right_mtime_ns = (int64_t)record_number(record, COPSE_STEP_RIGHT_MTIME, 1ull << 63)};
}

int32_t sync_plan_read(span request, struct plan **out, struct fault *fault) {
  size_t count = 0;
  struct field field;
  for (span rest = request; record_next(&rest, &field, fault) == 1;)
    count += field.key == COPSE_KEY_STEP;
  struct plan *plan = malloc(sizeof *plan + count * sizeof *plan->at);
  if (!plan) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  plan->count = 0;
  for (span rest = request; record_next(&rest, &field, fault) == 1;)
    if (field.key == COPSE_KEY_STEP) read_step(field.bytes, &plan->at[plan->count++]);
  qsort(plan->at, plan->count, sizeof *plan->at, by_path);
  *out = plan;
  for (size_t i = 1; i < plan->count; i++)
    if (by_path(&plan->at[i - 1], &plan->at[i]) == 0)
      return fault_set(fault, COPSE_E_ARGUMENT, "the plan has one step twice");
  return 0;
}

void sync_plan_free(struct plan *plan) { free(plan); }

uint64_t sync_plan_bytes(const struct plan *plan) {
  uint64_t bytes = 0;
  for (size_t i = 0; i < plan->count; i++) {
    const struct planned *step = &plan->at[i];
    bool is_copied = step->kind == COPSE_ROW_COPIED && step->left_type == ENTRY_FILE;
    // Whoever wrote the plan may have written anything.
    if (is_copied && step->left_size != COPSE_UNKNOWN) ckd_add(&bytes, bytes, step->left_size);
  }
  return bytes;
}

static struct planned *find(const struct plan *plan, uint8_t kind, span path) {
  if (!path.at) path = SPAN("");
  struct planned key = {.path = path, .kind = kind};
  return bsearch(&key, plan->at, plan->count, sizeof *plan->at, by_path);
}

bool sync_plan_has(const struct plan *plan, uint8_t kind, span path) {
  return find(plan, kind, path) != nullptr;
}

// A directory's size and time follow what is in it.
static bool is_still(uint8_t type, uint64_t size, int64_t mtime_ns, const struct entry *now) {
  if (!now) return type == ENTRY_NONE;
  if (type != now->type) return false;
  if (type == ENTRY_DIRECTORY) return true;
  return (size == COPSE_UNKNOWN || size == now->size) &&
         (mtime_ns == COPSE_UNKNOWN_TIME || mtime_ns == now->mtime_ns);
}

int32_t sync_allows_path(struct plan *plan, uint8_t kind, span path, span from,
                         const struct entry *left, const struct entry *right, struct fault *fault) {
  if (!plan) return 1;
  struct planned *step = find(plan, kind, path);
  if (!step) return 0;
  atomic_store_explicit(&step->is_met, true, memory_order_relaxed);
  bool is_same = is_still(step->left_type, step->left_size, step->left_mtime_ns, left) &&
                 is_still(step->right_type, step->right_size, step->right_mtime_ns, right) &&
                 (!from.at || span_equal(step->from, from));
  if (is_same) return 1;
  return fault_set(fault, COPSE_E_CHANGED,
                   "it changed since the plan was made and is left; make a new plan");
}

int32_t sync_allows(struct spot *spot, uint8_t kind, span name, const struct entry *left,
                    const struct entry *right, struct fault *fault) {
  struct plan *plan = sync_of(spot->run)->plan;
  if (!plan) return 1;
  return sync_allows_path(plan, kind, sync_path(spot, name), (span){}, left, right, fault);
}

void sync_plan_end(struct run *run) {
  struct plan *plan = sync_of(run)->plan;
  for (size_t i = 0; plan && i < plan->count; i++) {
    if (atomic_load_explicit(&plan->at[i].is_met, memory_order_relaxed)) continue;
    struct fault fault = {};
    fault_set(&fault, COPSE_E_CHANGED,
              "there is nothing to do here any more as the plan has it; make a new plan");
    task_emit_error(run->task, &fault, (span){}, plan->at[i].path, run->store[RIGHT].shown);
  }
}
