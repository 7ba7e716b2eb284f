#include "verb/pump.h"

#include <stdlib.h>

#include "base/record.h"
#include "engine/runtime.h"
#include "verb/pump_crew.h"
#include "verb/pump_any.h"
#include "verb/pump_delta.h"
#include "verb/pump_parts.h"

// Between looks at the cancel flag.
constexpr uint64_t PULL_BYTES = 64 << 20;

// What was read is what was listed: the same file, not written to since.
static bool is_still(const struct entry *before, const struct entry *after) {
  if (before->mtime_ns != INT64_MIN && after->mtime_ns != INT64_MIN &&
      before->mtime_ns != after->mtime_ns)
    return false;
  bool are_known = (before->inode || before->device) && (after->inode || after->device);
  if (are_known && (before->inode != after->inode || before->device != after->device)) return false;
  return before->size == after->size || !(before->has & after->has & HAS_SIZE);
}

struct flow {
  struct spot *spot;
  struct reader *reader;
  struct writer *writer;
  struct hash *hash;
  bool pulls;  // the destination may copy without us
  struct pump *pump;
  struct resume resume;
  bool in_parts;              // the writer keeps what it has
  uint64_t resumed, counted;  // as pump_parts says
};

// [at, end) as far as the content goes; *at is how far it went.
static int32_t flow_range(struct flow *flow, uint64_t *at, uint64_t end, struct fault *fault) {
  struct spot *spot = flow->spot;
  const struct store_ops *from = flow->reader->store->ops, *to = flow->writer->store->ops;
  while (*at < end) {
    if (run_over(spot->run)) return pump_cancelled(fault);
    uint64_t left = end - *at;
    if (flow->pulls) {
      spot->side = RIGHT;
      int64_t pulled =
          to->pull(flow->writer, flow->reader, *at, left < PULL_BYTES ? left : PULL_BYTES, fault);
      if (pulled < 0) return (int32_t)pulled;
      flow->pulls = pulled > 0;
      *at += (uint64_t)pulled;
      if (flow->reader->flows) pump_count(spot, &flow->counted, (uint64_t)pulled);
      continue;
    }
    uint8_t *slab = spot->worker->slab[0];
    spot->side = LEFT;
    int64_t got =
        from->read(flow->reader, *at, slab, left < WORKER_SLAB ? (size_t)left : WORKER_SLAB, fault);
    if (got < 0) return (int32_t)got;
    spot->side = RIGHT;
    if (flow->hash) hash_add(flow->hash, slab, (size_t)got);
    int32_t code = got ? to->write(flow->writer, *at, slab, (size_t)got, fault) : 0;
    if (code < 0) return code;
    *at += (uint64_t)got;
    // What comes from afar takes a while, and somebody may watch.
    if (flow->reader->fd < 0 || flow->reader->flows)
      pump_count(spot, &flow->counted, (uint64_t)got);
    // A read that comes short of a size that is known is not believed: the next one says why.
    if (got == 0 || (flow->reader->at_end && end == UINT64_MAX)) return 0;
  }
  return 0;
}

// Both are files of this machine, and nothing better is there.
static bool has_old(const struct flow *flow, const struct entry *source, bool holes) {
  const struct store_ops *from = flow->reader->store->ops, *to = flow->writer->store->ops;
  const struct resume *resume = &flow->resume;
  return flow->pump->old && flow->pulls && !holes && from->scheme == to->scheme && to->reuse &&
         source->size >= DELTA_LEAST && resume->kept_count == 0 && resume->claimed_count == 0;
}

static int32_t flow_all(struct flow *flow, const struct entry *source, bool holes, uint64_t *size,
                        struct fault *fault) {
  const struct store_ops *from = flow->reader->store->ops, *to = flow->writer->store->ops;
  bool knows_size = source->has & HAS_SIZE;
  if (flow->pulls && knows_size) {
    flow->spot->side = RIGHT;
    int64_t shared = to->pull(flow->writer, flow->reader, 0, UINT64_MAX, fault);
    if (shared < 0) return (int32_t)shared;
    *size = source->size;
    if (shared > 0) return 0;
    if (has_old(flow, source, holes)) {
      uint64_t at;
      int32_t code = pump_delta(flow->spot, flow->pump, flow->reader, flow->writer, source->size,
                                &at, &flow->pump->saved, &flow->counted, fault);
      if (code < 0 || at == source->size) return code;
      if (at > 0) return flow_range(flow, &at, source->size, fault);
    }
  }
  *size = source->size;
  if (flow->in_parts)
    return pump_parts(flow->spot, flow->pump, flow->reader, flow->writer, &flow->resume,
                      source->size, flow->pulls, &flow->resumed, &flow->counted, fault);
  // What is decoded in pieces was proved by its store: nothing is kept of it.
  bool may_decode = knows_size && !flow->hash && flow->pump->from && from->piece &&
                    (flow->writer->store->can & CAN_PARALLEL);
  if (may_decode && !holes && crew_may_decode(flow->reader, source->size))
    return pump_parts(flow->spot, flow->pump, flow->reader, flow->writer, nullptr, source->size,
                      false, &flow->resumed, &flow->counted, fault);
  *size = 0;
  if (from->scatter && knows_size && !flow->hash && (flow->writer->store->can & CAN_PARALLEL)) {
    flow->spot->side = LEFT;
    int32_t code = from->scatter(flow->reader, flow->resume.kept, flow->resume.kept_count, fault);
    if (code < 0) return code;
    if (code == 1) {
      *size = source->size;
      return pump_any(flow->spot, flow->reader, flow->writer, &flow->counted, fault);
    }
  }
  if (!holes || !from->next_data)
    return flow_range(flow, size, knows_size ? source->size : UINT64_MAX, fault);
  for (uint64_t at = 0; at < source->size;) {
    uint64_t begin, end;
    flow->spot->side = LEFT;
    int32_t code = from->next_data(flow->reader, at, &begin, &end, fault);
    if (code < 0) return code;
    if (code == 0) break;
    if (end > source->size) end = source->size;
    flow->reader->at_end = false;
    for (at = begin; at < end;) {
      uint64_t before = at;
      code = flow_range(flow, &at, end, fault);
      if (code < 0) return code;
      if (at == before) return pump_changed(fault);  // it became shorter
    }
  }
  *size = source->size;
  return 0;
}

