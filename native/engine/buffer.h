// buffer: one budget of bytes for everything a runtime holds on behalf of tasks: workers' slabs,
// result pages, pushed bytes. The budget is a bound for slabs (a worker does not start without
// them) and an account for pages, whose own bound is two unread pages a task.
#pragma once
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "engine/thread.h"

// Blocks of these sizes, result pages with their head, come and go all the time. Some are kept,
// because the allocator would give each one back to the system and fetch its memory anew, 17 page
// faults a time for the smaller ones. Of the larger ones JavaScript's collector gives many back at
// once: 8 MiB at most.
constexpr size_t BUFFER_KEPT_BYTES = 64 * 1024 + 64;
constexpr size_t BUFFER_KEPT_LARGE_BYTES = 512 * 1024 + 64;
constexpr uint32_t BUFFER_KEPT_MAX = 16;

struct buffers {
  _Atomic uint64_t taken;
  uint64_t limit;
};

void buffers_begin(struct buffers *buffers, uint64_t limit);
// Page-aligned. nullptr when the system has no memory; with `bounded`, also when the budget is
// spent.
[[nodiscard]] uint8_t *buffer_take(struct buffers *buffers, size_t size, bool bounded);
// Only the account, for memory that somebody else takes and bounds.
[[nodiscard]] bool buffer_reserve(struct buffers *buffers, size_t size);
void buffer_release(struct buffers *buffers, size_t size);
void buffer_give(struct buffers *buffers, uint8_t *buffer,
                 size_t size);  // with the size it was taken with
// Only the memory, when the account has ended for it.
void buffer_free(uint8_t *buffer, size_t size);
uint32_t buffer_kept(size_t size);  // how many of this size lie ready
