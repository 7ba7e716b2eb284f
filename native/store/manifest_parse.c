#include "store/manifest_parse.h"

#include <stdckdint.h>
#include <stdlib.h>

#include "base/path.h"
#include "store/paths.h"

struct parser {
  struct manifest *manifest;
  struct fault *fault;
  size_t line;
  bool said;           // a line has said which algorithm
  bool ended;          // the summary came
  uint8_t *unescaped;  // room for one line
};

static int32_t corrupt(struct parser *parser, const char *why) {
  return fault_set(parser->fault, COPSE_E_CORRUPT, "line %zu of the manifest: %s", parser->line,
                   why);
}

static int32_t no_memory(struct parser *parser) {
  return fault_set(parser->fault, COPSE_E_MEMORY, "out of memory");
}

static int digit_of(uint8_t byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
  if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
  return -1;
}

static bool read_hex(span text, uint8_t *out) {
  if (text.size % 2) return false;
  for (size_t i = 0; i < text.size; i += 2) {
    int high = digit_of(text.at[i]), low = digit_of(text.at[i + 1]);
    if (high < 0 || low < 0) return false;
    out[i / 2] = (uint8_t)(high * 16 + low);
  }
  return true;
}

static int32_t add(struct parser *parser, const struct manifest_item *item) {
  struct manifest *manifest = parser->manifest;
  span path = item->path;
  // What `find . | xargs sha256sum` writes.
  while (path.size > 2 && path.at[0] == '.' && path.at[1] == '/')
    path = (span){path.at + 2, path.size - 2};
  if (path.size == 0) return corrupt(parser, "a path is missing");
  int32_t code = path_safe(path, parser->fault);
  if (code < 0) return code;
  if (manifest->count == manifest->capacity) {
    size_t capacity = manifest->capacity ? manifest->capacity * 2 : 256, size;
    if (ckd_mul(&size, capacity, sizeof *manifest->items)) return no_memory(parser);
    struct manifest_item *items = realloc(manifest->items, size);
    if (!items) return no_memory(parser);
    manifest->items = items;
    manifest->capacity = capacity;
  }
  struct manifest_item *made = &manifest->items[manifest->count];
  *made = *item;
  made->path = arena_copy(&manifest->arena, path);
  if (item->target.at) made->target = arena_copy(&manifest->arena, item->target);
  if (!made->path.at || (item->target.at && !made->target.at)) return no_memory(parser);
  manifest->count++;
  return 0;
}

// ── Lists: `hash  name`, a name with a backslash or a line break escaped and so marked ──

static int32_t list_line(struct parser *parser, span line) {
  bool escaped = line.at[0] == '\\';
  if (escaped) line = (span){line.at + 1, line.size - 1};
  constexpr size_t HEX = 2 * HASH_BYTES;
  struct manifest_item item = {.type = ENTRY_FILE, .size = COPSE_UNKNOWN};
  if (line.size < HEX + 3 || !read_hex((span){line.at, HEX}, item.digest) || line.at[HEX] != ' ' ||
      (line.at[HEX + 1] != ' ' && line.at[HEX + 1] != '*'))
    return corrupt(parser, "no 64 hex digits, two spaces and a name");
  item.path = (span){line.at + HEX + 2, line.size - HEX - 2};
  if (!escaped) return add(parser, &item);
  size_t size = 0;
  for (size_t i = 0; i < item.path.size; i++) {
    uint8_t byte = item.path.at[i];
    if (byte == '\\') {
      uint8_t next = ++i < item.path.size ? item.path.at[i] : 0;
      if (next != '\\' && next != 'n' && next != 'r') return corrupt(parser, "an unknown escape");
      byte = next == 'n' ? '\n' : next == 'r' ? '\r' : '\\';
    }
    parser->unescaped[size++] = byte;
  }
  item.path = (span){parser->unescaped, size};
  return add(parser, &item);
}

// ── JSON lines ──

struct json {
  span rest;
  uint8_t *into;  // where texts go, one behind the other: never more bytes than the line has
};

static void skip_spaces(struct json *json) {
  while (json->rest.size && (json->rest.at[0] == ' ' || json->rest.at[0] == '\t')) {
    json->rest.at++;
    json->rest.size--;
  }
}

static bool take(struct json *json, uint8_t byte) {
  skip_spaces(json);
  if (json->rest.size == 0 || json->rest.at[0] != byte) return false;
  json->rest.at++;
  json->rest.size--;
  return true;
}

static bool take_unit(struct json *json, uint32_t *out) {
  if (json->rest.size < 4) return false;
  *out = 0;
  for (size_t i = 0; i < 4; i++) {
    int digit = digit_of(json->rest.at[i]);
    if (digit < 0) return false;
    *out = *out * 16 + (uint32_t)digit;
  }
  json->rest.at += 4;
  json->rest.size -= 4;
  return true;
}

