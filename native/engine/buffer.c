#include "engine/buffer.h"

#include <stdlib.h>

constexpr size_t PAGE_ALIGN = 4096;

void buffers_begin(struct buffers *buffers, uint64_t limit) {
  atomic_init(&buffers->taken, 0);
  buffers->limit = limit;
}

uint8_t *buffer_take(struct buffers *buffers, size_t size, bool bounded) {
  uint64_t before = atomic_fetch_add_explicit(&buffers->taken, size, memory_order_relaxed);
  bool fits = !bounded || (size <= buffers->limit && before <= buffers->limit - size);
  uint8_t *buffer = fits ? aligned_alloc(PAGE_ALIGN, (size + PAGE_ALIGN - 1) / PAGE_ALIGN * PAGE_ALIGN) : nullptr;
  if (!buffer) atomic_fetch_sub_explicit(&buffers->taken, size, memory_order_relaxed);
  return buffer;
}

void buffer_give(struct buffers *buffers, uint8_t *buffer, size_t size) {
  if (!buffer) return;
  free(buffer);
  atomic_fetch_sub_explicit(&buffers->taken, size, memory_order_relaxed);
}
