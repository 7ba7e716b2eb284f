#include "verb/pump_delta.h"

#include "engine/runtime.h"
#include "tree/block_index.h"
#include "verb/cutter.h"
#include "verb/pump_any.h"

// What file systems share and write anew.
constexpr size_t PIECE = 4096;
// After so much that differs without a piece that is the same, what follows has moved.
constexpr uint64_t MOVED = 1 << 20;
// So many bytes that are the same are no chance.
constexpr size_t MEETS = 256;
// Blocks of the old file in its index, about.
constexpr uint64_t BLOCKS = 32'768;
constexpr uint32_t BLOCK_LEAST = 4096, BLOCK_MOST = 1 << 20;

struct delta {
  struct spot *spot;
  const struct store_ops *to;
  struct reader *new;
  struct reader old;
  struct writer *writer;
  uint64_t size, old_size;
  uint64_t *counted;
  uint64_t brought;  // bytes that were written as they are
  bool is_shared;    // the writer began as a clone of the old file
};

static size_t at_once(uint64_t size) { return size < WORKER_SLAB ? (size_t)size : WORKER_SLAB; }

// Both are read here and there: that one read met the end says nothing of the next.
static int64_t read_new(struct delta *delta, uint64_t at, uint8_t *into, size_t size,
                        struct fault *fault) {
  delta->spot->side = LEFT;
  delta->new->at_end = false;
  return run_read_full(delta->new, at, into, size, delta->size, fault);
}

static int64_t read_old(struct delta *delta, uint64_t at, uint8_t *into, size_t size,
                        struct fault *fault) {
  delta->spot->side = RIGHT;
  delta->old.at_end = false;
  return run_read_full(&delta->old, at, into, size, delta->old_size, fault);
}

static int32_t bring(struct delta *delta, uint64_t at, const uint8_t *bytes, size_t size,
                     struct fault *fault) {
  if (size == 0) return 0;
  delta->spot->side = RIGHT;
  delta->brought += size;
  return delta->to->write(delta->writer, at, bytes, size, fault);
}

// What the writer has there now, as far as it goes.
static int64_t look(struct delta *delta, uint64_t at, uint8_t *into, size_t size,
                    struct fault *fault) {
  delta->spot->side = RIGHT;
  size_t got = 0;
  while (got < size) {
    int64_t n = delta->to->reread(delta->writer, at + got, into + got, size - got, fault);
    if (n < 0) return n;
    if (n == 0) break;
    got += (size_t)n;
  }
  return (int64_t)got;
}

// ── In its place ──

// Writes what differs of the pieces of one stretch. *run: bytes that differed, up to the end of the
// stretch, without one that did not.
static int32_t write_over(struct delta *delta, uint64_t at, const uint8_t *want, size_t size,
                          const uint8_t *have, size_t there, uint64_t *run, struct fault *fault) {
  for (size_t i = 0; i < size;) {
    size_t end = i;
    while (end < size) {
      size_t one = size - end < PIECE ? size - end : PIECE;
      if (end + one <= there && memcmp(want + end, have + end, one) == 0) break;
      end += one;
    }
    int32_t code = bring(delta, at + i, want + i, end - i, fault);
    if (code < 0) return code;
    *run += end - i;
    if (end < size) {
      *run = 0;
      end += size - end < PIECE ? size - end : PIECE;
    }
    i = end;
  }
  return 0;
}

// The writer is the old file; what is different at its place is written over it. What was looked at
// cannot change any more, because nobody else writes to it. Ends before what has moved.
static int32_t in_place(struct delta *delta, uint64_t *at, struct fault *fault) {
  struct spot *spot = delta->spot;
  uint8_t *want = spot->worker->slab[0], *have = spot->worker->slab[1];
  for (uint64_t run = 0; *at < delta->size;) {
    if (run_over(spot->run)) return pump_cancelled(fault);
    int64_t got = read_new(delta, *at, want, at_once(delta->size - *at), fault);
    if (got < 0) return (int32_t)got;
    if (got == 0) return pump_changed(fault);
    int64_t there = *at < delta->old_size ? look(delta, *at, have, (size_t)got, fault) : 0;
    if (there < 0) return (int32_t)there;
    int32_t code = write_over(delta, *at, want, (size_t)got, have, (size_t)there, &run, fault);
    if (code < 0) return code;
    *at += (uint64_t)got;
    pump_count(spot, delta->counted, (uint64_t)got);
    if (run >= MOVED && *at < delta->size) {
      *at -= run;
      delta->brought -= run;
      return 0;
    }
  }
  return 0;
}

// ── By content ──

// A stretch of the old file that is to be at another place of the new one, not yet copied.
struct stretch {
  uint64_t from, at, size;
};

