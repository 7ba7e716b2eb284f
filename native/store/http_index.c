#include "store/http_index.h"

#include <stdlib.h>

#include "copse.h"
#include "wire/http_head.h"

static int32_t no_index(struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED,
                   "the server lists no directory here: name files, or let it make an index");
}

static int32_t bad_index(struct fault *fault) {
  return fault_set(fault, COPSE_E_PROTOCOL, "the server's index of the directory is damaged");
}

static int32_t bad_name(struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSAFE_PATH,
                   "the server's index holds a name that no entry can have: check the server");
}

static bool is_name(span name) {
  return name.size > 0 && !memchr(name.at, 0, name.size) && !memchr(name.at, '/', name.size) &&
         !span_equal(name, SPAN(".")) && !span_equal(name, SPAN(".."));
}

// Bytes that grow while a name is decoded; never more than the document has.
struct text {
  uint8_t *at;
  size_t size;
};

static void put_character(struct text *text, uint32_t c) {
  uint8_t *at = text->at + text->size;
  if (c < 0x80) {
    at[0] = (uint8_t)c;
    text->size += 1;
  } else if (c < 0x800) {
    at[0] = (uint8_t)(0xc0 | c >> 6);
    at[1] = (uint8_t)(0x80 | (c & 63));
    text->size += 2;
  } else if (c < 0x10000) {
    at[0] = (uint8_t)(0xe0 | c >> 12);
    at[1] = (uint8_t)(0x80 | (c >> 6 & 63));
    at[2] = (uint8_t)(0x80 | (c & 63));
    text->size += 3;
  } else {
    at[0] = (uint8_t)(0xf0 | c >> 18);
    at[1] = (uint8_t)(0x80 | (c >> 12 & 63));
    at[2] = (uint8_t)(0x80 | (c >> 6 & 63));
    at[3] = (uint8_t)(0x80 | (c & 63));
    text->size += 4;
  }
}

