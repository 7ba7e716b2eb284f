#include "store/crypt_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/record.h"
#include "engine/task.h"
#include "store/store.h"

// What OWASP's list of 2023 has for 64 MiB: two rounds of n 2^16 and r 8.
constexpr uint8_t N_LOG = 16, R = 8, P = 2;

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static int32_t take_secret(struct crypt_keys *keys, span secret, struct fault *fault) {
  keys->secret = malloc(secret.size ? secret.size : 1);
  if (!keys->secret) return no_memory(fault);
  if (secret.size) memcpy(keys->secret, secret.at, secret.size);
  keys->size = secret.size;
  keys->is_read = true;
  return 0;
}

// ── What the place says ──

static int32_t check_secret(uint8_t kind, size_t size, const char *where, struct fault *fault) {
  if (kind == CRYPT_KEY && size != SEAL_KEY)
    return fault_set(fault, COPSE_E_ARGUMENT,
                     "%s has %s bytes; make one with: head -c 32 /dev/urandom > FILE", where,
                     size < SEAL_KEY ? "less than 32" : "more than 32");
  if (kind == CRYPT_PASSPHRASE && (size == 0 || size > CRYPT_PASSPHRASE_MOST))
    return fault_set(fault, COPSE_E_ARGUMENT, "%s must have 1 to %zu bytes in its first line",
                     where, CRYPT_PASSPHRASE_MOST);
  return 0;
}

static int32_t take_way(struct crypt_keys *keys, uint8_t kind, bool is_file, span said,
                        struct fault *fault) {
  keys->kind = kind;
  if (is_file) {
    keys->file = said;
    return said.size > 0 && !memchr(said.at, 0, said.size)
               ? 0
               : fault_set(fault, COPSE_E_ARGUMENT,
                           "the path of the key file is empty or has a NUL");
  }
  int32_t code =
      check_secret(kind, said.size, kind == CRYPT_KEY ? "the key" : "the passphrase", fault);
  return code < 0 ? code : take_secret(keys, said, fault);
}

int32_t crypt_keys_begin(struct crypt_keys *keys, const struct place *place, struct task *task,
                         struct fault *fault) {
  static const struct {
    uint16_t key;
    uint8_t kind;
    bool is_file;
  } ways[] = {{COPSE_PLACE_CRYPT_KEY, CRYPT_KEY, false},
              {COPSE_PLACE_CRYPT_KEY_FILE, CRYPT_KEY, true},
              {COPSE_PLACE_CRYPT_PASSPHRASE, CRYPT_PASSPHRASE, false},
              {COPSE_PLACE_CRYPT_PASSPHRASE_FILE, CRYPT_PASSPHRASE, true}};
  *keys = (struct crypt_keys){.task = task};
  mutex_begin(&keys->lock);
  int32_t code = 0;
  for (size_t i = 0; code == 0 && i < sizeof ways / sizeof *ways; i++) {
    struct field field;
    if (!record_find(place->record, ways[i].key, COPSE_FIELD_TEXT, &field)) continue;
    if (keys->kind != CRYPT_NO_KEY)
      code = fault_set(fault, COPSE_E_ARGUMENT,
                       "one of key, key file, passphrase and passphrase file is enough");
    if (code == 0) code = take_way(keys, ways[i].kind, ways[i].is_file, field.bytes, fault);
  }
  if (code < 0) crypt_keys_end(keys);
  return code;
}

void crypt_keys_end(struct crypt_keys *keys) {
  if (keys->secret) seal_wipe(keys->secret, keys->size);
  if (keys->masters) seal_wipe(keys->masters, CRYPT_MASTERS_MOST * sizeof *keys->masters);
  free(keys->secret);
  free(keys->masters);
  mutex_end(&keys->lock);
}

// ── Files of secrets ──

// At most `size` bytes; it may be a pipe, which may take its time.
static int32_t read_some(const struct crypt_keys *keys, int fd, uint8_t *into, size_t size,
                         size_t *got, struct fault *fault) {
  *got = 0;
  while (*got < size) {
    ssize_t count = read(fd, into + *got, size - *got);
    if (count == 0) return 0;
    if (count > 0) {
      *got += (size_t)count;
    } else if (errno == EAGAIN) {
      int32_t code = store_wait(keys->task, fd, false, fault);
      if (code < 0) return code;
    } else if (errno != EINTR) {
      return fault_from_errno(fault, errno, "read");
    }
    if (task_cancelled(keys->task)) return fault_set(fault, COPSE_E_CANCELLED, "cancelled");
  }
  return 0;
}

