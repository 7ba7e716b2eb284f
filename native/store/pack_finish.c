// pack_finish: a pack put together of what pack_gather.c put in order: blobs in the order of paths,
// then index, extension, manifest and trailer. The bytes depend on what is in the pack only.
#include "store/pack_making.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/runtime.h"
#include "engine/task.h"
#include "store/pack_arrow_write.h"
#include "store/pack_ask.h"
#include "store/pack_copy.h"
#include "store/pack_extension.h"
#include "store/pack_frame.h"
#include "store/pack_group.h"
#include "store/pack_index.h"
#include "store/pack_seed.h"
#include "store/pack_sink.h"

// A copy of the index stands after the file that makes it as much content, or as many chunks.
constexpr uint64_t STRETCH_BYTES = 32 << 20;
constexpr uint64_t STRETCH_CHUNKS = 16384;
constexpr int COPY_LEVEL = 3;

// Columns of copies that say of what kind a file is.
constexpr size_t KIND_COLUMNS = 2;
constexpr size_t FINDINGS_MAX = ARROW_COLUMNS - COLUMNS - KIND_COLUMNS;

// A column of what plugins found.
struct finding {
  const char *name;
  enum arrow_type type;
};

struct output {
  struct making *making;
  struct arena arena;
  struct directory *above;
  struct entry entry;  // the pack's own
  struct wanted wanted;
  struct sink sink;
  struct table *tables;      // the indexes, one for each section, in the order of the manifest
  struct table recent;       // rows that no copy tells of yet
  uint64_t recent_from;      // where the bytes begin that it tells of
  struct arrow_out records;  // of the extension, without those about copies
  uint32_t records_count;
  struct arrow_out copies;  // a place and a size for each, as u64
  struct packer *packer;    // for copies, and the index of our own format
  uint32_t open;            // a group that is put when the next one begins; 0: none
  char dictionaries[128];   // where it is, as the metadata says it
  struct finding findings[FINDINGS_MAX];
  size_t findings_count, asked_count;  // those that are asked for come first
  bool says_kinds;                     // copies do
};

static span span_in(const struct arrow_out *out) { return (span){out->at, out->size}; }

static int32_t put_blob(struct output *out, struct blob *blob, struct fault *fault) {
  if (blob->placed_at != UINT64_MAX) return 0;
  blob->placed_at = out->sink.at;
  return sink_put_spooled(&out->sink, blob->at, blob->size, fault);
}

// The group that is open, as the next one begins or no more follows.
static int32_t put_group(struct output *out, struct fault *fault) {
  if (out->open == 0) return 0;
  struct chunk_group *group = &out->making->grouping.all[out->open - 1];
  out->open = 0;
  group->at = out->sink.at;
  return sink_put_spooled(&out->sink, group->spooled_at, group->size, fault);
}

static int32_t reach_group(struct output *out, uint32_t number, struct fault *fault) {
  const struct chunk_group *group = &out->making->grouping.all[number - 1];
  if (number == out->open || group->at != UINT64_MAX) return 0;
  uint32_t open = out->open;
  bool is_taken = number <= out->making->grouping.taken;
  int32_t code = 0;
  // One that is made stands where it is closed, as the next one begins.
  if (open && !is_taken) code = put_group(out, fault);
  if (code < 0) return code;
  out->open = number;
  if (!is_taken) return 0;
  code = put_group(out, fault);
  out->open = open;
  return code;
}

// ── Tables ──

static int32_t add_finding(struct output *out, struct arena *arena, span name, enum arrow_type type,
                           struct fault *fault) {
  for (size_t i = 0; i < out->findings_count; i++)
    if (out->findings[i].type == type && span_equal(span_of(out->findings[i].name), name)) return 0;
  if (out->findings_count == FINDINGS_MAX)
    return fault_set(fault, COPSE_E_LIMIT,
                     "the pack would have more than %zu columns of what plugins found",
                     FINDINGS_MAX);
  char *text = (char *)arena_take_bytes(arena, name.size + 1);
  if (!text) return no_memory(fault);
  if (name.size) memcpy(text, name.at, name.size);
  text[name.size] = 0;
  out->findings[out->findings_count++] = (struct finding){text, type};
  return 0;
}

