#include "verb/pump_parts.h"

#include <stdlib.h>

#include "engine/runtime.h"
#include "engine/thread.h"
#include "verb/pump_crew.h"
#include "verb/pump_any.h"

constexpr uint64_t PART = 4 << 20;

// How the parts come.
enum way : uint8_t {
  BY_KERNEL,  // which shows the bytes to nobody
  UNSEEN,     // by reading and writing, without a digest
  SEEN,       // so, with one
};

struct parts {
  struct writer *writer;
  bool is_kept;          // in the writer's journal
  _Atomic enum way way;  // of the next part
  const struct reader *reader;
  mutex keeping;
};

// What the kernel copied has no digest: it is held against the source.
static int32_t is_same(struct spot *spot, struct reader *reader, struct writer *writer,
                       struct range range, uint64_t size, bool *is_right, struct fault *fault) {
  const struct store_ops *to = writer->store->ops;
  uint8_t *mine = spot->worker->slab[0], *its = spot->worker->slab[1];
  *is_right = true;
  for (uint64_t at = range.from; *is_right && at < range.to;) {
    if (run_over(spot->run)) return pump_cancelled(fault);
    uint64_t left = range.to - at;
    size_t want = left < WORKER_SLAB ? (size_t)left : WORKER_SLAB;
    spot->side = RIGHT;
    int64_t got = to->reread(writer, at, mine, want, fault);
    if (got < 0) return (int32_t)got;
    spot->side = LEFT;
    int64_t other = run_read_full(reader, at, its, want, size, fault);
    if (other < 0) return (int32_t)other;
    *is_right = got == (int64_t)want && other == got && memcmp(mine, its, want) == 0;
    at += want;
  }
  return 0;
}

// What is claimed, a part at a time, becomes kept where it is right.
static int32_t confirm(struct spot *spot, struct reader *reader, struct writer *writer,
                       uint64_t size, struct resume *resume, struct fault *fault) {
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
      code = is_same(spot, reader, writer, part, size, &is_right, fault);
      if (code == 0 && is_right) kept[kept_count++] = part;
    }
  }
  free(resume->kept);
  resume->kept = kept;
  resume->kept_count = kept_count;
  return code;
}

// The kernel does not copy between these two, which whoever chose not to ask it knew already.
static void go_on(struct parts *parts, enum way way) {
  enum way before = BY_KERNEL;
  atomic_compare_exchange_strong(&parts->way, &before, way);
}

// What was decoded is written as a whole: only one at a time writes to a file, and those that take
// turns in large pieces soon meet no more, while small ones wait for each other again and again.
static int64_t get(struct hand *hand, uint64_t at, uint64_t left, const uint8_t **bytes,
                   struct fault *fault) {
  const struct store_ops *from = hand->reader->store->ops;
  uint8_t *slab = hand->spot->worker->slab[0];
  *bytes = slab;
  if (from->lend)
    return from->lend(hand->reader, at, left < PART ? (size_t)left : PART, bytes, fault);
  return from->read(hand->reader, at, slab, left < WORKER_SLAB ? (size_t)left : WORKER_SLAB, fault);
}

static int32_t bring(void *self, struct hand *hand, struct range range, struct fault *fault) {
  struct parts *parts = self;
  struct spot *spot = hand->spot;
  struct writer *writer = parts->writer;
  const struct store_ops *to = writer->store->ops;
  enum way way = atomic_load(&parts->way);
  bool pulls = way == BY_KERNEL, has_digest = parts->is_kept && way == SEEN;
  struct hash hash;
  uint8_t digest[HASH_BYTES];
  hash_begin(&hash);
  for (uint64_t at = range.from; at < range.to;) {
    if (run_over(spot->run)) return pump_cancelled(fault);
    uint64_t left = range.to - at;
    int64_t got = 0;
    spot->side = RIGHT;
    if (pulls) got = to->pull(writer, hand->reader, at, left, fault);
    if (got < 0) return (int32_t)got;
    if (got == 0) {
      if (pulls) go_on(parts, SEEN);
      pulls = false;
      spot->side = LEFT;
      const uint8_t *bytes;
      got = get(hand, at, left, &bytes, fault);
      if (got == 0) return pump_changed(fault);
      if (got < 0) return (int32_t)got;
      spot->side = RIGHT;
      int32_t code = to->write(writer, at, bytes, (size_t)got, fault);
      if (code < 0) return code;
      if (has_digest) hash_add(&hash, bytes, (size_t)got);
    }
    at += (uint64_t)got;
    if (!parts->is_kept) pump_count(spot, &hand->counted, (uint64_t)got);
  }
  if (!parts->is_kept) return 0;
  pump_count(spot, &hand->counted, range.to - range.from);
  hash_end(&hash, digest);
  spot->side = RIGHT;
  mutex_lock(&parts->keeping);
  int32_t code = to->keep(writer, range, has_digest ? digest : nullptr, fault);
  mutex_unlock(&parts->keeping);
  return code;
}

static void joins(void *self) {
  struct parts *parts = self;
  const struct store_ops *to = parts->writer->store->ops;
  if (to->is_cached && to->is_cached(parts->writer, parts->reader)) go_on(parts, UNSEEN);
}

// Both are of this machine.
static bool is_local(const struct reader *reader, const struct writer *writer) {
  return reader->fd >= 0 && reader->store->ops->scheme == writer->store->ops->scheme;
}

int32_t pump_parts(struct spot *spot, const struct pump *pump, struct reader *reader,
                   struct writer *writer, struct resume *resume, uint64_t size, bool pulls,
                   uint64_t *resumed, uint64_t *counted, struct fault *fault) {
  *resumed = 0;
  struct parts parts = {.writer = writer, .reader = reader, .is_kept = resume};
  atomic_init(&parts.way, pulls ? BY_KERNEL : SEEN);
  struct errand errand = {
      .from = pump->from,
      .entry = pump->source,
      .size = size,
      .is_shared = (writer->store->can & CAN_PARALLEL) && (!resume || is_local(reader, writer)),
      .joins = joins,
      .bring = bring,
      .self = &parts};
  if (resume) {
    struct reader own = *reader;
    int32_t code = confirm(spot, &own, writer, size, resume, fault);
    if (code < 0) return code;
    errand.done = resume->kept;
    errand.done_count = resume->kept_count;
  }
  for (size_t i = 0; i < errand.done_count; i++) {
    struct range range = errand.done[i];
    if (range.to > size) range.to = size;
    if (range.from < range.to) *resumed += range.to - range.from;
  }
  if (*resumed) pump_count(spot, counted, *resumed);
  mutex_begin(&parts.keeping);
  int32_t code = crew_work(&errand, spot, reader, counted, fault);
  mutex_end(&parts.keeping);
  return code;
}
