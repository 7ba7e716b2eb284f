// pack: the tree in a pack file, read from wherever that file is. What it holds is read once, from
// its end; content is read a chunk at a time, and none of a chunk is given before all of it is
// proved by its BLAKE3.
#include "store/pack_copy.h"
#include "store/pack_read.h"
#include "store/pack_recover.h"
#include "store/pack_write.h"

#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/runtime.h"
#include "engine/thread.h"
#include "store/open.h"
#include "store/pack_frame.h"
#include "store/paths.h"

// Trailer, manifest and, in all but large packs, the whole index are in the first read.
constexpr size_t TAIL_BYTES = 64 * 1024;
// Buffers up to this size are kept for the next file.
constexpr size_t KEEP_BYTES = 8 << 20;

// What one reader needs besides the index; used again and again.
struct decoder {
  struct decoder *next;
  struct unpacker *unpacker;
  struct reader reader;  // of the file, where several may not share one
  bool is_open;
  uint8_t *blob, *plain;
  size_t blob_capacity, plain_capacity;
  const struct pack_chunk *holds;  // of whose blob `plain` is what it holds, proved
};

struct pack_state {
  struct store inner;
  span sub;
  uint64_t entries_max;
  mutex lock;  // guards all below; what is loaded does not change any more
  bool is_loaded;
  struct fault fault;  // why it could not be
  struct arena arena;
  struct entry file;  // the inner root
  struct directory *above;
  struct reader shared;
  bool is_shared_open;
  bool is_shared_lent;  // where only one may read at once
  uint8_t *tail;
  struct pack_index index;
  struct recovered recovered;
  bool repairs;  // an index that is lost is made again
  uint8_t *dictionary;
  size_t dictionary_size;  // zero: not read yet, or there is none
  struct decoder *idle;
};

struct pack_directory {
  struct directory base;
  size_t begin, end;  // of the items in it
  size_t prefix;      // bytes of their paths before the names in this directory
};

struct pack_reader {
  struct decoder *decoder;
  const struct pack_item *item;
  size_t chunk;  // whose blob the decoder holds; SIZE_MAX: none
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

static int32_t not_found(struct fault *fault) {
  return fault_set(fault, COPSE_E_NOT_FOUND, "the pack has no such path; list shows those it has");
}

static int32_t no_links(struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "that is no link");
}

static struct pack_state *state_of(const struct store *store) { return store->state; }

// ── The file ──

static int32_t read_full(struct reader *reader, uint64_t at, uint8_t *into, size_t size,
                         struct fault *fault) {
  const struct store_ops *ops = reader->store->ops;
  if (ops->until) ops->until(reader, at + size);
  for (size_t got = 0; got < size;) {
    int64_t n = ops->read(reader, at + got, into + got, size - got, fault);
    if (n < 0) return (int32_t)n;
    if (n == 0)
      return fault_set(fault, COPSE_E_CHANGED,
                       "the pack became shorter while it was read; run again");
    got += (size_t)n;
  }
  return 0;
}

static int32_t open_reader(struct pack_state *state, struct reader *out, struct fault *fault) {
  return state->inner.ops->reader(state->above, &state->file, out, fault);
}

// Bytes [first, to the trailer), of which those from `begin` on are in `tail` already.
static int32_t read_index(struct pack_state *state, uint64_t begin, uint64_t first,
                          struct fault *fault) {
  if (first >= begin) {
    memmove(state->tail, state->tail + (first - begin), (size_t)(state->file.size - first));
    return 0;
  }
  uint64_t size = state->file.size - first;
  if (size > PACK_INDEX_MAX)
    return fault_set(fault, COPSE_E_LIMIT, "the pack's index is longer than %llu bytes",
                     (unsigned long long)PACK_INDEX_MAX);
  uint8_t *whole = malloc((size_t)size);
  if (!whole) return no_memory(fault);
  memcpy(whole + (begin - first), state->tail, (size_t)(state->file.size - begin));
  free(state->tail);
  state->tail = whole;
  return read_full(&state->shared, first, whole, (size_t)(begin - first), fault);
}