static bool put_character(struct json *json) {
  uint32_t code;
  if (!take_unit(json, &code) || code == 0) return false;
  if (code >= 0xDC00 && code < 0xE000) return false;
  if (code >= 0xD800 && code < 0xDC00) {
    uint32_t low;
    if (json->rest.size < 2 || json->rest.at[0] != '\\' || json->rest.at[1] != 'u') return false;
    json->rest.at += 2;
    json->rest.size -= 2;
    if (!take_unit(json, &low) || low < 0xDC00 || low > 0xDFFF) return false;
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  if (code < 0x80) {
    *json->into++ = (uint8_t)code;
  } else if (code < 0x800) {
    *json->into++ = (uint8_t)(0xC0 | code >> 6);
    *json->into++ = (uint8_t)(0x80 | (code & 63));
  } else {
    if (code < 0x10000) {
      *json->into++ = (uint8_t)(0xE0 | code >> 12);
    } else {
      *json->into++ = (uint8_t)(0xF0 | code >> 18);
      *json->into++ = (uint8_t)(0x80 | (code >> 12 & 63));
    }
    *json->into++ = (uint8_t)(0x80 | (code >> 6 & 63));
    *json->into++ = (uint8_t)(0x80 | (code & 63));
  }
  return true;
}

static bool take_text(struct json *json, span *out) {
  if (!take(json, '"')) return false;
  uint8_t *begin = json->into;
  while (json->rest.size) {
    uint8_t byte = *json->rest.at++;
    json->rest.size--;
    if (byte == '"') {
      *out = (span){begin, (size_t)(json->into - begin)};
      return true;
    }
    if (byte < ' ') return false;
    if (byte != '\\') {
      *json->into++ = byte;
      continue;
    }
    if (json->rest.size == 0) return false;
    byte = *json->rest.at++;
    json->rest.size--;
    static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const char *found = byte ? strchr(names, byte) : nullptr;
    if (found)
      *json->into++ = (uint8_t)bytes[found - names];
    else if (byte != 'u' || !put_character(json))
      return false;
  }
  return false;
}

// Anything that is no text, as the bytes it is written with; no arrays, no objects.
static span take_word(struct json *json) {
  skip_spaces(json);
  span word = {json->rest.at, 0};
  while (json->rest.size && !memchr(",}{[]\" \t", json->rest.at[0], 8)) {
    json->rest.at++;
    json->rest.size--;
    word.size++;
  }
  return word;
}

static bool read_number(span word, uint64_t *out) {
  constexpr uint64_t MOST = 1ull << 53;  // what JSON keeps exactly
  *out = 0;
  for (size_t i = 0; i < word.size; i++) {
    if (word.at[i] < '0' || word.at[i] > '9' || *out > MOST) return false;
    *out = *out * 10 + (word.at[i] - '0');
  }
  return word.size > 0 && *out <= MOST;
}

struct fields {
  span kind, path, path_bytes, type, hash, algorithm, target, target_bytes;  // texts
  span size, entries, complete;                                              // words
};

static bool read_fields(struct json *json, struct fields *out) {
  const struct {
    const char *name;
    span *text, *word;
  } known[] = {
      {"kind", &out->kind, nullptr},
      {"path", &out->path, nullptr},
      {"pathBytes", &out->path_bytes, nullptr},
      {"type", &out->type, nullptr},
      {"hash", &out->hash, nullptr},
      {"algorithm", &out->algorithm, nullptr},
      {"target", &out->target, nullptr},
      {"targetBytes", &out->target_bytes, nullptr},
      {"size", nullptr, &out->size},
      {"entries", nullptr, &out->entries},
      {"complete", nullptr, &out->complete},
  };
  if (!take(json, '{')) return false;
  for (bool more = !take(json, '}'); more;) {
    span name, text = {}, word = {};
    if (!take_text(json, &name) || !take(json, ':')) return false;
    skip_spaces(json);
    bool is_text = json->rest.size && json->rest.at[0] == '"';
    if (is_text ? !take_text(json, &text) : (word = take_word(json)).size == 0) return false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
      if (!span_equal(name, span_of(known[i].name))) continue;
      if (is_text != (known[i].text != nullptr)) return false;
      *(is_text ? known[i].text : known[i].word) = is_text ? text : word;
    }
    more = take(json, ',');
    if (!more && !take(json, '}')) return false;
  }
  skip_spaces(json);
  return json->rest.size == 0;
}

static int32_t use_algorithm(struct parser *parser, span name) {
  uint32_t algorithm = COPSE_ALGORITHM_BLAKE3;
  if (span_equal(name, SPAN("sha256")))
    algorithm = COPSE_ALGORITHM_SHA256;
  else if (name.at && !span_equal(name, SPAN("blake3")))
    return corrupt(parser, "an algorithm that is neither blake3 nor sha256");
  if (parser->said && parser->manifest->algorithm != algorithm)
    return corrupt(parser, "hashes of two algorithms in one manifest");
  parser->manifest->algorithm = algorithm;
  parser->said = true;
  return 0;
}

