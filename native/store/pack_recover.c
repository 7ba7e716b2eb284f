#include "store/pack_recover.h"

#include <stdio.h>
#include <stdlib.h>

#include "store/pack_copy.h"
#include "store/pack_extension.h"
#include "store/pack_frame.h"
#include "store/pack_rows.h"
#include "store/paths.h"

constexpr size_t WINDOW = 1 << 20;
constexpr size_t SCHEMA_MAX = 64 * 1024;  // of a message that may begin an index
constexpr size_t BEFORE_NAME = 4096;      // bytes of a schema before its first column's name
constexpr size_t TRIES = 16;              // rows that are looked at to believe an index
static const uint8_t frame_begin[6] = {0xd9, 0xa5, 0xb1, 0xd7, 3, 1};
static const char first_column[] = "relative_path";

struct places {
  struct pack_place *at;
  size_t count, capacity;
};

struct recovery {
  struct pack_index *index;
  const struct recover_file *file;
  struct unpacker *unpacker;
  uint8_t *window;  // the file from window_at on
  uint64_t window_at;
  size_t window_size;
  struct rows rows;
  uint64_t entries_max;
  struct copy_head *copies;
  size_t copies_count;
  uint64_t *schemas;  // where the name of an index's first column stands
  size_t schemas_count;
  struct places taken;
  span records;  // of the extension
  uint32_t records_count;
  uint64_t end;  // after it there are no blobs
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while a pack is repaired");
}

static void *grown(void *at, size_t count, size_t size) {
  // Doubled whenever the count is a power of two.
  if (count & (count - 1)) return at;
  return realloc(at, (count ? count * 2 : 1) * size);
}

static int32_t take(struct places *places, uint64_t at, uint64_t size, struct fault *fault) {
  struct pack_place *more = grown(places->at, places->count, sizeof *more);
  if (!more) return no_memory(fault);
  places->at = more;
  more[places->count++] = (struct pack_place){at, size};
  return 0;
}

// Bytes from the file, from malloc.
static int32_t load(const struct recovery *recovery, uint64_t at, uint64_t size, uint8_t **out,
                    struct fault *fault) {
  *out = malloc((size_t)size + 1);
  if (!*out) return no_memory(fault);
  int32_t code = recovery->file->read(recovery->file->self, at, *out, (size_t)size, fault);
  if (code == 0) return 0;
  free(*out);
  *out = nullptr;
  return code;
}

// ── Copies of the index ──

// What may be a copy at that place is kept when it is whole. *next: where to look on.
static int32_t see_copy(struct recovery *recovery, uint64_t at, uint64_t *next,
                        struct fault *fault) {
  const struct recover_file *file = recovery->file;
  uint8_t head[COPY_HEAD];
  struct copy_head found = {};
  if (file->size - at < COPY_LEAST) return 0;
  int32_t code = file->read(file->self, at, head, sizeof head, fault);
  if (code < 0 || !copy_begins((span){head, sizeof head}, at, &found)) return code;
  if (found.size > file->size - at || found.size > PACK_INDEX_MAX) return 0;
  uint8_t *bytes;
  code = load(recovery, at, found.size, &bytes, fault);
  if (code < 0) return code;
  struct fault damage = {};
  bool is_whole = copy_check((span){bytes, (size_t)found.size}, &found, &damage) == 0;
  free(bytes);
  if (!is_whole) return 0;
  struct copy_head *more = grown(recovery->copies, recovery->copies_count, sizeof *more);
  if (!more) return no_memory(fault);
  recovery->copies = more;
  more[recovery->copies_count++] = found;
  *next = at + found.size;
  return 0;
}

static int32_t see_schema(struct recovery *recovery, uint64_t at, struct fault *fault) {
  uint64_t *more = grown(recovery->schemas, recovery->schemas_count, sizeof *more);
  if (!more) return no_memory(fault);
  recovery->schemas = more;
  more[recovery->schemas_count++] = at;
  return 0;
}

