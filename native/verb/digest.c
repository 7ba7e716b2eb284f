// digest: a row for every entry below a location, files with the hash of their content.
#include "base/hash.h"
#include "base/record.h"
#include "verb/run.h"

struct state {
  uint32_t algorithm;  // enum copse_algorithm
};

static int32_t begin(struct run *run, struct fault *) {
  struct state *state = run->state;
  span request = {run->task->request, run->task->request_len};
  state->algorithm = (uint32_t)record_number(request, COPSE_KEY_ALGORITHM, COPSE_ALGORITHM_BLAKE3);
  run->batch_place = JOB_COMPUTE;
  return 0;
}

static struct step plan(const struct run *, const struct pair *pair) {
  return (struct step){
      .pair = *pair, .kind = STEP_REPORT, .descend = pair->left->type == ENTRY_DIRECTORY};
}

static int32_t work(struct spot *spot, const struct step *step, struct fault *fault) {
  struct entry *entry = step->pair.left;
  if (entry->type == ENTRY_NONE) return node_trouble(spot->node, LEFT, entry, fault);
  const struct store *store = spot->node->directory[LEFT]->store;
  const struct state *state = spot->run->state;
  if (entry->type != ENTRY_FILE) return spot_report(spot, COPSE_ROW_ENTRY, entry, LEFT, fault);
  if ((store->can & ONLY_DIGEST) && store->algorithm != state->algorithm)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "the manifest has hashes of another algorithm, and no content to hash");
  uint8_t hash[HASH_BYTES];
  int32_t code = spot_digest(spot, LEFT, entry, state->algorithm, hash, fault);
  return code < 0 ? code : spot_report_hash(spot, entry, hash, fault);
}

const struct verb digest_verb = {.name = "digest",
                                 .sides = 1,
                                 .state_size = sizeof(struct state),
                                 .begin = begin,
                                 .plan = plan,
                                 .work = work};
