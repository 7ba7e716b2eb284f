#include <stdlib.h>

#include "engine/task.h"
#include "store/crypt.h"

struct crypt_writer {
  struct writer base;
  struct writer *inner;
  struct crypt_bench *bench;
  struct crypt_header header;
  uint8_t *index;
  size_t index_size, index_room;
  uint64_t at;      // plain bytes taken
  uint64_t raw_at;  // stored bytes given on; the header goes with what comes first
  size_t filled;    // of bench->plain
  uint8_t head[CRYPT_HEADER];
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

// ── Opening ──

// More than a few million parts are too many for an index.
static uint8_t part_log_of(const struct entry *entry) {
  constexpr uint64_t PARTS = 1 << 22;
  uint8_t log = CRYPT_PART;
  if (entry->size == COPSE_UNKNOWN) return log;
  while (log < CRYPT_PART_MOST && entry->size >> log > PARTS) log++;
  return log;
}

static int32_t writer_ready(struct crypt_state *state, struct crypt_writer *writer,
                            const struct entry *entry, struct fault *fault) {
  writer->header.part_log = part_log_of(entry);
  writer->header.stages = state->level ? CRYPT_COMPRESSED : 0;
  writer->bench = crypt_bench_take(state, writer->header.part_log, fault);
  if (!writer->bench) return fault->code;
  return crypt_keys_new(&state->keys, writer->bench, &writer->header, writer->head, fault);
}

static void writer_free(struct crypt_writer *writer) {
  struct crypt_state *state = crypt_state_of(writer->base.store);
  if (writer->bench) crypt_bench_give(state, writer->bench);
  free(writer->index);
  free(writer);
}

int32_t crypt_writer(struct directory *base, const struct wanted *wanted, struct writer **out,
                     struct fault *fault) {
  struct crypt_state *state = crypt_state_of(base->store);
  if (!state->is_said)
    return fault_set(fault, COPSE_E_ARGUMENT,
                     "nothing says how files are to be written here: give compress, encrypt or "
                     "both");
  if (atomic_load_explicit(&state->is_refused, memory_order_relaxed))
    return fault_set(
        fault, COPSE_E_AUTH,
        "this place holds files of another key or passphrase, so nothing is put beside "
        "them");
  struct crypt_writer *writer = calloc(1, sizeof *writer);
  if (!writer) return no_memory(fault);
  writer->base.store = base->store;
  struct directory *inner = crypt_inner(base);
  int32_t code = writer_ready(state, writer, wanted->entry, fault);
  if (code == 0) {
    // What it will take there is not known yet.
    struct entry entry = *wanted->entry;
    struct wanted stored = *wanted;
    entry.size = COPSE_UNKNOWN;
    entry.has &= (uint8_t)~HAS_SIZE;
    stored.entry = &entry;
    code = inner->store->ops->writer(inner, &stored, &writer->inner, fault);
  }
  if (code < 0)
    writer_free(writer);
  else
    *out = &writer->base;
  return code;
}

// ── Writing ──

static int32_t give_on(struct crypt_writer *writer, const uint8_t *bytes, size_t size,
                       struct fault *fault) {
  int32_t code =
      writer->inner->store->ops->write(writer->inner, writer->raw_at, bytes, size, fault);
  if (code == 0) writer->raw_at += size;
  return code;
}

static int32_t index_add(struct crypt_writer *writer, size_t stored, bool is_plain,
                         struct fault *fault) {
  if (writer->index_size == CRYPT_PARTS_MOST * CRYPT_ENTRY)
    return fault_set(fault, COPSE_E_LIMIT,
                     "it has more parts than a file can have; name a source that knows its size");
  if (writer->index_size == writer->index_room) {
    size_t room = writer->index_room ? writer->index_room * 2 : 16 * CRYPT_ENTRY;
    uint8_t *more = realloc(writer->index, room);
    if (!more) return no_memory(fault);
    writer->index = more;
    writer->index_room = room;
  }
  crypt_entry_put(writer->index + writer->index_size, (uint32_t)stored, is_plain);
  writer->index_size += CRYPT_ENTRY;
  return 0;
}

// What is in bench->plain becomes a part. Its stored bytes begin at *from; in front of the first
// one stands the header. Not given on yet.
static int64_t make_part(struct crypt_writer *writer, bool is_last, uint8_t **from,
                         struct fault *fault) {
  struct crypt_state *state = crypt_state_of(writer->base.store);
  struct crypt_bench *bench = writer->bench;
  struct crypt_part part = {
      .number = writer->index_size / CRYPT_ENTRY, .is_last = is_last, .size = writer->filled};
  int64_t stored = crypt_part_put(bench, &writer->header, state->level, &part, fault);
  if (stored < 0) return stored;
  int32_t code = index_add(writer, (size_t)stored, part.is_plain, fault);
  if (code < 0) return code;
  writer->filled = 0;
  *from = bench->stored;
  if (part.number > 0) return stored;
  memcpy(bench->room, writer->head, CRYPT_HEADER);
  *from = bench->room;
  return stored + (int64_t)CRYPT_HEADER;
}

// A full part waits until something follows it, because the last one says that it is.
static int32_t add(struct crypt_writer *writer, const uint8_t *bytes, uint64_t size,
                   struct fault *fault) {
  size_t most = (size_t)1 << writer->header.part_log;
  while (size > 0) {
    if (writer->filled == most) {
      uint8_t *from;
      // A hole may be as long as anybody likes.
      if (task_cancelled(writer->base.store->task))
        return fault_set(fault, COPSE_E_CANCELLED, "cancelled while writing");
      int64_t stored = make_part(writer, false, &from, fault);
      int32_t code = stored < 0 ? (int32_t)stored : give_on(writer, from, (size_t)stored, fault);
      if (code < 0) return code;
    }
    size_t free = most - writer->filled, taken = size < free ? (size_t)size : free;
    if (bytes)
      memcpy(writer->bench->plain + writer->filled, bytes, taken);
    else
      memset(writer->bench->plain + writer->filled, 0, taken);
    writer->filled += taken;
    writer->at += taken;
    size -= taken;
    if (bytes) bytes += taken;
  }
  return 0;
}

int32_t crypt_write(struct writer *base, uint64_t at, const uint8_t *bytes, size_t size,
                    struct fault *fault) {
  struct crypt_writer *writer = (struct crypt_writer *)base;
  if (at < writer->at)
    return fault_set(fault, COPSE_E_INTERNAL, "written backwards where only onward is possible");
  // What is left out is zeros.
  int32_t code = add(writer, nullptr, at - writer->at, fault);
  return code < 0 ? code : add(writer, bytes, size, fault);
}

static bool make_trailer(struct crypt_writer *writer, uint64_t raw_size, uint8_t *into) {
  struct crypt_trailer trailer = {.size = writer->at, .raw_size = raw_size};
  crypt_index_check(writer->index, writer->index_size, trailer.index_check);
  return crypt_trailer_put(writer->bench, &writer->header, &trailer, into);
}

// The last part; behind an only one, for which there is room, index and trailer.
static int32_t finish(struct crypt_writer *writer, struct fault *fault) {
  uint8_t *from = writer->bench->room, end[CRYPT_TRAILER];
  int64_t size = CRYPT_HEADER;
  if (writer->at > 0)
    size = make_part(writer, true, &from, fault);
  else
    memcpy(from, writer->head, CRYPT_HEADER);
  if (size < 0) return (int32_t)size;
  uint64_t raw_size = writer->raw_at + (uint64_t)size + writer->index_size + CRYPT_TRAILER;
  if (!make_trailer(writer, raw_size, end)) return no_memory(fault);
  if (writer->index_size <= CRYPT_ENTRY) {
    if (writer->index_size) memcpy(from + size, writer->index, writer->index_size);
    memcpy(from + size + writer->index_size, end, CRYPT_TRAILER);
    return give_on(writer, from, (size_t)size + writer->index_size + CRYPT_TRAILER, fault);
  }
  int32_t code = give_on(writer, from, (size_t)size, fault);
  if (code == 0) code = give_on(writer, writer->index, writer->index_size, fault);
  return code < 0 ? code : give_on(writer, end, CRYPT_TRAILER, fault);
}

int32_t crypt_commit(struct writer *base, uint64_t size, struct entry *out, struct fault *fault) {
  struct crypt_writer *writer = (struct crypt_writer *)base;
  int32_t code = size < writer->at
                     ? fault_set(fault, COPSE_E_INTERNAL, "more was written than the file has")
                     : add(writer, nullptr, size - writer->at, fault);
  if (code == 0) code = finish(writer, fault);
  const struct store_ops *ops = writer->inner->store->ops;
  if (code < 0)
    ops->abandon(writer->inner);
  else
    code = ops->commit(writer->inner, writer->raw_at, out, fault);
  if (code == 0) {
    out->size = size;
    out->has |= HAS_SIZE;
    out->ctime_ns = 0;
  }
  writer_free(writer);
  return code;
}

void crypt_abandon(struct writer *base) {
  struct crypt_writer *writer = (struct crypt_writer *)base;
  writer->inner->store->ops->abandon(writer->inner);
  writer_free(writer);
}