// What of the window begins at `from`, filled anew when that is less than `least` bytes.
static int32_t look(struct recovery *recovery, uint64_t from, size_t least, span *out,
                    struct fault *fault) {
  uint64_t gone = from - recovery->window_at, left = recovery->file->size - from;
  if (from < recovery->window_at || gone > recovery->window_size ||
      recovery->window_size - gone < least) {
    size_t size = left < WINDOW ? (size_t)left : WINDOW;
    recovery->window_size = 0;
    int32_t code = recovery->file->read(recovery->file->self, from, recovery->window, size, fault);
    if (code < 0) return code;
    recovery->window_at = from;
    recovery->window_size = size;
    gone = 0;
  }
  *out = (span){recovery->window + gone, recovery->window_size - (size_t)gone};
  return 0;
}

// Where `needle` stands in [from, to), or `to`.
static int32_t seek(struct recovery *recovery, uint64_t from, uint64_t to, span needle,
                    uint64_t *out, struct fault *fault) {
  *out = to;
  while (to - from >= needle.size) {
    span bytes;
    int32_t code = look(recovery, from, needle.size, &bytes, fault);
    if (code < 0) return code;
    size_t size = to - from < bytes.size ? (size_t)(to - from) : bytes.size;
    const uint8_t *found = memmem(bytes.at, size, needle.at, needle.size);
    if (found) {
      *out = from + (uint64_t)(found - bytes.at);
      return 0;
    }
    from += size - needle.size + 1;
  }
  return 0;
}

static int32_t find_copies(struct recovery *recovery, struct fault *fault) {
  uint64_t size = recovery->file->size;
  for (uint64_t at = 0, found; at < size; at = found) {
    int32_t code = seek(recovery, at, size, (span){copy_magic, sizeof copy_magic}, &found, fault);
    if (code < 0) return code;
    if (found == size) break;
    uint64_t next = found + 1;
    code = see_copy(recovery, found, &next, fault);
    if (code < 0) return code;
    found = next;
  }
  return 0;
}

static int32_t add_rows(struct recovery *recovery, span stream, uint32_t checksum, uint64_t end,
                        struct fault *fault) {
  struct arrow arrow;
  int32_t code = arrow_read(stream, &arrow, fault);
  if (code < 0) return code;
  if (arrow.rows > recovery->entries_max - recovery->rows.count)
    return fault_set(fault, COPSE_E_LIMIT, "the pack has more rows than limits.entries (%llu)",
                     (unsigned long long)recovery->entries_max);
  code = rows_dictionary(recovery->index, &arrow, end, fault);
  size_t before = recovery->rows.count;
  if (code == 0) code = rows_read(&recovery->rows, &arrow, checksum, end, NO_KIND, fault);
  // An index does not say it, only its manifest.
  bool is_lost = checksum != COPY_CHECKSUM;
  if (code == 0)
    code = rows_kinds(&recovery->rows, before, recovery->index, &arrow, is_lost, fault);
  return code;
}

static int32_t use_copy(struct recovery *recovery, const struct copy_head *head,
                        struct fault *fault) {
  uint8_t *bytes, *plain = nullptr;
  span stream, records;
  int32_t code = load(recovery, head->at, head->size, &bytes, fault);
  if (code < 0) return code;
  code = copy_open(recovery->unpacker, (span){bytes, (size_t)head->size}, &plain, &stream, &records,
                   fault);
  free(bytes);
  if (code < 0) return code;
  // Kept as long as the index: its rows point into it.
  span kept = arena_copy(&recovery->index->arena, (span){plain, stream.size + records.size});
  size_t rows_size = stream.size, records_size = records.size;
  free(plain);
  if (!kept.at) return no_memory(fault);
  if (head->records > records_size) return fault_set(fault, COPSE_E_CORRUPT, "too few records");
  if (head->records) {
    recovery->records = (span){kept.at + rows_size, records_size};
    recovery->records_count = head->records;
  }
  if (head->is_last) recovery->end = head->at;
  code = add_rows(recovery, (span){kept.at, rows_size}, COPY_CHECKSUM, head->at, fault);
  return code < 0 ? code : take(&recovery->taken, head->at, head->size, fault);
}