// What is asked for now comes first, and then what only the packs have that files come from.
static int32_t findings_begin(struct output *out, struct arena *arena, struct fault *fault) {
  const struct making *making = out->making;
  const struct ask_column *asked = nullptr;
  size_t count = ask_columns(making->asking, &asked);
  int32_t code = making->asking ? add_finding(out, arena, SPAN("pkg_type"), ARROW_INT8, fault) : 0;
  for (size_t i = 0; i < count && code == 0; i++)
    code = add_finding(out, arena, span_of(asked[i].name),
                       asked[i].is_number ? ARROW_UINT32 : ARROW_UTF8, fault);
  out->asked_count = out->findings_count;
  const struct pack_kind *last = nullptr;
  for (size_t i = 0; i < making->count && code == 0; i++) {
    const struct pack_kind *kind = making->all[i]->kind;
    if (!kind || kind == last) continue;
    for (size_t n = 0; n < kind->columns_count && code == 0; n++)
      code = add_finding(out, arena, kind->columns[n].name, kind->columns[n].type, fault);
    last = kind;
  }
  return code;
}

static bool widen(const struct output *out, struct table *table, size_t first) {
  if (first + out->findings_count == 0) return true;
  if (!table_widen(table, first + out->findings_count)) return false;
  for (size_t i = 0; i < out->findings_count; i++) {
    table->extras[first + i].name = out->findings[i].name;
    table->extras[first + i].type = out->findings[i].type;
  }
  return true;
}

static int32_t tables_begin(struct output *out, struct fault *fault) {
  const struct making *making = out->making;
  out->tables = calloc(making->sections_count, sizeof *out->tables);
  if (!out->tables) return no_memory(fault);
  for (size_t i = 0; i < making->sections_count; i++) {
    table_begin(&out->tables[i], HASH_BYTES, making->is_native);
    if (!widen(out, &out->tables[i], 0)) return no_memory(fault);
  }
  return 0;
}

static void tables_end(struct output *out) {
  for (size_t i = 0; out->tables && i < out->making->sections_count; i++)
    table_free(&out->tables[i]);
  free(out->tables);
}

// Copies say of what kind a file is, which the lost manifest did, where there is more to say than
// nothing.
static int32_t recent_begin(struct output *out, struct fault *fault) {
  const struct making *making = out->making;
  const struct pack_section *first = making->sections[0];
  out->says_kinds = making->sections_count > 1 || first->type != 0 || first->repo.size != 0;
  if (!widen(out, &out->recent, out->says_kinds ? KIND_COLUMNS : 0)) return no_memory(fault);
  if (!out->says_kinds) return 0;
  out->recent.extras[0].name = "copse_type";
  out->recent.extras[0].type = ARROW_INT8;
  out->recent.extras[1].name = "copse_repo";
  out->recent.extras[1].type = ARROW_UTF8;
  return 0;
}

static void put_kind(struct table *recent, const struct pack_section *section) {
  const uint32_t type = section->type;
  table_number(recent, 0, &type);
  table_text(recent, 1, &section->repo);
}

// What the pack says that the file comes from; nullptr: nothing.
static const struct arrow_column *found_before(const struct output *out,
                                               const struct written *written, size_t i) {
  const struct pack_kind *kind = written->kind;
  const struct finding *finding = &out->findings[i];
  size_t count = kind ? kind->columns_count : 0;
  for (size_t n = 0; n < count; n++) {  // mostly they are in the same order
    const struct arrow_column *column = &kind->columns[(i + n) % count];
    if (column->type != finding->type || !span_equal(column->name, span_of(finding->name)))
      continue;
    return arrow_is_null(column, written->row) ? nullptr : column;
  }
  return nullptr;
}

static bool find_number(const struct output *out, const struct written *written, size_t i,
                        uint32_t *number) {
  uint8_t type;
  bool is_asked = i < out->asked_count;
  if (is_asked && i > 0 && answer_number(written, i - 1, number)) return true;
  if (is_asked && i == 0 && answer_type(written, &type)) {
    *number = type;
    return true;
  }
  const struct arrow_column *before = found_before(out, written, i);
  if (before) *number = (uint32_t)arrow_number(before, written->row);
  return before;
}

static bool find_text(const struct output *out, const struct written *written, size_t i,
                      span *text) {
  if (i > 0 && i < out->asked_count && answer_text(written, i - 1, text)) return true;
  const struct arrow_column *before = found_before(out, written, i);
  if (before) *text = arrow_text(before, written->row);
  return before;
}

