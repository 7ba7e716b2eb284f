// crypt_key: the secret of a crypt place, and the master keys that come of it. A key file or a
// passphrase file is read when it is first needed, once.
#pragma once
#include "engine/thread.h"
#include "store/crypt_form.h"

struct place;
struct task;

constexpr size_t CRYPT_PASSPHRASE_MOST = 1024;
// A passphrase costs tens of milliseconds for every run that wrote to a tree, not for every file.
constexpr size_t CRYPT_MASTERS_MOST = 256;

struct crypt_master {
  uint8_t stretch_salt[CRYPT_STRETCH_SALT];
  uint8_t n_log, r, p;
  bool is_proved;  // by a file of that key
  uint8_t key[SEAL_KEY];
};

struct crypt_keys {
  mutex lock;  // guards the rest; whoever needs a key waits for it to be made
  struct task *task;
  uint8_t kind;  // enum crypt_key_kind
  bool is_read;
  span file;  // in the request: where the secret is read from; empty: it was given
  uint8_t *secret;
  size_t size;
  struct crypt_master *masters;
  size_t count;
};

int32_t crypt_keys_begin(struct crypt_keys *keys, const struct place *place, struct task *task,
                         struct fault *fault);
void crypt_keys_end(struct crypt_keys *keys);  // wiped
// The keys of a file that is there, into bench->seal. AUTH: there is none for it, or another one.
int32_t crypt_keys_open(struct crypt_keys *keys, struct crypt_bench *bench,
                        const struct crypt_header *header, struct fault *fault);
// The same for a file that is to be: fills the salts and the check of the header, and writes it.
int32_t crypt_keys_new(struct crypt_keys *keys, struct crypt_bench *bench,
                       struct crypt_header *header, uint8_t into[CRYPT_HEADER],
                       struct fault *fault);
