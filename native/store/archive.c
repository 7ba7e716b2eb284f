// archive: a read-only tree inside a file of another store.
//
// On opening, a thread of the archive's own reads it once from front to back and writes down what
// it holds (archive_index.h). Until that has come to its proved end nobody is told of anything, so
// that a damaged, truncated or endless archive is one error and never half a tree. Two archives are
// read at the same time.
//
// How content is had then:
//   zip                          from its place (archive_zip.h)
//   tar, cpio, ar, not packed    from its place in the inner store
//   everything else              by reading from the front again. Such content was hashed while the
//                                index was made (HAS_DIGEST), so that a comparison needs none of it
//                                and no memory for it. The decoder that gave the last entry waits
//                                for the next one: reading in the archive's order is one more pass.
#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/task.h"
#include "engine/thread.h"
#include "store/archive_index.h"
#include "store/archive_stream.h"
#include "store/archive_zip.h"
#include "store/open.h"

// Defaults for what is read from archives; docs/security.md says why.
static const struct archive_limits limits_default = {.entries = 100'000,
                                                     .bytes = UINT64_C(1) << 30,
                                                     .ratio = 200,
                                                     .depth = 1000,
                                                     .path = 4096,
                                                     .nested = 3};
constexpr uint64_t NO_LIMIT = (UINT64_C(1) << 53) - 1;  // how JavaScript says Infinity
constexpr uint64_t DEVICE = 0x61726368697665;           // "archive": no real device
constexpr uint32_t LINKS_MAX = 40;                      // followed in one path, as the kernel does

// A stream that stands behind the content of entry `next - 1`.
struct position {
  struct archive_stream stream;
  uint64_t next;  // number of the entry that stream_next gives next
  struct position *other;
};

struct archive_state {
  struct store *store, inner;
  struct directory *inner_directory;
  struct entry inner_entry, measured;
  struct arena arena;
  struct archive_limits limits;
  uint32_t formats;
  uint64_t strip;
  span sub, password;
  bool raw_equal;

  // The pass; `lock` guards what says how far it is.
  mutex lock, reading;  // reading: where only one at a time may read from `reader`
  condition changed;
  bool is_started, is_done;
  int32_t code;
  struct fault fault;
  struct thread thread;
  _Atomic bool stop;

  // After it, nothing of this changes.
  enum archive_format format;
  bool is_direct;  // content lies in the inner file as it is
  struct index index;
  uint32_t root;
  struct reader reader;  // of the inner file, for what can be read anywhere in it
  bool has_reader, has_zip;
  struct zip_file zip;

  struct position *waiting;  // guarded by `lock`

  uint32_t *sequence;  // next(): items in the order of their content
  uint32_t sequence_count, sequence_at;
  bool has_sequence;
};

struct archive_directory {
  struct directory base;
  uint32_t item;
};

enum reader_slot { SLOT_OPEN, SLOT_ITEM };  // of struct reader

struct open_entry {
  struct zip_reader *zip;
  struct position *position;
  const uint8_t *block;  // of the stream, at `block_at` in the content
  size_t block_size;
  uint64_t block_at, gap_at;  // gap_at: where the block before it ended
  bool is_direct, is_over;
};

static struct archive_state *state_of(const struct store *store) { return store->state; }
static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

// ── Opening ──

static uint64_t limit(span request, uint16_t key, uint64_t otherwise) {
  uint64_t value = record_number(request, key, otherwise);
  return value >= NO_LIMIT ? UINT64_MAX : value;
}

// How many archives lie around one another in a place.
static int32_t check_nested(span place, uint64_t most, struct fault *fault) {
  uint64_t depth = 0;
  for (; place.size; place = record_record(place, COPSE_PLACE_INNER))
    depth += span_equal(record_text(place, COPSE_PLACE_SCHEME), SPAN("archive"));
  if (depth <= most) return 0;
  return fault_set(fault, COPSE_E_LIMIT,
                   "more than %llu archives inside one another (limits.nested)",
                   (unsigned long long)most);
}

static void pass(void *argument);

