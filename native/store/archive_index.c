#include "store/archive_index.h"

#include <stdlib.h>

#include "engine/thread.h"

constexpr uint32_t ITEMS_MAX = 1 << 28;
constexpr uint64_t SIZE_MAX_48 = (UINT64_C(1) << 48) - 1;
constexpr uint32_t OWNERS_MAX = 4096;  // no honest archive comes near; searched one by one
constexpr uint32_t KIND = 0170000, KIND_FILE = 0100000, KIND_DIRECTORY = 0040000,
                   KIND_LINK = 0120000;
// Of a directory that the archive says nothing of: what a new one usually has.
constexpr uint32_t MODE_IMPLIED = KIND_DIRECTORY | 0755;

// Before a name stands its size: one byte, or this one and four. There are as many names as
// entries.
constexpr uint8_t LONG_NAME = 255;
// A slot holds an item and four bits of its hash, so that few others are looked at on the way.
constexpr uint32_t SLOT_ITEM_BITS = 28;
static_assert(ITEMS_MAX == UINT32_C(1) << SLOT_ITEM_BITS);

static int32_t no_memory(struct fault *fault) {
  return fault_set(fault, COPSE_E_MEMORY, "out of memory while reading what an archive holds");
}

bool index_begin(struct index *index, const struct archive_limits *limits) {
  *index = (struct index){.limits = limits, .capacity = 64, .count = 1, .slots_count = 256};
  index->seed = clock_now() ^ (uint64_t)(uintptr_t)index;
  index->items = calloc(index->capacity, sizeof *index->items);
  index->slots = calloc(index->slots_count, sizeof *index->slots);
  index->text_capacity = 4096;
  index->text = calloc(1, index->text_capacity);
  if (!index->items || !index->slots || !index->text) {
    index_free(index);
    return false;
  }
  index->items[0] =
      (struct item){.mode = MODE_IMPLIED, .flags = ITEM_IMPLIED, .mtime_ns = INT64_MIN, .name = 0};
  index->text_size = 2;  // the root's name: no bytes
  return true;
}

void index_free(struct index *index) {
  free(index->items);
  free(index->slots);
  free(index->text);
  free(index->owners);
  free(index->order);
  *index = (struct index){};
}

span index_text(const struct index *index, uint64_t at, uint64_t size) {
  return (span){index->text + at, (size_t)size};
}

span index_name(const struct index *index, uint32_t item) {
  const uint8_t *at = index->text + index->items[item].name;
  uint32_t size = *at++;
  if (size == LONG_NAME) {
    memcpy(&size, at, sizeof size);
    at += sizeof size;
  }
  return (span){at, size};
}

void index_owner(const struct index *index, const struct item *item, uint32_t *uid, uint32_t *gid) {
  uint64_t owner = index->owners_count ? index->owners[item->owner] : 0;
  *uid = (uint32_t)(owner >> 32);
  *gid = (uint32_t)owner;
}

enum entry_type item_type(const struct item *item) {
  if (item->flags & ITEM_BAD) return ENTRY_NONE;
  switch (item->mode & KIND) {
    case KIND_FILE:
      return ENTRY_FILE;
    case KIND_DIRECTORY:
      return ENTRY_DIRECTORY;
    case KIND_LINK:
      return ENTRY_LINK;
    default:
      return ENTRY_OTHER;
  }
}

