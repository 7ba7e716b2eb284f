// arena: memory that is taken piece by piece and freed at once. One thread at a time.
// Taking never zeroes; everything is aligned to 16 bytes unless it is taken as bytes.
#pragma once
#include <stddef.h>
#include "base/span.h"

struct arena_block;
struct arena {
  struct arena_block *block;  // newest first
  uint8_t *at, *end;          // the free part of the newest block
  size_t taken;               // bytes of all blocks, for budgets
};

void arena_begin(struct arena *arena);  // no allocation yet
void arena_free(struct arena *arena);   // null and twice are fine
// What was taken is gone, the newest block is kept for what is taken next.
void arena_reset(struct arena *arena);
[[nodiscard]] void *arena_take(struct arena *arena, size_t size);          // nullptr: out of memory
[[nodiscard]] uint8_t *arena_take_more(struct arena *arena, size_t size);  // arena.c's own
[[nodiscard]] static inline uint8_t *arena_take_bytes(struct arena *arena, size_t size) {
  if (!arena->block || size > (size_t)(arena->end - arena->at)) return arena_take_more(arena, size);
  uint8_t *taken = arena->at;  // unaligned
  arena->at += size;
  return taken;
}
// A copy of the bytes in the arena, with a '\0' after them that is not counted, so that system
// calls can take it as it is. `at` is nullptr when memory ran out.
[[nodiscard]] span arena_copy(struct arena *arena, span bytes);