// From the last to the first: what lies between a copy and the beginning of what it tells of is
// content, also when it looks like a copy, as in a pack that was packed.
static int32_t use_copies(struct recovery *recovery, struct fault *fault) {
  uint64_t limit = recovery->file->size;
  for (size_t i = recovery->copies_count; i > 0; i--) {
    const struct copy_head *head = &recovery->copies[i - 1];
    if (head->at + head->size > limit) continue;
    size_t before = recovery->rows.count;
    struct fault damage = {};
    int32_t code = use_copy(recovery, head, &damage);
    if (code == COPSE_E_CORRUPT || code == COPSE_E_UNSUPPORTED) {
      recovery->rows.count = before;
      continue;
    }
    if (code < 0) {
      *fault = damage;
      return code;
    }
    limit = head->from;
  }
  return 0;
}

// ── An index that is whole, in a pack without copies ──

static bool proves_blob(struct recovery *recovery, const struct pack_chunk *chunk) {
  struct fault damage = {};
  uint8_t *blob, *plain = nullptr;
  if (load(recovery, chunk->blob_at, chunk->blob_size, &blob, &damage) < 0) return false;
  span content = {blob, (size_t)chunk->blob_size};
  if (chunk->is_frame) {
    uint64_t size = 0;
    frame_open(recovery->unpacker, content, PACK_CHUNK_MAX, &plain, &size, &damage);
    content = (span){plain, (size_t)size};
  }
  bool is_right = content.at && content.size == chunk->group_size;
  if (is_right) {
    uint8_t digest[HASH_BYTES];
    hash_of(content, digest);
    is_right = memcmp(digest, chunk->checksum, HASH_BYTES) == 0;
  }
  free(blob);
  free(plain);
  return is_right;
}

// Whether blobs are where the rows say: not so in a pack that was packed.
static bool is_believed(struct recovery *recovery, size_t first) {
  size_t tried = 0;
  for (size_t i = first; i < recovery->rows.count && tried < TRIES; i++) {
    if (recovery->rows.at[i].chunk.size == 0) continue;
    if (proves_blob(recovery, &recovery->rows.at[i].chunk)) return true;
    tried++;
  }
  return false;
}

// The message whose schema has a column's name at `name`: from its first byte to the end of the
// file. Zero: there is none.
static int32_t begin_of_index(struct recovery *recovery, uint64_t name, uint64_t *out,
                              struct fault *fault) {
  uint64_t size = recovery->file->size, from = name > BEFORE_NAME ? name - BEFORE_NAME : 0;
  size_t count = (size_t)(name - from);
  *out = size;
  uint8_t before[BEFORE_NAME], after[8];
  int32_t code = recovery->file->read(recovery->file->self, from, before, count, fault);
  for (size_t i = count; code == 0 && i-- > 8;) {
    uint32_t mark, length;
    memcpy(&mark, before + i - 8, 4);
    memcpy(&length, before + i - 4, 4);
    uint64_t at = from + i - 8, next = at + 8 + length;
    if (mark != UINT32_MAX || length % 8 || length > SCHEMA_MAX || next < name || next + 8 > size)
      continue;
    code = recovery->file->read(recovery->file->self, next, after, sizeof after, fault);
    memcpy(&mark, after, 4);
    if (code == 0 && mark == UINT32_MAX) {
      *out = at;
      break;
    }
  }
  return code;
}

// Names of an index of ours are believed when the extension after it has its hash: its copies are
// there for when it is damaged. Others have no hash of their index.
static bool is_proved(span from, size_t length) {
  struct arrow arrow;
  struct fault damage = {};
  if (arrow_read((span){from.at, length}, &arrow, &damage) < 0) return false;
  bool is_ours =
      arrow_metadata(&arrow, "copse_ext").at || arrow_optional(&arrow, "copse_mode", ARROW_UINT32);
  if (!is_ours) return true;
  span extension = {from.at + length, from.size - length};
  if (extension.size < EXTENSION_HEAD || !extension_is(extension)) return false;
  uint8_t digest[HASH_BYTES];
  hash_of((span){from.at, length}, digest);
  return memcmp(digest, extension.at + 32, HASH_BYTES) == 0;
}

