// buffer: what is taken is counted until it is given back; the budget binds who asks for it.
#include "engine/buffer.h"

#include <string.h>

#include "check.h"

static uint64_t taken(struct buffers *buffers) { return atomic_load(&buffers->taken); }

static void counted_and_aligned(void) {
  struct buffers buffers;
  buffers_begin(&buffers, 1 << 20);
  static const size_t sizes[] = {1, 64, 4095, 4096, 4097, BUFFER_KEPT_BYTES, 256 * 1024};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    uint8_t *buffer = buffer_take(&buffers, sizes[i], true);
    CHECK(buffer && (uintptr_t)buffer % 4096 == 0);
    memset(buffer, 0xA5, sizes[i]);
    CHECK(taken(&buffers) == sizes[i]);
    buffer_give(&buffers, buffer, sizes[i]);
    CHECK(taken(&buffers) == 0);
  }
  buffer_give(&buffers, nullptr, 4096);
  CHECK(taken(&buffers) == 0);
}

static void budget(void) {
  struct buffers buffers;
  buffers_begin(&buffers, 100'000);
  uint8_t *first = buffer_take(&buffers, 60'000, true);
  CHECK(first);
  CHECK(!buffer_take(&buffers, 40'001, true));
  CHECK(taken(&buffers) == 60'000);
  uint8_t *second = buffer_take(&buffers, 40'000, true);
  CHECK(second && taken(&buffers) == 100'000);
  CHECK(!buffer_take(&buffers, 1, true));
  uint8_t *beyond = buffer_take(&buffers, 50'000, false);  // not bound by it, but counted
  CHECK(beyond && taken(&buffers) == 150'000);
  CHECK(!buffer_take(&buffers, 200'000, true));
  CHECK(!buffer_take(&buffers, SIZE_MAX, false));
  CHECK(!buffer_take(&buffers, SIZE_MAX - 4096, true));
  CHECK(taken(&buffers) == 150'000);
  buffer_give(&buffers, first, 60'000);
  buffer_give(&buffers, second, 40'000);
  buffer_give(&buffers, beyond, 50'000);
  CHECK(taken(&buffers) == 0);
}

static void some_are_kept(size_t size) {
  struct buffers buffers;
  buffers_begin(&buffers, 1 << 30);
  uint8_t *all[BUFFER_KEPT_MAX * 2];
  for (size_t i = 0; i < BUFFER_KEPT_MAX * 2; i++) {
    all[i] = buffer_take(&buffers, size, false);
    CHECK(all[i]);
    for (size_t j = 0; j < i; j++) CHECK(all[j] != all[i]);
  }
  CHECK(buffer_kept(size) == 0);
  buffer_release(&buffers, size);
  buffer_free(all[0], size);  // its account had ended before
  for (size_t i = 1; i < BUFFER_KEPT_MAX * 2; i++) buffer_give(&buffers, all[i], size);
  CHECK(taken(&buffers) == 0);
  uint32_t kept = buffer_kept(size);
  CHECK(kept >= 16 && kept <= BUFFER_KEPT_MAX);
  uint8_t *again = buffer_take(&buffers, size, false);
  CHECK(again && buffer_kept(size) == kept - 1);
  buffer_give(&buffers, again, size);
}

int main(void) {
  counted_and_aligned();
  budget();
  some_are_kept(BUFFER_KEPT_BYTES);
  some_are_kept(BUFFER_KEPT_LARGE_BYTES);
}
