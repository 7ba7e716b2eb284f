// snapshot: see snapshot.h. All trees of a runtime are on one shelf, found by number. A tree is
// counted: by the shelf until it is removed, and by each store that has it open. Tasks begin on any
// worker, so that a removal may overtake one that was asked for before it: such a one still finds
// the tree, which stays on the shelf until they all have opened their stores.
//
// A directory is one block: its items, sorted by name, with the names behind them. Sixty-four bytes
// and a name for an entry; what only links, directories and troubles have hangs beside.
#include "store/snapshot.h"

#include <stdckdint.h>
#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/runtime.h"
#include "engine/thread.h"
#include "store/open.h"

constexpr size_t NAMES_BETWEEN_LOOKS = 1024;  // at the cancel flag, while listing

// What only a link has.
struct leads {
  struct entry through;  // its type is ENTRY_NONE when the link dangles
  uint32_t target_size;
  uint8_t target[];
};

struct item {
  uint64_t size;  // of a device: its number
  int64_t mtime_ns;
  uint64_t inode, device;
  union {
    struct folder *folder;  // ENTRY_DIRECTORY; nullptr: nobody looked into it
    struct leads *leads;    // ENTRY_LINK
    struct fault *trouble;  // is_trouble: why it could not be looked at
  };
  uint32_t name_at, name_size;
  uint32_t uid, gid;
  uint32_t mode;
  uint8_t type;  // enum entry_type
  uint8_t has;   // bits of enum entry_has
  bool is_trouble;
};
static_assert(sizeof(struct item) == 64);

struct folder {
  struct folder *next;    // below the same one until that is finished; later while a tree is freed
  struct fault *trouble;  // it could not be listed
  size_t count;
  span name;      // behind the names in it
  uint8_t *text;  // the names, behind the items
  struct item items[];
};

struct growing {
  struct item *items;
  size_t count, capacity;
  uint8_t *text;
  size_t text_size, text_capacity;
  struct fault *trouble;
  _Atomic(struct folder *) below;
};

struct tree {
  struct tree *next;  // guarded by the shelf's lock
  uint64_t number;
  uint64_t closed_by;  // the turn of the task that removed it, or 0
  _Atomic uint32_t references;
  uint32_t can;
  struct entry root;
  struct folder *folder;
  size_t path_size;
  uint8_t path[];
};

struct shelf {
  struct attachment attachment;
  mutex lock;
  struct tree *trees;
};

struct snapshot_state {
  struct shelf *shelf;
  struct tree *tree;
};

struct snapshot_directory {
  struct directory base;
  const struct folder *folder;
};

static const char shelf_key;

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static int32_t not_found(struct fault *fault) {
  return fault_set(fault, COPSE_E_NOT_FOUND,
                   "no such file or directory when the snapshot was taken");
}

static int32_t no_content(struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED,
                   "a snapshot has no content: it can be listed, scanned and compared by size and "
                   "time");
}

// ── Filling ──

static struct fault *fault_copy(const struct fault *fault) {
  struct fault *copy = malloc(sizeof *copy);
  if (copy) *copy = *fault;
  return copy;
}

static void item_free(struct item *item) {
  if (item->is_trouble)
    free(item->trouble);
  else if (item->type == ENTRY_LINK)
    free(item->leads);
}

struct growing *growing_new(void) { return calloc(1, sizeof(struct growing)); }

static bool make_room(struct growing *growing, size_t name) {
  if (growing->count == growing->capacity) {
    size_t capacity = growing->capacity ? growing->capacity * 2 : 16, size;
    if (ckd_mul(&size, capacity, sizeof(struct item))) return false;
    struct item *items = realloc(growing->items, size);
    if (!items) return false;
    growing->items = items;
    growing->capacity = capacity;
  }
  size_t needed;
  if (ckd_add(&needed, growing->text_size, name) || needed > UINT32_MAX) return false;
  if (needed <= growing->text_capacity) return true;
  size_t capacity = growing->text_capacity ? growing->text_capacity : 256;
  while (capacity < needed) capacity *= 2;
  uint8_t *text = realloc(growing->text, capacity);
  if (!text) return false;
  growing->text = text;
  growing->text_capacity = capacity;
  return true;
}

static struct leads *leads_of(const struct entry *entry, const struct entry *through) {
  span target = entry->has & HAS_TARGET ? entry->target : (span){};
  size_t size;
  if (target.size > UINT32_MAX || ckd_add(&size, sizeof(struct leads), target.size)) return nullptr;
  struct leads *leads = malloc(size);
  if (!leads) return nullptr;
  *leads = (struct leads){.target_size = (uint32_t)target.size};
  if (target.size) memcpy(leads->target, target.at, target.size);
  if (!through) return leads;
  leads->through = *through;
  leads->through.name = leads->through.target = (span){};
  leads->through.digest = nullptr;
  leads->through.has &= HAS_STAT | HAS_SIZE | HAS_FOLLOWED;
  return leads;
}

