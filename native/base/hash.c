// hash: see hash.h. The only file that knows BLAKE3's header.
#include "base/hash.h"

#include <blake3.h>

static_assert(sizeof(blake3_hasher) <= sizeof(struct hash));
static_assert(alignof(blake3_hasher) <= alignof(struct hash));
static_assert(HASH_BYTES == BLAKE3_OUT_LEN);

void hash_begin(struct hash *hash) { blake3_hasher_init((blake3_hasher *)(void *)hash->state); }

void hash_add(struct hash *hash, const uint8_t *bytes, size_t size) {
  if (size) blake3_hasher_update((blake3_hasher *)(void *)hash->state, bytes, size);
}

void hash_end(const struct hash *hash, uint8_t out[HASH_BYTES]) {
  blake3_hasher_finalize((const blake3_hasher *)(const void *)hash->state, out, HASH_BYTES);
}

const char *hash_version(void) { return blake3_version(); }