static int32_t load_index(struct pack_state *state, struct fault *fault) {
  uint64_t size = state->file.size, begin = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
  state->tail = malloc(size - begin ? (size_t)(size - begin) : 1);
  if (!state->tail) return no_memory(fault);
  int32_t code = read_full(&state->shared, begin, state->tail, (size_t)(size - begin), fault);
  if (code < 0) return code;
  size_t trailer = size < PACK_TRAILER ? (size_t)size : PACK_TRAILER;
  uint8_t head[4] = {};
  size_t head_size = size < sizeof head ? (size_t)size : sizeof head;
  span last = {state->tail + (size - begin) - trailer, trailer};
  bool has_magic = pack_has_trailer(last), is_native = false;
  uint8_t old[8] = {};
  uint64_t old_at = has_magic ? size : pack_old(last, size);
  size_t old_size = old_at < size ? sizeof old : 0;
  if (!has_magic) code = read_full(&state->shared, 0, head, head_size, fault);
  if (code == 0 && old_size) code = read_full(&state->shared, old_at, old, old_size, fault);
  uint64_t manifest = 0, first = 0;
  if (code == 0)
    code = pack_trailer(last, size, (span){head, head_size}, (span){old, old_size}, &manifest,
                        &is_native, fault);
  if (code == 0) code = read_index(state, begin, manifest < begin ? manifest : begin, fault);
  if (code < 0) return code;
  if (manifest < begin) begin = manifest;
  span bytes = {state->tail + (manifest - begin), (size_t)(size - PACK_TRAILER - manifest)};
  code = pack_first(bytes, manifest, &first, fault);
  if (code == 0) code = read_index(state, begin, first, fault);
  if (code < 0) return code;
  span tail = {state->tail, (size_t)(size - PACK_TRAILER - first)};
  return pack_index_read(&state->index, tail, first, manifest, is_native, state->entries_max,
                         fault);
}

static int32_t read_for_repair(void *self, uint64_t at, uint8_t *into, size_t size,
                               struct fault *fault) {
  struct store *store = self;
  if (task_cancelled(store->task))
    return fault_set(fault, COPSE_E_CANCELLED, "cancelled while a pack is repaired");
  return read_full(&state_of(store)->shared, at, into, size, fault);
}

// What is wrong with the index is no end where a pack is repaired, unless nothing comes of it.
static int32_t recover(struct store *store, struct fault *fault) {
  struct pack_state *state = state_of(store);
  struct recover_file file = {state->file.size, store, read_for_repair};
  struct fault trouble = {};
  int32_t code =
      pack_recover(&state->index, &file, state->entries_max, &state->recovered, &trouble);
  if (code < 0 && code != COPSE_E_CORRUPT) *fault = trouble;
  if (code < 0) return fault->code;
  *fault = (struct fault){};
  return 0;
}

static int32_t load(struct store *store, struct fault *fault) {
  struct pack_state *state = state_of(store);
  const struct store_ops *ops = state->inner.ops;
  int32_t code = ops->root(&state->inner, &state->arena, &state->file, &state->above, fault);
  if (code < 0) return code;
  if (state->file.type != ENTRY_FILE)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a pack is a file, and this is none");
  code = open_reader(state, &state->shared, fault);
  if (code < 0) return code;
  state->is_shared_open = true;
  struct entry measured = state->file;
  code = ops->measure(&state->shared, &measured, nullptr, fault);
  if (code < 0) return code;
  if (measured.size == COPSE_UNKNOWN)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "the place does not say how long the pack is, so its end cannot be found");
  state->file.size = measured.size;
  code = load_index(state, fault);
  // A number that is damaged may look like one that is too large.
  bool is_damage = code == COPSE_E_CORRUPT || code == COPSE_E_UNSUPPORTED || code == COPSE_E_LIMIT;
  return is_damage && state->repairs ? recover(store, fault) : code;
}

static int32_t loaded(struct store *store, struct fault *fault) {
  struct pack_state *state = state_of(store);
  mutex_lock(&state->lock);
  if (!state->is_loaded) {
    state->is_loaded = true;
    load(store, &state->fault);
  }
  int32_t code = state->fault.code;
  if (code < 0) *fault = state->fault;
  mutex_unlock(&state->lock);
  return code;
}

// ── Decoders ──

static void decoder_free(struct decoder *decoder) {
  if (decoder->is_open) decoder->reader.store->ops->read_end(&decoder->reader);
  unpacker_free(decoder->unpacker);
  free(decoder->blob);
  free(decoder->plain);
  free(decoder);
}

// Rows of one blob say the same of it, unless somebody means harm.
static bool is_same_blob(const struct pack_index *index, const struct pack_chunk *left,
                         const struct pack_chunk *right) {
  return left->blob_at == right->blob_at && left->blob_size == right->blob_size &&
         left->group_size == right->group_size && left->is_frame == right->is_frame &&
         left->checksum && right->checksum &&
         memcmp(left->checksum, right->checksum, index->checksum) == 0;
}

// One that holds the chunk's blob already, if there is one.
static struct decoder *decoder_take(struct pack_state *state, const struct pack_chunk *chunk) {
  mutex_lock(&state->lock);
  struct decoder **best = &state->idle;
  for (struct decoder **at = best; *at; at = &(*at)->next)
    if ((*at)->holds && is_same_blob(&state->index, (*at)->holds, chunk)) best = at;
  struct decoder *decoder = *best;
  if (decoder) *best = decoder->next;
  mutex_unlock(&state->lock);
  return decoder ? decoder : calloc(1, sizeof *decoder);
}

