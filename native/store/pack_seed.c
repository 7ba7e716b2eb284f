#include "store/pack_seed.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/task.h"
#include "store/pack_group.h"
#include "store/pack_making.h"
#include "store/pack_read.h"
#include "store/paths.h"

struct seed {
  struct store store;
  const struct pack_index *index;  // nullptr: there is nothing to be taken from it
  uint32_t *slots;                 // of chunks by their checksums; chunk + 1
  uint32_t slots_count;
  _Atomic uint64_t reused, reused_in;
};

int32_t seed_open(struct seed **out, span place, struct task *task, struct fault *fault) {
  struct seed *seed = calloc(1, sizeof *seed);
  if (!seed) return no_memory(fault);
  int32_t code = store_open(&seed->store, place, task, fault);
  if (code == 0 && strcmp(seed->store.ops->scheme, "pack") != 0) {
    store_close(&seed->store);
    code = fault_set(fault, COPSE_E_UNSUPPORTED, "a seed is a pack");
  }
  if (code < 0) {
    free(seed);
    return code;
  }
  *out = seed;
  return 0;
}

void seed_close(struct seed *seed) {
  if (!seed) return;
  store_close(&seed->store);
  free(seed->slots);
  free(seed);
}

// Not in a group of small files, whose frame may need its pack's dictionary.
static bool is_alone(const struct pack_index *index, const struct pack_chunk *chunk) {
  if (!index->is_native) return true;
  return chunk->size == chunk->group_size && chunk->size > GROUP_CHUNK_MAX;
}

static uint32_t *slot_of(const struct seed *seed, const uint8_t *digest, uint64_t size) {
  uint32_t mask = seed->slots_count - 1, hash;
  memcpy(&hash, digest, sizeof hash);
  for (uint32_t i = hash & mask;; i = (i + 1) & mask) {
    uint32_t *slot = &seed->slots[i];
    if (*slot == 0) return slot;
    const struct pack_chunk *chunk = &seed->index->chunks[*slot - 1];
    if (chunk->size == size && memcmp(chunk->checksum, digest, HASH_BYTES) == 0) return slot;
  }
}

int32_t seed_load(struct making *making, struct fault *fault) {
  struct seed *seed = making->seed;
  int32_t code = pack_index_of(&seed->store, &seed->index, fault);
  if ((code == COPSE_E_CORRUPT || code == COPSE_E_LIMIT) && !making->keeps) {
    *fault = (struct fault){};
    seed->index = nullptr;
    return 0;
  }
  if (code < 0) {
    seed->index = nullptr;
    return code;
  }
  if (making->keeps && seed->index->is_native)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "only packs of znippy's format are appended to; unpack it and pack both");
  size_t count = seed->index->chunks_count;
  uint32_t slots = 64;
  while (slots / 2 < count && slots < UINT32_MAX / 2) slots *= 2;
  seed->slots = slots / 2 < count ? nullptr : calloc(slots, sizeof *seed->slots);
  if (!seed->slots) {
    seed->index = nullptr;
    return no_memory(fault);
  }
  seed->slots_count = slots;
  for (size_t i = 0; i < count; i++) {
    const struct pack_chunk *chunk = &seed->index->chunks[i];
    if (!is_alone(seed->index, chunk)) continue;
    *slot_of(seed, chunk->checksum, chunk->size) = (uint32_t)i + 1;
  }
  return 0;
}

// 1: it is in the spool. 0: it is damaged.
static int32_t take_chunk(struct making *making, const struct pack_chunk *chunk, uint32_t *blob,
                          struct fault *fault) {
  struct seed *seed = making->seed;
  struct proved proved;
  struct fault damage = {};
  int32_t code = pack_take_blob(&seed->store, chunk, &proved, &damage);
  if (code == 0) {
    code = spool_add(&making->spool, chunk->checksum, chunk->is_frame, proved.blob, blob, fault);
    if (code == 0) {
      atomic_fetch_add_explicit(&seed->reused, chunk->blob_size, memory_order_relaxed);
      atomic_fetch_add_explicit(&seed->reused_in, chunk->size, memory_order_relaxed);
      code = 1;
    }
  } else if (code == COPSE_E_CANCELLED || code == COPSE_E_MEMORY) {
    *fault = damage;
  } else {
    code = 0;
  }
  pack_proved_end(&seed->store, &proved);
  return code;
}

int32_t seed_take(struct making *making, const uint8_t digest[HASH_BYTES], uint64_t size,
                  uint32_t *blob, struct fault *fault) {
  const struct seed *seed = making->seed;
  if (!seed->index) return 0;
  uint32_t found = *slot_of(seed, digest, size);
  return found ? take_chunk(making, &seed->index->chunks[found - 1], blob, fault) : 0;
}

// ── What the seed holds is kept ──

