// sync_inside: whether deleting what only the right side has would take the source away, asked
// before anything is touched. Below the roots the walk looks at each directory's identity too, but
// by then the rest may be gone.
#include <stdlib.h>

#include "base/path.h"
#include "base/record.h"
#include "engine/io.h"
#include "engine/runtime.h"
#include "verb/sync.h"

// The file or directory of this machine that the source is read from, whatever wraps it. Empty:
// there is none.
static span path_beneath(const struct run *run) {
  span record = record_record((span){run->task->request, run->task->request_len}, COPSE_KEY_LEFT);
  struct place place = {};
  struct fault fault = {};
  while (record.size) {
    if (place_read(record, &place, &fault) < 0) return (span){};
    record = place.inner;
  }
  return span_equal(place.scheme, SPAN("file")) ? place.path : (span){};
}

// Whether the filter keeps what is at that path of the right side from being deleted.
static int32_t is_left_alone(struct run *run, span path, bool is_directory, bool *out,
                             struct fault *fault) {
  *out = false;
  bool is_inside = false;
  for (size_t at = 0; at < path.size && !*out;) {
    size_t end = at;
    while (end < path.size && path.at[end] != '/') end++;
    struct sieve sieve;
    int32_t code =
        sieve_begin(&sieve, run->filter, nullptr, (span){path.at, at ? at - 1 : 0}, fault);
    struct verdict verdict = {};
    if (code == 0)
      verdict = sieve_entry(&sieve, (span){path.at + at, end - at}, is_directory || end < path.size,
                            is_inside);
    sieve_end(&sieve);
    if (code < 0) return code;
    *out = !verdict.seen && !verdict.descend;
    is_inside = verdict.inside;
    at = end + 1;
  }
  return 0;
}

static int32_t refuse(span path, struct fault *fault) {
  if (path.size == 0)
    return fault_set(fault, COPSE_E_ARGUMENT,
                     "the source is made of what lies in this directory, which would be deleted: "
                     "name another destination");
  return fault_set(fault, COPSE_E_ARGUMENT,
                   "the source lies inside the destination, where what it lacks would be deleted, "
                   "and so would it: copy instead, or exclude \"%.*s\"",
                   (int)(path.size > 200 ? 200 : path.size), (const char *)path.at);
}

int32_t sync_inside(struct spot *spot, struct fault *fault) {
  struct run *run = spot->run;
  const struct entry *right = &sync_of(run)->root[RIGHT];
  const struct io_ops *io = run->task->runtime->io;
  span named = path_beneath(run);
  bool is_here = (run->store[RIGHT].can & IS_LOCAL) && (right->inode || right->device);
  if (!sync_of(run)->deletes || !is_here || named.size == 0) return 0;
  uint8_t *from = arena_take_bytes(spot->arena, named.size + 1);
  if (!from) return fault_set(fault, COPSE_E_MEMORY, "out of memory");
  memcpy(from, named.at, named.size);
  from[named.size] = 0;
  // Links resolved: what a name says of where something lies need not be so.
  char *path = realpath((const char *)from, nullptr);
  if (!path) return 0;  // longer than the system takes; said by whoever opens it otherwise
  size_t size = strlen(path);
  struct io_stat stat;
  bool is_directory = io->stat(IO_HERE, path, true, &stat) == 0 && (stat.mode & 0170000) == 0040000;
  int32_t code = 0;
  for (size_t end = size; code == 0 && end > 0;) {
    char cut = path[end];
    path[end] = 0;
    bool is_right = io->stat(IO_HERE, path, true, &stat) == 0 && stat.inode == right->inode &&
                    stat.device == right->device;
    path[end] = cut;
    if (is_right) {
      size_t skip = end < size && path[end] == '/' ? end + 1 : end;
      span below = {(const uint8_t *)path + skip, size - skip};
      bool is_safe = false;
      if (below.size && run->filter)
        code = is_left_alone(run, below, is_directory, &is_safe, fault);
      if (code == 0 && !is_safe) code = refuse(below, fault);
      break;
    }
    if (end == 1) break;  // "/"
    do end--;
    while (end > 1 && path[end] != '/');
  }
  free(path);
  return code;
}
