#include "store/pack_sink.h"

#include <stdlib.h>

#include "engine/runtime.h"
#include "engine/task.h"
#include "store/pack_making.h"

constexpr size_t BUFFER_BYTES = 1 << 20;
// What a job copies before others have their turn; less in all is not worth a job.
constexpr uint64_t TURN_BYTES = 2 << 20;

int32_t sink_look(struct making *making, struct fault *said) {
  const struct store_ops *ops = making->inner.ops;
  if (!(making->inner.can & CAN_IDENTITY) || !ops->above) return 0;
  int32_t code = 0;
  struct arena arena;
  arena_begin(&arena);
  struct entry entry = {};
  struct directory *above = nullptr;
  struct fault fault = {};
  if (ops->above(&making->inner, false, &arena, &entry, &above, &fault) == 0) {
    if (entry.type == ENTRY_FILE) {
      making->device = entry.device;
      making->inode = entry.inode;
    }
    // A link is replaced as it is anywhere, but not where it leads to no file: /dev/stdout.
    if (entry.type == ENTRY_LINK && ops->stat(above, &entry, true, &fault) < 0)
      entry.type = ENTRY_LINK;
    if (entry.type == ENTRY_DIRECTORY)
      code = fault_set(said, COPSE_E_EXISTS, "a directory has that name; remove it first");
    if (entry.type == ENTRY_OTHER)
      code = fault_set(said, COPSE_E_UNSUPPORTED,
                       "a pipe, socket or device has that name; name a file, or - for standard "
                       "output");
    ops->leave(above);
  }
  arena_free(&arena);
  return code;
}

bool sink_begin(struct sink *sink, struct making *making, struct task *task) {
  *sink = (struct sink){.making = making, .task = task, .buffer = malloc(BUFFER_BYTES)};
  mutex_begin(&sink->lock);
  const struct spool *spool = &making->spool;
  sink->is_shared = (making->inner.can & CAN_PARALLEL) && spool->is_settled &&
                    atomic_load_explicit(&spool->end, memory_order_relaxed) >= 2 * TURN_BYTES;
  return sink->buffer;
}

void sink_end(struct sink *sink) {
  if (!sink->making) return;
  free(sink->buffer);
  free(sink->runs);
  mutex_end(&sink->lock);
  *sink = (struct sink){};
}

static int32_t flush(struct sink *sink, struct fault *fault) {
  int32_t code = 0;
  if (sink->filled)
    code = sink->making->inner.ops->write(sink->writer, sink->at - sink->filled, sink->buffer,
                                          sink->filled, fault);
  sink->filled = 0;
  return code;
}

int32_t sink_put(struct sink *sink, span bytes, struct fault *fault) {
  while (bytes.size) {
    if (sink->filled == BUFFER_BYTES) {
      int32_t code = flush(sink, fault);
      if (code < 0) return code;
    }
    size_t room = BUFFER_BYTES - sink->filled, count = bytes.size < room ? bytes.size : room;
    memcpy(sink->buffer + sink->filled, bytes.at, count);
    sink->filled += count;
    sink->at += count;
    bytes = (span){bytes.at + count, bytes.size - count};
  }
  return 0;
}

// ── What workers copy ──

struct copy_job {
  struct job job;
  struct sink *sink;
};

// The next runs, as many as a turn is long, out of a list that may move.
static size_t take(struct sink *sink, struct sink_run **runs) {
  constexpr size_t RUNS_MAX = 4096;
  size_t count = 0, size = 0;
  mutex_lock(&sink->lock);
  size_t left = sink->count - sink->next;
  while (count < left && count < RUNS_MAX && size < TURN_BYTES)
    size += sink->runs[sink->next + count++].size;
  *runs = count ? malloc(count * sizeof **runs) : nullptr;
  if (*runs) {
    memcpy(*runs, sink->runs + sink->next, count * sizeof **runs);
    sink->next += count;
    sink->noted -= size;
  } else if (count == 0) {
    sink->copying--;
  }
  mutex_unlock(&sink->lock);
  return count;
}

struct window {
  uint8_t *bytes;
  uint64_t at;  // in the pack
  size_t filled;
};

static int32_t window_write(const struct sink *sink, struct window *window, struct fault *fault) {
  int32_t code = 0;
  if (window->filled)
    code = sink->making->inner.ops->write(sink->writer, window->at, window->bytes, window->filled,
                                          fault);
  window->at += window->filled;
  window->filled = 0;
  return code;
}

