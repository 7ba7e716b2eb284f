// cutter: the blocks (base/chunker.h) of a content that is read onward, one after another.
#pragma once
#include "base/chunker.h"
#include "verb/run.h"

struct cutter {
  struct reader *reader;
  struct chunker chunker;
  uint64_t expected;  // size, as far as an end is not believed before a read of nothing
  uint64_t read_at;   // so far it is in the buffer
  size_t at, filled;
  uint8_t *buffer;  // cutter_room bytes
  size_t room;
};

// Bytes that a buffer for such blocks has.
size_t cutter_room(const struct chunker *chunker);
// `fresh`: as chunker_begin left it. `from`: where in the content to begin.
void cutter_begin(struct cutter *cutter, const struct chunker *fresh, struct reader *reader,
                  uint64_t from, uint64_t expected, uint8_t *buffer);
// The next block: its size, and where it is; what was given before is overwritten. 0: the end.
int64_t cutter_next(struct cutter *cutter, struct spot *spot, const uint8_t **bytes,
                    uint64_t *offset, struct fault *fault);