static int32_t use_index(struct recovery *recovery, uint64_t name, struct fault *fault) {
  uint64_t at, size = recovery->file->size;
  int32_t code = begin_of_index(recovery, name, &at, fault);
  if (code < 0 || at == size || size - at > PACK_INDEX_MAX) return code;
  uint8_t *bytes;
  code = load(recovery, at, size - at, &bytes, fault);
  if (code < 0) return code;
  struct fault damage = {};
  int64_t length = arrow_size((span){bytes, (size_t)(size - at)}, &damage);
  span kept = {};
  if (length > 0 && !is_proved((span){bytes, (size_t)(size - at)}, (size_t)length)) length = 0;
  if (length > 0) kept = arena_copy(&recovery->index->arena, (span){bytes, (size_t)length});
  free(bytes);
  if (length <= 0) return 0;
  if (!kept.at) return no_memory(fault);
  size_t before = recovery->rows.count;
  bool is_ours =
      add_rows(recovery, kept, HASH_BYTES, at, &damage) == 0 && is_believed(recovery, before);
  if (!is_ours) recovery->rows.count = before;
  if (is_ours && at < recovery->end) recovery->end = at;
  return damage.code == COPSE_E_MEMORY ? no_memory(fault) : 0;
}

static int32_t use_indexes(struct recovery *recovery, struct fault *fault) {
  span name = {(const uint8_t *)first_column, sizeof first_column - 1};
  uint64_t size = recovery->file->size;
  for (uint64_t at = 0, found; at < size; at = found + name.size) {
    int32_t code = seek(recovery, at, size, name, &found, fault);
    if (code == 0 && found < size) code = see_schema(recovery, found, fault);
    if (code < 0) return code;
    if (found == size) break;
  }
  for (size_t i = 0; i < recovery->schemas_count; i++) {
    int32_t code = use_index(recovery, recovery->schemas[i], fault);
    if (code < 0) return code;
  }
  return 0;
}

// ── Frames that nothing tells of ──

static const char folder_name[] = "recovered";

// Which of "recovered", "recovered~1", "recovered~2" and so on the path is, or lies in: it is
// taken, as far as there is room to say so.
static void take_folder(span path, uint8_t *taken, size_t count) {
  constexpr size_t PREFIX = sizeof folder_name - 1;
  if (path.size < PREFIX || memcmp(path.at, folder_name, PREFIX) != 0) return;
  size_t at = PREFIX, number = 0;
  if (at < path.size && path.at[at] == '~') {
    if (++at == path.size || path.at[at] == '0') return;
    for (; at < path.size && path.at[at] != '/'; at++) {
      uint8_t digit = (uint8_t)(path.at[at] - '0');
      if (digit > 9) return;
      number = number * 10 + digit;
      if (number >= count) return;  // there are fewer paths than that
    }
    if (number == 0) return;
  }
  if (at == path.size || path.at[at] == '/') taken[number] = 1;
}

// The first that no path has: of one more than there are paths, one is free.
static int32_t choose_folder(struct recovery *recovery, struct recovered *out,
                             struct fault *fault) {
  char text[40] = "";
  size_t count = recovery->rows.count + recovery->records_count + 1, number = 0;
  uint8_t *taken = calloc(count, 1);
  if (!taken) return no_memory(fault);
  for (size_t i = 0; i < recovery->rows.count; i++)
    take_folder(recovery->rows.at[i].path, taken, count);
  span rest = recovery->records;
  struct extension_record record;
  struct fault damage = {};
  while (extension_next(&rest, &record, &damage) == 1) take_folder(record.path, taken, count);
  while (number < count && taken[number]) number++;
  free(taken);
  snprintf(text, sizeof text, number ? "%s~%zu" : "%s", folder_name, number);
  out->folder = arena_copy(&recovery->index->arena, span_of(text));
  return out->folder.at ? 0 : no_memory(fault);
}

// A part of an index is nobody's file.
static bool is_index(span plain) {
  static const uint8_t mark[4] = {0xff, 0xff, 0xff, 0xff};
  size_t begin = plain.size < BEFORE_NAME ? plain.size : BEFORE_NAME;
  return begin > 4 && memcmp(plain.at, mark, sizeof mark) == 0 &&
         memmem(plain.at, begin, first_column, sizeof first_column - 1);
}

