#include "verb/pump_crew.h"

#include <stdlib.h>

#include "engine/runtime.h"

constexpr uint64_t PART = 4 << 20;

// Through the page cache a few move as much as many, and only what takes long is worth it. Decoding
// takes a core.
constexpr uint64_t COPIED_LEAST = 64 << 20, DECODED_LEAST = 2 * PART;
constexpr uint32_t COPIERS_MAX = 3, DECODERS_MAX = 15;

struct crew {
  mutex lock;
  condition finished;
  _Atomic uint32_t references;
  const struct errand *errand;  // all of it is there as long as somebody is busy
  struct run *run;
  struct node *node;
  struct reader *reader;
  bool decodes;
  // Guarded by the lock:
  uint64_t at, counted;
  size_t next_done;
  uint32_t busy;  // helpers at work
  bool over;      // no helper begins any more
  int32_t code;
  uint8_t side;
  uint64_t failed_at;
  struct fault fault;
};

static uint64_t piece_end(const struct reader *reader, uint64_t at, uint64_t *held) {
  const struct store_ops *ops = reader->store->ops;
  *held = 0;
  return ops->piece ? ops->piece(reader, at, held) : 0;
}

bool crew_may_decode(const struct reader *reader, uint64_t size) {
  uint64_t held;
  return size >= DECODED_LEAST && piece_end(reader, 0, &held) > 0;
}

// A helper's memory for a piece is in the runtime's account. False: there is no more.
static bool make_room(struct hand *hand, uint64_t held) {
  struct buffers *buffers = &hand->spot->run->task->runtime->buffers;
  if (held <= hand->room) return true;
  if (!buffer_reserve(buffers, (size_t)(held - hand->room))) return false;
  hand->room = held;
  return true;
}

// The next part that somebody needs; false: there is none for this one.
static bool take(struct crew *crew, struct hand *hand, bool is_helper, struct range *part) {
  const struct errand *errand = crew->errand;
  const struct range *done = errand->done;
  uint64_t held = 0;
  mutex_lock(&crew->lock);
  for (; crew->next_done < errand->done_count && done[crew->next_done].from <= crew->at;
       crew->next_done++)
    if (done[crew->next_done].to > crew->at) crew->at = done[crew->next_done].to;
  bool is_left = crew->at < errand->size && crew->code == 0;
  uint64_t end = errand->size;
  if (is_left && end - crew->at > PART) end = crew->at + PART;
  if (is_left && crew->decodes) {
    uint64_t edge = piece_end(crew->reader, end - 1, &held);
    if (edge > end) end = edge < errand->size ? edge : errand->size;
    if (is_helper) is_left = make_room(hand, held);
  }
  if (is_left) {
    if (crew->next_done < errand->done_count && done[crew->next_done].from < end)
      end = done[crew->next_done].from;
    *part = (struct range){crew->at, end};
    crew->at = end;
  }
  mutex_unlock(&crew->lock);
  return is_left;
}

// Of several that fail the first one counts, which every order of events has: all that is before it
// was taken before it.
static void bring(struct crew *crew, struct hand *hand, struct range part) {
  struct fault fault = {};
  int32_t code = crew->errand->bring(crew->errand->self, hand, part, &fault);
  if (code == 0) return;
  mutex_lock(&crew->lock);
  if (crew->code == 0 || part.from < crew->failed_at) {
    crew->code = code;
    crew->side = hand->spot->side;
    crew->failed_at = part.from;
    crew->fault = fault;
  }
  mutex_unlock(&crew->lock);
}

// ── Helpers ──

struct helper {
  struct job job;
  struct crew *crew;
};

static void crew_drop(struct crew *crew) {
  if (atomic_fetch_sub_explicit(&crew->references, 1, memory_order_acq_rel) != 1) return;
  condition_end(&crew->finished);
  mutex_end(&crew->lock);
  free(crew);
}

// The name may mean another file by now.
static bool is_same(struct reader *left, struct reader *right) {
  const struct store_ops *ops = left->store->ops;
  struct fault ignored = {};
  struct entry of_left = {}, of_right = {};
  return ops->measure(left, &of_left, nullptr, &ignored) == 0 &&
         ops->measure(right, &of_right, nullptr, &ignored) == 0 &&
         entry_is_still(&of_left, &of_right);
}

