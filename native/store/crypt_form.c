#include "store/crypt_form.h"

#include <stdlib.h>
#include <zstd.h>

// Where the fields of the header stand.
enum at : uint8_t {
  AT_STAGES = 16,
  AT_KEY_KIND = 17,
  AT_PART = 18,
  AT_N = 19,
  AT_R = 20,
  AT_P = 21,
  AT_SALT = 32,
  AT_STRETCH_SALT = 64,
  AT_KEY_CHECK = 80,
  AT_CHECK = 112,
};
// Where those of the trailer stand.
enum trailer_at : uint8_t {
  AT_SIZE = 0,
  AT_RAW_SIZE = 8,
  AT_INDEX_CHECK = 16,
  AT_PROOF = 32,
  AT_END = 48,
};
constexpr size_t MAGIC = 16, BOUND = 32;
static const uint8_t magic[MAGIC] = "copse crypt 1\0\0", end_magic[MAGIC] = "copse crypt end";
// scrypt asks for 128 * n * r bytes, p times: half a GiB is too much for a stranger's word.
constexpr uint8_t N_LOG_LEAST = 10, N_LOG_MOST = 20;
constexpr uint64_t STRETCH_BYTES_MOST = 256 << 20, STRETCH_WORK_MOST = UINT64_C(1) << 23;

static void put_number(uint8_t *at, uint64_t number, int size) {
  for (int i = 0; i < size; i++) at[i] = (uint8_t)(number >> (8 * i));
}

static uint64_t number_at(const uint8_t *at, int size) {
  uint64_t number = 0;
  for (int i = 0; i < size; i++) number |= (uint64_t)at[i] << (8 * i);
  return number;
}

static int32_t corrupt(struct fault *fault, const char *what) {
  return fault_set(fault, COPSE_E_CORRUPT, "%s: take it from another copy", what);
}

static void short_hash(span first, span second, uint8_t out[CRYPT_CHECK]) {
  struct hash hash;
  uint8_t digest[HASH_BYTES];
  hash_begin(&hash);
  hash_add(&hash, first.at, first.size);
  hash_add(&hash, second.at, second.size);
  hash_end(&hash, digest);
  memcpy(out, digest, CRYPT_CHECK);
}

// ── Header ──

void crypt_header_put(struct crypt_header *header, uint8_t into[CRYPT_HEADER]) {
  memset(into, 0, CRYPT_HEADER);
  memcpy(into, magic, MAGIC);
  into[AT_STAGES] = header->stages;
  into[AT_KEY_KIND] = header->key_kind;
  into[AT_PART] = header->part_log;
  into[AT_N] = header->n_log;
  into[AT_R] = header->r;
  into[AT_P] = header->p;
  memcpy(into + AT_SALT, header->salt, CRYPT_SALT);
  memcpy(into + AT_STRETCH_SALT, header->stretch_salt, CRYPT_STRETCH_SALT);
  memcpy(into + AT_KEY_CHECK, header->key_check, CRYPT_CHECK);
  short_hash((span){into, AT_CHECK}, (span){}, header->check);
  memcpy(into + AT_CHECK, header->check, CRYPT_CHECK);
}

static bool is_zero(const uint8_t *at, size_t size) {
  uint8_t any = 0;
  for (size_t i = 0; i < size; i++) any |= at[i];
  return any == 0;
}