static int32_t archive_open(struct store *store, const struct place *place, struct fault *fault) {
  if (place->inner.size == 0)
    return fault_set(fault, COPSE_E_ARGUMENT, "an archive place needs a place to wrap");
  span request = {store->task->request, store->task->request_len};
  struct archive_state *state = calloc(1, sizeof *state);
  if (!state) return no_memory(fault);
  state->store = store;
  state->limits = (struct archive_limits){
      .entries = limit(request, COPSE_KEY_LIMIT_ENTRIES, limits_default.entries),
      .bytes = limit(request, COPSE_KEY_LIMIT_BYTES, limits_default.bytes),
      .ratio = limit(request, COPSE_KEY_LIMIT_RATIO, limits_default.ratio),
      .depth = limit(request, COPSE_KEY_LIMIT_DEPTH, limits_default.depth),
      .path = limit(request, COPSE_KEY_LIMIT_PATH, limits_default.path),
      .nested = limit(request, COPSE_KEY_LIMIT_NESTED, limits_default.nested),
  };
  state->formats = (uint32_t)record_number(place->record, COPSE_PLACE_FORMATS, FORMATS_DEFAULT);
  state->strip = record_number(place->record, COPSE_PLACE_STRIP, 0);
  state->sub = record_text(place->record, COPSE_PLACE_SUB);
  state->password = record_text(place->record, COPSE_PLACE_PASSWORD);
  state->raw_equal = record_number(place->record, COPSE_PLACE_RAW_EQUAL, 0);
  int32_t code = path_safe(state->sub, fault);
  if (code == 0) code = check_nested(place->record, state->limits.nested, fault);
  if (code == 0) code = store_open(&state->inner, place->inner, store->task, fault);
  if (code == 0 && !index_begin(&state->index, &state->limits)) {
    store_close(&state->inner);
    code = no_memory(fault);
  }
  if (code < 0) {
    free(state);
    return code;
  }
  arena_begin(&state->arena);
  mutex_begin(&state->lock);
  mutex_begin(&state->reading);
  condition_begin(&state->changed);
  atomic_init(&state->stop, false);
  store->state = state;
  if (store->shown.size == 0) store->shown = state->inner.shown;
  // Where no thread can be had, whoever asks first does the pass.
  state->is_started = thread_start("copse-archive", pass, state);
  return 0;
}

static void position_free(struct position *position) {
  stream_close(&position->stream);
  free(position);
}

static void archive_close(struct store *store) {
  struct archive_state *state = store->state;
  atomic_store(&state->stop, true);
  if (state->is_started) {
    mutex_lock(&state->lock);
    while (!state->is_done) condition_wait(&state->changed, &state->lock);
    mutex_unlock(&state->lock);
    thread_join(&state->thread);
  }
  while (state->waiting) {
    struct position *other = state->waiting->other;
    position_free(state->waiting);
    state->waiting = other;
  }
  if (state->has_zip) zip_end(&state->zip);
  if (state->has_reader) state->inner.ops->read_end(&state->reader);
  if (state->inner_directory) state->inner.ops->leave(state->inner_directory);
  store_close(&state->inner);
  index_free(&state->index);
  free(state->sequence);
  arena_free(&state->arena);
  condition_end(&state->changed);
  mutex_end(&state->reading);
  mutex_end(&state->lock);
  free(state);
}

// ── The pass ──

// A source over the inner file, with a reader of its own.
static int32_t open_source(struct archive_state *state, struct archive_source **out,
                           struct fault *fault) {
  const struct store_ops *ops = state->inner.ops;
  struct reader reader;
  int32_t code = ops->reader(state->inner_directory, &state->inner_entry, &reader, fault);
  if (code < 0) return code;
  struct entry now = state->inner_entry;
  code = ops->measure(&reader, &now, nullptr, fault);
  if (code == 0 && state->has_reader &&
      (now.size != state->measured.size || now.mtime_ns != state->measured.mtime_ns))
    code = fault_set(fault, COPSE_E_CHANGED, "the archive changed since it was opened; run again");
  struct archive_source *source =
      code == 0 ? source_file(&reader, &now, state->store->task, &state->stop) : nullptr;
  if (code == 0 && !source) code = no_memory(fault);
  if (code < 0) {
    ops->read_end(&reader);
    return code;
  }
  *out = source;
  return 0;
}

static int32_t open_inner(struct archive_state *state, struct fault *fault) {
  const struct store_ops *ops = state->inner.ops;
  int32_t code =
      ops->root(&state->inner, &state->arena, &state->inner_entry, &state->inner_directory, fault);
  if (code < 0) return code;
  if (state->inner_entry.type != ENTRY_FILE)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "only a file can be an archive, and this is something else");
  code = ops->reader(state->inner_directory, &state->inner_entry, &state->reader, fault);
  if (code < 0) return code;
  state->measured = state->inner_entry;
  code = ops->measure(&state->reader, &state->measured, nullptr, fault);
  if (code < 0) {
    ops->read_end(&state->reader);
    return code;
  }
  state->has_reader = true;
  if ((state->measured.has & HAS_SIZE) && state->measured.size == 0)
    return fault_set(fault, COPSE_E_CORRUPT, "an empty file is no archive");
  return 0;
}

// Any part of the inner file can be had without those before it.
static bool can_range(const struct archive_state *state) {
  return (state->inner.can & CAN_RANGE) && state->reader.access != READ_ONWARD &&
         (state->measured.has & HAS_SIZE);
}

static int32_t check_format(struct archive_state *state, bool is_layered, struct fault *fault) {
  if (state->format == FORMAT_UNKNOWN)
    return fault_set(
        fault, COPSE_E_CORRUPT,
        "it is no archive of a format that is known here, or its beginning is damaged");
  const char *name = format_name(state->format);
  if (!(state->formats & state->format))
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "%s archives are not read unless the option formats names them", name);
  bool wants_seek = state->format == FORMAT_ZIP || state->format == FORMAT_7Z;
  if (wants_seek && (is_layered || !can_range(state)))
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "a %s archive can only be read where any part of it can be had at once", name);
  return 0;
}

