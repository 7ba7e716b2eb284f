// compare_content: reads both sides of a pair and says whether they are the same bytes.
//
// Small files, the usual case, cost three calls a side: open, read, close. Only when a read fills
// its buffer, or when both sides are empty, is anything more asked. Large ones are cut into blocks
// for the CPU workers; the lowest block that differs wins, so the offset is the first difference
// whatever the threads do.
//
// Read sizes and thresholds were measured (docs/architecture.md, "Reading"): 256 KiB for the first
// read, 128 KiB after it (two buffers stay in the second-level cache), blocks of 8 MiB from 16 MiB
// up.
#include <stdlib.h>

#include "engine/runtime.h"
#include "engine/thread.h"
#include "verb/compare.h"

constexpr size_t READ_BYTES = 128 * 1024;
constexpr uint64_t BLOCK_BYTES = 8 << 20;
constexpr uint64_t LARGE_BYTES = 16 << 20;
constexpr uint64_t SAMPLED_BYTES = 1 << 20;  // sampling pays from here
// File times are kept to two seconds on the coarsest file systems.
constexpr int64_t TIME_GRAIN_NS = 2'000'000'000;
constexpr size_t SAMPLE_BYTES = 16 * 1024;

size_t first_difference(const uint8_t *left, const uint8_t *right, size_t size) {
  size_t at = 0;
  for (; at + 8 <= size; at += 8) {
    uint64_t a, b;
    memcpy(&a, left + at, 8);
    memcpy(&b, right + at, 8);
    if (a != b) return at + (size_t)__builtin_ctzll(a ^ b) / 8;
  }
  while (at < size && left[at] == right[at]) at++;
  return at;
}

