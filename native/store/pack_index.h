// pack_index: what a pack holds, read from the bytes at its end and checked before anything of it
// is used: names that could lead out of a tree, chunks that overlap or are missing, blobs outside
// of the file.
#pragma once
#include "base/fault.h"
#include "base/hash.h"
#include "store/pack_arrow.h"
#include "store/store.h"

constexpr size_t PACK_TRAILER = 16;
// Of the index, which is read as a whole. Twenty million files need less.
constexpr uint64_t PACK_INDEX_MAX = UINT64_C(4) << 30;
// Of a chunk, which is held in memory to be proved before any of it is given. Others cut at up to
// 200 MiB.
constexpr uint64_t PACK_CHUNK_MAX = UINT64_C(1) << 30;

// A contiguous part of a file, and where it is stored.
struct pack_chunk {
  uint64_t at, size;
  uint64_t blob_at, blob_size;
  uint64_t group_at, group_size;  // in what the blob holds, which may be more, and all of that
  const uint8_t *checksum;        // of what the blob holds; nullptr: only its frame proves it
  bool is_frame;
};

struct pack_place {
  uint64_t at, size;
};

constexpr uint32_t NO_KIND = UINT32_MAX;  // of an item: nothing is known of it

// What a sub-index says of all its files.
struct pack_kind {
  uint8_t type;
  span repo;
  struct arrow_column *columns;  // besides those of every pack
  size_t columns_count;
  bool is_lost;  // type and repo: its manifest did not say them
};

struct pack_item {
  span path;  // first: see store/paths.h. A NUL follows it.
  uint64_t size;
  int64_t mtime_ns;     // INT64_MIN: not kept
  span target;          // links only
  size_t first, count;  // chunks
  uint32_t mode;        // with the type bits; permission bits zero: not kept
  uint32_t twins;       // others that share its inode have the same number; 0: none
  uint32_t kind, row;   // files: its sub-index, and where the first chunk is in it
  enum entry_type type;
};

// An entry that is not used, because of its name: the others are.
struct pack_refused {
  span path;        // as the pack has it
  bool is_through;  // through what is no directory
};

struct pack_index {
  struct pack_item *items;  // by paths_order
  size_t count;
  struct pack_chunk *chunks;
  struct pack_kind *kinds;  // in the order of the manifest; nullptr where none was read
  size_t kinds_count;       // of a pack whose index is made again
  size_t chunks_count;
  struct pack_place *copies;  // of parts of the index
  size_t copies_count;
  struct pack_place dictionaries[2];  // frames that hold the same one
  size_t dictionaries_count;
  struct pack_refused *refused;
  size_t refused_count, refused_capacity;
  uint64_t begin;            // where the index begins, and what blobs must not reach
  bool is_ours;              // has our extension, which protects all that is not content
  uint8_t hash[HASH_BYTES];  // of ours: the extension's own, which proves all that the index says
  bool is_native;            // is of our own format
  bool is_recovered;         // what it says of files that are lost is left out
  uint32_t checksum;         // bytes of each
  struct arena arena;
};

// From the last PACK_TRAILER bytes of a file of `size` bytes: where the manifest begins. `head` is
// the file's beginning and `old` what lies where an archive of version 0.6 would have its index
// (pack_old), for a better sentence only.
int32_t pack_trailer(span last, uint64_t size, span head, span old, uint64_t *manifest,
                     bool *is_native, struct fault *fault);
bool pack_has_trailer(span last);
// Where that would be; `size`: nowhere.
uint64_t pack_old(span last, uint64_t size);
// Where the first sub-index begins, from the manifest's bytes.
int32_t pack_first(span manifest, uint64_t manifest_at, uint64_t *first, struct fault *fault);
// `tail` is the file from `first` to its trailer; it must stay as long as the index. After an error
// there is nothing to free.
int32_t pack_index_read(struct pack_index *index, span tail, uint64_t first, uint64_t manifest_at,
                        bool is_native, uint64_t entries_max, struct fault *fault);
// The places of all blobs and copies in order, from malloc; they may overlap.
int32_t pack_taken(const struct pack_index *index, struct pack_place **out, size_t *count,
                   struct fault *fault);
void pack_index_free(struct pack_index *index);
// Why it is refused.
int32_t pack_refused_fault(const struct pack_refused *refused, struct fault *fault);
