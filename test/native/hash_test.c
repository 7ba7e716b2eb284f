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
  struct hash hash;
  hash_begin(&hash);
  hash_add(&hash, nullptr, 0);
  uint8_t once[HASH_BYTES], again[HASH_BYTES];
  hash_end(&hash, once);
  hash_end(&hash, again);
  CHECK(memcmp(once, again, HASH_BYTES) == 0);
}