// What plugins found in the file of the next row, now or before, from the column `first` on.
static void put_findings(const struct output *out, struct table *table, size_t first,
                         const struct written *written) {
  for (size_t i = 0; i < out->findings_count; i++) {
    uint32_t number;
    span text;
    if (out->findings[i].type == ARROW_UTF8)
      table_text(table, first + i, find_text(out, written, i, &text) ? &text : nullptr);
    else
      table_number(table, first + i, find_number(out, written, i, &number) ? &number : nullptr);
  }
}

// ── Indexes, extension and manifest ──

static const char place_of_extension[] = "00000000000000000000:00000000000000000000";

// `dictionaries`: where they are; empty: there are none.
static void write_index(struct arrow_out *out, const struct table *table, int level,
                        const char *dictionaries) {
  char level_text[8];
  snprintf(level_text, sizeof level_text, "%d", level);
  // Constants: the same tree gives the same bytes on every machine.
  struct arrow_pair metadata[] = {
      {"znippy_format_version", SPAN("3")},
      {"max_core_in_flight", SPAN("1")},
      {"max_core_in_compress", SPAN("0")},
      {"max_mem_allowed", SPAN("1073741824")},
      {"min_free_memory_ratio", SPAN("0")},
      {"file_split_block_size", SPAN("4194304")},
      {"max_chunks", SPAN("128")},
      {"compression_level", span_of(level_text)},
      {"zstd_output_buffer_size", SPAN("1048576")},
      {"copse_ext", SPAN(place_of_extension)},
  };
  // Of our own format the place of the extension is found without it.
  size_t pairs = sizeof metadata / sizeof *metadata;
  if (table->has_groups) {
    metadata[pairs - 1] = (struct arrow_pair){"copse_dictionary", span_of(dictionaries)};
    if (!*dictionaries) pairs--;
  }
  table_write(out, table, metadata, pairs);
}

static void put_number(struct arrow_out *out, uint64_t value, size_t size) {
  arrow_put(out, &value, size);
}

// A sub-index for each section. `ends` is where each ends in the indexes, which begin at `at`.
static void write_manifest(struct arrow_out *out, const struct output *output, uint64_t at,
                           const size_t *ends) {
  const struct making *making = output->making;
  struct arrow_out types = {}, repos = {}, repo_ends = {}, module_ends = {}, places = {},
                   sizes = {}, rows = {};
  put_number(&repo_ends, 0, 4);
  put_number(&module_ends, 0, 4);
  for (size_t i = 0; i < making->sections_count; i++) {
    const struct pack_section *section = making->sections[i];
    size_t begin = i ? ends[i - 1] : 0;
    put_number(&types, section->type, 1);
    arrow_put(&repos, section->repo.at, section->repo.size);
    put_number(&repo_ends, repos.size, 4);
    put_number(&module_ends, 0, 4);
    put_number(&places, at + begin, 8);
    put_number(&sizes, ends[i] - begin, 8);
    put_number(&rows, output->tables[i].rows, 8);
  }
  const struct arrow_field fields[] = {
      {.name = "pkg_type", .type = ARROW_INT8, .data = span_in(&types)},
      {.name = "repo", .type = ARROW_UTF8, .offsets = span_in(&repo_ends), .data = span_in(&repos)},
      {.name = "module_name", .type = ARROW_UTF8, .offsets = span_in(&module_ends)},
      {.name = "index_offset", .type = ARROW_UINT64, .data = span_in(&places)},
      {.name = "index_len", .type = ARROW_UINT64, .data = span_in(&sizes)},
      {.name = "row_count", .type = ARROW_UINT64, .data = span_in(&rows)},
  };
  arrow_write(out, fields, sizeof fields / sizeof *fields, making->sections_count, nullptr, 0);
  struct arrow_out *all[] = {&types, &repos, &repo_ends, &module_ends, &places, &sizes, &rows};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    out->failed |= all[i]->failed;
    arrow_out_free(all[i]);
  }
}

static void put_record(struct arrow_out *out, const struct extension_record *record) {
  size_t size = extension_record_size(record);
  uint8_t *bytes = malloc(size);
  if (!bytes) {
    out->failed = true;
    return;
  }
  extension_record_put(bytes, record);
  arrow_put(out, bytes, size);
  free(bytes);
}

