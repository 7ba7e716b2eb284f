// run_digest: the digest of one file's whole content, from the store, from the cache of hashes, or
// by reading.
#include "base/hash.h"
#include "engine/runtime.h"
#include "engine/thread.h"
#include "verb/run_cache.h"

int64_t run_read_full(struct reader *reader, uint64_t at, uint8_t *into, size_t size,
                      uint64_t expected, struct fault *fault) {
  size_t got = 0;
  while (got < size && !reader->at_end) {
    int64_t n = reader->store->ops->read(reader, at + got, into + got, size - got, fault);
    if (n < 0) return n;
    got += (size_t)n;
    reader->at_end = n == 0 || (reader->at_end && at + got >= expected);
  }
  return (int64_t)got;
}

int32_t run_still_there(struct directory *directory, const struct entry *read,
                        const struct entry *named, struct fault *fault) {
  struct entry now = *named;
  int32_t code = directory->store->ops->stat(directory, &now, false, fault);
  if (code == 0 && (now.inode != read->inode || now.device != read->device))
    code = fault_set(fault, COPSE_E_CHANGED,
                     "the file was replaced while it was read; run again when nobody writes to it");
  return code;
}

static int32_t read_all(struct spot *spot, struct reader *reader, struct digest *digest,
                        uint64_t size, struct fault *fault) {
  if (!worker_slabs(spot->worker)) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  for (uint64_t at = 0; !reader->at_end;) {
    int64_t got = run_read_full(reader, at, spot->worker->slab[0], WORKER_SLAB, size, fault);
    if (got < 0) return (int32_t)got;
    if (!digest_add(digest, spot->worker->slab[0], (size_t)got))
      return fault_set(fault, COPSE_E_INTERNAL, "the content could not be hashed");
    if (run_over(spot->run)) return fault_set(fault, COPSE_E_CANCELLED, "cancelled");
    at += (uint64_t)got;
    if (spot->side == LEFT) spot->bytes += (uint64_t)got;  // one side is counted
  }
  return 0;
}

int32_t spot_digest(struct spot *spot, uint8_t side, const struct entry *entry, uint32_t algorithm,
                    uint8_t out[HASH_BYTES], struct fault *fault) {
  struct directory *directory = spot->node->directory[side];
  const struct store_ops *ops = directory->store->ops;
  struct cache *cache = spot->run->cache;
  spot->side = side;
  if ((entry->has & HAS_DIGEST) && directory->store->algorithm == algorithm) {
    memcpy(out, entry->digest, HASH_BYTES);
    return 0;
  }
  struct entry before = *entry;
  int32_t code = 0;
  if (cache) {
    // What is in the cache need not be opened, but it must still be there.
    code = ops->stat(directory, &before, false, fault);
    if (code < 0) return code;
    if (cache_find(cache, &before, algorithm, out)) return 0;
  }
  struct reader reader;
  code = ops->reader(directory, entry, &reader, fault);
  return code < 0 ? code : spot_digest_open(spot, side, entry, &reader, algorithm, out, fault);
}

int32_t spot_digest_open(struct spot *spot, uint8_t side, const struct entry *entry,
                         struct reader *reader, uint32_t algorithm, uint8_t out[HASH_BYTES],
                         struct fault *fault) {
  struct directory *directory = spot->node->directory[side];
  const struct store_ops *ops = directory->store->ops;
  struct cache *cache = spot->run->cache;
  spot->side = side;
  struct entry before = *entry;
  int64_t opened_ns = clock_wall();
  struct digest digest;
  bool began = digest_begin(&digest, algorithm);
  int32_t code = began ? ops->measure(reader, &before, nullptr, fault)
                       : fault_set(fault, COPSE_E_MEMORY, "out of memory");
  struct entry after = before;
  if (code == 0) code = read_all(spot, reader, &digest, before.size, fault);
  if (code == 0) code = ops->measure(reader, &after, nullptr, fault);
  if (code == 0 && (before.size != after.size || before.mtime_ns != after.mtime_ns))
    code = fault_set(fault, COPSE_E_CHANGED,
                     "the file changed while it was read; run again when nobody writes to it");
  // What one read took was whole when it was read.
  if (code == 0 && after.size > WORKER_SLAB)
    code = run_still_there(directory, &after, entry, fault);
  ops->read_end(reader);
  if (began && !digest_end(&digest, code == 0 ? out : nullptr) && code == 0)
    code = fault_set(fault, COPSE_E_INTERNAL, "the content could not be hashed");
  if (code == 0 && cache && before.ctime_ns == after.ctime_ns)
    cache_keep(cache, &after, opened_ns, algorithm, out);
  return code;
}
