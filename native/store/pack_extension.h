// pack_extension: what the format of packs has no place for: directories, links, names that are not
// UTF-8, hard links, and hashes of the index. It lies between the last sub-index and the manifest,
// where other readers do not look. docs/formats.md has its bytes.
#pragma once
#include "base/fault.h"
#include "base/hash.h"
#include "base/span.h"

constexpr size_t EXTENSION_HEAD = 96;  // magic, version, records, length, two hashes

enum extension_kind : uint8_t {
  EXTENSION_DIRECTORY = 1,  // mode, mtime; the path "" is the root
  EXTENSION_LINK = 2,       // mode, mtime, target
  EXTENSION_NAME = 3,       // a file whose path in the index stands for the bytes in `target`
  EXTENSION_TWIN = 4,       // a file that is one more name of the file in `target`
  EXTENSION_COPY = 5,       // where a copy of the index is: two u64 in `target`, place and size
};

struct extension_record {
  span path, target;
  int64_t mtime_ns;
  uint32_t mode;
  enum extension_kind kind;
};

// Whether the bytes begin an extension.
bool extension_is(span bytes);
// Checks the hashes: of the extension itself, of the sub-indexes before it and of the manifest. The
// records follow from *records.
int32_t extension_check(span bytes, span indexes, span manifest, span *records, uint32_t *count,
                        struct fault *fault);
// Takes the next record. 1: one; 0: the end.
int32_t extension_next(span *rest, struct extension_record *out, struct fault *fault);

// Writing: room for a record, and its bytes.
size_t extension_record_size(const struct extension_record *record);
void extension_record_put(uint8_t *at, const struct extension_record *record);
// Fills the head of `bytes`, in which the records stand already and HASH_BYTES are left at the end.
void extension_seal(uint8_t *bytes, size_t size, uint32_t count, span indexes, span manifest);