static void decoder_give(struct pack_state *state, struct decoder *decoder) {
  if (decoder->blob_capacity + decoder->plain_capacity > KEEP_BYTES) {
    free(decoder->blob);
    free(decoder->plain);
    decoder->blob = decoder->plain = nullptr;
    decoder->holds = nullptr;
    decoder->blob_capacity = decoder->plain_capacity = 0;
  }
  mutex_lock(&state->lock);
  decoder->next = state->idle;
  state->idle = decoder;
  mutex_unlock(&state->lock);
}

// The stored bytes of a chunk.
static int32_t read_blob(struct pack_state *state, struct decoder *decoder,
                         const struct pack_chunk *chunk, uint8_t *into, struct fault *fault) {
  if (state->shared.access == READ_ANYWHERE) {
    struct reader mine = state->shared;  // several may read at once, each from a copy
    return read_full(&mine, chunk->blob_at, into, (size_t)chunk->blob_size, fault);
  }
  // Opening one more may be a request, so the one that is open is used while nobody else does.
  mutex_lock(&state->lock);
  bool is_mine = !state->is_shared_lent;
  state->is_shared_lent = true;
  mutex_unlock(&state->lock);
  struct reader *reader = is_mine ? &state->shared : &decoder->reader;
  int32_t code = 0;
  if (!is_mine && !decoder->is_open) {
    code = open_reader(state, &decoder->reader, fault);
    decoder->is_open = code == 0;
  }
  if (code == 0) code = read_full(reader, chunk->blob_at, into, (size_t)chunk->blob_size, fault);
  if (is_mine) {
    mutex_lock(&state->lock);
    state->is_shared_lent = false;
    mutex_unlock(&state->lock);
  }
  return code;
}

// One of the places where the dictionary is.
static int32_t read_dictionary(struct pack_state *state, struct decoder *decoder,
                               const struct pack_place *place, uint8_t **out, size_t *out_size,
                               struct fault *fault) {
  const struct pack_chunk chunk = {.blob_at = place->at, .blob_size = place->size};
  uint64_t size = 0;
  *out = nullptr;
  if (place->size > PACK_CHUNK_MAX)
    return fault_set(fault, COPSE_E_LIMIT, "the pack's dictionary is too large");
  int32_t code = frame_room(&decoder->blob, &decoder->blob_capacity, place->size, fault);
  if (code == 0) code = read_blob(state, decoder, &chunk, decoder->blob, fault);
  span frame = {decoder->blob, (size_t)place->size};
  struct unpacker *unpacker = code == 0 ? unpacker_new() : nullptr;
  if (code == 0)
    code = unpacker ? frame_open(unpacker, frame, PACK_CHUNK_MAX, out, &size, fault)
                    : no_memory(fault);
  unpacker_free(unpacker);
  *out_size = (size_t)size;
  if (code < 0 || size > 0) return code;
  free(*out);
  *out = nullptr;
  return fault_set(fault, COPSE_E_CORRUPT, "damaged: the dictionary is empty");
}

// Read once, by whoever needs it first; the second one when the first is damaged.
static int32_t need_dictionary(struct pack_state *state, struct decoder *decoder, span *out,
                               struct fault *fault) {
  mutex_lock(&state->lock);
  *out = (span){state->dictionary, state->dictionary_size};
  mutex_unlock(&state->lock);
  int32_t code = 0;
  for (size_t i = 0; i < state->index.dictionaries_count && !out->size; i++) {
    uint8_t *bytes;
    size_t size;
    struct fault damage = {};
    code = read_dictionary(state, decoder, &state->index.dictionaries[i], &bytes, &size, &damage);
    if (code < 0) {
      *fault = damage;
      continue;
    }
    mutex_lock(&state->lock);
    if (!state->dictionary) {
      state->dictionary = bytes;
      state->dictionary_size = size;
      bytes = nullptr;
    }
    *out = (span){state->dictionary, state->dictionary_size};
    mutex_unlock(&state->lock);
    free(bytes);
  }
  return out->size || !state->index.dictionaries_count ? 0 : code;
}

static int32_t make_unpacker(struct pack_state *state, struct decoder *decoder,
                             struct fault *fault) {
  span dictionary;
  int32_t code = need_dictionary(state, decoder, &dictionary, fault);
  if (code < 0) return code;
  struct unpacker *unpacker = unpacker_new();
  if (!unpacker) return no_memory(fault);
  if (dictionary.size && !unpacker_use(unpacker, dictionary)) {
    unpacker_free(unpacker);
    return fault_set(fault, COPSE_E_CORRUPT, "damaged: the dictionary is none");
  }
  decoder->unpacker = unpacker;
  return 0;
}

