#include <stdlib.h>

#include "engine/thread.h"
#include "store/crypt.h"

constexpr uint64_t NO_PART = UINT64_MAX;

struct crypt_reader {  // in slot[0]
  struct reader inner;
  struct crypt_bench *bench;
  struct crypt_header header;
  struct crypt_trailer trailer;
  uint8_t *index;
  uint64_t at_part, at;  // that part begins there in the stored file
  uint64_t held;         // is in bench->plain
  bool has_stored;       // the first part is in bench->stored already
};

// ── Both ends ──

static int32_t read_all(struct reader *inner, uint64_t at, uint8_t *into, size_t size,
                        struct fault *fault) {
  while (size > 0) {
    int64_t got = inner->store->ops->read(inner, at, into, size, fault);
    if (got < 0) return (int32_t)got;
    if (got == 0)
      return fault_set(fault, COPSE_E_CHANGED,
                       "the file became shorter while it was read: read it again");
    at += (uint64_t)got;
    into += got;
    size -= (size_t)got;
  }
  return 0;
}

static int32_t too_short(struct fault *fault) {
  return fault_set(fault, COPSE_E_CORRUPT,
                   "it is no file that copse compressed or encrypted, or it is cut short: take it "
                   "from another copy");
}

static int32_t understand(struct crypt_state *state, struct crypt_bench *bench, const uint8_t *head,
                          const uint8_t *end, uint64_t raw_size, struct crypt_header *header,
                          struct crypt_trailer *trailer, struct fault *fault) {
  int32_t code = crypt_header_read(head, header, fault);
  if (code == 0) code = crypt_keys_open(&state->keys, bench, header, fault);
  if (code == COPSE_E_AUTH) atomic_store_explicit(&state->is_refused, true, memory_order_relaxed);
  if (code == 0) code = crypt_trailer_read(bench, header, end, trailer, fault);
  if (code == 0 && trailer->raw_size != raw_size)
    code = fault_set(fault, COPSE_E_CORRUPT,
                     "it is longer or shorter than when it was written: take it from another copy");
  return code;
}

int32_t crypt_look(struct crypt_state *state, struct crypt_bench *bench, struct reader *inner,
                   uint64_t raw_size, struct crypt_header *header, struct crypt_trailer *trailer,
                   struct fault *fault) {
  constexpr size_t AT_ONCE = 4096;  // a page costs no more than its ends
  uint8_t bytes[AT_ONCE];
  if (raw_size < CRYPT_LEAST) return too_short(fault);
  bool is_small = raw_size <= AT_ONCE;
  uint8_t *end = is_small ? bytes + raw_size - CRYPT_TRAILER : bytes + CRYPT_HEADER;
  int32_t code = read_all(inner, 0, bytes, is_small ? (size_t)raw_size : CRYPT_HEADER, fault);
  if (code == 0 && !is_small)
    code = read_all(inner, raw_size - CRYPT_TRAILER, end, CRYPT_TRAILER, fault);
  if (code < 0) return code;
  return understand(state, bench, bytes, end, raw_size, header, trailer, fault);
}

// ── Opening ──

static int32_t take_index(struct crypt_reader *reader, const uint8_t *at, size_t size,
                          struct fault *fault) {
  reader->index = malloc(size ? size : 1);
  if (!reader->index) return fault_set(fault, COPSE_E_MEMORY, "out of memory for an index");
  uint64_t from = reader->trailer.raw_size - CRYPT_TRAILER - size;
  int32_t code = 0;
  if (at)
    memcpy(reader->index, at, size);
  else
    code = read_all(&reader->inner, from, reader->index, size, fault);
  if (code < 0) return code;
  return crypt_index_read(&reader->header, &reader->trailer, reader->index, size, fault);
}

// What fits a bench is read at once, index and first part with it.
static int32_t open_file(struct crypt_state *state, struct crypt_reader *reader, uint64_t raw_size,
                         struct fault *fault) {
  struct crypt_bench *bench = reader->bench;
  bool is_small = raw_size >= CRYPT_LEAST && raw_size <= bench->room_size;
  int32_t code = 0;
  if (is_small) {
    code = read_all(&reader->inner, 0, bench->room, (size_t)raw_size, fault);
    if (code == 0)
      code = understand(state, bench, bench->room, bench->room + raw_size - CRYPT_TRAILER, raw_size,
                        &reader->header, &reader->trailer, fault);
  } else {
    code = crypt_look(state, bench, &reader->inner, raw_size, &reader->header, &reader->trailer,
                      fault);
  }
  if (code < 0) return code;
  uint64_t size = crypt_parts(&reader->header, reader->trailer.size) * CRYPT_ENTRY;
  if (size > raw_size - CRYPT_LEAST) return too_short(fault);
  code = take_index(reader, is_small ? bench->room + raw_size - CRYPT_TRAILER - size : nullptr,
                    (size_t)size, fault);
  reader->has_stored = is_small;
  return code < 0 ? code : crypt_bench_room(state, bench, reader->header.part_log, fault);
}

static void reader_free(struct crypt_state *state, struct crypt_reader *reader) {
  reader->inner.store->ops->read_end(&reader->inner);
  crypt_bench_give(state, reader->bench);
  free(reader->index);
  free(reader);
}

