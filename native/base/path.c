// path: see path.h.
#include "base/path.h"

static const char *why_unsafe(span part) {
  if (part.size == 0) return "it has an empty part";
  if (span_equal(part, SPAN("."))) return "a part of it is \".\"";
  if (span_equal(part, SPAN(".."))) return "a part of it is \"..\"";
  return nullptr;
}

int32_t path_safe(span path, struct fault *fault) {
  if (path.size == 0) return 0;
  const char *why = nullptr;
  if (memchr(path.at, 0, path.size))
    why = "it holds a NUL byte";
  else if (path.at[0] == '/')
    why = "it is absolute";
  else if (path.at[path.size - 1] == '/')
    why = "it ends with '/'";
  for (size_t begin = 0; !why && begin < path.size;) {
    const uint8_t *slash = memchr(path.at + begin, '/', path.size - begin);
    size_t end = slash ? (size_t)(slash - path.at) : path.size;
    why = why_unsafe((span){path.at + begin, end - begin});
    begin = end + 1;
  }
  if (!why) return 0;
  return fault_set(fault, COPSE_E_UNSAFE_PATH, "unsafe path, %s: give it relative to the root",
                   why);
}

bool path_next(span *rest, span *part) {
  while (rest->size && rest->at[0] == '/') *rest = (span){rest->at + 1, rest->size - 1};
  if (rest->size == 0) return false;
  const uint8_t *slash = memchr(rest->at, '/', rest->size);
  *part = (span){rest->at, slash ? (size_t)(slash - rest->at) : rest->size};
  *rest = (span){rest->at + part->size, rest->size - part->size};
  return true;
}

// Where the last part begins.
static size_t name_begin(span path) {
  size_t begin = path.size;
  while (begin > 0 && path.at[begin - 1] != '/') begin--;
  return begin;
}

span path_name(span path) {
  size_t begin = name_begin(path);
  return begin ? (span){path.at + begin, path.size - begin} : path;
}

span path_parent(span path) {
  size_t begin = name_begin(path);
  return (span){path.at, begin ? begin - 1 : 0};
}