static int32_t unframe(struct pack_state *state, struct decoder *decoder,
                       const struct pack_chunk *chunk, struct fault *fault) {
  uint64_t said, size = chunk->group_size;
  if (size / EXPANSION_MAX > chunk->blob_size)
    return fault_set(fault, COPSE_E_CORRUPT, "damaged: it says more bytes than its frame can hold");
  // Before the blob, whose room it uses.
  int32_t code = decoder->unpacker ? 0 : make_unpacker(state, decoder, fault);
  if (code == 0)
    code = frame_room(&decoder->blob, &decoder->blob_capacity, chunk->blob_size, fault);
  if (code == 0) code = read_blob(state, decoder, chunk, decoder->blob, fault);
  span frame = {decoder->blob, (size_t)chunk->blob_size};
  if (code == 0) code = frame_size(frame, &said, fault);
  if (code == 0 && said != size)
    code = fault_set(fault, COPSE_E_CORRUPT, "damaged: a frame and the index say different sizes");
  // One byte more than nothing, so that there is always something to point to.
  if (code == 0) code = frame_room(&decoder->plain, &decoder->plain_capacity, size + 1, fault);
  return code < 0 ? code : frame_read(decoder->unpacker, frame, decoder->plain, size, fault);
}

// What the chunk's blob holds is in `plain` after it, proved.
static int32_t decode(struct pack_state *state, struct decoder *decoder,
                      const struct pack_chunk *chunk, struct fault *fault) {
  if (decoder->holds && is_same_blob(&state->index, decoder->holds, chunk)) return 0;
  decoder->holds = nullptr;
  int32_t code;
  if (chunk->is_frame) {
    code = unframe(state, decoder, chunk, fault);
  } else {
    code = frame_room(&decoder->plain, &decoder->plain_capacity, chunk->group_size + 1, fault);
    if (code == 0) code = read_blob(state, decoder, chunk, decoder->plain, fault);
  }
  if (code < 0) return code;
  uint8_t digest[HASH_BYTES];
  hash_of((span){decoder->plain, (size_t)chunk->group_size}, digest);
  if (chunk->checksum && memcmp(digest, chunk->checksum, state->index.checksum) != 0)
    return fault_set(fault, COPSE_E_CORRUPT, "damaged: its BLAKE3 is not the one in the index");
  decoder->holds = chunk;
  return 0;
}

// ── For who makes another pack of it ──

int32_t pack_index_of(struct store *store, const struct pack_index **out, struct fault *fault) {
  int32_t code = loaded(store, fault);
  *out = &state_of(store)->index;
  return code;
}

int32_t pack_dictionary_of(struct store *store, span *out, struct fault *fault) {
  struct decoder *decoder = calloc(1, sizeof *decoder);
  if (!decoder) return no_memory(fault);
  int32_t code = need_dictionary(state_of(store), decoder, out, fault);
  decoder_free(decoder);
  return code;
}

int32_t pack_take_blob(struct store *store, const struct pack_chunk *chunk, struct proved *out,
                       struct fault *fault) {
  struct pack_state *state = state_of(store);
  *out = (struct proved){.decoder = decoder_take(state, chunk)};
  if (!out->decoder) return no_memory(fault);
  out->decoder->holds = nullptr;  // its stored bytes are wanted, too
  int32_t code = decode(state, out->decoder, chunk, fault);
  const uint8_t *bytes = chunk->is_frame ? out->decoder->blob : out->decoder->plain;
  out->blob = (span){bytes, (size_t)chunk->blob_size};
  out->content = (span){out->decoder->plain, (size_t)chunk->group_size};
  return code;
}

void pack_proved_end(struct store *store, struct proved *proved) {
  if (proved->decoder) decoder_give(state_of(store), proved->decoder);
}

// ── Opening ──

static void pack_close(struct store *store) {
  struct pack_state *state = state_of(store);
  while (state->idle) {
    struct decoder *decoder = state->idle;
    state->idle = decoder->next;
    decoder_free(decoder);
  }
  if (state->is_shared_open) state->inner.ops->read_end(&state->shared);
  if (state->above) state->inner.ops->leave(state->above);
  store_close(&state->inner);
  pack_index_free(&state->index);
  free(state->tail);
  free(state->dictionary);
  arena_free(&state->arena);
  mutex_end(&state->lock);
  free(state);
}

