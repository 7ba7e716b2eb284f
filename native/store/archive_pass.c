#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/task.h"
#include "store/archive.h"
#include "store/open.h"

// Defaults for what is read from archives; docs/security.md says why.
static const struct archive_limits limits_default = {.entries = 100'000,
                                                     .bytes = UINT64_C(1) << 30,
                                                     .ratio = 200,
                                                     .depth = 1000,
                                                     .path = 4096,
                                                     .nested = 3};
constexpr uint64_t NO_LIMIT = (UINT64_C(1) << 53) - 1;  // how JavaScript says Infinity

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

int32_t archive_open(struct store *store, const struct place *place, struct fault *fault) {
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
  if (code == 0)
    code = store_open_in(&state->inner, place->inner, place->above, store->task, fault);
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
  mutex_lock(&state->lock);
  state->is_started = thread_start("copse-archive", pass, state);
  mutex_unlock(&state->lock);
  return 0;
}

void archive_position_free(struct position *position) {
  stream_close(&position->stream);
  free(position);
}

void archive_close(struct store *store) {
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
    archive_position_free(state->waiting);
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
int32_t archive_source_open(struct archive_state *state, struct archive_source **out,
                            struct fault *fault) {
  const struct store_ops *ops = state->inner.ops;
  struct reader reader;
  int32_t code = ops->reader(state->inner_directory, &state->inner_entry, &reader, fault);
  if (code < 0) return code;
  struct entry now = state->inner_entry;
  code = ops->measure(&reader, &now, nullptr, fault);
  if (code == 0 && (now.size != state->measured.size || now.mtime_ns != state->measured.mtime_ns))
    code = fault_set(fault, COPSE_E_CHANGED, "the archive changed since it was opened; run again");
  struct archive_source *source =
      code == 0 ? source_file(&reader, &now, false, state->store->task, &state->stop) : nullptr;
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
    return fault_set(
        fault, COPSE_E_UNSUPPORTED,
        "a %s archive is read by its parts, which cannot be had here: fetch it and name the file",
        name);
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
  constexpr uint32_t KIND = 0170000, FILE_KIND = 0100000, LINK_KIND = 0120000;
  struct index *index = &state->index;
  uint32_t item;
  if (entry->encrypted && state->password.size == 0)
    return fault_set(fault, COPSE_E_AUTH, "an entry is encrypted: give the archive's password");
  // Old formats say nothing of the type: then it is a file.
  if ((entry->mode & KIND) == 0) entry->mode |= FILE_KIND;
  bool is_file = (entry->mode & KIND) == FILE_KIND || entry->is_hard_link;
  if (entry->is_hard_link && entry->size == 0)
    return index_add_twin(index, entry->name, entry->hard_link, &item, fault);
  // Formats that know no links have modes all the same: such content would be compared by nobody.
  if (!is_file && (entry->mode & KIND) == LINK_KIND && entry->target.size == 0)
    return fault_set(fault, COPSE_E_CORRUPT, "the archive is damaged: a link without a target");
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
      return fault_set(fault, COPSE_E_NOT_FOUND,
                       "the archive holds nothing of that name: list it to see what there is");
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
  // The one reader that is there already: of a server this is the one request for everything.
  struct archive_source *source =
      source_file(&state->reader, &state->measured, true, state->store->task, &state->stop);
  if (!source) return no_memory(fault);
  code = source_layers(source, state->limits.nested, &source, fault);
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
int32_t archive_wait(struct archive_state *state, struct fault *fault) {
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