// Hashes the content, holes as zeros. For a file whose `size` nobody knew, *size is what came.
static int32_t hash_content(struct archive_stream *stream, uint64_t *size,
                            uint8_t digest[HASH_BYTES], struct fault *fault) {
  static const uint8_t zeros[64 * 1024];
  struct hash hash;
  hash_begin(&hash);
  uint64_t done = 0, at = 0;
  const uint8_t *block = nullptr;
  for (int64_t got = 1; got > 0;) {
    got = stream_data(stream, &block, &at, fault);
    if (got < 0) return (int32_t)got;
    if (got == 0) at = *size > done ? *size : done;
    if (got == 0 && at > done) {
      int32_t code = stream_count(stream, at - done, fault);
      if (code < 0) return code;
    }
    while (done < at) {
      size_t gap = at - done < sizeof zeros ? (size_t)(at - done) : sizeof zeros;
      hash_add(&hash, zeros, gap);
      done += gap;
    }
    hash_add(&hash, block, (size_t)got);
    done += (uint64_t)got;
  }
  *size = done;
  hash_end(&hash, digest);
  return 0;
}

static int32_t add_entry(struct archive_state *state, struct archive_stream *stream,
                         struct stream_entry *entry, struct fault *fault) {
  constexpr uint32_t KIND = 0170000, FILE_KIND = 0100000;
  struct index *index = &state->index;
  uint32_t item;
  if (entry->encrypted && state->password.size == 0)
    return fault_set(fault, COPSE_E_AUTH, "an entry is encrypted: give the archive's password");
  bool is_file = (entry->mode & KIND) == FILE_KIND || entry->is_hard_link;
  if (entry->is_hard_link && entry->size == 0)
    return index_add_twin(index, entry->name, entry->hard_link, &item, fault);
  if (is_file && (entry->mode & KIND) == 0) entry->mode |= FILE_KIND;
  uint8_t digest[HASH_BYTES];
  bool hashed = is_file && !(state->is_direct && entry->data_at != UINT64_MAX);
  // Also of names that will be refused: their content counts, and is proved.
  if (hashed) {
    int32_t code = hash_content(stream, &entry->size, digest, fault);
    if (code < 0) return code;
  } else if (is_file) {
    int32_t code = stream_count(stream, entry->size, fault);
    if (code < 0) return code;
  }
  struct item_facts facts = {.size = entry->size,
                             .at = hashed ? stream->entries : entry->data_at,
                             .mtime_ns = entry->mtime_ns,
                             .mode = entry->mode,
                             .uid = entry->uid,
                             .gid = entry->gid,
                             .special = entry->special,
                             .target = entry->target};
  if (!is_file) facts.at = 0;
  if (is_file) facts.mode = (facts.mode & ~KIND) | FILE_KIND;
  uint32_t original = NO_ITEM;
  if (entry->is_hard_link) {
    // Content that comes with a hard link is that of all its names.
    int32_t code = index_add_twin(index, entry->name, entry->hard_link, &item, fault);
    if (code < 0 || (item != NO_ITEM && (index->items[item].flags & ITEM_BAD))) return code;
    if (index->items[item].flags & ITEM_TWIN) original = index->items[item].twin;
    if (original == NO_ITEM || index->items[original].size > 0) original = NO_ITEM;
  }
  if (original != NO_ITEM) {
    index->items[original].size = facts.size & 0xffffffffffff;
    index->items[original].at = facts.at & 0xffffffffffff;
    item = original;
  } else {
    int32_t code = index_add(index, entry->name, &facts, &item, fault);
    if (code < 0) return code;
  }
  if (item == NO_ITEM || (index->items[item].flags & ITEM_BAD) || !hashed) return 0;
  memcpy(index->items[item].digest, digest, HASH_BYTES);
  index->items[item].flags |= ITEM_DIGEST & 15u;
  return 0;
}

static int32_t read_stream(struct archive_state *state, struct archive_source *source,
                           struct fault *fault) {
  struct archive_stream stream;
  state->is_direct =
      !source->below && (state->inner.can & CAN_RANGE) && (state->measured.has & HAS_SIZE);
  int32_t code =
      stream_open(&stream, source, state->format, &state->limits, state->password, fault);
  if (code < 0) return code;
  struct stream_entry entry;
  while ((code = stream_next(&stream, &entry, fault)) > 0) {
    code = add_entry(state, &stream, &entry, fault);
    if (code < 0) break;
  }
  stream_close(&stream);
  return code;
}

