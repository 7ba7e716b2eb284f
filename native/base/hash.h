// hash: BLAKE3 (32 bytes) behind one streaming call. Stores that need other digests add them here.
#pragma once
#include <stddef.h>
#include <stdint.h>

constexpr size_t HASH_BYTES = 32;

struct hash {
  alignas(8) uint8_t state[1920];  // blake3_hasher; hash.c asserts that it fits
};

void hash_begin(struct hash *hash);
void hash_add(struct hash *hash, const uint8_t *bytes, size_t size);
void hash_end(const struct hash *hash, uint8_t out[HASH_BYTES]);
const char *hash_version(void);  // of the library behind it, "1.3.1"
