// pack_write: a pack that is being made. Files may be written by many workers at once; each is cut
// into chunks of a fixed size (pack_chunk.c). When all is there, finish() puts the pack together,
// sorted by path, into a file of the inner store, which gives it its name only when it is whole.
// The bytes depend on the tree, the level and zstd's version only.
#include "store/pack_write.h"

#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/runtime.h"
#include "engine/task.h"
#include "store/pack_ask.h"
#include "store/pack_group.h"
#include "store/pack_making.h"
#include "store/pack_pour.h"
#include "store/pack_seed.h"
#include "store/pack_sink.h"
#include "store/paths.h"

constexpr size_t CHUNK_BYTES = 4 << 20;

struct making_directory {
  struct directory base;
  struct written *self;
};

struct making_writer {
  struct writer base;
  struct written *above;  // nullptr: its path says where it is
  struct written *self;
  bool is_alone;  // nobody else is at work on a file: its last chunk, too, is given away
  uint8_t *buffer;
  size_t filled, capacity;
  uint64_t size;  // in chunks that are done or given away, without the buffer
};

// ── Entries ──

struct written *written_new(const struct written *above, span name, span target) {
  size_t prefix = above && above->path.size ? above->path.size + 1 : 0;
  struct written *written = calloc(1, sizeof *written + prefix + name.size + target.size + 2);
  if (!written) return nullptr;
  uint8_t *at = (uint8_t *)(written + 1);
  written->path = (span){at, prefix + name.size};
  if (prefix) {
    memcpy(at, above->path.at, above->path.size);
    at[above->path.size] = '/';
  }
  if (name.size) memcpy(at + prefix, name.at, name.size);
  written->target = (span){at + written->path.size + 1, target.size};
  if (target.size) memcpy(at + written->path.size + 1, target.at, target.size);
  written->mtime_ns = INT64_MIN;
  return written;
}

void written_free(struct written *written) {
  if (!written) return;
  while (written->first) {
    struct part_block *block = written->first;
    written->first = block->next;
    free(block);
  }
  free((void *)(uintptr_t)written->renamed.at);
  free((void *)(uintptr_t)written->answer.at);
  free(written);
}

static void apply(struct written *written, const struct wanted *wanted) {
  if (wanted->what & WANT_MODE) written->mode = wanted->entry->mode & 07777;
  if (wanted->what & WANT_MTIME) written->mtime_ns = wanted->entry->mtime_ns;
}

int32_t written_keep(struct making *making, struct written *written, struct written *above,
                     struct fault *fault) {
  mutex_lock(&making->lock);
  int32_t code = 0;
  if (making->count == making->capacity) {
    size_t capacity = making->capacity ? making->capacity * 2 : 256;
    struct written **all = realloc(making->all, capacity * sizeof *all);
    if (all) {
      making->all = all;
      making->capacity = capacity;
    } else {
      code = no_memory(fault);
    }
  }
  if (code == 0) code = names_add(making, written, fault);
  if (code == 0) {
    making->all[making->count++] = written;
    if (above) above->children++;
  }
  mutex_unlock(&making->lock);
  return code;
}

// ── Sections ──

int section_order(const void *left, const void *right) {
  const struct pack_section *l = left, *r = right;
  return l->type != r->type ? l->type - r->type : span_compare(l->repo, r->repo);
}

void section_drop(struct making *making, struct pack_section *section) {
  sorted_drop(&making->by_kind, section);
  free(section);
}