static int32_t add_numbered(struct recovery *recovery, struct recovered *out,
                            const struct pack_chunk *chunk, struct fault *fault) {
  char text[64];
  snprintf(text, sizeof text, "%s/%06zu", (const char *)out->folder.at, ++out->numbered);
  span path = arena_copy(&recovery->index->arena, span_of(text));
  struct rows *rows = &recovery->rows;
  if (rows->count >= recovery->entries_max)
    return fault_set(fault, COPSE_E_LIMIT, "the pack has more entries than limits.entries (%llu)",
                     (unsigned long long)recovery->entries_max);
  struct row *more = realloc(rows->at, (rows->count + 1) * sizeof *more);
  if (more) rows->at = more;
  if (!more || !path.at) return no_memory(fault);
  more[rows->count++] =
      (struct row){.path = path, .chunk = *chunk, .mtime_ns = INT64_MIN, .kind = NO_KIND};
  return 0;
}

static int32_t take_dictionaries(struct recovery *recovery, struct fault *fault) {
  const struct pack_index *index = recovery->index;
  int32_t code = 0;
  for (size_t i = 0; i < index->dictionaries_count && code == 0; i++)
    code = take(&recovery->taken, index->dictionaries[i].at, index->dictionaries[i].size, fault);
  return code;
}

// What a copy says of it, so that frames that no copy tells of come back, too. The second one when
// the first is damaged.
static int32_t use_dictionary(struct recovery *recovery, struct fault *fault) {
  const struct pack_index *index = recovery->index;
  bool is_used = false;
  for (size_t i = 0; i < index->dictionaries_count && !is_used; i++) {
    const struct pack_place *place = &index->dictionaries[i];
    uint8_t *frame, *plain;
    uint64_t size;
    struct fault damage = {};
    if (place->size > PACK_CHUNK_MAX) continue;
    int32_t code = load(recovery, place->at, place->size, &frame, fault);
    if (code < 0) return code;
    code = frame_open(recovery->unpacker, (span){frame, (size_t)place->size}, PACK_CHUNK_MAX,
                      &plain, &size, &damage);
    free(frame);
    if (code == COPSE_E_MEMORY) return no_memory(fault);
    if (code < 0) continue;
    is_used = unpacker_use(recovery->unpacker, (span){plain, (size_t)size});
    free(plain);
  }
  return 0;
}

// A pack of our own format begins with its dictionary, without which nothing else comes back.
static int32_t see_dictionary(struct recovery *recovery, uint64_t at, uint64_t size, span plain,
                              struct fault *fault) {
  if (at != 0 || recovery->index->dictionaries_count) return 0;
  recovery->index->dictionaries[0] = (struct pack_place){at, size};
  recovery->index->dictionaries_count = 1;
  return unpacker_use(recovery->unpacker, plain) ? 0 : no_memory(fault);
}

// The frame at that place, when it is whole and ends before `to`. *next: where to look on.
static int32_t see_frame(struct recovery *recovery, uint64_t at, uint64_t to, uint64_t *next,
                         struct recovered *out, struct fault *fault) {
  uint8_t head[32], *blob = nullptr, *plain = nullptr;
  size_t head_size = to - at < sizeof head ? (size_t)(to - at) : sizeof head;
  uint64_t size = 0, length = 0;
  struct fault damage = {};
  int32_t code = recovery->file->read(recovery->file->self, at, head, head_size, fault);
  if (code < 0) return code;
  if (frame_size((span){head, head_size}, &size, &damage) < 0 || size > PACK_CHUNK_MAX) return 0;
  uint64_t most = frame_bound((size_t)size), room = to - at < most ? to - at : most;
  code = load(recovery, at, room, &blob, fault);
  if (code < 0) return code;
  bool is_whole = frame_length((span){blob, (size_t)room}, &length, &damage) == 0;
  if (is_whole && frame_open(recovery->unpacker, (span){blob, (size_t)length}, PACK_CHUNK_MAX,
                             &plain, &size, &damage) == COPSE_E_MEMORY)
    code = no_memory(fault);
  if (plain) {
    *next = at + length;
    struct pack_chunk chunk = {
        .size = size, .blob_at = at, .blob_size = length, .group_size = size, .is_frame = true};
    span content = {plain, (size_t)size};
    if (dictionary_is(content))
      code = see_dictionary(recovery, at, length, content, fault);
    else if (!is_index(content))
      code = add_numbered(recovery, out, &chunk, fault);
  }
  free(blob);
  free(plain);
  return code;
}