// One way to say each thing: what does not count is zero.
static bool is_plausible(const struct crypt_header *header, const uint8_t *bytes) {
  bool is_encrypted = header->stages & CRYPT_ENCRYPTED;
  bool is_stretched = header->key_kind == CRYPT_PASSPHRASE;
  if (header->stages > (CRYPT_COMPRESSED | CRYPT_ENCRYPTED) || header->key_kind > CRYPT_PASSPHRASE)
    return false;
  if (is_encrypted != (header->key_kind != CRYPT_NO_KEY)) return false;
  if (header->part_log < CRYPT_PART_LEAST || header->part_log > CRYPT_PART_MOST) return false;
  if (!is_stretched && !is_zero(bytes + AT_N, 3)) return false;
  if (!is_stretched && !is_zero(header->stretch_salt, CRYPT_STRETCH_SALT)) return false;
  if (!is_encrypted && !is_zero(header->key_check, CRYPT_CHECK)) return false;
  return is_zero(bytes + AT_P + 1, AT_SALT - AT_P - 1) &&
         is_zero(bytes + AT_KEY_CHECK + CRYPT_CHECK, AT_CHECK - AT_KEY_CHECK - CRYPT_CHECK);
}

static bool is_affordable(const struct crypt_header *header) {
  if (header->key_kind != CRYPT_PASSPHRASE) return true;
  if (header->n_log < N_LOG_LEAST || header->n_log > N_LOG_MOST) return false;
  uint64_t work = (uint64_t)header->r << header->n_log;
  return header->r > 0 && header->p > 0 && work * 128 <= STRETCH_BYTES_MOST &&
         work * header->p <= STRETCH_WORK_MOST;
}

int32_t crypt_header_read(const uint8_t bytes[CRYPT_HEADER], struct crypt_header *out,
                          struct fault *fault) {
  uint8_t check[CRYPT_CHECK];
  if (memcmp(bytes, magic, MAGIC) != 0)
    return corrupt(fault,
                   "it is no file that copse compressed or encrypted, or its head is damaged");
  short_hash((span){bytes, AT_CHECK}, (span){}, check);
  if (memcmp(bytes + AT_CHECK, check, CRYPT_CHECK) != 0)
    return corrupt(fault, "its head is damaged");
  *out = (struct crypt_header){.stages = bytes[AT_STAGES],
                               .key_kind = bytes[AT_KEY_KIND],
                               .part_log = bytes[AT_PART],
                               .n_log = bytes[AT_N],
                               .r = bytes[AT_R],
                               .p = bytes[AT_P]};
  memcpy(out->salt, bytes + AT_SALT, CRYPT_SALT);
  memcpy(out->stretch_salt, bytes + AT_STRETCH_SALT, CRYPT_STRETCH_SALT);
  memcpy(out->key_check, bytes + AT_KEY_CHECK, CRYPT_CHECK);
  memcpy(out->check, check, CRYPT_CHECK);
  if (!is_plausible(out, bytes)) return corrupt(fault, "its head says what no head can");
  if (!is_affordable(out))
    return fault_set(
        fault, COPSE_E_LIMIT,
        "its passphrase would cost more memory or time than copse spends on one (scrypt "
        "with n 2^%u, r %u, p %u)",
        out->n_log, out->r, out->p);
  return 0;
}

bool crypt_file_key(const struct crypt_header *header, const uint8_t master[SEAL_KEY],
                    uint8_t key[SEAL_KEY], uint8_t key_check[CRYPT_CHECK]) {
  // All of the header that is known before there is a key.
  uint8_t info[CRYPT_HEADER];
  struct crypt_header copy = *header;
  crypt_header_put(&copy, info);
  uint8_t out[SEAL_KEY + CRYPT_CHECK];
  bool done = seal_derive(master, (span){header->salt, CRYPT_SALT}, (span){info, AT_KEY_CHECK}, out,
                          sizeof out);
  memcpy(key, out, SEAL_KEY);
  memcpy(key_check, out + SEAL_KEY, CRYPT_CHECK);
  seal_wipe(out, sizeof out);
  return done;
}

// ── Trailer ──

// Part numbers are below 2^32, so no part has this nonce.
static const uint8_t trailer_nonce[SEAL_NONCE] = {255, 255, 255, 255, 255, 255,
                                                  255, 255, 255, 255, 255, 255};