struct pack_section *section_find(struct making *making, uint8_t type, span repo) {
  struct pack_section wanted = {.type = type, .repo = repo};
  mutex_lock(&making->lock);
  struct pack_section *found = sorted_find(&making->by_kind, &wanted);
  // Room for one more is made where there is none: at powers of two.
  size_t count = making->sections_count;
  struct pack_section **all = making->sections;
  if (!found && (count & (count - 1)) == 0)
    all = realloc(all, (count ? count * 2 : 1) * sizeof *all);
  if (!found && all) {
    making->sections = all;
    found = malloc(sizeof *found + repo.size);
    if (found) {
      uint8_t *text = (uint8_t *)(found + 1);
      if (repo.size) memcpy(text, repo.at, repo.size);
      *found = (struct pack_section){.type = type, .repo = {text, repo.size}};
      if (sorted_add(&making->by_kind, found)) {
        making->sections[making->sections_count++] = found;
      } else {
        free(found);
        found = nullptr;
      }
    }
  }
  mutex_unlock(&making->lock);
  return found;
}

// ── Opening ──

void making_empty(struct making *making) {
  for (size_t i = 0; i < making->count; i++) written_free(making->all[i]);
  making->count = 0;
  while (making->orphans) {
    struct written *orphan = making->orphans;
    making->orphans = orphan->next_orphan;
    written_free(orphan);
  }
  spool_empty(&making->spool);
}

static void making_close(struct store *store) {
  struct making *making = making_of(store);
  output_end(making->output);
  making_empty(making);
  free(making->all);
  free(making->names.slots);
  compressors_free(making);
  loads_free(making);
  for (size_t i = 0; i < making->sections_count; i++) section_drop(making, making->sections[i]);
  free(making->sections);
  ask_end(making->asking);
  seed_close(making->seed);
  spool_end(&making->spool);
  grouping_end(&making->grouping);
  condition_end(&making->large_given);
  mutex_end(&making->lock);
  store_close(&making->inner);
  free(making);
}

// The pack's own section, what is asked, and the seed.
static int32_t begin_parts(struct making *making, struct task *task, span record,
                           struct fault *fault) {
  uint8_t type = (uint8_t)(record_number(record, COPSE_PLACE_PACK_TYPE, 0) & 127);
  making->has_kind = record_number(record, COPSE_PLACE_PACK_TYPE, UINT64_MAX) != UINT64_MAX ||
                     record_text(record, COPSE_PLACE_PACK_REPO).at;
  making->own = section_find(making, type, record_text(record, COPSE_PLACE_PACK_REPO));
  if (!making->own) return no_memory(fault);
  int32_t code = ask_begin(record, &making->asking, fault);
  span seed = record_record(record, COPSE_PLACE_PACK_SEED);
  if (code == 0 && seed.at) code = seed_open(&making->seed, seed, task, fault);
  return code;
}

int32_t pack_new_open(struct store *store, const struct place *place, struct fault *fault) {
  if (place->path.size)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "a new pack is made as a whole: name it without #");
  struct making *making = calloc(1, sizeof *making);
  if (!making) return no_memory(fault);
  uint64_t flags = record_number(place->record, COPSE_PLACE_PACK_FLAGS, 0);
  making->pours = flags & COPSE_PACK_FLAGS_POURS;
  making->keeps = flags & COPSE_PACK_FLAGS_KEEPS;
  int32_t code = making->pours ? pour_open(&making->inner, store->task, fault)
                               : store_open(&making->inner, place->inner, store->task, fault);
  if (code == 0 && !(making->inner.can & CAN_WRITE)) {
    code = fault_set(fault, COPSE_E_UNSUPPORTED, "a %s location is never written to",
                     making->inner.ops->scheme);
    store_close(&making->inner);
  }
  if (code < 0) {
    free(making);
    return code;
  }
  mutex_begin(&making->lock);
  condition_begin(&making->large_given);
  spool_begin(&making->spool);
  making->by_kind.order = section_order;
  store->state = making;
  making->level = (int)record_number(place->record, COPSE_PLACE_PACK_LEVEL, 3);
  making->compress = (enum copse_compress)record_number(place->record, COPSE_PLACE_PACK_COMPRESS,
                                                        COPSE_COMPRESS_AUTO);
  making->is_native = record_number(place->record, COPSE_PLACE_PACK_FORMAT,
                                    COPSE_PACK_FORMAT_ZNIPPY) == COPSE_PACK_FORMAT_COPSE;
  if (making->level < 1 || making->level > 22) making->level = 3;
  // Two for each of the others, one at work and one that waits: who reads works, too, when there
  // are as many. Each holds a chunk.
  uint32_t workers = store->task->runtime->cpu_workers;
  making->pending_max = workers > 1 ? workers * 2 - 2 : 1;
  making->large_max = workers ? workers : 1;
  making->inner.hasty = store->hasty;
  if (store->shown.size == 0) store->shown = making->inner.shown;
  code = begin_parts(making, store->task, place->record, fault);
  if (code < 0) making_close(store);
  return code;
}