static int hex(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// ── JSON ──

struct json {
  const uint8_t *at, *end;
};

static void skip_space(struct json *json) {
  while (json->at < json->end &&
         (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r'))
    json->at++;
}

static bool take(struct json *json, uint8_t c) {
  skip_space(json);
  if (json->at == json->end || *json->at != c) return false;
  json->at++;
  return true;
}

static bool take_hex4(struct json *json, uint32_t *c) {
  if (json->end - json->at < 4) return false;
  *c = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex(*json->at++);
    if (digit < 0) return false;
    *c = *c << 4 | (uint32_t)digit;
  }
  return true;
}

static bool take_string(struct json *json, struct text *text) {
  text->size = 0;
  if (!take(json, '"')) return false;
  while (json->at < json->end && *json->at != '"') {
    uint8_t c = *json->at++;
    if (c < 0x20) return false;
    if (c != '\\') {
      text->at[text->size++] = c;
      continue;
    }
    if (json->at == json->end) return false;
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    c = *json->at++;
    const char *plain = c ? strchr(from, c) : nullptr;
    uint32_t whole, low;
    if (plain) {
      text->at[text->size++] = (uint8_t)to[plain - from];
    } else if (c == 'u' && take_hex4(json, &whole)) {
      if (whole >= 0xd800 && whole < 0xe000) {
        bool is_pair = whole < 0xdc00 && json->end - json->at >= 6 && json->at[0] == '\\' &&
                       json->at[1] == 'u';
        if (!is_pair) return false;
        json->at += 2;
        if (!take_hex4(json, &low) || low < 0xdc00 || low > 0xdfff) return false;
        whole = 0x10000 + ((whole - 0xd800) << 10) + (low - 0xdc00);
      }
      put_character(text, whole);
    } else {
      return false;
    }
  }
  if (json->at == json->end) return false;
  json->at++;
  return true;
}

// A number or one of the three words; `out` is what stands there.
static bool take_plain(struct json *json, span *out) {
  skip_space(json);
  const uint8_t *begin = json->at;
  while (json->at < json->end && *json->at != ',' && *json->at != '}' && *json->at > ' ' &&
         *json->at != '{' && *json->at != '[' && *json->at != '"')
    json->at++;
  *out = (span){begin, (size_t)(json->at - begin)};
  return out->size > 0;
}

struct listed {
  struct text name, value, key;
  enum entry_type type;
  uint64_t size;
  int64_t mtime_ns;
  bool has_name, has_size;
};

static bool take_field(struct json *json, struct listed *listed) {
  if (!take_string(json, &listed->key) || !take(json, ':')) return false;
  span key = {listed->key.at, listed->key.size}, plain = {};
  skip_space(json);
  bool is_text = json->at < json->end && *json->at == '"';
  if (is_text && span_equal(key, SPAN("name"))) {
    listed->has_name = true;
    return take_string(json, &listed->name);
  }
  if (is_text) {
    if (!take_string(json, &listed->value)) return false;
    span value = {listed->value.at, listed->value.size};
    if (span_equal(key, SPAN("type"))) {
      if (span_equal(value, SPAN("directory")))
        listed->type = ENTRY_DIRECTORY;
      else if (!span_equal(value, SPAN("file")))
        listed->type = ENTRY_OTHER;
    }
    if (span_equal(key, SPAN("mtime"))) listed->mtime_ns = http_date_ns(value);
    return true;
  }
  if (!take_plain(json, &plain)) return false;
  if (span_equal(key, SPAN("size"))) listed->has_size = http_number(plain, &listed->size);
  if (span_equal(key, SPAN("is_dir")) && span_equal(plain, SPAN("true")))
    listed->type = ENTRY_DIRECTORY;
  return true;
}

static int32_t add(struct listing *listing, struct listed *listed, struct fault *fault) {
  span name = {listed->name.at, listed->name.size};
  if (listed->type == ENTRY_DIRECTORY && name.size && name.at[name.size - 1] == '/') name.size--;
  if (!is_name(name)) return bad_name(fault);
  struct entry *entry = listing_add(listing, name, listed->type, fault);
  if (!entry) return fault->code;
  entry->mtime_ns = listed->mtime_ns;
  if (listed->type == ENTRY_FILE && listed->has_size) {
    entry->size = listed->size;
    entry->has = HAS_STAT | HAS_SIZE;
  }
  return 0;
}

static int32_t read_json(span document, uint8_t *room, struct listing *listing,
                         struct fault *fault) {
  struct json json = {document.at, document.at + document.size};
  if (!take(&json, '[')) return no_index(fault);
  if (take(&json, ']')) return 0;
  // A decoded text is no longer than what it was decoded from, so a third each is enough.
  do {
    struct listed listed = {.name = {room, 0},
                            .value = {room + document.size, 0},
                            .key = {room + 2 * document.size, 0},
                            .type = ENTRY_FILE,
                            .mtime_ns = COPSE_UNKNOWN_TIME};
    if (!take(&json, '{')) return bad_index(fault);
    do
      if (!take_field(&json, &listed)) return bad_index(fault);
    while (take(&json, ','));
    if (!take(&json, '}') || !listed.has_name) return bad_index(fault);
    int32_t code = add(listing, &listed, fault);
    if (code < 0) return code;
  } while (take(&json, ','));
  bool is_whole = take(&json, ']');
  skip_space(&json);
  return is_whole && json.at == json.end ? 0 : bad_index(fault);
}

// ── HTML ──

static uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c; }

// Where `word` (lower case) stands next, in any case; the end when nowhere.
static const uint8_t *find(const uint8_t *at, const uint8_t *end, const char *word) {
  size_t size = strlen(word);
  for (; (size_t)(end - at) >= size; at++) {
    size_t i = 0;
    while (i < size && lower(at[i]) == (uint8_t)word[i]) i++;
    if (i == size) return at;
  }
  return end;
}

static bool has(span text, const char *word) {
  const uint8_t *end = text.at + text.size;
  return find(text.at, end, word) != end;
}

// &amp; and its like. An unknown one stays as it is.
static void decode_entities(span from, struct text *to) {
  static const struct {
    const char *name;
    uint8_t c;
  } known[] = {{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}};
  to->size = 0;
  for (size_t i = 0; i < from.size; i++) {
    if (from.at[i] != '&') {
      to->at[to->size++] = from.at[i];
      continue;
    }
    span rest = {from.at + i + 1, from.size - i - 1};
    size_t used = 0;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
      size_t size = strlen(known[k].name);
      if (rest.size < size || memcmp(rest.at, known[k].name, size) != 0) continue;
      to->at[to->size++] = known[k].c;
      used = size;
    }
    if (used == 0 && rest.size > 2 && rest.at[0] == '#') {
      bool is_hex = rest.at[1] == 'x' || rest.at[1] == 'X';
      uint32_t c = 0;
      size_t at = is_hex ? 2 : 1, first = at;
      for (; at < rest.size && at < first + 7; at++) {
        int digit = hex(rest.at[at]);
        if (digit < 0 || (!is_hex && digit > 9)) break;
        c = c * (is_hex ? 16 : 10) + (uint32_t)digit;
      }
      bool is_good = at > first && at < rest.size && rest.at[at] == ';' && c < 0x110000 &&
                     !(c >= 0xd800 && c < 0xe000);
      if (is_good) {
        put_character(to, c);
        used = at + 1;
      }
    }
    if (used == 0) to->at[to->size++] = '&';
    i += used;
  }
}