static void trailer_bound(const struct crypt_header *header, const uint8_t *bytes,
                          uint8_t out[CRYPT_CHECK + AT_PROOF]) {
  memcpy(out, header->check, CRYPT_CHECK);
  memcpy(out + CRYPT_CHECK, bytes, AT_PROOF);
}

bool crypt_trailer_put(struct crypt_bench *bench, const struct crypt_header *header,
                       const struct crypt_trailer *trailer, uint8_t into[CRYPT_TRAILER]) {
  put_number(into + AT_SIZE, trailer->size, 8);
  put_number(into + AT_RAW_SIZE, trailer->raw_size, 8);
  memcpy(into + AT_INDEX_CHECK, trailer->index_check, CRYPT_CHECK);
  memcpy(into + AT_END, end_magic, MAGIC);
  uint8_t bound[CRYPT_CHECK + AT_PROOF];
  trailer_bound(header, into, bound);
  if (header->stages & CRYPT_ENCRYPTED)
    return seal_close(&bench->seal, trailer_nonce, (span){bound, sizeof bound}, nullptr, 0,
                      into + AT_PROOF);
  short_hash((span){bound, sizeof bound}, (span){}, into + AT_PROOF);
  return true;
}

int32_t crypt_trailer_read(struct crypt_bench *bench, const struct crypt_header *header,
                           const uint8_t bytes[CRYPT_TRAILER], struct crypt_trailer *out,
                           struct fault *fault) {
  if (memcmp(bytes + AT_END, end_magic, MAGIC) != 0)
    return corrupt(fault, "it is cut short, or its end is damaged");
  uint8_t bound[CRYPT_CHECK + AT_PROOF], proof[CRYPT_CHECK];
  trailer_bound(header, bytes, bound);
  enum sealed sealed = SEAL_DONE;
  if (header->stages & CRYPT_ENCRYPTED) {
    sealed = seal_open(&bench->seal, trailer_nonce, (span){bound, sizeof bound}, nullptr, 0,
                       bytes + AT_PROOF);
  } else {
    short_hash((span){bound, sizeof bound}, (span){}, proof);
    if (memcmp(proof, bytes + AT_PROOF, CRYPT_CHECK) != 0) sealed = SEAL_WRONG;
  }
  if (sealed == SEAL_FAILED) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  if (sealed == SEAL_WRONG) return corrupt(fault, "its end is damaged, or of another file");
  out->size = number_at(bytes + AT_SIZE, 8);
  out->raw_size = number_at(bytes + AT_RAW_SIZE, 8);
  memcpy(out->index_check, bytes + AT_INDEX_CHECK, CRYPT_CHECK);
  if (out->size > (CRYPT_PARTS_MOST << header->part_log))
    return corrupt(fault, "its end says more parts than a file can have");
  return 0;
}

// ── Index ──

uint64_t crypt_parts(const struct crypt_header *header, uint64_t size) {
  return (size >> header->part_log) + ((size & ((UINT64_C(1) << header->part_log) - 1)) != 0);
}

size_t crypt_part_size(const struct crypt_header *header, uint64_t size, uint64_t number) {
  uint64_t begin = number << header->part_log, most = UINT64_C(1) << header->part_log;
  return (size_t)(size - begin < most ? size - begin : most);
}

size_t crypt_stored_most(uint8_t part_log) {
  return ((size_t)1 << part_log) + HASH_BYTES + SEAL_TAG;
}

void crypt_index_check(const uint8_t *index, size_t size, uint8_t out[CRYPT_CHECK]) {
  short_hash((span){index, size}, (span){}, out);
}

uint32_t crypt_entry(const uint8_t *index, uint64_t number) {
  return (uint32_t)number_at(index + number * CRYPT_ENTRY, CRYPT_ENTRY);
}

void crypt_entry_put(uint8_t *at, uint32_t stored, bool is_plain) {
  put_number(at, stored | (is_plain ? CRYPT_PLAIN : 0), CRYPT_ENTRY);
}

