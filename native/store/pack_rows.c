#include "store/pack_rows.h"

#include <stdckdint.h>
#include <stdlib.h>

#include "base/path.h"
#include "base/sorted.h"
#include "store/pack_extension.h"
#include "store/paths.h"

constexpr uint32_t KIND_FILE = 0100000, KIND_DIRECTORY = 0040000, KIND_LINK = 0120000;

static int32_t corrupt(struct fault *fault, const char *what) {
  return fault_set(fault, COPSE_E_CORRUPT, "the index of the pack is damaged: %s", what);
}

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while reading the index of a pack");
}

// ── Rows ──

static int by_path_and_place(const void *left, const void *right) {
  const struct row *l = left, *r = right;
  int order = paths_order(l->path, r->path);
  if (order) return order;
  if (l->number != r->number) return l->number < r->number ? -1 : 1;
  return 0;
}

static int32_t check_row(const struct row *row, uint64_t last, struct fault *fault) {
  const struct pack_chunk *chunk = &row->chunk;
  uint64_t end, blob_end, group_end;
  if (ckd_add(&end, chunk->at, chunk->size) ||
      ckd_add(&blob_end, chunk->blob_at, chunk->blob_size) ||
      ckd_add(&group_end, chunk->group_at, chunk->size))
    return corrupt(fault, "a row says more bytes than there are numbers");
  if (blob_end > last) return corrupt(fault, "a row's bytes lie outside of the file");
  if (group_end > chunk->group_size)
    return corrupt(fault, "a row's bytes lie outside of its group");
  if (!chunk->is_frame && chunk->blob_size != chunk->group_size)
    return corrupt(fault, "a row without compression has two sizes");
  if (chunk->group_size > PACK_CHUNK_MAX || chunk->blob_size > PACK_CHUNK_MAX + PACK_CHUNK_MAX / 8)
    return fault_set(fault, COPSE_E_LIMIT, "the pack has a chunk of more than %llu bytes",
                     (unsigned long long)PACK_CHUNK_MAX);
  return 0;
}

static bool is_unsafe(span path) {
  struct fault unsafe = {};
  return path.size == 0 || path_safe(path, &unsafe) < 0;
}

int32_t rows_read(struct rows *rows, const struct arrow *arrow, uint32_t checksum, uint64_t end,
                  uint32_t kind, struct fault *fault) {
  const struct arrow_column *path, *number, *at, *is_frame, *size, *blob_at, *blob_size, *hash;
  int32_t code = arrow_find(arrow, "relative_path", ARROW_UTF8, 0, &path, fault);
  if (code == 0) code = arrow_find(arrow, "chunk_seq", ARROW_UINT32, 0, &number, fault);
  if (code == 0) code = arrow_find(arrow, "fdata_offset", ARROW_UINT64, 0, &at, fault);
  if (code == 0) code = arrow_find(arrow, "compressed", ARROW_BOOL, 0, &is_frame, fault);
  if (code == 0) code = arrow_find(arrow, "uncompressed_size", ARROW_UINT64, 0, &size, fault);
  if (code == 0) code = arrow_find(arrow, "blob_offset", ARROW_UINT64, 0, &blob_at, fault);
  if (code == 0) code = arrow_find(arrow, "blob_size", ARROW_UINT64, 0, &blob_size, fault);
  if (code == 0) code = arrow_find(arrow, "checksum", ARROW_BYTES, checksum, &hash, fault);
  if (code < 0) return code;
  const struct arrow_column *mode = arrow_optional(arrow, "copse_mode", ARROW_UINT32);
  const struct arrow_column *mtime = arrow_optional(arrow, "copse_mtime_ns", ARROW_INT64);
  const struct arrow_column *group_at = arrow_optional(arrow, "copse_group_at", ARROW_UINT64);
  const struct arrow_column *group_size = arrow_optional(arrow, "copse_group_size", ARROW_UINT64);
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
                  .group_at = group_at ? arrow_number(group_at, i) : 0,
                  .group_size = arrow_number(group_size ? group_size : size, i),
                  .checksum = arrow_bytes(hash, i),
                  .is_frame = arrow_bool(is_frame, i)},
        .mode = mode ? (uint32_t)arrow_number(mode, i) & 07777 : 0,
        .mtime_ns = mtime ? (int64_t)arrow_number(mtime, i) : INT64_MIN,
        .kind = kind,
        .row = (uint32_t)i,
    };
    code = check_row(&row, end, fault);
    if (code < 0) return code;
    rows->at[rows->count++] = row;
  }
  return 0;
}