// A link of the page, when it leads to something in this directory itself.
static int32_t add_link(span href, span path, struct text *name, struct listing *listing,
                        struct fault *fault) {
  if (href.size >= path.size && memcmp(href.at, path.at, path.size) == 0)
    href = (span){href.at + path.size, href.size - path.size};
  if (href.size >= 2 && href.at[0] == '.' && href.at[1] == '/')
    href = (span){href.at + 2, href.size - 2};
  // Sort orders, anchors, the parent, other places.
  if (href.size == 0 || href.at[0] == '/' || href.at[0] == '?' || href.at[0] == '#') return 0;
  if (memchr(href.at, '?', href.size) || memchr(href.at, '#', href.size)) return 0;
  bool is_directory = href.at[href.size - 1] == '/';
  if (is_directory) href.size--;
  if (span_equal(href, SPAN("..")) || span_equal(href, SPAN("."))) return 0;
  if (href.size == 0 || memchr(href.at, '/', href.size)) return 0;
  const uint8_t *colon = memchr(href.at, ':', href.size);
  if (colon) {  // mailto:, javascript:
    bool is_scheme = true;
    for (const uint8_t *c = href.at; c < colon; c++)
      is_scheme = is_scheme && lower(*c) >= 'a' && lower(*c) <= 'z';
    if (is_scheme && colon > href.at + 1) return 0;
  }
  name->size = 0;
  for (size_t i = 0; i < href.size; i++) {
    uint8_t c = href.at[i];
    if (c == '%' && i + 2 < href.size && hex(href.at[i + 1]) >= 0 && hex(href.at[i + 2]) >= 0) {
      c = (uint8_t)(hex(href.at[i + 1]) << 4 | hex(href.at[i + 2]));
      i += 2;
    }
    name->at[name->size++] = c;
  }
  if (!is_name((span){name->at, name->size})) return bad_name(fault);
  enum entry_type type = is_directory ? ENTRY_DIRECTORY : ENTRY_FILE;
  return listing_add(listing, (span){name->at, name->size}, type, fault) ? 0 : fault->code;
}

static int32_t read_html(span document, uint8_t *room, span path, struct listing *listing,
                         struct fault *fault) {
  // Any page has links; only one that says so is an index.
  const uint8_t *at = document.at, *end = at + document.size;
  const uint8_t *body = find(at, end, "</h1>");
  span top = {at, (size_t)(body - at)};
  if (!has(top, "index of") && !has(top, "directory listing")) return no_index(fault);
  struct text decoded = {room, 0}, name = {room + document.size, 0};
  while ((at = find(at, end, "<a ")) != end) {
    const uint8_t *close = memchr(at, '>', (size_t)(end - at));
    if (!close) close = end;
    const uint8_t *href = find(at, close, "href=");
    at += 3;
    if (href == close) continue;
    href += 5;
    uint8_t quote = href < end && (*href == '"' || *href == '\'') ? *href : 0;
    if (quote) href++;
    const uint8_t *stop = href;
    while (stop < end && (quote ? *stop != quote : *stop != '>' && *stop > ' ')) stop++;
    decode_entities((span){href, (size_t)(stop - href)}, &decoded);
    int32_t code = add_link((span){decoded.at, decoded.size}, path, &name, listing, fault);
    if (code < 0) return code;
    at = stop;
  }
  return 0;
}

// ── Both ──

static int by_name(const void *left, const void *right) {
  return span_compare(((const struct entry *)left)->name, ((const struct entry *)right)->name);
}

// A page may link to one entry twice. One name for two things is not an index anybody can use.
static int32_t drop_twins(struct listing *listing, struct fault *fault) {
  if (listing->count < 2) return 0;
  qsort(listing->entries, listing->count, sizeof *listing->entries, by_name);
  size_t kept = 1;
  for (size_t i = 1; i < listing->count; i++) {
    const struct entry *last = &listing->entries[kept - 1], *entry = &listing->entries[i];
    if (!span_equal(last->name, entry->name))
      listing->entries[kept++] = *entry;
    else if (last->type != entry->type || last->size != entry->size)
      return bad_index(fault);
  }
  listing->count = kept;
  return 0;
}

int32_t http_index_read(span document, const char *type, span path, struct listing *listing,
                        struct fault *fault) {
  bool is_json = strcmp(type, "application/json") == 0;
  bool is_html = strcmp(type, "text/html") == 0 || strcmp(type, "application/xhtml+xml") == 0;
  if (!is_json && !is_html) return no_index(fault);
  uint8_t *room = malloc(document.size * 3 + 16);
  if (!room) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  int32_t code = is_json ? read_json(document, room, listing, fault)
                         : read_html(document, room, path, listing, fault);
  free(room);
  return code < 0 ? code : drop_twins(listing, fault);
}