int32_t crypt_index_read(const struct crypt_header *header, const struct crypt_trailer *trailer,
                         const uint8_t *index, size_t index_size, struct fault *fault) {
  uint8_t check[CRYPT_CHECK];
  crypt_index_check(index, index_size, check);
  if (memcmp(check, trailer->index_check, CRYPT_CHECK) != 0)
    return corrupt(fault, "its index is damaged");
  uint64_t parts = crypt_parts(header, trailer->size), sum = CRYPT_LEAST + index_size;
  for (uint64_t i = 0; i < parts; i++) {
    uint32_t stored = crypt_entry(index, i) & ~CRYPT_PLAIN;
    if (stored > crypt_stored_most(header->part_log))
      return corrupt(fault, "its index is impossible");
    sum += stored;
  }
  if (index_size != parts * CRYPT_ENTRY || sum != trailer->raw_size)
    return corrupt(fault, "a part of it is missing or there twice");
  return 0;
}

// ── Parts ──

static size_t room_size(uint8_t part_log) {
  return CRYPT_HEADER + crypt_stored_most(part_log) + CRYPT_ENTRY + CRYPT_TRAILER;
}

size_t crypt_bench_size(uint8_t part_log) { return ((size_t)1 << part_log) + room_size(part_log); }

static bool grow(uint8_t **at, size_t *size, size_t wanted) {
  if (wanted <= *size) return true;
  uint8_t *more = realloc(*at, wanted);
  if (!more) return false;
  *at = more;
  *size = wanted;
  return true;
}

int32_t crypt_bench_ready(struct crypt_bench *bench, uint8_t part_log, struct fault *fault) {
  if (!grow(&bench->plain, &bench->plain_size, (size_t)1 << part_log) ||
      !grow(&bench->room, &bench->room_size, room_size(part_log)))
    return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  bench->stored = bench->room + CRYPT_HEADER;
  return 0;
}

void crypt_bench_end(struct crypt_bench *bench) {
  seal_end(&bench->seal);
  ZSTD_freeCCtx(bench->packer);
  ZSTD_freeDCtx(bench->unpacker);
  free(bench->plain);
  free(bench->room);
  *bench = (struct crypt_bench){};
}

// What makes a part this one and no other, before its content.
static void part_bound(const struct crypt_header *header, const struct crypt_part *part,
                       uint8_t out[BOUND]) {
  memset(out, 0, BOUND);
  memcpy(out, header->check, CRYPT_CHECK);
  put_number(out + 16, part->number, 8);
  out[24] = part->is_last;
  out[25] = part->is_plain;
  put_number(out + 28, part->size, 4);
}

static void part_nonce(const struct crypt_part *part, uint8_t out[SEAL_NONCE]) {
  memset(out, 0, SEAL_NONCE);
  put_number(out + 4, part->number, 8);
}

static void part_checksum(const uint8_t bound[BOUND], const uint8_t *plain, size_t size,
                          uint8_t out[HASH_BYTES]) {
  struct hash hash;
  hash_begin(&hash);
  hash_add(&hash, bound, BOUND);
  hash_add(&hash, plain, size);
  hash_end(&hash, out);
}

// Bytes behind the checksum: compressed where that makes them fewer.
static int64_t pack_content(struct crypt_bench *bench, const struct crypt_header *header, int level,
                            struct crypt_part *part, struct fault *fault) {
  uint8_t *into = bench->stored + HASH_BYTES;
  part->is_plain = false;
  if (header->stages & CRYPT_COMPRESSED) {
    if (!bench->packer) bench->packer = ZSTD_createCCtx();
    if (!bench->packer) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
    size_t packed = part->size == 0 ? 0
                                    : ZSTD_compressCCtx(bench->packer, into, part->size - 1,
                                                        bench->plain, part->size, level);
    if (!ZSTD_isError(packed)) return (int64_t)packed;
    part->is_plain = true;  // no room: it would not be smaller
  }
  memcpy(into, bench->plain, part->size);
  return (int64_t)part->size;
}

