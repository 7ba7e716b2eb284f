#include "store/pack_index.h"

#include <stdlib.h>

#include "store/pack_arrow.h"
#include "store/pack_extension.h"
#include "store/pack_frame.h"
#include "store/pack_rows.h"

constexpr uint64_t ENTRIES_OF_MANIFEST = 1 << 16;

static int32_t corrupt(struct fault *fault, const char *what) {
  return fault_set(fault, COPSE_E_CORRUPT, "the index of the pack is damaged: %s", what);
}

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while reading the index of a pack");
}

static uint64_t load64(const uint8_t *at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

// ── Trailer and manifest ──

static bool begins_as_pack(span head) {
  static const uint8_t frame[4] = {0xd9, 0xa5, 0xb1, 0xd7}, stream[4] = {0xff, 0xff, 0xff, 0xff};
  return head.size >= 4 && (memcmp(head.at, frame, 4) == 0 || memcmp(head.at, stream, 4) == 0);
}

bool pack_has_trailer(span last) {
  return last.size == PACK_TRAILER &&
         (memcmp(last.at, "ZNPYMIDX", 8) == 0 || memcmp(last.at, "COPSEIDX", 8) == 0);
}

uint64_t pack_old(span last, uint64_t size) {
  if (last.size < 8) return size;
  uint64_t at = load64(last.at + last.size - 8);
  return at < size - 8 ? at : size;
}

// The beginning of a stream: a message with a plausible length.
static bool begins_stream(span old, uint64_t size) {
  if (old.size < 8 || (load64(old.at) & UINT32_MAX) != UINT32_MAX) return false;
  uint64_t length = load64(old.at) >> 32;
  return length > 0 && length % 8 == 0 && length < size;
}

int32_t pack_trailer(span last, uint64_t size, span head, span old, uint64_t *manifest,
                     bool *is_native, struct fault *fault) {
  if (pack_has_trailer(last)) {
    *is_native = last.at[0] == 'C';
    *manifest = load64(last.at + 8);
    if (*manifest > size - PACK_TRAILER)
      return corrupt(fault, "its trailer names a place outside of the file");
    return 0;
  }
  if (begins_stream(old, size))
    return fault_set(fault, COPSE_E_UNSUPPORTED,
                     "this is a pack of version 0.6, which is not read: pack it again");
  if (begins_as_pack(head))
    return fault_set(fault, COPSE_E_CORRUPT,
                     "the pack is truncated, or something was added at its end");
  return fault_set(fault, COPSE_E_UNSUPPORTED,
                   "this is no pack, or one whose end is missing; check the file");
}

struct entry_of_manifest {
  uint64_t at, size, rows;
  struct pack_kind kind;
};

// Calls back for each sub-index that is to be read.
struct manifest {
  struct arrow arrow;
  const struct arrow_column *type, *repo, *module, *at, *size, *rows;
};

static int32_t manifest_read(span bytes, struct manifest *out, struct fault *fault) {
  int32_t code = arrow_read(bytes, &out->arrow, fault);
  const struct arrow *arrow = &out->arrow;
  // Nobody needs these two but who makes another pack of it.
  out->type = code == 0 ? arrow_optional(arrow, "pkg_type", ARROW_INT8) : nullptr;
  out->repo = code == 0 ? arrow_optional(arrow, "repo", ARROW_UTF8) : nullptr;
  if (code == 0) code = arrow_find(arrow, "module_name", ARROW_UTF8, 0, &out->module, fault);
  if (code == 0) code = arrow_find(arrow, "index_offset", ARROW_UINT64, 0, &out->at, fault);
  if (code == 0) code = arrow_find(arrow, "index_len", ARROW_UINT64, 0, &out->size, fault);
  if (code == 0) code = arrow_find(arrow, "row_count", ARROW_UINT64, 0, &out->rows, fault);
  if (code == 0 && arrow->rows > ENTRIES_OF_MANIFEST)
    code = fault_set(fault, COPSE_E_LIMIT, "the pack has more than %llu indexes",
                     (unsigned long long)ENTRIES_OF_MANIFEST);
  return code;
}

// Entries of a module are reserved by later versions. False: not one of ours.
static bool manifest_entry(const struct manifest *manifest, uint64_t row,
                           struct entry_of_manifest *out) {
  if (arrow_text(manifest->module, row).size) return false;
  *out = (struct entry_of_manifest){.at = arrow_number(manifest->at, row),
                                    .size = arrow_number(manifest->size, row),
                                    .rows = arrow_number(manifest->rows, row)};
  if (manifest->type) out->kind.type = (uint8_t)(arrow_number(manifest->type, row) & 127);
  if (manifest->repo) out->kind.repo = arrow_text(manifest->repo, row);
  return true;
}

int32_t pack_first(span bytes, uint64_t manifest_at, uint64_t *first, struct fault *fault) {
  struct manifest manifest;
  int32_t code = manifest_read(bytes, &manifest, fault);
  if (code < 0) return code;
  *first = manifest_at;
  for (uint64_t row = 0; row < manifest.arrow.rows; row++) {
    struct entry_of_manifest entry;
    if (!manifest_entry(&manifest, row, &entry)) continue;
    if (entry.at > manifest_at || entry.size > manifest_at - entry.at)
      return corrupt(fault, "rows lie outside of the file");
    if (entry.at < *first) *first = entry.at;
  }
  return 0;
}

int32_t pack_refused_fault(const struct pack_refused *refused, struct fault *fault) {
  if (refused->is_through)
    return fault_set(fault, COPSE_E_UNSAFE_PATH,
                     "its path goes through an entry that is no directory: not used");
  if (refused->path.size == 0)
    return fault_set(fault, COPSE_E_UNSAFE_PATH, "an entry without a name is not used");
  return fault_set(fault, COPSE_E_UNSAFE_PATH,
                   "a name that leads out of the tree, or cannot be one, is not used");
}

// ── What blobs and copies take up ──

static int by_place(const void *left, const void *right) {
  const struct pack_place *l = left, *r = right;
  if (l->at != r->at) return l->at < r->at ? -1 : 1;
  return l->size < r->size ? -1 : l->size > r->size;
}

int32_t pack_taken(const struct pack_index *index, struct pack_place **out, size_t *count,
                   struct fault *fault) {
  size_t all = index->chunks_count + index->copies_count + index->dictionaries_count;
  struct pack_place *places = malloc((all ? all : 1) * sizeof *places);
  if (!places) return no_memory(fault);
  for (size_t i = 0; i < index->chunks_count; i++)
    places[i] = (struct pack_place){index->chunks[i].blob_at, index->chunks[i].blob_size};
  for (size_t i = 0; i < index->copies_count; i++)
    places[index->chunks_count + i] = index->copies[i];
  for (size_t i = 0; i < index->dictionaries_count; i++)
    places[all - 1 - i] = index->dictionaries[i];
  qsort(places, all, sizeof *places, by_place);
  *out = places;
  *count = all;
  return 0;
}

// In a pack of ours every byte before the index is of a blob or copy, so that none can change
// unseen.
static int32_t check_cover(const struct pack_index *index, struct fault *fault) {
  struct pack_place *places;
  size_t count;
  int32_t code = pack_taken(index, &places, &count, fault);
  if (code < 0) return code;
  uint64_t end = 0;
  bool is_whole = true;
  for (size_t i = 0; i < count; i++) {
    if (places[i].at > end) is_whole = false;
    if (places[i].at + places[i].size > end) end = places[i].at + places[i].size;
  }
  free(places);
  return is_whole && end == index->begin
             ? 0
             : corrupt(fault, "bytes before it belong to no file: something was added");
}

// ── All of it ──

// The stream of a sub-index, which in packs of our own format is in a frame.
static int32_t unpacked(struct pack_index *index, span *stream, struct fault *fault) {
  if (!index->is_native) return 0;
  uint64_t size;
  int32_t code = frame_size(*stream, &size, fault);
  if (code < 0) return code;
  if (size > PACK_INDEX_MAX || size / EXPANSION_MAX > stream->size)
    return corrupt(fault, "it says more bytes than its frame can hold");
  uint8_t *plain = arena_take_bytes(&index->arena, (size_t)size + 1);
  struct unpacker *unpacker = plain ? unpacker_new() : nullptr;
  if (!unpacker) return no_memory(fault);
  code = frame_read(unpacker, *stream, plain, size, fault);
  unpacker_free(unpacker);
  *stream = (span){plain, (size_t)size};
  return code;
}

static int32_t keep_kind(struct pack_index *index, size_t i, const struct pack_kind *kind,
                         const struct arrow *arrow, struct fault *fault) {
  struct pack_kind *kept = &index->kinds[i];
  *kept = (struct pack_kind){.type = kind->type, .repo = arena_copy(&index->arena, kind->repo)};
  return kept->repo.at ? rows_columns(index, arrow, kept, fault) : no_memory(fault);
}

static int32_t read_all(struct pack_index *index, span tail, uint64_t manifest_at,
                        uint64_t entries_max, struct rows *rows, struct fault *fault) {
  span manifest_bytes = {tail.at + (manifest_at - index->begin),
                         tail.size - (size_t)(manifest_at - index->begin)};
  struct manifest manifest;
  int32_t code = manifest_read(manifest_bytes, &manifest, fault);
  uint64_t end = index->begin;  // of the sub-indexes
  if (code == 0) {
    size_t kinds = (size_t)manifest.arrow.rows;
    index->kinds = calloc(kinds ? kinds : 1, sizeof *index->kinds);
    if (!index->kinds) code = no_memory(fault);
  }
  for (uint64_t i = 0; code == 0 && i < manifest.arrow.rows; i++) {
    struct entry_of_manifest entry;
    if (!manifest_entry(&manifest, i, &entry)) continue;
    // pack_first has looked at where they are.
    span stream = {tail.at + (entry.at - index->begin), (size_t)entry.size};
    struct arrow arrow;
    code = unpacked(index, &stream, fault);
    if (code == 0) code = arrow_read(stream, &arrow, fault);
    if (code == 0 && arrow.rows != entry.rows)
      code = corrupt(fault, "it has more or fewer rows than its manifest says");
    if (code == 0 && arrow.rows > entries_max - rows->count)
      code = fault_set(fault, COPSE_E_LIMIT, "the pack has more rows than limits.entries (%llu)",
                       (unsigned long long)entries_max);
    if (code == 0) code = keep_kind(index, (size_t)i, &entry.kind, &arrow, fault);
    if (code == 0) code = rows_read(rows, &arrow, HASH_BYTES, index->begin, (uint32_t)i, fault);
    if (code == 0 && index->is_native) code = rows_dictionary(index, &arrow, index->begin, fault);
    if (code < 0) break;
    if (entry.at + entry.size > end) end = entry.at + entry.size;
    index->is_ours |= index->is_native || arrow_metadata(&arrow, "copse_ext").at != nullptr;
  }
  if (code < 0) return code;
  span between = {tail.at + (end - index->begin), (size_t)(manifest_at - end)};
  index->is_ours |= extension_is(between);
  span records = {};
  uint32_t count = 0;
  if (index->is_ours)
    code = extension_check(between, (span){tail.at, (size_t)(end - index->begin)}, manifest_bytes,
                           &records, &count, fault);
  if (code == 0 && index->is_ours)
    memcpy(index->hash, between.at + between.size - HASH_BYTES, HASH_BYTES);
  if (code == 0 && count > records.size) code = corrupt(fault, "its extension has too few records");
  if (code == 0 && count > entries_max - rows->count)
    code = fault_set(fault, COPSE_E_LIMIT, "the pack has more entries than limits.entries (%llu)",
                     (unsigned long long)entries_max);
  if (code == 0) code = rows_build(index, rows, records, count, fault);
  if (code == 0 && index->is_ours) code = check_cover(index, fault);
  return code;
}

int32_t pack_index_read(struct pack_index *index, span tail, uint64_t first, uint64_t manifest_at,
                        bool is_native, uint64_t entries_max, struct fault *fault) {
  *index = (struct pack_index){.begin = first, .checksum = HASH_BYTES, .is_native = is_native};
  arena_begin(&index->arena);
  struct rows rows = {};
  int32_t code = read_all(index, tail, manifest_at, entries_max, &rows, fault);
  free(rows.at);
  if (code < 0) pack_index_free(index);
  return code;
}

void pack_index_free(struct pack_index *index) {
  free(index->items);
  free(index->chunks);
  free(index->kinds);
  free(index->refused);
  free(index->copies);
  arena_free(&index->arena);
  *index = (struct pack_index){};
}
