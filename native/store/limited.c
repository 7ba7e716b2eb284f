#include "store/limited.h"

#include <stdlib.h>

#include "copse.h"
#include "engine/runtime.h"

// A wait is slept in pieces, so that a cancelled task ends within ten milliseconds.
constexpr uint64_t SLEEP_NS = 5'000'000;

struct limited {
  struct store_ops ops;  // first: what store->ops points to
  const struct store_ops *own;
};

static const struct store_ops *own_of(const struct store *store) {
  return ((const struct limited *)(const void *)store->ops)->own;
}

static uint64_t wait_ns(struct store *store) {
  uint64_t now = clock_now(), task = limit_wait_ns(&store->task->limit, now);
  return task ? task : limit_wait_ns(&store->runtime->limit, now);
}

// Others work in the place of one that waits.
static int32_t wait_turn(struct store *store, struct fault *fault) {
  uint64_t wait = wait_ns(store);
  if (wait == 0) return 0;
  bool aside = pool_step_aside();
  while (wait > 0 && !task_cancelled(store->task)) {
    thread_sleep(wait < SLEEP_NS ? wait : SLEEP_NS);
    wait = wait_ns(store);
  }
  if (aside) pool_step_back();
  return wait > 0 ? fault_set(fault, COPSE_E_CANCELLED, "cancelled") : 0;
}

static void take(struct store *store, uint64_t bytes) {
  uint64_t now = clock_now();
  limit_take(&store->task->limit, bytes, now);
  limit_take(&store->runtime->limit, bytes, now);
}

static size_t piece_of(const struct store *store) {
  size_t task = limit_piece(&store->task->limit), all = limit_piece(&store->runtime->limit);
  return task < all ? task : all;
}

static int64_t limited_read(struct reader *reader, uint64_t at, uint8_t *into, size_t size,
                            struct fault *fault) {
  struct store *store = reader->store;
  int32_t code = wait_turn(store, fault);
  if (code < 0) return code;
  size_t piece = piece_of(store);
  int64_t got = own_of(store)->read(reader, at, into, size < piece ? size : piece, fault);
  if (got > 0) take(store, (uint64_t)got);
  return got;
}

static int64_t limited_read_any(struct reader *reader, uint64_t *at, uint8_t *into, size_t size,
                                struct fault *fault) {
  struct store *store = reader->store;
  int32_t code = wait_turn(store, fault);
  if (code < 0) return code;
  size_t piece = piece_of(store);
  int64_t got = own_of(store)->read_any(reader, at, into, size < piece ? size : piece, fault);
  if (got > 0) take(store, (uint64_t)got);
  return got;
}

static int32_t limited_write(struct writer *writer, uint64_t at, const uint8_t *bytes, size_t size,
                             struct fault *fault) {
  struct store *store = writer->store;
  int32_t code = wait_turn(store, fault);
  if (code == 0) code = own_of(store)->write(writer, at, bytes, size, fault);
  if (code == 0) take(store, size);
  return code;
}

static int64_t limited_pull(struct writer *writer, struct reader *reader, uint64_t at,
                            uint64_t size, struct fault *fault) {
  struct store *store = writer->store;
  int32_t code = wait_turn(store, fault);
  if (code < 0) return code;
  // The whole is asked for as that, and is there without a byte that moves.
  if (size == UINT64_MAX && !reader->flows)
    return own_of(store)->pull(writer, reader, at, size, fault);
  size_t piece = piece_of(store);
  int64_t got = own_of(store)->pull(writer, reader, at, size < piece ? size : piece, fault);
  if (got > 0) take(store, (uint64_t)got);
  return got;
}

int32_t limited_begin(struct store *store, struct fault *fault) {
  if (!store->task->limit.per_second && !store->runtime->limit.per_second) return 0;
  struct limited *limited = malloc(sizeof *limited);
  if (!limited) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  *limited = (struct limited){.ops = *store->ops, .own = store->ops};
  limited->ops.read = limited_read;
  if (limited->own->read_any) limited->ops.read_any = limited_read_any;
  limited->ops.together = nullptr;
  if (limited->own->write) limited->ops.write = limited_write;
  if (limited->own->pull) limited->ops.pull = limited_pull;
  store->ops = &limited->ops;
  return 0;
}

void limited_end(struct store *store) {
  if (store->ops->read != limited_read) return;
  struct limited *limited = (struct limited *)(uintptr_t)(const void *)store->ops;
  store->ops = limited->own;
  free(limited);
}
