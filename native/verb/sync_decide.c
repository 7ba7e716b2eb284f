// sync_decide: what is to be done about two files, from what is known of them.
#include <stdckdint.h>

#include "verb/sync.h"

static bool is_same_time(uint64_t precision_ns, int64_t left, int64_t right) {
  if (left == right) return true;
  if (left == INT64_MIN || right == INT64_MIN || precision_ns <= 1) return false;
  int64_t precision = (int64_t)precision_ns, rest = left % precision, kept;
  if (rest < 0) rest += precision;
  return !ckd_sub(&kept, left, rest) && kept == right;
}

// Which precisions there are: NTFS, microseconds, ext3 and most servers, FAT.
static const uint64_t precisions[] = {100, 1000, 1'000'000, 1'000'000'000, 2'000'000'000};
constexpr size_t PRECISIONS = sizeof precisions / sizeof *precisions;

// The finest precision by which they are one time; zero: none.
static uint64_t fitting(int64_t left, int64_t right) {
  for (size_t i = 0; i < PRECISIONS; i++)
    if (is_same_time(precisions[i], left, right)) return precisions[i];
  return 0;
}

bool sync_may_be_same_time(int64_t left, int64_t right) { return fitting(left, right) > 0; }

uint32_t sync_kept_bits(const struct sync *sync) { return sync->keeps_special ? 07777 : 0777; }

// Whether what is to be kept besides content and attributes is the same.
bool sync_is_metadata_same(const struct sync *sync, uint64_t precision_ns, const struct entry *left,
                           const struct entry *right) {
  if ((sync->preserve & WANT_MODE) && left->mode && left->type != ENTRY_LINK &&
      ((left->mode & sync_kept_bits(sync)) ^ (right->mode & 07777)))
    return false;
  if ((sync->preserve & WANT_OWNER) && (left->uid != right->uid || left->gid != right->gid))
    return false;
  return !(sync->preserve & WANT_MTIME) || left->mtime_ns == INT64_MIN ||
         is_same_time(precision_ns, left->mtime_ns, right->mtime_ns);
}

enum sync_action sync_decide(const struct sync *sync, uint64_t precision_ns,
                             const struct entry *left, const struct entry *right, bool was_looked,
                             bool is_same) {
  bool is_size_same = left->size == right->size;
  if (!was_looked) {
    if (sync->by != COPSE_BY_STAT && is_size_same) return ACTION_LOOK;
    is_same = is_size_same && left->mtime_ns != INT64_MIN &&
              is_same_time(precision_ns, left->mtime_ns, right->mtime_ns);
  }
  if (is_same)
    return sync_is_metadata_same(sync, precision_ns, left, right) ? ACTION_NOTHING : ACTION_SET;
  if (sync->overwrite == OVERWRITE_NEVER) return ACTION_KEEP;
  if (sync->overwrite == OVERWRITE_NEWER && left->mtime_ns != INT64_MIN &&
      left->mtime_ns <= right->mtime_ns)
    return ACTION_KEEP;
  return ACTION_COPY;
}

// Only a look can tell a coarse file system from a file written at a full second: an empty file of
// our own name gets an odd time and is asked what it has.
static uint64_t probe(struct directory *directory) {
  constexpr int64_t ODD = 1'000'000'001'123'456'789;
  const struct store_ops *ops = directory->store->ops;
  struct entry entry = {.name = SPAN(".copse-7072656369736531.part"),
                        .type = ENTRY_FILE,
                        .mtime_ns = ODD},
               out = {};
  struct writer *writer;
  struct fault fault = {};
  if (ops->writer(directory, &(struct wanted){.entry = &entry, .what = WANT_MTIME}, &writer,
                  &fault) < 0 ||
      ops->commit(writer, 0, &out, &fault) < 0)
    return 1;
  out.name = entry.name;
  int64_t kept = ops->stat(directory, &out, false, &fault) < 0 ? ODD : out.mtime_ns;
  ops->remove(directory, &out, &fault);
  uint64_t fits = kept == ODD ? 0 : fitting(ODD, kept);
  return fits ? fits : 1;
}

uint64_t sync_precision(struct spot *spot, const struct entry *left, const struct entry *right) {
  struct sync *sync = sync_of(spot->run);
  uint64_t known = atomic_load_explicit(&sync->precision_ns, memory_order_acquire);
  if (known) return known;
  if (left->mtime_ns == right->mtime_ns) return 1;
  uint64_t fits = fitting(left->mtime_ns, right->mtime_ns);
  if (!fits) return 1;
  // Nothing is written, not even to ask. The time of its last change is the system's own: where
  // that is finer than these two, they are as they were set.
  if (sync->is_dry) return right->ctime_ns % (int64_t)fits ? 1 : fits;
  mutex_lock(&sync->lock);
  known = atomic_load_explicit(&sync->precision_ns, memory_order_relaxed);
  if (!known) {
    known = probe(spot->node->directory[RIGHT]);
    atomic_store_explicit(&sync->precision_ns, known, memory_order_release);
  }
  mutex_unlock(&sync->lock);
  return known;
}