static span index_path(const struct written *written) {
  return written->renamed.at ? written->renamed : written->path;
}

static uint32_t write_records(struct arrow_out *out, const struct making *making) {
  uint32_t count = 0;
  for (size_t i = 0; i < making->count; i++) {
    const struct written *written = making->all[i];
    struct extension_record record = {.path = written->path,
                                      .target = written->target,
                                      .mode = written->mode,
                                      .mtime_ns = written->mtime_ns};
    if (written->type == ENTRY_DIRECTORY || written->type == ENTRY_LINK) {
      record.kind = written->type == ENTRY_LINK ? EXTENSION_LINK : EXTENSION_DIRECTORY;
      put_record(out, &record);
      count++;
    }
    if (written->type != ENTRY_FILE) continue;
    record = (struct extension_record){.path = index_path(written), .mtime_ns = INT64_MIN};
    if (written->renamed.at) {
      record.kind = EXTENSION_NAME;
      record.target = written->path;
      put_record(out, &record);
      count++;
    }
    if (written->twin) {
      record.kind = EXTENSION_TWIN;
      record.target = index_path(written->twin);
      put_record(out, &record);
      count++;
    }
  }
  return count;
}

// What says where the copies are.
static void put_copies(struct arrow_out *out, const struct arrow_out *copies) {
  for (size_t at = 0; at < copies->size; at += 16) {
    struct extension_record record = {
        .kind = EXTENSION_COPY, .mtime_ns = INT64_MIN, .target = {copies->at + at, 16}};
    put_record(out, &record);
  }
}

// Puts the index into a frame.
static int32_t pack_index_frame(struct packer *packer, struct arrow_out *index,
                                struct fault *fault) {
  size_t room = frame_bound(index->size);
  uint8_t *frame = index->failed ? nullptr : malloc(room);
  if (!frame) return no_memory(fault);
  int64_t size = frame_write(packer, (span){index->at, index->size}, true, frame, room, fault);
  arrow_out_free(index);
  if (size < 0) {
    free(frame);
    return (int32_t)size;
  }
  *index = (struct arrow_out){.at = frame, .size = (size_t)size, .capacity = room};
  return 0;
}

// The indexes, one after the other; `ends` gets where each ends.
static int32_t write_indexes(struct output *out, struct arrow_out *indexes, size_t *ends,
                             struct fault *fault) {
  const struct making *making = out->making;
  int32_t code = 0;
  for (size_t i = 0; i < making->sections_count && code == 0; i++) {
    struct arrow_out index = {};
    write_index(&index, &out->tables[i], making->level, out->dictionaries);
    if (making->is_native) code = pack_index_frame(out->packer, &index, fault);
    if (code == 0 && index.failed) code = no_memory(fault);
    // Most packs have one, which is large: it is moved, and its table goes as soon as it is
    // written.
    table_free(&out->tables[i]);
    if (i > 0 && code == 0) arrow_put(indexes, index.at, index.size);
    if (i > 0)
      arrow_out_free(&index);
    else
      *indexes = index;
    ends[i] = indexes->size;
  }
  return code == 0 && indexes->failed ? no_memory(fault) : code;
}

// Digits of fixed width, so that an index does not become longer by saying where it ends.
static void say_place(const struct making *making, struct arrow_out *indexes, const size_t *ends,
                      uint64_t at, uint64_t size) {
  char place[sizeof place_of_extension];
  snprintf(place, sizeof place, "%020llu:%020llu", (unsigned long long)at,
           (unsigned long long)size);
  for (size_t i = 0; i < making->sections_count; i++) {
    size_t begin = i ? ends[i - 1] : 0;
    uint8_t *found = memmem(indexes->at + begin, ends[i] - begin, place_of_extension,
                            sizeof place_of_extension - 1);
    memcpy(found, place, sizeof place - 1);
  }
}

