// pack_copy: a copy of a part of the index, between the blobs it tells of, so that a pack whose end
// is lost or damaged still knows what its blobs are. Nothing but verify and repair looks at one.
// docs/formats.md has its bytes.
#pragma once
#include "base/fault.h"
#include "base/hash.h"
#include "store/pack_arrow_write.h"
#include "store/pack_table.h"

constexpr size_t COPY_HEAD = 48;
constexpr size_t COPY_LEAST = COPY_HEAD + HASH_BYTES;
// Bytes kept of each chunk's BLAKE3: frames have checks of their own, and whole hashes would make
// up most of a copy.
constexpr uint32_t COPY_CHECKSUM = 8;
extern const uint8_t copy_magic[16];

struct packer;
struct unpacker;

struct copy_head {
  uint64_t at, size;  // of the copy in the pack
  uint64_t from;      // where the bytes begin that it tells of; they end where it begins
  uint32_t records;   // of the extension
  bool is_last;       // after it only the index follows
};

// Appends a copy that will lie at head->at; head->size is filled.
int32_t copy_write(struct arrow_out *out, struct copy_head *head, struct packer *packer,
                   const struct table *rows, const struct arrow_pair *metadata, size_t pairs,
                   span records, struct fault *fault);
// Whether the bytes may be a copy that lies at `at`, from its first COPY_HEAD bytes.
bool copy_begins(span bytes, uint64_t at, struct copy_head *out);
// CORRUPT when the bytes are not that copy.
int32_t copy_check(span bytes, const struct copy_head *head, struct fault *fault);
// What a copy that was checked holds: *plain, from malloc, with the stream of its rows and then its
// records.
int32_t copy_open(struct unpacker *unpacker, span bytes, uint8_t **plain, span *rows, span *records,
                  struct fault *fault);