// What an earlier run brought of the same content is used, where there can be such a thing.
static int32_t open_writer(struct flow *flow, struct pump *pump, const struct entry *source,
                           bool holes, struct fault *fault) {
  const struct store_ops *from = flow->reader->store->ops, *to = pump->to->store->ops;
  const struct task *task = flow->spot->run->task;
  bool is_known = source->inode || source->device || source->mtime_ns != INT64_MIN;
  flow->spot->side = RIGHT;
  bool in_parts = !from->scatter && flow->reader->access == READ_ANYWHERE && !holes && to->reread &&
                  source->size >= PARTS_LEAST;
  if (!(from->scatter || in_parts) || !to->resume || pump->hash || !(source->has & HAS_SIZE) ||
      source->size < SPLIT_SMALL || !is_known ||
      !record_number((span){task->request, task->request_len}, COPSE_KEY_RESUME, 1))
    return to->writer(pump->to, &pump->wanted, &flow->writer, fault);
  const uint64_t identity[] = {source->device, source->inode, (uint64_t)source->mtime_ns};
  flow->resume.identity = (span){(const uint8_t *)identity, sizeof identity};
  int32_t code =
      to->resume(pump->to, &pump->wanted, source->size, &flow->resume, &flow->writer, fault);
  flow->resume.identity = (span){};
  flow->in_parts = code == 0 && in_parts;
  if (in_parts) return code;
  for (size_t i = 0; i < flow->resume.kept_count; i++)
    pump->resumed += flow->resume.kept[i].to - flow->resume.kept[i].from;
  pump_count(flow->spot, &flow->counted, pump->resumed);
  return code;
}

// What is to be replaced is what was decided about.
static int32_t check_replaced(struct spot *spot, const struct pump *pump, struct fault *fault) {
  const struct store_ops *ops = pump->to->store->ops;
  struct entry now = {.name = pump->wanted.entry->name};
  spot->side = RIGHT;
  int32_t code = ops->stat(pump->to, &now, false, fault);
  if (code < 0 && code != COPSE_E_NOT_FOUND) return code;
  if (code == 0 && now.type == pump->replaced->type && is_still(pump->replaced, &now)) return 0;
  *fault = (struct fault){};
  return fault_set(fault, COPSE_E_CHANGED,
                   "what it was to replace changed meanwhile and is left; run again");
}

int32_t pump_reader(struct spot *spot, struct pump *pump, struct reader *reader,
                    struct fault *fault) {
  const struct store_ops *from = reader->store->ops, *to = pump->to->store->ops;
  const struct entry *source = pump->source;
  if (!worker_slabs(spot->worker)) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  struct entry before = {}, after = {};
  struct flow flow = {.spot = spot, .reader = reader, .pump = pump};
  bool holes = false;
  int32_t code = 0;
  bool is_large = !(source->has & HAS_SIZE) || source->size > WORKER_SLAB;
  if (is_large) {
    code = from->measure(reader, &before, &holes, fault);
    if (code == 0 && !is_still(source, &before)) code = pump_changed(fault);
  }
  if (code == 0) {
    code = open_writer(&flow, pump, is_large ? &before : source, holes, fault);
  }
  flow.hash = pump->hash;
  holes &= !pump->hash;
  flow.pulls = is_large && to->pull && reader->fd >= 0 && !pump->hash;
  uint64_t size = 0;
  if (code == 0) code = flow_all(&flow, is_large ? &before : source, holes, &size, fault);
  if (code == 0) {
    spot->side = LEFT;
    code = from->measure(reader, &after, nullptr, fault);
    bool is_whole = !(after.has & HAS_SIZE) || after.size == size;
    if (code == 0 && (!is_whole || !is_still(source, &after))) code = pump_changed(fault);
  }
  if (code == 0 && pump->replaced) code = check_replaced(spot, pump, fault);
  free(flow.resume.kept);
  free(flow.resume.claimed);
  pump->resumed += flow.resumed;
  // What cannot be brought to its end is in nobody's way, nor is what the source had before.
  bool is_lost = code < 0 && code != COPSE_E_CANCELLED && !fault_retryable(code);
  bool is_old = code == COPSE_E_CHANGED && spot->side == LEFT;
  if (flow.writer && ((is_lost && flow.in_parts) || is_old) && to->forget) to->forget(flow.writer);
  if (flow.writer && code < 0) to->abandon(flow.writer);
  if (code < 0) return code;
  spot->side = RIGHT;
  struct entry out = {};
  code = to->commit(flow.writer, size, &out, fault);
  if (code < 0) return code;
  pump->bytes = size;
  spot->bytes += size > flow.counted ? size - flow.counted : 0;
  atomic_fetch_add_explicit(&spot->run->task->runtime->bytes_written, size, memory_order_relaxed);
  return 0;
}

