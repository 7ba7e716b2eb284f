// list: a row for every entry below a location, or for the entry itself.
#include "verb/run.h"

static struct step plan(const struct run *, const struct pair *pair) {
  return (struct step){
      .pair = *pair, .kind = STEP_REPORT, .descend = pair->left->type == ENTRY_DIRECTORY};
}

static int32_t work(struct spot *spot, const struct step *step, struct fault *fault) {
  struct entry *entry = step->pair.left;
  if (entry->type == ENTRY_NONE) return node_trouble(spot->node, LEFT, entry, fault);
  return spot_report(spot, COPSE_ROW_ENTRY, entry, LEFT, fault);
}

const struct verb list_verb = {.name = "list", .sides = 1, .plan = plan, .work = work};
