#include "verb/pump_parts.h"

#include <stdlib.h>

#include "engine/runtime.h"
#include "verb/pump_any.h"

constexpr uint64_t PART = 4 << 20;

// A file of which so much is to come is worth more workers than one, up to so many.
constexpr uint64_t SHARED_LEAST = 64 << 20;
constexpr uint32_t HELPERS_MAX = 3;

// What those share who bring the parts of one file. Each has a reader of its own, with the same
// descriptor.
struct crew {
  mutex lock;
  condition finished;
  _Atomic uint32_t references;
  struct run *run;
  struct node *node;
  const struct reader *reader;
  struct writer *writer;
  const struct resume *resume;
  uint64_t size;
  // Guarded by the lock:
  uint64_t at, resumed, counted;
  size_t next_kept;
  uint32_t busy;  // helpers at work
  bool over;      // no helper begins any more
  bool pulls, digests;
  int32_t code;
  uint8_t side;
  struct fault fault;
};

struct parts {
  struct spot *spot;
  struct crew *crew;
  struct reader *reader;
  struct writer *writer;
  uint64_t size, counted;
};

// What the kernel copied has no digest: it is held against the source.
static int32_t is_same(struct parts *parts, struct range range, bool *is_right,
                       struct fault *fault) {
  struct spot *spot = parts->spot;
  const struct store_ops *to = parts->writer->store->ops;
  uint8_t *mine = spot->worker->slab[0], *its = spot->worker->slab[1];
  *is_right = true;
  for (uint64_t at = range.from; *is_right && at < range.to;) {
    if (run_over(spot->run)) return pump_cancelled(fault);
    uint64_t left = range.to - at;
    size_t want = left < WORKER_SLAB ? (size_t)left : WORKER_SLAB;
    spot->side = RIGHT;
    int64_t got = to->reread(parts->writer, at, mine, want, fault);
    if (got < 0) return (int32_t)got;
    spot->side = LEFT;
    int64_t other = run_read_full(parts->reader, at, its, want, parts->size, fault);
    if (other < 0) return (int32_t)other;
    *is_right = got == (int64_t)want && other == got && memcmp(mine, its, want) == 0;
    at += want;
  }
  return 0;
}

// What is claimed, a part at a time, becomes kept where it is right.
static int32_t confirm(struct parts *parts, struct resume *resume, struct fault *fault) {
  size_t count_max = 1;
  for (size_t i = 0; i < resume->claimed_count; i++)
    count_max += (resume->claimed[i].to - resume->claimed[i].from) / PART + 1;
  // Whoever has digests has no claims; of both, only what is proved counts.
  if (resume->claimed_count == 0 || resume->kept_count > 0) return 0;
  struct range *kept = malloc(count_max * sizeof *kept);
  if (!kept) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  size_t kept_count = 0;
  int32_t code = 0;
  for (size_t i = 0; i < resume->claimed_count && code == 0; i++) {
    struct range range = resume->claimed[i];
    for (uint64_t at = range.from; at < range.to && code == 0; at += PART) {
      struct range part = {at, range.to - at < PART ? range.to : at + PART};
      bool is_right;
      code = is_same(parts, part, &is_right, fault);
      if (code == 0 && is_right) kept[kept_count++] = part;
    }
  }
  free(resume->kept);
  resume->kept = kept;
  resume->kept_count = kept_count;
  return code;
}

// The kernel does not copy between these two, which whoever chose not to ask it knew already.
static void pulls_no_more(struct crew *crew) {
  mutex_lock(&crew->lock);
  crew->digests |= crew->pulls;
  crew->pulls = false;
  mutex_unlock(&crew->lock);
}

static int32_t bring(struct parts *parts, struct range range, struct fault *fault) {
  struct spot *spot = parts->spot;
  struct crew *crew = parts->crew;
  const struct store_ops *from = parts->reader->store->ops, *to = parts->writer->store->ops;
  mutex_lock(&crew->lock);
  bool pulls = crew->pulls, has_digest = crew->digests;
  mutex_unlock(&crew->lock);
  struct hash hash;
  uint8_t digest[HASH_BYTES];
  hash_begin(&hash);
  for (uint64_t at = range.from; at < range.to;) {
    if (run_over(spot->run)) return pump_cancelled(fault);
    uint64_t left = range.to - at;
    int64_t got = 0;
    spot->side = RIGHT;
    if (pulls) got = to->pull(parts->writer, parts->reader, at, left, fault);
    if (got < 0) return (int32_t)got;
    if (got == 0) {
      if (pulls) pulls_no_more(crew);
      pulls = false;
      spot->side = LEFT;
      uint8_t *slab = spot->worker->slab[0];
      got = from->read(parts->reader, at, slab, left < WORKER_SLAB ? (size_t)left : WORKER_SLAB,
                       fault);
      if (got == 0) return pump_changed(fault);
      if (got < 0) return (int32_t)got;
      spot->side = RIGHT;
      int32_t code = to->write(parts->writer, at, slab, (size_t)got, fault);
      if (code < 0) return code;
      if (has_digest) hash_add(&hash, slab, (size_t)got);
    }
    at += (uint64_t)got;
  }
  pump_count(spot, &parts->counted, range.to - range.from);
  hash_end(&hash, digest);
  spot->side = RIGHT;
  mutex_lock(&crew->lock);
  int32_t code = to->keep(parts->writer, range, has_digest ? digest : nullptr, fault);
  mutex_unlock(&crew->lock);
  return code;
}