bool growing_add(struct growing *growing, const struct entry *entry, const struct entry *through,
                 const struct fault *trouble) {
  if (!make_room(growing, entry->name.size)) return false;
  struct item item = {
      .size = entry->special ? entry->special : entry->size,
      .mtime_ns = entry->mtime_ns,
      .inode = entry->inode,
      .device = entry->device,
      .name_at = (uint32_t)growing->text_size,
      .name_size = (uint32_t)entry->name.size,
      .uid = entry->uid,
      .gid = entry->gid,
      .mode = entry->mode,
      .type = entry->type,
      .has = entry->has & (HAS_STAT | HAS_SIZE | HAS_FOLLOWED),
      .is_trouble = trouble != nullptr,
  };
  if (trouble) {
    if (!(item.trouble = fault_copy(trouble))) return false;
  } else if (entry->type == ENTRY_LINK) {
    if (!(item.leads = leads_of(entry, through))) return false;
  }
  memcpy(growing->text + growing->text_size, entry->name.at, entry->name.size);
  growing->text_size += entry->name.size;
  growing->items[growing->count++] = item;
  return true;
}

bool growing_fail(struct growing *growing, const struct fault *fault) {
  if (!growing->trouble) growing->trouble = fault_copy(fault);
  return growing->trouble;
}

void growing_below(struct growing *growing, struct folder *folder) {
  folder->next = atomic_load_explicit(&growing->below, memory_order_relaxed);
  while (!atomic_compare_exchange_weak_explicit(&growing->below, &folder->next, folder,
                                                memory_order_release, memory_order_relaxed)) {
  }
}

static span name_of(const struct folder *folder, const struct item *item) {
  return (span){folder->text + item->name_at, item->name_size};
}

static size_t place_of(const struct folder *folder, span name) {
  size_t low = 0, high = folder->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = span_compare(name_of(folder, &folder->items[middle]), name);
    if (order == 0) return middle;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return folder->count;
}

static const struct item *item_at(const struct folder *folder, span name) {
  size_t at = place_of(folder, name);
  return at < folder->count ? &folder->items[at] : nullptr;
}

// Not recursive: trees are deep.
static void folders_free(struct folder *list) {
  while (list) {
    struct folder *folder = list;
    list = folder->next;
    for (size_t i = 0; i < folder->count; i++) {
      struct item *item = &folder->items[i];
      item_free(item);
      if (item->is_trouble || item->type != ENTRY_DIRECTORY || !item->folder) continue;
      item->folder->next = list;
      list = item->folder;
    }
    free(folder->trouble);
    free(folder);
  }
}

void folder_free(struct folder *folder) {
  if (folder) folder->next = nullptr;
  folders_free(folder);
}

void growing_free(struct growing *growing) {
  if (!growing) return;
  for (size_t i = 0; i < growing->count; i++) item_free(&growing->items[i]);
  folders_free(atomic_load_explicit(&growing->below, memory_order_acquire));
  free(growing->items);
  free(growing->text);
  free(growing->trouble);
  free(growing);
}

struct folder *growing_end(struct growing *growing, span name) {
  size_t items = growing->count * sizeof(struct item), size;
  // Everything is known by now: one block of the right size.
  struct folder *folder = nullptr;
  if (!ckd_add(&size, sizeof(struct folder) + items, growing->text_size) &&
      !ckd_add(&size, size, name.size))
    folder = malloc(size);
  if (!folder) {
    growing_free(growing);
    return nullptr;
  }
  *folder = (struct folder){.trouble = growing->trouble,
                            .count = growing->count,
                            .text = (uint8_t *)folder + sizeof(struct folder) + items};
  if (items) memcpy(folder->items, growing->items, items);
  if (growing->text_size) memcpy(folder->text, growing->text, growing->text_size);
  folder->name = (span){folder->text + growing->text_size, name.size};
  if (name.size) memcpy(folder->text + growing->text_size, name.at, name.size);
  struct folder *below = atomic_load_explicit(&growing->below, memory_order_acquire),
                *lost = nullptr;
  for (struct folder *next; below; below = next) {
    next = below->next;
    size_t at = place_of(folder, below->name);
    struct item *item = at < folder->count ? &folder->items[at] : nullptr;
    bool fits = item && !item->is_trouble && item->type == ENTRY_DIRECTORY && !item->folder;
    below->next = fits ? nullptr : lost;
    *(fits ? &item->folder : &lost) = below;
  }
  folders_free(lost);
  free(growing->items);
  free(growing->text);
  free(growing);
  return folder;
}

