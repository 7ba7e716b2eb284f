// pack_spool: the blobs of a pack that is being made, in the order in which they were ready, in a
// file without a name. The pack itself gets them in the order of its paths, so that its bytes do
// not depend on which thread was faster. Blobs of the same content are one.
#pragma once
#include <stdatomic.h>
#include "base/fault.h"
#include "base/hash.h"
#include "engine/thread.h"

struct blob {
  uint8_t digest[HASH_BYTES];  // of the content
  uint64_t at, size;           // in the spool; at UINT64_MAX: only in its group's frame
  uint64_t placed_at;          // in the pack; UINT64_MAX: not yet
  uint32_t group, group_at;    // where it is in a group, which counts from 1; 0: in none
  bool is_frame;
  bool is_alone;  // a group that is planned later does not have it
};

constexpr uint32_t NO_BLOB = UINT32_MAX;

// Where one thread puts small parts, so that what it brings one after the other lies together and
// nobody waits for its writing.
struct desk {
  mutex lock;             // guards what follows
  _Atomic(void *) owner;  // a thread; set once
  uint8_t *bytes;         // nullptr: nothing was put there yet
  uint64_t begin;         // of the bytes, in the file
  size_t filled;
};

constexpr uint32_t DESKS_MAX = 16;

struct spool {
  mutex lock;  // guards all of it but the desks
  struct blob *blobs;
  uint32_t count, capacity;
  uint32_t *slots;  // by digest; blob + 1
  uint32_t slots_count;
  int fd;                // -1: what there is lies on the desks
  _Atomic uint64_t end;  // of what is taken of the file
  struct desk desks[DESKS_MAX];
  _Atomic uint32_t desks_count;
  bool is_settled;  // nothing lies on a desk, and nothing comes
};

void spool_begin(struct spool *spool);
void spool_empty(struct spool *spool);  // nothing is read or added any more
void spool_end(struct spool *spool);
// The blob with that content, or NO_BLOB.
uint32_t spool_find(struct spool *spool, const uint8_t digest[HASH_BYTES], bool is_frame);
// Adds one, or finds that somebody was faster.
int32_t spool_add(struct spool *spool, const uint8_t digest[HASH_BYTES], bool is_frame, span bytes,
                  uint32_t *out, struct fault *fault);
// A file without a name, and reading and writing it.
int32_t spool_file(int *fd, struct fault *fault);
int32_t spool_write(int fd, uint64_t at, const uint8_t *bytes, size_t size, struct fault *fault);
int32_t spool_get(int fd, uint64_t at, uint8_t *into, size_t size, struct fault *fault);
// A blob whose bytes are in a group's frame, unless there is one of that content.
int32_t spool_note(struct spool *spool, const uint8_t digest[HASH_BYTES], uint64_t size,
                   uint32_t *out, struct fault *fault);
// Bytes of no blob; *at: where they are.
int32_t spool_put(struct spool *spool, span bytes, uint64_t *at, struct fault *fault);
// All that was added goes into the file, where there is one: nothing is added any more, and reading
// takes no lock.
int32_t spool_settle(struct spool *spool, struct fault *fault);
// Bytes of what was added or put at once, also while others add.
int32_t spool_read(struct spool *spool, uint64_t at, uint8_t *into, size_t size,
                   struct fault *fault);
