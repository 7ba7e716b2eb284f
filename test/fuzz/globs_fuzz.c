// Globs of every kind, a line each, and a text on the last line. Whatever comes is a fault or a set
// that answers: the same from the whole text as from below its directory, the same again when the
// automaton knows the way, and the same for each glob alone.
#include <assert.h>
#include <stdlib.h>

#include "base/glob.h"
#include "base/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

constexpr size_t GLOBS_MAX = 16;

static void same_alone(const struct glob_source *source, enum glob_kind kind, uint32_t options,
                       span text, bool expected) {
  struct globs *globs = nullptr;
  struct fault fault = {};
  int32_t code = globs_compile(source, 1, kind, options, &globs, &fault);
  assert(code == 0);
  struct matcher *matcher = matcher_take(globs);
  if (matcher) assert(globs_has(matcher_match(matcher, text), 0) == expected);
  matcher_give(matcher);
  globs_free(globs);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  if (size < 2) return 0;
  enum glob_kind kind = (enum glob_kind)(bytes[0] & 3);
  uint32_t options = bytes[1] & 3;
  uint8_t *copy = malloc(size - 2 ? size - 2 : 1);  // exact, so that one byte too far is seen
  if (!copy) return 0;
  memcpy(copy, bytes + 2, size - 2);
  struct glob_source sources[GLOBS_MAX];
  size_t count = 0;
  span rest = {copy, size - 2};
  const uint8_t *stop;
  while (count < GLOBS_MAX && rest.size && (stop = memchr(rest.at, '\n', rest.size))) {
    size_t length = (size_t)(stop - rest.at);
    sources[count++] = (struct glob_source){{rest.at, length}, kind == GLOB_IGNORE && length % 2};
    rest = (span){stop + 1, rest.size - length - 1};
  }
  struct globs *globs = nullptr;
  struct fault fault = {};
  int32_t code = globs_compile(sources, count, kind, options, &globs, &fault);
  if (code < 0) assert(fault.code == code && fault.text[0]);
  struct matcher *matcher = code == 0 ? matcher_take(globs) : nullptr;
  if (matcher) {
    uint64_t first[GLOBS_MAX / 64 + 1], again[GLOBS_MAX / 64 + 1];
    size_t bytes_of = globs_words(globs) * sizeof(uint64_t);
    assert(bytes_of <= sizeof first);
    memcpy(first, matcher_match(matcher, rest), bytes_of);
    memcpy(again, matcher_match(matcher, rest), bytes_of);
    assert(memcmp(first, again, bytes_of) == 0);
    span directory = path_parent(rest);
    if (directory.size) {
      matcher_enter(matcher, directory);
      memcpy(again, matcher_below(matcher, path_name(rest)), bytes_of);
      assert(memcmp(first, again, bytes_of) == 0);
    }
    for (size_t i = 0; i < count; i++)
      same_alone(&sources[i], kind, options, rest, globs_has(first, i));
  }
  matcher_give(matcher);
  if (code == 0) globs_free(globs);
  free(copy);
  return 0;
}