static int32_t find_frames(struct recovery *recovery, uint64_t from, uint64_t to,
                           struct recovered *out, struct fault *fault) {
  for (uint64_t at = from, found; at < to; at = found) {
    int32_t code = seek(recovery, at, to, (span){frame_begin, sizeof frame_begin}, &found, fault);
    if (code < 0) return code;
    if (found == to) break;
    uint64_t next = found + 1;
    code = see_frame(recovery, found, to, &next, out, fault);
    if (code < 0) return code;
    found = next;
  }
  return 0;
}

static int by_place(const void *left, const void *right) {
  const struct pack_place *l = left, *r = right;
  return l->at < r->at ? -1 : l->at > r->at;
}

static int32_t use_frames(struct recovery *recovery, struct recovered *out, struct fault *fault) {
  struct places *taken = &recovery->taken;
  int32_t trouble = take_dictionaries(recovery, fault);
  if (trouble < 0) return trouble;
  for (size_t i = 0; i < recovery->rows.count; i++) {
    const struct pack_chunk *chunk = &recovery->rows.at[i].chunk;
    int32_t code = take(taken, chunk->blob_at, chunk->blob_size, fault);
    if (code < 0) return code;
  }
  if (taken->count > 1) qsort(taken->at, taken->count, sizeof *taken->at, by_place);
  uint64_t end = 0;
  for (size_t i = 0; i < taken->count; i++) {
    uint64_t at = taken->at[i].at < recovery->end ? taken->at[i].at : recovery->end;
    int32_t code = at > end ? find_frames(recovery, end, at, out, fault) : 0;
    if (code < 0) return code;
    if (taken->at[i].at + taken->at[i].size > end) end = taken->at[i].at + taken->at[i].size;
  }
  return end < recovery->end ? find_frames(recovery, end, recovery->end, out, fault) : 0;
}

static int32_t recover(struct recovery *recovery, struct recovered *out, struct fault *fault) {
  uint64_t size = recovery->file->size;
  recovery->window = malloc(size < WINDOW ? (size_t)size + 1 : WINDOW);
  recovery->unpacker = unpacker_new();
  if (!recovery->window || !recovery->unpacker) return no_memory(fault);
  int32_t code = find_copies(recovery, fault);
  if (code == 0) code = use_copies(recovery, fault);
  if (code == 0) code = use_dictionary(recovery, fault);
  if (code == 0 && recovery->rows.count == 0 && recovery->records.size == 0) {
    recovery->index->checksum = HASH_BYTES;
    code = use_indexes(recovery, fault);
    out->lost_kinds = recovery->rows.count > 0;
  }
  // What a damaged index says wrongly of a file leaves that one without a name, and no other.
  if (code == 0) rows_keep_sound(&recovery->rows);
  if (code == 0) code = choose_folder(recovery, out, fault);
  if (code == 0) code = use_frames(recovery, out, fault);
  if (code < 0) return code;
  if (recovery->rows.count == 0 && recovery->records_count == 0)
    return fault_set(fault, COPSE_E_CORRUPT, "there is nothing in it that could be brought back");
  return rows_build(recovery->index, &recovery->rows, recovery->records, recovery->records_count,
                    fault);
}

int32_t pack_recover(struct pack_index *index, const struct recover_file *file,
                     uint64_t entries_max, struct recovered *out, struct fault *fault) {
  *index =
      (struct pack_index){.begin = file->size, .checksum = COPY_CHECKSUM, .is_recovered = true};
  arena_begin(&index->arena);
  *out = (struct recovered){};
  struct recovery recovery = {
      .index = index, .file = file, .entries_max = entries_max, .end = file->size};
  int32_t code = recover(&recovery, out, fault);
  unpacker_free(recovery.unpacker);
  free(recovery.window);
  free(recovery.rows.at);
  free(recovery.copies);
  free(recovery.schemas);
  free(recovery.taken.at);
  if (code < 0) pack_index_free(index);
  return code;
}
