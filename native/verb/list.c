// list: a row for every entry below a location, or for the entry itself. Without KEY_STAT the names
// and types of the listings are all there is to say, many to a row.
#include "base/record.h"
#include "verb/run.h"

struct list {
  bool stat;
};

static int32_t begin(struct run *run, struct fault *) {
  span request = {run->task->request, run->task->request_len};
  ((struct list *)run->state)->stat = record_number(request, COPSE_KEY_STAT, 0);
  return 0;
}

static struct step plan(const struct run *run, const struct pair *pair) {
  enum entry_type type = pair->left->type;
  bool name = !((const struct list *)run->state)->stat && type != ENTRY_NONE;
  return (struct step){
      .pair = *pair, .kind = name ? STEP_NAME : STEP_REPORT, .descend = type == ENTRY_DIRECTORY};
}

static int32_t work(struct spot *spot, const struct step *step, struct fault *fault) {
  struct entry *entry = step->pair.left;
  if (entry->type == ENTRY_NONE) return node_trouble(spot->node, LEFT, entry, fault);
  return spot_report(spot, COPSE_ROW_ENTRY, entry, LEFT, fault);
}

const struct verb list_verb = {.name = "list",
                               .sides = 1,
                               .state_size = sizeof(struct list),
                               .begin = begin,
                               .plan = plan,
                               .work = work};
