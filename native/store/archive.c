// archive: a read-only tree inside a file of another store.
//
// On opening, a thread of the archive's own reads it once from front to back and writes down what
// it holds (archive_index.h). Until that has come to its proved end nobody is told of anything, so
// that a damaged, truncated or endless archive is one error and never half a tree. Two archives are
// read at the same time.
//
// How content is had then:
//   zip                          from its place (archive_zip.h)
//   tar, cpio, ar, not packed    from its place in the inner store
//   everything else              by reading from the front again. Such content was hashed while the
//                                index was made (HAS_DIGEST), so that a comparison needs none of it
//                                and no memory for it. The decoder that gave the last entry waits
//                                for the next one: reading in the archive's order is one more pass.
#include "store/archive.h"

#include <stdlib.h>

#include "base/path.h"
#include "store/open.h"

constexpr uint64_t DEVICE = 0x61726368697665;  // "archive": no real device
constexpr uint32_t LINKS_MAX = 40;             // followed in one path, as the kernel does

struct archive_directory {
  struct directory base;
  uint32_t item;
};

enum reader_slot { SLOT_OPEN, SLOT_ITEM };  // of struct reader

struct open_entry {
  struct zip_reader *zip;
  struct position *position;
  const uint8_t *block;  // of the stream, at `block_at` in the content
  size_t block_size;
  uint64_t block_at, gap_at;  // gap_at: where the block before it ended
  bool is_direct, is_over;
};

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory");
}

// ── Directories ──

static void fill(const struct archive_state *state, uint32_t number, struct entry *entry) {
  const struct item *item = &state->index.items[number];
  enum entry_type type = item_type(item);
  entry->type = type;
  if (type == ENTRY_NONE) return;
  entry->size = item->size;
  entry->mtime_ns = item->mtime_ns;
  entry->inode = (uint64_t)number + 1;
  entry->device = DEVICE;
  entry->mode = item->mode;
  entry->special = type == ENTRY_OTHER ? item->special : 0;
  index_owner(&state->index, item, &entry->uid, &entry->gid);
  entry->has |= HAS_STAT | HAS_SIZE;
  if (type == ENTRY_LINK) {
    entry->target = index_text(&state->index, item->at, item->size);
    entry->has |= HAS_TARGET;
  }
  if (item->flags & ITEM_DIGEST) {
    entry->digest = item->digest;
    entry->has |= HAS_DIGEST;
  }
}

static int32_t directory_new(struct store *store, uint32_t item, struct directory **out,
                             struct fault *fault) {
  struct archive_directory *directory = malloc(sizeof *directory);
  if (!directory) return no_memory(fault);
  *directory = (struct archive_directory){.base.store = store, .item = item};
  *out = &directory->base;
  return 0;
}

static int32_t archive_root(struct store *store, struct arena *arena, struct entry *out,
                            struct directory **directory, struct fault *fault) {
  struct archive_state *state = state_of(store);
  int32_t code = archive_wait(state, fault);
  if (code < 0) return code;
  *out = (struct entry){.name = arena_copy(arena, index_name(&state->index, state->root))};
  if (!out->name.at) return no_memory(fault);
  fill(state, state->root, out);
  return directory_new(store, state->root, directory, fault);
}

// Where a path leads from a directory, links followed inside the archive; the last part only when
// `follow`. NO_ITEM: nowhere, or out of it.
static uint32_t resolve(const struct archive_state *state, uint32_t from, span path, bool follow,
                        uint32_t *links) {
  const struct index *index = &state->index;
  if (path.size && path.at[0] == '/') return NO_ITEM;
  span part;
  while (path_next(&path, &part)) {
    if (item_type(&index->items[from]) != ENTRY_DIRECTORY) return NO_ITEM;
    if (span_equal(part, SPAN("."))) continue;
    if (span_equal(part, SPAN(".."))) {
      if (from == state->root) return NO_ITEM;
      from = index->items[from].parent;
      continue;
    }
    uint32_t child = index_child(index, from, part);
    if (child == NO_ITEM) return NO_ITEM;
    const struct item *item = &index->items[child];
    bool is_last = path.size == 0;
    if (item_type(item) == ENTRY_LINK && (!is_last || follow)) {
      // Each level holds one link of the path, so the bound on links is one on the depth.
      if (++*links > LINKS_MAX) return NO_ITEM;
      child = resolve(state, from, index_text(index, item->at, item->size), true, links);
      if (child == NO_ITEM) return NO_ITEM;
    }
    from = child;
  }
  return from;
}