// The next part that is not there yet; false: there is none.
static bool take(struct parts *parts, struct range *part) {
  struct crew *crew = parts->crew;
  const struct range *kept = crew->resume->kept;
  size_t kept_count = crew->resume->kept_count;
  uint64_t there = 0;
  mutex_lock(&crew->lock);
  for (; crew->next_kept < kept_count && kept[crew->next_kept].from <= crew->at;
       crew->next_kept++) {
    uint64_t to = kept[crew->next_kept].to < crew->size ? kept[crew->next_kept].to : crew->size;
    if (to <= crew->at) continue;
    there += to - crew->at;
    crew->at = to;
  }
  crew->resumed += there;
  bool is_left = crew->at < crew->size && crew->code == 0;
  if (is_left) {
    uint64_t end = crew->size - crew->at < PART ? crew->size : crew->at + PART;
    if (crew->next_kept < kept_count && kept[crew->next_kept].from < end)
      end = kept[crew->next_kept].from;
    *part = (struct range){crew->at, end};
    crew->at = end;
  }
  mutex_unlock(&crew->lock);
  if (there) pump_count(parts->spot, &parts->counted, there);
  return is_left;
}

static void bring_next(struct parts *parts, struct range part) {
  struct crew *crew = parts->crew;
  struct fault fault = {};
  int32_t code = bring(parts, part, &fault);
  if (code == 0) return;
  mutex_lock(&crew->lock);
  if (crew->code == 0) {
    crew->code = code;
    crew->side = parts->spot->side;
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

static void helper_run(struct job *job, struct worker *worker) {
  struct helper *helper = (struct helper *)job;
  struct crew *crew = helper->crew;
  free(helper);
  mutex_lock(&crew->lock);
  bool begins = !crew->over && worker_slabs(worker);
  crew->busy += begins;
  mutex_unlock(&crew->lock);
  if (begins) {
    // All that the crew points to is there until it is not busy any more: who made it waits.
    struct spot spot = {.run = crew->run, .node = crew->node, .worker = worker};
    struct reader reader = *crew->reader;
    struct parts parts = {&spot, crew, &reader, crew->writer, crew->size, 0};
    for (struct range part; take(&parts, &part);) bring_next(&parts, part);
    mutex_lock(&crew->lock);
    crew->counted += parts.counted;
    if (--crew->busy == 0) condition_all(&crew->finished);
    mutex_unlock(&crew->lock);
  }
  crew_drop(crew);
}

// Both are of this machine, and somebody has nothing to do. Who comes too late goes away again.
static bool ask_for_help(struct crew *crew, const struct range *part) {
  struct run *run = crew->run;
  const struct reader *reader = crew->reader;
  const struct store_ops *to = crew->writer->store->ops;
  if (reader->fd < 0 || reader->flows || !(crew->writer->store->can & CAN_PARALLEL)) return false;
  if (reader->store->ops->scheme != to->scheme || run->task->limit.per_second) return false;
  if (crew->size - part->from < SHARED_LEAST || !pool_is_idle(run->task->runtime->pool))
    return false;
  struct helper *helper = malloc(sizeof *helper);
  if (!helper) return false;  // then without
  *helper = (struct helper){.job.run = helper_run, .crew = crew};
  if (to->is_cached && to->is_cached(crew->writer, reader)) {
    mutex_lock(&crew->lock);
    crew->pulls = false;
    mutex_unlock(&crew->lock);
  }
  atomic_fetch_add_explicit(&crew->references, 1, memory_order_relaxed);
  run_add(run, JOB_LEAF, &helper->job);
  return true;
}

int32_t pump_parts(struct spot *spot, struct reader *reader, struct writer *writer,
                   struct resume *resume, uint64_t size, bool pulls, uint64_t *resumed,
                   uint64_t *counted, struct fault *fault) {
  *resumed = 0;
  struct crew *crew = malloc(sizeof *crew);
  if (!crew) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *crew = (struct crew){.references = 1,
                        .run = spot->run,
                        .node = spot->node,
                        .reader = reader,
                        .writer = writer,
                        .resume = resume,
                        .size = size,
                        .pulls = pulls,
                        .digests = !pulls};
  mutex_begin(&crew->lock);
  condition_begin(&crew->finished);
  struct reader own = *reader;
  struct parts parts = {spot, crew, &own, writer, size, 0};
  int32_t code = confirm(&parts, resume, fault);
  uint32_t helpers = 0;
  for (struct range part; code == 0 && take(&parts, &part);) {
    if (helpers < HELPERS_MAX) helpers += ask_for_help(crew, &part);
    bring_next(&parts, part);
  }
  // Helpers at work have a part each, and wait for nobody.
  mutex_lock(&crew->lock);
  crew->over = true;
  while (crew->busy > 0) condition_wait(&crew->finished, &crew->lock);
  if (code == 0 && crew->code < 0) {
    code = crew->code;
    spot->side = crew->side;
    *fault = crew->fault;
  }
  *resumed = crew->resumed;
  *counted += crew->counted + parts.counted;
  mutex_unlock(&crew->lock);
  crew_drop(crew);
  return code;
}