static int32_t read_secret(struct crypt_keys *keys, struct fault *fault) {
  bool is_key = keys->kind == CRYPT_KEY;
  char *path = malloc(keys->file.size + 1);
  if (!path) return no_memory(fault);
  memcpy(path, keys->file.at, keys->file.size);
  path[keys->file.size] = 0;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  int failed = errno;
  free(path);
  uint8_t bytes[CRYPT_PASSPHRASE_MOST + 2];
  size_t size = 0;
  int32_t code = fd < 0 ? fault_from_errno(fault, failed, "open") : 0;
  if (code == 0)
    code = read_some(keys, fd, bytes, is_key ? SEAL_KEY + 1 : sizeof bytes, &size, fault);
  if (fd >= 0) close(fd);
  if (code < 0) {
    char what[sizeof fault->text];
    memcpy(what, fault->text, sizeof what);
    what[sizeof what - 1] = 0;
    fault_set(fault, code, "the %s file: %.180s", is_key ? "key" : "passphrase", what);
  }
  if (code == 0 && !is_key) {
    const uint8_t *end = memchr(bytes, '\n', size);
    if (end) size = (size_t)(end - bytes);
    if (size > 0 && bytes[size - 1] == '\r') size--;
  }
  if (code == 0)
    code = check_secret(keys->kind, size, is_key ? "the key file" : "the passphrase file", fault);
  if (code == 0) code = take_secret(keys, (span){bytes, size}, fault);
  seal_wipe(bytes, sizeof bytes);
  return code;
}

// ── Master keys ──

static struct crypt_master *find_master(struct crypt_keys *keys,
                                        const struct crypt_header *header) {
  for (size_t i = 0; i < keys->count; i++) {
    struct crypt_master *master = &keys->masters[i];
    if (master->n_log == header->n_log && master->r == header->r && master->p == header->p &&
        memcmp(master->stretch_salt, header->stretch_salt, CRYPT_STRETCH_SALT) == 0)
      return master;
  }
  return nullptr;
}

static int32_t stretch(struct crypt_keys *keys, const struct crypt_header *header,
                       struct crypt_master **out, struct fault *fault) {
  *out = find_master(keys, header);
  if (*out) return 0;
  if (keys->count == CRYPT_MASTERS_MOST)
    return fault_set(fault, COPSE_E_LIMIT,
                     "more than %zu runs wrote to this place, each with a salt of its own: copy it "
                     "into a new one, part by part",
                     CRYPT_MASTERS_MOST);
  if (!keys->masters) keys->masters = calloc(CRYPT_MASTERS_MOST, sizeof *keys->masters);
  if (!keys->masters) return no_memory(fault);
  if (task_cancelled(keys->task)) return fault_set(fault, COPSE_E_CANCELLED, "cancelled");
  struct crypt_master *master = &keys->masters[keys->count];
  *master = (struct crypt_master){.n_log = header->n_log, .r = header->r, .p = header->p};
  memcpy(master->stretch_salt, header->stretch_salt, CRYPT_STRETCH_SALT);
  if (!seal_stretch((span){keys->secret, keys->size},
                    (span){master->stretch_salt, CRYPT_STRETCH_SALT}, UINT64_C(1) << master->n_log,
                    master->r, master->p, master->key))
    return fault_set(fault, COPSE_E_MEMORY, "out of memory for the passphrase's key");
  keys->count++;
  *out = master;
  return 0;
}

// A copy, for the caller to wipe. The lock is held.
static int32_t master_of(struct crypt_keys *keys, const struct crypt_header *header,
                         uint8_t out[SEAL_KEY], struct fault *fault) {
  if (!keys->is_read) {
    int32_t code = read_secret(keys, fault);
    if (code < 0) return code;
  }
  struct crypt_master *master = nullptr;
  int32_t code = keys->kind == CRYPT_PASSPHRASE ? stretch(keys, header, &master, fault) : 0;
  if (code == 0) memcpy(out, master ? master->key : keys->secret, SEAL_KEY);
  return code;
}