static int32_t pack_open(struct store *store, const struct place *place, struct fault *fault) {
  uint64_t flags = record_number(place->record, COPSE_PLACE_PACK_FLAGS, 0);
  if (place->inner.size == 0 && !(flags & COPSE_PACK_FLAGS_POURS))
    return fault_set(fault, COPSE_E_ARGUMENT,
                     "a pack place needs the place of its file: pack:FILE");
  if (record_number(place->record, COPSE_PLACE_PACK_NEW, 0)) {
    store->ops = &pack_new_store;
    store->can = pack_new_store.can;
    return pack_new_open(store, place, fault);
  }
  int32_t code = path_safe(place->path, fault);
  if (code < 0) return code;
  struct pack_state *state = calloc(1, sizeof *state);
  if (!state) return no_memory(fault);
  span request = {store->task->request, store->task->request_len};
  state->sub = place->path;
  state->entries_max = record_number(request, COPSE_KEY_LIMIT_ENTRIES, UINT64_MAX);
  state->repairs = record_number(place->record, COPSE_PLACE_PACK_REPAIR, 0) != 0;
  code = store_open_in(&state->inner, place->inner, place->above, store->task, fault);
  if (code < 0) {
    free(state);
    return code;
  }
  mutex_begin(&state->lock);
  arena_begin(&state->arena);
  arena_begin(&state->index.arena);
  store->state = state;
  if (store->shown.size == 0) store->shown = state->inner.shown;
  return 0;
}

// ── Directories ──

static struct paths paths_of(const struct store *store) {
  return (struct paths){(const uint8_t *)state_of(store)->index.items, sizeof(struct pack_item)};
}

static struct pack_directory *directory_new(struct store *store, size_t begin, size_t end,
                                            size_t prefix) {
  struct pack_directory *directory = malloc(sizeof *directory);
  if (directory)
    *directory =
        (struct pack_directory){.base.store = store, .begin = begin, .end = end, .prefix = prefix};
  return directory;
}

// The items of the tree's root, without the one that tells of the root itself.
static struct pack_directory whole_of(struct store *store) {
  const struct pack_index *index = &state_of(store)->index;
  bool has_root = index->count && index->items[0].path.size == 0;
  return (struct pack_directory){.base.store = store, .begin = has_root, .end = index->count};
}

// What has a name in a directory: an item of its own (nullptr: a directory that only the paths
// below it tell of), and the items below it.
struct found {
  const struct pack_item *item;
  size_t begin, end;
};

static bool find_name(const struct pack_directory *directory, span name, struct found *out) {
  struct store *store = directory->base.store;
  struct paths paths = paths_of(store);
  bool is_part;
  if (!paths_find(&paths, directory->begin, directory->end, directory->prefix, name, &out->begin,
                  &out->end, &is_part))
    return false;
  out->item = is_part ? nullptr : &state_of(store)->index.items[out->begin];
  if (out->item) out->begin++;
  return true;
}

static enum entry_type type_of(const struct found *found) {
  return found->item ? found->item->type : ENTRY_DIRECTORY;
}

static void fill(struct entry *entry, span name, const struct pack_item *item,
                 const struct pack_index *index) {
  *entry =
      (struct entry){.name = name, .type = ENTRY_DIRECTORY, .mtime_ns = INT64_MIN, .has = HAS_STAT};
  if (!item) return;
  entry->type = item->type;
  entry->size = item->type == ENTRY_DIRECTORY ? 0 : item->size;
  entry->mtime_ns = item->mtime_ns;
  entry->mode = item->mode & 07777 ? item->mode : 0;
  if (item->type == ENTRY_LINK) {
    entry->target = item->target;
    entry->has |= HAS_TARGET;
  }
  if (item->type != ENTRY_FILE) return;
  entry->has |= HAS_SIZE;
  if (item->twins) {
    entry->inode = item->twins;
    entry->has |= HAS_LINKED;
  }
  const struct pack_chunk *chunk = &index->chunks[item->first];
  bool is_whole = item->count == 1 && chunk->size == chunk->group_size;
  if (!is_whole || !chunk->checksum || index->checksum != HASH_BYTES) return;
  entry->digest = chunk->checksum;
  entry->has |= HAS_DIGEST;
}

static int32_t find_below(struct store *store, span path, struct arena *arena, struct entry *out,
                          struct directory **parent, struct found *found, struct fault *fault) {
  struct pack_directory at = whole_of(store), above = at;
  span rest = path, part;
  *found = (struct found){.begin = at.begin, .end = at.end};
  while (path_next(&rest, &part)) {
    if (type_of(found) != ENTRY_DIRECTORY || !find_name(&at, part, found)) return not_found(fault);
    above = at;
    at.begin = found->begin;
    at.end = found->end;
    at.prefix += part.size + 1;
  }
  span name = arena_copy(arena, path_name(path));
  struct pack_directory *made = directory_new(store, above.begin, above.end, above.prefix);
  if (!made || !name.at) {
    free(made);
    return no_memory(fault);
  }
  fill(out, name, found->item, &state_of(store)->index);
  *parent = &made->base;
  return 0;
}

