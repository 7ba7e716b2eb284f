// hash: BLAKE3 as published, however the bytes are cut.
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

#include <string.h>
#include <sys/mman.h>

#include "base/hash.h"

// The published test vectors: input is 0, 1, .. 250, 0, 1, .. of that many bytes.
static const struct {
  size_t size;
  const char *digest;
} vectors[] = {
    {0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"},
    {1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"},
    {1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"},
    {1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"},
    {8192, "aae792484c8efe4f19e2ca7d371d8c467ffb10748d8a5a1ae579948f718a2a63"},
    {1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"},
    {102400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"},
};

static void digest_in_pieces(const uint8_t *bytes, size_t size, size_t piece, char *hex) {
  uint8_t digest[HASH_BYTES], whole[HASH_BYTES];
  struct hash hash;
  hash_begin(&hash);
  for (size_t at = 0; at < size; at += piece)
    hash_add(&hash, bytes + at, size - at < piece ? size - at : piece);
  hash_end(&hash, digest);
  hash_of((span){bytes, size}, whole);
  CHECK(memcmp(digest, whole, HASH_BYTES) == 0);
  for (size_t i = 0; i < HASH_BYTES; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static uint32_t seed = 1;

static size_t next(size_t below) {
  seed = seed * 1664525 + 1013904223;
  return (size_t)((uint64_t)seed * below >> 32);
}

// Any number of spans of any sizes: each as if it were alone. A span ends where its memory does, so
// that whoever reads on dies of it.
static void test_side_by_side(void) {
  constexpr size_t PAGE = 64 << 10, ROOM = 2 * PAGE;
  uint8_t *all = mmap(nullptr, HASH_TOGETHER * (ROOM + PAGE), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(all != MAP_FAILED);
  for (size_t i = 0; i < HASH_TOGETHER; i++)
    CHECK(mprotect(all + i * (ROOM + PAGE) + ROOM, PAGE, PROT_NONE) == 0);
  static const size_t edges[] = {0,    1,    63,   64,   65,   1023, 1024, 1025, 2047,
                                 2048, 2049, 3072, 4097, 7168, 8191, 8192, 8193, 70 << 10};
  for (size_t round = 0; round < 400; round++) {
    span spans[HASH_TOGETHER];
    uint8_t digests[HASH_TOGETHER][HASH_BYTES], alone[HASH_BYTES];
    size_t count = round < 8 ? round : 1 + next(HASH_TOGETHER);
    if (round % 16 == 0) count = round ? HASH_TOGETHER : 0;
    size_t most = round % 3 ? HASH_SMALL + 1 : round % 2 ? 1500 : (70 << 10) + 1;
    for (size_t i = 0; i < count; i++) {
      size_t size = next(4) ? next(most) : edges[next(sizeof edges / sizeof *edges)];
      uint8_t *bytes = all + i * (ROOM + PAGE) + ROOM - size;
      for (size_t k = 0; k < size; k++) bytes[k] = (uint8_t)next(256);
      spans[i] = (span){bytes, size};
    }
    hash_each(spans, count, digests);
    for (size_t i = 0; i < count; i++) {
      hash_of(spans[i], alone);
      CHECK(memcmp(alone, digests[i], HASH_BYTES) == 0);
    }
  }
  munmap(all, HASH_TOGETHER * (ROOM + PAGE));
}

int main(void) {
  static uint8_t bytes[102400];
  for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i % 251);
  static const size_t pieces[] = {1000, 1024, 65536, 7, SIZE_MAX / 2};
  for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++)
    for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
      char hex[2 * HASH_BYTES + 1];
      digest_in_pieces(bytes, vectors[i].size, pieces[k], hex);
      CHECK(strcmp(hex, vectors[i].digest) == 0);
    }
  // The same all at once.
  enum { COUNT = sizeof vectors / sizeof *vectors };
  span spans[COUNT + 1];
  uint8_t digests[COUNT + 1][HASH_BYTES];
  for (size_t i = 0; i < COUNT; i++) spans[i] = (span){bytes, vectors[i].size};
  spans[COUNT] = (span){};
  hash_each(spans, COUNT + 1, digests);
  CHECK(memcmp(digests[COUNT], digests[0], HASH_BYTES) == 0);
  for (size_t i = 0; i < COUNT; i++) {
    char hex[2 * HASH_BYTES + 1];
    for (size_t k = 0; k < HASH_BYTES; k++) snprintf(hex + 2 * k, 3, "%02x", digests[i][k]);
    CHECK(strcmp(hex, vectors[i].digest) == 0);
  }
  test_side_by_side();
  struct hash hash;
  hash_begin(&hash);
  hash_add(&hash, nullptr, 0);
  uint8_t once[HASH_BYTES], again[HASH_BYTES];
  hash_end(&hash, once);
  hash_end(&hash, again);
  CHECK(memcmp(once, again, HASH_BYTES) == 0);
}
