#include "store/pack_ask.h"

#include <stdlib.h>

#include "base/glob.h"
#include "base/path.h"
#include "base/record.h"
#include "engine/task.h"
#include "store/pack_arrow.h"
#include "store/pack_frame.h"
#include "store/pack_making.h"

// Whole in the caller's memory, and in ours but for a chunk.
constexpr uint64_t FILE_BYTES_MAX = UINT64_C(256) << 20;
constexpr size_t COLUMNS_MAX = 32;

struct asking {
  struct globs *globs;
  struct ask_column columns[COLUMNS_MAX];
  size_t columns_count;
  struct written **files;
  uint64_t *bits;  // words for each file: the globs that match it
  size_t words, count, capacity;
  // What is being said:
  size_t next;    // file
  uint8_t *head;  // nullptr: the next one has not begun
  size_t head_size, head_said;
  struct part_block *block;
  size_t part;  // in the block
  uint8_t *plain, *frame;
  size_t plain_capacity, frame_capacity, plain_size, plain_said;
  struct unpacker *unpacker;
  uint64_t answers;  // guarded by the making's lock
};

static int32_t add_column(struct asking *asking, const struct field *field, struct fault *fault) {
  char *name = malloc(field->bytes.size + 1);
  if (!name) return no_memory(fault);
  memcpy(name, field->bytes.at, field->bytes.size);
  name[field->bytes.size] = 0;
  asking->columns[asking->columns_count++] =
      (struct ask_column){name, field->key == COPSE_ASK_NUMBER};
  return 0;
}

int32_t ask_begin(span record, struct asking **out, struct fault *fault) {
  span ask = record_record(record, COPSE_PLACE_PACK_ASK);
  *out = nullptr;
  if (!ask.at) return 0;
  struct asking *asking = calloc(1, sizeof *asking);
  if (!asking) return no_memory(fault);
  size_t count = 0, i = 0;
  struct field field;
  for (span rest = ask; record_next(&rest, &field, fault) == 1;)
    count += field.key == COPSE_ASK_MATCH;
  struct glob_source *sources = calloc(count ? count : 1, sizeof *sources);
  int32_t code = sources ? 0 : no_memory(fault);
  for (span rest = ask; code == 0 && record_next(&rest, &field, fault) == 1;) {
    if (field.key == COPSE_ASK_MATCH) {
      sources[i++].pattern = field.bytes;
      continue;
    }
    if (asking->columns_count == COLUMNS_MAX)
      code = fault_set(fault, COPSE_E_LIMIT, "more than %zu fields of plugins", COLUMNS_MAX);
    else if (!utf8_is_valid(field.bytes) || memchr(field.bytes.at, 0, field.bytes.size))
      code = fault_set(fault, COPSE_E_ARGUMENT, "the name of a field is no text");
    else
      code = add_column(asking, &field, fault);
  }
  if (code == 0) code = globs_compile(sources, count, GLOB_RULES, 0, &asking->globs, fault);
  free(sources);
  if (code < 0) {
    ask_end(asking);
    return code;
  }
  asking->words = globs_words(asking->globs);
  *out = asking;
  return 0;
}

void ask_end(struct asking *asking) {
  if (!asking) return;
  for (size_t i = 0; i < asking->columns_count; i++)
    free((void *)(uintptr_t)asking->columns[i].name);
  globs_free(asking->globs);
  unpacker_free(asking->unpacker);
  free(asking->files);
  free(asking->bits);
  free(asking->head);
  free(asking->plain);
  free(asking->frame);
  free(asking);
}

size_t ask_columns(const struct asking *asking, const struct ask_column **out) {
  if (!asking) return 0;
  *out = asking->columns;
  return asking->columns_count;
}

// ── Which files ──

static int32_t add_file(struct asking *asking, struct written *written, const uint64_t *bits,
                        struct fault *fault) {
  if (asking->count == asking->capacity) {
    size_t capacity = asking->capacity ? asking->capacity * 2 : 64;
    struct written **files = realloc(asking->files, capacity * sizeof *files);
    if (files) asking->files = files;
    uint64_t *all = realloc(asking->bits, capacity * asking->words * sizeof *all);
    if (all) asking->bits = all;
    if (!files || !all) return no_memory(fault);
    asking->capacity = capacity;
  }
  memcpy(asking->bits + asking->count * asking->words, bits, asking->words * sizeof *bits);
  asking->files[asking->count++] = written;
  return 0;
}

