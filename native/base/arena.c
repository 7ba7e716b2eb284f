// arena: see arena.h. Blocks double from 4 KiB to 64 KiB: a listing of ten names costs one small
// block, one of a million names few calls, and no block is so large that malloc would map and unmap
// it for every directory.
#include "base/arena.h"

#include <stdckdint.h>
#include <stdlib.h>

constexpr size_t ALIGNMENT = 16;
constexpr size_t BLOCK_MIN = 4 * 1024, BLOCK_MAX = 64 * 1024;

struct arena_block {
  struct arena_block *next;
  alignas(ALIGNMENT) uint8_t bytes[];
};

void arena_begin(struct arena *arena) { *arena = (struct arena){}; }

void arena_free(struct arena *arena) {
  if (!arena) return;
  for (struct arena_block *block = arena->block, *next; block; block = next) {
    next = block->next;
    free(block);
  }
  *arena = (struct arena){};
}

void arena_reset(struct arena *arena) {
  struct arena_block *kept = arena->block;
  if (!kept) return;
  struct arena rest = {.block = kept->next};
  arena_free(&rest);
  kept->next = nullptr;
  arena->at = kept->bytes;
  arena->taken = (size_t)(arena->end - (uint8_t *)kept);
}

// A new block with `size` bytes taken from its front.
uint8_t *arena_take_more(struct arena *arena, size_t size) {
  size_t wanted = arena->taken < BLOCK_MIN   ? BLOCK_MIN
                  : arena->taken > BLOCK_MAX ? BLOCK_MAX
                                             : arena->taken;
  size_t needed;
  if (ckd_add(&needed, size, sizeof(struct arena_block)) || needed > PTRDIFF_MAX) return nullptr;
  // What would fill most of a block gets one of its own, and the newest one goes on being filled.
  bool is_alone = needed > wanted / 2 && arena->block;
  size_t total = needed > wanted || is_alone ? needed : wanted;
  struct arena_block *block = malloc(total);
  if (!block) return nullptr;
  arena->taken += total;
  if (is_alone) {
    block->next = arena->block->next;
    arena->block->next = block;
    return block->bytes;
  }
  block->next = arena->block;
  arena->block = block;
  arena->at = block->bytes + size;
  arena->end = (uint8_t *)block + total;
  return block->bytes;
}

void *arena_take(struct arena *arena, size_t size) {
  size_t left = (size_t)(arena->end - arena->at);
  size_t padding = -(uintptr_t)arena->at & (ALIGNMENT - 1);
  if (!arena->block || padding > left || size > left - padding) return arena_take_more(arena, size);
  uint8_t *taken = arena->at + padding;
  arena->at = taken + size;
  return taken;
}

span arena_copy(struct arena *arena, span bytes) {
  size_t size;
  uint8_t *copy = ckd_add(&size, bytes.size, 1) ? nullptr : arena_take_bytes(arena, size);
  if (!copy) return (span){};
  if (bytes.size) memcpy(copy, bytes.at, bytes.size);
  copy[bytes.size] = 0;
  return (span){copy, bytes.size};
}
