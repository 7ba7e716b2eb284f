// crypt_form: how a file is written that went through the stages checksum, compress, encrypt
// (docs/formats.md has every byte). Nothing here reads or writes files: bytes in, bytes out.
//
//     header | part | part | ... | index | trailer
#pragma once
#include "base/hash.h"
#include "base/seal.h"
#include "base/fault.h"

constexpr size_t CRYPT_HEADER = 128, CRYPT_TRAILER = 64, CRYPT_CHECK = 16;
constexpr size_t CRYPT_SALT = 32, CRYPT_STRETCH_SALT = 16;
constexpr size_t CRYPT_LEAST = CRYPT_HEADER + CRYPT_TRAILER;  // a file of nothing
// Plain bytes of every part but the last, as powers of two.
constexpr uint8_t CRYPT_PART_LEAST = 16, CRYPT_PART = 18, CRYPT_PART_MOST = 24;
constexpr uint64_t CRYPT_PARTS_MOST = 1 << 24;
// An entry of the index: a part's stored bytes, and whether compressing made it no smaller.
constexpr size_t CRYPT_ENTRY = 4;
constexpr uint32_t CRYPT_PLAIN = UINT32_C(1) << 31;

enum crypt_stage : uint8_t { CRYPT_COMPRESSED = 1, CRYPT_ENCRYPTED = 2 };
enum crypt_key_kind : uint8_t { CRYPT_NO_KEY, CRYPT_KEY, CRYPT_PASSPHRASE };

struct crypt_header {
  uint8_t stages;    // bits of enum crypt_stage
  uint8_t key_kind;  // enum crypt_key_kind
  uint8_t part_log;
  uint8_t n_log, r, p;                       // of scrypt; zero without a passphrase
  uint8_t salt[CRYPT_SALT];                  // of this file alone
  uint8_t stretch_salt[CRYPT_STRETCH_SALT];  // of the passphrase
  uint8_t key_check[CRYPT_CHECK];            // follows from the key, and does not tell it
  uint8_t check[CRYPT_CHECK];                // of all of the above; every part is bound to it
};

struct crypt_trailer {
  uint64_t size;      // of the content
  uint64_t raw_size;  // of the whole file as it is stored
  uint8_t index_check[CRYPT_CHECK];
};

// What one file's parts are made and read with, by one thread at a time. Kept and used again.
struct crypt_bench {
  struct crypt_bench *next;
  struct seal seal;
  void *packer, *unpacker;  // zstd's
  uint8_t *plain;           // a part before its stages
  uint8_t *room;    // for what stands before a first part, a part, and what may stand behind
  uint8_t *stored;  // in it: a part after its stages
  size_t plain_size, room_size;
  size_t reserved;  // of it in the runtime's account: crypt_bench_room
};

// ── Header and trailer ──

// Writes the check, too.
void crypt_header_put(struct crypt_header *header, uint8_t into[CRYPT_HEADER]);
// CORRUPT: none of ours, or damaged; UNSUPPORTED: of a later version; LIMIT: it asks for more than
// anybody should spend on a stranger's file.
int32_t crypt_header_read(const uint8_t bytes[CRYPT_HEADER], struct crypt_header *out,
                          struct fault *fault);
// The key of this file and what proves it, from the master key. `key_check` of the header is not
// looked at.
bool crypt_file_key(const struct crypt_header *header, const uint8_t master[SEAL_KEY],
                    uint8_t key[SEAL_KEY], uint8_t key_check[CRYPT_CHECK]);
bool crypt_trailer_put(struct crypt_bench *bench, const struct crypt_header *header,
                       const struct crypt_trailer *trailer, uint8_t into[CRYPT_TRAILER]);
int32_t crypt_trailer_read(struct crypt_bench *bench, const struct crypt_header *header,
                           const uint8_t bytes[CRYPT_TRAILER], struct crypt_trailer *out,
                           struct fault *fault);

// ── The index ──

uint64_t crypt_parts(const struct crypt_header *header, uint64_t size);
// Plain bytes of that part.
size_t crypt_part_size(const struct crypt_header *header, uint64_t size, uint64_t number);
// What a part may take at most, stored.
size_t crypt_stored_most(uint8_t part_log);
void crypt_index_check(const uint8_t *index, size_t size, uint8_t out[CRYPT_CHECK]);
uint32_t crypt_entry(const uint8_t *index, uint64_t number);
void crypt_entry_put(uint8_t *at, uint32_t stored, bool is_plain);
// The index is what the trailer says, and the parts and it fill the file.
int32_t crypt_index_read(const struct crypt_header *header, const struct crypt_trailer *trailer,
                         const uint8_t *index, size_t index_size, struct fault *fault);

// ── Parts ──

struct crypt_part {
  uint64_t number;
  bool is_last;
  bool is_plain;  // not compressed though the file is
  size_t size;    // of the content
};

// What a bench for such parts takes.
size_t crypt_bench_size(uint8_t part_log);
// Room for such parts, both sides; what was in `room` is still there. Zeroed before the first use.
int32_t crypt_bench_ready(struct crypt_bench *bench, uint8_t part_log, struct fault *fault);
void crypt_bench_end(struct crypt_bench *bench);
// From bench->plain to bench->stored: its size, or a negative code. `level` counts when the header
// says that the file is compressed; is_plain is an answer.
int64_t crypt_part_put(struct crypt_bench *bench, const struct crypt_header *header, int level,
                       struct crypt_part *part, struct fault *fault);
// From the first `stored` bytes of bench->stored, which are used up, to bench->plain. CORRUPT
// unless they are this very part of this very file.
int32_t crypt_part_read(struct crypt_bench *bench, const struct crypt_header *header,
                        const struct crypt_part *part, size_t stored, struct fault *fault);