// Indexes, extension, manifest and trailer.
static int32_t put_tail(struct output *out, struct fault *fault) {
  const struct making *making = out->making;
  struct arrow_out index = {}, extension = {}, manifest = {};
  uint64_t begin = out->sink.at;
  size_t *ends = calloc(making->sections_count, sizeof *ends);
  int32_t code = ends ? write_indexes(out, &index, ends, fault) : no_memory(fault);
  static const uint8_t zeros[EXTENSION_HEAD] = {};
  arrow_put(&extension, zeros, sizeof zeros);
  arrow_put(&extension, out->records.at, out->records.size);
  put_copies(&extension, &out->copies);
  uint32_t records = out->records_count + (uint32_t)(out->copies.size / 16);
  arrow_put(&extension, zeros, HASH_BYTES);
  if (code == 0) write_manifest(&manifest, out, begin, ends);
  if (code == 0 && (extension.failed || manifest.failed)) code = no_memory(fault);
  if (code == 0 && !making->is_native)
    say_place(making, &index, ends, begin + index.size, extension.size);
  if (code == 0) {
    extension_seal(extension.at, extension.size, records, span_in(&index), span_in(&manifest));
    memcpy(out->making->index_hash, extension.at + extension.size - HASH_BYTES, HASH_BYTES);
    code = sink_put(&out->sink, span_in(&index), fault);
  }
  if (code == 0) code = sink_put(&out->sink, span_in(&extension), fault);
  uint64_t manifest_at = out->sink.at;
  if (code == 0) code = sink_put(&out->sink, span_in(&manifest), fault);
  if (code == 0)
    code =
        sink_put(&out->sink, out->making->is_native ? SPAN("COPSEIDX") : SPAN("ZNPYMIDX"), fault);
  if (code == 0) code = sink_put(&out->sink, (span){(const uint8_t *)&manifest_at, 8}, fault);
  arrow_out_free(&index);
  arrow_out_free(&extension);
  arrow_out_free(&manifest);
  free(ends);
  return code;
}

// What the rows since the last copy say, once more. The last one has the extension's records too.
static int32_t put_copy(struct output *out, bool is_last, struct fault *fault) {
  struct copy_head head = {.at = out->sink.at, .from = out->recent_from, .is_last = is_last};
  if (is_last) head.records = out->records_count;
  struct arrow_out bytes = {};
  const struct arrow_pair dictionary = {"copse_dictionary", span_of(out->dictionaries)};
  int32_t code =
      copy_write(&bytes, &head, out->packer, &out->recent, &dictionary, *out->dictionaries != 0,
                 is_last ? span_in(&out->records) : (span){}, fault);
  if (code == 0) code = sink_put(&out->sink, span_in(&bytes), fault);
  arrow_out_free(&bytes);
  const uint64_t place[] = {head.at, head.size};
  arrow_put(&out->copies, place, sizeof place);
  if (code == 0 && out->copies.failed) code = no_memory(fault);
  (is_last ? table_free : table_clear)(&out->recent);
  out->recent_from = out->sink.at;
  return code;
}

static void count(struct pack_totals *totals, const struct written *written) {
  if (written->type == ENTRY_DIRECTORY) totals->directories++;
  if (written->type != ENTRY_FILE) return;
  totals->files++;
  totals->bytes_in += written->size;
  totals->chunks += written->parts_count;
  *(written->is_raw ? &totals->stored : &totals->compressed) += 1;
  *(written->is_raw ? &totals->stored_in : &totals->compressed_in) += written->size;
}

static void put_row(struct output *out, const struct written *written, uint64_t number, uint64_t at,
                    const struct part *part) {
  const struct blob *blob = &out->making->spool.blobs[part->blob];
  struct table_row row = {.path = index_path(written),
                          .number = number,
                          .at = at,
                          .size = part->size,
                          .blob_at = blob->placed_at,
                          .blob_size = blob->size,
                          .group_size = part->size,
                          .checksum = blob->digest,
                          .mtime_ns = written->mtime_ns,
                          .mode = written->mode,
                          .is_frame = blob->is_frame};
  if (blob->group) {
    const struct chunk_group *group = &out->making->grouping.all[blob->group - 1];
    row.blob_at = group->at;
    row.blob_size = group->size;
    row.group_at = blob->group_at;
    row.group_size = group->content;
    row.checksum = group->digest;
    row.is_frame = true;
  }
  struct table *table = &out->tables[written->section->rank];
  put_findings(out, table, 0, written);
  table_add(table, &row);
  if (out->says_kinds) put_kind(&out->recent, written->section);
  put_findings(out, &out->recent, out->says_kinds ? KIND_COLUMNS : 0, written);
  table_add(&out->recent, &row);
}