// Its own reader. What goes wrong is no harm: then it does not help.
static bool open_reader(const struct crew *crew, struct reader *reader) {
  const struct errand *errand = crew->errand;
  const struct store_ops *ops = crew->reader->store->ops;
  struct fault ignored = {};
  *reader = *crew->reader;
  if (!crew->decodes) return true;
  if (ops->reader(errand->from, errand->entry, reader, &ignored) < 0) return false;
  if (is_same(crew->reader, reader)) return true;
  ops->read_end(reader);
  return false;
}

static void help(struct crew *crew, struct worker *worker, uint64_t *counted) {
  struct spot spot = {.run = crew->run, .node = crew->node, .worker = worker};
  struct reader reader;
  if (!worker_slabs(worker) || !open_reader(crew, &reader)) return;
  struct hand hand = {.spot = &spot, .reader = &reader};
  for (struct range part; take(crew, &hand, true, &part);) bring(crew, &hand, part);
  if (crew->decodes) reader.store->ops->read_end(&reader);
  if (hand.room) buffer_release(&crew->run->task->runtime->buffers, (size_t)hand.room);
  *counted = hand.counted;
}

static void helper_run(struct job *job, struct worker *worker) {
  struct helper *helper = (struct helper *)job;
  struct crew *crew = helper->crew;
  free(helper);
  mutex_lock(&crew->lock);
  bool begins = !crew->over && crew->code == 0;
  crew->busy += begins;
  mutex_unlock(&crew->lock);
  if (begins) {
    uint64_t counted = 0;
    help(crew, worker, &counted);
    mutex_lock(&crew->lock);
    crew->counted += counted;
    if (--crew->busy == 0) condition_all(&crew->finished);
    mutex_unlock(&crew->lock);
  }
  crew_drop(crew);
}

// Somebody has nothing to do. Who comes too late goes away again.
static bool ask_for_help(struct crew *crew, const struct worker *worker, uint64_t left) {
  const struct errand *errand = crew->errand;
  struct run *run = crew->run;
  enum job_place place = worker->cpu ? JOB_COMPUTE : JOB_LEAF;
  if (left < (crew->decodes ? DECODED_LEAST : COPIED_LEAST)) return false;
  if (!run_is_idle(run, place)) return false;
  struct helper *helper = malloc(sizeof *helper);
  if (!helper) return false;  // then without
  *helper = (struct helper){.job.run = helper_run, .crew = crew};
  if (errand->joins) errand->joins(errand->self);
  atomic_fetch_add_explicit(&crew->references, 1, memory_order_relaxed);
  run_add(run, place, &helper->job);
  return true;
}

// How many may join. A rate that is not to be exceeded leaves nothing to help with.
static uint32_t helpers_most(const struct crew *crew) {
  const struct reader *reader = crew->reader;
  const struct errand *errand = crew->errand;
  if (!errand->is_shared || crew->run->task->limit.per_second) return 0;
  if (crew->decodes) return DECODERS_MAX;
  bool is_copied = reader->access == READ_ANYWHERE && reader->fd >= 0 && !reader->flows;
  return is_copied ? COPIERS_MAX : 0;
}

int32_t crew_work(const struct errand *errand, struct spot *spot, struct reader *reader,
                  uint64_t *counted, struct fault *fault) {
  struct crew *crew = malloc(sizeof *crew);
  if (!crew) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *crew = (struct crew){.references = 1,
                        .errand = errand,
                        .run = spot->run,
                        .node = spot->node,
                        .reader = reader,
                        .decodes = errand->from && crew_may_decode(reader, errand->size)};
  mutex_begin(&crew->lock);
  condition_begin(&crew->finished);
  struct reader own = *reader;  // a copy of what others copy, which does not change
  struct hand hand = {.spot = spot, .reader = &own};
  uint32_t helpers = 0, most = helpers_most(crew);
  for (struct range part; take(crew, &hand, false, &part);) {
    if (helpers < most) helpers += ask_for_help(crew, spot->worker, errand->size - part.from);
    bring(crew, &hand, part);
  }
  // Helpers at work have a part each, and wait for nobody.
  mutex_lock(&crew->lock);
  crew->over = true;
  while (crew->busy > 0) condition_wait(&crew->finished, &crew->lock);
  int32_t code = crew->code;
  if (code < 0) {
    spot->side = crew->side;
    *fault = crew->fault;
  }
  *counted += crew->counted + hand.counted;
  mutex_unlock(&crew->lock);
  crew_drop(crew);
  return code;
}
