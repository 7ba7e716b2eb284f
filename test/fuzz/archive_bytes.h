// archive_bytes: a store whose only file is the fuzzer's input, and the layers over it.
#pragma once
#include <stdlib.h>

#include "engine/task.h"
#include "store/archive_source.h"

struct archive_bytes {
  struct store store;
  span bytes;
  struct task task;
  _Atomic bool stop;
};

static int64_t bytes_read(struct reader *reader, uint64_t at, uint8_t *into, size_t size,
                          struct fault *) {
  span bytes = ((struct archive_bytes *)reader->slot[0])->bytes;
  size_t left = at < bytes.size ? bytes.size - (size_t)at : 0, got = size < left ? size : left;
  if (got) memcpy(into, bytes.at + at, got);
  return (int64_t)got;
}

static void bytes_read_end(struct reader *) {}

static int32_t bytes_measure(struct reader *reader, struct entry *out, bool *, struct fault *) {
  *out = (struct entry){.type = ENTRY_FILE,
                        .has = HAS_STAT | HAS_SIZE,
                        .size = ((struct archive_bytes *)reader->slot[0])->bytes.size};
  return 0;
}

static const struct store_ops bytes_ops = {
    .scheme = "bytes", .read = bytes_read, .read_end = bytes_read_end, .measure = bytes_measure};

static inline struct reader bytes_open(struct archive_bytes *all, const uint8_t *at, size_t size) {
  *all = (struct archive_bytes){.store = {.ops = &bytes_ops}, .bytes = {at, size}};
  struct reader reader = {.store = &all->store, .fd = -1};
  reader.slot[0] = all;
  return reader;
}

static inline struct archive_source *bytes_source(struct archive_bytes *all,
                                                  struct reader *reader) {
  struct entry measured = {};
  struct fault fault = {};
  bytes_measure(reader, &measured, nullptr, &fault);
  return source_file(reader, &measured, false, &all->task, &all->stop);
}

// Small, so that an input takes little time.
static const struct archive_limits fuzz_limits = {
    .entries = 1000, .bytes = 8 << 20, .ratio = 200, .depth = 50, .path = 512, .nested = 2};