static int32_t find_root(struct archive_state *state, struct fault *fault) {
  struct index *index = &state->index;
  span rest = state->sub, part;
  while (path_next(&rest, &part)) {
    uint32_t child = item_type(&index->items[state->root]) == ENTRY_DIRECTORY
                         ? index_child(index, state->root, part)
                         : NO_ITEM;
    if (child == NO_ITEM)
      return fault_set(fault, COPSE_E_NOT_FOUND, "the archive holds nothing of that name");
    state->root = child;
  }
  // A directory that holds everything is only a wrapper. Where there is none, nothing is stripped.
  for (uint64_t i = 0; i < state->strip; i++) {
    const struct item *root = &index->items[state->root];
    if (item_type(root) != ENTRY_DIRECTORY || root->count != 1) break;
    uint32_t only = index->order[root->first];
    if (item_type(&index->items[only]) != ENTRY_DIRECTORY) break;
    state->root = only;
  }
  return 0;
}

static bool begins_as_program(span head) {
  static const char *const magics[] = {"MZ", "#!", "\177ELF"};
  for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
    span magic = span_of(magics[i]);
    if (head.size >= magic.size && memcmp(head.at, magic.at, magic.size) == 0) return true;
  }
  return false;
}

static int32_t read_all(struct archive_state *state, struct fault *fault) {
  int32_t code = open_inner(state, fault);
  if (code < 0) return code;
  struct archive_source *source = nullptr;
  code = open_source(state, &source, fault);
  if (code == 0) code = source_layers(source, state->limits.nested, &source, fault);
  if (code < 0) return code;
  span head;
  code = source_peek(source, FORMAT_HEAD, &head, fault);
  if (code == 0) {
    state->format = format_of(head);
    bool is_layered = source->below;
    // A program that unpacks itself, or a zip file with something before it, is known by its end.
    if (state->format == FORMAT_UNKNOWN && !is_layered && begins_as_program(head))
      state->format = FORMAT_ZIP;
    code = check_format(state, is_layered, fault);
  }
  if (code == 0 && state->format == FORMAT_ZIP) {
    zip_begin(&state->zip, &state->reader, state->measured.size);
    state->has_zip = true;
    code = zip_read_directory(&state->zip, &state->index, state->store->task, &state->stop, fault);
    source_close(source);
  } else if (code == 0) {
    code = read_stream(state, source, fault);
  } else {
    source_close(source);
  }
  if (code == 0) code = index_seal(&state->index, fault);
  if (code == 0) code = find_root(state, fault);
  return code;
}

static void pass(void *argument) {
  struct archive_state *state = argument;
  struct fault fault = {};
  int32_t code = read_all(state, &fault);
  mutex_lock(&state->lock);
  state->code = code;
  state->fault = fault;
  state->is_done = true;
  if (state->is_started) state->thread = thread_self();
  condition_all(&state->changed);
  mutex_unlock(&state->lock);
}

// The index is there after 0.
static int32_t wait_for_pass(struct archive_state *state, struct fault *fault) {
  mutex_lock(&state->lock);
  if (!state->is_started && !state->is_done) {
    mutex_unlock(&state->lock);
    pass(state);
    mutex_lock(&state->lock);
  }
  while (!state->is_done) condition_wait(&state->changed, &state->lock);
  int32_t code = state->code;
  if (code < 0) *fault = state->fault;
  mutex_unlock(&state->lock);
  return code;
}

// ── Directories ──

static void fill(const struct archive_state *state, uint32_t number, struct entry *entry) {
  const struct item *item = &state->index.items[number];
  enum entry_type type = item_type(item);
  entry->type = type;
  if (type == ENTRY_NONE) return;
  entry->size = item->size;
  entry->mtime_ns = item->mtime_ns;
  entry->inode = (uint64_t)number + 1;
  entry->device = DEVICE;
  entry->mode = item->mode;
  entry->special = type == ENTRY_OTHER ? item->special : 0;
  index_owner(&state->index, item, &entry->uid, &entry->gid);
  entry->has |= HAS_STAT | HAS_SIZE;
  if (type == ENTRY_LINK) {
    entry->target = index_text(&state->index, item->at, item->size);
    entry->has |= HAS_TARGET;
  }
  if (item->flags & ITEM_DIGEST) {
    entry->digest = item->digest;
    entry->has |= HAS_DIGEST;
  }
}

static int32_t directory_new(struct store *store, uint32_t item, struct directory **out,
                             struct fault *fault) {
  struct archive_directory *directory = malloc(sizeof *directory);
  if (!directory) return no_memory(fault);
  *directory = (struct archive_directory){.base.store = store, .item = item};
  *out = &directory->base;
  return 0;
}

static int32_t archive_root(struct store *store, struct arena *arena, struct entry *out,
                            struct directory **directory, struct fault *fault) {
  struct archive_state *state = state_of(store);
  int32_t code = wait_for_pass(state, fault);
  if (code < 0) return code;
  *out = (struct entry){.name = arena_copy(arena, index_name(&state->index, state->root))};
  if (!out->name.at) return no_memory(fault);
  fill(state, state->root, out);
  return directory_new(store, state->root, directory, fault);
}