// ── Directories: what is in them is known, and nothing of it can be read ──

static int32_t not_found(struct fault *fault) {
  return fault_set(fault, COPSE_E_NOT_FOUND, "nothing is found in a pack that is being made");
}

static struct written *self_of(struct directory *base) {
  return ((struct making_directory *)base)->self;
}

static int32_t find_in(struct directory *base, span name, struct written **out,
                       struct fault *fault) {
  struct making *making = making_of(base->store);
  mutex_lock(&making->lock);
  int32_t code = names_find(making, self_of(base)->path, name, out, fault);
  mutex_unlock(&making->lock);
  if (code < 0) return code;
  return *out ? 0 : not_found(fault);
}

static int32_t directory_new(struct store *store, struct written *self, struct directory **out,
                             struct fault *fault) {
  struct making_directory *directory = malloc(sizeof *directory);
  if (!directory) return no_memory(fault);
  *directory = (struct making_directory){.base.store = store, .self = self};
  *out = &directory->base;
  return 0;
}

static void fill_directory(struct entry *entry) {
  *entry = (struct entry){
      .name = entry->name, .type = ENTRY_DIRECTORY, .mtime_ns = INT64_MIN, .has = HAS_STAT};
}

static bool making_is_itself(const struct store *store, const struct store *other,
                             const struct entry *entry) {
  const struct making *making = making_of(store);
  bool is_known =
      other->ops->scheme == making->inner.ops->scheme && (making->device || making->inode);
  return is_known && entry->device == making->device && entry->inode == making->inode;
}

static int32_t making_root(struct store *store, struct arena *, struct entry *out,
                           struct directory **directory, struct fault *fault) {
  struct making *making = making_of(store);
  if (!making->root) {
    int32_t code = sink_look(making, fault);
    if (code < 0) return code;
    struct written *self = written_new(nullptr, (span){}, (span){});
    if (!self) return no_memory(fault);
    self->type = ENTRY_DIRECTORY;
    code = written_keep(making, self, nullptr, fault);
    if (code < 0) {
      written_free(self);
      return code;
    }
    making->root = self;
    if (making->seed) {
      code = seed_load(making, fault);
      if (code < 0) return code;
    }
  }
  out->name = SPAN("");
  fill_directory(out);
  return directory_new(store, making->root, directory, fault);
}

static int32_t making_find(struct store *, span, struct arena *, struct entry *,
                           struct directory **, struct fault *fault) {
  return not_found(fault);
}

static int32_t making_enter(struct directory *base, const struct entry *entry,
                            struct directory **out, struct fault *fault) {
  struct written *found;
  int32_t code = find_in(base, entry->name, &found, fault);
  if (code < 0) return code;
  if (found->type != ENTRY_DIRECTORY)
    return fault_set(fault, COPSE_E_CHANGED, "what was packed there is no directory");
  return directory_new(base->store, found, out, fault);
}

static void making_leave(struct directory *directory) { free(directory); }
static int32_t making_hold(struct directory *, struct fault *) { return 0; }
static void making_drop(struct directory *) {}
static int32_t making_list(struct directory *, struct listing *, struct fault *) { return 0; }

