#include "engine/limit.h"

// What a bucket holds at most, and what a piece is: a tenth of a second's worth. A reader that was
// held up for a moment catches up; one that slept for an hour does not send an hour's bytes at
// once.
constexpr uint64_t PARTS = 10;
constexpr size_t PIECE_LEAST = 4096;

void limit_begin(struct limit *limit, uint64_t per_second, uint64_t now_ns) {
  *limit = (struct limit){.per_second = per_second, .filled_ns = now_ns};
  if (per_second) mutex_begin(&limit->lock);
}

void limit_end(struct limit *limit) {
  if (limit->per_second) mutex_end(&limit->lock);
}

// The lock is held. Doubles keep fractions of a byte: at 1 byte a second a look every microsecond
// must not lose what came in between.
static void fill(struct limit *limit, uint64_t now_ns) {
  if (now_ns <= limit->filled_ns) return;
  double rate = (double)limit->per_second, most = rate / (double)PARTS;
  limit->tokens += (double)(now_ns - limit->filled_ns) * rate / 1e9;
  limit->filled_ns = now_ns;
  if (limit->tokens > most) limit->tokens = most;
}

uint64_t limit_wait_ns(struct limit *limit, uint64_t now_ns) {
  if (!limit->per_second) return 0;
  mutex_lock(&limit->lock);
  fill(limit, now_ns);
  double debt = -limit->tokens;
  mutex_unlock(&limit->lock);
  if (debt <= 0) return 0;
  double wait = debt * 1e9 / (double)limit->per_second;
  return wait < 1e18 ? (uint64_t)wait + 1 : (uint64_t)1e18;
}

void limit_take(struct limit *limit, uint64_t bytes, uint64_t now_ns) {
  if (!limit->per_second) return;
  mutex_lock(&limit->lock);
  fill(limit, now_ns);
  limit->tokens -= (double)bytes;
  mutex_unlock(&limit->lock);
}

size_t limit_piece(const struct limit *limit) {
  if (!limit->per_second) return SIZE_MAX;
  uint64_t piece = limit->per_second / PARTS;
  return piece < PIECE_LEAST ? PIECE_LEAST : piece > SIZE_MAX ? SIZE_MAX : (size_t)piece;
}