// Where a path leads from a directory, links followed inside the archive; the last part only when
// `follow`. NO_ITEM: nowhere, or out of it.
static uint32_t resolve(const struct archive_state *state, uint32_t from, span path, bool follow,
                        uint32_t *links) {
  const struct index *index = &state->index;
  if (path.size && path.at[0] == '/') return NO_ITEM;
  span part;
  while (path_next(&path, &part)) {
    if (item_type(&index->items[from]) != ENTRY_DIRECTORY) return NO_ITEM;
    if (span_equal(part, SPAN("."))) continue;
    if (span_equal(part, SPAN(".."))) {
      if (from == state->root) return NO_ITEM;
      from = index->items[from].parent;
      continue;
    }
    uint32_t child = index_child(index, from, part);
    if (child == NO_ITEM) return NO_ITEM;
    const struct item *item = &index->items[child];
    bool is_last = path.size == 0;
    if (item_type(item) == ENTRY_LINK && (!is_last || follow)) {
      // Each level holds one link of the path, so the bound on links is one on the depth.
      if (++*links > LINKS_MAX) return NO_ITEM;
      child = resolve(state, from, index_text(index, item->at, item->size), true, links);
      if (child == NO_ITEM) return NO_ITEM;
    }
    from = child;
  }
  return from;
}

static int32_t not_found(struct fault *fault) {
  return fault_set(fault, COPSE_E_NOT_FOUND, "the archive holds nothing of that name");
}

static int32_t archive_find(struct store *store, span path, struct arena *arena, struct entry *out,
                            struct directory **parent, struct fault *fault) {
  struct archive_state *state = state_of(store);
  int32_t code = wait_for_pass(state, fault);
  if (code < 0) return code;
  uint32_t links = 0, above = resolve(state, state->root, path_parent(path), true, &links);
  if (above == NO_ITEM || item_type(&state->index.items[above]) != ENTRY_DIRECTORY)
    return not_found(fault);
  span name = path_name(path);
  uint32_t item = index_child(&state->index, above, name);
  if (item == NO_ITEM) return not_found(fault);
  *out = (struct entry){.name = arena_copy(arena, name)};
  if (!out->name.at) return no_memory(fault);
  fill(state, item, out);
  return directory_new(store, above, parent, fault);
}

// The item that an entry of a directory means.
static uint32_t item_of(struct directory *base, const struct entry *entry, bool follow) {
  const struct archive_state *state = state_of(base->store);
  uint32_t directory = ((struct archive_directory *)base)->item, links = 0;
  // A root that is a file is its own directory.
  if (item_type(&state->index.items[directory]) != ENTRY_DIRECTORY) return directory;
  if (entry->has & HAS_STAT && entry->inode == (uint64_t)directory + 1) return directory;
  return resolve(state, directory, entry->name, follow || (entry->has & HAS_FOLLOWED), &links);
}

static int32_t archive_enter(struct directory *parent, const struct entry *entry,
                             struct directory **out, struct fault *fault) {
  const struct archive_state *state = state_of(parent->store);
  uint32_t item = item_of(parent, entry, false);
  if (item == NO_ITEM || item_type(&state->index.items[item]) != ENTRY_DIRECTORY)
    return not_found(fault);
  return directory_new(parent->store, item, out, fault);
}

static void archive_leave(struct directory *base) { free(base); }
static int32_t archive_hold(struct directory *, struct fault *) { return 0; }
static void archive_drop(struct directory *) {}

static int32_t archive_list(struct directory *base, struct listing *listing, struct fault *fault) {
  const struct archive_state *state = state_of(base->store);
  const struct index *index = &state->index;
  uint32_t number = ((struct archive_directory *)base)->item;
  const struct item *directory = &index->items[number];
  for (uint32_t i = 0; i < directory->count; i++) {
    uint32_t child = index->order[directory->first + i];
    struct entry *entry =
        listing_add(listing, index_name(index, child), item_type(&index->items[child]), fault);
    if (!entry) return fault->code;
    fill(state, child, entry);
  }
  // Names that lead nowhere are told of where the tree begins.
  for (uint32_t i = 0; number == state->root && i < index->bad; i++) {
    uint32_t bad = index->order[index->ordered - index->bad + i];
    if (!listing_add(listing, index_name(index, bad), ENTRY_NONE, fault)) return fault->code;
  }
  return 0;
}

static int32_t tell_bad(const struct archive_state *state, span name, struct fault *fault) {
  const struct index *index = &state->index;
  for (uint32_t i = index->ordered - index->bad; i < index->ordered; i++)
    if (span_equal(index_name(index, index->order[i]), name))
      return index_bad(&index->items[index->order[i]], &state->limits, fault);
  return not_found(fault);
}

