// hash: BLAKE3 (32 bytes) behind one streaming call, and a digest whose algorithm is chosen when it
// begins.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "copse.h"

constexpr size_t HASH_BYTES = 32;

struct hash {
  alignas(8) uint8_t state[1920];  // blake3_hasher; hash.c asserts that it fits
};

void hash_begin(struct hash *hash);
void hash_add(struct hash *hash, const uint8_t *bytes, size_t size);
void hash_end(const struct hash *hash, uint8_t out[HASH_BYTES]);
void hash_of(span bytes, uint8_t out[HASH_BYTES]);  // of one span, all at once
// Of each of at most HASH_TOGETHER spans. Those of at most HASH_SMALL bytes are hashed side by
// side, which takes half the time and less: one alone leaves most lanes of the processor's vectors
// empty.
constexpr size_t HASH_TOGETHER = 64;
constexpr size_t HASH_SMALL = 8192;
void hash_each(const span *spans, size_t count, uint8_t (*out)[HASH_BYTES]);
const char *hash_version(void);  // of the library behind it, "1.3.1"

struct digest {
  uint32_t algorithm;  // enum copse_algorithm
  struct hash blake3;
  void *sha256;
};

// False: out of memory. Every digest that began is ended, which frees it; `out` may be nullptr.
[[nodiscard]] bool digest_begin(struct digest *digest, uint32_t algorithm);
[[nodiscard]] bool digest_add(struct digest *digest, const uint8_t *bytes, size_t size);
bool digest_end(struct digest *digest, uint8_t out[HASH_BYTES]);
