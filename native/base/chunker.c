#include "base/chunker.h"

#include <assert.h>
#include <string.h>

// A hash has forgotten every byte that lies so far back.
constexpr uint32_t WINDOW = 64;
// Of the hashes within reach so many are looked at, on average: enough that the highest is among
// them, few enough that the loop over the bytes seldom stops.
constexpr uint32_t LOOKED_AT = 64;

// Fixed for ever: stored indexes depend on it. SplitMix64 from zero.
static void fill_gear(uint64_t gear[256]) {
  uint64_t state = 0;
  for (int i = 0; i < 256; i++) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    gear[i] = z ^ z >> 31;
  }
}

void chunker_begin(struct chunker *chunker, uint32_t size) {
  assert(size >= CHUNK_SIZE_MIN && size <= CHUNK_SIZE_MAX);
  *chunker = (struct chunker){.reach = size / 2, .longest = size * 4};
  chunker->threshold = UINT64_MAX - UINT64_MAX / chunker->reach * LOOKED_AT;
  fill_gear(chunker->gear);
}

// Hashes bytes[from, to) up to the first that is looked at. Its place, or `to`.
static size_t scan(const uint64_t *restrict gear, uint64_t threshold, const uint8_t *restrict bytes,
                   size_t from, size_t to, uint64_t *hash) {
  uint64_t h = *hash;
  size_t i = from;
  for (; i < to; i++) {
    h = (h << 1) + gear[bytes[i]];
    if (h >= threshold) break;
  }
  *hash = h;
  return i;
}

// Whether it is higher than everything within reach before it; keeps what that means for those
// after it. Content can be made to have more falling hashes than fit: then the lowest are not kept,
// which can only cost cuts their distance to an insertion, never their order.
static bool is_highest_so_far(struct chunker *chunker, struct chunk_peak peak) {
  struct chunk_peak *peaks = chunker->peaks;
  uint32_t past = 0, count = chunker->peak_count;
  while (past < count && peaks[past].at + chunker->reach < peak.at) past++;
  count -= past;
  if (past > 0) memmove(peaks, peaks + past, count * sizeof *peaks);
  while (count > 0 && peaks[count - 1].hash < peak.hash) count--;
  bool is_highest = count == 0;
  if (count > 0 && peaks[count - 1].hash == peak.hash)
    peaks[count - 1] = peak;
  else if (count < CHUNK_PEAKS)
    peaks[count++] = peak;
  chunker->peak_count = count;
  return is_highest;
}

static bool is_settled(const struct chunker *chunker, uint64_t seen) {
  return chunker->has_candidate && seen > chunker->candidate.at + chunker->reach;
}

// A block that ends there is long enough.
static bool ends_block(const struct chunker *chunker, uint64_t at) {
  return at + 1 >= chunker->start + chunker->reach;
}

static size_t end_block(struct chunker *chunker, uint64_t end) {
  size_t size = (size_t)(end - chunker->start);
  chunker->start = end;
  chunker->has_candidate = chunker->has_candidate && ends_block(chunker, chunker->candidate.at);
  return size;
}

// The highest hash of a block that would become too long, the last of equal ones: what repeats
// itself is cut at the same place of what is repeated, wherever it begins.
static uint64_t forced_end(const struct chunker *chunker, const uint8_t *bytes) {
  uint64_t hash = 0, highest = 0;
  size_t end = chunker->longest, i = chunker->reach - WINDOW;
  for (; i < chunker->reach; i++) hash = (hash << 1) + chunker->gear[bytes[i]];
  for (; i < chunker->longest; i++) {
    hash = (hash << 1) + chunker->gear[bytes[i]];
    if (hash < highest) continue;
    highest = hash;
    end = i + 1;
  }
  return chunker->start + end;
}

// It is known where the block would become too long, and that nothing before ends it.
static bool is_too_long(const struct chunker *chunker, uint64_t seen) {
  uint64_t end = chunker->start + chunker->longest;
  return seen >= end && !(chunker->has_candidate && chunker->candidate.at < end);
}

// Takes in the byte that scan stopped at. The block that it settles, or zero.
static size_t add_peak(struct chunker *chunker, struct chunk_peak peak) {
  size_t ended = 0;
  if (is_settled(chunker, peak.at)) ended = end_block(chunker, chunker->candidate.at + 1);
  chunker->seen = peak.at + 1;
  chunker->hash = peak.hash;
  if (is_highest_so_far(chunker, peak)) {
    chunker->candidate = peak;
    chunker->has_candidate = ends_block(chunker, peak.at);
  }
  return ended;
}

size_t chunker_next(struct chunker *chunker, const uint8_t *bytes, size_t size, bool at_end) {
  uint64_t start = chunker->start, end = start + size, limit = start + chunker->longest;
  while (chunker->seen < end) {
    if (is_settled(chunker, chunker->seen)) return end_block(chunker, chunker->candidate.at + 1);
    if (is_too_long(chunker, chunker->seen)) return end_block(chunker, forced_end(chunker, bytes));
    // What is before the limit is looked at first; past it there is a candidate that may yet end
    // the block.
    uint64_t stop = chunker->seen < limit ? limit : chunker->candidate.at + chunker->reach + 1;
    if (stop > end) stop = end;
    struct chunk_peak peak = {.hash = chunker->hash};
    peak.at = start + scan(chunker->gear, chunker->threshold, bytes,
                           (size_t)(chunker->seen - start), (size_t)(stop - start), &peak.hash);
    if (peak.at == stop) {
      chunker->seen = stop;
      chunker->hash = peak.hash;
      continue;
    }
    size_t ended = add_peak(chunker, peak);
    if (ended > 0) return ended;
  }
  if (is_settled(chunker, end)) return end_block(chunker, chunker->candidate.at + 1);
  if (size > chunker->longest && is_too_long(chunker, end))
    return end_block(chunker, forced_end(chunker, bytes));
  if (!at_end || size == 0) return 0;
  return end_block(chunker, chunker->has_candidate ? chunker->candidate.at + 1 : end);
}