static int32_t pack_enter(struct directory *parent, const struct entry *entry,
                          struct directory **out, struct fault *fault) {
  const struct pack_directory *above = (struct pack_directory *)parent;
  struct found found;
  if (!find_name(above, entry->name, &found) || type_of(&found) != ENTRY_DIRECTORY)
    return not_found(fault);
  struct pack_directory *made =
      directory_new(parent->store, found.begin, found.end, above->prefix + entry->name.size + 1);
  if (!made) return no_memory(fault);
  *out = &made->base;
  return 0;
}

static void pack_leave(struct directory *directory) { free(directory); }
static int32_t pack_hold(struct directory *, struct fault *) { return 0; }
static void pack_drop(struct directory *) {}

static int32_t pack_root(struct store *store, struct arena *arena, struct entry *out,
                         struct directory **directory, struct fault *fault) {
  int32_t code = loaded(store, fault);
  if (code < 0) return code;
  const struct pack_index *index = &state_of(store)->index;
  span sub = state_of(store)->sub;
  if (sub.size == 0) {
    struct pack_directory whole = whole_of(store);
    struct pack_directory *made = directory_new(store, whole.begin, whole.end, 0);
    if (!made) return no_memory(fault);
    fill(out, SPAN(""), whole.begin ? &index->items[0] : nullptr, index);
    *directory = &made->base;
    return 0;
  }
  struct directory *parent;
  struct found found;
  code = find_below(store, sub, arena, out, &parent, &found, fault);
  if (code < 0 || out->type != ENTRY_DIRECTORY) {
    if (code == 0) *directory = parent;
    return code;
  }
  code = pack_enter(parent, out, directory, fault);
  pack_leave(parent);
  return code;
}

static int32_t pack_find(struct store *store, span path, struct arena *arena, struct entry *out,
                         struct directory **parent, struct fault *fault) {
  int32_t code = loaded(store, fault);
  if (code < 0) return code;
  struct found found;
  span sub = state_of(store)->sub;
  if (sub.size == 0) return find_below(store, path, arena, out, parent, &found, fault);
  uint8_t *whole = arena_take_bytes(arena, sub.size + 1 + path.size);
  if (!whole) return no_memory(fault);
  memcpy(whole, sub.at, sub.size);
  whole[sub.size] = '/';
  memcpy(whole + sub.size + 1, path.at, path.size);
  span joined = {whole, sub.size + 1 + path.size};
  return find_below(store, joined, arena, out, parent, &found, fault);
}

static int32_t pack_list(struct directory *base, struct listing *listing, struct fault *fault) {
  const struct pack_directory *directory = (struct pack_directory *)base;
  const struct pack_index *index = &state_of(base->store)->index;
  struct paths paths = paths_of(base->store);
  for (size_t i = directory->begin; i < directory->end;) {
    bool is_part;
    span name = paths_name(&paths, i, directory->prefix, &is_part);
    struct found found;
    find_name(directory, name, &found);
    struct entry *entry = listing_add(listing, name, type_of(&found), fault);
    if (!entry) return fault->code;
    fill(entry, entry->name, found.item, index);
    i = found.end;
  }
  // What is refused is told of where the tree begins.
  span sub = state_of(base->store)->sub;
  bool is_root = directory->prefix == (sub.size ? sub.size + 1 : 0);
  for (size_t i = 0; is_root && i < index->refused_count; i++)
    if (!listing_add(listing, index->refused[i].path, ENTRY_NONE, fault)) return fault->code;
  return 0;
}

static int32_t tell_refused(const struct pack_index *index, span name, struct fault *fault) {
  for (size_t i = 0; i < index->refused_count; i++)
    if (span_equal(index->refused[i].path, name))
      return pack_refused_fault(&index->refused[i], fault);
  return not_found(fault);
}

static int32_t pack_stat(struct directory *base, struct entry *entry, bool follow,
                         struct fault *fault) {
  struct found found;
  if (entry->type == ENTRY_NONE && !(entry->has & HAS_FOLLOWED))
    return tell_refused(&state_of(base->store)->index, entry->name, fault);
  if (!find_name((struct pack_directory *)base, entry->name, &found)) return not_found(fault);
  if (follow && type_of(&found) == ENTRY_LINK)
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "links in a pack are not followed; use links: keep or skip");
  fill(entry, entry->name, found.item, &state_of(base->store)->index);
  return 0;
}