static int32_t not_found(struct fault *fault) {
  return fault_set(fault, COPSE_E_NOT_FOUND,
                   "the archive holds nothing of that name: list it to see what there is");
}

static int32_t archive_find(struct store *store, span path, struct arena *arena, struct entry *out,
                            struct directory **parent, struct fault *fault) {
  struct archive_state *state = state_of(store);
  int32_t code = archive_wait(state, fault);
  if (code < 0) return code;
  uint32_t links = 0, above = resolve(state, state->root, path_parent(path), true, &links);
  if (above == NO_ITEM || item_type(&state->index.items[above]) != ENTRY_DIRECTORY)
    return not_found(fault);
  span name = path_name(path);
  uint32_t item = index_child(&state->index, above, name);
  if (item == NO_ITEM) return not_found(fault);
  *out = (struct entry){.name = arena_copy(arena, name)};
  if (!out->name.at) return no_memory(fault);
  fill(state, item, out);
  return directory_new(store, above, parent, fault);
}

// The item that an entry of a directory means.
static uint32_t item_of(struct directory *base, const struct entry *entry, bool follow) {
  const struct archive_state *state = state_of(base->store);
  uint32_t directory = ((struct archive_directory *)base)->item, links = 0;
  // A root that is a file is its own directory.
  if (item_type(&state->index.items[directory]) != ENTRY_DIRECTORY) return directory;
  if (entry->has & HAS_STAT && entry->inode == (uint64_t)directory + 1) return directory;
  return resolve(state, directory, entry->name, follow || (entry->has & HAS_FOLLOWED), &links);
}

static int32_t archive_enter(struct directory *parent, const struct entry *entry,
                             struct directory **out, struct fault *fault) {
  const struct archive_state *state = state_of(parent->store);
  uint32_t item = item_of(parent, entry, false);
  if (item == NO_ITEM || item_type(&state->index.items[item]) != ENTRY_DIRECTORY)
    return not_found(fault);
  return directory_new(parent->store, item, out, fault);
}

static void archive_leave(struct directory *base) { free(base); }
static int32_t archive_hold(struct directory *, struct fault *) { return 0; }
static void archive_drop(struct directory *) {}

static void lend(const struct directory *base, size_t at, struct entry *out) {
  const struct archive_state *state = state_of(base->store);
  const struct index *index = &state->index;
  const struct item *directory = &index->items[((const struct archive_directory *)base)->item];
  uint32_t child = index->order[directory->first + at];
  *out = (struct entry){.name = index_name(index, child), .mtime_ns = INT64_MIN};
  fill(state, child, out);
}

static int32_t archive_list(struct directory *base, struct listing *listing, struct fault *fault) {
  const struct archive_state *state = state_of(base->store);
  const struct index *index = &state->index;
  uint32_t number = ((struct archive_directory *)base)->item;
  const struct item *directory = &index->items[number];
  bool has_bad = number == state->root && index->bad;
  if (listing->takes_less && !has_bad) {
    listing_lend(listing, base, directory->count, lend);
    return 0;
  }
  for (uint32_t i = 0; i < directory->count; i++) {
    uint32_t child = index->order[directory->first + i];
    struct entry *entry =
        listing_add(listing, index_name(index, child), item_type(&index->items[child]), fault);
    if (!entry) return fault->code;
    fill(state, child, entry);
  }
  // Names that lead nowhere are told of where the tree begins.
  for (uint32_t i = 0; has_bad && i < index->bad; i++) {
    uint32_t bad = index->order[index->ordered - index->bad + i];
    if (!listing_add(listing, index_name(index, bad), ENTRY_NONE, fault)) return fault->code;
  }
  return 0;
}