// What is not UTF-8 is written in hex digits beside its likeness.
static bool use_bytes(struct json *json, span *text, span hex) {
  if (!hex.at) return true;
  uint8_t *begin = json->into;
  if (!read_hex(hex, begin)) return false;
  json->into += hex.size / 2;
  *text = (span){begin, hex.size / 2};
  return true;
}

static int32_t json_line(struct parser *parser, span line) {
  struct json json = {line, parser->unescaped};
  struct fields fields = {};
  if (parser->ended) return corrupt(parser, "something after the summary");
  if (!read_fields(&json, &fields)) return corrupt(parser, "no flat JSON object");
  if (span_equal(fields.kind, SPAN("summary"))) {
    uint64_t entries;
    parser->ended = true;
    if (!span_equal(fields.complete, SPAN("true")))
      return corrupt(parser, "not everything was seen when it was made");
    if (!read_number(fields.entries, &entries) || entries != parser->manifest->count)
      return corrupt(parser, "there are not as many entries as there were");
    return fields.algorithm.at ? use_algorithm(parser, fields.algorithm) : 0;
  }
  if (fields.kind.at) return corrupt(parser, "a row that is no entry");
  struct manifest_item item = {.type = ENTRY_FILE, .size = COPSE_UNKNOWN};
  if (!use_bytes(&json, &fields.path, fields.path_bytes) ||
      !use_bytes(&json, &fields.target, fields.target_bytes))
    return corrupt(parser, "bytes that are no hex digits");
  item.path = fields.path;
  if (span_equal(fields.type, SPAN("directory"))) {
    item.type = ENTRY_DIRECTORY;
    item.size = 0;
  } else if (span_equal(fields.type, SPAN("link"))) {
    if (!fields.target.at || memchr(fields.target.at, 0, fields.target.size))
      return corrupt(parser, "a link without a target");
    item.type = ENTRY_LINK;
    item.target = fields.target;
    item.size = item.target.size;
  } else if (fields.type.at && !span_equal(fields.type, SPAN("file"))) {
    return corrupt(parser, "a type that is neither file, directory nor link");
  } else {
    if (fields.hash.size != 2 * HASH_BYTES || !read_hex(fields.hash, item.digest))
      return corrupt(parser, "a file without a hash of 64 hex digits");
    if (fields.size.at && !read_number(fields.size, &item.size))
      return corrupt(parser, "a size that is no number");
    int32_t code = use_algorithm(parser, fields.algorithm);
    if (code < 0) return code;
  }
  return add(parser, &item);
}

// ── All lines ──

static int32_t check_order(struct parser *parser) {
  struct manifest *manifest = parser->manifest;
  if (manifest->count > 1)
    qsort(manifest->items, manifest->count, sizeof *manifest->items, paths_compare);
  for (size_t i = 1; i < manifest->count; i++) {
    const struct manifest_item *last = &manifest->items[i - 1];
    span path = manifest->items[i].path;
    if (span_equal(path, last->path))
      return fault_set(parser->fault, COPSE_E_CORRUPT, "a path is twice in the manifest");
    if (last->type != ENTRY_DIRECTORY && paths_below(path, last->path))
      return fault_set(parser->fault, COPSE_E_CORRUPT,
                       "a path in the manifest is a directory and something else");
  }
  return 0;
}

void manifest_free(struct manifest *manifest) {
  arena_free(&manifest->arena);
  free(manifest->items);
  manifest->items = nullptr;
  manifest->count = manifest->capacity = 0;
}

int32_t manifest_parse(span text, uint32_t algorithm, struct manifest *out, struct fault *fault) {
  *out = (struct manifest){.algorithm = algorithm};
  arena_begin(&out->arena);
  struct parser parser = {.manifest = out, .fault = fault};
  // All strings of a line without their escapes, and half as much for those of hex digits.
  size_t room;
  bool fits = !ckd_add(&room, text.size, text.size / 2 + 1);
  parser.unescaped = fits ? malloc(room) : nullptr;
  int32_t code = parser.unescaped ? 0 : no_memory(&parser);
  bool is_json = text.size && text.at[0] == '{';
  if (code == 0 && is_json && text.at[text.size - 1] != '\n')
    code = fault_set(fault, COPSE_E_CORRUPT, "the manifest is cut within its last line");
  while (code == 0 && text.size) {
    const uint8_t *end = memchr(text.at, '\n', text.size);
    span line = {text.at, end ? (size_t)(end - text.at) : text.size};
    text = (span){line.at + line.size + (end ? 1 : 0), text.size - line.size - (end ? 1 : 0)};
    parser.line++;
    if (line.size && line.at[line.size - 1] == '\r' && is_json) line.size--;
    if (line.size) code = is_json ? json_line(&parser, line) : list_line(&parser, line);
  }
  if (code == 0) code = check_order(&parser);
  free(parser.unescaped);
  if (code < 0) manifest_free(out);
  return code;
}
