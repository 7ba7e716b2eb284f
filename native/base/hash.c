// hash: see hash.h. The only file that knows the headers of BLAKE3 and of a SHA-256.
#include "base/hash.h"

#include <blake3.h>
#include <openssl/evp.h>
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

void hash_of(span bytes, uint8_t out[HASH_BYTES]) {
  struct hash hash;
  hash_begin(&hash);
  hash_add(&hash, bytes.at, bytes.size);
  hash_end(&hash, out);
}

const char *hash_version(void) { return blake3_version(); }

bool digest_begin(struct digest *digest, uint32_t algorithm) {
  digest->algorithm = algorithm;
  digest->sha256 = nullptr;
  if (algorithm != COPSE_ALGORITHM_SHA256) {
    hash_begin(&digest->blake3);
    return true;
  }
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  if (context && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1) {
    digest->sha256 = context;
    return true;
  }
  EVP_MD_CTX_free(context);
  return false;
}

bool digest_add(struct digest *digest, const uint8_t *bytes, size_t size) {
  if (digest->sha256) return EVP_DigestUpdate(digest->sha256, bytes, size) == 1;
  hash_add(&digest->blake3, bytes, size);
  return true;
}

bool digest_end(struct digest *digest, uint8_t out[HASH_BYTES]) {
  bool done = true;
  if (!digest->sha256 && out) hash_end(&digest->blake3, out);
  if (digest->sha256 && out) done = EVP_DigestFinal_ex(digest->sha256, out, nullptr) == 1;
  EVP_MD_CTX_free(digest->sha256);
  digest->sha256 = nullptr;
  return done;
}