static void refuse_large(struct task *task, const struct written *written) {
  struct fault fault = {};
  fault_set(&fault, COPSE_E_LIMIT,
            "no plugin looks into it, because it is larger than %llu bytes; it is packed",
            (unsigned long long)FILE_BYTES_MAX);
  task_emit_error(task, &fault, path_parent(written->path), path_name(written->path), (span){});
}

int32_t ask_files(struct making *making, struct task *task, uint64_t *count, struct fault *fault) {
  struct asking *asking = making->asking;
  *count = 0;
  if (!asking) return 0;
  struct matcher *matcher = matcher_take(asking->globs);
  if (!matcher) return no_memory(fault);
  int32_t code = 0;
  for (size_t i = 0; i < making->count && code == 0; i++) {
    struct written *written = making->all[i];
    if (written->type != ENTRY_FILE) continue;
    const uint64_t *bits = matcher_match(matcher, written->path);
    bool is_asked = false;
    for (size_t word = 0; word < asking->words; word++) is_asked |= bits[word] != 0;
    if (is_asked && written->size > FILE_BYTES_MAX)
      refuse_large(task, written);
    else if (is_asked)
      code = add_file(asking, written, bits, fault);
  }
  matcher_give(matcher);
  *count = asking->count;
  return code;
}

// ── Saying ──

static int32_t begin_head(struct asking *asking, struct fault *fault) {
  const struct written *written = asking->files[asking->next];
  size_t words = asking->words * sizeof(uint64_t);
  uint32_t path_size = (uint32_t)written->path.size;
  uint64_t number = asking->next;
  asking->head_size = COPSE_SAID_HEAD + words + path_size;
  asking->head_said = 0;
  asking->head = malloc(asking->head_size);
  if (!asking->head) return no_memory(fault);
  memset(asking->head, 0, COPSE_SAID_HEAD);
  asking->head[0] = COPSE_SAID_FILE;
  memcpy(asking->head + 4, &path_size, sizeof path_size);
  memcpy(asking->head + 8, &number, sizeof number);
  memcpy(asking->head + 16, &written->size, sizeof written->size);
  memcpy(asking->head + COPSE_SAID_HEAD, asking->bits + asking->next * asking->words, words);
  memcpy(asking->head + COPSE_SAID_HEAD + words, written->path.at, path_size);
  asking->block = written->first;
  asking->part = 0;
  asking->plain_size = asking->plain_said = 0;
  return 0;
}

// The next chunk of the file, out of the spool: it is read from its place once only.
static int32_t load_part(struct making *making, struct fault *fault) {
  struct asking *asking = making->asking;
  const struct part *part = &asking->block->parts[asking->part++];
  const struct blob *blob = &making->spool.blobs[part->blob];
  if (asking->part == asking->block->count) {
    asking->block = asking->block->next;
    asking->part = 0;
  }
  int32_t code = frame_room(&asking->plain, &asking->plain_capacity, part->size + 1, fault);
  if (code < 0) return code;
  asking->plain_size = (size_t)part->size;
  asking->plain_said = 0;
  if (!blob->is_frame)
    return spool_read(&making->spool, blob->at, asking->plain, (size_t)part->size, fault);
  if (!asking->unpacker) asking->unpacker = unpacker_new();
  if (!asking->unpacker) return no_memory(fault);
  code = frame_room(&asking->frame, &asking->frame_capacity, blob->size, fault);
  if (code == 0) code = spool_read(&making->spool, blob->at, asking->frame, blob->size, fault);
  span frame = {asking->frame, (size_t)blob->size};
  return code < 0 ? code : frame_read(asking->unpacker, frame, asking->plain, part->size, fault);
}

// As much as fits of one source. What was taken of it.
static size_t pass(uint8_t *into, size_t room, const uint8_t *from, size_t size, size_t *said) {
  size_t count = size - *said < room ? size - *said : room;
  if (count) memcpy(into, from + *said, count);
  *said += count;
  return count;
}

