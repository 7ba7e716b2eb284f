// list: a row for every entry below a location, or for the entry itself. Without KEY_STAT the names
// and types of the listings are all there is to say, many to a row.
#include "base/record.h"
#include "verb/run.h"

struct list {
  bool stat, columns;
};

static int32_t begin(struct run *run, struct fault *) {
  span request = {run->task->request, run->task->request_len};
  struct list *list = run->state;
  list->stat = record_number(request, COPSE_KEY_STAT, 0);
  list->columns = record_number(request, COPSE_KEY_COLUMNS, 0);
  run->only_names = !list->stat && !list->columns;
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
  struct directory *directory = spot->node->directory[LEFT];
  const struct store_ops *ops = directory->store->ops;
  span columns = {};
  int32_t code = 0;
  if (((const struct list *)spot->run->state)->columns && ops->columns && entry->type == ENTRY_FILE)
    code = ops->columns(directory, entry, spot->arena, &columns, fault);
  return code < 0 ? code : spot_report_with(spot, entry, columns, fault);
}

const struct verb list_verb = {.name = "list",
                               .sides = 1,
                               .forgets = true,
                               .state_size = sizeof(struct list),
                               .begin = begin,
                               .plan = plan,
                               .work = work};
