// hash: see hash.h. The only file that knows BLAKE3's header.
#include "base/hash.h"

#include <blake3.h>
#include <stdatomic.h>

static_assert(sizeof(blake3_hasher) <= sizeof(struct hash));
static_assert(alignof(blake3_hasher) <= alignof(struct hash));
static_assert(HASH_BYTES == BLAKE3_OUT_LEN);

// BLAKE3 looks for the processor's features when it is first used and writes what it finds into a
// plain variable. The first user does that alone; the others wait for the moment it takes.
static void find_features(void) {
  enum { NOBODY, SOMEBODY, DONE };
  static _Atomic int state = NOBODY;
  if (atomic_load_explicit(&state, memory_order_acquire) == DONE) return;
  int expected = NOBODY;
  if (atomic_compare_exchange_strong(&state, &expected, SOMEBODY)) {
    blake3_hasher hasher;
    uint8_t digest[HASH_BYTES];
    blake3_hasher_init(&hasher);
    blake3_hasher_update(&hasher, "", 1);
    blake3_hasher_finalize(&hasher, digest, HASH_BYTES);
    atomic_store_explicit(&state, DONE, memory_order_release);
  }
  while (atomic_load_explicit(&state, memory_order_acquire) != DONE) {
  }
}

void hash_begin(struct hash *hash) {
  find_features();
  blake3_hasher_init((blake3_hasher *)(void *)hash->state);
}

void hash_add(struct hash *hash, const uint8_t *bytes, size_t size) {
  if (size) blake3_hasher_update((blake3_hasher *)(void *)hash->state, bytes, size);
}

void hash_end(const struct hash *hash, uint8_t out[HASH_BYTES]) {
  blake3_hasher_finalize((const blake3_hasher *)(const void *)hash->state, out, HASH_BYTES);
}

const char *hash_version(void) { return blake3_version(); }
