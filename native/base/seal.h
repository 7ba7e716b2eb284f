// seal: AES-256-GCM, and how keys are made: scrypt from a passphrase, HKDF-SHA256 from a key. All
// of it is OpenSSL's; nothing here waits or keeps a secret longer than its caller.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

constexpr size_t SEAL_KEY = 32, SEAL_NONCE = 12, SEAL_TAG = 16;

// What one thread at a time seals and opens with; zeroed it is empty.
struct seal {
  void *context, *cipher;
};

enum sealed : int8_t { SEAL_FAILED = -1, SEAL_WRONG = 0, SEAL_DONE = 1 };

// False, as everywhere here: out of memory, or the library has none of it.
[[nodiscard]] bool seal_begin(struct seal *seal);
void seal_end(struct seal *seal);  // never begun: fine
// The key for what follows, until seal_forget.
[[nodiscard]] bool seal_key(struct seal *seal, const uint8_t key[SEAL_KEY]);
void seal_forget(struct seal *seal);
// In place. Of one key no nonce may come twice. `size` is below 2 GiB.
[[nodiscard]] bool seal_close(struct seal *seal, const uint8_t nonce[SEAL_NONCE], span bound,
                              uint8_t *bytes, size_t size, uint8_t tag[SEAL_TAG]);
// WRONG: not what was closed with this key, nonce and `bound`; then `bytes` are of no use.
enum sealed seal_open(struct seal *seal, const uint8_t nonce[SEAL_NONCE], span bound,
                      uint8_t *bytes, size_t size, const uint8_t tag[SEAL_TAG]);

[[nodiscard]] bool seal_random(uint8_t *into, size_t size);
// HKDF-SHA256.
[[nodiscard]] bool seal_derive(const uint8_t key[SEAL_KEY], span salt, span info, uint8_t *out,
                               size_t size);
// scrypt; takes 128 * r * (n + p) bytes and what it is worth of time.
[[nodiscard]] bool seal_stretch(span passphrase, span salt, uint64_t n, uint32_t r, uint32_t p,
                                uint8_t out[SEAL_KEY]);
// Whether they are the same, in a time that does not tell where they differ.
bool seal_equal(const uint8_t *left, const uint8_t *right, size_t size);
const char *seal_version(void);  // of the library, "3.0.19"
// Zeroes what nobody reads again, and is not left out for that.
void seal_wipe(void *secret, size_t size);
