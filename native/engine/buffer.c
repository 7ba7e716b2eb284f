#include "engine/buffer.h"

#include <stdlib.h>

constexpr size_t PAGE_ALIGN = 4096;

void buffers_begin(struct buffers *buffers, uint64_t limit) {
  *buffers = (struct buffers){.limit = limit};
  mutex_begin(&buffers->lock);
}

void buffers_end(struct buffers *buffers) {
  for (uint32_t i = 0; i < buffers->kept_count; i++) free(buffers->kept[i]);
  mutex_end(&buffers->lock);
}

static uint8_t *take_kept(struct buffers *buffers) {
  mutex_lock(&buffers->lock);
  uint8_t *buffer = buffers->kept_count ? buffers->kept[--buffers->kept_count] : nullptr;
  mutex_unlock(&buffers->lock);
  return buffer;
}

static bool keep(struct buffers *buffers, uint8_t *buffer) {
  mutex_lock(&buffers->lock);
  bool room = buffers->kept_count < BUFFER_KEPT_MAX;
  if (room) buffers->kept[buffers->kept_count++] = buffer;
  mutex_unlock(&buffers->lock);
  return room;
}

uint8_t *buffer_take(struct buffers *buffers, size_t size, bool bounded) {
  if (size > PTRDIFF_MAX - PAGE_ALIGN) return nullptr;
  uint64_t before = atomic_fetch_add_explicit(&buffers->taken, size, memory_order_relaxed);
  bool fits = !bounded || (size <= buffers->limit && before <= buffers->limit - size);
  uint8_t *buffer = fits && size == BUFFER_KEPT_BYTES ? take_kept(buffers) : nullptr;
  if (fits && !buffer)
    buffer = aligned_alloc(PAGE_ALIGN, (size + PAGE_ALIGN - 1) / PAGE_ALIGN * PAGE_ALIGN);
  if (!buffer) atomic_fetch_sub_explicit(&buffers->taken, size, memory_order_relaxed);
  return buffer;
}

bool buffer_reserve(struct buffers *buffers, size_t size) {
  uint64_t before = atomic_fetch_add_explicit(&buffers->taken, size, memory_order_relaxed);
  if (size <= buffers->limit && before <= buffers->limit - size) return true;
  buffer_release(buffers, size);
  return false;
}

void buffer_release(struct buffers *buffers, size_t size) {
  atomic_fetch_sub_explicit(&buffers->taken, size, memory_order_relaxed);
}

void buffer_give(struct buffers *buffers, uint8_t *buffer, size_t size) {
  if (!buffer) return;
  if (size != BUFFER_KEPT_BYTES || !keep(buffers, buffer)) free(buffer);
  atomic_fetch_sub_explicit(&buffers->taken, size, memory_order_relaxed);
}
