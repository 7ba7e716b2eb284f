#include "engine/buffer.h"

#include <stdlib.h>

constexpr size_t PAGE_ALIGN = 4096;

// Of all runtimes, because a page may outlive its own.
static struct {
  mutex lock;
  struct kept {
    size_t size;
    uint32_t count;
    uint8_t *blocks[BUFFER_KEPT_MAX];
  } sizes[2];
} kept = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .sizes = {{.size = BUFFER_KEPT_BYTES}, {.size = BUFFER_KEPT_LARGE_BYTES}},
};

void buffers_begin(struct buffers *buffers, uint64_t limit) {
  *buffers = (struct buffers){.limit = limit};
}

static struct kept *kept_of(size_t size) {
  for (size_t i = 0; i < sizeof kept.sizes / sizeof *kept.sizes; i++)
    if (kept.sizes[i].size == size) return &kept.sizes[i];
  return nullptr;
}

static uint8_t *take_kept(size_t size) {
  struct kept *these = kept_of(size);
  if (!these) return nullptr;
  mutex_lock(&kept.lock);
  uint8_t *buffer = these->count > 0 ? these->blocks[--these->count] : nullptr;
  mutex_unlock(&kept.lock);
  return buffer;
}

void buffer_free(uint8_t *buffer, size_t size) {
  struct kept *these = kept_of(size);
  bool room = false;
  if (these) {
    mutex_lock(&kept.lock);
    room = these->count < BUFFER_KEPT_MAX;
    if (room) these->blocks[these->count++] = buffer;
    mutex_unlock(&kept.lock);
  }
  if (!room) free(buffer);
}

uint32_t buffer_kept(size_t size) {
  struct kept *these = kept_of(size);
  if (!these) return 0;
  mutex_lock(&kept.lock);
  uint32_t count = these->count;
  mutex_unlock(&kept.lock);
  return count;
}

uint8_t *buffer_take(struct buffers *buffers, size_t size, bool bounded) {
  if (size > PTRDIFF_MAX - PAGE_ALIGN) return nullptr;
  uint64_t before = atomic_fetch_add_explicit(&buffers->taken, size, memory_order_relaxed);
  bool fits = !bounded || (size <= buffers->limit && before <= buffers->limit - size);
  uint8_t *buffer = fits ? take_kept(size) : nullptr;
  if (fits && !buffer)
    buffer = aligned_alloc(PAGE_ALIGN, (size + PAGE_ALIGN - 1) / PAGE_ALIGN * PAGE_ALIGN);
  if (!buffer) buffer_release(buffers, size);
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
  buffer_free(buffer, size);
  buffer_release(buffers, size);
}
