// block_index: which blocks of content were seen, and where first. A block is 48 bytes, in memory
// as in a stored index (docs/formats.md); with its place in the table that is at most 59 bytes a
// block, and the path of a file once if it was the first with some block. Any thread may call.
#pragma once
#include "base/arena.h"
#include "base/fault.h"
#include "base/hash.h"
#include "base/span.h"
#include "engine/buffer.h"

struct block {
  uint8_t hash[HASH_BYTES];  // BLAKE3 of its content
  uint64_t offset;           // in its file
  uint32_t size;
  uint32_t file;  // number of the file, by block_index_file
};
static_assert(sizeof(struct block) == 48);

struct block_index {
  mutex lock;  // guards the rest
  struct buffers *buffers;
  struct block **segments;  // BLOCKS_A_SEGMENT each
  uint32_t *table;          // open addressing: number of the block + 1
  uint32_t count, table_size;
  span *files;
  uint32_t file_count, file_capacity;
  struct arena names;
  size_t reserved;  // bytes of the budget
};

void block_index_begin(struct block_index *index, struct buffers *buffers);
void block_index_end(struct block_index *index);
// A number for the file of this path. Negative: MEMORY or LIMIT.
int64_t block_index_file(struct block_index *index, span path, struct fault *fault);
// 0: it is the first of its content, and was added. 1: *first is that one, and *path its file's,
// which stays until the index ends. Negative: MEMORY or LIMIT.
int32_t block_index_add(struct block_index *index, const struct block *block, struct block *first,
                        span *path, struct fault *fault);
// Only looks. True: *first is it.
bool block_index_find(struct block_index *index, const uint8_t hash[HASH_BYTES],
                      struct block *first);
