// verify: reads all content of a tree against what its store knows of it, and says what is damaged.
// The store proves what it gives (packs by BLAKE3, archives by their checksums); what it cannot
// prove it does not give. What is no content, such as an index, is proved when the root is opened.
#include "base/record.h"
#include "engine/runtime.h"
#include "verb/pump_crew.h"

struct verify {
  bool tells_intact;
};

static int32_t begin(struct run *run, struct fault *) {
  span request = {run->task->request, run->task->request_len};
  ((struct verify *)run->state)->tells_intact =
      record_number(request, COPSE_KEY_VERIFY_INTACT, 0) != 0;
  run->batch_place = JOB_COMPUTE;
  return 0;
}

static struct step plan(const struct run *, const struct pair *pair) {
  enum entry_type type = pair->left->type;
  bool is_looked_at = type == ENTRY_FILE || type == ENTRY_NONE;
  return (struct step){.pair = *pair,
                       .kind = is_looked_at ? STEP_COMPARE : STEP_NONE,
                       .descend = type == ENTRY_DIRECTORY};
}

// All of a piece is proved before a byte of it is given.
static int32_t prove_pieces(void *, struct hand *hand, struct range range, struct fault *fault) {
  const struct store_ops *ops = hand->reader->store->ops;
  for (uint64_t at = range.from; at < range.to;) {
    const uint8_t *bytes;
    if (run_over(hand->spot->run)) return fault_set(fault, COPSE_E_CANCELLED, "cancelled");
    int64_t got = ops->lend(hand->reader, at, (size_t)(range.to - at), &bytes, fault);
    if (got < 0) return (int32_t)got;
    if (got == 0) return fault_set(fault, COPSE_E_CHANGED, "the file changed while it was read");
    hand->counted += (uint64_t)got;
    at += (uint64_t)got;
  }
  return 0;
}

// Everything, to the end.
static int32_t read_all(struct spot *spot, struct reader *reader, struct entry *entry,
                        struct fault *fault) {
  const struct store_ops *ops = reader->store->ops;
  if (!worker_slabs(spot->worker)) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  struct entry before = *entry, after = *entry;
  int32_t code = ops->measure(reader, &before, nullptr, fault);
  uint64_t at = 0;
  bool is_shared = code == 0 && crew_may_decode(reader, before.size);
  if (is_shared) {
    struct errand errand = {.from = spot->node->directory[LEFT],
                            .entry = entry,
                            .size = before.size,
                            .is_shared = true,
                            .bring = prove_pieces};
    code = crew_work(&errand, spot, reader, &at, fault);
    spot->bytes += at;
  }
  while (code == 0 && !is_shared && !reader->at_end) {
    if (run_over(spot->run)) return fault_set(fault, COPSE_E_CANCELLED, "cancelled");
    int64_t got = run_read_full(reader, at, spot->worker->slab[0], WORKER_SLAB, before.size, fault);
    if (got < 0) return (int32_t)got;
    at += (uint64_t)got;
    spot->bytes += (uint64_t)got;
  }
  if (code == 0) code = ops->measure(reader, &after, nullptr, fault);
  if (code == 0 && (at != after.size || before.size != after.size))
    code = fault_set(fault, COPSE_E_CHANGED, "the file changed while it was read; run again");
  entry->size = after.size;
  return code;
}

// `spot` nullptr: not about an entry.
static void tell_corrupt(struct run *run, struct spot *spot, const struct entry *entry,
                         const struct fault *fault) {
  copse_row row = {.kind = COPSE_ROW_CORRUPT,
                   .type = entry->type,
                   .left_size = entry->size,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  uint8_t bytes[512];
  struct record_writer writer = {.at = bytes, .capacity = sizeof bytes};
  if (fault->part) record_put_number(&writer, COPSE_DETAIL_CHUNK, fault->part - 1);
  record_put_text(&writer, COPSE_DETAIL_SENTENCE, span_of(fault->text));
  span detail = {bytes, writer.size};
  if (spot)
    spot_emit(spot, &row, entry->name, detail);
  else
    task_emit(run->task, &row, (span){}, (span){}, detail);
}

static int32_t work(struct spot *spot, const struct step *step, struct fault *fault) {
  struct entry *entry = step->pair.left;
  if (entry->type == ENTRY_NONE) return node_trouble(spot->node, LEFT, entry, fault);
  struct directory *directory = spot->node->directory[LEFT];
  const struct store_ops *ops = directory->store->ops;
  struct reader reader = {};
  spot->side = LEFT;
  spot->files++;
  int32_t code = ops->reader(directory, entry, &reader, fault);
  if (code == 0) {
    code = read_all(spot, &reader, entry, fault);
    ops->read_end(&reader);
  }
  if (code == COPSE_E_CORRUPT) {
    tell_corrupt(spot->run, spot, entry, fault);
    return 0;
  }
  if (code < 0 || !((const struct verify *)spot->run->state)->tells_intact) return code;
  copse_row row = {.kind = COPSE_ROW_INTACT,
                   .type = entry->type,
                   .left_size = entry->size,
                   .right_size = COPSE_UNKNOWN,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  spot_emit(spot, &row, entry->name, (span){});
  return 0;
}

// Once all content was read.
static bool end(struct run *run, struct worker *) {
  const struct store *store = &run->store[LEFT];
  if (!store->ops->prove || run_over(run)) return false;
  struct fault fault = {};
  int32_t code = store->ops->prove(&run->store[LEFT], &fault);
  if (code == 0) return false;
  if (code == COPSE_E_CORRUPT)
    tell_corrupt(run, nullptr, &(struct entry){.size = COPSE_UNKNOWN}, &fault);
  else
    task_fail(run->task, &fault, store->shown, (span){});
  return false;
}

const struct verb verify_verb = {.name = "verify",
                                 .sides = 1,
                                 .state_size = sizeof(struct verify),
                                 .begin = begin,
                                 .plan = plan,
                                 .work = work,
                                 .end = end};