static int32_t pack_target(struct directory *base, struct entry *entry, struct arena *arena,
                           struct fault *fault) {
  struct found found;
  if (!find_name((struct pack_directory *)base, entry->name, &found)) return not_found(fault);
  if (type_of(&found) != ENTRY_LINK) return no_links(fault);
  entry->target = arena_copy(arena, found.item->target);
  if (!entry->target.at) return no_memory(fault);
  entry->has |= HAS_TARGET;
  return 0;
}

static void pack_filing(struct directory *base, const struct entry *entry, struct filing *out) {
  const struct pack_index *index = &state_of(base->store)->index;
  struct found found;
  if (!index->kinds || !find_name((struct pack_directory *)base, entry->name, &found)) return;
  if (type_of(&found) != ENTRY_FILE || found.item->kind == NO_KIND) return;
  const struct pack_kind *kind = &index->kinds[found.item->kind];
  *out = (struct filing){.has_type = !kind->is_lost,
                         .type = kind->type,
                         .origin = kind->repo,
                         .kind = kind,
                         .row = found.item->row};
}

// Names and values of what plugins found, a name before each value.
static int32_t pack_columns(struct directory *base, const struct entry *entry, struct arena *arena,
                            span *out, struct fault *fault) {
  const struct pack_index *index = &state_of(base->store)->index;
  struct found found;
  *out = (span){};
  if (!find_name((struct pack_directory *)base, entry->name, &found)) return not_found(fault);
  if (type_of(&found) != ENTRY_FILE || !index->kinds || found.item->kind == NO_KIND) return 0;
  const struct pack_kind *kind = &index->kinds[found.item->kind];
  struct record_writer writer = {};
  for (int turn = 0; turn < 2; turn++) {  // how much, and then what
    for (size_t i = 0; i < kind->columns_count; i++) {
      const struct arrow_column *column = &kind->columns[i];
      uint64_t row = found.item->row;
      if (arrow_is_null(column, row)) continue;
      record_put_text(&writer, COPSE_DETAIL_COLUMN, column->name);
      if (column->type == ARROW_UTF8)
        record_put_text(&writer, COPSE_DETAIL_COLUMN_TEXT, arrow_text(column, row));
      else
        record_put_number(&writer, COPSE_DETAIL_COLUMN_NUMBER, arrow_number(column, row));
    }
    if (writer.at || writer.size == 0) break;
    writer =
        (struct record_writer){.at = arena_take_bytes(arena, writer.size), .capacity = writer.size};
    if (!writer.at) return no_memory(fault);
  }
  *out = (span){writer.at, writer.size};
  return 0;
}

static int32_t pack_attributes(struct directory *, const struct entry *, struct arena *, span *,
                               struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "a pack has no extended attributes");
}

// ── Reading ──

static int32_t pack_reader_open(struct directory *base, const struct entry *entry,
                                struct reader *out, struct fault *fault) {
  struct found found;
  if (!find_name((struct pack_directory *)base, entry->name, &found)) return not_found(fault);
  if (type_of(&found) != ENTRY_FILE)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "only files have content");
  struct pack_reader *reader = malloc(sizeof *reader);
  if (!reader) return no_memory(fault);
  *reader = (struct pack_reader){.item = found.item, .chunk = SIZE_MAX};
  *out = (struct reader){.store = base->store, .access = READ_SINGLE, .fd = -1, .slot = {reader}};
  return 0;
}

