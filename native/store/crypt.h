// crypt: a store around another one, whose files are checksummed, compressed and encrypted there,
// and plain here.
//
//   crypt.c        the store: directories, and what an entry is like on this side
//   crypt_read.c   a file read back, part by part
//   crypt_write.c  a file that is written
//   crypt_form.c   the bytes (docs/formats.md)
//   crypt_key.c    passphrases and keys
#pragma once
#include <stdatomic.h>

#include "store/crypt_form.h"
#include "store/crypt_key.h"
#include "store/store.h"

struct crypt_state {
  struct store inner;
  struct crypt_keys keys;
  bool is_target;           // it is what a task writes to: what is damaged there may be replaced
  bool is_said;             // how new files are written
  int level;                // zstd's; zero: they are not compressed
  _Atomic bool is_refused;  // a file of another key was met, so that none of ours is put beside it
  mutex lock;               // guards the rest
  struct crypt_bench *benches;
};

struct crypt_directory {
  struct directory base;
  struct directory *inner;
};

static inline struct crypt_state *crypt_state_of(const struct store *store) { return store->state; }
static inline struct directory *crypt_inner(struct directory *base) {
  return ((struct crypt_directory *)base)->inner;
}

// ── crypt.c ──

// One that nobody else uses, with room for such parts; nullptr: the fault says why.
struct crypt_bench *crypt_bench_take(struct crypt_state *state, uint8_t part_log,
                                     struct fault *fault);
// Room for larger parts, too, as crypt_bench_ready makes it: in the runtime's account first.
int32_t crypt_bench_room(struct crypt_state *state, struct crypt_bench *bench, uint8_t part_log,
                         struct fault *fault);
// Its key is forgotten.
void crypt_bench_give(struct crypt_state *state, struct crypt_bench *bench);

// ── crypt_read.c ──

// What the file is, from its two ends, of `raw_size` bytes. Its key is in bench->seal afterwards.
int32_t crypt_look(struct crypt_state *state, struct crypt_bench *bench, struct reader *inner,
                   uint64_t raw_size, struct crypt_header *header, struct crypt_trailer *trailer,
                   struct fault *fault);
int32_t crypt_reader(struct directory *, const struct entry *, struct reader *, struct fault *);
int64_t crypt_read(struct reader *, uint64_t at, uint8_t *into, size_t size, struct fault *);
uint64_t crypt_piece(const struct reader *, uint64_t at, uint64_t *held);
int64_t crypt_lend(struct reader *, uint64_t at, size_t size, const uint8_t **out, struct fault *);
void crypt_read_end(struct reader *);
int32_t crypt_measure(struct reader *, struct entry *out, bool *holes, struct fault *);

// ── crypt_write.c ──

int32_t crypt_writer(struct directory *, const struct wanted *, struct writer **, struct fault *);
int32_t crypt_write(struct writer *, uint64_t at, const uint8_t *bytes, size_t size,
                    struct fault *);
int32_t crypt_commit(struct writer *, uint64_t size, struct entry *out, struct fault *);
void crypt_abandon(struct writer *);