static int32_t tell_bad(const struct archive_state *state, span name, struct fault *fault) {
  const struct index *index = &state->index;
  for (uint32_t i = index->ordered - index->bad; i < index->ordered; i++)
    if (span_equal(index_name(index, index->order[i]), name))
      return index_bad(&index->items[index->order[i]], &state->limits, fault);
  return not_found(fault);
}

static int32_t archive_stat(struct directory *base, struct entry *entry, bool follow,
                            struct fault *fault) {
  const struct archive_state *state = state_of(base->store);
  if (entry->type == ENTRY_NONE && !(entry->has & HAS_FOLLOWED))
    return tell_bad(state, entry->name, fault);
  uint32_t item = item_of(base, entry, follow);
  if (item == NO_ITEM) return not_found(fault);
  bool was_link = entry->type == ENTRY_LINK;
  entry->has &= (uint8_t)~(HAS_TARGET | HAS_DIGEST);
  fill(state, item, entry);
  if (follow && was_link && entry->type != ENTRY_LINK) entry->has |= HAS_FOLLOWED;
  return 0;
}

static int32_t archive_target(struct directory *base, struct entry *entry, struct arena *,
                              struct fault *fault) {
  const struct archive_state *state = state_of(base->store);
  uint32_t item = item_of(base, entry, false);
  if (item == NO_ITEM || item_type(&state->index.items[item]) != ENTRY_LINK)
    return not_found(fault);
  const struct item *link = &state->index.items[item];
  entry->target = index_text(&state->index, link->at, link->size);
  entry->has |= HAS_TARGET;
  return 0;
}

static int32_t archive_attributes(struct directory *, const struct entry *, struct arena *, span *,
                                  struct fault *fault) {
  return fault_set(fault, COPSE_E_UNSUPPORTED, "extended attributes in archives are not read");
}

// ── Content ──

// A stream that stands before the wanted entry: one that waits, or a new one.
static int32_t position_take(struct archive_state *state, uint64_t wanted, struct position **out,
                             struct fault *fault) {
  mutex_lock(&state->lock);
  struct position **best = nullptr;
  for (struct position **at = &state->waiting; *at; at = &(*at)->other)
    if ((*at)->next <= wanted && (!best || (*at)->next > (*best)->next)) best = at;
  struct position *position = best ? *best : nullptr;
  if (position) *best = position->other;
  mutex_unlock(&state->lock);
  if (!position) {
    position = calloc(1, sizeof *position);
    struct archive_source *source = nullptr;
    int32_t code = position ? archive_source_open(state, &source, fault) : no_memory(fault);
    if (code == 0 && state->format != FORMAT_ZIP)
      code = source_layers(source, state->limits.nested, &source, fault);
    if (code == 0)
      code = stream_open(&position->stream, source, state->format, &state->limits, state->password,
                         fault);
    if (code < 0) {
      free(position);
      return code;
    }
    position->stream.header_max = UINT64_MAX;  // it skips content there too; the pass saw them all
    position->next = 1;
  }
  *out = position;
  return 0;
}

static void position_give(struct archive_state *state, struct position *position, bool is_usable) {
  constexpr size_t WAITING_MAX = 2;
  mutex_lock(&state->lock);
  size_t count = 0;
  for (struct position *at = state->waiting; at; at = at->other) count++;
  bool keep = is_usable && count < WAITING_MAX;
  if (keep) {
    position->other = state->waiting;
    state->waiting = position;
  }
  mutex_unlock(&state->lock);
  if (!keep) archive_position_free(position);
}

