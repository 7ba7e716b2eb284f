// pack_gather: all that came into a pack that is being made, put in the order in which it is
// written, however it came.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/pack_arrow.h"
#include "store/pack_making.h"
#include "store/pack_seed.h"
#include "store/paths.h"

static int by_inode(const void *left, const void *right) {
  const struct written *l = *(struct written *const *)left, *r = *(struct written *const *)right;
  if (l->device != r->device) return l->device < r->device ? -1 : 1;
  if (l->inode != r->inode) return l->inode < r->inode ? -1 : 1;
  return paths_order(l->path, r->path);
}

static bool is_same_content(const struct blob *blobs, const struct written *left,
                            const struct written *right) {
  if (left->size != right->size || left->parts_count != right->parts_count) return false;
  // As many parts lie in as many blocks.
  const struct part_block *l = left->first, *r = right->first;
  for (; l && r; l = l->next, r = r->next)
    for (size_t i = 0; i < l->count; i++)
      if (memcmp(blobs[l->parts[i].blob].digest, blobs[r->parts[i].blob].digest, HASH_BYTES) != 0)
        return false;
  return true;
}

// Names of one file, by its inode.
static int32_t find_twins(struct making *making, struct fault *fault) {
  struct written **order = malloc((making->count ? making->count : 1) * sizeof *order);
  if (!order) return no_memory(fault);
  size_t count = 0;
  for (size_t i = 0; i < making->count; i++)
    if (making->all[i]->type == ENTRY_FILE && making->all[i]->inode)
      order[count++] = making->all[i];
  qsort(order, count, sizeof *order, by_inode);
  for (size_t i = 1, first = 0; i < count; i++) {
    bool is_twin = order[i]->device == order[first]->device &&
                   order[i]->inode == order[first]->inode &&
                   is_same_content(making->spool.blobs, order[i], order[first]);
    if (is_twin)
      order[i]->twin = order[first];
    else
      first = i;
  }
  free(order);
  return 0;
}

// U+FFFD for what is no character.
static int32_t rename_bad(struct written *written, struct fault *fault) {
  constexpr size_t NUMBER = 24;  // room for one that may be added
  uint8_t *text = malloc(written->path.size * 3 + NUMBER);
  if (!text) return no_memory(fault);
  size_t size = 0;
  for (size_t i = 0; i < written->path.size;) {
    size_t length = 0;  // of the longest valid character here
    for (size_t n = 1; n <= 4 && i + n <= written->path.size && !length; n++)
      if (utf8_is_valid((span){written->path.at + i, n})) length = n;
    memcpy(text + size, length ? written->path.at + i : (const uint8_t *)"\xef\xbf\xbd",
           length ? length : 3);
    size += length ? length : 3;
    i += length ? length : 1;
  }
  written->renamed = (span){text, size};
  return 0;
}

static int by_renamed(const void *left, const void *right) {
  const struct written *l = *(struct written *const *)left, *r = *(struct written *const *)right;
  int order = paths_order(l->renamed, r->renamed);
  return order ? order : paths_order(l->path, r->path);
}

// Whether something has that name already: a path, or one of `bad` before it got a number.
static bool is_taken(const struct making *making, const span *bad, size_t count, span name) {
  struct written key = {.path = name}, *pointer = &key;
  return bsearch(&pointer, making->all, making->count, sizeof pointer, paths_compare_pointed) ||
         (bad && bsearch(&name, bad, count, sizeof name, paths_compare));
}

// What names that are not UTF-8 are called in the index: U+FFFD for what is no character, and a
// number after it when that is taken.
static int32_t rename_all(struct making *making, struct fault *fault) {
  size_t count = 0;
  for (size_t i = 0; i < making->count; i++)
    count += making->all[i]->type == ENTRY_FILE && !utf8_is_valid(making->all[i]->path);
  if (count == 0) return 0;
  struct written **bad = malloc(count * sizeof *bad);
  span *names = malloc(count * sizeof *names);
  int32_t code = bad && names ? 0 : no_memory(fault);
  for (size_t i = 0, n = 0; i < making->count && code == 0; i++) {
    struct written *written = making->all[i];
    if (written->type != ENTRY_FILE || utf8_is_valid(written->path)) continue;
    code = rename_bad(written, fault);
    bad[n++] = written;
  }
  if (code == 0) {
    qsort(bad, count, sizeof *bad, by_renamed);
    for (size_t i = 0; i < count; i++) names[i] = bad[i]->renamed;
  }
  uint32_t number = 0;
  for (size_t i = 0; i < count && code == 0; i++) {
    size_t base = names[i].size;
    bool is_first = i == 0 || !span_equal(names[i], names[i - 1]);
    if (is_first) number = 0;
    if (is_first && !is_taken(making, nullptr, 0, names[i])) continue;
    uint8_t *text = (uint8_t *)(uintptr_t)names[i].at;
    span *name = &bad[i]->renamed;
    do {
      name->size = base + (size_t)snprintf((char *)text + base, 24, "~%u", ++number);
    } while (is_taken(making, names, count, *name));
  }
  free(bad);
  free(names);
  return code;
}