// ── The shelf ──

static void tree_drop(struct tree *tree) {
  if (atomic_fetch_sub_explicit(&tree->references, 1, memory_order_acq_rel) != 1) return;
  folder_free(tree->folder);
  free(tree);
}

static void shelf_free(struct attachment *attachment) {
  struct shelf *shelf = (struct shelf *)attachment;
  for (struct tree *tree = shelf->trees, *next; tree; tree = next) {
    next = tree->next;
    tree_drop(tree);
  }
  mutex_end(&shelf->lock);
  free(shelf);
}

static struct attachment *shelf_make(struct runtime *) {
  struct shelf *shelf = calloc(1, sizeof *shelf);
  if (!shelf) return nullptr;
  shelf->attachment.key = &shelf_key;
  shelf->attachment.free = shelf_free;
  mutex_begin(&shelf->lock);
  return &shelf->attachment;
}

static struct shelf *shelf_of(struct runtime *runtime) {
  return (struct shelf *)runtime_attachment(runtime, &shelf_key, shelf_make);
}

// Where the pointer to the tree of that number is, or to nothing. The lock is held.
static struct tree **tree_at(struct shelf *shelf, uint64_t number) {
  struct tree **at = &shelf->trees;
  while (*at && (*at)->number != number) at = &(*at)->next;
  return at;
}

// The folders are walked by `next`, which nobody needs before the tree is freed.
struct snapshot_facts snapshot_count(struct folder *root) {
  struct snapshot_facts facts = {.bytes = sizeof(struct tree)};
  root->next = nullptr;
  for (struct folder *list = root; list;) {
    struct folder *folder = list;
    list = folder->next;
    facts.entries += folder->count;
    facts.bytes += sizeof *folder + folder->count * sizeof(struct item);
    for (size_t i = 0; i < folder->count; i++) {
      struct item *item = &folder->items[i];
      facts.bytes += item->name_size;
      if (item->is_trouble) {
        facts.bytes += sizeof *item->trouble;
      } else if (item->type == ENTRY_LINK) {
        facts.bytes += sizeof *item->leads + item->leads->target_size;
      } else if (item->type == ENTRY_DIRECTORY && item->folder) {
        item->folder->next = list;
        list = item->folder;
      }
    }
  }
  return facts;
}

int32_t snapshot_put(struct runtime *runtime, uint64_t number, const struct store *source,
                     const struct entry *root_entry, span path, struct folder *root,
                     struct fault *fault) {
  struct shelf *shelf = shelf_of(runtime);
  size_t size;
  bool fits = !ckd_add(&size, sizeof(struct tree), path.size);
  struct tree *tree = shelf && fits ? malloc(size) : nullptr;
  if (!tree) {
    folder_free(root);
    return no_memory(fault);
  }
  *tree = (struct tree){
      .number = number,
      .can = CAN_LIST | CAN_DELETE | (source->can & (CAN_LINKS | CAN_MTIME | CAN_MODE | CAN_OWNER)),
      .root = *root_entry,
      .folder = root,
      .path_size = path.size};
  tree->root.name = SPAN("");
  tree->root.target = (span){};
  tree->root.digest = nullptr;
  atomic_init(&tree->references, 1);
  if (path.size) memcpy(tree->path, path.at, path.size);
  mutex_lock(&shelf->lock);
  struct tree **at = tree_at(shelf, number);
  bool taken = *at;
  if (!taken) *at = tree;
  mutex_unlock(&shelf->lock);
  if (!taken) return 0;
  tree_drop(tree);
  return fault_set(fault, COPSE_E_EXISTS, "there is a snapshot of that number already");
}

// Takes from the shelf what is removed and waited for by nobody.
static void sweep(struct shelf *shelf, struct runtime *runtime) {
  struct tree *gone = nullptr;
  mutex_lock(&shelf->lock);
  for (struct tree **at = &shelf->trees; *at;) {
    struct tree *tree = *at;
    if (tree->closed_by == 0 || runtime_awaits_older(runtime, tree->closed_by)) {
      at = &tree->next;
    } else {
      *at = tree->next;
      tree->next = gone;
      gone = tree;
    }
  }
  mutex_unlock(&shelf->lock);
  for (struct tree *next; gone; gone = next) {
    next = gone->next;
    tree_drop(gone);
  }
}