static void fill_leaf(const struct written *written, struct entry *entry) {
  *entry = (struct entry){.name = entry->name,
                          .type = written->type,
                          .size = written->size,
                          .mtime_ns = written->mtime_ns,
                          .device = written->device,
                          .inode = written->inode,
                          .has = HAS_STAT | HAS_SIZE};
  if (written->mode)
    entry->mode = (written->type == ENTRY_LINK ? 0120000 : 0100000) | written->mode;
}

static int32_t making_stat(struct directory *base, struct entry *entry, bool, struct fault *fault) {
  struct written *found = self_of(base);
  int32_t code = entry->name.size ? find_in(base, entry->name, &found, fault) : 0;
  if (code < 0) return code;
  if (found->type == ENTRY_DIRECTORY)
    fill_directory(entry);
  else
    fill_leaf(found, entry);
  return 0;
}

static int32_t making_target(struct directory *, struct entry *, struct arena *,
                             struct fault *fault) {
  return not_found(fault);
}

static int32_t making_attributes(struct directory *, const struct entry *, struct arena *, span *,
                                 struct fault *fault) {
  return not_found(fault);
}

static int32_t making_reader(struct directory *, const struct entry *, struct reader *,
                             struct fault *fault) {
  return not_found(fault);
}

static int64_t making_read(struct reader *, uint64_t, uint8_t *, size_t, struct fault *fault) {
  return not_found(fault);
}

static void making_read_end(struct reader *) {}

static int32_t making_measure(struct reader *, struct entry *, bool *, struct fault *fault) {
  return not_found(fault);
}

static int32_t making_create(struct directory *base, const struct wanted *wanted,
                             struct directory **out, struct fault *fault) {
  struct written *self = written_new(self_of(base), wanted->entry->name, (span){});
  if (!self) return no_memory(fault);
  self->type = ENTRY_DIRECTORY;
  apply(self, wanted);
  int32_t code = written_keep(making_of(base->store), self, self_of(base), fault);
  if (code < 0) {
    written_free(self);
    return code;
  }
  return directory_new(base->store, self, out, fault);
}

static int32_t making_make(struct directory *base, const struct wanted *wanted,
                           struct fault *fault) {
  struct written *self = written_new(self_of(base), wanted->entry->name, wanted->entry->target);
  if (!self) return no_memory(fault);
  self->type = ENTRY_LINK;
  apply(self, wanted);
  int32_t code = written_keep(making_of(base->store), self, self_of(base), fault);
  if (code < 0) written_free(self);
  return code;
}

// The parts of the first may be with other workers: pack_gather copies them.
static int32_t making_link(struct directory *from, const struct entry *from_entry,
                           struct directory *base, span name, struct fault *fault) {
  struct written *first;
  int32_t code = find_in(from, from_entry->name, &first, fault);
  if (code < 0) return code;
  if (first->type != ENTRY_FILE) return not_found(fault);
  struct written *self = written_new(self_of(base), name, (span){});
  if (!self) return no_memory(fault);
  self->type = ENTRY_FILE;
  self->mode = first->mode;
  self->mtime_ns = first->mtime_ns;
  self->size = first->size;
  self->device = first->device;
  self->inode = first->inode;
  self->is_raw = first->is_raw;
  self->section = first->section;
  self->kind = first->kind;
  self->row = first->row;
  self->same = first->same ? first->same : first;
  code = written_keep(making_of(base->store), self, self_of(base), fault);
  if (code < 0) written_free(self);
  return code;
}

static int32_t making_set(struct directory *base, const struct wanted *wanted, struct fault *) {
  // What has a name has had it from its beginning.
  if (wanted->entry->name.size == 0) apply(self_of(base), wanted);
  return 0;
}

