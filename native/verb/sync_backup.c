// sync_backup: what is replaced or deleted is kept in a tree of its own, under the path it had. It
// gets a second name there before it is replaced, so that its own name is never without a file;
// what is deleted is renamed. On another file system it is copied.
#include "verb/pump.h"
#include "verb/sync.h"

int32_t sync_backup_begin(struct run *run, span place, struct fault *fault) {
  struct sync *sync = sync_of(run);
  struct store *store = &sync->backup;
  int32_t code = store_open(store, place, run->task, fault);
  if (code < 0) return code;
  sync->backs_up = true;
  if (!(store->can & CAN_WRITE))
    return fault_set(fault, COPSE_E_UNSUPPORTED, "backupDir: a %s location is never written to",
                     store->ops->scheme);
  struct directory *root;
  code = store->ops->root(store, &run->arena, &sync->backup_root, &root, fault);
  if (code == COPSE_E_NOT_FOUND) {  // it is made when it is needed
    *fault = (struct fault){};
    sync->backup_root = (struct entry){};
    return 0;
  }
  if (code < 0) return code;
  store->ops->leave(root);
  if (sync->backup_root.type == ENTRY_DIRECTORY) return 0;
  return fault_set(fault, COPSE_E_ARGUMENT, "backupDir is no directory");
}

void sync_backup_end(struct sync *sync) {
  if (sync->backs_up) store_close(&sync->backup);
}

static bool is_one_file(const struct entry *left, const struct entry *right) {
  return (left->has & right->has & HAS_STAT) && (left->inode || left->device) &&
         left->inode == right->inode && left->device == right->device;
}

bool sync_is_backup(const struct sync *sync, const struct entry *entry) {
  return sync->backs_up && is_one_file(&sync->backup_root, entry);
}

static int32_t by_copy(struct spot *spot, struct directory *from, const struct entry *old,
                       struct directory *to, span name, struct fault *fault) {
  struct entry source = *old, want;
  int32_t code = 0;
  if (!(source.has & HAS_STAT)) code = from->store->ops->stat(from, &source, false, fault);
  if (code == 0 && source.type == ENTRY_LINK)
    code = from->store->ops->target(from, &source, spot->arena, fault);
  if (code < 0) return code;
  want = source;
  want.name = name;
  struct pump pump = {.from = from, .to = to, .source = &source};
  pump.wanted = (struct wanted){.entry = &want, .what = WANT_MODE | WANT_MTIME};
  if (source.type == ENTRY_FILE) code = pump_file(spot, &pump, fault);
  if (source.type == ENTRY_LINK) code = to->store->ops->make(to, &pump.wanted, fault);
  if (source.type == ENTRY_OTHER)
    code = fault_set(fault, COPSE_E_UNSUPPORTED, "a pipe, socket or device cannot be kept there");
  spot->side = RIGHT;
  return code;
}

int32_t sync_back_up(struct spot *spot, struct directory *directory, const struct entry *old,
                     span path, bool takes_away, struct fault *fault) {
  struct sync *sync = sync_of(spot->run);
  if (!sync->backs_up) return 0;
  struct store *store = &sync->backup;
  const struct store_ops *ops = store->ops;
  struct directory *to;
  struct entry there;
  uint32_t made;
  spot->side = RIGHT;
  int32_t code = store_place(store, path, &made, spot->arena, &there, &to, fault);
  if (code < 0) return code;
  if (there.type == ENTRY_DIRECTORY)
    code = fault_set(fault, COPSE_E_EXISTS, "backupDir has a directory of that path already");
  bool is_one_place = code == 0 && ops->scheme == directory->store->ops->scheme;
  bool is_done = is_one_place && is_one_file(&there, old), is_gone = false;
  struct fault ignored = {};
  // What an earlier run kept there stays until this is there.
  bool is_free = takes_away && there.type == ENTRY_NONE;
  if (is_one_place && !is_done && is_free && ops->rename)
    is_done = is_gone = ops->rename(directory, old, to, there.name, &ignored) == 0;
  else if (is_one_place && !is_done && ops->link)
    is_done = ops->link(directory, old, to, there.name, &ignored) == 0;
  if (code == 0 && !is_done) code = by_copy(spot, directory, old, to, there.name, fault);
  if (code == 0 && ops->settle) code = ops->settle(to, fault);
  ops->leave(to);
  if (code < 0) return code;
  return is_gone;
}
