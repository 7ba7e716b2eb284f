#include "verb/cutter.h"

constexpr size_t READ_BYTES = WORKER_SLAB;

// Twice what a block can need, so that little is moved to the front.
size_t cutter_room(const struct chunker *chunker) { return 2 * chunker_need(chunker) + READ_BYTES; }

void cutter_begin(struct cutter *cutter, const struct chunker *fresh, struct reader *reader,
                  uint64_t from, uint64_t expected, uint8_t *buffer) {
  *cutter = (struct cutter){.reader = reader,
                            .chunker = *fresh,
                            .expected = expected,
                            .read_at = from,
                            .buffer = buffer,
                            .room = cutter_room(fresh)};
  reader->at_end = false;
}

static int32_t read_more(struct cutter *cutter, struct fault *fault) {
  if (cutter->room - cutter->filled < READ_BYTES) {
    cutter->filled -= cutter->at;
    memmove(cutter->buffer, cutter->buffer + cutter->at, cutter->filled);
    cutter->at = 0;
  }
  int64_t got = run_read_full(cutter->reader, cutter->read_at, cutter->buffer + cutter->filled,
                              READ_BYTES, cutter->expected, fault);
  if (got < 0) return (int32_t)got;
  cutter->filled += (size_t)got;
  cutter->read_at += (uint64_t)got;
  return 0;
}

int64_t cutter_next(struct cutter *cutter, struct spot *spot, const uint8_t **bytes,
                    uint64_t *offset, struct fault *fault) {
  for (;;) {
    if (run_over(spot->run)) return fault_set(fault, COPSE_E_CANCELLED, "cancelled");
    *bytes = cutter->buffer + cutter->at;
    *offset = cutter->read_at - (cutter->filled - cutter->at);
    size_t size =
        chunker_next(&cutter->chunker, *bytes, cutter->filled - cutter->at, cutter->reader->at_end);
    if (size == 0 && !cutter->reader->at_end) {
      int32_t code = read_more(cutter, fault);
      if (code < 0) return code;
      continue;
    }
    cutter->at += size;
    return (int64_t)size;
  }
}