int32_t crypt_reader(struct directory *base, const struct entry *entry, struct reader *out,
                     struct fault *fault) {
  struct crypt_state *state = crypt_state_of(base->store);
  if (!(state->inner.can & CAN_RANGE))
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "what is compressed or encrypted is read from both ends, and this place gives "
                     "content only from its beginning: copy it to a directory first");
  struct directory *inner = crypt_inner(base);
  struct crypt_reader *reader = calloc(1, sizeof *reader);
  if (!reader) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  reader->held = NO_PART;
  reader->at = CRYPT_HEADER;
  reader->bench = crypt_bench_take(state, CRYPT_PART, fault);
  int32_t code =
      reader->bench ? inner->store->ops->reader(inner, entry, &reader->inner, fault) : fault->code;
  if (code < 0) {
    if (reader->bench) crypt_bench_give(state, reader->bench);
    free(reader);
    return code;
  }
  struct entry raw = {};
  code = inner->store->ops->measure(&reader->inner, &raw, nullptr, fault);
  if (code == 0) code = open_file(state, reader, raw.size, fault);
  if (code < 0) {
    reader_free(state, reader);
    return code;
  }
  *out = (struct reader){.store = base->store, .access = READ_SINGLE, .fd = -1, .slot = {reader}};
  return 0;
}

void crypt_read_end(struct reader *base) {
  reader_free(crypt_state_of(base->store), base->slot[0]);
  base->slot[0] = nullptr;
}

int32_t crypt_measure(struct reader *base, struct entry *out, bool *holes, struct fault *fault) {
  struct crypt_reader *reader = base->slot[0];
  int32_t code = reader->inner.store->ops->measure(&reader->inner, out, nullptr, fault);
  if (code < 0) return code;
  // Of another length it is another file by now.
  out->size = out->size == reader->trailer.raw_size ? reader->trailer.size : COPSE_UNKNOWN;
  out->has |= HAS_SIZE;
  out->ctime_ns = 0;
  if (holes) *holes = false;
  return 0;
}

// ── Reading ──

// Its place in the stored file, from the last one that was asked for.
static uint64_t find_part(struct crypt_reader *reader, uint64_t number) {
  if (number < reader->at_part) {
    reader->at_part = 0;
    reader->at = CRYPT_HEADER;
  }
  for (; reader->at_part < number; reader->at_part++)
    reader->at += crypt_entry(reader->index, reader->at_part) & ~CRYPT_PLAIN;
  return reader->at;
}

static int32_t take_part(struct crypt_reader *reader, uint64_t number, struct fault *fault) {
  if (reader->held == number) return 0;
  uint64_t parts = crypt_parts(&reader->header, reader->trailer.size);
  uint32_t entry = crypt_entry(reader->index, number);
  struct crypt_part part = {
      .number = number,
      .is_last = number + 1 == parts,
      .is_plain = entry & CRYPT_PLAIN,
      .size = crypt_part_size(&reader->header, reader->trailer.size, number),
  };
  uint64_t at = find_part(reader, number);
  size_t stored = entry & ~CRYPT_PLAIN;
  bool is_there = reader->has_stored && number == 0;
  int32_t code = is_there ? 0 : read_all(&reader->inner, at, reader->bench->stored, stored, fault);
  reader->held = NO_PART;
  reader->has_stored = false;
  if (code == 0) code = crypt_part_read(reader->bench, &reader->header, &part, stored, fault);
  if (code == 0) reader->held = number;
  return code;
}

// Where the stored file is at hand; from afar each reader would be several requests.
uint64_t crypt_piece(const struct reader *base, uint64_t at, uint64_t *held) {
  const struct crypt_reader *reader = base->slot[0];
  uint8_t log = reader->header.part_log;
  *held = 0;  // benches are in the account already
  if (reader->inner.access != READ_ANYWHERE || at >= reader->trailer.size) return 0;
  uint64_t end = ((at >> log) + 1) << log;
  return end < reader->trailer.size ? end : reader->trailer.size;
}

int64_t crypt_lend(struct reader *base, uint64_t at, size_t size, const uint8_t **out,
                   struct fault *fault) {
  struct crypt_reader *reader = base->slot[0];
  uint64_t whole = reader->trailer.size;
  if (at >= whole || size == 0) {
    base->at_end = at >= whole;
    return 0;
  }
  uint64_t number = at >> reader->header.part_log;
  int32_t code = take_part(reader, number, fault);
  if (code < 0) return code;
  size_t from = (size_t)(at - (number << reader->header.part_log));
  size_t there = crypt_part_size(&reader->header, whole, number) - from;
  size_t got = size < there ? size : there;
  *out = reader->bench->plain + from;
  base->at_end = at + got == whole;
  return (int64_t)got;
}

int64_t crypt_read(struct reader *base, uint64_t at, uint8_t *into, size_t size,
                   struct fault *fault) {
  const uint8_t *bytes;
  int64_t got = crypt_lend(base, at, size, &bytes, fault);
  if (got > 0) memcpy(into, bytes, (size_t)got);
  return got;
}