int32_t pump_file(struct spot *spot, struct pump *pump, struct fault *fault) {
  const struct store_ops *from = pump->from->store->ops;
  struct reader reader = {};
  spot->side = LEFT;
  int32_t code = from->reader(pump->from, pump->source, &reader, fault);
  if (code < 0) return code;
  code = pump_reader(spot, pump, &reader, fault);
  from->read_end(&reader);
  return code;
}

// Two files of which a piece was read that is all zeros may have more of them that need not be
// read: what is a hole in both. Ordinary files never get here, so that nobody asks about theirs.
struct holes {
  bool are_known, are_there;
  uint64_t size;  // of both
};

static int32_t skip_holes(struct spot *spot, struct holes *holes, struct reader readers[2],
                          uint64_t *at, struct fault *fault) {
  if (!holes->are_known) {
    struct entry now[2] = {};
    holes->are_known = holes->are_there = true;
    for (uint8_t side = 0; side < 2; side++) {
      const struct store_ops *ops = readers[side].store->ops;
      bool has_some = false;
      spot->side = side;
      int32_t code = ops->measure(&readers[side], &now[side], &has_some, fault);
      if (code < 0) return code;
      holes->are_there &= has_some && ops->next_data && (now[side].has & HAS_SIZE);
    }
    holes->are_there &= now[LEFT].size == now[RIGHT].size;
    holes->size = now[LEFT].size;
  }
  uint64_t next = holes->size;
  if (!holes->are_there || next <= *at) return 0;
  for (uint8_t side = 0; side < 2; side++) {
    uint64_t begin = 0, end = 0;
    spot->side = side;
    int32_t code = readers[side].store->ops->next_data(&readers[side], *at, &begin, &end, fault);
    if (code < 0) return code;
    if (code == 1 && begin < next) next = begin;
  }
  if (next > *at) *at = next;
  return 0;
}

int32_t pump_compare(struct spot *spot, const struct entry *left, const struct entry *right,
                     bool *is_same, struct fault *fault) {
  if (!worker_slabs(spot->worker)) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  const struct entry *entries[2] = {left, right};
  struct reader readers[2] = {};
  int32_t code = 0;
  uint8_t opened = 0;
  *is_same = true;
  for (; opened < 2 && code == 0; opened += code == 0) {
    struct directory *directory = spot->node->directory[opened];
    spot->side = opened;
    code = directory->store->ops->reader(directory, entries[opened], &readers[opened], fault);
  }
  uint64_t at = 0;
  struct holes holes = {};
  while (code == 0) {
    if (run_over(spot->run)) {
      code = pump_cancelled(fault);
      break;
    }
    int64_t got[2];
    for (uint8_t side = 0; side < 2 && code == 0; side++) {
      spot->side = side;
      got[side] = run_read_full(&readers[side], at, spot->worker->slab[side], WORKER_SLAB,
                                entries[side]->size, fault);
      if (got[side] < 0) code = (int32_t)got[side];
    }
    if (code < 0) break;
    *is_same = got[0] == got[1] &&
               memcmp(spot->worker->slab[0], spot->worker->slab[1], (size_t)got[0]) == 0;
    at += (uint64_t)got[0];
    if (!*is_same || got[0] < (int64_t)WORKER_SLAB) break;
    const uint8_t *slab = spot->worker->slab[0];
    if (slab[0] == 0 && memcmp(slab, slab + 1, WORKER_SLAB - 1) == 0)
      code = skip_holes(spot, &holes, readers, &at, fault);
  }
  // Both may have been cut short at one place; what was not read is not known to be the same.
  if (code == 0 && *is_same && (left->has & HAS_SIZE) && at != left->size)
    code = pump_changed(fault);
  for (uint8_t side = 0; side < opened; side++) {
    const struct store_ops *ops = readers[side].store->ops;
    struct entry after = {};
    if (code == 0) {
      spot->side = side;
      code = ops->measure(&readers[side], &after, nullptr, fault);
      if (code == 0 && !is_still(entries[side], &after)) code = pump_changed(fault);
    }
    ops->read_end(&readers[side]);
  }
  return code;
}