static int by_type_and_repo(const void *left, const void *right) {
  return section_order(*(struct pack_section *const *)left, *(struct pack_section *const *)right);
}

static int by_section(const void *left, const void *right) {
  const struct written *l = *(struct written *const *)left, *r = *(struct written *const *)right;
  size_t ranks[2] = {l->section ? l->section->rank : 0, r->section ? r->section->rank : 0};
  if (ranks[0] != ranks[1]) return ranks[0] < ranks[1] ? -1 : 1;
  return paths_order(l->path, r->path);
}

// Sections in the order of the manifest, and entries by their sections. The pack's own section is
// left out when all is in others.
static void sort_sections(struct making *making) {
  struct pack_section **all = making->sections;
  bool has_own = making->sections_count == 1;
  for (size_t i = 0; i < making->count && !has_own; i++)
    has_own = making->all[i]->section == all[0];
  if (!has_own) {
    section_drop(making, all[0]);
    all[0] = all[--making->sections_count];
  }
  qsort(all, making->sections_count, sizeof(*all), by_type_and_repo);
  for (size_t i = 0; i < making->sections_count; i++) all[i]->rank = i;
  if (making->sections_count > 1)
    qsort(making->all, making->count, sizeof *making->all, by_section);
}

int32_t pack_arrange(struct making *making, struct fault *fault) {
  int32_t code = find_twins(making, fault);
  if (code == 0) code = rename_all(making, fault);
  if (code == 0) sort_sections(making);
  return code;
}

// No path twice, and none through what is no directory.
static int32_t check_paths(const struct making *making, struct fault *fault) {
  const struct written *last = nullptr;  // that is no directory
  for (size_t i = 0; i < making->count; i++) {
    const struct written *written = making->all[i];
    if (i && span_equal(written->path, making->all[i - 1]->path))
      return fault_set(fault, COPSE_E_EXISTS, "a path was packed twice");
    if (last && paths_below(written->path, last->path))
      return fault_set(fault, COPSE_E_EXISTS, "a path goes through a file that was packed, too");
    if (written->type != ENTRY_DIRECTORY) last = written;
  }
  return 0;
}

// Further names of files get what their first one has now.
static int32_t share_parts(struct written *written, struct fault *fault) {
  for (const struct part_block *from = written->same->first; from; from = from->next) {
    size_t size = sizeof *from + from->capacity * sizeof *from->parts;
    struct part_block *block = malloc(size);
    if (!block) return no_memory(fault);
    memcpy(block, from, sizeof *from + from->count * sizeof *from->parts);
    block->next = nullptr;
    *(written->last ? &written->last->next : &written->first) = block;
    written->last = block;
  }
  written->parts_count = written->same->parts_count;
  written->same = nullptr;
  return 0;
}

int32_t pack_gather(struct making *making, struct task *task, struct fault *fault) {
  loads_end(making);
  if (making->fault.code < 0) {
    *fault = making->fault;
    return fault->code;
  }
  size_t kept = 0;
  for (size_t i = 0; i < making->count; i++) {
    int32_t code = making->all[i]->same ? share_parts(making->all[i], fault) : 0;
    if (code < 0) return code;
  }
  free(making->names.slots);
  making->names = (struct names){};
  for (size_t i = 0; i < making->count; i++) {
    if (making->all[i]->type == ENTRY_NONE)
      written_free(making->all[i]);
    else
      making->all[kept++] = making->all[i];
  }
  making->count = kept;
  if (kept > 1) qsort(making->all, kept, sizeof *making->all, paths_compare_pointed);
  int32_t code = check_paths(making, fault);
  return code < 0 ? code : seed_keep(making, task, fault);
}