// Goes on to the content of an entry. For a zip file that is known by its name.
static int32_t position_find(struct archive_state *state, struct position *position,
                             uint32_t number, struct fault *fault) {
  const struct item *item = &state->index.items[number];
  struct stream_entry entry;
  for (;;) {
    int32_t code = stream_next(&position->stream, &entry, fault);
    if (code < 0) return code;
    if (code == 0)
      return fault_set(fault, COPSE_E_CHANGED, "the entry is not found again; run again");
    bool found = position->next == item->at;
    if (state->format == FORMAT_ZIP) {
      span name = index_name(&state->index, number);
      found = entry.size == item->size && span_equal(path_name(entry.name), name);
      uint32_t links = 0;
      found = found && resolve(state, 0, entry.name, false, &links) == number;
    }
    position->next++;
    if (found) return 0;
  }
}

static int32_t open_forward(struct archive_state *state, uint32_t number, struct open_entry *open,
                            struct fault *fault) {
  const struct item *item = &state->index.items[number];
  bool is_zip = state->format == FORMAT_ZIP;
  if (is_zip && (item->zip.flags & 1) && state->password.size == 0)
    return fault_set(fault, COPSE_E_AUTH, "the entry is encrypted: give the archive's password");
  int32_t code = 0;
  if (is_zip) {  // libarchive does not hold the two headers against each other
    struct zip_reader *reader = nullptr;
    code = zip_open(&state->zip, item, &reader, fault);
    if (code == 0) zip_close(reader);
  }
  if (code == 0) code = position_take(state, is_zip ? 1 : item->at, &open->position, fault);
  if (code < 0) return code;
  code = position_find(state, open->position, number, fault);
  if (code < 0) {
    archive_position_free(open->position);
    open->position = nullptr;
  }
  return code;
}

static int32_t open_item(struct archive_state *state, uint32_t number, struct reader *out,
                         struct fault *fault) {
  const struct item *item = &state->index.items[number];
  struct open_entry *open = calloc(1, sizeof *open);
  if (!open) return no_memory(fault);
  int32_t code = 0;
  if (state->has_zip && zip_is_ours(&item->zip)) {
    code = zip_open(&state->zip, item, &open->zip, fault);
  } else if (state->is_direct && !(item->flags & ITEM_DIGEST)) {
    open->is_direct = true;
  } else {
    code = open_forward(state, number, open, fault);
  }
  if (code < 0) {
    free(open);
    return code;
  }
  *out = (struct reader){.store = state->store, .fd = -1};
  out->access = open->is_direct ? state->reader.access : open->zip ? READ_SINGLE : READ_ONWARD;
  out->slot[SLOT_OPEN] = open;
  out->slot[SLOT_ITEM] = &state->index.items[number];
  return 0;
}

static int32_t archive_reader(struct directory *base, const struct entry *entry, struct reader *out,
                              struct fault *fault) {
  struct archive_state *state = state_of(base->store);
  uint32_t item = item_of(base, entry, false);
  if (item == NO_ITEM) return not_found(fault);
  if (item_type(&state->index.items[item]) != ENTRY_FILE)
    return fault_set(fault, COPSE_E_CHANGED, "it is no file");
  return open_item(state, item, out, fault);
}

// From the stream: what lies before `at` is read past, what is left out is zero.
static int64_t read_forward(struct archive_state *state, struct open_entry *open,
                            const struct item *item, uint64_t at, uint8_t *into, size_t size,
                            struct fault *fault) {
  uint64_t all = item->size;
  if (at >= all) return 0;
  if (size > all - at) size = (size_t)(all - at);
  if (at < open->gap_at) {  // back: from the front again
    archive_position_free(open->position);
    open->position = nullptr;
    int32_t code = open_forward(state, (uint32_t)(item - state->index.items), open, fault);
    if (code < 0) return code;
    open->block_at = open->gap_at = open->block_size = 0;
    open->is_over = false;
  }
  while (!open->is_over && open->block_at + open->block_size <= at) {
    uint64_t next = 0;
    open->gap_at = open->block_at + open->block_size;
    int64_t got = stream_data(&open->position->stream, &open->block, &next, fault);
    if (got < 0) return got;
    open->is_over = got == 0;
    open->block_at = got == 0 ? all : next;
    open->block_size = (size_t)got;
  }
  if (open->block_at > at) {  // a hole
    size_t zeros = open->block_at - at < size ? (size_t)(open->block_at - at) : size;
    memset(into, 0, zeros);
    return (int64_t)zeros;
  }
  size_t skip = (size_t)(at - open->block_at), left = open->block_size - skip;
  size_t got = size < left ? size : left;
  memcpy(into, open->block + skip, got);
  return (int64_t)got;
}