static int32_t archive_stat(struct directory *base, struct entry *entry, bool follow,
                            struct fault *fault) {
  const struct archive_state *state = state_of(base->store);
  if (entry->type == ENTRY_NONE && !(entry->has & HAS_FOLLOWED))
    return tell_bad(state, entry->name, fault);
  uint32_t item = item_of(base, entry, follow);
  if (item == NO_ITEM) return not_found(fault);
  bool was_link = entry->type == ENTRY_LINK;
  entry->has &= (uint8_t)~(HAS_TARGET | HAS_DIGEST);
  fill(state, item, entry);
  if (follow && was_link && entry->type != ENTRY_LINK) entry->has |= HAS_FOLLOWED;
  return 0;
}

static int32_t archive_target(struct directory *base, struct entry *entry, struct arena *,
                              struct fault *fault) {
  const struct archive_state *state = state_of(base->store);
  uint32_t item = item_of(base, entry, false);
  if (item == NO_ITEM || item_type(&state->index.items[item]) != ENTRY_LINK)
    return not_found(fault);
  const struct item *link = &state->index.items[item];
  entry->target = index_text(&state->index, link->at, link->size);
  entry->has |= HAS_TARGET;
  return 0;
}

static int32_t archive_attributes(struct directory *, const struct entry *, struct arena *, span *,
                                  struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "extended attributes in archives are not read");
}

// ── Content ──

// A stream that stands before the wanted entry: one that waits, or a new one.
static int32_t position_take(struct archive_state *state, uint64_t wanted, struct position **out,
                             struct fault *fault) {
  mutex_lock(&state->lock);
  struct position **best = nullptr;
  for (struct position **at = &state->waiting; *at; at = &(*at)->other)
    if ((*at)->next <= wanted && (!best || (*at)->next > (*best)->next)) best = at;
  struct position *position = best ? *best : nullptr;
  if (position) *best = position->other;
  mutex_unlock(&state->lock);
  if (!position) {
    position = calloc(1, sizeof *position);
    struct archive_source *source = nullptr;
    int32_t code = position ? open_source(state, &source, fault) : no_memory(fault);
    if (code == 0 && state->format != FORMAT_ZIP)
      code = source_layers(source, state->limits.nested, &source, fault);
    if (code == 0)
      code = stream_open(&position->stream, source, state->format, &state->limits, state->password,
                         fault);
    if (code < 0) {
      free(position);
      return code;
    }
    position->next = 1;
  }
  *out = position;
  return 0;
}

static void position_give(struct archive_state *state, struct position *position, bool is_usable) {
  constexpr size_t WAITING_MAX = 2;
  mutex_lock(&state->lock);
  size_t count = 0;
  for (struct position *at = state->waiting; at; at = at->other) count++;
  bool keep = is_usable && count < WAITING_MAX;
  if (keep) {
    position->other = state->waiting;
    state->waiting = position;
  }
  mutex_unlock(&state->lock);
  if (!keep) position_free(position);
}

// Goes on to the content of an entry. For a zip file that is known by its name.
static int32_t position_find(struct archive_state *state, struct position *position,
                             uint32_t number, struct fault *fault) {
  const struct item *item = &state->index.items[number];
  struct stream_entry entry;
  for (;;) {
    int32_t code = stream_next(&position->stream, &entry, fault);
    if (code < 0) return code;
    if (code == 0)
      return fault_set(fault, COPSE_E_CHANGED, "the entry is not found again; run again");
    bool found = position->next == item->at;
    if (state->format == FORMAT_ZIP) {
      span name = index_name(&state->index, number);
      found = entry.size == item->size && span_equal(path_name(entry.name), name);
      uint32_t links = 0;
      found = found && resolve(state, 0, entry.name, false, &links) == number;
    }
    position->next++;
    if (found) return 0;
  }
}

static int32_t open_forward(struct archive_state *state, uint32_t number, struct open_entry *open,
                            struct fault *fault) {
  const struct item *item = &state->index.items[number];
  bool is_zip = state->format == FORMAT_ZIP;
  if (is_zip && (item->zip.flags & 1) && state->password.size == 0)
    return fault_set(fault, COPSE_E_AUTH, "the entry is encrypted: give the archive's password");
  int32_t code = position_take(state, is_zip ? 1 : item->at, &open->position, fault);
  if (code < 0) return code;
  code = position_find(state, open->position, number, fault);
  if (code < 0) {
    position_free(open->position);
    open->position = nullptr;
  }
  return code;
}

static int32_t open_item(struct archive_state *state, uint32_t number, struct reader *out,
                         struct fault *fault) {
  const struct item *item = &state->index.items[number];
  struct open_entry *open = calloc(1, sizeof *open);
  if (!open) return no_memory(fault);
  int32_t code = 0;
  if (state->has_zip && zip_is_ours(&item->zip)) {
    code = zip_open(&state->zip, item, &open->zip, fault);
  } else if (state->is_direct && !(item->flags & ITEM_DIGEST)) {
    open->is_direct = true;
  } else {
    code = open_forward(state, number, open, fault);
  }
  if (code < 0) {
    free(open);
    return code;
  }
  *out = (struct reader){.store = state->store, .fd = -1};
  out->access = open->is_direct ? state->reader.access : open->zip ? READ_SINGLE : READ_ONWARD;
  out->slot[SLOT_OPEN] = open;
  out->slot[SLOT_ITEM] = &state->index.items[number];
  return 0;
}