// Only a directory that was made a moment ago and holds nothing is ever taken away.
static int32_t making_remove(struct directory *base, const struct entry *entry,
                             struct fault *fault) {
  struct making *making = making_of(base->store);
  struct written *above = self_of(base);
  mutex_lock(&making->lock);
  int32_t code = COPSE_E_NOT_FOUND;
  for (size_t i = making->count; i > 0 && code == COPSE_E_NOT_FOUND; i--) {
    struct written *written = making->all[i - 1];
    size_t prefix = above->path.size ? above->path.size + 1 : 0;
    if (written->type != ENTRY_DIRECTORY || written->path.size != prefix + entry->name.size)
      continue;
    if (prefix && memcmp(written->path.at, above->path.at, prefix - 1) != 0) continue;
    if (memcmp(written->path.at + prefix, entry->name.at, entry->name.size) != 0) continue;
    code = written->children ? COPSE_E_EXISTS : 0;
    if (code == 0) {
      written->type = ENTRY_NONE;
      above->children--;
    }
  }
  mutex_unlock(&making->lock);
  if (code == 0) return 0;
  return fault_set(fault, code, "nothing is removed from a pack that is being made");
}

// ── Files ──

// The extension of a name is what follows its last dot, which must not be its first byte.
static bool is_packed_already(span name) {
  static const char *const extensions[] = {
      "zip", "gz",  "bz2", "xz",    "lz",     "lzma",  "7z",      "rar",  "cab",
      "jar", "war", "ear", "zst",   "sz",     "lz4",   "tgz",     "txz",  "tbz",
      "apk", "dmg", "deb", "rpm",   "arrow",  "mpeg",  "mpg",     "jpeg", "jpg",
      "gif", "bmp", "png", "crate", "znippy", "zdata", "parquet", "webp", "webm"};
  size_t dot = name.size;
  while (dot > 0 && name.at[dot - 1] != '.') dot--;
  if (dot < 2) return false;
  char extension[8] = {};
  size_t size = name.size - dot;
  if (size >= sizeof extension) return false;
  for (size_t i = 0; i < size; i++) {
    char c = (char)name.at[dot + i];
    extension[i] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
  }
  for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++)
    if (strcmp(extension, extensions[i]) == 0) return true;
  return false;
}

static int32_t writer_new(struct store *store, struct written *above, struct pack_section *section,
                          const struct wanted *wanted, struct making_writer **out,
                          struct fault *fault) {
  struct making *making = making_of(store);
  const struct entry *entry = wanted->entry;
  struct making_writer *writer = calloc(1, sizeof *writer);
  struct written *self = writer ? written_new(above, entry->name, (span){}) : nullptr;
  if (!self) {
    free(writer);
    return no_memory(fault);
  }
  self->type = ENTRY_FILE;
  self->device = entry->device;
  self->inode = entry->inode;
  self->section = section;
  apply(self, wanted);
  *writer = (struct making_writer){.base.store = store, .above = above, .self = self};
  self->is_raw =
      making->compress == COPSE_COMPRESS_AUTO && is_packed_already(path_name(entry->name));
  *out = writer;
  return 0;
}

static int32_t making_writer_open(struct directory *base, const struct wanted *wanted,
                                  struct writer **out, struct fault *fault) {
  struct making_writer *writer;
  struct making *making = making_of(base->store);
  struct pack_section *section = making->own;
  const struct filing *filing = &wanted->filing;
  if (filing->has_type && !making->has_kind)
    section = section_find(making, filing->type, filing->origin);
  if (!section) return no_memory(fault);
  int32_t code = writer_new(base->store, self_of(base), section, wanted, &writer, fault);
  if (code < 0) return code;
  writer->self->kind = filing->kind;
  writer->self->row = filing->row;
  // Who has to look for directories brings one entry after the other.
  mutex_lock(&making->lock);
  writer->is_alone = making->names.slots;
  mutex_unlock(&making->lock);
  *out = &writer->base;
  return 0;
}