// Whether the column is one of what plugins found: not of every pack, nor one of ours.
static bool is_extra(const struct arrow_column *column) {
  static const char *const own[] = {"relative_path", "chunk_seq",         "fdata_offset",
                                    "compressed",    "uncompressed_size", "blob_offset",
                                    "blob_size",     "checksum"};
  static const char ours[] = "copse_";
  if (column->name.size >= sizeof ours - 1 && memcmp(column->name.at, ours, sizeof ours - 1) == 0)
    return false;
  // Names are made again where another pack is.
  if (!utf8_is_valid(column->name) || memchr(column->name.at, 0, column->name.size)) return false;
  for (size_t i = 0; i < sizeof own / sizeof *own; i++)
    if (span_equal(column->name, span_of(own[i]))) return false;
  return (column->type >= ARROW_INT8 && column->type <= ARROW_INT32) ||
         (column->type >= ARROW_UINT8 && column->type <= ARROW_UINT32) ||
         column->type == ARROW_UTF8;
}

int32_t rows_columns(struct pack_index *index, const struct arrow *arrow, struct pack_kind *out,
                     struct fault *fault) {
  out->columns = arena_take(&index->arena, arrow->columns * sizeof *out->columns);
  if (!out->columns) return no_memory(fault);
  for (size_t i = 0; i < arrow->columns; i++)
    if (is_extra(&arrow->column[i])) out->columns[out->columns_count++] = arrow->column[i];
  return 0;
}

// Kinds are looked up by what they are, however many a pack says there are.
struct key {
  uint8_t type;
  span repo;
  uint32_t number;
  struct key *next;
};

static int by_kind(const void *left, const void *right) {
  const struct key *l = left, *r = right;
  return l->type != r->type ? l->type - r->type : span_compare(l->repo, r->repo);
}

static int32_t add_kind(struct pack_index *index, const struct pack_kind *kind,
                        struct fault *fault) {
  size_t count = index->kinds_count;
  // Doubled whenever the count is a power of two.
  struct pack_kind *kinds = index->kinds;
  if ((count & (count - 1)) == 0) kinds = realloc(kinds, (count ? count * 2 : 1) * sizeof *kinds);
  if (!kinds) return no_memory(fault);
  index->kinds = kinds;
  kinds[count] = *kind;
  kinds[count].repo = arena_copy(&index->arena, kind->repo);
  if (!kinds[count].repo.at) return no_memory(fault);
  index->kinds_count++;
  return 0;
}

int32_t rows_kinds(struct rows *rows, size_t from, struct pack_index *index,
                   const struct arrow *arrow, bool is_lost, struct fault *fault) {
  const struct arrow_column *type = nullptr, *repo = nullptr;
  if (!is_lost) type = arrow_optional(arrow, "copse_type", ARROW_INT8);
  if (!is_lost) repo = arrow_optional(arrow, "copse_repo", ARROW_UTF8);
  struct pack_kind kind = {.repo = SPAN(""), .is_lost = is_lost};
  struct sorted known = {.order = by_kind};
  struct key *keys = nullptr, *last = nullptr;
  struct arena arena;
  arena_begin(&arena);
  int32_t code = rows_columns(index, arrow, &kind, fault);
  for (size_t i = from; i < rows->count && code == 0; i++) {
    struct row *row = &rows->at[i];
    struct key wanted = {.repo = kind.repo};
    if (type) wanted.type = (uint8_t)(arrow_number(type, row->row) & 127);
    if (repo) wanted.repo = arrow_text(repo, row->row);
    if (!last || by_kind(last, &wanted) != 0) last = sorted_find(&known, &wanted);
    if (!last) {
      kind.type = wanted.type;
      kind.repo = wanted.repo;
      wanted.number = (uint32_t)index->kinds_count;
      wanted.next = keys;
      last = (struct key *)(void *)arena_take(&arena, sizeof *last);
      if (last) *last = wanted;
      if (!last || !sorted_add(&known, last)) code = no_memory(fault);
      if (code == 0) keys = last;
      if (code == 0) code = add_kind(index, &kind, fault);
      if (code < 0) break;
    }
    row->kind = last->number;
  }
  for (; keys; keys = keys->next) sorted_drop(&known, keys);
  arena_free(&arena);
  return code;
}