// The chunk that holds the byte.
static size_t chunk_of(const struct pack_index *index, const struct pack_item *item, uint64_t at) {
  size_t low = item->first, high = item->first + item->count;
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    if (index->chunks[middle].at <= at)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static int64_t pack_lend(struct reader *base, uint64_t at, size_t size, const uint8_t **out,
                         struct fault *fault) {
  struct pack_state *state = state_of(base->store);
  struct pack_reader *reader = base->slot[0];
  const struct pack_item *item = reader->item;
  // Of an empty file too the stored bytes are proved.
  if (at >= item->size && item->size > 0) {
    base->at_end = true;
    return 0;
  }
  size_t number = chunk_of(&state->index, item, at);
  const struct pack_chunk *chunk = &state->index.chunks[number];
  if (reader->chunk != number) {
    if (task_cancelled(base->store->task))
      return fault_set(fault, COPSE_E_CANCELLED, "cancelled while reading");
    if (!reader->decoder) reader->decoder = decoder_take(state, chunk);
    if (!reader->decoder) return no_memory(fault);
    reader->chunk = SIZE_MAX;
    int32_t code = decode(state, reader->decoder, chunk, fault);
    if (code < 0) fault->part = (uint32_t)(number - item->first) + 1;
    // We write no others: what looks like one is damage.
    if (code == COPSE_E_UNSUPPORTED && state->index.is_ours) code = fault->code = COPSE_E_CORRUPT;
    if (code < 0) return code;
    reader->chunk = number;
  }
  uint64_t within = at - chunk->at, left = at < item->size ? chunk->size - within : 0;
  size_t count = left < size ? (size_t)left : size;
  *out = reader->decoder->plain + chunk->group_at + within;
  base->at_end = at + count >= item->size;
  return (int64_t)count;
}

static int64_t pack_read(struct reader *base, uint64_t at, uint8_t *into, size_t size,
                         struct fault *fault) {
  const uint8_t *bytes;
  int64_t got = pack_lend(base, at, size, &bytes, fault);
  if (got > 0) memcpy(into, bytes, (size_t)got);
  return got;
}

// Where the file is at hand; from afar each reader would be a connection.
static uint64_t pack_piece(const struct reader *base, uint64_t at, uint64_t *held) {
  const struct pack_state *state = state_of(base->store);
  const struct pack_reader *reader = base->slot[0];
  if (state->shared.access != READ_ANYWHERE || at >= reader->item->size) return 0;
  const struct pack_chunk *chunk = &state->index.chunks[chunk_of(&state->index, reader->item, at)];
  *held = chunk->group_size + (chunk->is_frame ? chunk->blob_size : 0);
  return chunk->at + chunk->size;
}

static void pack_read_end(struct reader *base) {
  struct pack_reader *reader = base->slot[0];
  if (reader->decoder) decoder_give(state_of(base->store), reader->decoder);
  free(reader);
  base->slot[0] = nullptr;
}

static int32_t pack_measure(struct reader *base, struct entry *out, bool *holes, struct fault *) {
  const struct pack_reader *reader = base->slot[0];
  fill(out, out->name, reader->item, &state_of(base->store)->index);
  if (holes) *holes = false;
  return 0;
}

// The copies of the index, which nothing else looks at.
static int32_t pack_prove(struct store *store, struct fault *fault) {
  struct pack_state *state = state_of(store);
  const struct pack_index *index = &state->index;
  int32_t code = 0;
  for (size_t i = 0; i < index->copies_count && code == 0; i++) {
    const struct pack_place *place = &index->copies[i];
    if (task_cancelled(store->task)) return 0;
    uint8_t *bytes = malloc((size_t)place->size + 1);
    if (!bytes) return no_memory(fault);
    struct copy_head head = {.at = place->at, .size = place->size};
    code = read_full(&state->shared, place->at, bytes, (size_t)place->size, fault);
    if (code == 0) code = copy_check((span){bytes, (size_t)place->size}, &head, fault);
    free(bytes);
  }
  struct decoder decoder = {};
  for (size_t i = 0; i < index->dictionaries_count && code == 0; i++) {
    uint8_t *bytes;
    size_t size;
    code = read_dictionary(state, &decoder, &index->dictionaries[i], &bytes, &size, fault);
    free(bytes);
  }
  if (decoder.is_open) decoder.reader.store->ops->read_end(&decoder.reader);
  free(decoder.blob);
  return code;
}

// Who verifies is told what a signature of the pack holds, who repairs what came back without its
// name.
static void pack_report(const struct store *store, struct record_writer *out) {
  const struct pack_state *state = state_of(store);
  span request = {store->task->request, store->task->request_len};
  bool verifies = record_number(request, COPSE_KEY_VERB, 0) == COPSE_VERB_VERIFY;
  if (state->index.is_ours && verifies)
    record_put_text(out, COPSE_DETAIL_PACK_INDEX, (span){state->index.hash, HASH_BYTES});
  if (!state->recovered.folder.at) return;
  record_put_number(out, COPSE_DETAIL_PACK_NUMBERED, state->recovered.numbered);
  record_put_text(out, COPSE_DETAIL_PACK_NUMBERED_IN, state->recovered.folder);
  if (state->recovered.lost_kinds) record_put_number(out, COPSE_DETAIL_PACK_LOST_KINDS, 1);
}

const struct store_ops pack_store = {
    .scheme = "pack",
    .can = CAN_LIST | CAN_RANGE | CAN_LINKS | CAN_MODE | CAN_MTIME | CAN_DIGEST,
    .library = "zstd",
    .version = frame_version,
    .open = pack_open,
    .close = pack_close,
    .root = pack_root,
    .find = pack_find,
    .enter = pack_enter,
    .leave = pack_leave,
    .hold = pack_hold,
    .drop = pack_drop,
    .list = pack_list,
    .stat = pack_stat,
    .target = pack_target,
    .filing = pack_filing,
    .columns = pack_columns,
    .attributes = pack_attributes,
    .reader = pack_reader_open,
    .read = pack_read,
    .piece = pack_piece,
    .lend = pack_lend,
    .read_end = pack_read_end,
    .measure = pack_measure,
    .prove = pack_prove,
    .report = pack_report,
};
