// pack_spool: the blobs of a pack that is being made, in the order in which they were ready, in a
// file without a name. The pack itself gets them in the order of its paths, so that its bytes do
// not depend on which thread was faster. Blobs of the same content are one.
#pragma once
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

struct spool {
  mutex lock;  // guards all of it
  struct blob *blobs;
  uint32_t count, capacity;
  uint32_t *slots;  // by digest; blob + 1
  uint32_t slots_count;
  int fd;           // -1: what there is fits the buffer
  uint8_t *buffer;  // the end, not in the file yet
  uint64_t begin;   // of the buffer
  size_t filled;
};

void spool_begin(struct spool *spool);
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
// Bytes of what was added or put at once, also while others add.
int32_t spool_read(struct spool *spool, uint64_t at, uint8_t *into, size_t size,
                   struct fault *fault);
