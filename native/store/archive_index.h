// archive_index: what an archive holds, as a tree. Bounded: 64 bytes an entry and its name. Names
// are judged here: what could lead out of a tree, or cannot be in one, is kept apart with the
// reason, for it is told and never left out.
#pragma once
#include "base/fault.h"
#include "base/hash.h"
#include "store/archive_source.h"
#include "store/store.h"

constexpr uint32_t NO_ITEM = UINT32_MAX;

enum item_flags : uint32_t {
  ITEM_IMPLIED = 1,  // a directory that only the names below it tell of
  ITEM_BAD = 2,      // not in the tree: `at` says why, as enum bad_reason
  ITEM_DIGEST = 4,
  ITEM_TWIN = 8,  // a hard link; until index_seal `twin` says whose content it has
};

enum bad_reason : uint8_t {
  BAD_EMPTY = 1,
  BAD_NUL,
  BAD_ABSOLUTE,
  BAD_PARENT,
  BAD_LONG,
  BAD_DEEP,
  BAD_THROUGH,   // the path goes through what is no directory
  BAD_OVER,      // something else would take the place of a directory that holds something
  BAD_LINK,      // a hard link that leads out
  BAD_DANGLING,  // a hard link to what is not there
};

struct zip_facts {  // of an item of a zip file; its `at` is the offset of the local header
  uint64_t packed;
  uint32_t crc, name_crc;  // name_crc: of the name as the central directory has it
  uint16_t method, flags, name_size;
};

struct item {
  uint64_t size : 48, mode : 16;  // of a link: bytes of its target. mode has the type bits
  uint64_t at : 48, owner : 16;   // where the content is; of a link: its target in the text
  int64_t mtime_ns;
  uint32_t name;                    // in the text: u32 size, bytes, NUL
  uint32_t parent : 28, flags : 4;  // its own parent: a later entry took its name
  union {
    uint8_t digest[HASH_BYTES];
    struct zip_facts zip;
    struct {
      uint32_t first, count;  // of a directory: its children, from `first` in `order` once sealed
    };
    uint64_t special;  // of a device
    uint32_t twin;     // ITEM_TWIN until index_seal
  };
};
static_assert(sizeof(struct item) == 64);

struct index {
  struct item *items;  // [0] is the root
  uint32_t count, capacity;
  uint8_t *text;
  size_t text_size, text_capacity;
  uint64_t *owners;
  uint32_t owners_count, owners_last;
  uint64_t seed;    // of the hash, so that nobody can choose names that collide
  uint32_t *slots;  // while it is built: a hash table by parent and name
  uint32_t slots_count;
  uint32_t *order;  // sealed: all items but the root, by parent and name
  uint32_t ordered;
  uint32_t bad;  // how many are bad; they come last in `order`
  const struct archive_limits *limits;
};

// What is said of an entry besides its name.
struct item_facts {
  uint64_t size, at;
  int64_t mtime_ns;
  uint32_t mode, uid, gid;  // mode with the type bits
  uint64_t special;
  span target;
};

[[nodiscard]] bool index_begin(struct index *index, const struct archive_limits *limits);
void index_free(struct index *index);
// Adds an entry, or puts it in the place of an earlier one of its name. *out is its item, a bad one
// when its name is not to be used, NO_ITEM when it is the root itself.
int32_t index_add(struct index *index, span raw, const struct item_facts *facts, uint32_t *out,
                  struct fault *fault);
// A hard link to the entry named `target` so far.
int32_t index_add_twin(struct index *index, span raw, span target, uint32_t *out,
                       struct fault *fault);
// Nothing is added after it: children become ranges.
int32_t index_seal(struct index *index, struct fault *fault);
// Sealed: the child of that name, or NO_ITEM.
uint32_t index_child(const struct index *index, uint32_t directory, span name);
span index_name(const struct index *index, uint32_t item);
span index_text(const struct index *index, uint64_t at, uint64_t size);
void index_owner(const struct index *index, const struct item *item, uint32_t *uid, uint32_t *gid);
int32_t index_bad(const struct item *item, const struct archive_limits *limits,
                  struct fault *fault);
enum entry_type item_type(const struct item *item);