static int32_t making_file(struct store *store, const struct wanted *wanted,
                           const struct filing *filing, struct writer **out, struct fault *fault) {
  struct making *making = making_of(store);
  const struct pack_section *own = making->own;
  struct pack_section *section = section_find(making, filing->has_type ? filing->type : own->type,
                                              filing->origin.at ? filing->origin : own->repo);
  if (!section) return no_memory(fault);
  struct making_writer *writer;
  int32_t code = writer_new(store, nullptr, section, wanted, &writer, fault);
  if (code < 0) return code;
  writer->is_alone = true;
  *out = &writer->base;
  return 0;
}

static int32_t next_part(struct making_writer *writer, struct part **out, struct fault *fault) {
  struct written *self = writer->self;
  if (!self->last || self->last->count == self->last->capacity) {
    // The first chunk of most files is their only one.
    size_t capacity = self->last ? 64 : 1;
    struct part_block *block = malloc(sizeof *block + capacity * sizeof *block->parts);
    if (!block) return no_memory(fault);
    *block = (struct part_block){.capacity = capacity};
    *(self->last ? &self->last->next : &self->first) = block;
    self->last = block;
  }
  self->parts_count++;
  *out = &self->last->parts[self->last->count++];
  **out = (struct part){.blob = NO_BLOB};
  return 0;
}

// What is in the buffer becomes a chunk. `is_last`: done here, for nothing else is waiting.
static int32_t cut(struct making_writer *writer, bool is_last, struct fault *fault) {
  struct store *store = writer->base.store;
  struct part *part;
  int32_t code = next_part(writer, &part, fault);
  if (code < 0) return code;
  size_t size = writer->filled;
  writer->size += size;
  writer->filled = 0;
  bool is_stored = writer->self->is_raw || written_is_grouped(making_of(store), writer->self, size);
  struct piece piece = {part, writer->buffer, size, is_stored};
  code = piece_add(making_of(store), store->task, &piece, !is_last || writer->is_alone, fault);
  if (code > 0) {
    writer->buffer = nullptr;
    writer->capacity = 0;
  }
  return code < 0 ? code : 0;
}

static int32_t add(struct making_writer *writer, const uint8_t *bytes, size_t size,
                   struct fault *fault) {
  while (size > 0) {
    if (writer->filled == CHUNK_BYTES) {
      int32_t code = cut(writer, false, fault);
      if (code < 0) return code;
    }
    size_t count = CHUNK_BYTES - writer->filled < size ? CHUNK_BYTES - writer->filled : size;
    size_t need = writer->filled + count;
    if (need > writer->capacity) {
      size_t capacity = writer->capacity * 2 > need ? writer->capacity * 2 : need;
      if (capacity > CHUNK_BYTES) capacity = CHUNK_BYTES;
      uint8_t *buffer = realloc(writer->buffer, capacity);
      if (!buffer) return no_memory(fault);
      writer->buffer = buffer;
      writer->capacity = capacity;
    }
    if (bytes) {
      memcpy(writer->buffer + writer->filled, bytes, count);
      bytes += count;
    } else {
      memset(writer->buffer + writer->filled, 0, count);
    }
    writer->filled += count;
    size -= count;
  }
  return 0;
}

// Zeros up to there.
static int32_t reach(struct making_writer *writer, uint64_t at, struct fault *fault) {
  uint64_t now = writer->size + writer->filled;
  if (now > at)
    return fault_set(fault, COPSE_E_CHANGED,
                     "the file became shorter while it was packed; run again");
  for (uint64_t left = at - now; left > 0;) {
    size_t count = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
    int32_t code = add(writer, nullptr, count, fault);
    if (code < 0) return code;
    if (task_cancelled(writer->base.store->task))
      return fault_set(fault, COPSE_E_CANCELLED, "cancelled while packing");
    left -= count;
  }
  return 0;
}

static int32_t making_write(struct writer *base, uint64_t at, const uint8_t *bytes, size_t size,
                            struct fault *fault) {
  struct making_writer *writer = (struct making_writer *)base;
  int32_t code = reach(writer, at, fault);
  return code < 0 ? code : add(writer, bytes, size, fault);
}

