#include "store/pack_seed.h"

#include <stdatomic.h>
#include <stdio.h>
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
  uint32_t *blobs;  // of chunks that are kept and were in groups; NO_BLOB: none
  _Atomic uint64_t reused, reused_in;
};

// The place that is shown with it is the new pack's.
static int32_t of_seed(struct fault *fault) {
  char text[sizeof fault->text];
  memcpy(text, fault->text, sizeof text);
  snprintf(fault->text, sizeof fault->text, "the seed: %s", text);
  return fault->code;
}

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
    return of_seed(fault);
  }
  *out = seed;
  return 0;
}

void seed_close(struct seed *seed) {
  if (!seed) return;
  store_close(&seed->store);
  free(seed->slots);
  free(seed->blobs);
  free(seed);
}

// Not in a group of small files, whose frame may need its pack's dictionary.
static bool is_alone(const struct pack_index *index, const struct pack_chunk *chunk) {
  if (!index->is_native || !chunk->is_frame) return true;
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
    return of_seed(fault);
  }
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
    int32_t code = 1;
    if (is_alone(making->seed->index, chunk)) {
      part->blob = spool_find(&making->spool, chunk->checksum, chunk->is_frame);
      if (part->blob == NO_BLOB) code = take_chunk(making, chunk, &part->blob, fault);
    } else {
      part->blob = making->seed->blobs[item->first + i];
      code = part->blob != NO_BLOB;
    }
    if (code < 0) return code;
    if (code == 0)
      return fault_set(fault, COPSE_E_CORRUPT,
                       "it is damaged in the old pack, and left out of the new one");
  }
  return 0;
}

// ── Groups of small files ──

// A chunk of the seed that is in a group.
struct slot {
  const struct pack_chunk *chunk;
  bool is_kept;
  uint8_t digest[HASH_BYTES];  // of its content
};

// A group of the seed all of whose content is wanted.
struct whole {
  size_t first, count;  // its slots
  uint64_t spooled_at;
};

struct regrouping {
  struct making *making;
  struct task *task;
  struct slot *slots;  // by group, and by where they are in it
  size_t count;
  struct whole *wholes;
  size_t wholes_count;
  uint64_t whole_bytes;  // of content
  uint64_t kept_bytes;
};

static int by_group(const void *left, const void *right) {
  const struct pack_chunk *l = ((const struct slot *)left)->chunk,
                          *r = ((const struct slot *)right)->chunk;
  if (l->blob_at != r->blob_at) return l->blob_at < r->blob_at ? -1 : 1;
  if (l->group_at != r->group_at) return l->group_at < r->group_at ? -1 : 1;
  if (l->size != r->size) return l->size < r->size ? -1 : 1;
  return l < r ? -1 : l > r;
}

// Which blob what is kept of the seed is in.
static void keep_blob(const struct seed *seed, const struct slot *slot, uint32_t blob) {
  seed->blobs[slot->chunk - seed->index->chunks] = blob;
}

static int32_t find_slots(struct regrouping *work, struct fault *fault) {
  const struct making *making = work->making;
  const struct pack_index *index = making->seed->index;
  size_t room = 0;
  for (size_t i = 0; i < index->count; i++)
    if (index->items[i].type == ENTRY_FILE) room += index->items[i].count;
  work->slots = malloc((room ? room : 1) * sizeof *work->slots);
  if (!work->slots) return no_memory(fault);
  for (size_t i = 0; i < index->count; i++) {
    const struct pack_item *item = &index->items[i];
    if (item->type != ENTRY_FILE) continue;
    bool is_kept = making->keeps && !is_replaced(making, making->count, item);
    for (size_t n = 0; n < item->count; n++) {
      const struct pack_chunk *chunk = &index->chunks[item->first + n];
      if (is_alone(index, chunk)) continue;
      work->slots[work->count++] = (struct slot){.chunk = chunk, .is_kept = is_kept};
    }
  }
  qsort(work->slots, work->count, sizeof *work->slots, by_group);
  return 0;
}

