// run_roots: what a run is about is found and opened before its walk begins: trees and files, what
// is opened as a tree, and where a verb writes to.
#include "base/path.h"
#include "base/record.h"
#include "verb/run.h"

int32_t run_where(struct run *run, span *out, struct fault *fault) {
  const struct store_ops *ops = run->store[LEFT].ops;
  *out = run->path;
  if (run->path.size) return 0;
  if (ops->where) return ops->where(&run->store[LEFT], &run->arena, out, fault);
  // The innermost path that says anything.
  span record = record_record((span){run->task->request, run->task->request_len}, COPSE_KEY_LEFT);
  while (record.size) {
    struct place place;
    int32_t code = place_read(record, &place, fault);
    if (code < 0) return code;
    span inside = record_text(record, COPSE_PLACE_SUB);  // an archive's
    *out = inside.size ? inside : place.path;
    while (out->size && out->at[out->size - 1] == '/') out->size--;
    record = out->size ? (span){} : place.inner;
  }
  return 0;
}

static int32_t open_side(struct run *run, uint8_t side, struct entry *entry,
                         struct directory **directory, struct fault *fault) {
  struct store *store = &run->store[side];
  const struct store_ops *ops = store->ops;
  int32_t code;
  if (side == RIGHT || run->path.size == 0) {
    code = ops->root(store, &run->arena, entry, directory, fault);
  } else {
    struct directory *parent;
    code = ops->find(store, run->path, &run->arena, entry, &parent, fault);
    if (code < 0) return code;
    bool self =
        record_number((span){run->task->request, run->task->request_len}, COPSE_KEY_SELF, 0);
    if (entry->type != ENTRY_DIRECTORY || self) {
      *directory = parent;
    } else {
      code = ops->enter(parent, entry, directory, fault);
      ops->leave(parent);
    }
  }
  if (code < 0) return code;
  if (entry->type == ENTRY_OTHER && run->path.size == 0)
    code = fault_set(
        fault, COPSE_E_UNSUPPORTED,
        "a pipe, socket or device cannot be read as a tree or file; name a file or directory");
  return code;
}

// Where the other side is a directory, a file that can be one is opened as it (an archive, by its
// name).
static int32_t open_as_tree(struct run *run, uint8_t side, struct entry *entry,
                            struct directory **directory, struct fault *fault) {
  span request = {run->task->request, run->task->request_len};
  uint16_t key = side == LEFT ? COPSE_KEY_LEFT : COPSE_KEY_RIGHT;
  span tree = record_record(record_record(request, key), COPSE_PLACE_TREE);
  if (tree.size == 0) return 0;
  struct store *store = &run->store[side];
  store->ops->leave(*directory);
  *directory = nullptr;
  store_close(store);
  int32_t code = store_open(store, tree, run->task, fault);
  return code < 0 ? code : open_side(run, side, entry, directory, fault);
}

// The name that a file gets in a directory it is copied into: its own.
static span name_of_left(const struct run *run, const struct entry *left) {
  span name = left->name;
  while (name.size && name.at[name.size - 1] == '/') name.size--;
  return path_name(name.size ? name : run->store[LEFT].shown);
}

static int32_t make_root(struct run *run, const struct entry *left, struct entry *entry,
                         struct directory **directory, struct fault *fault) {
  struct store *store = &run->store[RIGHT];
  const struct store_ops *ops = store->ops;
  struct directory *above;
  int32_t code = ops->above(store, true, &run->arena, entry, &above, fault);
  if (code < 0) return code;
  entry->type = ENTRY_DIRECTORY;
  entry->mode = left->mode;
  struct wanted wanted = {.entry = entry, .what = left->mode ? WANT_MODE : 0};
  code = ops->create(above, &wanted, directory, fault);
  if (code == 0) {
    code = ops->stat(above, entry, false, fault);
    if (code < 0) {
      ops->leave(*directory);
      *directory = nullptr;
    }
  }
  ops->leave(above);
  return code;
}

static uint64_t asked(const struct run *run, uint16_t key) {
  return record_number((span){run->task->request, run->task->request_len}, key, 0);
}

// Where a verb that writes_right writes to. `code` is what opening the right root said.
static int32_t open_target(struct run *run, int32_t code, struct entry entry[2],
                           struct directory *directory[2], struct fault *fault) {
  struct store *store = &run->store[RIGHT];
  const struct store_ops *ops = store->ops;
  bool is_missing = code == COPSE_E_NOT_FOUND && ops->above;
  if (code < 0 && !is_missing) return code;
  if (is_missing) *fault = (struct fault){};
  bool is_dry = asked(run, COPSE_KEY_DRY_RUN);
  if (entry[LEFT].type == ENTRY_DIRECTORY) {
    if (!is_missing && entry[RIGHT].type == ENTRY_DIRECTORY) return 0;
    if (!is_missing)
      return fault_set(fault, COPSE_E_EXISTS,
                       "it is no directory, and a directory cannot be copied to it");
    return is_dry ? 0 : make_root(run, &entry[LEFT], &entry[RIGHT], &directory[RIGHT], fault);
  }
  if (is_missing || entry[RIGHT].type != ENTRY_DIRECTORY) {
    if (!is_missing) ops->leave(directory[RIGHT]);
    directory[RIGHT] = nullptr;
    code = ops->above(store, !is_dry, &run->arena, &entry[RIGHT], &directory[RIGHT], fault);
    if (code != COPSE_E_NOT_FOUND || !is_dry) return code;
    // What it will stand in is not there either, and nothing is made.
    *fault = (struct fault){};
    entry[RIGHT] = (struct entry){.name = SPAN(""), .mtime_ns = INT64_MIN};
    directory[RIGHT] = nullptr;
    return 0;
  }
  span name = name_of_left(run, &entry[LEFT]);
  if (run->store[LEFT].can & ONLY_ONCE) name = SPAN("");
  if (path_safe(name, fault) < 0 || name.size == 0)
    return fault_set(fault, COPSE_E_ARGUMENT,
                     "the source has no name of its own; name the file to write to");
  uint64_t batch = asked(run, COPSE_KEY_BATCH);
  code = batch ? run_take_name(run, batch, &entry[RIGHT], name, fault) : 0;
  if (code < 0) return code;
  entry[RIGHT] = (struct entry){.name = arena_copy(&run->arena, name), .mtime_ns = INT64_MIN};
  if (!entry[RIGHT].name.at) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  code = ops->stat(directory[RIGHT], &entry[RIGHT], false, fault);
  if (code != COPSE_E_NOT_FOUND) return code;
  *fault = (struct fault){};
  return 0;
}

int32_t run_open_roots(struct run *run, uint8_t *side, struct entry entry[2],
                       struct directory *directory[2], struct fault *fault) {
  int32_t code = 0;
  for (*side = 0; *side < run->sides && code == 0;) {
    code = open_side(run, *side, &entry[*side], &directory[*side], fault);
    if (code == 0) run->device[*side] = entry[*side].device;
    if (*side == RIGHT && run->verb->writes_right)
      code = open_target(run, code, entry, directory, fault);
    if (code == 0) ++*side;
  }
  for (uint8_t i = 0; i < 2 && code == 0 && run->sides == 2; i++) {
    if (entry[i].type != ENTRY_FILE || entry[!i].type != ENTRY_DIRECTORY) continue;
    *side = i;
    code = open_as_tree(run, i, &entry[i], &directory[i], fault);
    break;
  }
  return code;
}
