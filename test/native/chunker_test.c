// chunker: the same cuts however the content is handed over, blocks between half and four times the
// size, an inserted byte that changes at most three blocks, and cuts that other programs find too.
#include "base/chunker.h"

#include <string.h>

#include "base/hash.h"
#include "check.h"

constexpr size_t BYTES = 4 << 20;
constexpr size_t BLOCKS_MAX = BYTES / 512;

static uint64_t state;

static uint64_t next_random(void) {
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

static void fill_random(uint8_t *bytes, size_t size, uint64_t seed) {
  state = seed;
  for (size_t at = 0; at < size; at += 8) {
    uint64_t word = next_random();
    memcpy(bytes + at, &word, size - at < 8 ? size - at : 8);
  }
}

// Words of few letters, as in texts; they repeat themselves.
static void fill_text(uint8_t *bytes, size_t size, uint64_t seed) {
  state = seed;
  size_t at = 0;
  while (at < size) {
    uint64_t word = next_random() % 997 * 0x9e3779b97f4a7c15;
    for (int i = 0; i < 3 + (int)(word % 8) && at < size; i++)
      bytes[at++] = (uint8_t)('a' + (word >> (8 + 5 * i)) % 26);
    if (at < size) bytes[at++] = ' ';
  }
}

// The sizes of all blocks, with `piece` bytes more each time.
static size_t cut(const uint8_t *bytes, size_t size, uint32_t block, size_t piece, size_t *sizes) {
  static struct chunker chunker;
  chunker_begin(&chunker, block);
  size_t count = 0, start = 0, there = 0;
  for (;;) {
    size_t one = chunker_next(&chunker, bytes + start, there - start, there == size);
    if (one > 0) {
      CHECK(one <= there - start && count < BLOCKS_MAX);
      sizes[count++] = one;
      start += one;
      CHECK(chunker.start == start);
    } else if (there == size) {
      break;
    } else {
      CHECK(there - start < chunker_need(&chunker));
      there += size - there < piece ? size - there : piece;
    }
  }
  CHECK(start == size);
  return count;
}

static void test_pieces(const uint8_t *bytes, size_t size, uint32_t block) {
  static size_t whole[BLOCKS_MAX], pieces[BLOCKS_MAX];
  size_t count = cut(bytes, size, block, size, whole);
  static const size_t piece[] = {1, 7, 4096, 65536, 1'000'003};
  for (size_t k = SHRINK > 1 ? 1 : 0; k < sizeof piece / sizeof *piece; k++) {
    CHECK(cut(bytes, size, block, piece[k], pieces) == count);
    CHECK(memcmp(whole, pieces, count * sizeof *whole) == 0);
  }
  for (size_t i = 0; i < count; i++) {
    CHECK(whole[i] <= (size_t)block * 4);
    CHECK(whole[i] >= block / 2 || i == count - 1);
  }
}

static void test_sizes(void) {
  static uint8_t bytes[BYTES];
  static size_t sizes[BLOCKS_MAX];
  fill_random(bytes, BYTES, 1);
  static const uint32_t blocks[] = {CHUNK_SIZE_MIN, 3000, 8192};
  for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
    size_t count = cut(bytes, BYTES, blocks[i], BYTES, sizes);
    double average = (double)BYTES / (double)count;
    CHECK(average > blocks[i] * 0.85 && average < blocks[i] * 1.15);
  }
  CHECK(cut(bytes, 0, CHUNK_SIZE_MIN, 1, sizes) == 0);
  for (size_t size = 1; size < 3000; size += 7) test_pieces(bytes, size, CHUNK_SIZE_MIN);
  test_pieces(bytes, 256 << 10, CHUNK_SIZE_MIN);
  test_pieces(bytes, 1 << 20, CHUNK_SIZE_DEFAULT);
  test_pieces(bytes, BYTES, CHUNK_SIZE_MAX);
  fill_text(bytes, 256 << 10, 2);
  test_pieces(bytes, 256 << 10, 4096);
  memset(bytes, 0, 256 << 10);
  test_pieces(bytes, 256 << 10, 4096);
  for (size_t i = 0; i < 256 << 10; i++) bytes[i] = (uint8_t)(i % 100);
  test_pieces(bytes, 256 << 10, 4096);
  for (size_t i = 0; i < 256 << 10; i++) bytes[i] = (uint8_t)(i >> 10);
  test_pieces(bytes, 256 << 10, CHUNK_SIZE_MIN);
}

// ── An inserted byte ──

struct seen {
  size_t size;
  uint8_t hash[HASH_BYTES];
};

static size_t hashes(const uint8_t *bytes, size_t size, uint32_t block, struct seen *out) {
  static size_t sizes[BLOCKS_MAX];
  size_t count = cut(bytes, size, block, size, sizes), at = 0;
  for (size_t i = 0; i < count; at += sizes[i++]) {
    hash_of((span){bytes + at, sizes[i]}, out[i].hash);
    out[i].size = sizes[i];
  }
  return count;
}

static bool is_among(const struct seen *one, const struct seen *all, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (memcmp(one->hash, all[i].hash, HASH_BYTES) == 0) return true;
  return false;
}

constexpr size_t SMALL = 256 << 10;

static void test_insertion(const uint8_t *bytes, uint32_t block, int rounds) {
  static uint8_t changed[SMALL + 1];
  static struct seen before[SMALL / 512], after[SMALL / 512];
  size_t count = hashes(bytes, SMALL, block, before);
  for (int round = 0; round < rounds; round++) {
    size_t at = next_random() % (SMALL + 1);
    if (round < 2) at = round ? SMALL : 0;
    memcpy(changed, bytes, at);
    changed[at] = (uint8_t)next_random();
    memcpy(changed + at + 1, bytes + at, SMALL - at);
    size_t now = hashes(changed, SMALL + 1, block, after), new = 0, gone = 0;
    for (size_t i = 0; i < now; i++) new += !is_among(&after[i], before, count);
    for (size_t i = 0; i < count; i++) gone += !is_among(&before[i], after, now);
    CHECK(new <= 3 && gone <= 3);
  }
}

static void test_insertions(void) {
  static uint8_t bytes[SMALL];
  int rounds = (long_run() ? 20'000 : 60) / SHRINK;
  fill_random(bytes, SMALL, 3);
  test_insertion(bytes, 2048, rounds);
  test_insertion(bytes, CHUNK_SIZE_MIN, rounds);
  fill_text(bytes, SMALL, 4);
  test_insertion(bytes, 2048, rounds);
  memset(bytes, 7, SMALL);
  test_insertion(bytes, 2048, rounds);
  for (size_t i = 0; i < SMALL; i++) bytes[i] = (uint8_t)(i % 100);
  test_insertion(bytes, 2048, rounds);
}

// What is stored holds to these cuts for ever; test/blocks.test.ts finds them by the rule alone.
static void test_fixed(void) {
  static uint8_t bytes[64 << 10];
  static size_t sizes[BLOCKS_MAX];
  fill_random(bytes, sizeof bytes, 0);
  size_t count = cut(bytes, sizeof bytes, 8192, sizeof bytes, sizes);
  static const size_t expected[] = {11930, 8793, 5341, 6326, 4358, 8436, 4203, 13769, 2380};
  CHECK(count == sizeof expected / sizeof *expected);
  CHECK(memcmp(sizes, expected, sizeof expected) == 0);
}

int main(void) {
  test_sizes();
  test_insertions();
  test_fixed();
}
