#include "store/pack_index.h"

#include <stdckdint.h>
#include <stdlib.h>

#include "base/path.h"
#include "store/pack_arrow.h"
#include "store/pack_extension.h"
#include "store/paths.h"

constexpr uint32_t KIND_FILE = 0100000, KIND_DIRECTORY = 0040000, KIND_LINK = 0120000;
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
                     struct fault *fault) {
  if (last.size == PACK_TRAILER && memcmp(last.at, "ZNPYMIDX", 8) == 0) {
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
};

// Calls back for each sub-index that is to be read.
struct manifest {
  struct arrow arrow;
  const struct arrow_column *module, *at, *size, *rows;
};

static int32_t manifest_read(span bytes, struct manifest *out, struct fault *fault) {
  int32_t code = arrow_read(bytes, &out->arrow, fault);
  const struct arrow *arrow = &out->arrow;
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
  *out =
      (struct entry_of_manifest){arrow_number(manifest->at, row), arrow_number(manifest->size, row),
                                 arrow_number(manifest->rows, row)};
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

// ── Rows ──

// A row as it is sorted: by path, then by where it is in the file.
struct row {
  span path;
  struct pack_chunk chunk;
  uint32_t number, mode;
  int64_t mtime_ns;
};

static int by_path_and_place(const void *left, const void *right) {
  const struct row *l = left, *r = right;
  int order = paths_order(l->path, r->path);
  if (order) return order;
  if (l->number != r->number) return l->number < r->number ? -1 : 1;
  return 0;
}

struct rows {
  struct row *at;
  size_t count;
};

static int32_t check_row(const struct row *row, uint64_t begin, struct fault *fault) {
  const struct pack_chunk *chunk = &row->chunk;
  uint64_t end, blob_end;
  if (ckd_add(&end, chunk->at, chunk->size) || ckd_add(&blob_end, chunk->blob_at, chunk->blob_size))
    return corrupt(fault, "a row says more bytes than there are numbers");
  if (blob_end > begin) return corrupt(fault, "a row's bytes lie outside of the file");
  if (!chunk->is_frame && chunk->blob_size != chunk->size)
    return corrupt(fault, "a row without compression has two sizes");
  if (chunk->size > PACK_CHUNK_MAX || chunk->blob_size > PACK_CHUNK_MAX + PACK_CHUNK_MAX / 8)
    return fault_set(fault, COPSE_E_LIMIT, "the pack has a chunk of more than %llu bytes",
                     (unsigned long long)PACK_CHUNK_MAX);
  return 0;
}

static bool is_unsafe(span path) {
  struct fault unsafe = {};
  return path.size == 0 || path_safe(path, &unsafe) < 0;
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

static int32_t read_rows(const struct arrow *arrow, uint64_t begin, struct rows *rows,
                         struct fault *fault) {
  const struct arrow_column *path, *number, *at, *is_frame, *size, *blob_at, *blob_size, *checksum;
  int32_t code = arrow_find(arrow, "relative_path", ARROW_UTF8, 0, &path, fault);
  if (code == 0) code = arrow_find(arrow, "chunk_seq", ARROW_UINT32, 0, &number, fault);
  if (code == 0) code = arrow_find(arrow, "fdata_offset", ARROW_UINT64, 0, &at, fault);
  if (code == 0) code = arrow_find(arrow, "compressed", ARROW_BOOL, 0, &is_frame, fault);
  if (code == 0) code = arrow_find(arrow, "uncompressed_size", ARROW_UINT64, 0, &size, fault);
  if (code == 0) code = arrow_find(arrow, "blob_offset", ARROW_UINT64, 0, &blob_at, fault);
  if (code == 0) code = arrow_find(arrow, "blob_size", ARROW_UINT64, 0, &blob_size, fault);
  if (code == 0) code = arrow_find(arrow, "checksum", ARROW_BYTES, HASH_BYTES, &checksum, fault);
  if (code < 0) return code;
  const struct arrow_column *mode = arrow_optional(arrow, "copse_mode", ARROW_UINT32);
  const struct arrow_column *mtime = arrow_optional(arrow, "copse_mtime_ns", ARROW_INT64);
  size_t count = rows->count + (size_t)arrow->rows;
  struct row *more = realloc(rows->at, (count ? count : 1) * sizeof *more);
  if (!more) return no_memory(fault);
  rows->at = more;
  for (uint64_t i = 0; i < arrow->rows; i++) {
    struct row row = {
        .path = arrow_text(path, i),
        .number = (uint32_t)arrow_number(number, i),
        .chunk = {.at = arrow_number(at, i),
                  .size = arrow_number(size, i),
                  .blob_at = arrow_number(blob_at, i),
                  .blob_size = arrow_number(blob_size, i),
                  .checksum = arrow_bytes(checksum, i),
                  .is_frame = arrow_bool(is_frame, i)},
        .mode = mode ? (uint32_t)arrow_number(mode, i) & 07777 : 0,
        .mtime_ns = mtime ? (int64_t)arrow_number(mtime, i) : INT64_MIN,
    };
    code = check_row(&row, begin, fault);
    if (code < 0) return code;
    rows->at[rows->count++] = row;
  }
  return 0;
}

// ── Items ──

static bool copy_text(struct pack_index *index, span from, span *out) {
  *out = arena_copy(&index->arena, from);
  return out->at;
}

static int32_t refuse(struct pack_index *index, span path, bool is_through, struct fault *fault) {
  size_t count = index->refused_count;
  if (count && span_equal(index->refused[count - 1].path, path)) return 0;
  if (count == index->refused_capacity) {
    size_t capacity = count ? count * 2 : 8;
    struct pack_refused *more = realloc(index->refused, capacity * sizeof *more);
    if (!more) return no_memory(fault);
    index->refused = more;
    index->refused_capacity = capacity;
  }
  struct pack_refused *refused = &index->refused[count];
  refused->is_through = is_through;
  if (!copy_text(index, path, &refused->path)) return no_memory(fault);
  index->refused_count++;
  return 0;
}

// Rows of one path, which are sorted, become a file.
static int32_t add_file(struct pack_index *index, const struct row *rows, size_t count,
                        size_t first, struct fault *fault) {
  struct pack_item *item = &index->items[index->count];
  *item = (struct pack_item){.type = ENTRY_FILE,
                             .mode = KIND_FILE | rows->mode,
                             .mtime_ns = rows->mtime_ns,
                             .first = first,
                             .count = count};
  for (size_t i = 0; i < count; i++) {
    const struct pack_chunk *chunk = &rows[i].chunk;
    if (rows[i].number != i || chunk->at != item->size)
      return corrupt(fault, "a file is in it twice, or has chunks that overlap or are missing");
    if (chunk->size == 0 && count > 1) return corrupt(fault, "a file has a chunk without bytes");
    if (ckd_add(&item->size, item->size, chunk->size)) return corrupt(fault, "a file is too large");
    index->chunks[first + i] = *chunk;
  }
  if (is_unsafe(rows->path)) return refuse(index, rows->path, false, fault);
  if (!copy_text(index, rows->path, &item->path)) return no_memory(fault);
  index->count++;
  return 0;
}

static struct pack_item *find_item(struct pack_index *index, size_t count, span path) {
  struct pack_item key = {.path = path};
  return count ? bsearch(&key, index->items, count, sizeof key, paths_compare) : nullptr;
}

// A directory or link of its own, or more about a file that has rows. `files`: how many items came
// from rows; those are sorted.
static int32_t add_record(struct pack_index *index, size_t files,
                          const struct extension_record *record, struct fault *fault) {
  bool is_root = record->path.size == 0 && record->kind == EXTENSION_DIRECTORY;
  if (record->kind == EXTENSION_DIRECTORY || record->kind == EXTENSION_LINK) {
    if (!is_root && is_unsafe(record->path)) return refuse(index, record->path, false, fault);
    bool is_link = record->kind == EXTENSION_LINK;
    if (is_link && (record->target.size == 0 || memchr(record->target.at, 0, record->target.size)))
      return corrupt(fault, "a link without a target");
    struct pack_item *item = &index->items[index->count];
    *item =
        (struct pack_item){.type = is_link ? ENTRY_LINK : ENTRY_DIRECTORY,
                           .mode = (is_link ? KIND_LINK : KIND_DIRECTORY) | (record->mode & 07777),
                           .mtime_ns = record->mtime_ns,
                           .size = is_link ? record->target.size : 0};
    if (!copy_text(index, record->path, &item->path)) return no_memory(fault);
    if (is_link && !copy_text(index, record->target, &item->target)) return no_memory(fault);
    index->count++;
    return 0;
  }
  struct pack_item *item = find_item(index, files, record->path);
  if (!item) return corrupt(fault, "its extension tells of a file that has no rows");
  if (record->kind == EXTENSION_TWIN) {
    struct pack_item *original = find_item(index, files, record->target);
    if (!original || original == item)
      return corrupt(fault, "its extension tells of a file that has no rows");
    if (original->twins == 0) original->twins = (uint32_t)(original - index->items) + 1;
    item->twins = original->twins;
    return 0;
  }
  // Kept aside: the order of the files must stay until all records are read.
  return copy_text(index, record->target, &item->target) ? 0 : no_memory(fault);
}

// No path twice, nothing below what is no directory, no name that leads out.
static int32_t check_tree(struct pack_index *index, struct fault *fault) {
  size_t kept = 0;
  for (size_t i = 0; i < index->count; i++) {
    const struct pack_item *last = kept ? &index->items[kept - 1] : nullptr,
                           *item = &index->items[i];
    if (last && span_equal(last->path, item->path)) return corrupt(fault, "a path is in it twice");
    bool is_below = last && last->type != ENTRY_DIRECTORY && item->path.size > last->path.size &&
                    item->path.at[last->path.size] == '/' &&
                    memcmp(item->path.at, last->path.at, last->path.size) == 0;
    bool is_root = item->path.size == 0 && item->type == ENTRY_DIRECTORY;
    if (is_below || (!is_root && is_unsafe(item->path))) {
      int32_t code = refuse(index, item->path, is_below, fault);
      if (code < 0) return code;
    } else {
      index->items[kept++] = *item;
    }
  }
  index->count = kept;
  return 0;
}

static int by_blob(const void *left, const void *right) {
  const struct pack_chunk *l = *(const struct pack_chunk *const *)left;
  const struct pack_chunk *r = *(const struct pack_chunk *const *)right;
  if (l->blob_at != r->blob_at) return l->blob_at < r->blob_at ? -1 : 1;
  return l->blob_size < r->blob_size ? -1 : l->blob_size > r->blob_size;
}

// In a pack of ours every byte before the index is of a blob, so that none can change unseen.
static int32_t check_cover(const struct pack_index *index, size_t chunks, struct fault *fault) {
  const struct pack_chunk **order = malloc((chunks ? chunks : 1) * sizeof *order);
  if (!order) return no_memory(fault);
  for (size_t i = 0; i < chunks; i++) order[i] = &index->chunks[i];
  qsort(order, chunks, sizeof *order, by_blob);
  uint64_t end = 0;
  bool is_whole = true;
  for (size_t i = 0; i < chunks; i++) {
    if (order[i]->blob_at > end) is_whole = false;
    uint64_t next = order[i]->blob_at + order[i]->blob_size;
    if (next > end) end = next;
  }
  free(order);
  return is_whole && end == index->begin
             ? 0
             : corrupt(fault, "bytes before it belong to no file: something was added");
}

static int32_t build(struct pack_index *index, struct rows *rows, span records, uint32_t count,
                     struct fault *fault) {
  if (rows->count > 1) qsort(rows->at, rows->count, sizeof *rows->at, by_path_and_place);
  index->chunks = malloc((rows->count ? rows->count : 1) * sizeof *index->chunks);
  index->items = malloc((rows->count + count + 1) * sizeof *index->items);
  if (!index->chunks || !index->items) return no_memory(fault);
  int32_t code = 0;
  for (size_t i = 0, next; i < rows->count && code == 0; i = next) {
    for (next = i + 1; next < rows->count;) {
      if (!span_equal(rows->at[i].path, rows->at[next].path)) break;
      next++;
    }
    code = add_file(index, &rows->at[i], next - i, i, fault);
  }
  size_t files = index->count;
  struct extension_record record;
  for (uint32_t i = 0; i < count && code == 0; i++) {
    code = extension_next(&records, &record, fault);
    if (code == 0) code = corrupt(fault, "its extension has fewer records than it says");
    if (code == 1) code = add_record(index, files, &record, fault);
  }
  if (code == 0 && records.size) code = corrupt(fault, "its extension has more than its records");
  if (code < 0) return code;
  for (size_t i = 0; i < files; i++) {
    if (!index->items[i].target.at) continue;  // the name it has in truth
    index->items[i].path = index->items[i].target;
    index->items[i].target = (span){};
  }
  if (index->count > 1) qsort(index->items, index->count, sizeof *index->items, paths_compare);
  return check_tree(index, fault);
}

static int32_t read_all(struct pack_index *index, span tail, uint64_t manifest_at,
                        uint64_t entries_max, struct rows *rows, struct fault *fault) {
  span manifest_bytes = {tail.at + (manifest_at - index->begin),
                         tail.size - (size_t)(manifest_at - index->begin)};
  struct manifest manifest;
  int32_t code = manifest_read(manifest_bytes, &manifest, fault);
  uint64_t end = index->begin;  // of the sub-indexes
  for (uint64_t i = 0; code == 0 && i < manifest.arrow.rows; i++) {
    struct entry_of_manifest entry;
    if (!manifest_entry(&manifest, i, &entry)) continue;
    // pack_first has looked at where they are.
    span stream = {tail.at + (entry.at - index->begin), (size_t)entry.size};
    struct arrow arrow;
    code = arrow_read(stream, &arrow, fault);
    if (code == 0 && arrow.rows != entry.rows)
      code = corrupt(fault, "it has more or fewer rows than its manifest says");
    if (code == 0 && arrow.rows > entries_max - rows->count)
      code = fault_set(fault, COPSE_E_LIMIT, "the pack has more rows than limits.entries (%llu)",
                       (unsigned long long)entries_max);
    if (code == 0) code = read_rows(&arrow, index->begin, rows, fault);
    if (entry.at + entry.size > end) end = entry.at + entry.size;
    index->is_ours |= code == 0 && arrow_metadata(&arrow, "copse_ext").at != nullptr;
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
  if (code == 0) code = build(index, rows, records, count, fault);
  if (code == 0 && index->is_ours) code = check_cover(index, rows->count, fault);
  return code;
}

int32_t pack_index_read(struct pack_index *index, span tail, uint64_t first, uint64_t manifest_at,
                        uint64_t entries_max, struct fault *fault) {
  *index = (struct pack_index){.begin = first};
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
  free(index->refused);
  arena_free(&index->arena);
  *index = (struct pack_index){};
}
