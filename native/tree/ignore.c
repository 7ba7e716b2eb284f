// ignore: see ignore.h. The order of things in a line is git's: a carriage return and spaces at its
// end go, '#' begins a comment, '!' brings back, '/' at the end means directories only, and a '/'
// elsewhere ties the line to the directory of the file.
#include "tree/ignore.h"

#include <stdlib.h>

#include "base/glob.h"

// A file that people wrote is a few KiB; one of a stranger must not cost more than this.
constexpr size_t IGNORE_MAX = 1 << 20;
constexpr size_t LINE_MAX_BYTES = 4096;  // no path component chain that long can be named

struct line {
  span pattern;
  bool back, any_type, floats;
};

// Spaces at the end, unless a '\' stands before them.
static size_t without_spaces(span text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size; at++) {
    if (text.at[at] == ' ') continue;
    if (text.at[at] == '\\' && at + 1 < text.size) at++;
    end = at + 1;
  }
  return end;
}

static bool line_next(span *rest, span *line) {
  if (rest->size == 0) return false;
  const uint8_t *stop = memchr(rest->at, '\n', rest->size);
  size_t size = stop ? (size_t)(stop - rest->at) : rest->size;
  *line = (span){rest->at, size};
  *rest = stop ? (span){stop + 1, rest->size - size - 1} : (span){};
  return true;
}

// False: the line says nothing.
static bool line_read(span text, struct line *line) {
  if (text.size && text.at[text.size - 1] == '\r') text.size--;
  if (text.size == 0 || text.at[0] == '#') return false;
  text.size = without_spaces(text);
  *line = (struct line){.any_type = true, .floats = true};
  if (text.size && text.at[0] == '!') {
    line->back = true;
    text = (span){text.at + 1, text.size - 1};
  }
  if (text.size && text.at[text.size - 1] == '/') {
    line->any_type = false;
    text.size--;
  }
  line->floats = !(text.size && memchr(text.at, '/', text.size));
  if (text.size && text.at[0] == '/') text = (span){text.at + 1, text.size - 1};
  line->pattern = text;
  return text.size > 0 && text.size <= LINE_MAX_BYTES && !memchr(text.at, 0, text.size);
}

int32_t ignore_read(span text, size_t base, struct ignore *above, struct ignore **out,
                    struct fault *fault) {
  *out = nullptr;
  if (text.size >= 3 && memcmp(text.at, "\xef\xbb\xbf", 3) == 0)
    text = (span){text.at + 3, text.size - 3};
  size_t count = 0;
  span rest = text, bytes;
  struct line line;
  while (line_next(&rest, &bytes)) count += line_read(bytes, &line);
  if (count == 0) return 0;
  size_t words = count / 64 + 1;
  struct ignore *ignore = calloc(1, sizeof *ignore + 2 * words * sizeof(uint64_t));
  struct glob_source *sources = calloc(count, sizeof *sources);
  int32_t code = ignore && sources ? 0 : fault_set(fault, COPSE_E_MEMORY, "out of memory");
  if (code == 0) {
    ignore->above = above;
    ignore->base = base;
    ignore->words = words;
    size_t at = 0;
    for (rest = text; line_next(&rest, &bytes);) {
      if (!line_read(bytes, &line)) continue;
      sources[at] = (struct glob_source){line.pattern, line.floats};
      uint64_t bit = 1ull << (at % 64);
      if (line.back) ignore->bits[at / 64] |= bit;
      if (line.any_type) ignore->bits[words + at / 64] |= bit;
      at++;
    }
    code = globs_compile(sources, count, GLOB_IGNORE, 0, &ignore->globs, fault);
  }
  free(sources);
  if (code == 0)
    *out = ignore;
  else
    ignore_free(ignore);
  return code;
}

void ignore_free(struct ignore *ignore) {
  if (!ignore) return;
  globs_free(ignore->globs);
  free(ignore);
}

int32_t ignore_load(struct directory *directory, const struct entry *entry, uint8_t **text,
                    size_t *size, struct fault *fault) {
  const struct store_ops *ops = directory->store->ops;
  struct reader reader = {};
  int32_t code = ops->reader(directory, entry, &reader, fault);
  if (code < 0) return code;
  size_t room = 0, begin = *size;
  uint64_t at = 0;
  for (;;) {
    size_t used = *size - begin;
    if (room < used + 4096) {
      room = room ? room * 2 : 8192;
      uint8_t *larger = realloc(*text, begin + room + 1);
      if (!larger) {
        code = fault_set(fault, COPSE_E_MEMORY, "out of memory while reading an ignore file");
        break;
      }
      *text = larger;
    }
    int64_t got = ops->read(&reader, at, *text + *size, room - used, fault);
    if (got < 0) code = (int32_t)got;
    if (got <= 0) break;
    at += (uint64_t)got;
    *size += (size_t)got;
    if (at > IGNORE_MAX) {
      code = fault_set(fault, COPSE_E_LIMIT, "the ignore file is larger than 1 MiB");
      break;
    }
  }
  ops->read_end(&reader);
  if (code < 0)
    *size = begin;
  else
    (*text)[(*size)++] = '\n';
  return code;
}