struct content {
  struct delta *delta;
  struct block_index index;
  struct chunker fresh;
  struct cutter cutter;
  uint8_t *buffers;  // the cutter's, room for one block that is held back, and a slab
  size_t buffers_size;
  uint8_t *slab;
  struct stretch stretch;
  uint8_t *held;  // a block that the old file does not have, or the rest of it
  uint64_t held_at;
  size_t held_size;
};

static uint32_t block_size(uint64_t old_size) {
  uint32_t size = BLOCK_LEAST;
  while (size < BLOCK_MOST && old_size / size > BLOCKS) size *= 2;
  return size;
}

static int32_t index_old(struct content *content, struct fault *fault) {
  struct delta *delta = content->delta;
  int64_t file = block_index_file(&content->index, SPAN(""), fault);
  if (file < 0) return (int32_t)file;
  delta->spot->side = RIGHT;
  cutter_begin(&content->cutter, &content->fresh, &delta->old, 0, delta->old_size,
               content->buffers);
  for (;;) {
    const uint8_t *bytes;
    uint64_t offset;
    int64_t size = cutter_next(&content->cutter, delta->spot, &bytes, &offset, fault);
    if (size <= 0) return (int32_t)size;
    struct block block = {.offset = offset, .size = (uint32_t)size}, first;
    hash_of((span){bytes, (size_t)size}, block.hash);
    span path;
    int32_t code = block_index_add(&content->index, &block, &first, &path, fault);
    if (code < 0) return code;
  }
}

// Where the kernel does not copy, we do, through a slab that nobody else has something in.
static int32_t copy_old(struct delta *delta, struct stretch stretch, uint8_t *slab,
                        struct fault *fault) {
  while (stretch.size > 0) {
    if (run_over(delta->spot->run)) return pump_cancelled(fault);
    delta->spot->side = RIGHT;
    int64_t got =
        delta->to->reuse(delta->writer, &delta->old, stretch.from, stretch.at, stretch.size, fault);
    if (got < 0) return (int32_t)got;
    if (got == 0) {
      got = read_old(delta, stretch.from, slab, at_once(stretch.size), fault);
      if (got < 0) return (int32_t)got;
      if (got == 0) return 0;  // it became shorter: the check will see it
      int32_t code = delta->to->write(delta->writer, stretch.at, slab, (size_t)got, fault);
      if (code < 0) return code;
    }
    stretch.from += (uint64_t)got;
    stretch.at += (uint64_t)got;
    stretch.size -= (uint64_t)got;
  }
  return 0;
}

static int32_t end_stretch(struct content *content, struct fault *fault) {
  struct stretch stretch = content->stretch;
  content->stretch.from += stretch.size;
  content->stretch.at += stretch.size;
  content->stretch.size = 0;
  // A clone has it where it was.
  if (content->delta->is_shared && stretch.from == stretch.at) return 0;
  return copy_old(content->delta, stretch, content->slab, fault);
}

static int32_t end_held(struct content *content, size_t kept, struct fault *fault) {
  size_t size = content->held_size;
  content->held_size = 0;
  return bring(content->delta, content->held_at, content->held, size - kept, fault);
}

static size_t same_bytes(const uint8_t *left, const uint8_t *right, size_t size) {
  size_t same = 0;
  while (size - same >= PIECE && memcmp(left + same, right + same, PIECE) == 0) same += PIECE;
  while (same < size && left[same] == right[same]) same++;
  return same;
}

// How many of these bytes the old file has behind what was found last.
static int64_t goes_on(struct content *content, const uint8_t *bytes, size_t size,
                       struct fault *fault) {
  struct delta *delta = content->delta;
  uint8_t *slab = delta->spot->worker->slab[0];
  size_t same = 0;
  while (same < size) {
    size_t one = at_once(size - same);
    uint64_t from = content->stretch.from + content->stretch.size + same;
    if (from >= delta->old_size) break;
    int64_t got = read_old(delta, from, slab, one, fault);
    if (got < 0) return got;
    size_t more = same_bytes(bytes + same, slab, (size_t)got);
    same += more;
    if (more < one) break;
  }
  return (int64_t)same;
}

// How many bytes at the end of what is held the old file has before `from`.
static int64_t goes_back(struct content *content, uint64_t from, struct fault *fault) {
  struct delta *delta = content->delta;
  uint8_t *slab = delta->spot->worker->slab[0];
  size_t most = at_once(content->held_size), same = 0;
  if (most > from) most = (size_t)from;
  int64_t got = read_old(delta, from - most, slab, most, fault);
  if (got < 0) return got;
  if ((size_t)got < most) return 0;
  const uint8_t *end = content->held + content->held_size;
  while (same < most && slab[most - 1 - same] == *(end - 1 - same)) same++;
  return (int64_t)same;
}