static int32_t set_key(struct crypt_bench *bench, const struct crypt_header *header,
                       uint8_t master[SEAL_KEY], uint8_t key_check[CRYPT_CHECK],
                       struct fault *fault) {
  uint8_t key[SEAL_KEY];
  bool done = (bench->seal.context || seal_begin(&bench->seal)) &&
              crypt_file_key(header, master, key, key_check) && seal_key(&bench->seal, key);
  seal_wipe(master, SEAL_KEY);
  seal_wipe(key, sizeof key);
  return done ? 0 : fault_set(fault, COPSE_E_MEMORY, "out of memory for a key");
}

static int32_t wrong_kind(const struct crypt_header *header, struct fault *fault) {
  if (header->key_kind == CRYPT_NO_KEY)
    return fault_set(fault, COPSE_E_CORRUPT,
                     "it is not encrypted though a key is given: somebody else may have put it "
                     "there");
  return fault_set(fault, COPSE_E_AUTH, "it is encrypted: give %s",
                   header->key_kind == CRYPT_KEY
                       ? "its key (keyFile, --key-file)"
                       : "its passphrase (passphraseFile, --passphrase-file)");
}

int32_t crypt_keys_open(struct crypt_keys *keys, struct crypt_bench *bench,
                        const struct crypt_header *header, struct fault *fault) {
  if (header->key_kind != keys->kind) return wrong_kind(header, fault);
  if (header->key_kind == CRYPT_NO_KEY) return 0;
  uint8_t master[SEAL_KEY], key_check[CRYPT_CHECK];
  mutex_lock(&keys->lock);
  int32_t code = master_of(keys, header, master, fault);
  mutex_unlock(&keys->lock);
  if (code == 0) code = set_key(bench, header, master, key_check, fault);
  if (code < 0) return code;
  if (!seal_equal(key_check, header->key_check, CRYPT_CHECK)) {
    seal_forget(&bench->seal);
    return fault_set(fault, COPSE_E_AUTH, "the %s is not the one that it was encrypted with",
                     keys->kind == CRYPT_KEY ? "key" : "passphrase");
  }
  if (keys->kind == CRYPT_PASSPHRASE) {
    mutex_lock(&keys->lock);
    find_master(keys, header)->is_proved = true;
    mutex_unlock(&keys->lock);
  }
  return 0;
}

// One salt for all that a run writes; that of what is there already, where somebody who knew the
// passphrase chose it. The lock is held.
static bool choose_salt(struct crypt_keys *keys, struct crypt_header *header) {
  header->n_log = N_LOG;
  header->r = R;
  header->p = P;
  for (size_t i = 0; i < keys->count; i++) {
    const struct crypt_master *master = &keys->masters[i];
    if (!master->is_proved || master->n_log != N_LOG || master->r != R || master->p != P) continue;
    memcpy(header->stretch_salt, master->stretch_salt, CRYPT_STRETCH_SALT);
    return true;
  }
  return seal_random(header->stretch_salt, CRYPT_STRETCH_SALT);
}

int32_t crypt_keys_new(struct crypt_keys *keys, struct crypt_bench *bench,
                       struct crypt_header *header, uint8_t into[CRYPT_HEADER],
                       struct fault *fault) {
  header->key_kind = keys->kind;
  bool is_random = seal_random(header->salt, CRYPT_SALT);
  int32_t code = 0;
  if (keys->kind != CRYPT_NO_KEY) {
    header->stages |= CRYPT_ENCRYPTED;
    uint8_t master[SEAL_KEY];
    mutex_lock(&keys->lock);
    if (keys->kind == CRYPT_PASSPHRASE) is_random &= choose_salt(keys, header);
    if (is_random) code = master_of(keys, header, master, fault);
    if (is_random && code == 0 && keys->kind == CRYPT_PASSPHRASE)
      find_master(keys, header)->is_proved = true;
    mutex_unlock(&keys->lock);
    if (is_random && code == 0) code = set_key(bench, header, master, header->key_check, fault);
  }
  if (!is_random) return fault_set(fault, COPSE_E_INTERNAL, "the system gives no random bytes");
  if (code == 0) crypt_header_put(header, into);
  return code;
}
