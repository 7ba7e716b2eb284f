// look: what is at each of several paths below a place: a row each, in their order, of type NONE
// where there is nothing. Questions that come together cost one task, and what their paths have in
// common is opened once.
//
// One job answers them, because most answers take a microsecond. When they take longer, whoever is
// idle gets half of those that are left. So the rows wait until all are there.
#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/runtime.h"
#include "verb/run.h"

constexpr uint64_t SHARE_NS = 500'000;
constexpr size_t PATHS_MAX = 65536;

struct answer {
  span path;
  copse_row row;
  span detail;          // from malloc
  struct fault *fault;  // from malloc; nullptr: none
};

struct look {
  struct answer *all;
  size_t count;
};

struct part {
  struct job job;
  struct run *run;
  size_t at, end;
};

// False: out of memory.
static bool keep_target(struct answer *answer, span target) {
  struct record_writer writer = {.capacity = target.size + 16};
  writer.at = malloc(writer.capacity);
  if (!writer.at) return false;
  record_put_text(&writer, COPSE_DETAIL_LEFT_TARGET, target);
  answer->detail = (span){writer.at, writer.size};
  return true;
}

static bool keep_fault(struct answer *answer, const struct fault *fault) {
  answer->fault = malloc(sizeof *fault);
  if (answer->fault) *answer->fault = *fault;
  return answer->fault;
}

static int32_t find(struct store *store, span path, struct arena *arena, struct entry *entry,
                    struct fault *fault) {
  const struct store_ops *ops = store->ops;
  struct directory *directory = nullptr;
  int32_t code = path_safe(path, fault);
  if (code < 0) return code;
  code = path.size ? ops->find(store, path, arena, entry, &directory, fault)
                   : ops->root(store, arena, entry, &directory, fault);
  if (code < 0) return code;
  if (entry->type == ENTRY_LINK && !(entry->has & HAS_TARGET))
    code = ops->target(directory, entry, arena, fault);
  ops->leave(directory);
  return code;
}

static void look_at(struct run *run, struct answer *answer, struct arena *arena) {
  struct fault fault = {};
  struct entry entry = {};
  int32_t code = find(&run->store[LEFT], answer->path, arena, &entry, &fault);
  bool kept = true;
  if (code == COPSE_E_NOT_FOUND)
    entry = (struct entry){.mtime_ns = INT64_MIN};
  else if (code < 0)
    kept = keep_fault(answer, &fault);
  else if (entry.has & HAS_TARGET)
    kept = keep_target(answer, entry.target);
  answer->row = run_row_of(COPSE_ROW_ENTRY, &entry);
  if (!kept) run_out_of_memory(run);
}

static void part_run(struct job *job, struct worker *worker);

static struct part *part_new(struct run *run, size_t at, size_t end) {
  struct part *part = malloc(sizeof *part);
  if (part) *part = (struct part){.job.run = part_run, .run = run, .at = at, .end = end};
  return part;
}

static void share(struct part *part) {
  struct run *run = part->run;
  size_t half = (part->end - part->at) / 2;
  if (half == 0 || !run_is_idle(run, JOB_LEAF)) return;
  struct part *other = part_new(run, part->end - half, part->end);
  if (!other) return;
  part->end -= half;
  run_add(run, JOB_LEAF, &other->job);
}

static void part_run(struct job *job, struct worker *) {
  struct part *part = (struct part *)job;
  struct run *run = part->run;
  struct answer *all = ((struct look *)run->state)->all;
  struct arena arena;
  arena_begin(&arena);
  uint64_t share_at = clock_now() + SHARE_NS, files = 0;
  while (part->at < part->end && !run_over(run)) {
    struct answer *answer = &all[part->at++];
    look_at(run, answer, &arena);
    files += answer->row.type == ENTRY_FILE;
    if (clock_now() < share_at) continue;
    share(part);
    share_at = clock_now() + SHARE_NS;
  }
  task_count(run->task, files, 0);
  arena_free(&arena);
  free(part);
}

static int32_t begin(struct run *run, struct fault *fault) {
  struct look *look = run->state;
  span rest = record_text((span){run->task->request, run->task->request_len}, COPSE_KEY_PATHS);
  if (!rest.at) return fault_set(fault, COPSE_E_ARGUMENT, "no paths are given");
  size_t count = 1;
  for (size_t i = 0; i < rest.size; i++) count += rest.at[i] == 0;
  if (count > PATHS_MAX)
    return fault_set(fault, COPSE_E_ARGUMENT, "more than %zu paths at once", PATHS_MAX);
  look->all = calloc(count, sizeof *look->all);
  if (!look->all) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  while (look->count < count) {
    const uint8_t *stop = rest.size ? memchr(rest.at, 0, rest.size) : nullptr;
    size_t size = stop ? (size_t)(stop - rest.at) : rest.size;
    look->all[look->count++].path = (span){rest.at, size};
    if (stop) rest = (span){stop + 1, rest.size - size - 1};
  }
  run->store[LEFT].lingers = count > 1;
  return 0;
}

static int32_t once(struct run *run, struct worker *worker, struct fault *fault) {
  struct part *part = part_new(run, 0, ((struct look *)run->state)->count);
  if (!part) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  part_run(&part->job, worker);
  return 0;
}

static bool end(struct run *run, struct worker *) {
  const struct look *look = run->state;
  for (size_t i = 0; i < look->count; i++) {
    const struct answer *answer = &look->all[i];
    if (answer->fault)
      task_emit_error(run->task, answer->fault, (span){}, answer->path, run->store[LEFT].shown);
    else
      task_emit(run->task, &answer->row, (span){}, (span){}, answer->detail);
  }
  return false;
}

static void close(struct run *run) {
  struct look *look = run->state;
  for (size_t i = 0; i < look->count; i++) {
    free((void *)(uintptr_t)look->all[i].detail.at);
    free(look->all[i].fault);
  }
  free(look->all);
}

const struct verb look_verb = {.name = "look",
                               .sides = 1,
                               .state_size = sizeof(struct look),
                               .begin = begin,
                               .once = once,
                               .end = end,
                               .close = close};
