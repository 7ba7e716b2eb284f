#include "base/seal.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

bool seal_begin(struct seal *seal) {
  seal->cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  seal->context = seal->cipher ? EVP_CIPHER_CTX_new() : nullptr;
  if (seal->context) return true;
  seal_end(seal);
  return false;
}

void seal_end(struct seal *seal) {
  EVP_CIPHER_CTX_free(seal->context);
  EVP_CIPHER_free(seal->cipher);
  *seal = (struct seal){};
}

bool seal_key(struct seal *seal, const uint8_t key[SEAL_KEY]) {
  return EVP_CipherInit_ex2(seal->context, seal->cipher, key, nullptr, 1, nullptr) == 1;
}

void seal_forget(struct seal *seal) { EVP_CIPHER_CTX_reset(seal->context); }

static bool begin(struct seal *seal, const uint8_t nonce[SEAL_NONCE], span bound, uint8_t *bytes,
                  size_t size, int closes) {
  int done = 0;
  if (size > INT_MAX || bound.size > INT_MAX) return false;
  if (EVP_CipherInit_ex2(seal->context, nullptr, nullptr, nonce, closes, nullptr) != 1)
    return false;
  if (bound.size && EVP_CipherUpdate(seal->context, nullptr, &done, bound.at, (int)bound.size) != 1)
    return false;
  return size == 0 || EVP_CipherUpdate(seal->context, bytes, &done, bytes, (int)size) == 1;
}

bool seal_close(struct seal *seal, const uint8_t nonce[SEAL_NONCE], span bound, uint8_t *bytes,
                size_t size, uint8_t tag[SEAL_TAG]) {
  int done = 0;
  uint8_t rest[SEAL_TAG];
  return begin(seal, nonce, bound, bytes, size, 1) &&
         EVP_CipherFinal_ex(seal->context, rest, &done) == 1 &&
         EVP_CIPHER_CTX_ctrl(seal->context, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG, tag) == 1;
}

enum sealed seal_open(struct seal *seal, const uint8_t nonce[SEAL_NONCE], span bound,
                      uint8_t *bytes, size_t size, const uint8_t tag[SEAL_TAG]) {
  int done = 0;
  uint8_t rest[SEAL_TAG], copy[SEAL_TAG];
  memcpy(copy, tag, SEAL_TAG);
  if (!begin(seal, nonce, bound, bytes, size, 0) ||
      EVP_CIPHER_CTX_ctrl(seal->context, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG, copy) != 1)
    return SEAL_FAILED;
  return EVP_CipherFinal_ex(seal->context, rest, &done) == 1 ? SEAL_DONE : SEAL_WRONG;
}

bool seal_random(uint8_t *into, size_t size) { return RAND_priv_bytes(into, (int)size) == 1; }

static OSSL_PARAM octets(const char *name, span value) {
  // A parameter that is only read is no constant for the library either.
  return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)value.at, value.size);
}

static bool derive(const char *name, const OSSL_PARAM *parameters, uint8_t *out, size_t size) {
  EVP_KDF *kdf = EVP_KDF_fetch(nullptr, name, nullptr);
  EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : nullptr;
  bool done = context && EVP_KDF_derive(context, out, size, parameters) == 1;
  EVP_KDF_CTX_free(context);
  EVP_KDF_free(kdf);
  return done;
}

bool seal_derive(const uint8_t key[SEAL_KEY], span salt, span info, uint8_t *out, size_t size) {
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      octets(OSSL_KDF_PARAM_KEY, (span){key, SEAL_KEY}),
      octets(OSSL_KDF_PARAM_SALT, salt),
      octets(OSSL_KDF_PARAM_INFO, info),
      OSSL_PARAM_construct_end(),
  };
  return derive("HKDF", parameters, out, size);
}

bool seal_stretch(span passphrase, span salt, uint64_t n, uint32_t r, uint32_t p,
                  uint8_t out[SEAL_KEY]) {
  uint64_t most = 128ull * r * (n + p + 2) + 65536;  // what the library takes, and no more
  const OSSL_PARAM parameters[] = {
      octets(OSSL_KDF_PARAM_PASSWORD, passphrase),
      octets(OSSL_KDF_PARAM_SALT, salt),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_N, &n),
      OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_R, &r),
      OSSL_PARAM_construct_uint32(OSSL_KDF_PARAM_SCRYPT_P, &p),
      OSSL_PARAM_construct_uint64(OSSL_KDF_PARAM_SCRYPT_MAXMEM, &most),
      OSSL_PARAM_construct_end(),
  };
  return derive("SCRYPT", parameters, out, SEAL_KEY);
}

bool seal_equal(const uint8_t *left, const uint8_t *right, size_t size) {
  return CRYPTO_memcmp(left, right, size) == 0;
}

void seal_wipe(void *secret, size_t size) { OPENSSL_cleanse(secret, size); }

const char *seal_version(void) { return OpenSSL_version(OPENSSL_VERSION_STRING); }