int32_t index_bad(const struct item *item, const struct archive_limits *limits,
                  struct fault *fault) {
  switch ((enum bad_reason)item->at) {
    case BAD_LONG:
      return fault_set(fault, COPSE_E_LIMIT, "the path is longer than limits.pathLength (%llu)",
                       (unsigned long long)limits->path);
    case BAD_DEEP:
      return fault_set(fault, COPSE_E_LIMIT, "deeper than limits.depth (%llu)",
                       (unsigned long long)limits->depth);
    case BAD_DANGLING:
      return fault_set(fault, COPSE_E_CORRUPT,
                       "a hard link to an entry that the archive does not hold before it");
    case BAD_EMPTY:
      return fault_set(fault, COPSE_E_UNSAFE_PATH, "an entry without a name is not used");
    case BAD_NUL:
      return fault_set(fault, COPSE_E_UNSAFE_PATH, "a name with a NUL byte in it is not used");
    case BAD_ABSOLUTE:
      return fault_set(fault, COPSE_E_UNSAFE_PATH, "an absolute name in an archive is not used");
    case BAD_PARENT:
      return fault_set(fault, COPSE_E_UNSAFE_PATH,
                       "a name with \"..\" in it would lead out of the tree: not used");
    case BAD_THROUGH:
      return fault_set(fault, COPSE_E_UNSAFE_PATH,
                       "its path goes through an entry that is no directory: not used");
    case BAD_OVER:
      return fault_set(fault, COPSE_E_UNSAFE_PATH,
                       "it would take the place of a directory that holds something: not used");
    case BAD_LINK:
      return fault_set(fault, COPSE_E_UNSAFE_PATH,
                       "a hard link that leads out of the tree is not used");
  }
  return fault_set(fault, COPSE_E_INTERNAL, "an entry that is refused without a reason");
}

// ── Growing ──

// Where the bytes begin; UINT64_MAX when memory ran out or the text is full. Ends with a NUL.
static uint64_t text_add(struct index *index, span bytes, bool with_size) {
  uint64_t need = (uint64_t)index->text_size + bytes.size + 6;
  if (need > UINT32_MAX) return UINT64_MAX;
  if (need > index->text_capacity) {
    size_t capacity = index->text_capacity;
    while (capacity < need) capacity += capacity / 2;
    uint8_t *text = realloc(index->text, capacity);
    if (!text) return UINT64_MAX;
    index->text = text;
    index->text_capacity = capacity;
  }
  uint64_t at = index->text_size;
  bool is_long = bytes.size >= LONG_NAME;
  if (with_size) index->text[index->text_size++] = is_long ? LONG_NAME : (uint8_t)bytes.size;
  if (with_size && is_long) {
    uint32_t size = (uint32_t)bytes.size;
    memcpy(index->text + index->text_size, &size, sizeof size);
    index->text_size += sizeof size;
  }
  if (bytes.size) memcpy(index->text + index->text_size, bytes.at, bytes.size);
  index->text[index->text_size + bytes.size] = 0;
  index->text_size += bytes.size + 1;
  return at;
}