// Decimal digits up to the mark or the end; false: none, or too large.
static bool take_number(span *rest, uint8_t mark, uint64_t *out) {
  size_t size = 0;
  *out = 0;
  for (; size < rest->size && rest->at[size] != mark; size++) {
    uint8_t digit = (uint8_t)(rest->at[size] - '0');
    if (digit > 9 || ckd_mul(out, *out, 10) || ckd_add(out, *out, digit)) return false;
  }
  size_t next = size < rest->size ? size + 1 : size;
  *rest = (span){rest->at + next, rest->size - next};
  return size > 0;
}

int32_t rows_dictionary(struct pack_index *index, const struct arrow *arrow, uint64_t end,
                        struct fault *fault) {
  span rest = arrow_metadata(arrow, "copse_dictionary");
  struct pack_place place;
  size_t count = 0;
  for (; rest.size; count++) {
    bool is_good = count < sizeof index->dictionaries / sizeof *index->dictionaries &&
                   take_number(&rest, ':', &place.at) && take_number(&rest, ',', &place.size) &&
                   place.at <= end && place.size <= end - place.at;
    if (!is_good) return corrupt(fault, "it does not say where its dictionary is");
    index->dictionaries[count] = place;
  }
  if (count > index->dictionaries_count) index->dictionaries_count = count;
  return 0;
}

static bool is_sound(const struct row *rows, size_t count) {
  uint64_t at = 0;
  for (size_t i = 0; i < count; i++) {
    const struct pack_chunk *chunk = &rows[i].chunk;
    if (rows[i].number != i || chunk->at != at || (chunk->size == 0 && count > 1)) return false;
    if (ckd_add(&at, at, chunk->size)) return false;
  }
  return true;
}

void rows_keep_sound(struct rows *rows) {
  if (rows->count > 1) qsort(rows->at, rows->count, sizeof *rows->at, by_path_and_place);
  size_t kept = 0;
  for (size_t i = 0, next; i < rows->count; i = next) {
    for (next = i + 1; next < rows->count; next++)
      if (!span_equal(rows->at[i].path, rows->at[next].path)) break;
    if (!is_sound(&rows->at[i], next - i)) continue;
    memmove(&rows->at[kept], &rows->at[i], (next - i) * sizeof *rows->at);
    kept += next - i;
  }
  rows->count = kept;
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
                             .kind = rows->kind,
                             .row = rows->row,
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

static int32_t add_copy(struct pack_index *index, span place, struct fault *fault) {
  if (place.size != 16) return corrupt(fault, "its extension does not say where a copy of it is");
  struct pack_place *more =
      realloc(index->copies, (index->copies_count + 1) * sizeof *index->copies);
  if (!more) return no_memory(fault);
  index->copies = more;
  struct pack_place *copy = &more[index->copies_count++];
  memcpy(&copy->at, place.at, 8);
  memcpy(&copy->size, place.at + 8, 8);
  if (copy->at > index->begin || copy->size > index->begin - copy->at)
    return corrupt(fault, "a copy of it lies outside of the file");
  return 0;
}

// A directory or link of its own, or more about a file that has rows. `files`: how many items came
// from rows; those are sorted.
static int32_t add_record(struct pack_index *index, size_t files,
                          const struct extension_record *record, struct fault *fault) {
  if (record->kind == EXTENSION_COPY) return add_copy(index, record->target, fault);
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
  if (!item && index->is_recovered) return 0;
  if (!item) return corrupt(fault, "its extension tells of a file that has no rows");
  if (record->kind == EXTENSION_TWIN) {
    struct pack_item *original = find_item(index, files, record->target);
    if (!original && index->is_recovered) return 0;
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
    if (last && span_equal(last->path, item->path)) {
      if (index->is_recovered) continue;
      return corrupt(fault, "a path is in it twice");
    }
    bool is_below = last && last->type != ENTRY_DIRECTORY && paths_below(item->path, last->path);
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

int32_t rows_build(struct pack_index *index, struct rows *rows, span records, uint32_t count,
                   struct fault *fault) {
  if (rows->count > 1) qsort(rows->at, rows->count, sizeof *rows->at, by_path_and_place);
  index->chunks = malloc((rows->count ? rows->count : 1) * sizeof *index->chunks);
  index->items = malloc((rows->count + count + 1) * sizeof *index->items);
  if (!index->chunks || !index->items) return no_memory(fault);
  index->chunks_count = rows->count;
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