int64_t ask_say(struct making *making, uint8_t *into, size_t size, struct fault *fault) {
  struct asking *asking = making->asking;
  size_t said = 0;
  while (said < size && asking->next < asking->count) {
    int32_t code = asking->head ? 0 : begin_head(asking, fault);
    if (code < 0) return code;
    said += pass(into + said, size - said, asking->head, asking->head_size, &asking->head_said);
    if (asking->head_said < asking->head_size) break;
    if (asking->plain_said == asking->plain_size && asking->block) {
      code = load_part(making, fault);
      if (code < 0) return code;
    }
    said += pass(into + said, size - said, asking->plain, asking->plain_size, &asking->plain_said);
    if (asking->plain_said < asking->plain_size || asking->block) continue;
    free(asking->head);
    asking->head = nullptr;
    asking->next++;
  }
  return (int64_t)said;
}

// ── Hearing ──

static int32_t wrong(struct fault *fault) {
  return fault_set(fault, COPSE_E_ARGUMENT, "what was pushed answers no question of the pack");
}

static void tell_fault(struct task *task, span answer, const struct written *written) {
  span sentence = record_text(answer, COPSE_ANSWER_SENTENCE);
  if (!sentence.at) return;
  struct fault fault = {};
  int32_t code = (int32_t)record_number(answer, COPSE_ANSWER_CODE, 0);
  bool is_known = code <= COPSE_E_NOT_FOUND && code >= COPSE_E_INTERNAL;
  fault_set(&fault, is_known ? code : COPSE_E_CORRUPT, "%.*s", (int)sentence.size,
            (const char *)sentence.at);
  task_emit_error(task, &fault, path_parent(written->path), path_name(written->path), (span){});
}

int32_t ask_hear(struct making *making, struct task *task, span answer, struct fault *fault) {
  struct asking *asking = making->asking;
  if (!asking) return wrong(fault);
  int32_t code = record_check(answer, fault);
  if (code < 0) return code;
  uint64_t number = record_number(answer, COPSE_ANSWER_FILE, UINT64_MAX);
  if (number >= asking->count) return wrong(fault);
  struct written *written = asking->files[number];
  uint8_t *copy = malloc(answer.size);
  if (!copy) return no_memory(fault);
  memcpy(copy, answer.at, answer.size);
  mutex_lock(&making->lock);
  bool is_first = !written->answer.at;
  if (is_first) written->answer = (span){copy, answer.size};
  bool is_last = is_first && ++asking->answers == asking->count;
  mutex_unlock(&making->lock);
  if (!is_first) {
    free(copy);
    return wrong(fault);
  }
  tell_fault(task, answer, written);
  return is_last;
}

// ── What was answered ──

bool answer_type(const struct written *written, uint8_t *type) {
  struct field field;
  if (!record_find(written->answer, COPSE_ANSWER_TYPE, COPSE_FIELD_NUMBER, &field)) return false;
  *type = (uint8_t)(field.number & 127);
  return true;
}

static bool find_column(const struct written *written, size_t column, span *value) {
  struct field field;
  struct fault ignored;
  for (span rest = written->answer; record_next(&rest, &field, &ignored) == 1;) {
    if (field.key != COPSE_ANSWER_COLUMN || field.kind != COPSE_FIELD_RECORD) continue;
    if (record_number(field.bytes, COPSE_ANSWER_INDEX, UINT64_MAX) != column) continue;
    *value = field.bytes;
    return true;
  }
  return false;
}

bool answer_number(const struct written *written, size_t column, uint32_t *number) {
  span value;
  struct field field;
  if (!find_column(written, column, &value)) return false;
  if (!record_find(value, COPSE_ANSWER_NUMBER, COPSE_FIELD_NUMBER, &field)) return false;
  *number = (uint32_t)field.number;
  return true;
}

bool answer_text(const struct written *written, size_t column, span *text) {
  span value;
  if (!find_column(written, column, &value)) return false;
  *text = record_text(value, COPSE_ANSWER_TEXT);
  return text->at && utf8_is_valid(*text);
}