static int32_t archive_reader(struct directory *base, const struct entry *entry, struct reader *out,
                              struct fault *fault) {
  struct archive_state *state = state_of(base->store);
  uint32_t item = item_of(base, entry, false);
  if (item == NO_ITEM) return not_found(fault);
  if (item_type(&state->index.items[item]) != ENTRY_FILE)
    return fault_set(fault, COPSE_E_CHANGED, "it is no file");
  return open_item(state, item, out, fault);
}

// From the stream: what lies before `at` is read past, what is left out is zero.
static int64_t read_forward(struct archive_state *state, struct open_entry *open,
                            const struct item *item, uint64_t at, uint8_t *into, size_t size,
                            struct fault *fault) {
  uint64_t all = item->size;
  if (at >= all) return 0;
  if (size > all - at) size = (size_t)(all - at);
  if (at < open->gap_at) {  // back: from the front again
    position_free(open->position);
    open->position = nullptr;
    int32_t code = open_forward(state, (uint32_t)(item - state->index.items), open, fault);
    if (code < 0) return code;
    open->block_at = open->gap_at = open->block_size = 0;
    open->is_over = false;
  }
  while (!open->is_over && open->block_at + open->block_size <= at) {
    uint64_t next = 0;
    open->gap_at = open->block_at + open->block_size;
    int64_t got = stream_data(&open->position->stream, &open->block, &next, fault);
    if (got < 0) return got;
    open->is_over = got == 0;
    open->block_at = got == 0 ? all : next;
    open->block_size = (size_t)got;
  }
  if (open->block_at > at) {  // a hole
    size_t zeros = open->block_at - at < size ? (size_t)(open->block_at - at) : size;
    memset(into, 0, zeros);
    return (int64_t)zeros;
  }
  size_t skip = (size_t)(at - open->block_at), left = open->block_size - skip;
  size_t got = size < left ? size : left;
  memcpy(into, open->block + skip, got);
  return (int64_t)got;
}

static int64_t archive_read(struct reader *reader, uint64_t at, uint8_t *into, size_t size,
                            struct fault *fault) {
  struct archive_state *state = state_of(reader->store);
  struct open_entry *open = reader->slot[SLOT_OPEN];
  const struct item *item = reader->slot[SLOT_ITEM];
  int64_t got = 0;
  if (open->zip) {
    got = zip_read(open->zip, at, into, size, &reader->at_end, fault);
  } else if (open->is_direct && at < item->size) {
    if (size > item->size - at) size = (size_t)(item->size - at);
    struct reader copy = state->reader;  // its state is this call's own
    bool single = copy.access != READ_ANYWHERE;
    if (single) mutex_lock(&state->reading);
    got = state->inner.ops->read(&copy, item->at + at, into, size, fault);
    if (single) mutex_unlock(&state->reading);
    if (got == 0) return fault_set(fault, COPSE_E_CHANGED, "the archive became shorter; run again");
  } else if (!open->is_direct) {
    got = read_forward(state, open, item, at, into, size, fault);
  }
  if (got >= 0 && at + (uint64_t)got >= item->size) reader->at_end = true;
  return got;
}

static void archive_read_end(struct reader *reader) {
  struct open_entry *open = reader->slot[SLOT_OPEN];
  if (open->zip) zip_close(open->zip);
  struct archive_state *state = state_of(reader->store);
  if (open->position) position_give(state, open->position, state->format != FORMAT_ZIP);
  free(open);
}

static int32_t archive_measure(struct reader *reader, struct entry *out, bool *holes,
                               struct fault *fault) {
  struct archive_state *state = state_of(reader->store);
  const struct item *item = reader->slot[SLOT_ITEM];
  struct open_entry *open = reader->slot[SLOT_OPEN];
  fill(state, (uint32_t)(item - state->index.items), out);
  if (holes) *holes = false;
  if (!open->is_direct && !open->zip) return 0;
  // What is read from its place must still be the archive that was listed.
  struct entry now = {};
  struct reader copy = state->reader;
  int32_t code = state->inner.ops->measure(&copy, &now, nullptr, fault);
  if (code == 0 && (now.size != state->measured.size || now.mtime_ns != state->measured.mtime_ns))
    code = fault_set(fault, COPSE_E_CHANGED, "the archive changed while it was read; run again");
  return code;
}