// ── The store ──

static int32_t snapshot_open(struct store *store, const struct place *place, struct fault *fault) {
  struct snapshot_state *state = calloc(1, sizeof *state);
  struct shelf *shelf = shelf_of(store->runtime);
  if (!state || !shelf) {
    free(state);
    return no_memory(fault);
  }
  state->shelf = shelf;
  mutex_lock(&shelf->lock);
  state->tree = *tree_at(shelf, record_number(place->record, COPSE_PLACE_SNAPSHOT, 0));
  uint64_t closed_by = state->tree ? state->tree->closed_by : 0;
  if (closed_by && store->task->turn > closed_by) state->tree = nullptr;
  if (state->tree) atomic_fetch_add_explicit(&state->tree->references, 1, memory_order_relaxed);
  mutex_unlock(&shelf->lock);
  if (!state->tree) {
    free(state);
    return fault_set(fault, COPSE_E_CLOSED,
                     "the snapshot was closed, or belongs to another runtime; take a new one");
  }
  store->state = state;
  store->can = state->tree->can;
  return 0;
}

static void snapshot_close(struct store *store) {
  struct snapshot_state *state = store->state;
  tree_drop(state->tree);
  sweep(state->shelf, store->runtime);
  free(state);
}

static const struct tree *tree_of(const struct store *store) {
  return ((struct snapshot_state *)store->state)->tree;
}

static const struct folder *folder_of(const struct directory *directory) {
  return ((const struct snapshot_directory *)directory)->folder;
}

static int32_t directory_new(struct store *store, const struct folder *folder,
                             struct directory **out, struct fault *fault) {
  struct snapshot_directory *made = malloc(sizeof *made);
  if (!made) return no_memory(fault);
  *made = (struct snapshot_directory){.base.store = store, .folder = folder};
  *out = &made->base;
  return 0;
}

static void fill(struct entry *entry, const struct item *item) {
  entry->type = item->type;
  entry->mtime_ns = item->mtime_ns;
  entry->inode = item->inode;
  entry->device = item->device;
  entry->uid = item->uid;
  entry->gid = item->gid;
  entry->mode = item->mode;
  entry->has = item->has;
  bool is_device = item->type == ENTRY_OTHER;
  entry->size = is_device ? 0 : item->size;
  entry->special = is_device ? item->size : 0;
  if (item->is_trouble || item->type != ENTRY_LINK) return;
  entry->target = (span){item->leads->target, item->leads->target_size};
  entry->has |= HAS_TARGET;
}

static int32_t look(const struct folder *folder, span name, struct entry *out,
                    const struct item **at, struct fault *fault) {
  const struct item *item = item_at(folder, name);
  if (!item) return not_found(fault);
  if (item->is_trouble) {
    *fault = *item->trouble;
    return fault->code;
  }
  fill(out, item);
  *at = item;
  return 0;
}

// What is in a directory.
static int32_t inside(const struct item *item, const struct folder **out, struct fault *fault) {
  if (item->is_trouble) {
    *fault = *item->trouble;
    return fault->code;
  }
  if (item->type != ENTRY_DIRECTORY)
    return fault_set(fault, COPSE_E_NOT_FOUND, "it was no directory when the snapshot was taken");
  if (!item->folder)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "nobody looked into it when the snapshot was taken: maxDepth, oneFileSystem "
                     "or a limit left it out");
  *out = item->folder;
  return 0;
}

static int32_t snapshot_root(struct store *store, struct arena *, struct entry *out,
                             struct directory **directory, struct fault *fault) {
  *out = tree_of(store)->root;
  return directory_new(store, tree_of(store)->folder, directory, fault);
}

static int32_t snapshot_find(struct store *store, span path, struct arena *arena, struct entry *out,
                             struct directory **parent, struct fault *fault) {
  const struct folder *at = tree_of(store)->folder, *above = at;
  const struct item *item = nullptr;
  struct entry entry = {};
  int32_t code = 0;
  for (span rest = path, part; code == 0 && path_next(&rest, &part);) {
    if (item) code = inside(item, &at, fault);
    if (code < 0) return code;
    above = at;
    code = look(above, part, &entry, &item, fault);
  }
  if (code < 0) return code;
  *out = entry;
  out->name = arena_copy(arena, path_name(path));
  return out->name.at ? directory_new(store, above, parent, fault) : no_memory(fault);
}

static int32_t snapshot_where(struct store *store, struct arena *arena, span *out,
                              struct fault *fault) {
  const struct tree *tree = tree_of(store);
  *out = arena_copy(arena, (span){tree->path, tree->path_size});
  return out->at ? 0 : no_memory(fault);
}

