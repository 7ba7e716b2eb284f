#include "tree/block_index.h"

#include <stdlib.h>
#include <string.h>

constexpr uint32_t BLOCKS_A_SEGMENT = 4096;
constexpr uint32_t BLOCKS_MAX = 1U << 31;  // of an index; then its memory is 128 GB
constexpr uint32_t TABLE_FIRST = 4096;

void block_index_begin(struct block_index *index, struct buffers *buffers) {
  *index = (struct block_index){.buffers = buffers};
  mutex_begin(&index->lock);
  arena_begin(&index->names);
}

void block_index_end(struct block_index *index) {
  for (uint32_t at = 0; at < index->count; at += BLOCKS_A_SEGMENT)
    free(index->segments[at / BLOCKS_A_SEGMENT]);
  free(index->segments);
  free(index->table);
  free(index->files);
  arena_free(&index->names);
  buffer_release(index->buffers, index->reserved);
  mutex_end(&index->lock);
}

static int32_t reserve(struct block_index *index, size_t size, struct fault *fault) {
  if (!buffer_reserve(index->buffers, size))
    return fault_set(fault, COPSE_E_LIMIT,
                     "the index of %u blocks is all that fits into the memory of this runtime: "
                     "take larger blocks (size), or more memory",
                     index->count);
  index->reserved += size;
  return 0;
}

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory for the index of blocks");
}

static const struct block *block_at(const struct block_index *index, uint32_t number) {
  return &index->segments[number / BLOCKS_A_SEGMENT][number % BLOCKS_A_SEGMENT];
}

// The place of a block with this hash, or the free one where it belongs.
static uint32_t *place_of(struct block_index *index, const uint8_t hash[HASH_BYTES]) {
  uint64_t key;
  memcpy(&key, hash, sizeof key);
  uint32_t mask = index->table_size - 1, at = (uint32_t)key & mask;
  while (index->table[at] &&
         memcmp(block_at(index, index->table[at] - 1)->hash, hash, HASH_BYTES) != 0)
    at = (at + 1) & mask;
  return &index->table[at];
}

static int32_t grow_table(struct block_index *index, struct fault *fault) {
  uint32_t size = index->table_size ? index->table_size * 2 : TABLE_FIRST;
  int32_t code = reserve(index, (size_t)size * sizeof *index->table, fault);
  if (code < 0) return code;
  uint32_t *old = index->table, *table = calloc(size, sizeof *table);
  if (!table) return no_memory(fault);
  uint32_t old_size = index->table_size;
  index->table = table;
  index->table_size = size;
  for (uint32_t number = 0; number < index->count; number++)
    *place_of(index, block_at(index, number)->hash) = number + 1;
  free(old);
  buffer_release(index->buffers, (size_t)old_size * sizeof *table);
  index->reserved -= (size_t)old_size * sizeof *table;
  return 0;
}

static int32_t grow_segments(struct block_index *index, struct fault *fault) {
  size_t bytes = BLOCKS_A_SEGMENT * sizeof(struct block);
  int32_t code = reserve(index, bytes, fault);
  if (code < 0) return code;
  uint32_t number = index->count / BLOCKS_A_SEGMENT;
  struct block **segments = realloc(index->segments, (number + 1) * sizeof *segments);
  if (!segments) return no_memory(fault);
  index->segments = segments;
  segments[number] = malloc(bytes);
  return segments[number] ? 0 : no_memory(fault);
}

static int32_t append(struct block_index *index, const struct block *block, struct fault *fault) {
  if (index->count == BLOCKS_MAX)
    return fault_set(fault, COPSE_E_LIMIT, "there are more than %u blocks: take larger ones (size)",
                     BLOCKS_MAX);
  int32_t code = 0;
  if (index->count >= index->table_size / 4 * 3) code = grow_table(index, fault);
  if (code == 0 && index->count % BLOCKS_A_SEGMENT == 0) code = grow_segments(index, fault);
  if (code < 0) return code;
  uint32_t number = index->count++;
  index->segments[number / BLOCKS_A_SEGMENT][number % BLOCKS_A_SEGMENT] = *block;
  *place_of(index, block->hash) = number + 1;
  return 0;
}

int64_t block_index_file(struct block_index *index, span path, struct fault *fault) {
  mutex_lock(&index->lock);
  size_t bytes = path.size + 1 + 2 * sizeof(span);  // the list doubles
  int32_t code = reserve(index, bytes, fault);
  if (code == 0 && index->file_count == index->file_capacity) {
    uint32_t capacity = index->file_capacity ? index->file_capacity * 2 : 64;
    span *files = realloc(index->files, capacity * sizeof *files);
    if (files) {
      index->files = files;
      index->file_capacity = capacity;
    } else {
      code = no_memory(fault);
    }
  }
  span copy = code == 0 ? arena_copy(&index->names, path) : (span){};
  if (code == 0 && !copy.at) code = no_memory(fault);
  if (code == 0) index->files[index->file_count] = copy;
  int64_t number = code < 0 ? (int64_t)code : (int64_t)index->file_count++;
  mutex_unlock(&index->lock);
  return number;
}

int32_t block_index_add(struct block_index *index, const struct block *block, struct block *first,
                        span *path, struct fault *fault) {
  mutex_lock(&index->lock);
  uint32_t found = index->count ? *place_of(index, block->hash) : 0;
  int32_t code = 0;
  if (found) {
    *first = *block_at(index, found - 1);
    *path = index->files[first->file];
    code = 1;
  } else {
    code = append(index, block, fault);
  }
  mutex_unlock(&index->lock);
  return code;
}

bool block_index_find(struct block_index *index, const uint8_t hash[HASH_BYTES],
                      struct block *first) {
  mutex_lock(&index->lock);
  uint32_t found = index->count ? *place_of(index, hash) : 0;
  if (found) *first = *block_at(index, found - 1);
  mutex_unlock(&index->lock);
  return found != 0;
}