static bool is_one_group(const struct pack_chunk *left, const struct pack_chunk *right) {
  return left->blob_at == right->blob_at && left->blob_size == right->blob_size &&
         left->group_size == right->group_size &&
         memcmp(left->checksum, right->checksum, HASH_BYTES) == 0;
}

// The end of the slots from `first` on that are of one group.
static size_t group_end(const struct regrouping *work, size_t first) {
  size_t end = first + 1;
  while (end < work->count && is_one_group(work->slots[first].chunk, work->slots[end].chunk)) end++;
  return end;
}

// Hashes the slots of a group, and says whether all that is in it is wanted: kept, or content of
// what is packed.
static bool see_slots(struct regrouping *work, size_t first, size_t end, span content) {
  uint64_t at = 0;
  bool is_wanted = false, is_whole = true;
  for (size_t i = first; i < end; i++) {
    struct slot *slot = &work->slots[i];
    const struct pack_chunk *chunk = slot->chunk, *last = i > first ? slot[-1].chunk : nullptr;
    bool is_again = last && last->group_at == chunk->group_at && last->size == chunk->size;
    if (is_again) {
      memcpy(slot->digest, slot[-1].digest, HASH_BYTES);
    } else {
      is_whole &= (i == first || is_wanted) && chunk->group_at == at;
      at = chunk->group_at + chunk->size;
      hash_of((span){content.at + chunk->group_at, (size_t)chunk->size}, slot->digest);
      is_wanted = spool_find(&work->making->spool, slot->digest, false) != NO_BLOB;
      if (slot->is_kept) work->kept_bytes += chunk->size;
    }
    is_wanted |= slot->is_kept;
  }
  return is_whole && is_wanted && at == content.size;
}

// What is kept of a group becomes chunks like those of new files.
static int32_t keep_slots(struct regrouping *work, size_t first, size_t end, span content,
                          struct fault *fault) {
  struct making *making = work->making;
  bool is_raw = making->is_native && making->compress != COPSE_COMPRESS_NEVER;
  int32_t code = 0;
  for (size_t i = first; i < end && code == 0; i++) {
    const struct slot *slot = &work->slots[i];
    struct part part = {.blob = NO_BLOB};
    if (!slot->is_kept) continue;
    span bytes = {content.at + slot->chunk->group_at, (size_t)slot->chunk->size};
    code = chunk_add(making, bytes, is_raw, &part, fault);
    keep_blob(making->seed, slot, part.blob);
  }
  return code;
}

static int32_t see_group(struct regrouping *work, size_t first, size_t end, struct fault *fault) {
  struct making *making = work->making;
  struct proved proved;
  struct fault damage = {};
  bool may_take = making->is_native && making->compress != COPSE_COMPRESS_NEVER;
  int32_t code = pack_take_blob(&making->seed->store, work->slots[first].chunk, &proved, &damage);
  if (code == COPSE_E_CANCELLED || code == COPSE_E_MEMORY) {
    *fault = damage;
  } else if (code < 0) {
    code = 0;  // it is damaged; what was kept of it is said to be
  } else if (see_slots(work, first, end, proved.content) && may_take) {
    struct whole *whole = &work->wholes[work->wholes_count++];
    *whole = (struct whole){.first = first, .count = end - first};
    work->whole_bytes += proved.content.size;
    code = spool_put(&making->spool, proved.blob, &whole->spooled_at, fault);
    // Whoever is asked about files needs what is in them.
    if (code == 0 && making->asking) code = keep_slots(work, first, end, proved.content, fault);
  } else {
    code = keep_slots(work, first, end, proved.content, fault);
  }
  pack_proved_end(&making->seed->store, &proved);
  return code;
}

// Groups that are taken bring their dictionary with them. One that was made of little serves less
// and less, so it goes as soon as more than half of the small files are new.
static bool is_worth_it(const struct regrouping *work, span dictionary) {
  uint64_t chunks, all = grouped_bytes(work->making, &chunks) + work->kept_bytes;
  return dictionary.size ? work->whole_bytes >= all / 2 : all < DICTIONARY_CONTENT;
}