int64_t crypt_part_put(struct crypt_bench *bench, const struct crypt_header *header, int level,
                       struct crypt_part *part, struct fault *fault) {
  int64_t packed = pack_content(bench, header, level, part, fault);
  if (packed < 0) return packed;
  uint8_t bound[BOUND], nonce[SEAL_NONCE];
  part_bound(header, part, bound);
  part_checksum(bound, bench->plain, part->size, bench->stored);
  size_t size = HASH_BYTES + (size_t)packed;
  uint8_t *tag = bench->stored + size;
  if (!(header->stages & CRYPT_ENCRYPTED)) {
    short_hash((span){bound, BOUND}, (span){bench->stored, size}, tag);
    return (int64_t)(size + SEAL_TAG);
  }
  part_nonce(part, nonce);
  if (!seal_close(&bench->seal, nonce, (span){bound, BOUND}, bench->stored, size, tag))
    return fault_set(fault, COPSE_E_MEMORY, "out of memory while encrypting");
  return (int64_t)(size + SEAL_TAG);
}

static int32_t wrong_part(struct fault *fault, const struct crypt_part *part) {
  fault_set(
      fault, COPSE_E_CORRUPT,
      "part %llu is damaged, or is not the one that belongs there: take the file from another "
      "copy",
      (unsigned long long)part->number);
  fault->part = part->number < UINT32_MAX ? (uint32_t)part->number + 1 : UINT32_MAX;
  return COPSE_E_CORRUPT;
}

static int32_t unpack_content(struct crypt_bench *bench, const struct crypt_part *part,
                              bool is_packed, size_t size, struct fault *fault) {
  const uint8_t *from = bench->stored + HASH_BYTES;
  if (!is_packed) {
    if (size != part->size) return wrong_part(fault, part);
    memcpy(bench->plain, from, size);
    return 0;
  }
  if (!bench->unpacker) bench->unpacker = ZSTD_createDCtx();
  if (!bench->unpacker) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  size_t unpacked = ZSTD_decompressDCtx(bench->unpacker, bench->plain, part->size, from, size);
  return unpacked == part->size ? 0 : wrong_part(fault, part);
}

int32_t crypt_part_read(struct crypt_bench *bench, const struct crypt_header *header,
                        const struct crypt_part *part, size_t stored, struct fault *fault) {
  if (stored < HASH_BYTES + SEAL_TAG) return wrong_part(fault, part);
  uint8_t bound[BOUND], nonce[SEAL_NONCE], checksum[HASH_BYTES];
  part_bound(header, part, bound);
  part_nonce(part, nonce);
  size_t size = stored - SEAL_TAG;
  const uint8_t *tag = bench->stored + size;
  if (header->stages & CRYPT_ENCRYPTED) {
    enum sealed sealed =
        seal_open(&bench->seal, nonce, (span){bound, BOUND}, bench->stored, size, tag);
    if (sealed == SEAL_FAILED)
      return fault_set(fault, COPSE_E_MEMORY, "out of memory while decrypting");
    if (sealed == SEAL_WRONG) return wrong_part(fault, part);
  } else {
    // A compressor may not notice a bit that it does not need.
    uint8_t expected[CRYPT_CHECK];
    short_hash((span){bound, BOUND}, (span){bench->stored, size}, expected);
    if (memcmp(expected, tag, SEAL_TAG) != 0) return wrong_part(fault, part);
  }
  bool is_packed = (header->stages & CRYPT_COMPRESSED) && !part->is_plain;
  int32_t code = unpack_content(bench, part, is_packed, size - HASH_BYTES, fault);
  if (code < 0) return code;
  part_checksum(bound, bench->plain, part->size, checksum);
  return memcmp(checksum, bench->stored, HASH_BYTES) == 0 ? 0 : wrong_part(fault, part);
}