static int32_t put_blobs(struct output *out, const struct written *written, struct fault *fault) {
  int32_t code = 0;
  for (const struct part_block *block = written->first; block; block = block->next) {
    for (size_t n = 0; n < block->count && code == 0; n++) {
      struct blob *blob = &out->making->spool.blobs[block->parts[n].blob];
      code = blob->group ? reach_group(out, blob->group, fault) : put_blob(out, blob, fault);
    }
  }
  return code;
}

static void put_rows(struct output *out, const struct written *written) {
  uint64_t at = 0, number = 0;
  for (const struct part_block *block = written->first; block; block = block->next) {
    for (size_t n = 0; n < block->count; n++) {
      put_row(out, written, number++, at, &block->parts[n]);
      at += block->parts[n].size;
    }
  }
}

// ── The dictionary ──

static int32_t put_dictionary(struct output *out, struct fault *fault) {
  const struct grouping *grouping = &out->making->grouping;
  span bytes = {grouping->dictionary, grouping->dictionary_size};
  size_t room = frame_bound(bytes.size), said = strlen(out->dictionaries);
  uint8_t *frame = malloc(room);
  if (!frame) return no_memory(fault);
  int64_t size = frame_write(out->packer, bytes, true, frame, room, fault);
  if (size > 0)
    snprintf(out->dictionaries + said, sizeof out->dictionaries - said, "%s%llu:%lld",
             said ? "," : "", (unsigned long long)out->sink.at, (long long)size);
  int32_t code =
      size < 0 ? (int32_t)size : sink_put(&out->sink, (span){frame, (size_t)size}, fault);
  free(frame);
  return code;
}

size_t pack_stretch_end(const struct making *making, size_t begin) {
  uint64_t bytes = 0, chunks = 0;
  size_t end = begin;
  while (end < making->count && bytes < STRETCH_BYTES && chunks < STRETCH_CHUNKS) {
    bytes += making->all[end]->size;
    chunks += making->all[end]->parts_count;
    end++;
  }
  return end;
}

static int32_t put_stretch(struct output *out, size_t begin, size_t end, struct fault *fault) {
  struct making *making = out->making;
  for (size_t i = begin; i < end; i++) {
    const struct written *written = making->all[i];
    count(&making->totals, written);
    if (written->type != ENTRY_FILE) continue;
    int32_t code = put_blobs(out, written, fault);
    if (code < 0) return code;
  }
  int32_t code = put_group(out, fault);
  if (code < 0) return code;
  // Where a blob is in its group's frame is known once that is closed.
  for (size_t i = begin; i < end; i++) {
    if (making->all[i]->type != ENTRY_FILE) continue;
    const struct table *table = &out->tables[making->all[i]->section->rank];
    put_rows(out, making->all[i]);
    if (table_full(table) || table_full(&out->recent))
      return fault_set(fault, COPSE_E_LIMIT,
                       "all paths, or what plugins found, are together longer than 2 GiB");
    if (table_failed(table) || table_failed(&out->recent)) return no_memory(fault);
  }
  // Once more at the end: without it no group could be read.
  bool is_last = end == making->count;
  code = is_last && making->grouping.dictionary_size ? put_dictionary(out, fault) : 0;
  return code < 0 ? code : put_copy(out, is_last, fault);
}

static int32_t put_all(struct output *out, struct fault *fault) {
  struct making *making = out->making;
  compressors_free(making);  // all is compressed, and the tables need room
  int32_t code = making->grouping.dictionary_size ? put_dictionary(out, fault) : 0;
  for (size_t begin = 0, end; begin < making->count && code == 0; begin = end) {
    end = pack_stretch_end(making, begin);
    code = put_stretch(out, begin, end, fault);
  }
  if (code == 0) code = put_tail(out, fault);
  making->totals.bytes_out = out->sink.at;
  return code < 0 ? code : sink_flush(&out->sink, fault);
}

// What packs that were killed left where this one will stand. What cannot be looked at stays.
static void sweep(struct directory *above) {
  const struct store_ops *ops = above->store->ops;
  if (!ops->is_stale) return;
  struct listing listing;
  listing_begin(&listing);
  struct fault ignored = {};
  if (ops->list(above, &listing, &ignored) == 0)
    for (size_t i = 0; i < listing.count; i++)
      if (ops->is_stale(above, &listing.entries[i], false))
        (void)!ops->remove(above, &listing.entries[i], &ignored);
  listing_free(&listing);
}

