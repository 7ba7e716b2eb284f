// Bytes come in pieces, here and there; most follow one that came before. Such a run is hashed
// while it grows, and every MiB of it is a record in the journal.
#include "verb/pump_any.h"

#include <stdlib.h>

constexpr uint64_t RUN_BYTES = 1 << 20;
constexpr size_t RUNS = STREAMS_MAX + 1;

struct a_run {
  uint64_t from, to;  // equal: free
  struct hash hash;
};

static int32_t keep(struct writer *writer, struct a_run *run, struct fault *fault) {
  uint8_t digest[HASH_BYTES];
  hash_end(&run->hash, digest);
  struct range range = {run->from, run->to};
  run->from = run->to;
  return writer->store->ops->keep(writer, range, digest, fault);
}

// The run that the piece goes on with, or a new one in the place of the shortest.
static int32_t add(struct writer *writer, struct a_run *runs, uint64_t at, const uint8_t *bytes,
                   size_t size, struct fault *fault) {
  struct a_run *found = nullptr, *shortest = &runs[0];
  for (size_t i = 0; i < RUNS && !found; i++) {
    struct a_run *run = &runs[i];
    if (run->from < run->to && run->to == at) found = run;
    if (run->to - run->from < shortest->to - shortest->from) shortest = run;
  }
  int32_t code = 0;
  if (!found) {
    found = shortest;
    if (found->from < found->to) code = keep(writer, found, fault);
    if (code < 0) return code;
    found->from = found->to = at;
    hash_begin(&found->hash);
  }
  hash_add(&found->hash, bytes, size);
  found->to += size;
  return found->to - found->from >= RUN_BYTES ? keep(writer, found, fault) : 0;
}

int32_t pump_any(struct spot *spot, struct reader *reader, struct writer *writer, uint64_t *counted,
                 struct fault *fault) {
  const struct store_ops *from = reader->store->ops, *to = writer->store->ops;
  struct a_run *runs = to->keep ? calloc(RUNS, sizeof *runs) : nullptr;
  if (to->keep && !runs) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  uint8_t *slab = spot->worker->slab[0];
  int32_t code = 0;
  for (;;) {
    uint64_t at = 0;
    spot->side = LEFT;
    int64_t got = run_over(spot->run) ? pump_cancelled(fault)
                                      : from->read_any(reader, &at, slab, WORKER_SLAB, fault);
    if (got <= 0) {
      code = (int32_t)got;
      break;
    }
    spot->side = RIGHT;
    code = to->write(writer, at, slab, (size_t)got, fault);
    if (code == 0 && runs) code = add(writer, runs, at, slab, (size_t)got, fault);
    if (code < 0) break;
    pump_count(spot, counted, (uint64_t)got);
  }
  // Its own fault is not what the caller has to know.
  struct fault ignored = {};
  for (size_t i = 0; code < 0 && runs && i < RUNS; i++)
    if (runs[i].from < runs[i].to && keep(writer, &runs[i], &ignored) < 0) break;
  free(runs);
  return code;
}