// A block that the old file has.
static int32_t take_found(struct content *content, uint64_t from, uint64_t at, size_t size,
                          struct fault *fault) {
  struct stretch *stretch = &content->stretch;
  int64_t back = content->held_size ? goes_back(content, from, fault) : 0;
  if (back < 0) return (int32_t)back;
  int32_t code = 0;
  if (content->held_size) code = end_held(content, (size_t)back, fault);
  from -= (uint64_t)back;
  at -= (uint64_t)back;
  size += (size_t)back;
  bool follows = stretch->from + stretch->size == from && stretch->at + stretch->size == at;
  if (code == 0 && !follows) code = end_stretch(content, fault);
  if (!follows) *stretch = (struct stretch){from, at, 0};
  stretch->size += size;
  return code;
}

// A block that it does not have; its begin may be there all the same.
static int32_t take_new(struct content *content, uint64_t at, const uint8_t *bytes, size_t size,
                        struct fault *fault) {
  struct stretch *stretch = &content->stretch;
  int32_t code = content->held_size ? end_held(content, 0, fault) : 0;
  if (code < 0) return code;
  int64_t same = 0;
  if (stretch->at + stretch->size == at) same = goes_on(content, bytes, size, fault);
  if (same < 0) return (int32_t)same;
  stretch->size += (uint64_t)same;
  content->held_at = at + (uint64_t)same;
  content->held_size = size - (size_t)same;
  memcpy(content->held, bytes + same, content->held_size);
  return 0;
}

// Where both have MEETS bytes in common again; `size`: not here.
static size_t meets_again(const uint8_t *want, const uint8_t *have, size_t size) {
  size_t run = 0;
  for (size_t i = 0; i < size; i++) {
    run = want[i] == have[i] ? run + 1 : 0;
    if (run == MEETS) return i + 1 - MEETS;
  }
  return size;
}

// As far as both are the same but for what was written over. *done: bytes of the new file.
static int32_t take_same(struct content *content, uint64_t at, const uint8_t *want,
                         const uint8_t *have, size_t size, size_t *done, struct fault *fault) {
  struct stretch *stretch = &content->stretch;
  for (;;) {
    size_t same = same_bytes(want + *done, have + *done, size - *done);
    stretch->size += same;
    *done += same;
    size_t gap = meets_again(want + *done, have + *done, size - *done);
    if (gap == size - *done) return 0;
    int32_t code = end_stretch(content, fault);
    if (code == 0) code = bring(content->delta, at + *done, want + *done, gap, fault);
    if (code < 0) return code;
    stretch->from += gap;
    stretch->at += gap;
    *done += gap;
  }
}

// What follows at the same distance from its place in the old file needs no blocks. Ends where that
// is no more so.
static int32_t run_on(struct content *content, uint64_t *at, struct hash *hash,
                      struct fault *fault) {
  struct delta *delta = content->delta;
  uint8_t *want = delta->spot->worker->slab[0], *have = delta->spot->worker->slab[1];
  while (*at < delta->size) {
    if (run_over(delta->spot->run)) return pump_cancelled(fault);
    uint64_t from = content->stretch.from + content->stretch.size;
    int64_t got = read_new(delta, *at, want, at_once(delta->size - *at), fault);
    if (got < 0) return (int32_t)got;
    int64_t there = 0;
    if (from < delta->old_size) there = read_old(delta, from, have, (size_t)got, fault);
    if (there < 0) return (int32_t)there;
    size_t done = 0;
    int32_t code = take_same(content, *at, want, have, (size_t)there, &done, fault);
    if (code < 0 || done == 0) return code;
    hash_add(hash, want, done);
    pump_count(delta->spot, delta->counted, done);
    *at += done;
  }
  return 0;
}

// Cuts the new file from there on, up to a block that the old one has.
static int32_t find_again(struct content *content, uint64_t *at, struct hash *hash,
                          struct fault *fault) {
  struct delta *delta = content->delta;
  cutter_begin(&content->cutter, &content->fresh, delta->new, *at, delta->size, content->buffers);
  for (bool is_there = false; !is_there;) {
    const uint8_t *bytes;
    uint64_t offset;
    delta->spot->side = LEFT;
    int64_t size = cutter_next(&content->cutter, delta->spot, &bytes, &offset, fault);
    if (size < 0) return (int32_t)size;
    if (size == 0) break;
    hash_add(hash, bytes, (size_t)size);
    pump_count(delta->spot, delta->counted, (uint64_t)size);
    *at = offset + (uint64_t)size;
    struct block found;
    uint8_t digest[HASH_BYTES];
    hash_of((span){bytes, (size_t)size}, digest);
    is_there = block_index_find(&content->index, digest, &found) && found.size == size;
    int32_t code = is_there ? take_found(content, found.offset, offset, (size_t)size, fault)
                            : take_new(content, offset, bytes, (size_t)size, fault);
    if (code < 0) return code;
  }
  if (*at < delta->size || content->held_size == 0) return 0;
  return end_held(content, 0, fault);
}

