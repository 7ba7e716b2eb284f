// buffer: one budget of bytes for everything a runtime holds on behalf of tasks: workers' slabs, result pages,
// pushed bytes. The budget is a bound for slabs (a worker does not start without them) and an account for pages,
// whose own bound is two unread pages a task.
#pragma once
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct buffers {
  _Atomic uint64_t taken;
  uint64_t limit;
};

void buffers_begin(struct buffers *buffers, uint64_t limit);
// Page-aligned. nullptr when the system has no memory; with `bounded`, also when the budget is spent.
[[nodiscard]] uint8_t *buffer_take(struct buffers *buffers, size_t size, bool bounded);
void buffer_give(struct buffers *buffers, uint8_t *buffer, size_t size);
