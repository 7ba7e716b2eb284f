// snapshot: notes all that a tree holds, so that it can be looked at again without asking anybody.
//
// Each directory of the walk has a list that its visit fills. When nothing below it is pending any
// more the list becomes one block and is given to the directory above, so that nobody waits for
// anybody; the root's goes on the shelf.
#include "store/snapshot.h"

#include "base/record.h"
#include "verb/run.h"

struct snapshot {
  uint64_t number;
  span path;            // of the root
  struct folder *root;  // when all is noted
  struct entry entry;   // the root's own
};

static struct snapshot *snapshot_of(const struct run *run) { return run->state; }

static int32_t begin(struct run *run, struct fault *fault) {
  span request = {run->task->request, run->task->request_len};
  struct snapshot *snapshot = snapshot_of(run);
  snapshot->number = record_number(request, COPSE_KEY_SNAPSHOT, 0);
  if (snapshot->number == 0)
    return fault_set(fault, COPSE_E_ARGUMENT, "a snapshot without a number");
  return run_where(run, &snapshot->path, fault);
}

static bool enter(struct spot *spot) {
  spot->node->state = growing_new();
  if (!spot->node->state) run_out_of_memory(spot->run);
  return spot->node->state;
}

// What a link leads to. False: it cannot be looked at, and `fault` says why.
static bool look_through(struct directory *directory, const struct entry *entry,
                         struct entry *through, struct fault *fault) {
  *through = *entry;
  int32_t code = directory->store->ops->stat(directory, through, true, fault);
  if (code == 0) return true;
  *through = (struct entry){};
  if (code != COPSE_E_NOT_FOUND) return false;
  *fault = (struct fault){};
  return true;
}

// Notes an entry. False: not below it.
static bool see(struct spot *spot, const struct pair *pair) {
  struct growing *growing = spot->node->state;
  struct directory *directory = spot->node->directory[LEFT];
  const struct store_ops *ops = directory->store->ops;
  struct entry *entry = pair->left;
  struct fault fault = {};
  int32_t code = 0;
  if (entry->type == ENTRY_NONE)
    code = node_trouble(spot->node, LEFT, entry, &fault);
  else if (!(entry->has & HAS_STAT))
    code = ops->stat(directory, entry, false, &fault);
  if (code == 0 && entry->type == ENTRY_LINK && !(entry->has & HAS_TARGET))
    code = ops->target(directory, entry, spot->arena, &fault);
  if (code < 0) spot_error(spot, &fault, entry->name);
  if (code == COPSE_E_NOT_FOUND) return false;  // gone: a snapshot holds what is there
  struct entry through = {};
  bool is_link = code == 0 && entry->type == ENTRY_LINK;
  if (is_link && !look_through(directory, entry, &through, &fault)) {
    spot_error(spot, &fault, entry->name);
    code = fault.code;
  }
  if (entry->type == ENTRY_FILE) spot->files++;
  if (!growing_add(growing, entry, is_link ? &through : nullptr, code < 0 ? &fault : nullptr)) {
    run_out_of_memory(spot->run);
    return false;
  }
  return code == 0;
}

static void failed(struct spot *spot, const struct fault *fault) {
  struct node *node = spot->node;
  if (!node->state) node->state = growing_new();
  if (!node->state || !growing_fail(node->state, fault)) run_out_of_memory(spot->run);
}

static void leave(struct run *run, struct node *node) {
  struct growing *growing = node->state;
  node->state = nullptr;
  if (!growing) return;  // it was over before anybody looked
  struct folder *folder = growing_end(growing, node->name);
  if (!folder) {
    run_out_of_memory(run);
  } else if (!node->parent) {
    snapshot_of(run)->root = folder;
    snapshot_of(run)->entry = node->entry[LEFT];
  } else if (node->parent->state) {
    growing_below(node->parent->state, folder);
  } else {
    folder_free(folder);
  }
}

static struct step plan(const struct run *, const struct pair *pair) {
  return (struct step){.pair = *pair, .descend = pair->left->type == ENTRY_DIRECTORY};
}

static bool end(struct run *run, struct worker *) {
  struct snapshot *snapshot = snapshot_of(run);
  struct folder *root = snapshot->root;
  if (!root) return false;
  struct snapshot_facts facts = snapshot_count(root);
  copse_row row = {.kind = COPSE_ROW_SNAPSHOT,
                   .left_size = facts.entries,
                   .right_size = facts.bytes,
                   .left_mtime_ns = COPSE_UNKNOWN_TIME,
                   .right_mtime_ns = COPSE_UNKNOWN_TIME};
  task_emit(run->task, &row, (span){}, (span){}, (span){});
  if (task_cancelled(run->task)) return false;  // nobody would know of it
  snapshot->root = nullptr;
  struct fault fault = {};
  if (snapshot_put(run->task->runtime, snapshot->number, &run->store[LEFT], &snapshot->entry,
                   snapshot->path, root, &fault) < 0)
    task_fail(run->task, &fault, run->store[LEFT].shown, (span){});
  return false;
}

static void finish(struct run *run) { folder_free(snapshot_of(run)->root); }

const struct verb snapshot_verb = {.name = "snapshot",
                                   .sides = 1,
                                   .trees_only = true,
                                   .state_size = sizeof(struct snapshot),
                                   .begin = begin,
                                   .enter = enter,
                                   .see = see,
                                   .failed = failed,
                                   .leave = leave,
                                   .plan = plan,
                                   .end = end,
                                   .close = finish};