static int32_t build(struct content *content, uint64_t at, struct hash *hash, struct fault *fault) {
  bool is_indexed = false;
  for (;;) {
    int32_t code = run_on(content, &at, hash, fault);
    if (code < 0) return code;
    if (at == content->delta->size) return end_stretch(content, fault);
    if (!is_indexed) code = index_old(content, fault);
    is_indexed = true;
    uint64_t before = at;
    if (code == 0) code = find_again(content, &at, hash, fault);
    if (code == 0 && at == before) code = pump_changed(fault);
    if (code < 0) return code;
  }
}

// The old file may have been written to between the look at it and the copy.
static int32_t is_right(struct delta *delta, uint64_t begin, const struct hash *expected,
                        bool *is_same, struct fault *fault) {
  struct hash hash;
  hash_begin(&hash);
  uint8_t *slab = delta->spot->worker->slab[0];
  *is_same = false;
  for (uint64_t at = begin; at < delta->size;) {
    if (run_over(delta->spot->run)) return pump_cancelled(fault);
    int64_t got = look(delta, at, slab, at_once(delta->size - at), fault);
    if (got < 0) return (int32_t)got;
    if (got == 0) return 0;
    hash_add(&hash, slab, (size_t)got);
    at += (uint64_t)got;
  }
  uint8_t found[HASH_BYTES], wanted[HASH_BYTES];
  hash_end(&hash, found);
  hash_end(expected, wanted);
  *is_same = memcmp(found, wanted, HASH_BYTES) == 0;
  return 0;
}

static int32_t by_content(struct delta *delta, uint64_t *at, struct fault *fault) {
  struct buffers *buffers = &delta->spot->run->task->runtime->buffers;
  struct content content = {.delta = delta};
  chunker_begin(&content.fresh, block_size(delta->old_size));
  size_t room = cutter_room(&content.fresh);
  content.buffers_size = room + content.fresh.longest + WORKER_SLAB;
  content.buffers = buffer_take(buffers, content.buffers_size, true);
  if (!content.buffers) return 0;  // it is copied as a whole, which takes less memory
  content.held = content.buffers + room;
  content.slab = content.held + content.fresh.longest;
  content.stretch.at = *at;
  content.stretch.from = *at;
  block_index_begin(&content.index, buffers);
  struct hash hash;
  hash_begin(&hash);
  uint64_t brought = delta->brought;
  int32_t code = build(&content, *at, &hash, fault);
  bool is_possible = code != COPSE_E_LIMIT;
  if (!is_possible) {
    *fault = (struct fault){};
    code = 0;
  }
  bool is_same = false;
  if (code == 0 && is_possible) code = is_right(delta, *at, &hash, &is_same, fault);
  block_index_end(&content.index);
  buffer_give(buffers, content.buffers, content.buffers_size);
  if (is_same)
    *at = delta->size;
  else
    delta->brought = brought;  // all behind *at will be
  return code;
}

// ── Both ──

// The file of that name is the one that was listed, and not written to since.
static bool is_as_listed(struct delta *delta, const struct entry *old) {
  struct entry now = {};
  struct fault ignored = {};
  return delta->to->measure(&delta->old, &now, nullptr, &ignored) == 0 && now.type == ENTRY_FILE &&
         entry_is_still(old, &now);
}

static int32_t build_of_old(struct delta *delta, const struct pump *pump, uint64_t *at,
                            struct fault *fault) {
  delta->spot->side = RIGHT;
  int64_t shared = delta->to->reuse(delta->writer, &delta->old, 0, 0, UINT64_MAX, fault);
  if (shared < 0) return (int32_t)shared;
  delta->is_shared = shared > 0;
  int32_t code = delta->is_shared ? in_place(delta, at, fault) : 0;
  if (code == 0 && *at < delta->size && pump->searches) code = by_content(delta, at, fault);
  return code;
}

int32_t pump_delta(struct spot *spot, const struct pump *pump, struct reader *reader,
                   struct writer *writer, uint64_t size, uint64_t *at, uint64_t *saved,
                   uint64_t *counted, struct fault *fault) {
  struct delta delta = {.spot = spot,
                        .to = writer->store->ops,
                        .new = reader,
                        .writer = writer,
                        .size = size,
                        .old_size = pump->old->size,
                        .counted = counted};
  *at = *saved = 0;
  spot->side = RIGHT;
  struct fault ignored = {};
  if (delta.to->reader(pump->to, pump->old, &delta.old, &ignored) < 0) return 0;
  int32_t code = is_as_listed(&delta, pump->old) ? build_of_old(&delta, pump, at, fault) : 0;
  delta.to->read_end(&delta.old);
  reader->at_end = false;
  if (code == 0 && *at > delta.brought) *saved = *at - delta.brought;
  return code;
}