static int32_t take_whole(struct regrouping *work, const struct whole *whole, struct fault *fault) {
  struct making *making = work->making;
  const struct pack_chunk *any = work->slots[whole->first].chunk;
  struct chunk_group group = {.spooled_at = whole->spooled_at,
                              .size = any->blob_size,
                              .at = UINT64_MAX,
                              .content = any->group_size};
  memcpy(group.digest, any->checksum, HASH_BYTES);
  int32_t code = grouping_take(&making->grouping, &group, fault);
  for (size_t i = whole->first; i < whole->first + whole->count && code == 0; i++) {
    const struct slot *slot = &work->slots[i];
    uint32_t number;
    code = spool_note(&making->spool, slot->digest, slot->chunk->size, &number, fault);
    if (code < 0) break;
    keep_blob(making->seed, slot, number);
    struct blob *blob = &making->spool.blobs[number];
    if (blob->group) continue;
    blob->group = making->grouping.count;
    blob->group_at = (uint32_t)slot->chunk->group_at;
  }
  making->grouping.taken = making->grouping.count;
  atomic_fetch_add_explicit(&making->seed->reused, any->blob_size, memory_order_relaxed);
  atomic_fetch_add_explicit(&making->seed->reused_in, any->group_size, memory_order_relaxed);
  return code;
}

static int32_t use_dictionary(struct making *making, span dictionary, struct fault *fault) {
  struct grouping *grouping = &making->grouping;
  grouping->is_decided = true;
  if (dictionary.size == 0) return 0;
  grouping->dictionary = malloc(dictionary.size);
  if (!grouping->dictionary) return no_memory(fault);
  memcpy(grouping->dictionary, dictionary.at, dictionary.size);
  grouping->dictionary_size = dictionary.size;
  return 0;
}

// What all wholes are for in the end: they are taken, or what is kept of them is packed anew.
static int32_t settle_wholes(struct regrouping *work, struct fault *fault) {
  struct making *making = work->making;
  if (work->wholes_count == 0) return 0;
  span dictionary;
  int32_t code = pack_dictionary_of(&making->seed->store, &dictionary, fault);
  bool is_taken = code == 0 && is_worth_it(work, dictionary);
  if (is_taken) code = use_dictionary(making, dictionary, fault);
  for (size_t i = 0; i < work->wholes_count && code == 0; i++) {
    const struct whole *whole = &work->wholes[i];
    if (is_taken) {
      code = take_whole(work, whole, fault);
    } else if (making->keeps) {
      struct proved proved;
      code = pack_take_blob(&making->seed->store, work->slots[whole->first].chunk, &proved, fault);
      if (code == 0)
        code = keep_slots(work, whole->first, whole->first + whole->count, proved.content, fault);
      pack_proved_end(&making->seed->store, &proved);
    }
  }
  return code;
}

static int32_t regroup(struct making *making, struct task *task, struct fault *fault) {
  struct seed *seed = making->seed;
  struct regrouping work = {.making = making, .task = task};
  size_t chunks = seed->index->chunks_count;
  seed->blobs = malloc((chunks ? chunks : 1) * sizeof *seed->blobs);
  if (!seed->blobs) return no_memory(fault);
  for (size_t i = 0; i < chunks; i++) seed->blobs[i] = NO_BLOB;
  int32_t code = find_slots(&work, fault);
  work.wholes = malloc((work.count ? work.count : 1) * sizeof *work.wholes);
  if (code == 0 && !work.wholes) code = no_memory(fault);
  for (size_t i = 0, end; i < work.count && code == 0; i = end) {
    end = group_end(&work, i);
    code = task_cancelled(task) ? fault_set(fault, COPSE_E_CANCELLED, "cancelled while packing")
                                : see_group(&work, i, end, fault);
  }
  if (code == 0) code = settle_wholes(&work, fault);
  free(work.slots);
  free(work.wholes);
  return code;
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
    written->kind = kind;
    written->row = item->row;
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
  if (!index) return 0;
  bool has_use = index->is_native && (making->is_native || making->keeps);
  int32_t grouped = has_use ? regroup(making, task, fault) : 0;
  if (grouped < 0 || !making->keeps) return grouped;
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