// Where an entry of that path is or would be.
static size_t place_of(const struct making *making, size_t count, span path) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (paths_order(making->all[middle]->path, path) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// Whether there is something new of that name, or in its way. `count`: of the new ones.
static bool is_replaced(const struct making *making, size_t count, const struct pack_item *item) {
  size_t at = place_of(making, count, item->path);
  if (at < count && span_equal(making->all[at]->path, item->path)) return true;
  bool has_below = at < count && paths_below(making->all[at]->path, item->path);
  if (has_below && item->type != ENTRY_DIRECTORY) return true;
  for (span path = path_parent(item->path); path.size; path = path_parent(path)) {
    at = place_of(making, count, path);
    if (at < count && span_equal(making->all[at]->path, path))
      return making->all[at]->type != ENTRY_DIRECTORY;
  }
  return false;
}

static int32_t keep_parts(struct making *making, struct task *task, const struct pack_item *item,
                          struct written *written, struct fault *fault) {
  struct part_block *block = malloc(sizeof *block + item->count * sizeof *block->parts);
  if (!block) return no_memory(fault);
  *block = (struct part_block){.count = item->count, .capacity = item->count};
  written->first = written->last = block;
  written->parts_count = item->count;
  for (size_t i = 0; i < item->count; i++) {
    if (task_cancelled(task)) return fault_set(fault, COPSE_E_CANCELLED, "cancelled while packing");
    const struct pack_chunk *chunk = &making->seed->index->chunks[item->first + i];
    struct part *part = &block->parts[i];
    *part = (struct part){.size = chunk->size};
    memcpy(part->digest, chunk->checksum, HASH_BYTES);
    part->blob = spool_find(&making->spool, chunk->checksum, chunk->is_frame);
    if (part->blob != NO_BLOB) continue;
    int32_t code = take_chunk(making, chunk, &part->blob, fault);
    if (code < 0) return code;
    if (code == 0)
      return fault_set(fault, COPSE_E_CORRUPT,
                       "it is damaged in the old pack, and left out of the new one");
  }
  return 0;
}

// A root of which nothing is known is what it was.
static void keep_root(struct making *making, const struct pack_item *item) {
  struct written *root = making->count && making->all[0]->path.size == 0 ? making->all[0] : nullptr;
  if (!root || root->mode || root->mtime_ns != INT64_MIN) return;
  root->mode = item->mode & 07777;
  root->mtime_ns = item->mtime_ns;
}

static int32_t keep_item(struct making *making, struct task *task, const struct pack_item *item,
                         struct fault *fault) {
  struct written *written = written_new(nullptr, item->path, item->target);
  if (!written) return no_memory(fault);
  written->type = item->type;
  written->mode = item->mode & 07777;
  written->mtime_ns = item->mtime_ns;
  written->size = item->type == ENTRY_FILE ? item->size : 0;
  if (item->type == ENTRY_FILE) {
    const struct pack_kind *kind = &making->seed->index->kinds[item->kind];
    written->section = section_find(making, kind->type, kind->repo);
    written->is_raw = !making->seed->index->chunks[item->first].is_frame;
  }
  if (item->type == ENTRY_FILE && !written->section) {
    written_free(written);
    return no_memory(fault);
  }
  if (item->twins) {  // numbers of the seed's own, which are of no device
    written->device = UINT64_MAX;
    written->inode = item->twins;
  }
  int32_t code = item->type == ENTRY_FILE ? keep_parts(making, task, item, written, fault) : 0;
  if (code == 0) code = written_keep(making, written, nullptr, fault);
  if (code < 0) written_free(written);
  return code;
}

int32_t seed_keep(struct making *making, struct task *task, struct fault *fault) {
  const struct pack_index *index = making->seed ? making->seed->index : nullptr;
  if (!making->keeps || !index) return 0;
  size_t count = making->count;
  for (size_t i = 0; i < index->count; i++) {
    const struct pack_item *item = &index->items[i];
    if (item->path.size == 0) keep_root(making, item);
    if (is_replaced(making, count, item)) continue;
    int32_t code = keep_item(making, task, item, fault);
    if (code == COPSE_E_CORRUPT) {
      task_emit_error(task, fault, path_parent(item->path), path_name(item->path), (span){});
      *fault = (struct fault){};
    } else if (code < 0) {
      return code;
    }
  }
  if (making->count > count)
    qsort(making->all, making->count, sizeof *making->all, paths_compare_pointed);
  return 0;
}

void seed_report(const struct seed *seed, struct record_writer *out) {
  uint64_t reused = seed ? atomic_load_explicit(&seed->reused, memory_order_relaxed) : 0;
  uint64_t reused_in = seed ? atomic_load_explicit(&seed->reused_in, memory_order_relaxed) : 0;
  record_put_number(out, COPSE_DETAIL_PACK_REUSED, reused);
  record_put_number(out, COPSE_DETAIL_PACK_REUSED_IN, reused_in);
}
