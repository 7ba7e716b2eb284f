#include "verb/pump_parts.h"

#include <stdlib.h>

#include "verb/pump_any.h"

constexpr uint64_t PART = 4 << 20;

struct parts {
  struct spot *spot;
  struct reader *reader;
  struct writer *writer;
  uint64_t size;
  uint64_t *counted;
  bool pulls;
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

static int32_t bring(struct parts *parts, struct range range, struct fault *fault) {
  struct spot *spot = parts->spot;
  const struct store_ops *from = parts->reader->store->ops, *to = parts->writer->store->ops;
  bool has_digest = !parts->pulls;
  struct hash hash;
  uint8_t digest[HASH_BYTES];
  hash_begin(&hash);
  for (uint64_t at = range.from; at < range.to;) {
    if (run_over(spot->run)) return pump_cancelled(fault);
    uint64_t left = range.to - at;
    int64_t got = 0;
    spot->side = RIGHT;
    if (parts->pulls) got = to->pull(parts->writer, parts->reader, at, left, fault);
    if (got < 0) return (int32_t)got;
    if (got == 0) {
      parts->pulls = false;
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
  pump_count(spot, parts->counted, range.to - range.from);
  hash_end(&hash, digest);
  spot->side = RIGHT;
  return to->keep(parts->writer, range, has_digest ? digest : nullptr, fault);
}

int32_t pump_parts(struct spot *spot, struct reader *reader, struct writer *writer,
                   struct resume *resume, uint64_t size, bool pulls, uint64_t *resumed,
                   uint64_t *counted, struct fault *fault) {
  struct parts parts = {spot, reader, writer, size, counted, pulls};
  int32_t code = confirm(&parts, resume, fault);
  *resumed = 0;
  size_t next = 0;
  for (uint64_t at = 0; code == 0 && at < size;) {
    const struct range *kept = next < resume->kept_count ? &resume->kept[next] : nullptr;
    if (kept && kept->from <= at) {
      uint64_t to = kept->to < size ? kept->to : size;
      if (to > at) {
        *resumed += to - at;
        pump_count(spot, counted, to - at);
        at = to;
      }
      next++;
      continue;
    }
    uint64_t end = size - at < PART ? size : at + PART;
    if (kept && kept->from < end) end = kept->from;
    code = bring(&parts, (struct range){at, end}, fault);
    at = end;
  }
  return code;
}