static int32_t archive_same(struct directory *left, const struct entry *of_left,
                            struct directory *right, const struct entry *of_right,
                            struct fault *fault) {
  struct archive_state *a = state_of(left->store), *b = state_of(right->store);
  if (!a->has_zip || !b->has_zip) return 0;
  uint32_t in_a = item_of(left, of_left, false), in_b = item_of(right, of_right, false);
  if (in_a == NO_ITEM || in_b == NO_ITEM) return 0;
  return zip_same(&a->zip, &a->index.items[in_a], &b->zip, &b->index.items[in_b],
                  a->raw_equal || b->raw_equal, fault);
}

// ── In the order of the archive ──

static int compare_sequence(const void *left, const void *right, void *context) {
  const struct index *index = context;
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  const struct item *of_a = &index->items[a], *of_b = &index->items[b];
  bool file_a = item_type(of_a) == ENTRY_FILE, file_b = item_type(of_b) == ENTRY_FILE;
  if (file_a != file_b) return file_a - file_b;
  if (file_a && of_a->at != of_b->at) return of_a->at < of_b->at ? -1 : 1;
  return a < b ? -1 : 1;
}

static bool is_below(const struct archive_state *state, uint32_t item) {
  if (state->index.items[item].flags & ITEM_BAD) return true;
  while (item != state->root && item != 0) item = state->index.items[item].parent;
  return item == state->root;
}

static int32_t make_sequence(struct archive_state *state, struct fault *fault) {
  const struct index *index = &state->index;
  state->sequence = malloc(((size_t)index->ordered + 1) * sizeof *state->sequence);
  if (!state->sequence) return no_memory(fault);
  for (uint32_t i = 0; i < index->ordered; i++) {
    uint32_t item = index->order[i];
    if (item != state->root && is_below(state, item))
      state->sequence[state->sequence_count++] = item;
  }
  qsort_r(state->sequence, state->sequence_count, sizeof *state->sequence, compare_sequence,
          &state->index);
  state->has_sequence = true;
  return 0;
}

static span path_of(const struct archive_state *state, uint32_t item, struct arena *arena) {
  const struct index *index = &state->index;
  if (index->items[item].flags & ITEM_BAD) return arena_copy(arena, index_name(index, item));
  size_t size = 0;
  for (uint32_t at = item; at != state->root; at = index->items[at].parent)
    size += index_name(index, at).size + 1;
  uint8_t *bytes = arena_take_bytes(arena, size);
  if (!bytes) return (span){};
  uint8_t *end = bytes + size - 1;
  *end = 0;
  for (uint32_t at = item; at != state->root; at = index->items[at].parent) {
    span name = index_name(index, at);
    end -= name.size;
    memcpy(end, name.at, name.size);
    if (end > bytes) *--end = '/';
  }
  return (span){bytes, size - 1};
}

static int32_t archive_next(struct store *store, struct arena *arena, span *path, struct entry *out,
                            struct reader *reader, struct fault *fault) {
  struct archive_state *state = state_of(store);
  int32_t code = wait_for_pass(state, fault);
  if (code == 0 && !state->has_sequence) code = make_sequence(state, fault);
  if (code < 0) return code;
  if (state->sequence_at == state->sequence_count) {
    state->sequence_at = 0;
    return 0;
  }
  uint32_t at = state->sequence_at++, number = state->sequence[at];
  const struct item *item = &state->index.items[number];
  *path = path_of(state, number, arena);
  if (!path->at) return no_memory(fault);
  *out = (struct entry){.name = path_name(*path)};
  if (item->flags & ITEM_BAD) {
    index_bad(item, &state->limits, fault);
    return 1;
  }
  fill(state, number, out);
  if (out->type != ENTRY_FILE) return 1;
  uint32_t before = at;
  while (before > 0 && item_type(&state->index.items[state->sequence[before - 1]]) == ENTRY_FILE &&
         state->index.items[state->sequence[before - 1]].at == item->at)
    before--;
  if (before != at) {
    out->target = path_of(state, state->sequence[before], arena);
    out->has |= HAS_TWIN;
    return out->target.at ? 1 : no_memory(fault);
  }
  // What is wrong with this content alone is this entry's fault; the others may be fine.
  code = open_item(state, number, reader, fault);
  if (code == COPSE_E_CANCELLED || code == COPSE_E_MEMORY) return code;
  if (code < 0) out->type = ENTRY_NONE;
  return 1;
}

const struct store_ops archive_store = {
    .scheme = "archive",
    .can = CAN_LIST | CAN_MTIME | CAN_MODE | CAN_LINKS | CAN_DIGEST | CAN_OWNER | ONLY_FORWARD,
    .open = archive_open,
    .close = archive_close,
    .root = archive_root,
    .find = archive_find,
    .enter = archive_enter,
    .leave = archive_leave,
    .hold = archive_hold,
    .drop = archive_drop,
    .list = archive_list,
    .stat = archive_stat,
    .target = archive_target,
    .attributes = archive_attributes,
    .reader = archive_reader,
    .read = archive_read,
    .read_end = archive_read_end,
    .measure = archive_measure,
    .same = archive_same,
    .next = archive_next,
};