// What goes where. 1: jobs were added, and it goes on when they are done.
static int32_t begin(struct making *making, struct task *task, struct fault *fault) {
  making->is_begun = true;
  int32_t code = pack_arrange(making, fault);
  if (code < 0) return code;
  return making->is_native ? groups_begin(making, task, fault) : 0;
}

void output_end(struct output *out) {
  if (!out) return;
  const struct store_ops *ops = out->making->inner.ops;
  if (out->sink.writer) ops->abandon(out->sink.writer);
  if (out->above) ops->leave(out->above);
  tables_end(out);
  table_free(&out->recent);
  arrow_out_free(&out->records);
  arrow_out_free(&out->copies);
  packer_free(out->packer);
  sink_end(&out->sink);
  arena_free(&out->arena);
  free(out);
}

// All but what workers still copy.
static int32_t output_begin(struct output *out, struct task *task, struct fault *fault) {
  struct making *making = out->making;
  const struct store_ops *ops = making->inner.ops;
  arena_begin(&out->arena);
  table_begin(&out->recent, COPY_CHECKSUM, making->is_native);
  if (!ops->above)
    return fault_set(fault, COPSE_E_UNSUPPORTED, "a %s location holds no pack", ops->scheme);
  int32_t code = spool_settle(&making->spool, fault);
  if (!sink_begin(&out->sink, making, task)) return no_memory(fault);
  if (code == 0)
    code = ops->above(&making->inner, true, &out->arena, &out->entry, &out->above, fault);
  if (code < 0) return code;
  if (!making->pours) sweep(out->above);
  out->entry.type = ENTRY_FILE;
  out->wanted.entry = &out->entry;
  out->packer = packer_new(COPY_LEVEL);
  out->records_count = write_records(&out->records, making);
  bool is_ready = out->packer && !out->records.failed;
  code = is_ready ? findings_begin(out, &out->arena, fault) : no_memory(fault);
  if (code == 0) code = tables_begin(out, fault);
  if (code == 0) code = recent_begin(out, fault);
  if (code == 0) code = ops->writer(out->above, &out->wanted, &out->sink.writer, fault);
  return code < 0 ? code : put_all(out, fault);
}

static int32_t output_commit(struct output *out, struct task *task, struct fault *fault) {
  struct making *making = out->making;
  const struct store_ops *ops = making->inner.ops;
  struct entry made = {};
  // Whoever hears that it was cancelled finds nothing, and who does not finds it whole.
  if (!making->pours && !task_commits(task))
    return fault_set(fault, COPSE_E_CANCELLED, "cancelled");
  struct writer *writer = out->sink.writer;
  out->sink.writer = nullptr;
  int32_t code = ops->commit(writer, out->sink.at, &made, fault);
  if (code == 0 && !making->inner.hasty && ops->settle) code = ops->settle(out->above, fault);
  return code;
}

// What the pack was made of goes while it gets its name, which takes as long where a large file had
// it.
static void empty_run(struct job *job, struct worker *) {
  making_empty((struct making *)((uint8_t *)job - offsetof(struct making, emptying)));
}

int32_t pack_finish(struct store *store, struct fault *fault) {
  struct making *making = making_of(store);
  if (making->is_made) return 0;
  int32_t code = making->is_begun ? 0 : begin(making, store->task, fault);
  if (code != 0) return code;
  if (!making->output && making->fault.code == 0) {
    struct output *out = calloc(1, sizeof *out);
    if (!out) return no_memory(fault);
    out->making = making;
    making->output = out;
    code = output_begin(out, store->task, fault);
    // Whoever copies is to end first.
    if (code < 0) making_fail(making, fault);
    if (out->sink.was_shared) return 1;
  }
  if (making->fault.code < 0) {
    *fault = making->fault;
    code = fault->code;
  }
  bool is_emptied = code == 0 && making->output->sink.was_shared;
  if (is_emptied) {
    making->emptying.run = empty_run;
    group_run(&store->task->group, JOB_LEAF, &making->emptying);
  }
  if (code == 0) code = output_commit(making->output, store->task, fault);
  output_end(making->output);
  making->output = nullptr;
  const struct store_ops *ops = making->inner.ops;
  if (code == 0 && ops->finish) code = ops->finish(&making->inner, fault);
  making->is_made = code == 0;
  if (!is_emptied) return code;
  if (code < 0) making_fail(making, fault);  // said when that job is over
  return 1;
}