static uint64_t mix(uint64_t a, uint64_t b) {
  unsigned __int128 product = (unsigned __int128)a * b;
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t child_hash(const struct index *index, uint32_t parent, span name) {
  uint64_t hash = mix(index->seed ^ parent, 0x9E3779B97F4A7C15u);
  for (size_t at = 0; at < name.size; at += 8) {
    uint64_t word = 0;
    memcpy(&word, name.at + at, name.size - at < 8 ? name.size - at : 8);
    hash = mix(hash ^ word, 0xA0761D6478BD642Fu) ^ index->seed;
  }
  return mix(hash ^ name.size, 0xE7037ED1A0B428DBu);
}

static bool is_orphan(const struct index *index, uint32_t item) {
  return item != 0 && index->items[item].parent == item;
}

static uint32_t slot_item(uint32_t slot) { return slot & (ITEMS_MAX - 1); }

// The slot of that child, or the free one where it would be, and *tag for whoever fills it. 0 is
// free: no child is the root.
static uint32_t *slot_of(const struct index *index, uint32_t parent, span name, uint32_t *tag) {
  uint64_t hash = child_hash(index, parent, name);
  *tag = (uint32_t)hash << SLOT_ITEM_BITS;
  uint32_t at = (uint32_t)((hash >> 32) * index->slots_count >> 32);
  for (;; at = at + 1 < index->slots_count ? at + 1 : 0) {
    uint32_t *slot = &index->slots[at], item = slot_item(*slot);
    if (*slot == 0) return slot;
    if (*slot - item == *tag && index->items[item].parent == parent &&
        span_equal(index_name(index, item), name))
      return slot;
  }
}

// The child of that name, or 0.
static uint32_t child_of(const struct index *index, uint32_t parent, span name) {
  uint32_t tag;
  return slot_item(*slot_of(index, parent, name, &tag));
}

static void slot_fill(struct index *index, uint32_t item) {
  uint32_t tag;
  uint32_t *slot = slot_of(index, index->items[item].parent, index_name(index, item), &tag);
  *slot = tag | item;
}

// The old table goes first: every item knows its place, and both together would be what an index
// needs most memory for.
static bool slots_grow(struct index *index) {
  uint32_t count = index->slots_count + index->slots_count / 2;
  free(index->slots);
  index->slots = calloc(count, sizeof *index->slots);
  index->slots_count = count;
  if (!index->slots) return false;  // whoever builds it gives up
  for (uint32_t i = 1; i < index->count; i++)
    if (!(index->items[i].flags & ITEM_BAD) && !is_orphan(index, i)) slot_fill(index, i);
  return true;
}

// A new item with a name, not in the table yet. NO_ITEM: out of memory, or of numbers.
static uint32_t item_new(struct index *index, uint32_t parent, span name) {
  if (index->count == index->capacity) {
    if (index->capacity >= ITEMS_MAX / 2) return NO_ITEM;
    uint32_t capacity = index->capacity + index->capacity / 2;
    struct item *items = realloc(index->items, capacity * sizeof *items);
    if (!items) return NO_ITEM;
    index->items = items;
    index->capacity = capacity;
  }
  uint64_t text = text_add(index, name, true);
  if (text == UINT64_MAX) return NO_ITEM;
  index->items[index->count] =
      (struct item){.parent = parent, .name = (uint32_t)text, .mtime_ns = INT64_MIN};
  return index->count++;
}

static uint32_t child_new(struct index *index, uint32_t parent, span name) {
  if (index->count >= index->slots_count / 8 * 7 && !slots_grow(index)) return NO_ITEM;
  uint32_t item = item_new(index, parent, name);
  if (item == NO_ITEM) return item;
  slot_fill(index, item);
  index->items[parent].count++;
  return item;
}

static int32_t owner_of(struct index *index, uint32_t uid, uint32_t gid, uint16_t *out,
                        struct fault *fault) {
  uint64_t owner = (uint64_t)uid << 32 | gid;
  if (!index->owners) {
    index->owners = malloc(OWNERS_MAX * sizeof *index->owners);
    if (!index->owners) return no_memory(fault);
  }
  uint32_t at = index->owners_last;
  if (index->owners_count == 0 || index->owners[at] != owner) {
    for (at = 0; at < index->owners_count && index->owners[at] != owner;) at++;
    if (at == OWNERS_MAX)
      return fault_set(fault, COPSE_E_LIMIT, "the archive names more than %u owners", OWNERS_MAX);
    if (at == index->owners_count) index->owners[index->owners_count++] = owner;
    index->owners_last = at;
  }
  *out = (uint16_t)at;
  return 0;
}

// ── Names ──

// The next part that counts; "." and empty ones do not.
static bool part_next(span *rest, span *part) {
  while (rest->size) {
    const uint8_t *slash = memchr(rest->at, '/', rest->size);
    size_t size = slash ? (size_t)(slash - rest->at) : rest->size;
    *part = (span){rest->at, size};
    size_t used = size + (slash ? 1 : 0);
    *rest = (span){rest->at + used, rest->size - used};
    if (size && !(size == 1 && part->at[0] == '.')) return true;
  }
  return false;
}

// Zero: fine.
static enum bad_reason judge(const struct index *index, span raw) {
  if (raw.size == 0) return BAD_EMPTY;
  if (memchr(raw.at, 0, raw.size)) return BAD_NUL;
  if (raw.at[0] == '/') return BAD_ABSOLUTE;
  uint64_t depth = 0, size = 0;
  span rest = raw, part;
  while (part_next(&rest, &part)) {
    if (part.size == 2 && part.at[0] == '.' && part.at[1] == '.') return BAD_PARENT;
    depth++;
    size += part.size + (size ? 1 : 0);
  }
  if (size > index->limits->path) return BAD_LONG;
  if (depth > index->limits->depth) return BAD_DEEP;
  return (enum bad_reason)0;
}

static int32_t add_bad(struct index *index, span raw, enum bad_reason reason, uint32_t *out,
                       struct fault *fault) {
  constexpr size_t SHOWN = 4096;
  span shown = {raw.at, raw.size < SHOWN ? raw.size : SHOWN};
  uint32_t item = item_new(index, 0, shown);
  if (item == NO_ITEM) return no_memory(fault);
  index->items[item].flags = ITEM_BAD;
  index->items[item].at = (uint64_t)reason & 0xff;
  index->bad++;
  *out = item;
  return 0;
}

// The directory that the name is in, made where only the name tells of it, and the last part. Zero:
// fine. `*code` is set when memory ran out.
static enum bad_reason parent_of(struct index *index, span raw, uint32_t *parent, span *last,
                                 int32_t *code, struct fault *fault) {
  span rest = raw, part, next;
  *parent = 0;
  *last = (span){};
  if (!part_next(&rest, &part)) return (enum bad_reason)0;  // the root itself
  while (part_next(&rest, &next)) {
    uint32_t child = child_of(index, *parent, part);
    if (child == 0) {
      child = child_new(index, *parent, part);
      if (child == NO_ITEM) {
        *code = no_memory(fault);
        return (enum bad_reason)0;
      }
      index->items[child].mode = MODE_IMPLIED;
      index->items[child].flags = ITEM_IMPLIED;
    } else if (item_type(&index->items[child]) != ENTRY_DIRECTORY) {
      return BAD_THROUGH;
    }
    *parent = child;
    part = next;
  }
  *last = part;
  return (enum bad_reason)0;
}

// The item that gets the name; an earlier one of that name loses it.
static int32_t place(struct index *index, span raw, bool is_directory, uint32_t *out,
                     struct fault *fault) {
  enum bad_reason bad = judge(index, raw);
  uint32_t parent = 0;
  span last = {};
  int32_t code = 0;
  // Nothing is made for a name that is refused.
  if (!bad) bad = parent_of(index, raw, &parent, &last, &code, fault);
  if (code < 0) return code;
  if (!bad && last.size == 0) {
    if (!is_directory) return add_bad(index, raw, BAD_EMPTY, out, fault);
    *out = 0;
    return 0;
  }
  if (bad) return add_bad(index, raw, bad, out, fault);
  uint32_t tag, *slot = slot_of(index, parent, last, &tag), before = slot_item(*slot);
  if (before == 0) {
    *out = child_new(index, parent, last);
    return *out == NO_ITEM ? no_memory(fault) : 0;
  }
  bool was_directory = item_type(&index->items[before]) == ENTRY_DIRECTORY;
  if (was_directory && is_directory) {
    *out = before;
    return 0;
  }
  if (was_directory && index->items[before].count) return add_bad(index, raw, BAD_OVER, out, fault);
  // What was a hard link's target keeps its content for it.
  uint32_t item = item_new(index, parent, last);
  if (item == NO_ITEM) return no_memory(fault);
  *slot = tag | item;
  index->items[before].parent = before;
  *out = item;
  return 0;
}

int32_t index_add(struct index *index, span raw, const struct item_facts *facts, uint32_t *out,
                  struct fault *fault) {
  uint32_t kind = facts->mode & KIND;
  bool is_directory = kind == KIND_DIRECTORY;
  if (facts->size > SIZE_MAX_48 || facts->at > SIZE_MAX_48)
    return fault_set(fault, COPSE_E_LIMIT, "an entry of the archive says that it is too large");
  int32_t code = place(index, raw, is_directory, out, fault);
  if (code < 0 || (index->items[*out].flags & ITEM_BAD)) return code;
  struct item *item = &index->items[*out];
  uint16_t owner = 0;
  code = owner_of(index, facts->uid, facts->gid, &owner, fault);
  if (code < 0) return code;
  uint64_t target = 0;
  if (kind == KIND_LINK) {
    target = text_add(index, facts->target, false);
    if (target == UINT64_MAX) return no_memory(fault);
  }
  item->flags &= ~(uint32_t)(ITEM_IMPLIED | ITEM_DIGEST | ITEM_TWIN) & 15u;
  item->mode = facts->mode & 0xffff;
  item->owner = owner;
  item->mtime_ns = facts->mtime_ns;
  item->size = is_directory ? 0 : kind == KIND_LINK ? facts->target.size : facts->size;
  item->at = kind == KIND_LINK ? target : facts->at;
  if (kind != KIND_FILE && kind != KIND_LINK && !is_directory) item->special = facts->special;
  if (*out == 0) *out = NO_ITEM;
  return 0;
}

static uint32_t look_up(struct index *index, span raw) {
  uint32_t item = 0;
  span rest = raw, part;
  while (part_next(&rest, &part)) {
    item = child_of(index, item, part);
    if (item == 0) return NO_ITEM;
  }
  return item;
}

int32_t index_add_twin(struct index *index, span raw, span target, uint32_t *out,
                       struct fault *fault) {
  enum bad_reason bad = judge(index, target);
  if (bad) return add_bad(index, raw, BAD_LINK, out, fault);
  uint32_t original = look_up(index, target);
  if (original == NO_ITEM || original == 0 || item_type(&index->items[original]) == ENTRY_DIRECTORY)
    return add_bad(index, raw, BAD_DANGLING, out, fault);
  struct item copy = index->items[original];
  int32_t code = place(index, raw, false, out, fault);
  if (code < 0 || (index->items[*out].flags & ITEM_BAD) || *out == original) return code;
  struct item *item = &index->items[*out];
  // Of a link or device the twin is simply another one.
  bool is_file = item_type(&copy) == ENTRY_FILE;
  uint32_t name = item->name, parent = item->parent;
  *item = copy;
  item->name = name;
  item->parent = parent & (ITEMS_MAX - 1);
  if (is_file) {
    // A twin of a twin has the first one's content.
    item->twin = copy.flags & ITEM_TWIN ? copy.twin : original;
    item->flags = ITEM_TWIN;
  }
  return 0;
}

// ── Sealing ──

static int compare_places(const void *left, const void *right, void *context) {
  const struct index *index = context;
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  const struct item *of_a = &index->items[a], *of_b = &index->items[b];
  bool bad_a = of_a->flags & ITEM_BAD, bad_b = of_b->flags & ITEM_BAD;
  if (bad_a != bad_b) return bad_a - bad_b;
  if (of_a->parent != of_b->parent) return of_a->parent < of_b->parent ? -1 : 1;
  int order = span_compare(index_name(index, a), index_name(index, b));
  return order ? order : a < b ? -1 : 1;
}

int32_t index_seal(struct index *index, struct fault *fault) {
  free(index->slots);
  index->slots = nullptr;
  for (uint32_t i = 1; i < index->count; i++) {
    struct item *item = &index->items[i];
    if (!(item->flags & ITEM_TWIN)) continue;
    const struct item *original = &index->items[item->twin];
    item->size = original->size;
    item->at = original->at;
    item->flags |= original->flags & ITEM_DIGEST;
    memcpy(item->digest, original->digest, HASH_BYTES);
  }
  index->order = malloc(index->count * sizeof *index->order);
  if (!index->order) return no_memory(fault);
  uint32_t count = 0;
  for (uint32_t i = 1; i < index->count; i++)
    if (!is_orphan(index, i)) index->order[count++] = i;
  qsort_r(index->order, count, sizeof *index->order, compare_places, index);
  for (uint32_t i = 0; i < index->count; i++) {
    struct item *item = &index->items[i];
    if (item_type(item) == ENTRY_DIRECTORY) item->first = item->count = 0;
  }
  for (uint32_t i = 0; i + index->bad < count; i++) {
    struct item *parent = &index->items[index->items[index->order[i]].parent];
    if (parent->count++ == 0) parent->first = i;
  }
  index->ordered = count;
  return 0;
}

uint32_t index_child(const struct index *index, uint32_t directory, span name) {
  const struct item *item = &index->items[directory];
  uint32_t begin = item->first, end = begin + item->count;
  while (begin < end) {
    uint32_t middle = begin + (end - begin) / 2;
    int order = span_compare(index_name(index, index->order[middle]), name);
    if (order == 0) return index->order[middle];
    if (order < 0)
      begin = middle + 1;
    else
      end = middle;
  }
  return NO_ITEM;
}