static bool is_zero(const uint8_t *bytes, size_t size) {
  return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static void both_close(struct both *both) {
  for (uint8_t side = 0; side < 2; side++) {
    if (both->open[side]) both->reader[side].store->ops->read_end(&both->reader[side]);
    both->open[side] = false;
  }
}

static int32_t measure(struct both *both, struct entry out[2], struct fault *fault) {
  for (uint8_t side = 0; side < 2; side++) {
    bool holes = false;
    both->side = side;
    int32_t code =
        both->reader[side].store->ops->measure(&both->reader[side], &out[side], &holes, fault);
    if (code < 0) return code;
    both->holes |= holes;
  }
  return 0;
}

int32_t both_measure(struct both *both, const struct pair *pair, struct fault *fault) {
  int32_t code = measure(both, both->before, fault);
  if (code < 0) return code;
  for (uint8_t side = 0; side < 2; side++) {
    struct entry *entry = side == LEFT ? pair->left : pair->right, measured = both->before[side];
    measured.name = entry->name;
    measured.has |= entry->has & HAS_FOLLOWED;
    *entry = measured;
  }
  return 0;
}

int32_t both_unchanged(struct both *both, const struct node *node, const struct pair *pair,
                       struct fault *fault) {
  struct entry after[2] = {both->before[LEFT], both->before[RIGHT]};
  int32_t code = measure(both, after, fault);
  for (uint8_t side = 0; side < 2 && code == 0; side++) {
    both->side = side;
    if (after[side].size != both->before[side].size ||
        after[side].mtime_ns != both->before[side].mtime_ns)
      code = fault_set(fault, COPSE_E_CHANGED,
                       "the file changed while it was read; run again when nobody writes to it");
    else
      code = run_still_there(node->directory[side], &after[side],
                             side == LEFT ? pair->left : pair->right, fault);
  }
  return code;
}

struct ranges {  // one side's next data range, remembered between questions
  uint64_t begin, end;
};

static int32_t data_at(struct both *both, uint8_t side, uint64_t at, struct ranges *known,
                       struct fault *fault) {
  if (at < known->end) return 0;
  struct reader *reader = &both->reader[side];
  both->side = side;
  *known = (struct ranges){at, UINT64_MAX};
  if (!both->holes || !reader->store->ops->next_data) return 0;
  int32_t code = reader->store->ops->next_data(reader, at, &known->begin, &known->end, fault);
  if (code < 0) return code;
  if (code == 0) *known = (struct ranges){UINT64_MAX, UINT64_MAX};
  return 0;
}

// Compares [from, to); to UINT64_MAX: to the end of both. Returns 1 and *offset at the first
// difference, 0 when there is none. Holes against holes are skipped; a hole against data is equal
// when the data is zero.
static int32_t compare_range(struct both *both, struct worker *worker, uint64_t from, uint64_t to,
                             uint64_t *offset, uint64_t *bytes, struct fault *fault) {
  struct ranges data[2] = {};
  uint64_t at = from;
  while (at < to) {
    if (run_over(both->run)) return fault_set(fault, COPSE_E_CANCELLED, "cancelled");
    int32_t code = data_at(both, LEFT, at, &data[LEFT], fault);
    if (code == 0) code = data_at(both, RIGHT, at, &data[RIGHT], fault);
    if (code < 0) return code;
    uint64_t next = data[LEFT].begin < data[RIGHT].begin ? data[LEFT].begin : data[RIGHT].begin;
    if (next > at) {
      at = next;
      continue;
    }
    uint64_t size = both->chunk < to - at ? both->chunk : to - at;
    bool hole[2];
    for (uint8_t side = 0; side < 2; side++) {
      hole[side] = data[side].begin > at;
      uint64_t edge = hole[side] ? data[side].begin : data[side].end;
      if (edge - at < size) size = edge - at;
    }
    int64_t got[2] = {(int64_t)size, (int64_t)size};
    for (uint8_t side = 0; side < 2; side++) {
      if (hole[side]) continue;
      both->side = side;
      both->reader[side].at_end = false;
      uint64_t expected = to == UINT64_MAX ? both->before[side].size : to;
      got[side] =
          run_read_full(&both->reader[side], at, worker->slab[side], (size_t)size, expected, fault);
      if (got[side] < 0) return (int32_t)got[side];
    }
    size_t shorter = (size_t)(got[LEFT] < got[RIGHT] ? got[LEFT] : got[RIGHT]);
    bool equal = hole[LEFT]    ? is_zero(worker->slab[RIGHT], shorter)
                 : hole[RIGHT] ? is_zero(worker->slab[LEFT], shorter)
                               : memcmp(worker->slab[LEFT], worker->slab[RIGHT], shorter) == 0;
    *bytes += shorter;
    if (!equal || got[LEFT] != got[RIGHT]) {
      // The bytes of a hole were not read: they are zero.
      for (uint8_t side = 0; side < 2; side++)
        if (hole[side]) memset(worker->slab[side], 0, shorter);
      *offset = at + (equal ? shorter
                            : first_difference(worker->slab[LEFT], worker->slab[RIGHT], shorter));
      return 1;
    }
    if (got[LEFT] < (int64_t)size) {  // both ended here, before `to`
      if (to == UINT64_MAX) return 0;
      *offset = at + shorter;
      both->side = LEFT;
      return fault_set(fault, COPSE_E_CHANGED,
                       "the file became shorter while it was read; run again");
    }
    at += size;
  }
  return 0;
}

// A few places of a large pair, for a caller who only asks whether they differ. 1: they do.
static int32_t sample(struct both *both, struct worker *worker, uint64_t size, uint64_t *bytes,
                      struct fault *fault) {
  const uint64_t places[] = {size - SAMPLE_BYTES, size / 4, size / 2, size / 4 * 3};
  size_t chunk = both->chunk;
  both->chunk = chunk < SAMPLE_BYTES ? chunk : SAMPLE_BYTES;
  int32_t code = 0;
  uint64_t offset;
  for (size_t i = 0; i < sizeof places / sizeof *places && code == 0; i++)
    code = compare_range(both, worker, places[i], places[i] + SAMPLE_BYTES, &offset, bytes, fault);
  both->chunk = chunk;
  return code;
}

// ── Large pairs: blocks for the CPU workers ──

struct large {
  struct both both;
  struct node *node;
  struct pair pair;
  struct entry entry[2];
  uint64_t from, size;
  bool decodes[2];          // what each job has a reader of its own for
  _Atomic uint32_t jobs;    // that have not ended
  _Atomic uint64_t next;    // where the next block begins; the first one may begin later
  _Atomic uint64_t lowest;  // first difference found so far, UINT64_MAX: none
  _Atomic bool failed;      // one writer: who sets it
  struct fault fault;
  uint8_t side;
};

struct block_job {
  struct job job;
  struct large *large;
  struct reader reader[2];
  bool open[2];
  uint64_t room;  // in the runtime's account, for what it decodes
};

// Whether blocks of it may be read by several workers, and what one that decodes takes for it.
static bool has_blocks(const struct reader *reader, uint64_t *held) {
  const struct store_ops *ops = reader->store->ops;
  if (reader->access == READ_ANYWHERE) return true;
  uint64_t room = 0, end = ops->piece ? ops->piece(reader, 0, &room) : 0;
  *held += room;
  return end > 0 && end <= BLOCK_BYTES;
}

// What the job reads with: what others have too, or its own, of the same file.
static int32_t own_readers(struct block_job *block, struct both *both, struct fault *fault) {
  struct node *node = block->large->node;
  for (uint8_t side = 0; side < 2; side++) {
    if (!block->large->decodes[side]) continue;
    if (!block->open[side]) {
      const struct store_ops *ops = both->reader[side].store->ops;
      const struct entry *before = &both->before[side];
      struct entry now = *before;
      int32_t code = node_use(node, &both->side, fault);
      if (code < 0) return code;
      both->side = side;
      code = ops->reader(node->directory[side], &block->large->entry[side], &block->reader[side],
                         fault);
      node_let_go(node);
      if (code < 0) return code;
      block->open[side] = true;
      code = ops->measure(&block->reader[side], &now, nullptr, fault);
      if (code == 0 && !entry_is_still(before, &now))
        code = fault_set(fault, COPSE_E_CHANGED, "the file changed while it was read; run again");
      if (code < 0) return code;
    }
    both->reader[side] = block->reader[side];
  }
  return 0;
}

static void block_free(struct block_job *block) {
  for (uint8_t side = 0; side < 2; side++)
    if (block->open[side]) block->reader[side].store->ops->read_end(&block->reader[side]);
  buffer_release(&block->large->both.run->task->runtime->buffers, (size_t)block->room);
  free(block);
}

static void large_finish(struct large *large, struct worker *worker) {
  struct run *run = large->both.run;
  struct arena arena;
  arena_begin(&arena);
  struct spot spot = {.run = run, .node = large->node, .worker = worker, .arena = &arena};
  struct fault fault = {};
  struct content content = {.offset = atomic_load(&large->lowest)};
  content.equal = content.offset == UINT64_MAX;
  content.reason = COPSE_REASON_CONTENT;
  int32_t code = 0;
  if (run_over(run)) {
    code = COPSE_E_CANCELLED;
  } else if (atomic_load(&large->failed)) {
    fault = large->fault;
    spot.side = large->side;
    code = fault.code;
  } else {
    // The files are looked at by name once more, and the row may ask for attributes: the
    // directories must be usable.
    code = node_use(large->node, &spot.side, &fault);
    if (code == 0) {
      code = both_unchanged(&large->both, large->node, &large->pair, &fault);
      spot.side = large->both.side;
      if (code == 0) code = compare_settle(&spot, &large->pair, &content, &fault);
      node_let_go(large->node);
    }
  }
  if (code < 0 && !run_over(run)) spot_error(&spot, &fault, large->entry[LEFT].name);
  arena_free(&arena);
  both_close(&large->both);
  node_drop(large->node);
  free(large);
}

static void block_run(struct job *job, struct worker *worker) {
  struct block_job *block = (struct block_job *)job;
  struct large *large = block->large;
  struct run *run = large->both.run;
  uint64_t from = atomic_fetch_add_explicit(&large->next, BLOCK_BYTES, memory_order_relaxed);
  uint64_t to = from + BLOCK_BYTES < large->size ? from + BLOCK_BYTES : large->size;
  if (from < large->from) from = large->from;
  bool more = from < large->size && from < atomic_load(&large->lowest) &&
              !atomic_load(&large->failed) && !run_over(run);
  if (more) {
    struct both both = large->both;  // the readers' state is this worker's own
    struct fault fault = {};
    uint64_t offset, bytes = 0;
    int32_t code = worker_slabs(worker) ? own_readers(block, &both, &fault)
                                        : fault_set(&fault, COPSE_E_MEMORY, "out of memory");
    if (code == 0) code = compare_range(&both, worker, from, to, &offset, &bytes, &fault);
    task_count(run->task, 0, bytes);
    if (code == 1) {
      uint64_t lowest = atomic_load(&large->lowest);
      while (offset < lowest && !atomic_compare_exchange_weak(&large->lowest, &lowest, offset)) {
      }
    } else if (code < 0 && !atomic_exchange(&large->failed, true)) {
      large->fault = fault;
      large->side = both.side;
    }
    run_add(run, JOB_COMPUTE, job);  // the next block, after others had their turn
    return;
  }
  block_free(block);
  if (atomic_fetch_sub_explicit(&large->jobs, 1, memory_order_acq_rel) == 1)
    large_finish(large, worker);
}

// Hands the open pair over to block jobs. False: out of memory, and the pair is still the caller's.
static bool large_start(struct both *both, struct spot *spot, const struct pair *pair,
                        uint64_t from, uint64_t held) {
  struct buffers *buffers = &spot->run->task->runtime->buffers;
  struct large *large = malloc(sizeof *large);
  if (!large) return false;
  *large = (struct large){.both = *both,
                          .node = spot->node,
                          .from = from,
                          .decodes = {both->reader[LEFT].access != READ_ANYWHERE,
                                      both->reader[RIGHT].access != READ_ANYWHERE},
                          .size = both->before[LEFT].size,
                          .entry = {*pair->left, *pair->right}};
  large->entry[LEFT].has &= (uint8_t)~HAS_TARGET;
  large->entry[RIGHT].has &= (uint8_t)~HAS_TARGET;
  large->pair = (struct pair){&large->entry[LEFT], &large->entry[RIGHT]};
  atomic_init(&large->next, 0);
  atomic_init(&large->lowest, UINT64_MAX);
  atomic_init(&large->failed, false);
  uint32_t wanted = spot->run->task->runtime->cpu_workers, made = 0;
  uint64_t blocks = (large->size - from + BLOCK_BYTES - 1) / BLOCK_BYTES;
  if (wanted == 0) wanted = 1;
  if (wanted > blocks) wanted = (uint32_t)blocks;
  struct block_job *first = nullptr;
  for (; made < wanted; made++) {
    // The first one decodes in any case, as one without others would.
    uint64_t room = made > 0 ? held : 0;
    if (room && !buffer_reserve(buffers, (size_t)room)) break;
    struct block_job *job = malloc(sizeof *job);
    if (!job) {
      buffer_release(buffers, (size_t)room);
      break;
    }
    *job = (struct block_job){.job.run = block_run, .large = large, .room = room};
    job->job.next = (struct job *)first;
    first = job;
  }
  if (!first) {
    free(large);
    return false;
  }
  node_hold(spot->node);
  atomic_init(&large->jobs, made);
  while (first) {
    struct job *job = &first->job;
    first = (struct block_job *)job->next;
    run_add(spot->run, JOB_COMPUTE, job);
  }
  return true;
}

// ── One pair ──

// The rest of a pair whose first `from` bytes are equal and did not end yet.
static int32_t compare_rest(struct both *both, struct spot *spot, const struct pair *pair,
                            uint64_t from, struct content *out, struct fault *fault) {
  struct compare *compare = compare_of(spot->run);
  int32_t code = both_measure(both, pair, fault);
  if (code < 0) return code;
  const struct entry *left = &both->before[LEFT], *right = &both->before[RIGHT];
  bool sure = left->has & right->has & HAS_SIZE;
  if (compare->size_check && sure && left->size != right->size) {
    out->reason = COPSE_REASON_SIZE;
    return 0;
  }
  if (run_is_same(spot->run, left, right)) {
    out->equal = true;
    return 0;
  }
  // A write between the first read and this look is in "before" and "after" alike. A file that may
  // have been written to since it was opened is read again from its first byte.
  int64_t since_ns = both->opened_ns - TIME_GRAIN_NS;
  if (left->mtime_ns >= since_ns || right->mtime_ns >= since_ns) {
    spot->bytes -= from;
    from = 0;
  }
  uint64_t size = left->size;
  bool known = sure && size == right->size && size > from;
  both->holes =
      both->holes && known;  // holes are skipped up to a common end, so there has to be one
  enum reader_access access[2] = {both->reader[LEFT].access, both->reader[RIGHT].access};
  bool is_dear = access[LEFT] == READ_ONWARD || access[RIGHT] == READ_ONWARD;
  if (known && !is_dear && compare->stop_at_first && compare->sample && size > SAMPLED_BYTES) {
    code = sample(both, spot->worker, size, &spot->bytes, fault);
    if (code < 0) return code;
    if (code == 1) {  // they differ, and nobody asked where
      out->reason = COPSE_REASON_CONTENT;
      return 0;
    }
  }
  uint64_t held = 0;
  bool is_free = has_blocks(&both->reader[LEFT], &held) && has_blocks(&both->reader[RIGHT], &held);
  if (known && is_free && size >= LARGE_BYTES && large_start(both, spot, pair, from, held)) {
    both->open[LEFT] = both->open[RIGHT] = false;
    out->later = true;
    return 0;
  }
  // A file that grows past its measured size is CHANGED, so the range may end there.
  code = compare_range(both, spot->worker, from, known ? size : UINT64_MAX, &out->offset,
                       &spot->bytes, fault);
  if (code < 0) return code;
  out->equal = code == 0;
  out->reason = COPSE_REASON_CONTENT;
  return both_unchanged(both, spot->node, pair, fault);
}

static int32_t compare_open(struct both *both, struct spot *spot, const struct pair *pair,
                            struct content *out, struct fault *fault) {
  uint8_t *slab[2] = {spot->worker->slab[LEFT], spot->worker->slab[RIGHT]};
  size_t size = compare_of(spot->run)->chunk;
  int64_t got[2];
  for (uint8_t side = 0; side < 2; side++) {
    const struct entry *entry = side == LEFT ? pair->left : pair->right;
    uint64_t expected = entry->has & HAS_SIZE ? entry->size : 0;  // where it is known anyway
    both->side = side;
    got[side] = run_read_full(&both->reader[side], 0, slab[side], size, expected, fault);
    if (got[side] < 0) return (int32_t)got[side];
  }
  size_t shorter = (size_t)(got[LEFT] < got[RIGHT] ? got[LEFT] : got[RIGHT]);
  bool ended[2] = {both->reader[LEFT].at_end, both->reader[RIGHT].at_end};
  spot->bytes += shorter;
  bool same = memcmp(slab[LEFT], slab[RIGHT], shorter) == 0;
  if (same && ended[LEFT] && ended[RIGHT] && got[LEFT] == got[RIGHT] && shorter > 0) {
    out->equal = true;
    return 0;
  }
  uint32_t ignore = texting_of(spot, pair);
  if (ignore) return compare_text(both, spot, pair, ignore, got, out, fault);
  // A store may know that it gave its last byte, or find out with the next read.
  if (same && got[LEFT] == got[RIGHT] && !(ended[LEFT] && ended[RIGHT])) {
    both->reader[LEFT].at_end = both->reader[RIGHT].at_end = false;
    return compare_rest(both, spot, pair, shorter, out, fault);
  }
  // Different, or both empty: then it is asked whether they are files at all, for a pipe that took
  // a file's place reads as empty too.
  struct entry now[2] = {*pair->left, *pair->right};
  int32_t code = measure(both, now, fault);
  if (code < 0) return code;
  *pair->left = now[LEFT];
  *pair->right = now[RIGHT];
  out->equal = same && got[LEFT] == got[RIGHT] && ended[LEFT] && ended[RIGHT];
  if (out->equal) return 0;
  bool sure = now[LEFT].has & now[RIGHT].has & HAS_SIZE;
  if (same && sure &&
      ((uint64_t)got[LEFT] < now[LEFT].size || (uint64_t)got[RIGHT] < now[RIGHT].size)) {
    both->reader[LEFT].at_end = both->reader[RIGHT].at_end = false;
    return compare_rest(both, spot, pair, shorter, out, fault);
  }
  bool sizes = compare_of(spot->run)->size_check && sure && now[LEFT].size != now[RIGHT].size;
  out->reason = sizes ? COPSE_REASON_SIZE : COPSE_REASON_CONTENT;
  out->offset = sizes  ? COPSE_UNKNOWN
                : same ? shorter
                       : first_difference(slab[LEFT], slab[RIGHT], shorter);
  return 0;
}

int32_t compare_content(struct spot *spot, const struct pair *pair, struct content *out,
                        struct fault *fault) {
  struct compare *compare = compare_of(spot->run);
  const struct entry *entries[2] = {pair->left, pair->right};
  bool sized = entries[LEFT]->has & entries[RIGHT]->has & HAS_SIZE;
  if (compare->size_check && sized && entries[LEFT]->size != entries[RIGHT]->size &&
      !texting_of(spot, pair)) {
    out->reason = COPSE_REASON_SIZE;
    return 0;
  }
  const struct store_ops *ops = spot->node->directory[LEFT]->store->ops;
  if (ops->same && ops->scheme == spot->node->directory[RIGHT]->store->ops->scheme) {
    int32_t same = ops->same(spot->node->directory[LEFT], pair->left, spot->node->directory[RIGHT],
                             pair->right, fault);
    out->equal = same == 1;
    if (same == 1 && (pair->left->has & HAS_SIZE)) spot->bytes += pair->left->size;
    if (same != 0) return same < 0 ? same : 0;
  }
  struct both both = {.run = spot->run,
                      .chunk = compare->chunk < READ_BYTES ? compare->chunk : READ_BYTES,
                      .opened_ns = clock_wall()};
  // The same file on both sides: it must still be one that can be opened.
  bool same_entry = spot->run->same_root || run_is_same(spot->run, pair->left, pair->right);
  int32_t code = 0;
  for (uint8_t side = 0; side < (same_entry ? 1 : 2); side++) {
    struct directory *directory = spot->node->directory[side];
    struct fault of_side = {};
    int32_t opened =
        directory->store->ops->reader(directory, entries[side], &both.reader[side], &of_side);
    both.open[side] = opened == 0;
    if (opened == 0) continue;
    if (code < 0) {  // both sides fail: the first one's row is written here, the second one's by
                     // the caller
      spot->side = LEFT;
      spot_error(spot, fault, pair->left->name);
    }
    code = opened;
    *fault = of_side;
    both.side = side;
  }
  if (code == 0 && same_entry)
    out->equal = true;
  else if (code == 0 && !worker_slabs(spot->worker))
    code = fault_set(fault, COPSE_E_MEMORY, "out of memory");
  else if (code == 0)
    code = compare_open(&both, spot, pair, out, fault);
  spot->side = both.side;
  both_close(&both);
  return code;
}
