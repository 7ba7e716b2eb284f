// arena: what is taken stays where it is, aligned, apart from everything else, until the arena is
// freed.
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

#include "base/arena.h"

static void freeing_nothing_is_fine(void) {
  arena_free(nullptr);
  struct arena arena;
  arena_begin(&arena);
  CHECK(arena.taken == 0);
  arena_free(&arena);
  arena_free(&arena);
}

static void pieces_do_not_overlap(void) {
  enum { PIECES = 5000 };
  static uint8_t *pieces[PIECES];
  static size_t sizes[PIECES];
  struct arena arena;
  arena_begin(&arena);
  uint32_t random = 1;
  size_t total = 0;
  for (size_t i = 0; i < PIECES; i++) {
    random = random * 1664525u + 1013904223u;
    sizes[i] = random >> 8 & 63;
    if (i % 97 == 0) sizes[i] = random >> 8 & 0x1FFFF;  // larger than a block at times
    bool aligned = i % 2;
    pieces[i] = aligned ? arena_take(&arena, sizes[i]) : arena_take_bytes(&arena, sizes[i]);
    CHECK(pieces[i]);
    if (aligned) CHECK((uintptr_t)pieces[i] % 16 == 0);
    memset(pieces[i], (int)(i & 0xFF), sizes[i]);
    total += sizes[i];
  }
  for (size_t i = 0; i < PIECES; i++)
    for (size_t k = 0; k < sizes[i]; k++) CHECK(pieces[i][k] == (i & 0xFF));
  CHECK(arena.taken >= total);
  CHECK(arena.taken < total * 2);
  arena_free(&arena);
  CHECK(arena.taken == 0);
}

static void a_large_piece_leaves_the_block_in_use(void) {
  struct arena arena;
  arena_begin(&arena);
  uint8_t *before = arena_take_bytes(&arena, 10);
  CHECK(arena_take(&arena, 1 << 20));
  CHECK(arena_take_bytes(&arena, 10) == before + 10);
  arena_free(&arena);
}

static void too_much_is_refused(void) {
  struct arena arena;
  arena_begin(&arena);
  CHECK(!arena_take(&arena, SIZE_MAX));
  CHECK(!arena_take(&arena, SIZE_MAX - 8));
  CHECK(!arena_take_bytes(&arena, SIZE_MAX - 20));
  CHECK(arena_take(&arena, 1));
  CHECK(!arena_take(&arena, SIZE_MAX));
  CHECK(arena_copy(&arena, (span){(const uint8_t *)"", SIZE_MAX}).at == nullptr);
  arena_free(&arena);
}

static void copies_end_with_a_nul(void) {
  struct arena arena;
  arena_begin(&arena);
  span copy = arena_copy(&arena, SPAN("abc"));
  CHECK(copy.size == 3);
  CHECK(strcmp((const char *)copy.at, "abc") == 0);
  copy = arena_copy(&arena, (span){});
  CHECK(copy.at);
  CHECK(copy.size == 0);
  CHECK(copy.at[0] == 0);
  arena_free(&arena);
}

int main(void) {
  freeing_nothing_is_fine();
  pieces_do_not_overlap();
  a_large_piece_leaves_the_block_in_use();
  too_much_is_refused();
  copies_end_with_a_nul();
}
