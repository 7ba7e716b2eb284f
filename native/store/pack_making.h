// pack_making: a pack that is being made, between who fills it (pack_write.c), who does its chunks
// (pack_chunk.c), who sorts what came (pack_gather.c) and who puts it together (pack_finish.c).
#pragma once
#include <stdatomic.h>
#include "base/hash.h"
#include "base/sorted.h"
#include "engine/pool.h"
#include "engine/thread.h"
#include "store/pack_group.h"
#include "store/pack_names.h"
#include "store/pack_spool.h"
#include "store/store.h"

struct asking;
struct load;
struct output;
struct pack_kind;
struct packer;
struct seed;
struct task;

// What one thread compresses with; pack_chunk.c has a list of them.
struct compressor {
  struct compressor *next;
  const void *owner;  // the thread that had it last
  struct packer *packer;
  struct packer *quick;  // for samples
  uint8_t *out;
  size_t capacity;
};

// The files of one sub-index.
struct pack_section {
  uint8_t type;
  span repo;
  size_t rank;  // in the manifest, known when all came
};

struct part {
  uint64_t size;
  uint32_t blob;  // it knows the digest
};

// Parts stay where they are: other workers fill them while more come.
struct part_block {
  struct part_block *next;
  size_t count, capacity;
  struct part parts[];
};

// What will be in the pack.
struct written {
  span path;             // first: see store/paths.h
  span target;           // links
  span renamed;          // what the index calls it, when its path is not UTF-8
  enum entry_type type;  // ENTRY_NONE: taken away again
  uint32_t mode;
  int64_t mtime_ns;
  uint64_t size, device, inode;
  bool is_raw;  // stored as it is
  uint32_t children;
  size_t parts_count;
  struct part_block *first, *last;
  struct written *next_orphan;
  struct written *twin;  // the file whose other name it is
  struct written *same;  // the file that has its content until all came
  struct pack_section *section;
  const struct pack_kind *kind;  // of the pack it comes from, which says more in `row`; or nullptr
  uint32_t row;
  span answer;  // of the caller, from malloc; guarded by the lock until all came
};

struct pack_totals {
  uint64_t files, directories, compressed, stored, bytes_in, bytes_out, compressed_in, stored_in,
      chunks;
};

struct making {
  struct store inner;
  int level;
  enum copse_compress compress;
  bool is_native;            // of our own format
  bool pours;                // it has no file: the caller gets it
  bool keeps;                // what the seed holds is kept
  bool has_kind;             // of its own, whatever files had where they come from
  struct asking *asking;     // nullptr: nothing is asked
  struct written *root;      // nullptr: nobody asked for it yet
  struct seed *seed;         // nullptr: there is none
  struct pack_section *own;  // the first of the sections
  mutex lock;                // guards what follows
  struct pack_section **sections;
  struct sorted by_kind;  // the same
  size_t sections_count;
  struct written **all;
  size_t count, capacity;
  struct names names;
  struct written *orphans;  // given up while other workers fill their parts
  struct compressor *idle;
  uint32_t compressors;           // idle, or taken
  struct compressor *idle_large;  // for large chunks
  condition large_given;          // back
  uint32_t large, large_max;      // at work on large chunks, and at most
  struct load *loads;             // of small chunks that wait, for each thread; idle
  uint32_t loads_count;           // idle, or taken
  struct fault fault;             // of a chunk that waited, or that another worker was given
  _Atomic uint32_t pending;       // loads that other workers were given
  uint32_t pending_max;
  struct spool spool;
  struct grouping grouping;   // of our own format, once all came
  struct output *output;      // of finish, while it goes on; or nullptr
  struct pack_totals totals;  // after finish
  uint8_t index_hash[HASH_BYTES];
  bool is_begun, is_made;  // by finish
  struct job emptying;
  uint64_t device, inode;  // of the file that has its name now; both zero: none
};

static inline struct making *making_of(const struct store *store) { return store->state; }

static inline int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while packing");
}

// A chunk is hashed, and what is stored of it put into the spool unless it is there. `is_raw`: as
// it is.
int32_t chunk_add(struct making *making, span bytes, bool is_raw, struct part *part,
                  struct fault *fault);
// A chunk whose bytes are from malloc, and whose part does not move. 1: they belong to the pack
// now, and what goes wrong is said when all came; 0: it is done. `may_go_away`: others may do it.
struct piece {
  struct part *part;
  uint8_t *bytes;
  size_t size;
  bool is_raw;
};
int32_t piece_add(struct making *making, struct task *task, const struct piece *piece,
                  bool may_go_away, struct fault *fault);
void loads_end(struct making *making);   // when no more come: what waits is done
void loads_free(struct making *making);  // what waits is not wanted
// Whether the chunk goes into a group of small ones, so that nobody compresses it before.
bool written_is_grouped(const struct making *making, const struct written *written, uint64_t size);
// The first of what went wrong in a job is what the pack ends with.
void making_fail(struct making *making, const struct fault *fault);
[[nodiscard]] struct compressor *compressor_take(struct making *making);  // nullptr: no memory
void compressor_free(struct compressor *compressor);
void compressors_free(struct making *making);  // those that nobody uses
void making_empty(struct making *making);      // of all that came, once none of it is needed
// An entry below another one (nullptr: by its whole path), and a link's target. nullptr: no memory.
[[nodiscard]] struct written *written_new(const struct written *above, span name, span target);
// The section of that kind and origin; nullptr: no memory.
[[nodiscard]] struct pack_section *section_find(struct making *making, uint8_t type, span repo);
void section_drop(struct making *making, struct pack_section *section);
int section_order(const void *left, const void *right);  // by type and repo
// From here on it is in the pack.
int32_t written_keep(struct making *making, struct written *written, struct written *above,
                     struct fault *fault);
void written_free(struct written *written);
// When all that is written came: sorts it, and adds what the seed holds.
int32_t pack_gather(struct making *making, struct task *task, struct fault *fault);
// Which files are one, what the index calls those of other names, and the order of the sections.
int32_t pack_arrange(struct making *making, struct fault *fault);
// The end of the entries from `begin` on that one copy of the index tells of. A file is never cut,
// so that what has a part of its rows has them all.
size_t pack_stretch_end(const struct making *making, size_t begin);
// Names and writes all that was kept into the inner store: store_ops.finish.
int32_t pack_finish(struct store *store, struct fault *fault);
void output_end(struct output *out);  // nothing of it stays