static int32_t copy_run(const struct sink *sink, struct window *window, const struct sink_run *run,
                        struct fault *fault) {
  int32_t code = 0;
  if (window->at + window->filled != run->to) {
    code = window_write(sink, window, fault);
    window->at = run->to;
  }
  for (uint32_t done = 0; done < run->size && code == 0;) {
    size_t room = WORKER_SLAB - window->filled, count = run->size - done;
    if (count > room) count = room;
    code = spool_read(&sink->making->spool, run->from + done, window->bytes + window->filled, count,
                      fault);
    window->filled += count;
    done += (uint32_t)count;
    if (code == 0 && window->filled == WORKER_SLAB) code = window_write(sink, window, fault);
  }
  return code;
}

static void copy_work(struct job *base, struct worker *worker) {
  struct copy_job *job = (struct copy_job *)base;
  struct sink *sink = job->sink;
  struct sink_run *runs;
  size_t count = take(sink, &runs);
  if (count == 0) {
    free(job);
    return;
  }
  struct fault fault = {};
  int32_t code = runs && worker_slabs(worker) ? 0 : no_memory(&fault);
  struct window window = {.bytes = worker->slab[0]};
  for (size_t i = 0; i < count && code == 0 && !task_cancelled(sink->task); i++)
    code = copy_run(sink, &window, &runs[i], &fault);
  if (code == 0) code = window_write(sink, &window, &fault);
  free(runs);
  if (code == 0 && !task_cancelled(sink->task)) {
    group_run(&sink->task->group, JOB_LEAF, &job->job);
    return;
  }
  if (code < 0) making_fail(sink->making, &fault);
  mutex_lock(&sink->lock);
  sink->next = sink->count;
  sink->copying--;
  mutex_unlock(&sink->lock);
  free(job);
}

// One more job when there is work for it and a worker more than those that have one.
static void add_job(struct sink *sink, uint32_t most) {
  mutex_lock(&sink->lock);
  bool is_wanted = sink->copying < most && sink->next < sink->count;
  sink->copying += is_wanted;
  mutex_unlock(&sink->lock);
  struct copy_job *job = is_wanted ? malloc(sizeof *job) : nullptr;
  if (!is_wanted) return;
  if (!job) {
    struct fault fault = {};
    no_memory(&fault);
    making_fail(sink->making, &fault);
    return;
  }
  *job = (struct copy_job){.job.run = copy_work, .sink = sink};
  sink->was_shared = true;
  group_run(&sink->task->group, JOB_LEAF, &job->job);
}

static int32_t note(struct sink *sink, uint64_t from, uint64_t size, struct fault *fault) {
  int32_t code = flush(sink, fault);
  mutex_lock(&sink->lock);
  while (size > 0 && code == 0) {
    struct sink_run *last = sink->count > sink->next ? &sink->runs[sink->count - 1] : nullptr;
    bool is_next = last && last->from + last->size == from && last->to + last->size == sink->at &&
                   last->size < TURN_BYTES;
    if (!is_next && sink->count == sink->capacity) {
      size_t capacity = sink->capacity ? sink->capacity * 2 : 256;
      struct sink_run *runs = realloc(sink->runs, capacity * sizeof *runs);
      if (!runs) {
        code = no_memory(fault);
        break;
      }
      sink->runs = runs;
      sink->capacity = capacity;
    }
    if (!is_next) {
      last = &sink->runs[sink->count++];
      *last = (struct sink_run){.from = from, .to = sink->at};
    }
    uint64_t count = TURN_BYTES - last->size < size ? TURN_BYTES - last->size : size;
    last->size += (uint32_t)count;
    sink->noted += count;
    sink->at += count;
    from += count;
    size -= count;
  }
  bool is_enough = sink->noted >= 2 * TURN_BYTES && sink->copying == 0;
  mutex_unlock(&sink->lock);
  if (code == 0 && is_enough) add_job(sink, 1);
  return code;
}

int32_t sink_put_spooled(struct sink *sink, uint64_t from, uint64_t size, struct fault *fault) {
  if (task_cancelled(sink->task))
    return fault_set(fault, COPSE_E_CANCELLED, "cancelled while packing");
  if (sink->is_shared) return note(sink, from, size, fault);
  for (uint64_t done = 0; done < size;) {
    if (sink->filled == BUFFER_BYTES) {
      int32_t code = flush(sink, fault);
      if (code < 0) return code;
    }
    size_t room = BUFFER_BYTES - sink->filled;
    size_t count = size - done < room ? (size_t)(size - done) : room;
    int32_t code =
        spool_read(&sink->making->spool, from + done, sink->buffer + sink->filled, count, fault);
    if (code < 0) return code;
    sink->filled += count;
    sink->at += count;
    done += count;
  }
  return 0;
}

int32_t sink_flush(struct sink *sink, struct fault *fault) {
  int32_t code = flush(sink, fault);
  // One reads while the other one writes; more would wait for each other, for it is one file.
  uint32_t most = sink->task->runtime->cpu_workers > 1 ? 2 : 1;
  for (uint32_t i = 0; i < most && code == 0 && sink->is_shared; i++) add_job(sink, most);
  return code;
}