static int64_t archive_read(struct reader *reader, uint64_t at, uint8_t *into, size_t size,
                            struct fault *fault) {
  struct archive_state *state = state_of(reader->store);
  struct open_entry *open = reader->slot[SLOT_OPEN];
  const struct item *item = reader->slot[SLOT_ITEM];
  int64_t got = 0;
  if (open->zip) {
    got = zip_read(open->zip, at, into, size, &reader->at_end, fault);
  } else if (open->is_direct && at < item->size) {
    if (size > item->size - at) size = (size_t)(item->size - at);
    struct reader copy = state->reader;  // its state is this call's own
    bool single = copy.access != READ_ANYWHERE;
    if (single) mutex_lock(&state->reading);
    got = state->inner.ops->read(&copy, item->at + at, into, size, fault);
    if (single) mutex_unlock(&state->reading);
    if (got == 0) return fault_set(fault, COPSE_E_CHANGED, "the archive became shorter; run again");
  } else if (!open->is_direct) {
    got = read_forward(state, open, item, at, into, size, fault);
  }
  if (got >= 0 && at + (uint64_t)got >= item->size) reader->at_end = true;
  return got;
}

static void archive_read_end(struct reader *reader) {
  struct open_entry *open = reader->slot[SLOT_OPEN];
  if (open->zip) zip_close(open->zip);
  struct archive_state *state = state_of(reader->store);
  if (open->position) position_give(state, open->position, state->format != FORMAT_ZIP);
  free(open);
}

static int32_t archive_measure(struct reader *reader, struct entry *out, bool *holes,
                               struct fault *fault) {
  struct archive_state *state = state_of(reader->store);
  const struct item *item = reader->slot[SLOT_ITEM];
  struct open_entry *open = reader->slot[SLOT_OPEN];
  fill(state, (uint32_t)(item - state->index.items), out);
  if (holes) *holes = false;
  if (!open->is_direct && !open->zip) return 0;
  // What is read from its place must still be the archive that was listed.
  struct entry now = {};
  struct reader copy = state->reader;
  int32_t code = state->inner.ops->measure(&copy, &now, nullptr, fault);
  if (code == 0 && (now.size != state->measured.size || now.mtime_ns != state->measured.mtime_ns))
    code = fault_set(fault, COPSE_E_CHANGED, "the archive changed while it was read; run again");
  return code;
}

static int32_t archive_same(struct directory *left, const struct entry *of_left,
                            struct directory *right, const struct entry *of_right, struct fault *) {
  struct archive_state *a = state_of(left->store), *b = state_of(right->store);
  if (!a->has_zip || !b->has_zip) return 0;
  uint32_t in_a = item_of(left, of_left, false), in_b = item_of(right, of_right, false);
  if (in_a == NO_ITEM || in_b == NO_ITEM) return 0;
  return zip_same(&a->zip, &a->index.items[in_a], &b->zip, &b->index.items[in_b],
                  a->raw_equal || b->raw_equal);
}

// ── In the order of the archive ──

static int compare_sequence(const void *left, const void *right, void *context) {
  const struct index *index = context;
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  const struct item *of_a = &index->items[a], *of_b = &index->items[b];
  bool file_a = item_type(of_a) == ENTRY_FILE, file_b = item_type(of_b) == ENTRY_FILE;
  if (file_a != file_b) return file_a - file_b;
  if (file_a && of_a->at != of_b->at) return of_a->at < of_b->at ? -1 : 1;
  return a < b ? -1 : 1;
}