static void making_abandon(struct writer *base) {
  struct making_writer *writer = (struct making_writer *)base;
  struct making *making = making_of(base->store);
  // A worker may be filling one of its parts: freed with all the others.
  mutex_lock(&making->lock);
  writer->self->next_orphan = making->orphans;
  making->orphans = writer->self;
  mutex_unlock(&making->lock);
  free(writer->buffer);
  free(writer);
}

static int32_t making_commit(struct writer *base, uint64_t size, struct entry *out,
                             struct fault *fault) {
  struct making_writer *writer = (struct making_writer *)base;
  struct making *making = making_of(base->store);
  int32_t code = reach(writer, size, fault);
  struct written *self = writer->self;
  if (code == 0 && (writer->filled > 0 || self->parts_count == 0)) {
    // An empty file has one chunk too.
    code = cut(writer, true, fault);
  }
  self->size = size;
  if (code == 0) code = written_keep(making, self, writer->above, fault);
  if (code < 0) {
    making_abandon(base);
    return code;
  }
  *out = (struct entry){.type = ENTRY_FILE,
                        .size = size,
                        .mtime_ns = self->mtime_ns,
                        .mode = self->mode ? 0100000 | self->mode : 0,
                        .has = HAS_STAT | HAS_SIZE};
  free(writer->buffer);
  free(writer);
  return 0;
}

static uint64_t making_questions(struct store *store) {
  uint64_t count = 0;
  struct fault fault = {};
  int32_t code = pack_gather(making_of(store), store->task, &fault);
  if (code == 0) code = ask_files(making_of(store), store->task, &count, &fault);
  if (code == 0) return count;
  task_fail(store->task, &fault, store->shown, (span){});
  return 0;
}

// Once the pack is made there are no questions any more.
static int64_t making_say(struct store *store, uint8_t *into, size_t size, struct fault *fault) {
  struct making *making = making_of(store);
  if (!making->is_made) return ask_say(making, into, size, fault);
  return making->pours ? pour_say(&making->inner, into, size, fault) : 0;
}

static int32_t making_hear(struct store *store, span answer, struct fault *fault) {
  return ask_hear(making_of(store), store->task, answer, fault);
}

static const struct store_talk making_talk = {
    .questions = making_questions, .say = making_say, .hear = making_hear};

static void making_report(const struct store *store, struct record_writer *out) {
  const struct pack_totals *totals = &making_of(store)->totals;
  const uint64_t numbers[] = {totals->files,         totals->directories, totals->compressed,
                              totals->stored,        totals->bytes_in,    totals->bytes_out,
                              totals->compressed_in, totals->stored_in,   totals->chunks};
  for (uint16_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    record_put_number(out, (uint16_t)(COPSE_DETAIL_PACK_FILES + i), numbers[i]);
  record_put_text(out, COPSE_DETAIL_PACK_INDEX, (span){making_of(store)->index_hash, HASH_BYTES});
  seed_report(making_of(store)->seed, out);
}

const struct store_ops pack_new_store = {
    .scheme = "pack",
    .can = CAN_LIST | CAN_WRITE | CAN_LINKS | CAN_MODE | CAN_MTIME | IS_NEW,
    .open = pack_new_open,
    .close = making_close,
    .root = making_root,
    .find = making_find,
    .enter = making_enter,
    .leave = making_leave,
    .hold = making_hold,
    .drop = making_drop,
    .list = making_list,
    .stat = making_stat,
    .target = making_target,
    .attributes = making_attributes,
    .reader = making_reader,
    .read = making_read,
    .read_end = making_read_end,
    .measure = making_measure,
    .create = making_create,
    .writer = making_writer_open,
    .write = making_write,
    .commit = making_commit,
    .abandon = making_abandon,
    .make = making_make,
    .link = making_link,
    .remove = making_remove,
    .set = making_set,
    .is_itself = making_is_itself,
    .file = making_file,
    .finish = pack_finish,
    .talk = &making_talk,
    .report = making_report,
};
