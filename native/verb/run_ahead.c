// run_ahead: what is done for all steps of a batch at once, because that costs less than step by
// step.
#include "engine/io.h"
#include "engine/runtime.h"
#include "verb/run.h"

// Most files are smaller; and 16 pairs of this size fill a worker's two slabs.
constexpr size_t SMALL_BYTES = 16 * 1024;
constexpr size_t PAIRS = IO_FILES_MAX / 2;
static_assert(PAIRS * SMALL_BYTES == WORKER_SLAB);

static void begin_afar(struct spot *spot, const struct step *step) {
  const struct entry *entries[2] = {step->pair.left, step->pair.right};
  for (uint8_t side = 0; side < 2; side++) {
    struct directory *directory = spot->node->directory[side];
    const struct store_ops *ops = directory->store->ops;
    if (ops->ahead) ops->ahead(directory->store, directory, entries[side]);
  }
}

// Where both files of the pair are, when both may be read with others.
static bool place_pair(struct spot *spot, const struct step *step, struct io_file file[2]) {
  const struct entry *entries[2] = {step->pair.left, step->pair.right};
  for (uint8_t side = 0; side < 2; side++) {
    struct directory *directory = spot->node->directory[side];
    if ((entries[side]->has & HAS_SIZE) && entries[side]->size >= SMALL_BYTES) return false;
    if ((entries[side]->has & HAS_DIGEST) ||
        !directory->store->ops->together(directory, entries[side], &file[side]))
      return false;
  }
  return !run_is_same(spot->run, entries[LEFT], entries[RIGHT]);
}

// Only what is whole, equal and not empty is settled here. All else is looked at again by the step
// itself, file by file: it has to say what differs and where, and whether these are files at all.
static void read_together(struct spot *spot, struct step *const *steps, struct io_file *files,
                          size_t pairs) {
  struct worker *worker = spot->worker;
  for (size_t i = 0; i < pairs * 2; i++) {
    files[i].into = worker->slab[i % 2] + i / 2 * SMALL_BYTES;
    files[i].size = SMALL_BYTES;
  }
  if (spot->run->task->runtime->io->read_files(&worker->ring, files, pairs * 2) < 0) {
    worker->ringless = true;
    return;
  }
  for (size_t i = 0; i < pairs; i++) {
    const struct io_file *left = &files[2 * i], *right = left + 1;
    if (left->got > 0 && left->got < (int64_t)SMALL_BYTES && left->got == right->got &&
        memcmp(left->into, right->into, (size_t)left->got) == 0)
      steps[i]->same = (uint32_t)left->got;
  }
}

void run_ahead(struct spot *spot, struct step *steps, size_t count) {
  struct run *run = spot->run;
  struct worker *worker = spot->worker;
  const struct store_ops *left = run->store[LEFT].ops, *right = run->store[RIGHT].ops;
  bool afar = left->ahead || (run->sides > 1 && right->ahead);
  // Steps that hash read their files themselves.
  bool together = run->sides > 1 && run->batch_place == JOB_LEAF && run->task->runtime->io->fused &&
                  left->together && right->together && !run->cache && !run->same_root &&
                  !worker->ringless;
  if (!run->verb->reads || count < 2 || !(afar || together)) return;
  struct io_file files[IO_FILES_MAX];
  struct step *placed[PAIRS];
  size_t pairs = 0;
  for (size_t i = 0; i < count && !run_over(run); i++) {
    if (run->verb->reads(run, &steps[i])) {
      if (afar) begin_afar(spot, &steps[i]);
      if (together && place_pair(spot, &steps[i], &files[2 * pairs])) placed[pairs++] = &steps[i];
    }
    bool is_last = i + 1 == count;
    if (pairs < (is_last ? 2 : PAIRS)) continue;
    if (worker->ringless || !worker_slabs(worker)) return;
    read_together(spot, placed, files, pairs);
    pairs = 0;
  }
}