static bool is_below(const struct archive_state *state, uint32_t item) {
  if (state->index.items[item].flags & ITEM_BAD) return true;
  while (item != state->root && item != 0) item = state->index.items[item].parent;
  return item == state->root;
}

static int32_t make_sequence(struct archive_state *state, struct fault *fault) {
  const struct index *index = &state->index;
  state->sequence = malloc(((size_t)index->ordered + 1) * sizeof *state->sequence);
  if (!state->sequence) return no_memory(fault);
  for (uint32_t i = 0; i < index->ordered; i++) {
    uint32_t item = index->order[i];
    if (item != state->root && is_below(state, item))
      state->sequence[state->sequence_count++] = item;
  }
  qsort_r(state->sequence, state->sequence_count, sizeof *state->sequence, compare_sequence,
          &state->index);
  state->has_sequence = true;
  return 0;
}

static span path_of(const struct archive_state *state, uint32_t item, struct arena *arena) {
  const struct index *index = &state->index;
  if (index->items[item].flags & ITEM_BAD) return arena_copy(arena, index_name(index, item));
  size_t size = 0;
  for (uint32_t at = item; at != state->root; at = index->items[at].parent)
    size += index_name(index, at).size + 1;
  uint8_t *bytes = arena_take_bytes(arena, size);
  if (!bytes) return (span){};
  uint8_t *end = bytes + size - 1;
  *end = 0;
  for (uint32_t at = item; at != state->root; at = index->items[at].parent) {
    span name = index_name(index, at);
    end -= name.size;
    memcpy(end, name.at, name.size);
    if (end > bytes) *--end = '/';
  }
  return (span){bytes, size - 1};
}

static int32_t archive_next(struct store *store, struct arena *arena, span *path, struct entry *out,
                            struct reader *reader, struct fault *fault) {
  struct archive_state *state = state_of(store);
  int32_t code = archive_wait(state, fault);
  if (code == 0 && !state->has_sequence) code = make_sequence(state, fault);
  if (code < 0) return code;
  if (state->sequence_at == state->sequence_count) {
    state->sequence_at = 0;
    return 0;
  }
  uint32_t at = state->sequence_at++, number = state->sequence[at];
  const struct item *item = &state->index.items[number];
  *path = path_of(state, number, arena);
  if (!path->at) return no_memory(fault);
  *out = (struct entry){.name = path_name(*path)};
  if (item->flags & ITEM_BAD) {
    index_bad(item, &state->limits, fault);
    return 1;
  }
  fill(state, number, out);
  if (out->type != ENTRY_FILE) return 1;
  uint32_t before = at;
  while (before > 0 && item_type(&state->index.items[state->sequence[before - 1]]) == ENTRY_FILE &&
         state->index.items[state->sequence[before - 1]].at == item->at)
    before--;
  if (before != at) {
    out->target = path_of(state, state->sequence[before], arena);
    out->has |= HAS_TWIN;
    return out->target.at ? 1 : no_memory(fault);
  }
  // What is wrong with this content alone is this entry's fault; the others may be fine.
  code = open_item(state, number, reader, fault);
  if (code == COPSE_E_CANCELLED || code == COPSE_E_MEMORY) return code;
  if (code < 0) out->type = ENTRY_NONE;
  return 1;
}

const struct store_ops archive_store = {
    .scheme = "archive",
    .can = CAN_LIST | CAN_MTIME | CAN_MODE | CAN_LINKS | CAN_DIGEST | CAN_OWNER | ONLY_FORWARD,
    .library = "archive",
    .version = source_version,
    .open = archive_open,
    .close = archive_close,
    .root = archive_root,
    .find = archive_find,
    .enter = archive_enter,
    .leave = archive_leave,
    .hold = archive_hold,
    .drop = archive_drop,
    .list = archive_list,
    .stat = archive_stat,
    .target = archive_target,
    .attributes = archive_attributes,
    .reader = archive_reader,
    .read = archive_read,
    .read_end = archive_read_end,
    .measure = archive_measure,
    .same = archive_same,
    .next = archive_next,
};