static int32_t snapshot_enter(struct directory *parent, const struct entry *entry,
                              struct directory **out, struct fault *fault) {
  const struct item *item = item_at(folder_of(parent), entry->name);
  const struct folder *folder;
  if (!item) return not_found(fault);
  if (!item->is_trouble && item->type == ENTRY_LINK && (entry->has & HAS_FOLLOWED))
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "links were not followed when the snapshot was taken; take it with links: "
                     "\"follow\"");
  int32_t code = inside(item, &folder, fault);
  return code < 0 ? code : directory_new(parent->store, folder, out, fault);
}

static void snapshot_leave(struct directory *directory) { free(directory); }
static int32_t snapshot_hold(struct directory *, struct fault *) { return 0; }
static void snapshot_drop(struct directory *) {}

static int32_t snapshot_list(struct directory *base, struct listing *listing, struct fault *fault) {
  const struct folder *folder = folder_of(base);
  if (folder->trouble) {
    *fault = *folder->trouble;
    return fault->code;
  }
  for (size_t i = 0; i < folder->count; i++) {
    if (i % NAMES_BETWEEN_LOOKS == 0 && task_cancelled(base->store->task))
      return fault_set(fault, COPSE_E_CANCELLED, "cancelled");
    const struct item *item = &folder->items[i];
    struct entry *entry = listing_add(listing, name_of(folder, item), item->type, fault);
    if (!entry) return fault->code;
    if (!item->is_trouble) fill(entry, item);
  }
  return 0;
}

static int32_t snapshot_stat(struct directory *base, struct entry *entry, bool follow,
                             struct fault *fault) {
  const struct item *item;
  struct entry found = {.name = entry->name};
  int32_t code = look(folder_of(base), entry->name, &found, &item, fault);
  if (code < 0) return code;
  if (follow && item->type == ENTRY_LINK) {
    if (item->leads->through.type == ENTRY_NONE)
      return fault_set(fault, COPSE_E_NOT_FOUND,
                       "the link dangled or looped when the snapshot was taken");
    found = item->leads->through;
    found.name = entry->name;
    found.has |= HAS_FOLLOWED;
  }
  *entry = found;
  return 0;
}

static int32_t snapshot_target(struct directory *base, struct entry *entry, struct arena *,
                               struct fault *fault) {
  return snapshot_stat(base, entry, false, fault);  // it comes with the rest
}

static int32_t snapshot_attributes(struct directory *, const struct entry *, struct arena *, span *,
                                   struct fault *fault) {
  return no_content(fault);
}

static int32_t snapshot_reader(struct directory *, const struct entry *, struct reader *,
                               struct fault *fault) {
  return no_content(fault);
}

static int64_t snapshot_read(struct reader *, uint64_t, uint8_t *, size_t, struct fault *fault) {
  return no_content(fault);
}

static void snapshot_read_end(struct reader *) {}

static int32_t snapshot_measure(struct reader *, struct entry *, bool *, struct fault *fault) {
  return no_content(fault);
}

// ── The end of one ──

// Only so that the whole of it can be removed.
static int32_t snapshot_above(struct store *store, bool, struct arena *arena, struct entry *out,
                              struct directory **directory, struct fault *fault) {
  return snapshot_root(store, arena, out, directory, fault);
}

static int32_t snapshot_remove(struct directory *base, const struct entry *entry,
                               struct fault *fault) {
  if (entry->name.size)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "nothing can be removed from a snapshot");
  struct snapshot_state *state = base->store->state;
  struct shelf *shelf = state->shelf;
  mutex_lock(&shelf->lock);
  if (state->tree->closed_by == 0) state->tree->closed_by = base->store->task->turn;
  mutex_unlock(&shelf->lock);
  return 0;  // it goes from the shelf when this store is closed
}

const struct store_ops snapshot_store = {
    .scheme = "snapshot",
    .can = CAN_LIST | CAN_DELETE,
    .open = snapshot_open,
    .close = snapshot_close,
    .root = snapshot_root,
    .find = snapshot_find,
    .where = snapshot_where,
    .enter = snapshot_enter,
    .leave = snapshot_leave,
    .hold = snapshot_hold,
    .drop = snapshot_drop,
    .list = snapshot_list,
    .stat = snapshot_stat,
    .target = snapshot_target,
    .attributes = snapshot_attributes,
    .reader = snapshot_reader,
    .read = snapshot_read,
    .read_end = snapshot_read_end,
    .measure = snapshot_measure,
    .above = snapshot_above,
    .remove = snapshot_remove,
};
