// What a file of a server is called here: as its Content-Disposition says, or as its URL does. A
// server chooses no more than one plain name: no path, nothing hidden, nothing that cannot be
// shown.
#include <ctype.h>

#include "base/character.h"
#include "base/path.h"
#include "wire/http_head.h"

static int digit_of(uint8_t c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                : -1;
}

// A name of up to HTTP_NAME_MAX bytes that is UTF-8 without control characters. Empty: none.
struct name {
  char at[HTTP_NAME_MAX + 1];
  size_t size;
  bool is_too_long;
};

static void put(struct name *name, uint8_t c) {
  if (name->size < HTTP_NAME_MAX)
    name->at[name->size++] = (char)c;
  else
    name->is_too_long = true;
}

static bool is_plain(const struct name *name) {
  span text = {(const uint8_t *)name->at, name->size};
  struct fault ignored = {};
  if (name->is_too_long || name->size == 0 || memchr(text.at, '/', text.size)) return false;
  for (span rest = text; rest.size;) {
    uint32_t character;
    size_t width = character_read(rest, &character);
    if (character < 0x20 || (character >= 0x7f && character < 0xa0)) return false;
    if (character >= CHARACTER_MALFORMED) return false;
    rest = (span){rest.at + width, rest.size - width};
  }
  return path_safe(text, &ignored) == 0;
}

static void put_decoded(struct name *name, span text) {
  for (size_t i = 0; i < text.size; i++) {
    int high = text.at[i] == '%' && i + 2 < text.size ? digit_of(text.at[i + 1]) : -1;
    int low = high >= 0 ? digit_of(text.at[i + 2]) : -1;
    put(name, low >= 0 ? (uint8_t)(high * 16 + low) : text.at[i]);
    if (low >= 0) i += 2;
  }
}

static span trimmed(span text) {
  while (text.size && (text.at[0] == ' ' || text.at[0] == '\t'))
    text = (span){text.at + 1, text.size - 1};
  while (text.size && (text.at[text.size - 1] == ' ' || text.at[text.size - 1] == '\t'))
    text.size--;
  return text;
}

static bool is_word(span text, const char *word) {
  if (text.size != strlen(word)) return false;
  for (size_t i = 0; i < text.size; i++)
    if (tolower(text.at[i]) != word[i]) return false;
  return true;
}

// The value of one parameter, quoted or not; *rest goes behind it.
static void take_value(span *rest, struct name *name) {
  *rest = trimmed(*rest);
  bool is_quoted = rest->size && rest->at[0] == '"';
  size_t i = is_quoted;
  for (; i < rest->size && rest->at[i] != (is_quoted ? '"' : ';'); i++) {
    if (is_quoted && rest->at[i] == '\\' && i + 1 < rest->size) i++;
    put(name, rest->at[i]);
  }
  while (i < rest->size && rest->at[i] != ';') i++;
  *rest = (span){rest->at + i, rest->size - i};
  if (!is_quoted)
    while (name->size && (name->at[name->size - 1] == ' ' || name->at[name->size - 1] == '\t'))
      name->size--;
}

// filename*=UTF-8''na%C3%AFve.txt
static bool decode_extended(struct name *name) {
  static const char charset[] = "utf-8'";
  span text = {(const uint8_t *)name->at, name->size};
  if (text.size < sizeof charset - 1 || !is_word((span){text.at, sizeof charset - 1}, charset))
    return false;
  const uint8_t *quote = memchr(text.at + 6, '\'', text.size - 6);
  if (!quote) return false;
  struct name decoded = {.is_too_long = name->is_too_long};
  put_decoded(&decoded, (span){quote + 1, (size_t)(text.at + text.size - quote) - 1});
  *name = decoded;
  return true;
}

// Of a path of whatever system only the last part counts.
static void keep_last_part(struct name *name) {
  for (size_t i = name->size; i > 0; i--) {
    if (name->at[i - 1] != '/' && name->at[i - 1] != '\\') continue;
    name->size -= i;
    memmove(name->at, name->at + i, name->size);
    return;
  }
}

bool http_disposition_name(span value, char out[HTTP_NAME_MAX + 1]) {
  const uint8_t *mark = value.size ? memchr(value.at, ';', value.size) : nullptr;
  span rest = mark ? (span){mark, (size_t)(value.at + value.size - mark)} : (span){};
  struct name best = {};
  bool is_extended = false;
  while (rest.size) {
    rest = (span){rest.at + 1, rest.size - 1};  // ';'
    const uint8_t *equals = rest.size ? memchr(rest.at, '=', rest.size) : nullptr;
    const uint8_t *end = rest.size ? memchr(rest.at, ';', rest.size) : nullptr;
    if (!equals || (end && end < equals)) {
      rest = end ? (span){end, (size_t)(rest.at + rest.size - end)} : (span){};
      continue;
    }
    span key = trimmed((span){rest.at, (size_t)(equals - rest.at)});
    rest = (span){equals + 1, (size_t)(rest.at + rest.size - equals) - 1};
    struct name name = {};
    take_value(&rest, &name);
    bool is_star = is_word(key, "filename*");
    if (is_star ? !decode_extended(&name) : !is_word(key, "filename")) continue;
    keep_last_part(&name);
    if (!is_plain(&name) || name.at[0] == '.' || (is_extended && !is_star)) continue;
    best = name;
    is_extended = is_star;
  }
  memcpy(out, best.at, best.size);
  out[best.size] = 0;
  return best.size > 0;
}

bool http_url_name(span url, char out[HTTP_NAME_MAX + 1]) {
  size_t end = 0;
  while (end < url.size && url.at[end] != '?' && url.at[end] != '#') end++;
  span path = {url.at, end};
  const uint8_t *host = path.size ? memmem(path.at, path.size, "://", 3) : nullptr;
  if (host) path = (span){host + 3, (size_t)(path.at + path.size - host) - 3};
  size_t begin = path.size;
  while (begin > 0 && path.at[begin - 1] != '/') begin--;
  out[0] = 0;
  if (begin == 0) return false;  // only a host
  span last = {path.at + begin, path.size - begin};
  struct name name = {};
  put_decoded(&name, last);
  if (!is_plain(&name)) {
    name = (struct name){};
    for (size_t i = 0; i < last.size; i++) put(&name, last.at[i]);
    if (!is_plain(&name)) return false;
  }
  memcpy(out, name.at, name.size);
  out[name.size] = 0;
  return true;
}
