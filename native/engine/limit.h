// limit: so many bytes a second, as a bucket of tokens that fills all the time, fractions kept.
//
// Who moves bytes waits until the bucket is not empty, moves a piece, and then takes what it moved,
// which may leave the bucket in debt: so a piece is never refused for being larger than the bucket,
// and what comes next pays for it. Any thread may call anything.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "engine/thread.h"

struct limit {
  uint64_t per_second;  // zero: no limit, and then nothing below is looked at
  mutex lock;           // guards the rest
  double tokens;        // bytes that may be moved now; below zero: debt
  uint64_t filled_ns;   // when tokens was right
};

void limit_begin(struct limit *limit, uint64_t per_second, uint64_t now_ns);
void limit_end(struct limit *limit);
// Nanoseconds until a piece may be moved; zero: now. Zero without a limit.
uint64_t limit_wait_ns(struct limit *limit, uint64_t now_ns);
void limit_take(struct limit *limit, uint64_t bytes, uint64_t now_ns);
// Bytes to move at once, so that one piece is no long wait for the next; SIZE_MAX without a limit.
size_t limit_piece(const struct limit *limit);
